"""Sound files: how samples become integers, and which form a file gets."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from actors.samples import encoded
from commands.denoise.sound_files import output_form
from commands.denoise.source import Form, Refused
from tests.denoiser.clips import worst
from tests.local.denoising import read


@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW", "FLOAT", "DOUBLE"]
)
def test_loud_sound_is_clamped_never_wrapped(tmp_path: Path, subtype: str) -> None:
    """Beyond full scale an integer file stays at its end, a float file holds what there is."""
    loud = np.linspace(-3, 3, 6001, dtype=np.float32)
    path = tmp_path / "loud.wav"
    with soundfile.SoundFile(path, "w", 48000, 1, subtype) as file:
        file.write(encoded(loud, subtype))
    holds = loud if subtype in ("FLOAT", "DOUBLE") else np.clip(loud, -1, 1)
    step = {"PCM_U8": 2 / 256, "ULAW": 0.04, "ALAW": 0.04}.get(subtype, 2 / 65536)
    assert worst(read(path), holds) <= step


@pytest.mark.parametrize(
    ("form", "names", "chosen", "note"),
    [
        (("WAV", "PCM_24"), ("a.wav", "b.wav"), ("WAV", "PCM_24"), ""),
        (("RF64", "FLOAT"), ("a.wav", "b.wav"), ("RF64", "FLOAT"), ""),
        (("RF64", "FLOAT"), ("a.rf64", "b.wav"), ("WAV", "FLOAT"), ""),
        (("BW64", "PCM_24"), ("a.bwf", "b.bwf"), ("BW64", "PCM_24"), ""),
        (("AIFF", "PCM_16"), ("a", "b"), ("AIFF", "PCM_16"), ""),
        (("FLAC", "PCM_24"), ("A.FLAC", "B.WAV"), ("WAV", "PCM_24"), ""),
        (("", "AAC"), ("a.m4a", "b.flac"), ("FLAC", "PCM_16"), "PCM_16; .flac files cannot hold"),
        # extensions that lie about the input
        (("FLAC", "PCM_24"), ("a.wav", "b.wav"), ("WAV", "PCM_24"), ""),
        (("MP3", "MPEG_LAYER_III"), ("a.wav", "b.wav"), ("WAV", "PCM_16"), "PCM_16; .wav files"),
        (("", "AAC"), ("a.mp3", "b.mp3"), ("MP3", "MPEG_LAYER_III"), "cannot hold AAC"),
    ],
)
def test_the_extension_of_the_output_chooses_its_form(
    form: tuple[str, str], names: tuple[str, str], chosen: tuple[str, str], note: str
) -> None:
    """The extension says what is written; the same one keeps RF64, BW64 and unknown ones."""
    source = Form(*form, rate=48000, channels=1, samples=None)
    target, told = output_form(source, *map(Path, names))
    assert (target.container, target.subtype) == chosen
    assert note in told and bool(note) == bool(told)


@pytest.mark.parametrize("name", ["out.m4a", "out.webm", "out", "out.exe", "out.raw"])
def test_what_cannot_be_written_is_refused(name: str) -> None:
    """An extension that names no container that we write: a sentence that says which do."""
    source = Form("", "AAC", 48000, 1, None)
    with pytest.raises(Refused, match=r"use \.wav, \.flac, \.ogg or \.mp3"):
        output_form(source, Path(name), Path(name))
