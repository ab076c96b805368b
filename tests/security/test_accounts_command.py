"""`hushcast accounts`: the operator's way, which needs no running ingress."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import commands.accounts
from actors.access import CHANNEL, AccessEnded
from commands import cli
from commands.local.signals import Signals
from foundation.logs import read_line
from recordings.store import ObjectMissing, StoreConfig
from serve_app.account_copies import AccountCopies
from tests import statuses
from tests.edge.conftest import PASSWORD, SECRET, Edge, MakeEdge
from tests.edge.made_up import live
from tests.edge.test_recordings import SOUND, stored

Call = Callable[..., Coroutine[Any, Any, tuple[int, str, str]]]


@pytest.fixture
def call(
    edge: Edge, store_config: StoreConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Call the command as for a cluster: exit code, standard output, standard error."""
    settings = edge.services.settings.changed(
        log_dir=tmp_path / "logs",
        s3_endpoint=store_config.endpoint,
        s3_bucket=store_config.bucket,
        s3_access_key=store_config.access_key,
        s3_secret_key=store_config.secret_key,
    )

    async def called(*arguments: str, **changes: Any) -> tuple[int, str, str]:
        options = cli._parser().parse_args(["accounts", *arguments])
        complete = settings.changed(**changes)
        code = await asyncio.to_thread(commands.accounts.run, options, complete, Signals())
        return code, *capsys.readouterr()

    return called


async def signs_in(edge: Edge, username: str, password: str) -> int:
    """Try to sign in; returns the status."""
    credentials = {"username": username, "password": password}
    return (await edge.client().post("/api/session", json=credentials)).status_code


async def test_an_account_is_created_with_a_password_on_standard_output(
    edge: Edge, call: Call
) -> None:
    """Also for an administrator, whose name nobody can sign up with."""
    code, password, errors = await call("create", "root", admins=("root",))
    assert (code, errors) == (0, "") and await signs_in(edge, "root", password.strip()) == 200
    code, output, errors = await call("create", "root")
    assert (code, output) == (1, "") and "taken" in errors
    assert (await call("create", "Root"))[0] == 2


async def test_a_password_is_reset(edge: Edge, call: Call) -> None:
    """The old one and every sign-in are void."""
    ada = await edge.person("ada")
    code, output, _ = await call("reset-password", "ada", "--json")
    told = json.loads(output)
    assert code == 0 and told["username"] == "ada"
    assert (await ada.http.get("/api/me")).status_code == 401
    assert await signs_in(edge, "ada", PASSWORD) == 401
    assert await signs_in(edge, "ada", told["password"]) == 200


async def test_an_account_is_disabled_and_enabled(
    edge: Edge, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stream loses its lease, so that it ends even if the news is lost."""
    monkeypatch.setattr(commands.accounts, "FOLLOW_LIMIT_S", 0.1)
    monkeypatch.setattr(commands.accounts, "END_LIMIT_S", 0.1)
    ada = await edge.person("ada")
    await statuses.write(edge.streams.store, live("ada"))
    assert (await call("disable", "ada"))[:2] == (0, "ada is disabled.\n")
    assert not await statuses.write(edge.streams.store, live("ada"))
    assert (await ada.http.get("/api/me")).status_code == 401
    assert await signs_in(edge, "ada", PASSWORD) == 403
    told = json.loads((await call("enable", "ada", "--json"))[1])
    assert told == {"username": "ada", "disabled": False}
    assert await signs_in(edge, "ada", PASSWORD) == 200
    assert json.loads((await call("disable", "ada", "--json"))[1])["disabled"]


async def test_accounts_are_listed(edge: Edge, call: Call, tmp_path: Path) -> None:
    """With what they use; JSON has all of it."""
    await edge.person("ada")
    await edge.person("root")
    await stored(edge, "ada", tmp_path)
    ada, root = json.loads((await call("list", "--json", admins=("root",)))[1])
    assert (ada["username"], ada["used_bytes"], ada["admin"]) == ("ada", len(SOUND), False)
    assert (root["username"], root["disabled"], root["admin"]) == ("root", False, True)
    assert ada["created_at"].endswith("Z") and ada["last_used_at"].endswith("Z")
    lines = (await call("list", admins=("root",)))[1].splitlines()
    assert len(lines) == 3 and lines[1].startswith("ada ") and lines[2].endswith("admin")


async def test_accounts_are_restored_from_their_copies(edge: Edge, call: Call) -> None:
    """After a loss of Redis they are who they were, with the same password."""
    store = edge.services.store
    for each in list(store.accounts.ids()):
        store.accounts.delete(each)
    assert (await call("restore"))[1] == "There are no copies of accounts.\n"
    await edge.person("ada")
    account = await edge.services.index.account_of("ada")
    await AccountCopies(edge.redis, store, SECRET).copy_some()
    await edge.redis.flushdb()
    assert "HUSHCAST_SECRET_KEY" in (await call("restore"))[1]
    told = json.loads((await call("restore", "--json", secret_key=SECRET))[1])
    assert told == [{"username": "ada", "id": account, "result": "restored"}]
    assert await signs_in(edge, "ada", PASSWORD) == 200
    assert "is here" in (await call("restore", "--without-passwords", secret_key=SECRET))[1]


async def test_invitations_are_printed(make_edge: MakeEdge, call: Call) -> None:
    """With an address that fills the code in, where one is known."""
    edge = make_edge(sign_up="invite")
    code, output, _ = await call("invite", public_url="https://cast.example.org")
    invitation, url = output.splitlines()
    assert code == 0 and url == f"https://cast.example.org/#invite={invitation}"
    told = json.loads((await call("invite", "--uses", "2", "--days", "1", "--json"))[1])
    assert told["uses"] == 2 and told["url"] is None
    for name, invite, status in (
        ("ada", invitation, 201),
        ("bob", invitation, 403),
        ("bob", told["code"], 201),
        ("eve", told["code"], 201),
        ("zoe", told["code"], 403),
    ):
        body = {"username": name, "password": PASSWORD, "invite": invite}
        assert (await edge.client().post("/api/accounts", json=body)).status_code == status, name


async def test_an_account_is_deleted_with_everything_in_it(
    edge: Edge, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recordings, friends, the stream; everybody hears that its access has ended."""
    monkeypatch.setattr(commands.accounts, "FOLLOW_LIMIT_S", 0.1)
    monkeypatch.setattr(commands.accounts, "END_LIMIT_S", 0.1)
    ada, bob = await edge.person("ada"), await edge.person("bob")
    await edge.befriend("ada", "bob")
    recording = await stored(edge, "ada", tmp_path)
    await statuses.write(edge.streams.store, live("ada"))
    async with edge.redis.pubsub(ignore_subscribe_messages=True) as told:
        await told.subscribe(edge.redis.channel(CHANNEL))
        assert await call("delete", "ada") == (0, "ada is deleted.\n", "")
        while (message := await told.get_message(timeout=5)) is None:
            pass
    ended = AccessEnded.from_json(message["data"])
    assert ended.username == "ada" and ended.covers(ada.token)
    assert not await statuses.write(edge.streams.store, live("ada"))
    with pytest.raises(ObjectMissing):
        edge.services.store.size(recording.key)
    assert await edge.services.index.get(recording.id) is None
    assert (await bob.http.get("/api/friends")).json()["friends"] == []
    assert (await bob.http.get("/api/users/ada")).status_code == 404


@pytest.mark.parametrize("action", ["reset-password", "disable", "enable", "delete"])
async def test_an_unknown_name_is_refused_with_a_sentence(call: Call, action: str) -> None:
    """Exit code 1, nothing on standard output."""
    code, output, errors = await call(action, "nobody")
    assert (code, output, errors) == (1, "", "There is no user called nobody.\n")
    code, output, errors = await call(action, "nobody", "--json")
    told = {"detail": "There is no user called nobody."}
    assert (code, json.loads(output), errors) == (1, told, "")


async def test_what_the_operator_does_is_in_the_security_log(call: Call, tmp_path: Path) -> None:
    """In the file that the instance writes, marked, and without the codes and passwords."""
    secrets = [(await call(*words))[1].split()[0] for words in (["create", "ada"], ["invite"])]
    secrets.append((await call("reset-password", "ada"))[1].strip())
    for action in ("disable", "enable", "delete"):
        assert (await call(action, "ada"))[0] == 0
    text = (tmp_path / "logs" / "hushcast.log").read_text()
    lines = [line for each in text.splitlines() if (line := read_line(each))]
    assert {(line.logger, line.fields["by"]) for line in lines} == {
        ("serve_app.security", "operator")
    }
    told = [(line.what, line.fields.get("user")) for line in lines]
    assert [each for each in told if each[0] != "sign-ins ended"] == [
        ("account created", "ada"),
        ("invitation made", None),
        ("password changed", "ada"),
        ("account disabled", "ada"),
        ("account enabled", "ada"),
        ("account deleted", "ada"),
    ]
    assert not any(secret in text for secret in secrets)


async def test_nothing_is_done_without_the_security_log(
    edge: Edge, call: Call, tmp_path: Path
) -> None:
    """If the file cannot be written, the command says so first."""
    await edge.person("ada")
    (tmp_path / "file").touch()
    code, output, errors = await call("delete", "ada", log_dir=tmp_path / "file" / "logs")
    assert (code, output) == (1, "") and "cannot be written" in errors and errors.count("\n") == 1
    assert await edge.services.accounts.exists("ada")


def test_a_command_loads_no_ray() -> None:
    """Importing it takes longer than everything that the command does."""
    code = """
import sys
import commands.accounts, commands.reconcile
from serve_app.settings import Settings
Settings(s3_bucket="bucket").store_config
sys.exit("ray" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("words", [["accounts", "list"], ["accounts", "delete", "ada"]])
@pytest.mark.parametrize("kept", ["nothing", "a foreign folder", "a lock"])
def test_a_folder_without_data_is_refused(
    words: list[str], kept: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only `hushcast up` makes an installation; a lock alone is one with servers elsewhere."""
    data = tmp_path / "data"
    if kept != "nothing":
        data.mkdir()
    if kept == "a lock":
        (data / "lock").touch()
    before = sorted(tmp_path.rglob("*"))
    assert run(*words, "--data-dir", str(data)) == 1
    output, errors = capsys.readouterr()
    assert output == "" and errors.startswith(f"There is no hushcast data in {data}.")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("words", [["accounts", "delete", "ada"], ["recordings", "reconcile"]])
def test_redis_is_reached_before_anything_starts(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A wrong URL leaves nothing behind in the default folder."""
    monkeypatch.chdir(tmp_path)
    assert run(*words, "--redis-url", "redis://127.0.0.1:9/0") == 1
    assert capsys.readouterr().err.startswith("Redis")
    assert list(tmp_path.iterdir()) == []


def run(*words: str) -> int:
    """Run a command in this process, without listening to signals; returns the exit code."""
    options = cli._parser().parse_args(words)
    return int(options.run(options, Signals()))


async def test_without_redis_it_says_so(call: Call) -> None:
    """Exit code 1 and one line."""
    code, output, errors = await call("list", redis_url="redis://127.0.0.1:9/0")
    assert (code, output) == (1, "") and errors.startswith("Redis") and errors.count("\n") == 1
