"""What people delete leaves the disk, not only the lists."""

import random
from pathlib import Path

from redis import Redis

from commands.local.child import LOG_BYTES, Child, Command
from commands.local.forgetting import Forgetting
from commands.local.guardian import Guardian
from commands.local.server import stop_together
from commands.local.signals import Signals
from commands.local.storage import Storage
from recordings.store import RecordingStore
from serve_app.settings import read_settings
from tests.local.instances import wait_until

NAME = "somebody-who-left"
SOUND = random.Random(1).randbytes(100_000)
"""As random as sound: SeaweedFS compresses what is not."""


def files_with(folder: Path, text: bytes) -> list[Path]:
    """Find the files that contain a text."""
    return [path for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


def test_deleted_names_and_sound_leave_the_disk(tmp_path: Path) -> None:
    """Of the append-only file and of the volumes; what was not deleted stays."""
    with Guardian() as guardian:
        storage = Storage.prepare(read_settings({"data_dir": tmp_path}), guardian, Signals())
        assert storage.valkey is not None and storage.seaweed is not None
        forgetting = Forgetting(storage, guardian)
        try:
            for server in storage.servers:
                server.start()
            for server in storage.servers:
                server.wait()
            with Redis.from_url(storage.valkey.part.url) as redis:
                redis.set(NAME, "1")
                redis.set("stays", "here")
                redis.delete(NAME)
                redis.execute_command("WAITAOF", 1, 0, 5000)
            store = RecordingStore(storage.seaweed.part.store)
            for key, sound in (("recordings/a/1.wav", SOUND), ("recordings/b/1.wav", b"x")):
                upload = tmp_path / "upload"
                upload.write_bytes(sound)
                store.put(upload, key)
            upload.unlink()
            store.delete("recordings/a/1.wav")
            assert files_with(tmp_path / "valkey", NAME.encode())
            assert files_with(tmp_path / "s3", SOUND)
            # SeaweedFS deletes in the background: a removal that comes too early is for the next.
            for _ in range(5):
                forgetting.begin()
                wait_until(lambda: not forgetting.busy, limit_s=60)
                if not files_with(tmp_path / "s3", SOUND):
                    break
            assert not files_with(tmp_path / "s3", SOUND)
            wait_until(lambda: not files_with(tmp_path / "valkey", NAME.encode()), limit_s=60)
            assert files_with(tmp_path / "valkey", b"here")
            store.close()
        finally:
            forgetting.close()
            stop_together([server.child for server in storage.servers], Signals(), 8)


def test_a_log_is_bounded_while_its_process_runs(tmp_path: Path) -> None:
    """Its end is kept; the process goes on writing after it."""
    log = tmp_path / "log"
    with Guardian() as guardian:
        code = "head -c 15000000 /dev/zero; read line; echo $line"
        child = Child("child", Command(("sh", "-c", code), tmp_path, log), guardian)
        child.start(pipe=True)
        wait_until(lambda: log.stat().st_size == 15_000_000, limit_s=30)
        child.turn_over_log()
        child.stdin.write(b"more\n")
        child.stdin.flush()
        wait_until(lambda: child.ended is not None, limit_s=30)
        assert log.read_bytes() == b"more\n"
        assert (tmp_path / "log.old").stat().st_size == LOG_BYTES
        child.turn_over_log()
        assert log.read_bytes() == b"more\n"
        child.stop()
