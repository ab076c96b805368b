"""Sign-ins and passwords, as their owner expects them: listed, ended, renewed, checked."""

import asyncio
import logging
import time

import jwt
import pytest

from actors.access import AccessEnded, sign_in_key
from serve_app import passwords, sign_ins
from serve_app.accounts import WrongCredentials
from serve_app.passwords import Hasher, TooManyPasswords, UnfitPassword, check_new
from tests.edge.conftest import PASSWORD, SECRET, Edge, MakeEdge, Person
from tests.security.taken_back import ended as ended
from tests.waiting import until

DAY_S = 24 * 3600


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds by which sign-ins think it is later."""
    seconds, now = [0.0], time.time
    monkeypatch.setattr(sign_ins, "time", type("Clock", (), {"time": lambda: now() + seconds[0]}))
    return seconds


async def another(edge: Edge, username: str, password: str = PASSWORD) -> Person:
    """Sign somebody in once more."""
    token, _ = await edge.services.accounts.sign_in(
        username, password, address="198.51.100.9", user_agent="Browser/1 " * 100
    )
    return Person(username, token, edge.client(authorization=f"Bearer {token}"))


async def open_to(*people: Person) -> list[bool]:
    """Tell whose tokens still open something."""
    return [(await each.http.get("/api/me")).status_code == 200 for each in people]


async def id_of(person: Person) -> str:
    """Get the id of a person's own sign-in."""
    shown = (await person.http.get("/api/me/sign-ins")).json()
    return next(str(each["id"]) for each in shown if each["current"])


async def test_a_person_sees_and_ends_their_sign_ins(edge: Edge, ended: list[AccessEnded]) -> None:
    """One by its id, then all but this one; nobody ends another's. Everybody is told."""
    ada, bob = await edge.person("ada"), await edge.person("bob")
    phone, tablet = await another(edge, "ada"), await another(edge, "ada")
    shown = (await ada.http.get("/api/me/sign-ins")).json()
    assert [each["current"] for each in shown].count(True) == 1 and len(shown) == 3
    assert {each["address"] for each in shown} == {"", "198.51.100.9"}
    assert max(len(each["user_agent"]) for each in shown) == sign_ins.MAX_USER_AGENT_CHARS
    phones, adas = await id_of(phone), await id_of(ada)
    for caller, status in ((bob, 404), (ada, 204), (ada, 404)):
        assert (await caller.http.delete(f"/api/me/sign-ins/{phones}")).status_code == status
    assert await open_to(ada, phone, tablet) == [True, False, True]
    assert (await ada.http.delete("/api/me/sign-ins")).status_code == 204
    assert await open_to(ada, tablet, bob) == [True, False, True]
    await until(lambda: len(ended) == 2)
    assert [(each.sign_in, each.kept) for each in ended] == [(phones, None), (None, adas)]


async def test_a_new_password_ends_every_other_sign_in(
    edge: Edge, ended: list[AccessEnded]
) -> None:
    """The old one opens nothing any more; a wrong one changes nothing."""
    ada = await edge.person("ada")
    thief = await another(edge, "ada")
    new = "another horse"
    for current, wish, status in (
        ("wrong", new, 403),
        (PASSWORD, "password123", 422),
        (PASSWORD, "short", 422),
        (PASSWORD, "ada", 422),
        (PASSWORD, new, 204),
    ):
        body = {"current": current, "new": wish}
        answer = await ada.http.put("/api/me/password", json=body)
        assert answer.status_code == status, (body, answer.text)
    assert await open_to(ada, thief) == [True, False]
    with pytest.raises(WrongCredentials):
        await edge.services.accounts.sign_in("ada", PASSWORD)
    assert await open_to(await another(edge, "ada", new)) == [True]
    await until(lambda: [each.kept is not None for each in ended] == [True])


async def test_of_two_who_change_a_password_at_once_one_does(edge: Edge) -> None:
    """They stay signed in, and their password is the one that works; the other one's is wrong."""
    both = await edge.person("ada"), await another(edge, "ada")
    wishes = ["another horse", "a third horse"]
    answers = await asyncio.gather(
        *(
            each.http.put("/api/me/password", json={"current": PASSWORD, "new": wish})
            for each, wish in zip(both, wishes, strict=True)
        )
    )
    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses) in ([204, 401], [204, 403])
    won = statuses.index(204)
    assert await open_to(both[won], both[1 - won]) == [True, False]
    assert await open_to(await another(edge, "ada", wishes[won])) == [True]
    with pytest.raises(WrongCredentials):
        await another(edge, "ada", wishes[1 - won])


async def test_a_sign_in_lasts_thirty_days_unused(edge: Edge, ahead: list[float]) -> None:
    """Each use renews it; the token itself has no end. What was said of its end is that."""
    ada = await edge.person("ada")
    key = sign_in_key(await id_of(ada))
    for day in (29, 58, 87):
        ahead[0] = day * DAY_S
        await edge.redis.expire(key, DAY_S)
        assert await open_to(ada) == [True]
        assert await edge.redis.ttl(key) > 29 * DAY_S
    await edge.redis.delete(key)  # as its TTL does
    assert await open_to(ada) == [False]
    assert (await edge.services.accounts.sign_ins("ada")) == []


async def test_the_cookie_is_renewed_by_our_pages(edge: Edge) -> None:
    """They begin with GET /api/me; a bearer token becomes no cookie."""
    ada = await edge.person("ada")
    page = await edge.client(cookie=f"hushcast={ada.token}").get("/api/me")
    assert f"hushcast={ada.token}" in page.headers["set-cookie"]
    assert f"Max-Age={30 * DAY_S}" in page.headers["set-cookie"]
    assert "set-cookie" not in (await ada.http.get("/api/me")).headers


async def test_a_token_without_a_record_asks_to_sign_in_again(edge: Edge) -> None:
    """Such as those of former releases, however long they were meant to last."""
    ada = await edge.person("ada")
    claims = jwt.decode(ada.token, SECRET, ["HS256"])
    former = jwt.encode(claims | {"jti": "0" * 32, "exp": time.time() + DAY_S}, SECRET, "HS256")
    answer = await edge.client(authorization=f"Bearer {former}").get("/api/me")
    assert answer.status_code == 401 and answer.json() == {"detail": "Please sign in again."}


async def test_too_many_sign_ins_end_the_longest_unused(
    edge: Edge, ended: list[AccessEnded], monkeypatch: pytest.MonkeyPatch, ahead: list[float]
) -> None:
    """A bound on what one user may keep in Redis."""
    monkeypatch.setattr(sign_ins, "MAX_SIGN_INS", 2)
    first = await edge.person("ada")
    ahead[0] = 1000
    second = await another(edge, "ada")
    ahead[0] = 2000
    assert await open_to(first) == [True]
    third = await another(edge, "ada")
    assert await open_to(first, second, third) == [True, False, True]
    await until(lambda: len(ended) == 1)


@pytest.mark.parametrize("change", ["password", "disabled"])
async def test_what_changes_while_a_password_is_looked_at_counts(
    edge: Edge, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """No sign-in begins with a password that was changed, or on a disabled account."""
    await edge.person("ada")
    people = edge.services.accounts
    verify = people._hasher.verify

    async def slow(password: str, hashed: str | None) -> bool:
        right = await verify(password, hashed)
        if change == "password":
            await people.set_password("ada", "another horse")
        else:
            await people.disable("ada", True)
        return right

    monkeypatch.setattr(people._hasher, "verify", slow)
    with pytest.raises(WrongCredentials):
        await people.sign_in("ada", PASSWORD)
    assert await people.sign_ins("ada") == []


async def test_a_disabled_account_is_signed_out_and_stays_out(
    edge: Edge, ended: list[AccessEnded]
) -> None:
    """Who knows the password is told why; enabled again, it works again."""
    ada, people = await edge.person("ada"), edge.services.accounts
    await people.disable("ada", True)
    assert await open_to(ada) == [False]
    credentials = {"username": "ada", "password": PASSWORD}
    refused = await edge.client().post("/api/session", json=credentials)
    assert refused.status_code == 403 and "disabled" in refused.json()["detail"]
    wrong = await edge.client().post("/api/session", json=credentials | {"password": "wrong"})
    assert wrong.status_code == 401 and "disabled" not in wrong.text
    [info] = await people.all()
    assert info.disabled and info.username == "ada" and info.created_at and info.last_used_at
    await people.disable("ada", False)
    assert (await edge.client().post("/api/session", json=credentials)).status_code == 200
    await until(lambda: [(each.sign_in, each.kept) for each in ended] == [(None, None)])


async def test_deletion_asks_the_password(make_edge: MakeEdge) -> None:
    """A found phone deletes nothing; it may not guess for long either."""
    edge = make_edge(rates={"passwords": "2/minute"})
    ada = await edge.person("ada")
    for body in ({}, {"pasword": PASSWORD}):
        refused = await ada.http.request("DELETE", "/api/me", json=body)
        assert refused.status_code == 422 and refused.json()["detail"] == "The password is missing."
    for guess in ("wrong", "guess"):
        refused = await ada.http.request("DELETE", "/api/me", json={"password": guess})
        assert refused.status_code == 403
    assert (await ada.delete_account()).status_code == 429
    changed = {"current": PASSWORD, "new": "another horse"}
    assert (await ada.http.put("/api/me/password", json=changed)).status_code == 429
    assert await edge.services.accounts.exists("ada")


async def test_a_deletion_leaves_nothing_of_sign_ins_or_blocks(edge: Edge) -> None:
    """Every key that named the person, or their sign-in, is gone."""
    ada, bob = await edge.person("ada"), await edge.person("bob")
    people = edge.services.accounts
    for one, other in (("ada", "bob"), ("bob", "ada")):
        await people.befriend(one, other)
        await people.unfriend(other, one)
        await people.block(one, other)
    assert (await ada.delete_account()).status_code == 204
    assert await people.blocks("bob") == []
    assert (await bob.delete_account()).status_code == 204
    await edge.services.account_copies.copy_some()
    left = [k async for k in edge.redis.scan_iter() if not k.startswith("hushcast:limit")]
    assert left == []


@pytest.mark.parametrize(
    ("password", "fit"),
    [
        ("password123", False),
        ("PassWord123", False),
        ("1234567890", False),
        ("jonathan", False),
        ("adalovelace", False),
        ("ecalevolada", False),
        ("AdaLovelace2026!", False),
        ("seven77", False),
        ("x" * 129, False),
        ("x" * 128, True),
        ("        ", True),
        ("correct horse", True),
        ("пароль на русском", True),
        ("🐴🔋📎🐴🔋📎🐴🔋", True),
        ("adalovelace is my name", True),
    ],
)
def test_any_password_but_the_commonest_and_the_name(password: str, fit: bool) -> None:
    """8 to 128 characters of any kind (ASVS 5.0, 6.2.1 to 6.2.5, 6.2.9)."""
    if fit:
        check_new("adalovelace", password)
        return
    with pytest.raises(UnfitPassword, match=r"\.$"):
        check_new("adalovelace", password)


def test_three_thousand_passwords_are_too_common() -> None:
    """All of them long enough that only this list refuses them (ASVS 5.0, 6.2.4)."""
    common = passwords._common()
    assert len(common) >= 3000 and min(map(len, common)) == passwords.MIN_CHARS


async def test_few_passwords_are_hashed_at_a_time() -> None:
    """Some more wait; the rest is told to come back. Who gives up waiting makes room."""
    hasher = Hasher()
    most = passwords.AT_ONCE + passwords.MAX_WAITING
    asked = [asyncio.create_task(hasher.verify("a guess", None)) for _ in range(most + 10)]
    await asyncio.sleep(0)
    for task in asked[4:most]:
        task.cancel()
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert len([each for each in results if isinstance(each, TooManyPasswords)]) == 10
    assert results.count(False) == 4
    await until(lambda: hasher._pending == 0)
    assert await hasher.verify("a guess", await hasher.hash("a guess"))


async def test_the_security_log_names_what_happened_and_no_secret(
    edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    """With the name, the address and the request; an unknown name may be a password."""
    caplog.set_level(logging.INFO, "serve_app.security")
    client = edge.client(**{"x-forwarded-for": "198.51.100.7", "x-request-id": "the-request"})
    ada = {"username": "ada", "password": PASSWORD}
    await client.post("/api/accounts", json=ada)
    await client.post("/api/session", json=ada | {"password": "a wrong one"})
    await client.post("/api/session", json={"username": "my-secret", "password": "a wrong one"})
    token = (await client.post("/api/session", json=ada)).json()["token"]
    await edge.person("bob")
    client.headers["authorization"] = f"Bearer {token}"
    await client.put("/api/blocks/bob")
    await client.put("/api/me/password", json={"current": PASSWORD, "new": "another horse"})
    await client.delete("/api/me/sign-ins")
    await client.request("DELETE", "/api/me", json={"password": "another horse"})
    lines = [record for record in caplog.records if record.name == "serve_app.security"]
    hers = [line for line in lines if line.fields["user"] == "ada"]  # type: ignore[attr-defined]
    assert [line.getMessage() for line in hers] == [
        "account created", "sign-in failed", "signed in", "blocked", "password changed",
        "sign-ins ended", "sign-ins ended", "account deleted",
    ]  # fmt: skip
    for line in hers:
        assert line.fields["address"] == "198.51.100.7"  # type: ignore[attr-defined]
    told = str([vars(line) for line in lines])
    assert not any(secret in told for secret in (PASSWORD, "a wrong one", "my-secret", token))
    assert "another horse" not in told
