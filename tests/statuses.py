"""Status as an actor writes it, without an actor: each stream under a lease of its own."""

import time
from weakref import WeakKeyDictionary

from actors.status import DEADLINES_KEY, SWEEPS_KEY, StatusStore, StreamState, StreamStatus
from foundation.ids import new_id
from foundation.lease import Lease
from foundation.redis import RedisClient

_leases: WeakKeyDictionary[StatusStore, dict[str, Lease]] = WeakKeyDictionary()


async def write(store: StatusStore, status: StreamStatus) -> bool:
    """Write a status, or the end of a stream; False when another stream holds the user's lease."""
    leases = _leases.setdefault(store, {})
    lease = leases.get(status.stream_id) or store.lease(status.username, actor=status.actor)
    leases[status.stream_id] = lease
    if status.state is StreamState.ENDED:
        await store.end(status, lease, change_id=new_id(), changed_at=time.time())
        return not lease.lost
    return await store.write(status, lease, change_id=new_id(), changed_at=time.time())


async def lapse(redis: RedisClient, *usernames: str) -> None:
    """Do what a few seconds without a heartbeat do, while others sweep."""
    await redis.zadd(DEADLINES_KEY, {name: time.time() - 0.1 for name in usernames}, xx=True)
    await swept(redis)


async def swept(redis: RedisClient, ago_s: float = 0.0) -> None:
    """Let the last sweep be this long ago, after many others."""
    await redis.hset(SWEEPS_KEY, mapping={"at": time.time() - ago_s, "from": 0})
