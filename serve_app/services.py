"""What the routes use, built once in each ingress replica."""

import asyncio
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Annotated, cast

from fastapi import Depends
from ray.exceptions import RayError
from starlette.requests import HTTPConnection

from actors import access
from actors.errors import ActorSilent, ModelNotLoaded
from actors.models import ModelName
from actors.status import StatusStore
from deployments.ends import Ends, witnessed
from deployments.presence import Presence
from deployments.stream_actors import StreamActors
from deployments.streams import Directory, Streams
from foundation.redis import RedisClient, connect
from recordings.index import RecordingIndex
from recordings.store import PEOPLE_WAIT_S, RecordingStore
from serve_app.account_copies import AccountCopies
from serve_app.accounts import Accounts
from serve_app.addresses import Proxies
from serve_app.friends import CHANNEL as FRIENDS_CHANNEL
from serve_app.invitations import Invitations
from serve_app.isolation import Isolation
from serve_app.links import Links
from serve_app.publishers import Publishers
from serve_app.rates import Rates
from serve_app.readiness import Readiness
from serve_app.settings import Settings

PLACES_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class Services:
    """The collaborators of the ingress."""

    settings: Settings
    redis: RedisClient
    accounts: Accounts
    rates: Rates
    streams: Streams
    presence: Presence
    ends: Ends
    isolation: Isolation
    index: RecordingIndex
    store: RecordingStore

    def loaded(self, model: str | None) -> ModelName:
        """Get the name of a model that stream actors have; None: what streams begin with.

        Raises ModelNotLoaded.
        """
        names = self.settings.all_models
        if model is not None and model not in names:
            raise ModelNotLoaded(f"This model is not loaded here. There is {', '.join(names)}.")
        return names[0] if model is None else model

    @property
    def links(self) -> Links:
        """The invite links of users."""
        return self.accounts.links

    @cached_property
    def invitations(self) -> Invitations:
        """The invitations of new people."""
        return Invitations(self.redis)

    @cached_property
    def account_copies(self) -> AccountCopies:
        """The copies of accounts in the bucket."""
        return AccountCopies(self.redis, self.store, self.settings.secret_key)

    @cached_property
    def proxies(self) -> Proxies:
        """The proxies that say who asks."""
        return Proxies(self.settings.trusted_proxies)

    @cached_property
    def publishers(self) -> Publishers:
        """Who publishes from which address."""
        return Publishers(self.redis, self.streams)

    @cached_property
    def readiness(self) -> Readiness:
        """Whether a stream could start now."""
        return Readiness(self.redis, self.store, self.streams)


def build_services(settings: Settings, directory: Directory, actors: StreamActors) -> Services:
    """Build everything that the routes of one replica use."""
    assert settings.redis_url is not None, "a replica always knows where Redis is"
    redis = connect(settings.redis_url)
    status = StatusStore(redis)
    people = Accounts(redis, settings.secret_key)
    presence = Presence(
        settings.redis_url,
        status,
        people.friends_of,
        FRIENDS_CHANNEL,
        partial(access.gone, redis),
    )
    return Services(
        settings=settings,
        redis=redis,
        accounts=people,
        rates=Rates(redis, settings.limits),
        streams=Streams(status, directory, witnessed(actors, status)),
        presence=presence,
        ends=Ends(status, partial(_places, directory)),
        isolation=Isolation(redis, directory.reaches_redis, presence.leave),
        index=RecordingIndex(redis),
        store=RecordingStore(settings.store_config, wait_s=PEOPLE_WAIT_S),
    )


async def _places(directory: Directory) -> int | None:
    """Count the places that are ready for a stream; None when the directory is silent."""
    try:
        async with asyncio.timeout(PLACES_TIMEOUT_S):
            return await directory.count_warm()
    except (ActorSilent, RayError, TimeoutError):
        return None


def services(connection: HTTPConnection) -> Services:
    """Get the services of the application that serves a request or socket."""
    return cast(Services, connection.app.state.services)


Use = Annotated[Services, Depends(services)]
