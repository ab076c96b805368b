"""Who is calling: a bearer token, or the session cookie of our own pages; and from where.

A bearer token may be an invite link's. Its guest reaches the routes that ask for `Hearing` or
`Hearer`, and no other.
"""

from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from fastapi import Depends
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app import links, security
from serve_app.accounts import Token, WrongCredentials
from serve_app.addresses import Client, Proxies, origin_of
from serve_app.links import Link
from serve_app.services import Use

COOKIE = "hushcast"
LINK_COOKIE = "hushcast-link-"
"""With a link's id: its token, for the audio of recordings alone."""
TOKEN = "hushcast.token"
"""The key in a WebSocket's scope that holds its token."""
CLIENT = "hushcast.client"
"""The key in a scope that holds where it comes from, a `Client`."""
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class NotForGuests(Exception):
    """A guest asked for something else than to hear the link's owner."""

    def __init__(self) -> None:
        super().__init__("This link only lets you listen. Please sign in.")


class ForeignOrigin(Exception):
    """A page of another origin used our cookie."""

    def __init__(self) -> None:
        super().__init__("This request comes from another site. Please use the hushcast page.")


async def verified(request: Request, use: Use) -> Token:
    """Verify the caller's token. With a cookie, a change needs a same-origin `Origin`.

    Raises WrongCredentials, LinkRefused, NotForGuests or ForeignOrigin.
    """
    bearer = bearer_of(request)
    if bearer is not None and await _guest(bearer, use):
        raise NotForGuests
    if bearer is not None:
        return await use.accounts.verify(bearer)
    token = await use.accounts.verify(_cookie(request))
    if request.method not in SAFE_METHODS:
        check_origin(request, use.settings.public_url)
    return token


async def hearing(request: Request, use: Use) -> Token | Link:
    """Verify the caller like `verified`, or the link of a guest.

    Raises WrongCredentials, LinkRefused or ForeignOrigin.
    """
    given = bearer_of(request) or _link_cookie(request)
    return await _guest(given, use) or await verified(request, use)


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


async def verified_socket(connection: HTTPConnection, use: Use) -> Token | Link:
    """Verify the caller of a WebSocket: `?token=`, a bearer token, or cookie and Origin.

    Raises WrongCredentials, LinkRefused or ForeignOrigin.
    """
    if given := connection.scope[TOKEN] or bearer_of(connection):
        return await _guest(given, use) or await use.accounts.verify(given)
    check_origin(connection, use.settings.public_url)
    return await use.accounts.verify(_cookie(connection))


async def username(token: Annotated[Token, Depends(verified)]) -> str:
    """Get the caller's name."""
    return token.username


async def hearer(who: Annotated[Token | Link, Depends(hearing)]) -> str | Link:
    """Get the caller's name, or the link of a guest."""
    return who.username if isinstance(who, Token) else who


def session_owner(caller: str | Link) -> str:
    """Name the one whose sessions a caller may change."""
    return caller.guest.name if isinstance(caller, Link) else caller


async def client(request: Request) -> Client:
    """Get where the request comes from."""
    found: Client = request.scope[CLIENT]
    return found


From = Annotated[Client, Depends(client)]
Signed = Annotated[Token, Depends(verified)]
Caller = Annotated[str, Depends(username)]
Hearing = Annotated[Token | Link, Depends(hearing)]
Hearer = Annotated[str | Link, Depends(hearer)]


def check_origin(connection: HTTPConnection, public_url: str | None) -> None:
    """Raise ForeignOrigin unless `Origin` is this site: its public URL or the requested host."""
    given = connection.headers.get("origin", "")
    origin = origin_of(given)
    scheme, host = given.partition("://")[0], connection.headers.get("host", "")
    if origin is None or origin not in (public_url, origin_of(f"{scheme}://{host}")):
        raise ForeignOrigin


def bearer_of(connection: HTTPConnection) -> str | None:
    """Get the bearer token that a request brings."""
    scheme, _, bearer = connection.headers.get("authorization", "").partition(" ")
    return bearer.strip() if scheme.lower() == "bearer" else None


def _link_cookie(request: Request) -> str:
    """Get the token of the link in `?link=`, for players of recordings, which send no bearer."""
    wanted = request.query_params.get("link", "")
    reads = request.method in SAFE_METHODS
    return request.cookies.get(f"{LINK_COOKIE}{wanted}", "") if wanted and reads else ""


async def _guest(bearer: str, use: Use) -> Link | None:
    """Get a bearer token's link; None if it is no link's. Raises LinkRefused."""
    return await use.links.verify(bearer) if links.TOKEN.fullmatch(bearer) else None


def _cookie(connection: HTTPConnection) -> str:
    cookie = connection.cookies.get(COOKIE)
    if not cookie:
        raise WrongCredentials("Please sign in.")
    return cookie
