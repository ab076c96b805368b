"""The Valkey and SeaweedFS that hushcast starts itself, and the settings completed with them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

from commands.local.data_dir import (
    DataDirInUse,
    NoData,
    kept_secret,
    locked,
    private_file,
    private_folder,
)
from commands.local.guardian import Guardian
from commands.local.seaweed import SeaweedFS
from commands.local.server import Server, stop_together
from commands.local.signals import Signals
from commands.local.valkey import Valkey
from serve_app.settings import Settings

STOP_LIMIT_S = 8.0

KeepingServer = Server[Valkey] | Server[SeaweedFS]


@dataclass(frozen=True)
class Storage:
    """The servers that keep data."""

    valkey: Server[Valkey] | None
    seaweed: Server[SeaweedFS] | None

    @classmethod
    def prepare(cls, settings: Settings, guardian: Guardian, signals: Signals) -> Self:
        """Create folders and secrets, and choose ports; starts nothing."""
        data, logs = settings.data_dir, private_folder(settings.data_dir / "logs")
        valkey = partial(Valkey.prepare, data / "valkey", logs / "valkey.log")
        seaweed = partial(SeaweedFS.prepare, data / "s3", logs / "seaweedfs.log")
        return cls(
            Server(valkey, guardian, signals) if settings.brings_redis else None,
            Server(seaweed, guardian, signals) if settings.brings_s3 else None,
        )

    @property
    def servers(self) -> list[KeepingServer]:
        """The servers that we run."""
        return [server for server in (self.valkey, self.seaweed) if server is not None]

    def complete(self, settings: Settings) -> Settings:
        """Fill in where the servers are, once they serve, and the secret that signs tokens."""
        found: dict[str, object] = {}
        if not settings.secret_key:
            found["secret_key"] = kept_secret(settings.data_dir / "secret-key")
        if settings.log_dir is None:
            found["log_dir"] = settings.data_dir / "logs"
        if self.valkey is not None:
            found["redis_url"] = self.valkey.part.url
        if self.seaweed is not None:
            store = self.seaweed.part.store
            found |= {"s3_endpoint": store.endpoint, "s3_bucket": store.bucket}
            found |= {"s3_region": store.region, "s3_addressing": store.addressing}
            found |= {"s3_access_key": store.access_key, "s3_secret_key": store.secret_key}
        return settings.changed(**found)


def publish_settings(settings: Settings, guardian: Guardian) -> None:
    """Let other commands of this user find the servers, for as long as this instance lives."""
    path = _published(settings.data_dir)
    guardian.remove(path)
    private_file(path, settings.to_json())


@contextmanager
def open_storage(
    settings: Settings, signals: Signals, *, objects: bool = True, new: bool = False
) -> Iterator[Settings]:
    """Reach the storage of a data directory: the running one, or one started for this call.

    Without `objects` only Redis is needed. A directory without data is refused unless it may be
    `new`. Raises StartFailed; NoData; DataDirInUse while an instance is starting or stopping.
    """
    data, logs = settings.data_dir, settings.data_dir / "logs"
    if not settings.brings_redis and not (objects and settings.brings_s3):
        yield settings if settings.log_dir or not logs.is_dir() else settings.changed(log_dir=logs)
        return
    if not new:
        _expect(data, "lock", "valkey", "s3")
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(locked(data))
        except DataDirInUse:
            yield _read_published(data)
            return
        if not new:  # `up` may have run here with other servers
            brought = (settings.brings_redis, "valkey"), (objects and settings.brings_s3, "s3")
            _expect(data, *(name for ours, name in brought if ours))
        guardian = stack.enter_context(Guardian(lock))
        storage = Storage.prepare(settings, guardian, signals)
        if not objects:
            storage = replace(storage, seaweed=None)
        stack.callback(
            lambda: stop_together([s.child for s in storage.servers], signals, STOP_LIMIT_S)
        )
        for server in storage.servers:
            server.start()
        for server in storage.servers:
            server.wait()
        yield storage.complete(settings)


def _expect(data_dir: Path, *names: str) -> None:
    """Refuse a directory that has none of these."""
    with suppress(OSError):  # `locked` says what is wrong
        if not any((data_dir / name).exists() for name in names):
            raise NoData(
                f"There is no hushcast data in {data_dir}. "
                "Give the directory of your `hushcast up` with --data-dir."
            )


def _published(data_dir: Path) -> Path:
    return data_dir / "running.json"


def _read_published(data_dir: Path) -> Settings:
    try:
        return Settings.from_json(_published(data_dir).read_text())
    except FileNotFoundError as error:
        raise DataDirInUse(
            f"The hushcast in {data_dir} is starting or stopping; try again in a moment."
        ) from error
