"""What the routes work with. Made once in each ingress replica; see `main.py`."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from deployments.presence import Presence
from deployments.streams import Streams
from foundation.redis import RedisClient
from recordings.index import RecordingIndex
from recordings.store import RecordingStore
from serve_app.accounts import Accounts
from serve_app.rates import Rates
from serve_app.settings import Settings


@dataclass(frozen=True)
class Services:
    """The collaborators of the ingress."""

    settings: Settings
    redis: RedisClient
    accounts: Accounts
    rates: Rates
    streams: Streams
    presence: Presence
    index: RecordingIndex
    store: RecordingStore


def services(connection: HTTPConnection) -> Services:
    """Get the services of the application that serves a request or socket."""
    return cast(Services, connection.app.state.services)


Use = Annotated[Services, Depends(services)]
