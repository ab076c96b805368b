"""Small copies and FLACs, made by a process of their own, on the real servers."""

import asyncio
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
import soundfile

from recordings.copies import HOPELESS, LATER, TRY_AGAIN_S, CopyMaker
from recordings.encoder import SMALL_BITRATE, encode
from recordings.finish import finish
from recordings.index import Reason, Recording, RecordingIndex
from recordings.names import Copy, attachment, copy_key, file_name
from recordings.retention import delete_due
from recordings.store import RecordingStore, StoreConfig
from recordings.wav import SAMPLE_RATE
from tests.recordings.spools import some_sound, write_spool
from tests.waiting import until

SECONDS = 3


@pytest.fixture
async def recording(spool_dir: Path, index: RecordingIndex, store: RecordingStore) -> Recording:
    """A stored recording of noise, of which nothing but the WAV is there yet."""
    path = write_spool(spool_dir, some_sound(SECONDS * SAMPLE_RATE))
    finished = await finish(path, index=index, store=store)
    assert finished is not None and finished.copies == ()
    return finished


@pytest.fixture
def maker(index: RecordingIndex, store: RecordingStore, spool_dir: Path) -> CopyMaker:
    return CopyMaker(index, store, spool_dir)


def body_of(key: str, store: RecordingStore, folder: Path) -> Path:
    """Get an object as a file."""
    stored, path = store.open(key), folder / "copy"
    path.write_bytes(b"".join(stored))
    stored.close()
    return path


async def test_small_copies_and_flacs(
    recording: Recording,
    maker: CopyMaker,
    index: RecordingIndex,
    store: RecordingStore,
    tmp_path: Path,
) -> None:
    """Each recording gets an MP4 with Opus whose index comes first, and a FLAC of the very same
    samples if one is wanted: one at a time on a node, whoever makes them."""
    making = asyncio.create_task(maker.make_next())
    await until(lambda: bool(copying()))
    await index.copies.want(recording.id, Copy.FLAC)
    assert not await maker.make_next()
    assert await making and await maker.make_next() and not await maker.make_next()
    assert await index.get(recording.id) == replace(recording, copies=(Copy.FLAC, Copy.SMALL))
    path = body_of(copy_key(recording.key, Copy.SMALL), store, tmp_path)
    data, tags = path.read_bytes(), tags_of(recording)
    assert data[4:8] == b"ftyp" and 0 < data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as file:
        [stream] = file.streams.audio
        assert tags.items() <= file.metadata.items()
        assert stream.codec_context.name == "opus" and stream.codec_context.channels == 1
        samples = sum(frame.samples for frame in file.decode(stream))
    assert abs(samples - SECONDS * SAMPLE_RATE) <= 960
    path = body_of(copy_key(recording.key, Copy.FLAC), store, tmp_path)
    with av.open(str(path)) as file:
        assert tags.items() <= {name.lower(): text for name, text in file.metadata.items()}.items()
    flac, _ = soundfile.read(path, dtype="int16")
    wav, _ = soundfile.read(body_of(recording.key, store, tmp_path), dtype="int16")
    assert np.array_equal(flac, wav) and len(wav) == SECONDS * SAMPLE_RATE


def tags_of(recording: Recording) -> dict[str, str]:
    """What a player shows."""
    moment = datetime.fromtimestamp(recording.started_at, UTC)
    title = f"{recording.username} {moment:%Y-%m-%d %H.%M.%S}"
    return {"title": title, "artist": recording.username, "date": f"{moment:%Y-%m-%d}"}


async def test_copies_go_with_their_recording(
    recording: Recording, maker: CopyMaker, index: RecordingIndex, store: RecordingStore
) -> None:
    """Even one that was being made when the recording was deleted; a deleted one gets none."""
    making = asyncio.create_task(maker.make_next())
    await until(lambda: bool(copying()))
    await index.delete(recording, Reason.OWNER, undo_s=0)
    await delete_due(index, store)
    assert await making
    assert [store.exists(copy_key(recording.key, copy)) for copy in Copy] == [False, False]
    await index.copies.want(recording.id, Copy.FLAC)
    assert await maker.make_next() and not await maker.make_next()


async def test_only_of_what_is_still_there_a_failure_is_an_error(
    recording: Recording,
    maker: CopyMaker,
    index: RecordingIndex,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A recording that is deleted meanwhile takes its WAV along, which reads like a loss."""
    deletes = False

    async def fail(recording: Recording, copy: Copy) -> int:
        if deletes:
            await index.remove(recording.id)
        return HOPELESS

    monkeypatch.setattr(maker, "_encode", fail)
    assert await maker.make_next()
    assert "copy cannot be made" in caplog.text
    caplog.clear()
    deletes = True
    await index.copies.want(recording.id, Copy.FLAC)
    assert await maker.make_next() and await index.copies.wanted() == []
    assert "cannot be made" not in caplog.text


def copying() -> list[psutil.Process]:
    """Find the processes that make copies for us."""
    children = psutil.Process().children(recursive=True)
    return [each for each in children if "recordings.copies" in each.cmdline()]


async def test_a_crash_leaves_nothing_behind(
    recording: Recording,
    maker: CopyMaker,
    index: RecordingIndex,
    store: RecordingStore,
    spool_dir: Path,
) -> None:
    """No object, no file, no process; the copy is tried again later, as lowly as before."""
    making = asyncio.create_task(maker.make_next())
    await until(lambda: bool(copying()))
    [process] = copying()
    await until(lambda: process.nice() == 19)
    process.kill()
    assert await making
    assert [path.name for path in spool_dir.iterdir()] == ["copies.lock"]
    assert not store.exists(copy_key(recording.key, Copy.SMALL))
    assert not list(store.parts.open_uploads())
    assert await index.copies.wanted() == []
    await index.copies.postpone(recording.id, Copy.SMALL, -TRY_AGAIN_S)
    assert await maker.make_next()
    assert store.exists(copy_key(recording.key, Copy.SMALL))


async def test_a_maker_that_is_killed_takes_its_process_along(
    recording: Recording, maker: CopyMaker, index: RecordingIndex
) -> None:
    """The process ends with the one that waits for it, and the copy is still wanted."""
    making = asyncio.create_task(maker.make_next())
    await until(lambda: bool(copying()))
    [process] = copying()
    making.cancel()
    await asyncio.gather(making, return_exceptions=True)
    await until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    assert await index.copies.wanted() == [(recording.id, Copy.SMALL)]


async def test_a_store_that_is_away_is_asked_again(
    recording: Recording,
    index: RecordingIndex,
    store_config: StoreConfig,
    spool_dir: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A wav that is missing is not. Neither names the person whose it is."""
    away = RecordingStore(replace(store_config, endpoint="http://127.0.0.1:9"))
    assert await CopyMaker(index, away, spool_dir).make_next()
    assert await index.copies.wanted() == []
    await index.copies.postpone(recording.id, Copy.SMALL, -TRY_AGAIN_S)
    assert await index.copies.wanted() == [(recording.id, Copy.SMALL)]
    here = RecordingStore(store_config)
    here.delete(recording.key)
    assert await CopyMaker(index, here, spool_dir).make_next()
    await index.copies.postpone(recording.id, Copy.SMALL, -TRY_AGAIN_S)
    assert await index.copies.wanted() == []
    away.close()
    here.close()
    told = capfd.readouterr().err
    assert f"{recording.id}: no copy: the object storage cannot be reached" in told
    assert f"{recording.id}: no copy: ObjectMissing" in told and "anna" not in told


def test_a_small_copy_is_small_whatever_is_in_it(tmp_path: Path) -> None:
    """White noise takes no more than speech: below 35 MB an hour, with the index."""
    path, minutes = tmp_path / "noise.m4a", 1 / 6
    noise = (some_sound(10 * SAMPLE_RATE) * 32767).astype(np.int16)
    assert encode([noise[:7], noise[7:]], Copy.SMALL, path) == len(noise)
    hour = path.stat().st_size / minutes * 60
    assert SMALL_BITRATE / 8 * 3600 * 0.8 < hour < 30e6


@pytest.mark.parametrize(
    ("title", "copy", "name"),
    [
        (None, None, "ada 2023-11-14 22.13.20.wav"),
        ('Tea / 4: "hot"?', Copy.FLAC, "ada 2023-11-14 22.13.20 Tea 4 hot.flac"),
        ("Über 🎙", Copy.SMALL, "ada 2023-11-14 22.13.20 Über 🎙.m4a"),
        ("\u202egpj.exe", None, "ada 2023-11-14 22.13.20 gpj.exe.wav"),
        ("..", None, "ada 2023-11-14 22.13.20 ...wav"),
    ],
)
def test_downloads_are_named_after_the_title(title: str | None, copy: Copy, name: str) -> None:
    """Without what file systems or headers do not take."""
    assert file_name("_ada", 1.7e9, title, copy) == name
    told = attachment(name)
    told.encode("latin-1")
    assert ("filename*=UTF-8''ada%20" in told) is not name.isascii()


def test_a_plain_name_has_no_blank_before_its_ending() -> None:
    """Old clients get the title without what ASCII lacks."""
    assert 'filename="ada 1.m4a"' in attachment("ada 1 \U0001f399.m4a")


JOB = """{"store": {"bucket": "x", "endpoint": "http://127.0.0.1:9", "authority": null},
 "key": "recordings/x.wav", "copy": "flac", "tags": {}, "folder": "/tmp"}"""
SLOW = """import recordings.copies, time
recordings.copies.make_copy = lambda *job: time.sleep(60)
recordings.copies.main()"""


def test_the_process_ends_with_its_parent() -> None:
    """Even if that is killed: its standard input closes then."""
    process = subprocess.Popen([sys.executable, "-c", SLOW], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(JOB.replace("\n", "").encode() + b"\n")
    process.stdin.flush()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.stdin.close()
    assert process.wait(20) == LATER
