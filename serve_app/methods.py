"""What HTTP asks of every address: HEAD, `Allow`, OPTIONS, and a slash too many."""

from starlette.requests import Request
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEAD = "hushcast.head"
"""The key in a request's scope that says that its answer's body will not be sent."""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class HeadAndSlashes:
    """Answers HEAD like GET, without the body, and a path that ends in a slash like one without.

    Not with a redirect, which no browser follows for a preflight, and which would name the
    address behind the proxy.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if "path" in scope and not scope["path"].startswith("/static/"):
            scope["path"] = scope["path"].rstrip("/") or "/"
        if scope.get("method") != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
            elif not message.get("more_body"):
                await send({"type": "http.response.body"})

        # The server looks at its own scope: it must still see HEAD there.
        await self._app({**scope, "method": "GET", HEAD: True}, receive, without_body)


def allowed(request: Request) -> str:
    """List the methods that an address answers, for `Allow` (RFC 9110, section 10.2.1)."""
    # What a mount refuses, it refuses in a scope of its own.
    scope = {**request.scope, "root_path": request.scope.get("app_root_path", "")}
    answered = [
        method
        for method in METHODS
        for route in request.app.routes
        if route.matches({**scope, "method": method})[0] is Match.FULL
    ]
    return ", ".join([*(["HEAD"] if "GET" in answered else []), *answered, "OPTIONS"])
