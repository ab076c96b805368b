"""The pages and the health checks."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from serve_app.callers import COOKIE
from serve_app.services import Use
from serve_app.settings import USERNAME
from serve_app.site import File, site

router = APIRouter(include_in_schema=False)

FOR_EVER = "public, max-age=31536000, immutable"
SECRET_ADDRESS = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}


@router.get("/")
@router.get("/r/{recording}")
@router.get("/admin")
async def page(request: Request) -> Response:
    """Serve the page; its script reads the path."""
    return page_for(request)


@router.get("/u/{name}")
async def persons_page(request: Request, name: str) -> Response:
    """Serve the page for what may be a name; capitals make no other."""
    if not re.fullmatch(USERNAME, name.lower()):
        raise HTTPException(404)
    return page_for(request)


@router.get("/static/{name:path}")
async def static(request: Request, name: str) -> Response:
    """Serve a file of the pages."""
    found = site().find(name)
    if found is None:
        raise HTTPException(404)
    file, lasts = found
    headers = {"Cache-Control": FOR_EVER if lasts else "no-cache"}
    if file.name == "service_worker.js":
        headers["Service-Worker-Allowed"] = "/"
    return _answer(request, file, headers)


@router.get("/l/{token}")
async def guest_page(request: Request) -> Response:
    """Serve the page of an invite link, whose address is a secret: it is told to nobody."""
    return page_for(request, more=SECRET_ADDRESS)


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Report that the process is alive."""
    return {"status": "alive"}


@router.get("/readyz")
async def readyz(use: Use) -> JSONResponse:
    """Report whether a stream could start now: Redis, S3 and a warm actor are available."""
    if problems := await use.readiness.problems():
        return JSONResponse({"detail": " ".join(problems)}, 503, {"Retry-After": "2"})
    return JSONResponse({"status": "ready"})


def page_for(
    request: Request, status: int = 200, more: Mapping[str, str] = MappingProxyType({})
) -> Response:
    """Make the page; `?modules` has the browser load each module and style as it is written."""
    modules, cookie = "modules" in request.query_params, COOKIE in request.cookies
    headers = {"Cache-Control": "no-cache", "Vary": "Cookie", **more}
    return _answer(request, site().page(modules=modules, cookie=cookie), headers, status)


def _answer(request: Request, file: File, headers: dict[str, str], status: int = 200) -> Response:
    """Send a file, compressed for those who read that, unless they have it."""
    accepted = re.findall(r"[\w*]+", request.headers.get("accept-encoding", ""))
    coding = next((each for each in file.codings if each in accepted), None)
    tag = f'"{file.digest}-{coding}"' if coding else f'"{file.digest}"'
    vary = ", ".join(filter(None, [headers.get("Vary"), "Accept-Encoding"]))
    headers = headers | {"ETag": tag, "Vary": vary}
    if status == 200 and tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if coding is None:
        return Response(file.body, status, headers, file.kind)
    headers["Content-Encoding"] = coding
    return Response(file.codings[coding], status, headers, file.kind)
