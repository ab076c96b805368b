"""`hushcast denoise`: what comes out is the official result, in the form of what went in."""

import subprocess
import sys
from io import BytesIO
from pathlib import Path
from struct import pack

import av
import numpy as np
import pytest
import soundfile
import soxr

from actors.denoiser import ModelName
from actors.models import MODELS
from commands.denoise.flac import insert_metadata, read_metadata
from commands.denoise.ogg import insert_comments, read_comments
from tests.denoiser.clips import noisy_clip, worst
from tests.denoiser.official import official_model
from tests.local.denoising import denoise, form, read, stream, write

EXACT = 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_a_file_is_what_the_official_program_makes(tmp_path: Path, name: ModelName) -> None:
    """A 48 kHz float WAV equals the official offline output, to its last sample."""
    sound = noisy_clip("voice")
    source, target = write(tmp_path / "in.wav", sound), tmp_path / "out.wav"
    assert denoise("--model", name, source, target) == 0
    assert form(target) == form(source)
    assert worst(read(target), official_model(name).enhance(sound)) <= EXACT


def test_the_attenuation_limit_is_the_official_one(tmp_path: Path) -> None:
    """`--attenuation-limit-db 12` mixes as the official program does."""
    sound = noisy_clip("words", 1.0)
    source, target = write(tmp_path / "in.wav", sound), tmp_path / "out.wav"
    assert denoise(source, target, "--attenuation-limit-db", "12") == 0
    official = official_model().enhance(sound, atten_lim_db=12)
    assert worst(read(target), official) <= EXACT
    assert worst(official, official_model().enhance(sound)) > 100 * EXACT


@pytest.mark.parametrize("name", ["dfn2", "dfn3"])
def test_the_post_filter_is_the_official_one(tmp_path: Path, name: ModelName) -> None:
    """`--post-filter` is the official program's `--pf`."""
    sound = noisy_clip("words", 1.0)
    source, target = write(tmp_path / "in.wav", sound), tmp_path / "out.wav"
    assert denoise(source, target, "--post-filter", "--model", name) == 0
    official = official_model(name).enhance(sound, post_filter=True)
    assert worst(read(target), official) <= EXACT
    assert worst(official, official_model(name).enhance(sound)) > 100 * EXACT


def test_16_bits_round_to_the_nearest_step(tmp_path: Path) -> None:
    """With 16 bits the file is within half a step of the official output, without a bias."""
    source = write(tmp_path / "in.wav", noisy_clip("words"), subtype="PCM_16")
    target = tmp_path / "out.wav"
    assert denoise(source, target) == 0
    official = official_model().enhance(read(source))
    assert worst(read(target), official) <= EXACT + 0.5 / 32768
    assert abs(np.mean(read(target) - official)) < 0.02 / 32768


def test_every_channel_is_a_stream_of_its_own(tmp_path: Path) -> None:
    """5.1: each channel comes out as the official program denoises it alone."""
    clips = [noisy_clip(name, 1.0) * gain for name in ("voice", "words") for gain in (1, 0.3, 0)]
    source = write(tmp_path / "in.wav", np.stack(clips, axis=1).astype(np.float32))
    target = tmp_path / "out.wav"
    assert denoise(source, target) == 0
    assert form(target) == form(source)
    for clip, heard in zip(clips, read(target).T, strict=True):
        assert worst(heard, official_model().enhance(clip.astype(np.float32))) <= EXACT


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 96000])
def test_other_rates_are_resampled_there_and_back(tmp_path: Path, rate: int) -> None:
    """A stereo file of another rate equals resampling, the official program, and resampling."""
    sound = soxr.resample(noisy_clip("words", 2.0), 48000, rate, quality="VHQ")
    stereo = np.stack((sound, sound / 2), axis=1)
    source, target = write(tmp_path / "in.wav", stereo, rate), tmp_path / "out.wav"
    assert denoise(source, target) == 0
    assert form(target) == form(source)
    for channel in (0, 1):
        at_48k = soxr.resample(np.ascontiguousarray(stereo[:, channel]), rate, 48000, quality="VHQ")
        official = soxr.resample(official_model().enhance(at_48k), 48000, rate, quality="VHQ")
        heard = read(target)[:, channel]
        assert worst(heard[: len(official)], official[: len(heard)]) <= 2 * EXACT


def test_an_empty_file_stays_empty(tmp_path: Path) -> None:
    """No samples in, no samples out, at any rate."""
    for rate in (44100, 48000):
        source = write(tmp_path / f"{rate}.wav", np.empty((0, 2), np.float32), rate)
        assert denoise(source, target := tmp_path / f"out{rate}.wav") == 0
        assert form(target) == form(source) == (rate, 2, 0, "FLOAT")


def test_what_is_no_sound_is_silenced_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """NaN and infinite samples count as silence at any rate; their number is printed at the end."""
    for rate in (44100, 48000):
        broken, silenced = noisy_clip("voice", 1.0), noisy_clip("voice", 1.0)
        broken[20000:20005], silenced[20000:20005] = [np.nan, np.inf, -np.inf, 1e30, np.nan], 0
        source, target = write(tmp_path / f"{rate}.wav", broken, rate), tmp_path / f"out{rate}.wav"
        assert denoise(source, target) == 0
        assert worst(read(target), stream(silenced[:, None], rate, limit=None)[:, 0]) <= 1e-6
        assert capsys.readouterr().err == (
            f"{source}: 5 invalid samples (NaN, infinite, far too large) became silence\n"
        )


@pytest.mark.parametrize(
    ("names", "subtypes"),
    [
        (("in.flac", "out.flac"), ("PCM_24", "PCM_24")),
        (("in.aif", "out.aif"), ("PCM_U8", "PCM_U8")),
        (("in.mp3", "out.mp3"), ("MPEG_LAYER_III", "MPEG_LAYER_III")),
        (("in.ogg", "out.ogg"), ("VORBIS", "VORBIS")),
        (("in.wav", "out.flac"), ("PCM_24", "PCM_24")),
        (("in.wav", "out.flac"), ("FLOAT", "PCM_16")),
        (("in.mp3", "out.wav"), ("MPEG_LAYER_III", "PCM_16")),
        (("in.ogg", "out.opus"), ("VORBIS", "OPUS")),
    ],
)
def test_the_extension_chooses_and_the_subtype_stays(
    tmp_path: Path,
    names: tuple[str, str],
    subtypes: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """OUT's extension is the container; if that lacks the input's subtype, a note says so."""
    source, target = (tmp_path / name for name in names)
    container = {".aif": "AIFF"}.get(source.suffix, source.suffix[1:].upper())
    soundfile.write(source, noisy_clip("voice", 1.0), 48000, subtypes[0], format=container)
    assert denoise(source, target) == 0
    assert form(target) == (*form(source)[:3], subtypes[1])
    said = capsys.readouterr().err
    assert (said == "") == (subtypes[0] == subtypes[1])
    assert all(name in said for name in subtypes) or not said


def test_tags_are_kept(tmp_path: Path) -> None:
    """Title and artist are in the denoised file too."""
    source, target = tmp_path / "in.flac", tmp_path / "out.flac"
    with soundfile.SoundFile(source, "w", 48000, 1) as file:
        file.title, file.artist = "Title", "Somebody"
        file.write(np.zeros(4800))
    assert denoise(source, target) == 0
    with soundfile.SoundFile(target) as file:
        assert (file.title, file.artist) == ("Title", "Somebody")


def test_all_of_a_flacs_metadata_is_kept(tmp_path: Path) -> None:
    """Any comment, a picture and application data are in the output, byte for byte."""
    source, target = tmp_path / "in.flac", tmp_path / "out.flac"
    soundfile.write(source, noisy_clip("voice", 0.5), 48000, "PCM_24")
    comments = b"\x04\0\0\0test\x02\0\0\0\x0c\0\0\0COMPOSER=Mrs\x06\0\0\0ANY=\xc3\xa4"
    picture = pack(">II9sI16sI", 3, 9, b"image/png", 0, bytes(16), 7000) + b"picture" * 1000
    blocks = [(b"\x04", comments), (b"\x06", picture), (b"\x02", b"ourspeculiar")]
    plain = BytesIO(source.read_bytes())
    with source.open("wb") as file:
        insert_metadata(plain, file, blocks)
    assert denoise(source, target) == 0
    with target.open("rb") as file:
        assert read_metadata(file) == blocks
    assert form(target) == form(source)
    assert list(tmp_path.iterdir()) in ([source, target], [target, source])


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("length", [1, 255 * 255 - 100, 300_000])
def test_all_comments_of_an_ogg_are_kept(tmp_path: Path, subtype: str, length: int) -> None:
    """Any comment, also one of many pages, is in the output, whose sound is still there."""
    source, target = tmp_path / "in.ogg", tmp_path / "out.ogg"
    soundfile.write(source, noisy_clip("voice", 2.0), 48000, format="OGG", subtype=subtype)
    with source.open("rb") as file:
        ((start, _),) = read_comments(file)
    body = b"\x04\0\0\0test\x01\0\0\0" + pack("<I", length + 4) + b"ANY=" + b"x" * length
    comments = [(start, start + body + b"\x01" * (subtype == "VORBIS"))]
    plain, sound = BytesIO(source.read_bytes()), read(source)
    with source.open("wb") as file:
        insert_comments(plain, file, comments)
    assert np.array_equal(read(source), sound)
    assert denoise(source, target) == 0
    with target.open("rb") as file:
        assert read_comments(file) == comments
    assert form(target) == form(source)
    with av.open(target) as opened:
        assert opened.streams.audio[0].metadata["ANY"] == "x" * length


def test_starting_it_loads_neither_ray_nor_the_server() -> None:
    """The command knows sound files and the model; it imports nothing of the server."""
    code = "import sys, commands.cli, commands.denoise.command; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert "commands.denoise.command" in loaded
    assert not {"ray", "fastapi", "pydantic", "serve_app.settings"} & loaded


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Forty seconds of sound take no more memory than five."""
    # Not ru_maxrss: a process begins with its parent's.
    code = (
        "import sys; from pathlib import Path; from commands.cli import main;"
        "code = main(sys.argv[1:]); status = Path('/proc/self/status').read_text();"
        "print(status.split('VmHWM:')[1].split()[0]); sys.exit(code)"
    )
    peaks = []
    for seconds in (5, 40):
        source = write(tmp_path / f"{seconds}.wav", np.zeros(48000 * seconds, np.float32))
        command = [sys.executable, "-c", code, "denoise", str(source), str(tmp_path / "out.wav")]
        run = subprocess.run([*command, "--force"], capture_output=True, text=True, check=True)
        peaks.append(int(run.stdout) / 1024)
    print(f"peak memory: {peaks[0]:.0f} and {peaks[1]:.0f} MiB")
    assert peaks[1] < peaks[0] + 4
