"""The HTTP application: routes, limits on bodies, headers, and errors as sentences."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.errors import IceRestartRefused
from deployments.stream_actors import ActorFailed
from recordings.store import RangeNotSatisfiable
from serve_app.bodies import BodyLimit
from serve_app.callers import ClientAddress, TokenOutOfSight
from serve_app.errors import SENTENCES, STATUS, WrongType, kind_of, raised, retry_after_s
from serve_app.methods import HeadAndSlashes, allowed
from serve_app.requests import RequestId, route_of
from serve_app.routes import (
    admin,
    links,
    media,
    pages,
    people,
    presence,
    previews,
    recordings,
    streams,
)
from serve_app.schemas import Problem
from serve_app.services import Services

log = logging.getLogger(__name__)

NO_STORE = {"Cache-Control": "no-store"}
"""For what is about people: no cache keeps it, and no browser shows it after a sign-out."""
NOTHING_HERE = "There is nothing at this address."


def build_api(services: Services, *, behind_serve: bool = False) -> FastAPI:
    """Make the application of one ingress replica. It follows Redis while it runs."""
    api = FastAPI(
        title="hushcast",
        lifespan=_lifespan,
        responses={"4XX": {"model": Problem}, "5XX": {"model": Problem}},
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    api.state.services = services
    for router in (people, streams, previews, presence, media, recordings, links, admin, pages):
        api.include_router(router.router)
    api.add_middleware(BodyLimit)
    api.add_middleware(TokenOutOfSight)
    api.add_middleware(ClientAddress, proxies=services.proxies)
    api.add_middleware(
        Headers, storage=services.store.browser_origin, https=services.settings.https
    )
    api.add_middleware(RequestId, behind_serve=behind_serve)
    api.add_middleware(HeadAndSlashes)
    for kind in (*STATUS, ActorFailed):
        api.add_exception_handler(kind, _refuse)
    api.add_exception_handler(StarletteHTTPException, _refuse_http)
    api.add_exception_handler(RequestValidationError, _refuse_invalid)
    api.add_exception_handler(Exception, _apologise)
    return api


@asynccontextmanager
async def _lifespan(api: FastAPI) -> AsyncIterator[None]:
    services: Services = api.state.services
    tasks = [
        asyncio.create_task(services.presence.run(), name="presence"),
        asyncio.create_task(services.ends.run(), name="ends"),
        asyncio.create_task(services.streams.run(), name="actors"),
        asyncio.create_task(services.isolation.run(), name="isolation"),
        asyncio.create_task(services.account_copies.run(), name="account copies"),
    ]
    for task in tasks:
        task.add_done_callback(_report)
    api.state.background = tasks
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await services.redis.aclose()
        services.store.close()


def _report(task: "asyncio.Task[None]") -> None:
    if not task.cancelled():
        error = task.exception()
        log.critical("%s has ended; Serve replaces this replica", task.get_name(), exc_info=error)


def check_background(api: FastAPI) -> None:
    """Raise RuntimeError if this replica cannot serve, and others can.

    Something has ended that an application does while it runs, or it is cut off.
    """
    services: Services = api.state.services
    if services.isolation.isolated:
        raise RuntimeError("cut off: other nodes reach Redis, this one does not")
    for task in getattr(api.state, "background", ()):
        if task.done() and not task.cancelled():
            raise RuntimeError(f"{task.get_name()} has ended") from task.exception()


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    error, whole = raised(error), error
    kind = kind_of(error)
    if kind is None:
        log.error("%s %s failed", request.method, route_of(request.scope), exc_info=whole)
        return await _apologise(request, error)
    headers = {}
    if (wait := retry_after_s(error)) is not None:
        headers["Retry-After"] = str(wait)
    if isinstance(error, RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size_bytes}"
    if isinstance(error, IceRestartRefused):
        headers["Allow"] = allowed(request)
    if isinstance(error, WrongType):
        headers[f"Accept-{request.method.capitalize()}"] = error.accepted
    if STATUS[kind] == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if STATUS[kind] >= 500:
        log.warning("%s %s: %r", request.method, route_of(request.scope), error)
    return JSONResponse({"detail": SENTENCES.get(kind, str(error))}, STATUS[kind], headers)


async def _refuse_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = allowed(request)
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=headers)
    if error.status_code == 404 and _reads_pages(request):
        return pages.page_for(request, 404)
    sentences = {
        "Not Found": NOTHING_HERE,
        "Method Not Allowed": "This address does not support that method.",
        "There was an error parsing the body": "The body is not JSON.",
    }
    detail = sentences.get(error.detail, error.detail)
    return JSONResponse({"detail": detail}, error.status_code, headers)


def _reads_pages(request: Request) -> bool:
    """Tell a person's browser, at an address of the pages, from what reads JSON."""
    wants_pages = "text/html" in request.headers.get("accept", "")
    elsewhere = request.url.path.startswith(("/api", "/whip", "/whep", "/static"))
    return wants_pages and not elsewhere and request.method in ("GET", "HEAD")


async def _apologise(request: Request, error: Exception) -> JSONResponse:
    """Answer for a fault of ours; the server logs its traceback."""
    return JSONResponse({"detail": "Something went wrong on the server. Please try again."}, 500)


async def _refuse_invalid(request: Request, error: Exception) -> JSONResponse:
    """Say in one sentence what is wrong with a request."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    source, *parts = first["loc"]
    place = ".".join(str(part) for part in parts)
    if source == "path":  # too long to be the name or id of anything
        told = "There is no user with such a long name." if place == "name" else NOTHING_HERE
        return JSONResponse({"detail": told}, 404)
    texts = {
        "username": "A username has 3 to 32 of the characters a-z, 0-9, _ and -.",
        "password": "A password has 8 to 128 characters.",
        "title": "A title has up to 80 characters, on one line.",
    }
    if first["type"] == "json_invalid":
        return JSONResponse({"detail": "The body is not JSON."}, 422)
    if first["type"] == "missing":
        return JSONResponse({"detail": f"The {place or 'body'} is missing."}, 422)
    told = (
        texts.get(place) or f"{place or 'The body'}: {first['msg'][0].lower()}{first['msg'][1:]}."
    )
    return JSONResponse({"detail": told}, 422)


class Headers:
    """Adds headers to every answer: for security, for caches, and CORS on WHIP and WHEP."""

    def __init__(self, app: ASGIApp, storage: str | None, https: bool) -> None:
        self._app = app
        hsts = {"Strict-Transport-Security": "max-age=31536000"} if https else {}
        self._always = _encoded(_security(storage or "") | hsts)
        self._media = _encoded(media.CORS | NO_STORE)
        self._private = _encoded(NO_STORE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and add headers to the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        more = self._more(scope["path"])

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = message.get("headers", [])
                always = (each for each in self._always if each[0] not in dict(own))
                headers = [*own, *always, *more]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, with_headers)

    def _more(self, path: str) -> list[tuple[bytes, bytes]]:
        """Get headers by path."""
        if path.startswith(("/whip", "/whep")):
            return self._media
        return self._private if path.startswith("/api/") else []


def _security(storage: str) -> dict[str, str]:
    """Make the security headers; `storage` is where browsers load recordings from."""
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"font-src 'self'; connect-src 'self' {storage}; "
        f"media-src 'self' {storage}; manifest-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        # Not `no-referrer`: by the Fetch standard a beacon would then say `Origin: null`.
        "Referrer-Policy": "same-origin",
        "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
        "Cross-Origin-Opener-Policy": "same-origin",
    }


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]
