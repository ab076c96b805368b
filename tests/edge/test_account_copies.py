"""Accounts are copied to the bucket, and come back from there after a loss of Redis."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from recordings.store import RecordingStore
from serve_app import account_copies
from serve_app.account_copies import AccountCopies, Result
from serve_app.accounts import WrongCredentials
from tests.edge.conftest import PASSWORD, SECRET, Edge
from tests.waiting import until


@pytest.fixture
async def copies(edge: Edge, store: RecordingStore) -> AsyncIterator[AccountCopies]:
    """The copies of a bucket that has none yet."""
    for each in list(store.accounts.ids()):
        store.accounts.delete(each)
    yield AccountCopies(edge.redis, store, SECRET)


async def lose_redis(edge: Edge) -> None:
    await edge.redis.flushdb()


async def account_of(edge: Edge, username: str) -> str:
    account = await edge.services.index.account_of(username)
    assert account is not None
    return account


async def test_an_account_comes_back_to_whoever_knows_its_password(
    edge: Edge, copies: AccountCopies, store: RecordingStore
) -> None:
    """With its id, so with its recordings. Friends have to be found again."""
    await edge.person("ada")
    await edge.person("bob")
    await edge.services.accounts.disable("bob", True)
    account = await account_of(edge, "ada")
    await copies.copy_some()
    assert PASSWORD.encode() not in (body := store.accounts.get(account) or b"")
    assert b"argon2" not in body and json.loads(body)["username"] == "ada"
    await lose_redis(edge)
    results = {copy.username: result for copy, result in await copies.restore()}
    assert results == {"ada": Result.RESTORED, "bob": Result.RESTORED}
    assert await account_of(edge, "ada") == account
    await edge.services.accounts.sign_in("ada", PASSWORD)
    assert [each.disabled for each in await edge.services.accounts.all()] == [False, True]
    assert {result for _, result in await copies.restore()} == {Result.HERE}


async def test_whoever_has_the_name_by_then_keeps_it(edge: Edge, copies: AccountCopies) -> None:
    """Neither account is lost: both have a copy."""
    await edge.person("ada")
    first = await account_of(edge, "ada")
    await copies.copy_some()
    await lose_redis(edge)
    await edge.person("ada")
    second = await account_of(edge, "ada")
    await copies.copy_some()
    results = {copy.account: result for copy, result in await copies.restore()}
    assert results == {first: Result.TAKEN, second: Result.HERE}
    await edge.services.accounts.delete("ada")
    await copies.copy_some()
    assert [(c.account, r) for c, r in await copies.restore()] == [(first, Result.RESTORED)]


async def test_a_lost_key_costs_the_passwords(
    edge: Edge, copies: AccountCopies, store: RecordingStore
) -> None:
    """Such accounts come back only if that is asked for, and nobody signs in until it is reset."""
    await edge.person("ada")
    account = await account_of(edge, "ada")
    await copies.copy_some()
    await lose_redis(edge)
    others = AccountCopies(edge.redis, store, "another key")
    assert [result for _, result in await others.restore()] == [Result.OTHER_KEY]
    [(_, result)] = await others.restore(without_passwords=True)
    assert result is Result.WITHOUT_PASSWORD and await account_of(edge, "ada") == account
    with pytest.raises(WrongCredentials):
        await edge.services.accounts.sign_in("ada", PASSWORD)
    await edge.services.accounts.set_password("ada", "another horse")
    await edge.services.accounts.sign_in("ada", "another horse")


async def test_a_copy_under_another_name_or_id_gives_nothing(
    edge: Edge, copies: AccountCopies, store: RecordingStore
) -> None:
    """Whoever can write the bucket cannot become somebody else by moving their own copy."""
    await edge.person("eve")
    eve = await account_of(edge, "eve")
    await copies.copy_some()
    told = json.loads(store.accounts.get(eve) or b"")
    await lose_redis(edge)
    store.accounts.put(eve, json.dumps(told | {"username": "ada"}).encode())
    store.accounts.put("a1", json.dumps(told).encode())
    store.accounts.put("a2", b"rubbish")
    assert [result for _, result in await copies.restore()] == [Result.UNREADABLE] * 3
    assert await edge.services.accounts.all() == []


async def test_copies_follow_changes(
    edge: Edge, copies: AccountCopies, store: RecordingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accounts of before are copied too; a deleted one goes; an empty Redis takes nothing."""
    monkeypatch.setattr(account_copies, "INTERVAL_S", 0.02)
    ada, bob = await edge.person("ada"), await edge.person("bob")
    ids = {name: await account_of(edge, name) for name in ("ada", "bob")}
    await edge.redis.delete(account_copies.UNCOPIED)  # as if made by an earlier version

    def there() -> set[str]:
        return set(store.accounts.ids())

    running = asyncio.create_task(copies.run())
    try:
        await until(lambda: there() == set(ids.values()))
        before = store.accounts.get(ids["bob"])
        changed = {"current": PASSWORD, "new": "another horse"}
        assert (await bob.http.put("/api/me/password", json=changed)).status_code == 204
        await until(lambda: store.accounts.get(ids["bob"]) != before)
        assert (await ada.delete_account()).status_code == 204
        assert there() == {ids["bob"]}, "at once, not only when it is its turn"
        await until(lambda: nothing_uncopied(edge))
        await lose_redis(edge)
        await asyncio.sleep(0.1)
        assert there() == {ids["bob"]}
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await copies.restore()
    await edge.services.accounts.sign_in("bob", "another horse")


async def nothing_uncopied(edge: Edge) -> bool:
    return not await edge.redis.hlen(account_copies.UNCOPIED)
