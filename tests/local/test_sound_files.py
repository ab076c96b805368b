"""Sound files: how samples become integers, and which form a file gets."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from commands.denoise.sound_files import WAV_LIMIT_BYTES, encoded, open_input, output_format
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


def test_a_wav_of_more_than_4_gib_becomes_an_rf64(tmp_path: Path) -> None:
    """A file too large for a WAV becomes an RF64, and a note says so."""
    path = tmp_path / "in.wav"
    with soundfile.SoundFile(path, "w", 48000, 2, "PCM_16", format="W64") as file:
        file.write(np.zeros((10, 2), np.int16))
    with open_input(path) as source:
        for frames, container in ((WAV_LIMIT_BYTES // 4, "WAV"), (2**30, "RF64")):
            source._info.frames = frames
            chosen = output_format(source, tmp_path / "in.w64", tmp_path / "out.wav")
            assert (chosen.container, bool(chosen.note)) == (container, container == "RF64")
