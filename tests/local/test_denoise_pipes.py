"""`-`: sound through standard input and output."""

import io
import os
import select
import signal
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.denoiser.clips import Sound, noisy_clip, worst
from tests.local.denoising import denoise, read, write
from tests.local.test_denoise_media import encode
from tests.local.test_denoise_wav import KEPT, UNKNOWN, chunk, chunks_of, fmt, riff

SOUND = noisy_clip("voice", 1.0)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "commands.cli", "denoise", *map(str, arguments)]


def piped(content: bytes, *arguments: str | Path) -> "subprocess.CompletedProcess[bytes]":
    """Run the command with this on standard input."""
    return subprocess.run(command(*arguments), input=content, capture_output=True, timeout=100)


def wav(sound: Sound, subtype: str = "FLOAT") -> bytes:
    coded = io.BytesIO()
    soundfile.write(coded, sound, 48000, subtype, format="WAV")
    return coded.getvalue()


def test_a_pipe_gets_what_a_file_gets(tmp_path: Path) -> None:
    """The same WAV through pipes, files and both: the same samples, nothing else."""
    source = write(tmp_path / "in.wav", SOUND)
    assert denoise(source, tmp_path / "file.wav") == 0
    expected = read(tmp_path / "file.wav")
    both = piped(source.read_bytes(), "-", "-")
    out = piped(b"", source, "-")
    into = piped(source.read_bytes(), "-", tmp_path / "piped.wav")
    for run in (both, out, into):
        assert (run.returncode, run.stderr) == (0, b"")
    for content in (both.stdout, out.stdout, (tmp_path / "piped.wav").read_bytes()):
        assert worst(soundfile.read(io.BytesIO(content), dtype="float32")[0], expected) == 0
    assert into.stdout == b""


def test_what_has_no_end_yet_has_an_open_length(tmp_path: Path) -> None:
    """A live WAV keeps its chunks and its open length; programs read it to its end."""
    sound = np.rint(SOUND * 32768).astype("<i2").tobytes()
    kept = [chunk(*item) for item in KEPT.items()]
    live = riff(fmt, *kept, chunk(b"data", sound, UNKNOWN), size=UNKNOWN)
    run = piped(live, "-", "-")
    assert (run.returncode, run.stderr) == (0, b"")
    assert run.stdout[4:8] == b"\xff" * 4 and b"data\xff\xff\xff\xff" in run.stdout
    (tmp_path / "out.wav").write_bytes(run.stdout)
    assert len(read(tmp_path / "out.wav")) == len(SOUND)
    assert piped(live, "-", tmp_path / "closed.wav").returncode == 0
    assert chunks_of(tmp_path / "closed.wav") == KEPT | {b"JUNK": bytes(28)}
    with wave.open(str(tmp_path / "closed.wav")) as closed:
        assert closed.getnframes() == len(SOUND)


@pytest.mark.parametrize("mode", ["wb", "ab", "pipe"])
def test_a_pipe_that_ends_too_early_is_told(tmp_path: Path, mode: str) -> None:
    """What is missing is told as for a file, and the output's header does not promise it."""
    whole, target = wav(SOUND, "PCM_16"), tmp_path / "out.wav"
    cut = whole[: 44 + 10001]
    if mode == "pipe":
        run = piped(cut, "-", "-")
        content = run.stdout
    else:
        target.write_bytes(b"before")
        with target.open(mode) as file:
            file.write(b"before")
            file.flush()
            run = subprocess.run(command("-", "-"), input=cut, stdout=file, stderr=subprocess.PIPE)
            file.seek(0, os.SEEK_CUR)
            file.write(b"behind")
        written = target.read_bytes()
        assert written.endswith(b"behind")
        content = written[6 if mode == "wb" else 12 : -6]
    missing = len(whole) - len(cut)
    told = f"standard input: {missing} bytes of its sound are missing at its end\n"
    assert (run.returncode, run.stderr.decode()) == (0, told)
    size = int.from_bytes(content[content.index(b"data") + 4 :][:4], "little")
    assert size == (10000 if mode == "wb" else UNKNOWN)
    assert len(content) - content.index(b"data") - 8 == 10000
    if mode == "wb":
        target.write_bytes(content)
        assert chunks_of(target) == {b"JUNK": bytes(28)}


def test_a_file_that_goes_into_a_pipe_tells_its_length(tmp_path: Path) -> None:
    """The length of a WAV in a file is known, those of other formats are only promised."""
    for subtype, path in (("PCM_16", tmp_path / "in.wav"), ("PCM_16", tmp_path / "in.flac")):
        run = piped(b"", write(path, SOUND, subtype=subtype), "-")
        size = int.from_bytes(run.stdout[run.stdout.index(b"data") + 4 :][:4], "little")
        assert size == (2 * len(SOUND) if path.suffix == ".wav" else UNKNOWN)


def test_sound_comes_out_while_it_comes_in() -> None:
    """A live WAV is denoised as it comes; Ctrl-C ends the wait for more, with exit code 130."""
    process = subprocess.Popen(
        command("-", "-"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin and process.stdout
    live = riff(fmt, chunk(b"data", bytes(96000), UNKNOWN), size=UNKNOWN)
    process.stdin.write(live)
    process.stdin.flush()
    got = b""
    while len(got) < 48000:
        assert select.select([process.stdout], [], [], 60)[0]
        got += os.read(process.stdout.fileno(), 2**16)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    assert process.communicate()[1] == b""


@pytest.mark.parametrize(
    ("name", "codec"), [("in.m4a", "aac"), ("in.webm", "libopus"), ("in.flac", "flac")]
)
def test_other_formats_come_through_a_pipe_too(tmp_path: Path, name: str, codec: str) -> None:
    """What cannot be read as it comes, such as an m4a with its index behind, is read too."""
    source = encode(tmp_path / name, codec)
    run = piped(source.read_bytes(), "-", "-")
    assert run.returncode == 0
    assert run.stderr.count(b"\n") == (codec != "flac")  # written as PCM_16
    assert denoise(source, tmp_path / "file.wav") == 0
    assert np.array_equal(soundfile.read(io.BytesIO(run.stdout))[0], read(tmp_path / "file.wav"))


def test_what_is_wrong_with_a_pipe_is_told(tmp_path: Path) -> None:
    """Nothing, no sound, a full disk, a reader that has gone: exit code 2 and a sentence."""
    source = write(tmp_path / "in.wav", SOUND)
    for content, arguments, sentence in (
        (b"", ["-", "-"], "standard input: is empty"),
        (b"no sound", ["-", "-"], "standard input: cannot be read as a sound file"),
        (b"", ["-", tmp_path], "-: standard input has no name; give OUT one"),
        (b"", ["-", source, tmp_path], "-: standard input has no name; give OUT one"),
        (b"", [source, source, "-"], "-: not a folder; several inputs need one"),
    ):
        run = piped(content, *arguments)
        assert (run.returncode, run.stdout) == (2, b"")
        assert run.stderr.decode() == sentence + "\n"
    with open("/dev/full", "wb") as full:
        run = subprocess.run(command(source, "-"), stdout=full, stderr=subprocess.PIPE)
    assert run.returncode == 2
    assert run.stderr == b"standard output: cannot be written (No space left on device)\n"
    reading, writing = os.pipe()
    os.close(reading)
    run = subprocess.run(command(source, "-"), stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert run.returncode == 2
    assert run.stderr == b"standard output: cannot be written (Broken pipe)\n"


def test_terminals_are_not_pipes(tmp_path: Path) -> None:
    """Nobody types a WAV, and none is printed on a screen."""
    source = write(tmp_path / "in.wav", SOUND)
    ours, theirs = os.openpty()
    for arguments, which in (((source, "-"), "output"), (("-", tmp_path / "out.wav"), "input")):
        run = subprocess.run(
            command(*arguments), stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, timeout=60
        )
        assert run.returncode == 2
        assert run.stderr.decode().startswith(f"standard {which}: is a terminal; ")
    os.close(ours)
    os.close(theirs)
