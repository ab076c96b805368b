"""Status as an actor writes it, without an actor: each stream under a lease of its own."""

import time
from weakref import WeakKeyDictionary

from actors.status import Expired, StatusStore, StreamState, StreamStatus
from foundation.ids import new_id
from foundation.lease import Lease

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


async def expire(store: StatusStore) -> list[Expired]:
    """Publish the ends of streams whose status expired."""
    return await store.publish_expired(time.time())
