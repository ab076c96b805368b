"""The pages, and whether the service is well."""

import asyncio
from pathlib import Path

from fastapi import APIRouter
from redis.exceptions import RedisError
from starlette.responses import FileResponse, JSONResponse

from actors.errors import StreamError
from recordings.store import StoreUnavailable
from serve_app.services import Use

router = APIRouter(include_in_schema=False)

FRONTEND = Path(__file__).parent.parent.parent / "frontend"
NO_CACHE = {"Cache-Control": "no-cache"}


@router.get("/")
@router.get("/u/{name}")
async def page(name: str = "") -> FileResponse:
    """Give the page; its script looks at the address."""
    return FileResponse(FRONTEND / "index.html", headers=NO_CACHE)


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Tell that the process lives."""
    return {"status": "alive"}


@router.get("/readyz")
async def readyz(use: Use) -> JSONResponse:
    """Tell whether a stream could start now: Redis, S3 and a warm actor are there."""
    problems = []
    try:
        async with asyncio.timeout(3):
            await use.redis.ping()
    except (RedisError, TimeoutError):
        problems.append("Redis does not answer.")
    try:
        await asyncio.to_thread(use.store.check)
    except StoreUnavailable as error:
        problems.append(f"The object storage does not answer: {error}")
    try:
        await use.streams.ready()
    except StreamError as error:
        problems.append(str(error))
    if problems:
        return JSONResponse({"detail": " ".join(problems)}, 503, {"Retry-After": "2"})
    return JSONResponse({"status": "ready"})
