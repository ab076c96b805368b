"""The id of a request: taken or made, answered, and in the logs of what it causes."""

import logging
import re
from typing import Any

import pytest

from actors.status import StreamState
from foundation.logs import request_id
from tests import statuses
from tests.edge.conftest import Edge, MakeEdge
from tests.edge.made_up import OFFER, live

SDP = {"content-type": "application/sdp"}


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("page-1.A_b", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("a b", False),
        ("a\tb=c", False),
        ("", False),
        ("ä", False),
    ],
)
async def test_a_fit_id_is_kept_and_any_other_replaced(edge: Edge, given: str, taken: bool) -> None:
    """The answer names the one that is in the logs."""
    header = {b"x-request-id": given.encode()}
    answer = await edge.client().get("/healthz", headers=header)
    assert (answer.headers["x-request-id"] == given) is taken
    assert 1 <= len(answer.headers["x-request-id"]) <= 64


async def test_names_and_ids_that_are_too_long_are_404(make_edge: MakeEdge) -> None:
    """On every address that has one, as for any that nobody has."""
    edge = make_edge(admins=("root",))
    root = await edge.person("root")
    tried = 0
    for path, methods in edge.api.openapi()["paths"].items():
        if "{" not in path or path.startswith("/u/"):
            continue
        address = re.sub(r"{\w+}", "x" * 65, path)
        for method in methods.keys() - {"options"}:
            json = {"disabled": True} if path.startswith("/api/admin") else None
            answer = await root.http.request(method, address, json=json)
            tried += 1
            assert answer.status_code == 404, (method, path, answer.text)
            assert answer.json()["detail"].startswith("There is no")
            stranger = await edge.client().request(method, address, json=json)
            assert stranger.status_code == 401, (method, path)
    assert tried >= 15


async def test_two_requests_without_an_id_get_different_ones(edge: Edge) -> None:
    """Refusals too."""
    client = edge.client()
    names = {(await client.get(path)).headers["x-request-id"] for path in ("/healthz", "/nowhere")}
    assert len(names) == 2


async def test_the_id_reaches_what_is_asked_of_streams(
    edge: Edge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Through the tasks that outlive the request; its answer is logged by its route alone."""
    caplog.set_level(logging.INFO)
    seen: list[str] = []
    listen = edge.streams.listen

    async def note(*arguments: str, **options: Any) -> object:
        seen.append(request_id.get())
        return await listen(*arguments, **options)

    monkeypatch.setattr(edge.streams, "listen", note)
    ada = await edge.person("ada")
    await statuses.write(edge.streams.store, live("ada", state=StreamState.LIVE))
    headers = {**SDP, "x-request-id": "listen-1"}
    answer = await ada.http.post("/whep/ada", content=OFFER, headers=headers)
    assert answer.status_code == 201 and seen == ["listen-1"]
    [line] = [r for r in caplog.records if r.getMessage() == "answered"]
    told = line.__dict__["fields"]
    assert told | {"took_ms": 0} == {
        "method": "POST", "route": "/whep/{name}", "status": 201, "took_ms": 0,
    }  # fmt: skip
