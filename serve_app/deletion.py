"""Deleting accounts for good: the same whoever asks for it."""

import asyncio
from collections.abc import Awaitable, Callable

from recordings.finish import discard_user
from recordings.index import Reason, RecordingIndex
from recordings.retention import delete_now
from recordings.store import RecordingStore
from serve_app.accounts import Accounts


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
    account = await index.account_of(username)
    while kept := [*await index.list(username), *await index.list_deleted(username)]:
        for recording in kept:
            await delete_now(recording, Reason.OWNER, index=index, store=store)
    await accounts.delete(username)
    # Undo what a request already under way may have started.
    await end_stream()
    if account is not None:
        await asyncio.to_thread(store.accounts.delete, account)
    await discard_user(username, account, index=index, store=store)
