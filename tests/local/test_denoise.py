"""`hushcast denoise`: any sound file comes out denoised, in its place and its form, or not at all."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from actors.denoiser import ModelName, load_model
from serve_app.block_denoiser import BlockDenoiser, denoise_blocks
from serve_app.cli import main
from serve_app.sound_files import WAV_LIMIT_BYTES, encoded, open_input, output_format
from tests.denoiser.clips import Sound, noisy_clip, pieces, worst
from tests.denoiser.official import official_model

EXACT = 1e-5


@pytest.fixture(autouse=True)
def signals_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command run within this process leaves its signals alone."""
    monkeypatch.setattr("serve_app.local.signals.Signals.listen", lambda self: None)


def denoise(*arguments: str | Path) -> int:
    """Run the command in this process; returns its exit code."""
    return main(["denoise", *map(str, arguments)])


def write(path: Path, sound: Sound, rate: int = 48000, subtype: str = "FLOAT") -> Path:
    """Make a sound file."""
    soundfile.write(path, sound, rate, subtype)
    return path


def read(path: Path) -> Sound:
    """Read a whole file [T] or [T, channels]."""
    sound: Sound = soundfile.read(path, dtype="float32")[0]
    return sound


def form(path: Path) -> tuple[int, int, int, str]:
    """Name what the output has to share with the input."""
    info = soundfile.info(path)
    return info.samplerate, info.channels, info.frames, info.subtype


def stream(
    sound: Sound, rate: int, lengths: tuple[int, ...] = (), limit: float | None = 0
) -> Sound:
    """Denoise [T, channels] in pieces; with a limit of 0 dB the same comes out."""
    denoiser = BlockDenoiser(
        load_model(), rate=rate, channels=sound.shape[1], attenuation_limit_db=limit
    )
    return np.concatenate(list(denoise_blocks(pieces(sound, lengths), denoiser)))


@pytest.mark.parametrize("name", ["dfn2", "dfn2_ll"])
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


def test_16_bits_round_to_the_nearest_step(tmp_path: Path) -> None:
    """With 16 bits the file lies half a step beside the official output, and on no side of it."""
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


@pytest.mark.parametrize("rate", [100, 8000, 11025, 44100, 47999, 48000, 96000, 384000])
@pytest.mark.parametrize("length", [1, 2, 479, 12345])
def test_nothing_is_moved_or_lost(rate: int, length: int) -> None:
    """At any rate and length, with no attenuation, what comes out is the input, in its place."""
    # Low enough for every rate, and gone at both ends: what lies above a rate's half is lost.
    dice = np.random.default_rng(length)
    spectrum = np.fft.rfft(dice.standard_normal((length, 2)), axis=0)
    spectrum[np.fft.rfftfreq(length, 1 / rate) > 0.3 * min(rate, 48000)] = 0
    sound = np.fft.irfft(spectrum, length, axis=0) * 0.1 * np.hanning(length + 2)[1:-1, None]
    heard = stream(sound.astype(np.float32), rate, (1, 0, 100, 5000, 7))
    assert heard.shape == sound.shape
    if length == 12345:
        assert np.max(np.abs(heard - sound)) < 1e-4


def test_cutting_does_not_matter() -> None:
    """The blocks that a file is read in leave no trace, resampled or not."""
    sound = noisy_clip("voice", 0.5)[:, None]
    for rate in (44100, 48000):
        whole = stream(sound, rate, limit=None)
        assert worst(stream(sound, rate, (1, 0, 479, 3000, 5), limit=None), whole) <= 1e-6


def test_an_empty_file_stays_empty(tmp_path: Path) -> None:
    """No samples in, no samples out, at any rate."""
    for rate in (44100, 48000):
        source = write(tmp_path / f"{rate}.wav", np.empty((0, 2), np.float32), rate)
        assert denoise(source, target := tmp_path / f"out{rate}.wav") == 0
        assert form(target) == form(source) == (rate, 2, 0, "FLOAT")


def test_what_is_no_sound_is_silenced_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """NaN and infinite samples count as silence at any rate; their number is told at the end."""
    for rate in (44100, 48000):
        broken, silenced = noisy_clip("voice", 1.0), noisy_clip("voice", 1.0)
        broken[20000:20005], silenced[20000:20005] = [np.nan, np.inf, -np.inf, 1e30, np.nan], 0
        source, target = write(tmp_path / f"{rate}.wav", broken, rate), tmp_path / f"out{rate}.wav"
        assert denoise(source, target) == 0
        assert worst(read(target), stream(silenced[:, None], rate, limit=None)[:, 0]) <= 1e-6
        assert capsys.readouterr().err == (
            f"{source}: 5 samples were no sound (NaN, infinite); silenced\n"
        )


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
    """OUT's extension is the container; where that lacks the input's subtype, a sentence says so."""
    source, target = (tmp_path / name for name in names)
    container = {".aif": "AIFF"}.get(source.suffix, source.suffix[1:].upper())
    soundfile.write(source, noisy_clip("voice", 1.0), 48000, subtypes[0], format=container)
    assert denoise(source, target) == 0
    assert form(target) == (48000, 1, 47923, subtypes[1])
    said = capsys.readouterr().err
    assert (said == "") == (subtypes[0] == subtypes[1])
    assert all(name in said for name in subtypes) or not said


def test_a_wav_of_more_than_4_gib_becomes_an_rf64(tmp_path: Path) -> None:
    """What a WAV cannot count is written as its larger brother, and that is said."""
    path = tmp_path / "in.wav"
    with soundfile.SoundFile(path, "w", 48000, 2, "PCM_16", format="W64") as file:
        file.write(np.zeros((10, 2), np.int16))
    with open_input(path) as source:
        for frames, container in ((WAV_LIMIT_BYTES // 4, "WAV"), (2**30, "RF64")):
            source._info.frames = frames
            chosen = output_format(source, tmp_path / "in.w64", tmp_path / "out.wav")
            assert (chosen.container, bool(chosen.note)) == (container, container == "RF64")


def test_tags_are_kept(tmp_path: Path) -> None:
    """Title and artist are in the denoised file too."""
    source, target = tmp_path / "in.flac", tmp_path / "out.flac"
    with soundfile.SoundFile(source, "w", 48000, 1) as file:
        file.title, file.artist = "Title", "Somebody"
        file.write(np.zeros(4800))
    assert denoise(source, target) == 0
    with soundfile.SoundFile(target) as file:
        assert (file.title, file.artist) == ("Title", "Somebody")


def refusal(arguments: list[str | Path], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that is refused; returns its one sentence."""
    assert denoise(*arguments) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1, told
    return told.err


def test_what_it_cannot_do_is_refused_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, one line that names the file and why, and nothing is made or changed."""
    monkeypatch.chdir(tmp_path)
    good = write(Path("good.wav"), noisy_clip("voice", 0.1), 96000)
    six = write(Path("six.wav"), np.zeros((100, 6), np.float32))
    Path("text.wav").write_text("this is no sound")
    Path("x.raw").write_bytes(bytes(100))
    Path("folder").mkdir()
    before = {path: path.stat().st_mtime_ns for path in Path().iterdir()}
    for arguments, sentence in (
        (["none.wav", "out.wav"], "none.wav: No such file or directory"),
        (["folder", "out.wav"], "folder: Is a directory"),
        (["text.wav", "out.wav"], "text.wav: this is no sound file"),
        (["x.raw", "out.wav"], "x.raw: a raw file does not say what is in it"),
        ([good, good], "good.wav: is the input itself"),
        ([good, "./folder/../good.wav", "--force"], "good.wav: is the input itself"),
        ([good, six], "six.wav: exists already; --force replaces it"),
        ([good, "out"], "out: the name has no extension that can be written"),
        ([good, "out.m4a"], "out.m4a: .m4a is no format that can be written"),
        ([good, "out.mp3"], "out.mp3: MP3 MPEG_LAYER_III cannot hold 1 channels at 96000 Hz"),
        ([six, "out.mp3"], "out.mp3: MP3 MPEG_LAYER_III cannot hold 6 channels at 48000 Hz"),
        ([good, "nowhere/out.wav"], "nowhere: there is no such folder"),
        ([good, six, "text.wav"], "text.wav: is a file; several files go into a folder"),
        ([good, "folder/good.wav", "new"], "would both become new/good.wav"),
        ([good, "out.wav", "--model", "dfn3"], "there is no model 'dfn3'; choose one of dfn2"),
        ([good, "out.wav", "--attenuation-limit-db", "-3"], "expected 0 or more, got -3"),
        ([good, "out.wav", "--attenuation-limit-db", "nan"], "expected 0 or more, got nan"),
    ):
        said = refusal([*arguments], capsys)
        assert sentence in said
        if "out.mp3" in arguments:
            continue
    assert {path: path.stat().st_mtime_ns for path in Path().iterdir()} == before


def test_force_replaces_what_is_there(tmp_path: Path) -> None:
    """With `--force` an old output is replaced; a link stays one and leads to the new."""
    source = write(tmp_path / "in.wav", noisy_clip("voice", 0.5))
    old, link = write(tmp_path / "old.wav", np.zeros(10, np.float32)), tmp_path / "link.wav"
    link.symlink_to(old)
    assert denoise("--force", source, link) == 0
    assert link.is_symlink() and form(old) == form(source)


def test_a_batch_goes_on_after_a_bad_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Several files go into a folder that is made; each bad one has its sentence; exit code 1."""
    sound = noisy_clip("voice", 0.5)
    good = [write(tmp_path / name, sound, 16000) for name in ("a.wav", "z.wav")]
    bad = tmp_path / "b.wav"
    bad.write_text("no sound")
    missing, folder = tmp_path / "c.wav", tmp_path / "deep" / "folder"
    assert denoise(good[0], bad, missing, good[1], folder) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in said] == [str(bad), str(missing)]
    assert sorted(path.name for path in folder.iterdir()) == ["a.wav", "z.wav"]
    assert form(folder / "z.wav") == form(good[1])


def test_one_file_goes_into_a_folder_that_exists(tmp_path: Path) -> None:
    """With an existing folder as OUT the file keeps its name."""
    source = write(tmp_path / "a.wav", noisy_clip("voice", 0.2))
    (tmp_path / "folder").mkdir()
    assert denoise(source, tmp_path / "folder") == 0
    assert form(tmp_path / "folder" / "a.wav") == form(source)


def test_a_damaged_file_leaves_no_half_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a file turns out to be damaged in its middle, that is said, and nothing is left."""
    source = tmp_path / "in.flac"
    soundfile.write(source, noisy_clip("words", 4.0), 48000)
    content = bytearray(source.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40000] = bytes(40000)
    source.write_bytes(content)
    said = refusal([source, tmp_path / "out.flac"], capsys)
    assert said.startswith(f"{source}: the file is damaged at ")
    assert list(tmp_path.iterdir()) == [source]


def running(source: Path, target: Path, **options: object) -> "subprocess.Popen[str]":
    """Start the command as a process."""
    command = [sys.executable, "-m", "serve_app.cli", "denoise", str(source), str(target)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"]
)
def test_an_interrupted_run_leaves_nothing(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Ctrl-C in the middle: no traceback, exit code 130, no half file, under no name."""
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


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """Where the output cannot grow, that is said, and nothing is left."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    source = write(tmp_path / "in.wav", noisy_clip("voice", 2.0))
    process = running(source, target := tmp_path / "out.wav", preexec_fn=limit)
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, said.count("\n")) == (2, 1)
    assert said.startswith(f"{target}: cannot be written")
    assert list(tmp_path.iterdir()) == [source]


def test_progress_is_for_terminals_only(tmp_path: Path) -> None:
    """On a terminal there is a bar with the file's name; into a pipe or file nothing is written."""
    source = write(tmp_path / "in.wav", noisy_clip("voice", 0.5))
    process = running(source, tmp_path / "a.wav")
    assert process.communicate(timeout=60)[1] == ""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "serve_app.cli", "denoise", str(source)]
    subprocess.run([*command, str(tmp_path / "b.wav")], stderr=theirs, timeout=60, check=True)
    shown = os.read(ours, 10000).decode()
    os.close(ours)
    os.close(theirs)
    assert "in.wav: 100%" in shown


def test_starting_it_loads_neither_ray_nor_the_server() -> None:
    """The command knows sound files and the model; nothing of the server is imported for it."""
    code = "import sys, serve_app.cli, serve_app.denoise; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert "serve_app.denoise" in loaded
    assert not {"ray", "fastapi", "pydantic", "serve_app.settings"} & loaded


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Ten minutes of sound take no more memory than one."""
    peaks = []
    for minutes in (1, 10):
        source = write(tmp_path / f"{minutes}.wav", np.zeros(48000 * 60 * minutes, np.float32))
        code = (
            "import resource, sys; from serve_app.cli import main; code = main(sys.argv[1:]);"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
        )
        command = [sys.executable, "-c", code, "denoise", str(source), str(tmp_path / "out.wav")]
        run = subprocess.run([*command, "--force"], capture_output=True, text=True, check=True)
        peaks.append(int(run.stdout))
    print(f"peak memory: {peaks[0] / 1024:.0f} and {peaks[1] / 1024:.0f} MiB")
    assert peaks[1] < peaks[0] + 8 * 1024
