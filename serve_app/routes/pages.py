"""The pages and the health checks."""

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, JSONResponse

from serve_app.services import Use

router = APIRouter(include_in_schema=False)

FRONTEND = Path(__file__).parent.parent.parent / "frontend"
NO_CACHE = {"Cache-Control": "no-cache"}
SECRET_ADDRESS = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}


@router.get("/")
@router.get("/u/{name}")
@router.get("/admin")
async def page(name: str = "") -> FileResponse:
    """Serve the page; its script reads the path."""
    return FileResponse(FRONTEND / "index.html", headers=NO_CACHE)


@router.get("/l/{token}")
async def guest_page() -> FileResponse:
    """Serve the page of an invite link, whose address is a secret: it is told to nobody."""
    return FileResponse(FRONTEND / "index.html", headers=NO_CACHE | SECRET_ADDRESS)


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
