"""`hushcast denoise` refuses in a sentence, and never leaves half a file."""

import os
import resource
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from struct import pack

import numpy as np
import pytest
import soundfile

from commands.denoise.sound_files import open_input, open_pipe
from commands.denoise.source import Refused, Source
from tests.denoiser.clips import noisy_clip
from tests.local.denoising import denoise, form, write
from tests.local.test_denoise_media import encode
from tests.local.test_denoise_wav import chunk, riff


def refusal(arguments: list[str | Path], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that is refused; returns its one sentence."""
    assert denoise(*arguments) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1, told
    return told.err


def test_what_it_cannot_do_is_refused_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, one line with the file and the reason, and nothing is created or changed."""
    monkeypatch.chdir(tmp_path)
    good = write(Path("good.wav"), noisy_clip("voice", 0.1), 96000)
    six = write(Path("six.wav"), np.zeros((100, 6), np.float32))
    Path("text.wav").write_text("this is no sound")
    Path("x.raw").write_bytes(bytes(100))
    Path("folder").mkdir()
    os.mkfifo("pipe")
    Path("zero.flac").touch()
    many = pack("<HHIIHH", 1, 60000, 48000, 0, 0, 16)
    Path("huge.wav").write_bytes(riff(chunk(b"fmt ", many), chunk(b"data", bytes(120000))))
    empty = write(Path("empty.wav"), np.empty(0, np.float32), subtype="PCM_16")
    before = {path: path.stat().st_mtime_ns for path in Path().iterdir()}
    for arguments, sentence in (
        (["none.wav", "out.wav"], "none.wav: No such file or directory"),
        (["folder", "out.wav"], "folder: not a file"),
        (["pipe", "out.wav"], "pipe: not a file; use - to read a pipe"),
        (["zero.flac", "out.wav"], "zero.flac: is empty"),
        (["huge.wav", "out.wav"], "huge.wav: has 60000 channels; at most 1024"),
        (["text.wav", "out.wav"], "text.wav: cannot be read as a sound file"),
        (["x.raw", "out.wav"], "x.raw: a raw file does not describe its contents"),
        ([good, good], "good.wav: is the input itself"),
        ([good, "./folder/../good.wav", "--force"], "good.wav: is the input itself"),
        ([good, six], "six.wav: already exists; use --force to replace it"),
        ([good, "out"], "out: the name has no extension; use .wav"),
        ([good, "out.m4a"], "out.m4a: cannot write .m4a files"),
        ([good, "out.mp3"], "out.mp3: MP3 MPEG_LAYER_III cannot hold 1 channels at 96000 Hz"),
        ([six, "out.mp3"], "out.mp3: MP3 MPEG_LAYER_III cannot hold 6 channels at 48000 Hz"),
        ([empty, "out.flac"], "out.flac: FLAC cannot hold 0 samples"),
        ([empty, "x" * 300 + ".wav"], "File name too long"),
        ([good, "nowhere/out.wav"], "nowhere: no such folder"),
        ([good, six, "text.wav"], "text.wav: not a folder; several inputs need one"),
        ([good, "folder/good.wav", "new"], "would both become new/good.wav"),
        ([good, "out.wav", "--model", "dfn9"], "there is no model 'dfn9'; choose one of dfn2"),
        ([good, "out.wav", "--attenuation-limit-db", "-3"], "expected 0 or more, got -3"),
        ([good, "out.wav", "--attenuation-limit-db", "nan"], "expected 0 or more, got nan"),
    ):
        assert sentence in refusal([*arguments], capsys)
    assert {path: path.stat().st_mtime_ns for path in Path().iterdir()} == before


@pytest.mark.parametrize("rate", [1, 999, 768_001, 10**8])
@pytest.mark.parametrize("container", ["WAV", "AIFF", "AU", "CAF", "pipe"])
def test_an_absurd_rate_is_refused(tmp_path: Path, container: str, rate: int) -> None:
    """Whatever reads the input: 1 Hz would become 48,000 samples each, 100 MHz opens nowhere."""
    path = tmp_path / "in"
    soundfile.write(path, np.zeros(100), rate, format=container.replace("pipe", "WAV"))
    with pytest.raises(Refused, match=f"has a sample rate of {rate} Hz; expected 1000 to 768000"):
        open_pipe(path.open("rb", 0), "in") if container == "pipe" else open_input(path)


def test_force_replaces_what_is_there(tmp_path: Path) -> None:
    """`--force` replaces an old output; a link stays a link, to the new file."""
    source = write(tmp_path / "in.wav", noisy_clip("voice", 0.5))
    old, link = write(tmp_path / "old.wav", np.zeros(10, np.float32)), tmp_path / "link.wav"
    link.symlink_to(old)
    assert denoise("--force", source, link) == 0
    assert link.is_symlink() and form(old) == form(source)


def test_a_batch_goes_on_after_a_bad_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Several files go into a new folder; bad ones are told, and all in a table; exit code 1."""
    sound = noisy_clip("voice", 0.5)
    good = [write(tmp_path / name, sound, 16000) for name in ("a.wav", "z.wav")]
    bad = tmp_path / "b.wav"
    bad.write_text("no sound")
    missing, folder = tmp_path / "c.wav", tmp_path / "deep" / "folder"
    assert denoise(good[0], bad, missing, good[1], folder) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in said[:2]] == [str(bad), str(missing)]
    assert said[2:] == [
        f"done      {folder / 'a.wav'}",
        f"failed    {said[0]}",
        f"failed    {said[1]}",
        f"done      {folder / 'z.wav'}",
    ]
    assert sorted(path.name for path in folder.iterdir()) == ["a.wav", "z.wav"]
    assert form(folder / "z.wav") == form(good[1])


def test_a_bug_ends_one_file_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is raised for one file, the others are done, and the table names it."""
    bad, good = (write(tmp_path / name, noisy_clip("voice", 0.1)) for name in ("a.wav", "b.wav"))

    def fails(path: Path) -> Source:
        if path == bad:
            raise ValueError("odd")
        return open_input(path)

    monkeypatch.setattr("commands.denoise.command.open_input", fails)
    assert denoise(bad, good, tmp_path / "out") == 1
    said = capsys.readouterr().err.splitlines()
    assert said[1:] == [f"failed    {bad}: ValueError: odd", f"done      {tmp_path / 'out/b.wav'}"]


def test_any_name_is_read_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names that are not UTF-8, or hold a newline or a dash, work; on screen they are escaped."""
    names = [b"\xe4\xff.wav", b"a\nb.flac", b"-x.ogg", b"\xff.m4a", b"no\xffne.wav"]
    paths = [Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)) for name in names]
    for path, container in zip(paths, ("WAV", "FLAC", "OGG"), strict=False):
        with path.open("wb") as file:
            soundfile.write(file, noisy_clip("voice", 0.2), 48000, format=container)
    encode(tmp_path / "x.m4a", "aac").rename(paths[3])
    assert denoise(*paths, tmp_path / "out") == 1
    said = capsys.readouterr().err.splitlines()
    shown = ["\\xe4\\xff.wav", "a\\nb.flac", "-x.ogg", "\\xff.wav"]
    assert said[-5:-1] == [f"done      {tmp_path}/out/{name}" for name in shown]
    assert said[-1] == f"failed    {tmp_path}/no\\xffne.wav: No such file or directory"
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_one_file_goes_into_a_folder_that_exists(tmp_path: Path) -> None:
    """With an existing folder as OUT the file keeps its name."""
    source = write(tmp_path / "a.wav", noisy_clip("voice", 0.2))
    (tmp_path / "folder").mkdir()
    assert denoise(source, tmp_path / "folder") == 0
    assert form(tmp_path / "folder" / "a.wav") == form(source)


def test_a_damaged_file_leaves_no_half_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If a file turns out to be damaged in the middle, a message says so and nothing is left."""
    source = tmp_path / "in.flac"
    soundfile.write(source, noisy_clip("words", 4.0), 48000)
    content = bytearray(source.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40000] = bytes(40000)
    source.write_bytes(content)
    said = refusal([source, tmp_path / "out.flac"], capsys)
    assert said.startswith(f"{source}: the file is damaged at ")
    assert list(tmp_path.iterdir()) == [source]


def running(*paths: Path, **options: object) -> "subprocess.Popen[str]":
    """Start the command as a process."""
    arguments = [sys.executable, "-m", "commands.cli", "denoise", *map(str, paths)]
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"]
)
def test_an_interrupted_run_leaves_nothing(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Ctrl-C in the middle: no traceback, exit code 130, no partial file under any name."""
    source = write(tmp_path / "in.wav", np.zeros(48000 * 600, np.float32), subtype="PCM_U8")
    process = running(source, tmp_path / "out.wav")
    deadline = time.monotonic() + 30
    while len(list(tmp_path.iterdir())) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    assert process.communicate(timeout=20)[1] == ""
    assert process.returncode == code
    assert list(tmp_path.iterdir()) == [source]


def test_an_interrupted_batch_tells_what_is_not_done(tmp_path: Path) -> None:
    """After Ctrl-C the table names the files that are not there."""
    sources = [tmp_path / name for name in ("a.wav", "b.wav", "c.wav")]
    for path, seconds in zip(sources, (0.1, 600, 0.1), strict=True):
        write(path, np.zeros(round(48000 * seconds), np.float32), subtype="PCM_U8")
    out = tmp_path / "out"
    process = running(*sources, out)
    deadline = time.monotonic() + 60
    while not (out / "a.wav").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=20)[1].splitlines()
    assert process.returncode == 130
    assert said == [f"done      {out / 'a.wav'}", *(f"not done  {path}" for path in sources[1:])]
    assert list(out.iterdir()) == [out / "a.wav"]


@pytest.mark.parametrize("name", ["out.wav", "out.flac", "out.ogg", "out.w64"])
def test_a_full_disk_is_told(tmp_path: Path, name: str) -> None:
    """If the output cannot grow, a message says so and nothing is left."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    source = write(tmp_path / "in.wav", noisy_clip("voice", 2.0), subtype="PCM_16")
    process = running(source, target := tmp_path / name, preexec_fn=limit)
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, said.count("\n")) == (2, 1)
    assert said.startswith(f"{target}: cannot be written")
    assert list(tmp_path.iterdir()) == [source]


def test_progress_is_for_terminals_only(tmp_path: Path) -> None:
    """A terminal shows a bar with the end of the file's name; a pipe or file gets nothing."""
    (folder := tmp_path / ("long" * 30)).mkdir()
    source = write(folder / "in.wav", noisy_clip("voice", 0.5))
    process = running(source, tmp_path / "a.wav")
    assert process.communicate(timeout=60)[1] == ""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    arguments = [sys.executable, "-m", "commands.cli", "denoise", str(source)]
    subprocess.run([*arguments, str(tmp_path / "b.wav")], stderr=theirs, timeout=60, check=True)
    shown = os.read(ours, 10000).decode()
    os.close(ours)
    os.close(theirs)
    assert "long/in.wav: 100%|" in shown
    assert shown.count("\n") == 1, "only the bar"
