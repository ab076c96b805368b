"""Who is calling: a bearer token, or the session cookie of our own pages; and from where."""

from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from fastapi import Depends
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app import security
from serve_app.accounts import Token, WrongCredentials
from serve_app.addresses import Client, Proxies, origin_of
from serve_app.services import Use

COOKIE = "hushcast"
TOKEN = "hushcast.token"
"""The key in a WebSocket's scope that holds its token."""
CLIENT = "hushcast.client"
"""The key in a scope that holds where it comes from, a `Client`."""
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class ForeignOrigin(Exception):
    """A page of another origin used our cookie."""

    def __init__(self) -> None:
        super().__init__("This request comes from another site. Please use the hushcast page.")


async def verified(request: Request, use: Use) -> Token:
    """Verify the caller's token. With a cookie, a change needs a same-origin `Origin`.

    Raises WrongCredentials or ForeignOrigin.
    """
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return await use.accounts.verify(bearer.strip())
    token = await use.accounts.verify(_cookie(request))
    if request.method not in SAFE_METHODS:
        check_origin(request, use.settings.public_url)
    return token


class ClientAddress:
    """Finds where a request or socket comes from, for limits and the security log."""

    def __init__(self, app: ASGIApp, proxies: Proxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a connection on with its `Client` in the scope."""
        if scope["type"] in ("http", "websocket"):
            scope[CLIENT] = self._proxies.client_of(HTTPConnection(scope))
            security.address.set(scope[CLIENT].address)
        await self._app(scope, receive, send)


class TokenOutOfSight:
    """Removes `?token=` from the URL of a WebSocket, which servers log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a connection on; the server, too, sees its URL without the token."""
        if scope["type"] == "websocket":
            pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            scope[TOKEN] = dict(pairs).get("token", "")
            scope["query_string"] = urlencode([p for p in pairs if p[0] != "token"]).encode()
        await self._app(scope, receive, send)


async def verified_socket(connection: HTTPConnection, use: Use) -> Token:
    """Verify the caller of a WebSocket: `?token=`, a bearer token, or cookie and Origin.

    Raises WrongCredentials or ForeignOrigin.
    """
    scheme, _, bearer = connection.headers.get("authorization", "").partition(" ")
    given = connection.scope[TOKEN] or (bearer if scheme.lower() == "bearer" else "")
    if given:
        return await use.accounts.verify(given)
    check_origin(connection, use.settings.public_url)
    return await use.accounts.verify(_cookie(connection))


async def username(token: Annotated[Token, Depends(verified)]) -> str:
    """Get the caller's name."""
    return token.username


async def client(request: Request) -> Client:
    """Get where the request comes from."""
    found: Client = request.scope[CLIENT]
    return found


From = Annotated[Client, Depends(client)]
Signed = Annotated[Token, Depends(verified)]
Caller = Annotated[str, Depends(username)]


def check_origin(connection: HTTPConnection, public_url: str | None) -> None:
    """Raise ForeignOrigin unless `Origin` is this site: its public URL or the requested host."""
    given = connection.headers.get("origin", "")
    origin = origin_of(given)
    scheme, host = given.partition("://")[0], connection.headers.get("host", "")
    if origin is None or origin not in (public_url, origin_of(f"{scheme}://{host}")):
        raise ForeignOrigin


def _cookie(connection: HTTPConnection) -> str:
    cookie = connection.cookies.get(COOKIE)
    if not cookie:
        raise WrongCredentials("Please sign in.")
    return cookie
