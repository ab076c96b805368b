"""Guests: what a link gives ends with it, and with its owner's wish, account and trust."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from actors.access import LINK_ENDED, AccessEnded, guest_name
from serve_app import links
from serve_app.links import OwnerChanged
from tests import statuses
from tests.edge.conftest import Edge, Person
from tests.edge.made_up import OFFER, live
from tests.edge.test_links import SDP, guest_of, make
from tests.security.taken_back import ended as ended
from tests.waiting import until


async def test_links_end_with_what_they_rest_on(edge: Edge, ended: list[AccessEnded]) -> None:
    """Revoked, the owner's account disabled or deleted, somebody blocked: told everywhere."""
    await edge.person("eve")
    ends: dict[str, Callable[[Person, str], Awaitable[Any]]] = {
        "revoked": lambda owner, id: owner.http.delete(f"/api/links/{id}"),
        "disabled": lambda owner, id: edge.services.accounts.disable(owner.username, True),
        "deleted": lambda owner, id: owner.delete_account(),
        "blocking": lambda owner, id: owner.http.put("/api/blocks/eve"),
    }
    for name, end in ends.items():
        owner = await edge.person(name)
        made, token = await make(owner)
        guest = guest_of(edge, token)
        assert (await guest.get("/api/link")).status_code == 200
        del ended[:]
        await end(owner, made["id"])
        await until(partial(ended.__contains__, AccessEnded(guest_name(made["id"]), LINK_ENDED)))
        assert (await guest.get("/api/link")).status_code == 401, name
        left = [key async for key in edge.redis.scan_iter("hushcast:link*")]
        assert left == [], name


async def test_a_block_that_stands_ends_no_link(edge: Edge) -> None:
    """To block somebody again changes nothing."""
    ada, _ = await edge.person("ada"), await edge.person("eve")
    await ada.http.put("/api/blocks/eve")
    _, token = await make(ada)
    await ada.http.put("/api/blocks/eve")
    assert (await guest_of(edge, token).get("/api/link")).status_code == 200


async def test_a_later_account_of_the_same_name_inherits_no_link(edge: Edge) -> None:
    """And none is made for an account that changed after its owner was verified."""
    ada = await edge.person("ada")
    _, token = await make(ada)
    await ada.delete_account()
    with pytest.raises(OwnerChanged):
        await edge.services.links.make("ada", label=None, expires_in_s=300, recordings=True)
    after = await edge.person("ada")
    assert (await after.http.get("/api/links")).json() == []
    assert (await guest_of(edge, token).get("/api/users/ada")).status_code == 401
    await edge.services.accounts.disable("ada", True)
    with pytest.raises(OwnerChanged):
        await edge.services.links.make("ada", label=None, expires_in_s=300, recordings=True)


async def test_an_expired_link_opens_nothing(edge: Edge) -> None:
    """Redis forgets it to the second; it leaves the list, and an expired list is forgotten."""
    ada = await edge.person("ada")
    made, token = await make(ada, expires_in_s=300)
    key = f"hushcast:link:{made['id']}"
    assert 295 <= await edge.redis.ttl(key) <= 300
    assert 295 <= await edge.redis.ttl(links.links_key("ada")) <= 301
    await edge.redis.delete(key)
    assert (await guest_of(edge, token).get("/api/link")).status_code == 401
    assert (await ada.http.get("/api/links")).json() == []


@pytest.mark.parametrize("of", [" ", "0" * 31, "0" * 33, "G" * 32, "0" * 32, "0" * 32 + "\t0"])
async def test_no_other_token_opens_anything(edge: Edge, of: str) -> None:
    """Not one that merely looks like a link's."""
    await edge.person("ada")
    assert (await guest_of(edge, of).get("/api/users/ada")).status_code == 401


async def test_a_link_in_the_cookie_is_no_sign_in(edge: Edge) -> None:
    """Guests come by bearer alone, which no other site can send for them."""
    ada = await edge.person("ada")
    _, token = await make(ada)
    page = edge.client(cookie=f"hushcast={token}")
    assert (await page.get("/api/users/ada")).status_code == 401


async def test_a_guest_s_page_needs_no_origin(edge: Edge) -> None:
    """It sends no referrer, so browsers say `Origin: null`."""
    ada = await edge.person("ada")
    await statuses.write(edge.streams.store, live("ada"))
    _, token = await make(ada)
    answer = await guest_of(edge, token).post(
        "/whep/ada", content=OFFER, headers=SDP | {"origin": "null"}
    )
    assert answer.status_code == 201
