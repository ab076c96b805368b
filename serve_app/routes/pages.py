"""The pages and the health checks."""

import asyncio
import logging
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from ray.exceptions import RayError
from starlette.responses import FileResponse, JSONResponse

from actors.errors import StreamError
from foundation.redis import RedisUnavailable
from recordings.store import StoreUnavailable
from serve_app.services import Use

log = logging.getLogger(__name__)

router = APIRouter(include_in_schema=False)

FRONTEND = Path(__file__).parent.parent.parent / "frontend"
CHECK_TIMEOUT_S = 5.0
NO_CACHE = {"Cache-Control": "no-cache"}


@router.get("/")
@router.get("/u/{name}")
@router.get("/admin")
async def page(name: str = "") -> FileResponse:
    """Serve the page; its script reads the path."""
    return FileResponse(FRONTEND / "index.html", headers=NO_CACHE)


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Report that the process is alive."""
    return {"status": "alive"}


@router.get("/readyz")
async def readyz(use: Use) -> JSONResponse:
    """Report whether a stream could start now: Redis, S3 and a warm actor are available."""
    async with asyncio.TaskGroup() as group:  # leaves no check behind, whatever is raised
        checks = [
            group.create_task(_problem("Redis", use.redis.prove())),
            group.create_task(_problem("The object storage", use.storage.check())),
            group.create_task(_problem("The stream directory", use.streams.ready())),
        ]
    if problems := [problem for check in checks if (problem := check.result())]:
        return JSONResponse({"detail": " ".join(problems)}, 503, {"Retry-After": "2"})
    return JSONResponse({"status": "ready"})


async def _problem(part: str, check: Awaitable[Any]) -> str | None:
    """Say what is wrong with a part; None when nothing is."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check
    except StreamError as error:
        return str(error)
    except (RedisUnavailable, StoreUnavailable) as error:
        log.warning("not ready: %s: %r", part, error)
        return f"{part} {error.reason}."
    except (RayError, TimeoutError) as error:
        log.warning("not ready: %s: %r", part, error)
        return f"{part} does not answer."
    return None
