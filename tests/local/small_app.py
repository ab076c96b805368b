"""A small Serve application, to be run by `hushcast up` in tests of everything around it."""

import asyncio
import os
from pathlib import Path

from fastapi import FastAPI
from ray import serve

from commands.local.application import LocalApp
from serve_app.settings import Settings

DATA_DIR = "SMALL_APP_DATA_DIR"

api = FastAPI()


@serve.deployment(ray_actor_options={"num_cpus": 0.1})
@serve.ingress(api)
class Small:
    """Is ready, and says where."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @api.get("/readyz")
    async def readyz(self) -> dict[str, str]:
        """Answer, which is all that readiness needs."""
        return {"status": "ready"}

    @api.get("/where")
    async def where(self) -> dict[str, object]:
        """Tell what this process was given."""
        return {
            "pid": os.getpid(),
            "threads": os.environ["OMP_NUM_THREADS"],
            "redis_url": self.settings.redis_url,
            "s3_endpoint": self.settings.s3_endpoint,
            "secret_key": self.settings.secret_key,
        }


def build(settings: Settings) -> LocalApp:
    """Build it; its drain leaves a trace."""
    os.environ[DATA_DIR] = str(settings.data_dir)
    return LocalApp(Small.bind(settings), f"{__name__}:drain")  # type: ignore[attr-defined]


async def drain() -> None:
    """Leave a trace."""
    await asyncio.to_thread(Path(os.environ[DATA_DIR], "drained").write_text, "yes")


def build_nothing(settings: Settings) -> LocalApp:
    """Fail like an application that cannot find its model."""
    raise RuntimeError("the model has another checksum")


def build_stubborn(settings: Settings) -> LocalApp:
    """Build one that would rather drain for ever."""

    return LocalApp(build(settings).application, f"{__name__}:drain_forever")


async def drain_forever() -> None:
    """Do not come to an end."""
    await asyncio.Event().wait()
