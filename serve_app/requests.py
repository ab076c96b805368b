"""The id of a request: the client's own or a new one, in the answer and in every log it causes."""

import logging
import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foundation.ids import new_id
from foundation.logs import fields, request_id

log = logging.getLogger(__name__)

HEADER = b"x-request-id"
GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
UNLOGGED_METHODS = ("GET", "HEAD", "OPTIONS")
"""They change nothing, and pages send many."""


class RequestId:
    """Gives requests and sockets their id: the client's `X-Request-ID` if valid, else a new one.

    Serve's HTTP proxy always answers with the id that it passed on, valid or not: behind it, an
    answer carries only an id that was replaced here.
    """

    def __init__(self, app: ASGIApp, behind_serve: bool) -> None:
        self._app = app
        self._behind_serve = behind_serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on under its id, answer with it, and log what changes something."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        given = dict(scope["headers"]).get(HEADER, b"")
        fit = GIVEN_ID.fullmatch(given) is not None
        name = given.decode() if fit else new_id()
        request_id.set(name)
        answered = [] if fit and self._behind_serve else [(HEADER, name.encode())]

        async def with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *answered]}
                if scope["method"] not in UNLOGGED_METHODS:
                    _log(scope, message["status"], began)
            await send(message)

        await self._app(scope, receive, with_id)


def route_of(scope: Scope) -> str | None:
    """Get the route of a request for logs, not its path, which may name a person."""
    return getattr(scope.get("route"), "path", None)


def _log(scope: Scope, status: int, began: float) -> None:
    took_ms = round((time.monotonic() - began) * 1000)
    route = route_of(scope)
    told = fields(method=scope["method"], route=route, status=status, took_ms=took_ms)
    log.info("answered", extra=told)
