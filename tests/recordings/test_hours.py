"""Hours of a stream, faster than real time: memory stays flat."""

import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from recordings.index import RecordingIndex
from recordings.multipart import PART_BYTES
from recordings.recorder import Recorder
from recordings.store import RecordingStore
from recordings.wav import SAMPLE_BYTES, SAMPLE_RATE
from tests.recordings.spools import STARTED_AT, some_sound
from tests.waiting import until

MB = 2**20
MINUTE = 60 * SAMPLE_RATE


async def record(minutes: int, recorder: Recorder, index: RecordingIndex) -> float:
    """Record some minutes as a stream does, from `begin` to the verified object.

    Prints the result; returns by how many MB this process grew after the first tenth.
    """
    process = psutil.Process()
    sound = some_sound(SAMPLE_RATE)
    sizes: list[float] = []
    began = time.monotonic()
    async with recorder.record("anna", "stream-1") as recording:
        recording.begin(STARTED_AT)
        recording_id = recording.recording_id
        assert recording_id is not None

        async def uploaded(samples: int) -> bool:
            upload = await index.uploads.read(recording_id)
            parts = len(upload.parts) if upload else 0
            return (parts + 2) * PART_BYTES > samples * SAMPLE_BYTES

        for minute in range(minutes):
            for second in range(60):
                recording.push(np.roll(sound, second))
            written = (minute + 1) * MINUTE
            await until(lambda written=written: uploaded(written), timeout_s=60)  # type: ignore[misc]
            sizes.append(process.memory_info().rss / MB)
    await recorder.wait_stored()
    entry = await index.get(recording_id)
    assert entry is not None and entry.state == "ready"
    assert entry.duration_s == pytest.approx(minutes * 60)
    settled = sizes[len(sizes) // 10 :]
    grown = settled[-1] - settled[0]
    print(
        f"\n{minutes / 60:.1f} h in {time.monotonic() - began:.0f} s: {settled[0]:.1f} -> "
        f"{settled[-1]:.1f} MB, {entry.size_bytes / 1e9:.2f} GB stored"
    )
    return grown


async def test_twenty_minutes(
    index: RecordingIndex, store: RecordingStore, spool_dir: Path
) -> None:
    """All of it is stored, and memory does not keep what was uploaded."""
    grown = await record(20, Recorder(index, store, spool_dir), index)
    assert grown < 3 * PART_BYTES / MB


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_eight_hours(index: RecordingIndex, store: RecordingStore, spool_dir: Path) -> None:
    """A whole night: memory stays flat."""
    grown = await record(480, Recorder(index, store, spool_dir), index)
    assert grown < 3 * PART_BYTES / MB
