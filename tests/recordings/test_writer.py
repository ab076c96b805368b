"""The spool: a playable WAV at any moment, whatever happens to the process."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from foundation.ids import new_id
from recordings.spool import SpoolDamaged, claim_spool
from recordings.wav import HEADER_BYTES, SAMPLE_RATE, HeaderError, pack_header, unpack_header
from recordings.writer import RecordingWriter, SpoolFull, SpoolMeta
from tests.recordings.spools import STARTED_AT, chunks_of, some_meta, some_sound, write_spool


def open_writer(folder: Path, **options: Any) -> RecordingWriter:
    meta = some_meta()
    return RecordingWriter(folder / f"{meta.recording_id}.wav", meta, **options)


def test_soundfile_opens_the_spool_at_any_moment(spool_dir: Path) -> None:
    """The WAV plays while it is being written, and is at most one second behind."""
    sound = some_sound(5 * SAMPLE_RATE)
    writer = open_writer(spool_dir)
    written = 0
    for length in np.random.default_rng(2).integers(1, 9000, 60):
        writer.write(sound[written : written + length])
        written = min(written + int(length), len(sound))
        heard, rate = soundfile.read(writer.path, dtype="float32")
        assert rate == SAMPLE_RATE
        assert written - len(heard) <= SAMPLE_RATE
        assert np.array_equal(heard, sound[: len(heard)])
    writer.close()
    assert np.array_equal(soundfile.read(writer.path, dtype="float32")[0], sound[:written])


def test_sound_is_clipped_and_rounded(spool_dir: Path) -> None:
    """Samples too large for PCM16 are clipped, never wrapped; NaN becomes silence."""
    writer = open_writer(spool_dir)
    writer.write(np.array([1, -1, 2, -3e38, np.nan, np.inf, 0.6 / 32768], np.float32))
    writer.close()
    heard = soundfile.read(writer.path, dtype="int16")[0].tolist()
    assert heard == [32767, -32768, 32767, -32768, 0, 32767, 1]


def test_silence_keeps_the_timeline(spool_dir: Path) -> None:
    """A gap keeps its length in the recording, and `close` may be called twice."""
    writer = open_writer(spool_dir)
    writer.write(some_sound(960))
    writer.write_silence(2 * SAMPLE_RATE)
    writer.write(some_sound(960))
    assert writer.duration_s == 2 + 1920 / SAMPLE_RATE
    writer.close()
    writer.close()
    heard = soundfile.read(writer.path, dtype="float32")[0]
    assert np.array_equal(heard[-960:], some_sound(960))
    assert not heard[960:-960].any() and len(heard) == 2 * SAMPLE_RATE + 1920
    with pytest.raises(ValueError, match="closed"):
        writer.write(some_sound(960))


def test_refuses_what_is_not_mono(spool_dir: Path) -> None:
    """Two-dimensional sound is an error, not a garbled recording."""
    writer = open_writer(spool_dir)
    with pytest.raises(ValueError, match="expected samples"):
        writer.write(np.zeros((2, 960), np.float32))
    writer.close()


def test_the_header_says_who_and_when(spool_dir: Path) -> None:
    """Any broadcast WAV reader finds user, id, stream and UTC start in the bext chunk."""
    path = write_spool(spool_dir, some_sound(960))
    bext = chunks_of(path.read_bytes())[b"bext"]
    assert bext[:256].rstrip(b"\0") == b"hushcast stream stream-1"
    assert bext[256:288].rstrip(b"\0") == b"anna"
    assert bext[288:320].rstrip(b"\0") == path.stem.encode()
    assert bext[320:338] == b"2026-09-2114:13:20"
    meta = unpack_header(path.read_bytes()[:HEADER_BYTES])
    assert meta == SpoolMeta(path.stem, "anna", "stream-1", STARTED_AT)


@pytest.mark.parametrize("fraction", [0.0, 0.9999999, 0.000001])
def test_the_start_never_changes_its_second(fraction: float) -> None:
    """The actor and recovery, which reads the header, make the same key."""
    meta = SpoolMeta(new_id(), "anna", "s", 1_790_000_000 + fraction)
    again = unpack_header(pack_header(meta, 0))
    assert int(again.started_at) == int(meta.started_at)
    assert abs(again.started_at - meta.started_at) < 1 / 40_000


def test_over_4_gib_it_is_rf64(spool_dir: Path) -> None:
    """A 13-hour recording has 64-bit sizes and opens to its last sample."""
    writer = open_writer(spool_dir)
    writer.write_silence(13 * 3600 * SAMPLE_RATE)
    writer.write(some_sound(960))
    writer.close()
    with writer.path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    assert header[:4] == b"RF64" and b"ds64" in chunks_of(header)
    with soundfile.SoundFile(writer.path) as opened:
        assert opened.frames == 13 * 3600 * SAMPLE_RATE + 960
        opened.seek(-960, soundfile.SEEK_END)
        assert np.array_equal(opened.read(dtype="float32"), some_sound(960))


def test_sigkill_loses_at_most_a_second(spool_dir: Path) -> None:
    """A killed process's spool has what it wrote, and can be claimed at once."""
    meta = some_meta()
    path = spool_dir / f"{meta.recording_id}.wav"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_FOR_EVER, str(path), meta.recording_id],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    for _ in range(377):
        written = int(process.stdout.readline())
    assert claim_spool(path) is None, "a live spool is nobody else's"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    spool = claim_spool(path)
    assert spool is not None
    assert spool.samples >= written - SAMPLE_RATE
    assert len(soundfile.read(path)[0]) == spool.samples
    print(f"lost {max(0, written - spool.samples) / SAMPLE_RATE:.3f} s")
    spool.close()


WRITE_FOR_EVER = f"""
import sys
from pathlib import Path
import numpy as np
from recordings.writer import RecordingWriter, SpoolMeta
meta = SpoolMeta(sys.argv[2], "anna", "s", {STARTED_AT})
writer = RecordingWriter(Path(sys.argv[1]), meta)
for n in range(1, 1_000_000):
    writer.write(np.full(960, 0.25, np.float32))
    print(n * 960, flush=True)
"""


def test_a_spool_cut_anywhere_is_repaired(spool_dir: Path) -> None:
    """Half samples go, the header gets the real length, and the rest of the sound is unchanged."""
    sound = some_sound(3000)
    for cut in (HEADER_BYTES + 1, HEADER_BYTES + 2, HEADER_BYTES + 4001):
        path = write_spool(spool_dir, sound)
        os.truncate(path, cut)
        spool = claim_spool(path)
        assert spool is not None and spool.samples == (cut - HEADER_BYTES) // 2
        spool.close()
        heard = soundfile.read(path, dtype="float32")[0]
        assert np.array_equal(heard, sound[: spool.samples])


def test_a_damaged_spool_is_left_alone(spool_dir: Path) -> None:
    """Sound behind an unreadable header is neither deleted nor taken for somebody else's."""
    path = write_spool(spool_dir, some_sound(3000))
    with path.open("r+b") as file:
        file.write(b"rubbish" * 20)
    before = path.read_bytes()
    with pytest.raises(SpoolDamaged):
        claim_spool(path)
    assert path.read_bytes() == before
    renamed = write_spool(spool_dir, some_sound(10)).rename(spool_dir / "other.wav")
    with pytest.raises(SpoolDamaged, match="names recording"):
        claim_spool(renamed)


def test_a_full_disk_is_refused_at_the_start(spool_dir: Path) -> None:
    """With less than the reserve free, nothing begins and nothing is left behind."""
    with pytest.raises(SpoolFull, match="no space left for"):
        open_writer(spool_dir, reserve_bytes=1 << 60)
    assert not list(spool_dir.iterdir())


def test_a_disk_that_fills_up_ends_the_recording_intact(spool_dir: Path) -> None:
    """When the reserve is reached the writer raises, and the spool can be closed."""
    free = os.statvfs(spool_dir).f_bavail * os.statvfs(spool_dir).f_frsize
    writer = open_writer(spool_dir, reserve_bytes=free - (256 << 20))
    writer.write(some_sound(2 * SAMPLE_RATE))
    with (spool_dir / "somebody-else").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 512 << 20)
    with pytest.raises(SpoolFull):
        writer.write(some_sound(2 * SAMPLE_RATE))
    writer.close()
    assert len(soundfile.read(writer.path)[0]) >= 2 * SAMPLE_RATE


def test_peaks_are_the_loudest_of_equal_stretches(spool_dir: Path) -> None:
    """A thousand numbers 0..1 for sound of any length; fewer if there are fewer samples."""
    sound = some_sound(123_457)
    spool = claim_spool(write_spool(spool_dir, sound))
    assert spool is not None
    edges = np.linspace(0, len(sound), 1001).astype(int)
    expected = [np.abs(sound[a:b]).max() for a, b in zip(edges[:-1], edges[1:], strict=True)]
    assert spool.peaks() == pytest.approx(expected, abs=0.0006)
    assert len(spool.peaks()) == 1000 and max(spool.peaks()) <= 1
    spool.close()
    short = claim_spool(write_spool(spool_dir, some_sound(7)))
    assert short is not None and len(short.peaks()) == 7
    short.close()


@pytest.mark.parametrize("username", ["", "ab", "Anna", "a/../b", "a\0bc", "abc\n", "x" * 33])
def test_unsafe_names_are_refused(username: str) -> None:
    """A username that could do harm in a path, a key or a header never becomes a recording."""
    with pytest.raises(ValueError, match="username"):
        some_meta(username)


def test_a_header_of_somebody_else_is_refused() -> None:
    """Another program's WAV is not taken for ours."""
    header = bytearray(pack_header(some_meta(), 10))
    with pytest.raises(HeaderError):
        unpack_header(bytes(header[:100]))
    with pytest.raises(HeaderError):
        unpack_header(bytes(len(header)))
    header[header.index(b"anna")] = ord("/")
    with pytest.raises(HeaderError, match="username"):
        unpack_header(bytes(header))
