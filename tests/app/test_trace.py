"""One start and one stop, followed through the logs of every process of a running hushcast."""

import contextlib
import io
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from commands.cli import main
from tests.app.client import SDP, Person
from tests.app.test_faults import hosting
from tests.peers import PublisherPeer, encode
from tests.running import App
from tests.sounds import speech_like
from tests.waiting import until

pytestmark = pytest.mark.slow

PACKETS = encode(speech_like(2.0))
People = Callable[[], Awaitable[Person]]


def traced(app: App, *arguments: str) -> str:
    """Run `hushcast trace` on its data folder."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        main(["trace", "--data-dir", str(app.data_dir), *arguments])
    print(out.getvalue())
    return out.getvalue()


async def test_every_hop_of_a_start_and_a_stop_is_found(app: App, people: People) -> None:
    """From the request to the friend's socket, each with its delay, and without names."""
    ada, bob = await people(), await people()
    await ada.befriend(bob)
    peer = PublisherPeer(PACKETS)
    async with bob.presence() as presence:
        offer, named = await peer.offer(), {**SDP, "x-request-id": "start-1"}
        answer = await ada.http.post("/whip", content=offer, headers=named)
        assert answer.status_code == 201 and answer.headers["x-request-id"] == "start-1"
        await peer.accept(answer.text)
        await until(lambda: "live" in presence.states(ada.username))
        stream = await ada.stream() or {}
        stop = {"x-request-id": "stop-1"}
        assert (await ada.http.post("/api/stream/stop", headers=stop)).status_code == 204
        await until(lambda: presence.states(ada.username)[-1] is None)
    await peer.close()
    start = traced(app, "start-1")
    for what in ("answered", "stream begins", "session opens", "session is connected",
                 "recording begins", "published", "received", "forwarded"):  # fmt: skip
        assert what in start, what
    for process in ("ingress-", "actor-"):
        assert process in start
    assert "state=live" in start and "sockets=1" in start
    stopped = traced(app, "stop-1")
    for what in ("stream ends", "state=ended", "received", "forwarded sockets=1"):
        assert stopped.count(what) == 1, what
    delays = [int(line.split()[2]) for line in stopped.splitlines() if "change=" in line]
    assert len(delays) >= 3 and 0 <= min(delays) and max(delays) < 2000
    await until(lambda: "recording is stored" in traced(app, "--stream", stream["stream_id"]))
    log = without_security(app.data_dir / "logs" / "hushcast.log")
    assert ada.username not in log and bob.username not in log


def without_security(log: Path) -> str:
    """Read a log but for the lines that are to name people."""
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(line for line in lines if " serve_app.security " not in line)


async def test_a_killed_actor_is_followed_to_its_friends(app: App, people: People) -> None:
    """The end is published once, by whoever sees it first; its hops have delays like others."""
    ada, bob = await people(), await people()
    await ada.befriend(bob)
    async with bob.presence() as presence:
        await ada.publish(PACKETS)
        await until(lambda: "live" in presence.states(ada.username))
        stream = await ada.stream() or {}
        hosting(app).kill()
        await until(lambda: presence.states(ada.username)[-1] is None)
    lines = traced(app, "--stream", stream["stream_id"]).splitlines()
    [end] = [line for line in lines if "published the end, the actor died" in line]
    assert "directory-" in end or "ingress-" in end
    hops = traced(app, end.rpartition("change=")[2]).splitlines()[1:]
    assert {line.split()[3] for line in hops} == {"published", "received", "forwarded"}
    assert all(0 <= int(line.split()[2]) < 2000 for line in hops) and len(hops) == 3


async def test_no_log_names_a_person_or_holds_what_a_client_made_up(
    app: App, people: People
) -> None:
    """Neither paths nor ids that are no ids, not even in what Serve writes."""
    ada, forged = await people(), "x -- GET /api/me 200 request=forged"
    await ada.publish(PACKETS)
    for path in (f"/api/users/{ada.username}", f"/api/users/{ada.username}/recordings", "/api/me"):
        assert (await ada.http.get(path, headers={"X-Request-ID": forged})).is_success
    assert (await ada.http.post(f"/whep/{ada.username}", content="x")).status_code == 415
    await ada.http.post("/api/stream/stop")
    for log in sorted((app.data_dir / "logs").iterdir()):
        text = without_security(log)
        assert ada.username not in text and "request=forged" not in text, log.name
