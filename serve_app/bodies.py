"""Limits the size of request bodies, both as declared and as received."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_SDP_BYTES = 64 * 1024
MAX_JSON_BYTES = 16 * 1024
MAX_PREVIEW_BYTES = 2 * 1024 * 1024
DISCARDED_BYTES = 4 * 1024 * 1024
DISCARD_TIMEOUT_S = 5.0
"""How much of a refused body is read and discarded, and for how long.

A client that is still sending when the connection closes never reads the refusal.
"""


class BodyLimit:
    """Answers 413 to a body over the limit of its path; never holds more than the limit."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting its bytes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = _limit(scope["path"])
        sentence = f"The body is longer than {limit // 1024:,} KiB."
        if _declared(scope) > limit:
            await _discard(receive)
            told = {"detail": sentence}
            await JSONResponse(told, 413, {"Connection": "close"})(scope, receive, send)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                if message.get("more_body"):
                    await _discard(receive)
                raise HTTPException(413, sentence)
            return message

        await self._app(scope, limited, send)


def media_type(request: Request) -> str:
    """Get the media type of a request's body, without its parameters; empty if there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _limit(path: str) -> int:
    if path == "/api/preview":
        return MAX_PREVIEW_BYTES
    return MAX_SDP_BYTES if path.startswith(("/whip", "/whep")) else MAX_JSON_BYTES


def _declared(scope: Scope) -> int:
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    return int(declared) if declared.isdigit() else 0


async def _discard(receive: Receive) -> None:
    left = DISCARDED_BYTES
    try:
        async with asyncio.timeout(DISCARD_TIMEOUT_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return
    except TimeoutError:
        return
