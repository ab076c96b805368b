"""A disk that fails at any step of a recording: nobody hangs, and no lock or lease stays."""

import asyncio
import errno
import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import recordings.spool
import recordings.uploader
import recordings.writer
from recordings.index import RecordingIndex, RecordingState
from recordings.recorder import Recorder
from recordings.recovery import recover
from recordings.store import RecordingStore
from recordings.wav import SAMPLE_RATE
from tests.recordings.spools import STARTED_AT, files_in, some_sound

SOUND_S, SILENCE_S = 2, 1
STEPS = (
    *("open", "pwrite", "pread", "ftruncate", "fdatasync", "fstat", "stat", "close"),
    *("flock", "disk_usage"),
)


class Disk:
    """Counts calls to the disk. From `fails_at` on they fail: the first one, or all of them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fails_at: int | None = None
        self.for_good = False

    def wrapped(self, module: Any) -> "DiskModule":
        """Get a stand-in for a module, whose calls pass through here."""
        return DiskModule(self, module)

    def called(self, name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make a call, or fail; even then `close` frees the descriptor, as on Linux."""
        number, at = len(self.calls), self.fails_at
        self.calls.append(name)
        fails = at is not None and (number >= at if self.for_good else number == at)
        if fails and name != "close":
            raise OSError(errno.EIO, f"injected at {name}")
        result = call(*args, **kwargs)
        if fails:
            raise OSError(errno.EIO, f"injected at {name}")
        return result


class DiskModule:
    """`os`, `fcntl` or `shutil` for the modules that write recordings."""

    def __init__(self, disk: Disk, module: Any) -> None:
        self._disk = disk
        self._module = module

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        if name not in STEPS:
            return found
        return lambda *args, **kwargs: self._disk.called(name, found, *args, **kwargs)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Put this between the recordings' code and the disk."""
    disk = Disk()
    for module in (recordings.writer, recordings.spool, recordings.uploader):
        for name, real in (("os", os), ("fcntl", fcntl), ("shutil", shutil)):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, disk.wrapped(real))
    for name in ("open", "unlink"):  # how a spool is read, and removed
        monkeypatch.setattr(Path, name, _of_spools(disk, name, getattr(Path, name)))
    return disk


def _of_spools(disk: Disk, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def called(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.suffix != ".wav":
            return real(path, *args, **kwargs)
        return disk.called(f"Path.{name}", real, path, *args, **kwargs)

    return called


async def record(recorder: Recorder) -> str:
    """Record a little, and wait until nothing is being stored; returns the id."""
    async with recorder.record("anna", "stream-1") as recording:
        recording.begin(STARTED_AT)
        for second in range(SOUND_S):
            recording.push(some_sound(SAMPLE_RATE, seed=second))
        recording.push(SILENCE_S * SAMPLE_RATE)
    async with asyncio.timeout(60):
        await recorder.wait_stored()
    assert not recorder.busy and recording.recording_id is not None
    return recording.recording_id


def descriptors() -> int:
    """Count this process's open spools."""
    names = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
    return sum(os.path.exists(name) and os.readlink(name).endswith(".wav") for name in names)


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "from-then-on"])
async def test_a_disk_that_fails_at_any_step(
    for_good: bool, disk: Disk, index: RecordingIndex, store: RecordingStore, spool_dir: Path
) -> None:
    """The stream ends, the lease is free, and recovery keeps what was written."""
    recorder = Recorder(index, store, spool_dir)
    await record(recorder)
    steps, disk.for_good = len(disk.calls), for_good
    assert {"open", "flock", "pwrite", "ftruncate", "fdatasync", "close"} <= set(disk.calls)
    assert {"Path.open", "Path.unlink"} <= set(disk.calls)
    kept = 0
    for step in range(steps):
        disk.calls.clear()
        disk.fails_at = step
        recording_id = await record(recorder)
        failed_at = f"step {step}, {disk.calls[step] if step < len(disk.calls) else 'none'}"
        assert not await index.leased(recording_id), failed_at
        assert descriptors() == 0, failed_at
        disk.fails_at = None
        await recover(spool_dir, index=index, store=store)
        assert files_in(spool_dir) == [], failed_at
        entry = await index.get(recording_id)
        if entry is not None:
            assert entry.state in (RecordingState.READY, RecordingState.RECOVERED), failed_at
            assert 0 < entry.duration_s <= SOUND_S + SILENCE_S, failed_at
            assert store.size(entry.key) == entry.size_bytes, failed_at
            kept += 1
    assert kept >= steps // 3, "most faults come when something was written already"
    assert await index.unfinished() == []


async def test_a_folder_that_cannot_be_made_costs_the_recording_only(
    index: RecordingIndex, store: RecordingStore, tmp_path: Path
) -> None:
    """The spool folder's parent is a file: sound goes on, nothing is listed, no lease stays."""
    (tmp_path / "file").write_text("")
    recording_id = await record(Recorder(index, store, tmp_path / "file" / "spool"))
    assert await index.get(recording_id) is None
    assert not await index.leased(recording_id)
