"""Who may create an account: on a public address not everybody who finds it."""

import asyncio
import time
from typing import Any

import httpx
import pytest
import uvicorn

from commands.load.api import Account, ApiError
from serve_app.settings import Settings
from tests.edge.conftest import PASSWORD, Edge, MakeEdge
from tests.running import free_port
from tests.waiting import until


async def create(edge: Edge, username: str, **more: str) -> httpx.Response:
    """Sign up."""
    body = {"username": username, "password": PASSWORD, **more}
    return await edge.client().post("/api/accounts", json=body)


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ({}, "open"),
        ({"host": "::1", "public_url": "http://localhost:8000"}, "open"),
        ({"public_url": "https://cast.example.org"}, "invite"),
        ({"host": "0.0.0.0"}, "invite"),
        ({"host": "localhost", "public_url": "https://127.0.0.1.example.org"}, "invite"),
        ({"host": "laptop.local"}, "invite"),
        ({"host": "0.0.0.0", "sign_up": "open"}, "open"),
    ],
)
def test_sign_up_is_open_only_while_nobody_else_reaches_the_pages(
    settings: dict[str, Any], mode: str
) -> None:
    """Unless somebody says otherwise."""
    assert Settings(**settings).sign_up == mode


async def test_a_closed_instance_takes_no_new_account(make_edge: MakeEdge) -> None:
    """Neither with an invitation nor without."""
    edge = make_edge(sign_up="closed")
    assert (await edge.client().get("/api/sign-up")).json() == {"sign_up": "closed"}
    code = await edge.services.invitations.create()
    for more in ({}, {"invite": code}):
        refused = await create(edge, "ada", **more)
        assert refused.status_code == 403 and "closed" in refused.json()["detail"]
    assert not await edge.services.accounts.exists("ada")


async def test_an_invitation_makes_one_account(make_edge: MakeEdge) -> None:
    """It is needed, however it is typed, and nothing stored tells it."""
    edge = make_edge(sign_up="invite")
    code = await edge.services.invitations.create()
    for more in ({}, {"invite": ""}, {"invite": "wrong"}, {"invite": "--- ---"}):
        refused = await create(edge, "ada", **more)
        assert refused.status_code == 403 and "invitation" in refused.json()["detail"]
    [key] = [key async for key in edge.redis.scan_iter("hushcast:invitation:*")]
    assert 6 * 86400 < await edge.redis.ttl(key) <= 7 * 86400
    assert code not in key and code not in str(await edge.redis.get(key))
    typed = f" {code.upper().replace('-', ' ')} "
    assert (await create(edge, "ada", invite=typed)).status_code == 201
    assert (await create(edge, "bob", invite=code)).status_code == 403


async def test_a_refused_password_uses_no_try_up(make_edge: MakeEdge) -> None:
    """Somebody who looks for one that is allowed is not sent away."""
    edge = make_edge(sign_up="open", rates={"accounts": "1/minute"})
    for password in ("password123", "short", "ada-is-me1"):
        assert (await create(edge, "ada-is-me", password=password)).status_code == 422
    assert (await create(edge, "ada-is-me")).status_code == 201
    assert (await create(edge, "bob")).status_code == 429


async def test_a_taken_or_refused_name_uses_no_invitation_up(make_edge: MakeEdge) -> None:
    """The person tries again with another name."""
    edge = make_edge(sign_up="invite", admins=("root-ann",))
    await edge.person("ada")
    code = await edge.services.invitations.create()
    for name, status in (("ada", 409), ("A!", 422), ("root-ann", 409), ("bob", 201)):
        assert (await create(edge, name, invite=code)).status_code == status


async def test_people_who_use_an_invitation_at_once_get_as_many_accounts_as_it_makes(
    make_edge: MakeEdge,
) -> None:
    """Not one more."""
    edge = make_edge(sign_up="invite")
    code = await edge.services.invitations.create(uses=3)
    answers = await asyncio.gather(*(create(edge, f"ada-{n}", invite=code) for n in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [403] * 5


async def test_nobody_signs_up_as_an_administrator(make_edge: MakeEdge) -> None:
    """A name in HUSHCAST_ADMINS that has no account yet is no way to become one."""
    edge = make_edge(admins=("root-ann",))
    refused = await create(edge, "root-ann")
    assert refused.status_code == 409 and "reserved" in refused.json()["detail"]
    assert not await edge.services.accounts.exists("root-ann")


async def test_load_tests_come_with_an_invitation(make_edge: MakeEdge) -> None:
    """Which makes as many accounts as they need."""
    edge, port = make_edge(sign_up="invite"), free_port()
    server = uvicorn.Server(uvicorn.Config(edge.api, port=port, log_config=None))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    code = await edge.services.invitations.create(uses=2)
    accounts = [Account.new(f"http://127.0.0.1:{port}", "ear") for _ in range(3)]
    for account in accounts[:2]:
        await asyncio.to_thread(account.create, time.sleep, code)
    with pytest.raises(ApiError, match="403 This invitation was used"):
        await asyncio.to_thread(accounts[2].create, time.sleep, code)
    server.should_exit = True
    await serving
