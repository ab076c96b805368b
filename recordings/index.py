"""The index of recordings in Redis: a JSON document each, sorted ids, one message per change.

`hushcast:recording:ID` holds the JSON, `hushcast:recordings:of:OWNER` the ids of an account's as a
sorted set in which ids sort by time, and `hushcast:recordings:all` all ids likewise.
`hushcast:recordings:unfinished` is the set of ids that are not stored yet. A removed id leaves
`hushcast:recording:ID:removed`, so that a spool or object that turns up later does not bring back
what a person deleted. Everything except these marks can be rebuilt from the bucket.

What a person deletes is off the lists at once, but can be restored for a while: until then its JSON
is `hushcast:recording:ID:deleted`, and its id in `hushcast:recordings:deleted:of:OWNER` and, by
when it is due, in `hushcast:recordings:due`. Whatever is written about it meanwhile goes there.

`hushcast:recordings:bytes:OWNER` is the sum of the sizes of an account's entries, the deleted ones
too until they are removed. Every change keeps it true; where it is missing, the next to ask adds
them up.

OWNER is `#` and the id of an account, so whoever has a name later gets nothing of what was recorded
under it before. Methods that take a username mean the account that has it now. What was made before
0.3 belongs to a name; it is given to the account of that name as soon as somebody asks for it, and
`hushcast:recordings:untold` has the ids of which the bucket is yet to be told.

`hushcast:recordings:absent` holds, by id, the JSON of recordings that went down with their node
before anything was stored. They are not listed, and come back when the node does.
"""

from builtins import list as list_of
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from foundation.lease import Lease, holder_of, this_process
from foundation.redis import RedisClient
from recordings import index_scripts
from recordings.copy_queue import CopyQueue
from recordings.names import check_username
from recordings.recording import Reason, Recording, RecordingChange, RecordingState, owner_of
from recordings.uploads import UploadLog

__all__ = [
    "CHANNEL",
    "Reason",
    "Recording",
    "RecordingChange",
    "RecordingIndex",
    "RecordingState",
]

CHANNEL = "hushcast:recordings"
"""Every change is published here, as a `RecordingChange`."""
UNDO_S = 30
"""For how long the owner can restore what they deleted."""
REMOVED_TTL_S = 90 * 86_400
"""How long a removed id stays barred: longer than a lost node stays away."""
PAGE = 500
LEASE_TTL_S = 20
"""How long a recording's lease outlasts the last renewal."""

_ALL = "hushcast:recordings:all"
_UNFINISHED = "hushcast:recordings:unfinished"
_ABSENT = "hushcast:recordings:absent"
_DUE = "hushcast:recordings:due"
_UNTOLD = "hushcast:recordings:untold"


class RecordingIndex:
    """Reads and changes the index. The owner of the client closes it.

    Every method raises RedisUnavailable if Redis does not answer, and is safe to repeat.
    """

    def __init__(self, redis: RedisClient) -> None:
        self.uploads = UploadLog(redis)
        self.copies = CopyQueue(redis)
        self._redis = redis
        self._channel = redis.channel(CHANNEL)
        self._known = redis.register_script(index_scripts.KNOWN)
        self._put = redis.register_script(index_scripts.PUT)
        self._delete = redis.register_script(index_scripts.DELETE)
        self._restore = redis.register_script(index_scripts.RESTORE)
        self._due = redis.register_script(index_scripts.DUE)
        self._remove = redis.register_script(index_scripts.REMOVE)
        self._used = redis.register_script(index_scripts.USED)
        self._owner = redis.register_script(index_scripts.OWNER)

    def lease(self, recording_id: str) -> Lease:
        """Make this process's side of the lease on writing or finishing a recording."""
        return Lease(
            self._redis, _lease_key(recording_id), holder=this_process(), ttl_s=LEASE_TTL_S
        )

    async def leased(self, recording_id: str) -> bool:
        """Tell whether somebody writes or finishes this recording."""
        return await holder_of(self._redis, _lease_key(recording_id)) is not None

    def turn(self, what: str, every_s: float) -> Lease:
        """Make this process's side of the lease on periodic work that one process does for all."""
        return Lease(
            self._redis, f"hushcast:lease:turn:{what}", holder=this_process(), ttl_s=every_s
        )

    async def put(self, recording: Recording) -> Recording | None:
        """Add or replace an entry and publish it; returns it, or None if the id has been removed.

        What is not the writer's stays as it is: the title, the account, and copies of the same
        sound. A late `recording` state changes nothing: a recording begins only once. One that is
        deleted stays so.
        """
        while True:
            before, _ = await self._read(recording.id)
            known = Recording.from_json(before) if before else None
            if known and recording.state is RecordingState.RECORDING:
                return known
            new = recording
            if known:
                same = known.size_bytes == recording.size_bytes
                copies = known.copies if same else ()
                new = replace(recording, title=known.title, copies=copies, account=known.account)
            if (done := await self._write(before, new)) is not None:
                return new if done else None

    async def change(
        self, recording: Recording, *, even_deleted: bool = False, **changes: Any
    ) -> Recording | None:
        """Change fields of an entry and publish it; returns it, or None if it is gone."""
        while True:
            before, deleted = await self._read(recording.id)
            if not before or (deleted and not even_deleted):
                return None
            new = replace(Recording.from_json(before), **changes)
            if (done := await self._write(before, new)) is not None:
                return new if done else None

    async def _read(self, recording_id: str) -> tuple[str, bool]:
        """Get what is known of a recording, empty for nothing, and whether it is deleted."""
        text, deleted = await self._known(keys=keys_of(recording_id), args=[recording_id])
        return text, bool(deleted)

    async def _write(self, before: str, new: Recording) -> bool | None:
        """Replace what was known; returns False for a removed id, None if it has changed."""
        done = await self._put(
            keys=keys_of(new.id),
            args=[new.id, before, new.to_json(), self._channel, new.state.value],
        )
        return None if done < 0 else bool(done)

    async def get(self, recording_id: str) -> Recording | None:
        """Get an entry, or None."""
        text = await self._redis.get(f"hushcast:recording:{recording_id}")
        return None if text is None else Recording.from_json(text)

    async def list(
        self, username: str, before: str | None = None, limit: int = 50
    ) -> list_of[Recording]:
        """Get a user's recordings, newest first: up to `limit` older than the id `before`."""
        return await self._page(_ids_of(await self._now(username)), before, limit)

    async def used_bytes(self, username: str) -> int:
        """Tell how large a user's stored recordings are together."""
        owner = await self._now(username)
        keys = [_bytes_of(owner), _ids_of(owner), _deleted_of(owner)]
        return int(await self._used(keys=keys))

    async def account_of(self, username: str) -> str | None:
        """Get the id of the account that has a name now; None if there is none."""
        owner = await self._now(username)
        return owner.removeprefix("#") if owner.startswith("#") else None

    async def belongs(self, recording: Recording) -> bool:
        """Tell whether a recording belongs to the account that has its user's name now."""
        return await self._now(recording.username) == recording.owner or recording.account is None

    async def _now(self, username: str) -> str:
        """Get the owner that a name means now; gives it what was made before 0.3."""
        keys = [_of(check_username(username)) for _of in (_ids_of, _deleted_of, _bytes_of)]
        keys += [account_key(username), _UNTOLD]
        return str(await self._owner(keys=keys, args=[username]))

    async def give_to_accounts(self) -> None:
        """Give all that was made before 0.3 to the accounts that have the names."""
        prefix = _ids_of("")
        async for key in self._redis.scan_iter(f"{prefix}[^#]*", PAGE):
            await self._now(str(key).removeprefix(prefix))

    async def untold(self) -> list_of[str]:
        """Get the ids of some recordings of which the bucket does not know whose they are."""
        return list(map(str, await self._redis.srandmember(_UNTOLD, PAGE) or ()))

    async def told(self, recording_id: str) -> None:
        """Note that the bucket knows, or need not know, whose a recording is."""
        await self._redis.srem(_UNTOLD, recording_id)

    async def everything(self) -> AsyncIterator[Recording]:
        """Iterate over all users' entries, newest first."""
        before: str | None = None
        while page := await self._page(_ALL, before, PAGE):
            for recording in page:
                yield recording
            before = page[-1].id

    async def delete(
        self, recording: Recording, reason: Reason, *, undo_s: float = UNDO_S
    ) -> Recording | None:
        """Take an entry off the lists and publish that; it can be restored for `undo_s` seconds.

        Returns it, or None if there was none. Somebody has to `remove` it then; see `due`.
        """
        text = await self._delete(
            keys=keys_of(recording.id),
            args=[recording.id, undo_s, self._channel, reason.value],
        )
        return None if text is None else Recording.from_json(text)

    async def restore(self, recording: Recording) -> Recording | None:
        """List a deleted entry again and publish it; returns it, or None once it is too late."""
        text = await self._restore(keys=keys_of(recording.id), args=[recording.id, self._channel])
        return None if text is None else Recording.from_json(text)

    async def get_deleted(self, recording_id: str) -> Recording | None:
        """Get an entry that is deleted but not yet removed, or None."""
        text = await self._redis.get(f"hushcast:recording:{recording_id}:deleted")
        return None if text is None else Recording.from_json(text)

    async def list_deleted(self, username: str) -> list_of[Recording]:
        """Get a user's entries that are deleted but not yet removed."""
        return await self._list_deleted(await self._now(username))

    async def _list_deleted(self, owner: str) -> list_of[Recording]:
        return await self._deleted(await self._redis.smembers(_deleted_of(owner)))

    async def due(self) -> list_of[Recording]:
        """Get entries that can no longer be restored, up to 100 of them."""
        return await self._deleted(await self._due(keys=[_DUE]))

    async def _deleted(self, ids: Any) -> list_of[Recording]:
        entries = [await self.get_deleted(str(each)) for each in ids]
        return [each for each in entries if each is not None]

    async def remove(self, recording_id: str, reason: Reason | None = None) -> Recording | None:
        """Remove an entry for good and publish that; returns it, or None if there was none.

        Nobody is told again of one that was deleted before.
        """
        recording = await self.get(recording_id) or await self.get_deleted(recording_id)
        if recording is None:
            return None
        return await self._remove_known(recording, reason=reason)

    async def remove_user(self, username: str, account: str | None) -> list_of[Recording]:
        """Remove all entries of an account for good, also of one that is gone; returns them."""
        owner, removed = owner_of(username, account), []
        while page := await self._page(_ids_of(owner), None, PAGE):
            removed += [await self._remove_known(each, reason=Reason.OWNER) for each in page]
        with_nodes = [each for each in await self.absent() if each.owner in (owner, username)]
        for each in [*await self._list_deleted(owner), *with_nodes]:
            removed.append(await self._remove_known(each))
        return removed

    async def unfinished(self) -> list_of[Recording]:
        """Get all users' entries that are not stored yet."""
        ids = await self._redis.smembers(_UNFINISHED)
        entries = [await self.get(str(each)) for each in ids]
        return [each for each in entries if each is not None]

    async def set_absent(self, recording: Recording) -> None:
        """Take an entry off the lists until its node comes back; `put` lists it again."""
        await self._remove_known(recording, mark_ttl_s=0)

    async def absent(self) -> list_of[Recording]:
        """Get all users' entries that went down with their node."""
        texts = await self._redis.hvals(_ABSENT)
        return [Recording.from_json(text) for text in texts]

    async def _remove_known(
        self, recording: Recording, *, mark_ttl_s: int = REMOVED_TTL_S, reason: Reason | None = None
    ) -> Recording:
        text = await self._remove(
            keys=keys_of(recording.id),
            args=[recording.id, mark_ttl_s, self._channel, reason or ""],
        )
        return recording if text is None else Recording.from_json(text)

    async def _page(self, ids_key: str, before: str | None, limit: int) -> list_of[Recording]:
        ids = await self._redis.zrange(
            ids_key,
            "+" if before is None else f"({before}",
            "-",
            desc=True,
            bylex=True,
            offset=0,
            num=limit,
        )
        texts = await self._redis.mget([f"hushcast:recording:{i!s}" for i in ids]) if ids else []
        return [Recording.from_json(text) for text in texts if text is not None]


def account_key(username: str) -> str:
    """Name the key of an account: JSON, of which the index reads its `id`."""
    return f"hushcast:account:{username}"


def _lease_key(recording_id: str) -> str:
    return f"hushcast:lease:recording:{recording_id}"


def _ids_of(owner: str) -> str:
    return f"hushcast:recordings:of:{owner}"


def _bytes_of(owner: str) -> str:
    return f"hushcast:recordings:bytes:{owner}"


def _deleted_of(owner: str) -> str:
    return f"hushcast:recordings:deleted:of:{owner}"


def keys_of(recording_id: str) -> list_of[str]:
    """Name the keys that the scripts use, besides those of the owner."""
    entry = f"hushcast:recording:{recording_id}"
    return [entry, f"{entry}:removed", f"{entry}:deleted", _ALL, _UNFINISHED, _ABSENT, _DUE]
