"""Deleting what people have here, for good: the same whoever asks for it."""

import asyncio
from collections.abc import Awaitable, Callable

from recordings.finish import discard, discard_user
from recordings.index import Recording, RecordingIndex
from recordings.store import RecordingStore
from serve_app.accounts import Accounts


async def delete_recording(
    recording: Recording, *, index: RecordingIndex, store: RecordingStore
) -> None:
    """Delete a recording: its object first, so that a failed attempt can be repeated.

    `discard` deletes again, in case the object was stored in between.
    """
    await asyncio.to_thread(store.delete, recording.key)
    await discard(recording, index=index, store=store)


async def delete_account(
    username: str,
    *,
    end_stream: Callable[[], Awaitable[None]],
    accounts: Accounts,
    index: RecordingIndex,
    store: RecordingStore,
) -> None:
    """Delete an account with its recordings, its friendships and its requests.

    `end_stream` ends the user's stream, if there is one. Safe to repeat.
    """
    await end_stream()
    while kept := await index.list(username):
        for recording in kept:
            await delete_recording(recording, index=index, store=store)
    await accounts.delete(username)
    # Undo what a request already under way may have started.
    await end_stream()
    await discard_user(username, index=index, store=store)
