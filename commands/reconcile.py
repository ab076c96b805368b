"""`hushcast recordings reconcile`: finish interrupted recordings, compare, print differences."""

import sys

from commands.local.child import StartFailed
from commands.local.data_dir import DataDirRefused
from commands.local.signals import Interrupted, Signals
from commands.local.storage import open_storage
from foundation.redis import RedisUnavailable, answer, connect
from recordings.abandoned import recover_abandoned
from recordings.index import RecordingIndex
from recordings.recovery import Difference, reconcile, recover
from recordings.retention import delete_due
from recordings.store import RecordingStore, StoreUnavailable
from serve_app.settings import Settings


def run(settings: Settings, signals: Signals) -> int:
    """Reconcile the recordings of a data directory, or of given servers; returns the exit code.

    1 if entries have lost their objects, recordings are on a node that has not come back, or the
    servers cannot be reached.
    """
    try:
        if settings.redis_url is not None:
            signals.run(answer(settings.redis_url))
        with open_storage(settings, signals) as complete:
            return signals.run(_run(complete))
    except Interrupted:
        return 0
    except (RedisUnavailable, StoreUnavailable, StartFailed, DataDirRefused) as problem:
        print(problem, file=sys.stderr)
        return 1


async def _run(settings: Settings) -> int:
    assert settings.redis_url is not None
    store = RecordingStore(settings.store_config)
    redis = connect(settings.redis_url)
    index = RecordingIndex(redis)
    try:
        finished = await recover(settings.spool_dir, index=index, store=store)
        finished += await recover_abandoned(index, store)
        await delete_due(index, store)
        difference = await reconcile(index, store)
    finally:
        store.close()
        await redis.aclose()
    for recording in finished:
        print(f"finished    {store.key_for(recording)}")
    _print(difference, store)
    return 1 if difference.lost or difference.absent else 0


def _print(difference: Difference, store: RecordingStore) -> None:
    for recording in difference.restored:
        print(f"listed      {store.key_for(recording)}")
    for recording in difference.unclaimed:
        print(f"of nobody   {store.key_for(recording)}")
    for key in difference.deleted:
        print(f"deleted     {key}")
    for recording in difference.lost:
        print(f"lost        {store.key_for(recording)}")
    for recording in difference.absent:
        print(f"with a node {store.key_for(recording)}")
    for key in difference.foreign:
        print(f"not ours    {key}")
    if not difference:
        print("index and bucket agree")
