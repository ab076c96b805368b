"""The one composition root: settings in, the Serve application out."""

import logging
import os
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from ray import serve

from actors.status import StatusStore
from actors.stream import StreamActorConfig
from actors.stream_core import StreamTimes
from deployments.directory import DirectoryClient, StreamDirectory
from deployments.pool import PoolConfig
from deployments.presence import Presence
from deployments.stream_actors import RayStreamActors, StreamActorOptions
from deployments.streams import Streams
from foundation.redis import connect
from recordings.index import RecordingIndex
from recordings.retention import Retention
from recordings.store import RecordingStore, StoreConfig
from serve_app import accounts
from serve_app.accounts import Accounts
from serve_app.api import build_api
from serve_app.rates import Rates
from serve_app.services import Services
from serve_app.settings import Settings, read_settings


class AppArgs(BaseModel):
    """The arguments of `build_app` in a Serve config: settings by name, as in `Settings`.

    What is left out comes from `HUSHCAST_*` on the node that builds the application.
    """

    settings: dict[str, Any] = {}


@serve.deployment(ray_actor_options={"num_cpus": 0.1}, max_ongoing_requests=10_000)
@serve.ingress()
class Ingress:
    """A replica of the HTTP application. Every WebSocket counts as an ongoing request."""

    def __init__(self, settings_json: str, directory: Any) -> None:
        logging.getLogger("serve_app").setLevel(logging.INFO)
        self._settings = Settings.from_json(settings_json)
        self._directory = directory

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Make the application in the replica, on its event loop."""
        return build_api(build_services(self._settings, DirectoryClient(self._directory)))


def build_services(settings: Settings, directory: DirectoryClient) -> Services:
    """Make everything that the routes of one replica work with."""
    assert settings.redis_url is not None, "a replica is told where Redis is"
    redis = connect(settings.redis_url)
    status = StatusStore(redis)
    people = Accounts(redis, settings.secret_key)
    return Services(
        settings=settings,
        redis=redis,
        accounts=people,
        rates=Rates(redis, settings.limits),
        streams=Streams(status, directory, RayStreamActors()),
        presence=Presence(
            settings.redis_url,
            status,
            people.friends_of,
            accounts.CHANNEL,
            accounts.ENDED_CHANNEL,
        ),
        index=RecordingIndex(redis),
        store=RecordingStore(store_config(settings)),
    )


def _retention(settings: Settings) -> Retention:
    days, gigabytes = settings.keep_days, settings.keep_gb_per_user
    return Retention(
        max_age_s=None if days is None else days * 86_400,
        max_user_bytes=None if gigabytes is None else round(gigabytes * 1e9),
    )


def store_config(settings: Settings) -> StoreConfig:
    """Say where recordings are kept."""
    assert settings.s3_bucket is not None, "a bucket is given, or brought by `hushcast up`"
    return StoreConfig(
        bucket=settings.s3_bucket,
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        public_endpoint=settings.s3_public_endpoint,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key,
    )


def pool_config(settings: Settings) -> PoolConfig:
    """Say how many stream actors there are, and what each of them is told."""
    assert settings.redis_url is not None, "a Redis is given, or brought by `hushcast up`"
    actor = StreamActorConfig(
        redis_url=settings.redis_url,
        store=store_config(settings),
        spool_dir=str(settings.spool_dir),
        version=settings.release,
        model=settings.model,
        device="cuda" if settings.actor_num_gpus else "cpu",
        streams_per_actor=settings.streams_per_actor,
        ice_addresses=settings.ice_addresses,
        udp_ports=settings.udp_ports,
        public_ip=settings.public_ip,
        times=StreamTimes(
            connect_timeout_s=settings.connect_timeout_s,
            publisher_timeout_s=settings.publisher_timeout_s,
            grace_s=settings.grace_s,
        ),
        retention=_retention(settings),
    )
    options = StreamActorOptions(actor, settings.actor_num_cpus, settings.actor_num_gpus)
    return PoolConfig(options, settings.warm_actors)


def build_app(args: AppArgs) -> serve.Application:
    """Build the application for `serve deploy`: see serve.yaml.

    Raises SettingsError for settings that will not do.
    """
    settings = read_settings(args.settings)
    for name in ("redis_url", "s3_bucket", "secret_key"):
        if not getattr(settings, name):
            raise ValueError(f"a cluster needs HUSHCAST_{name.upper()}, or `{name}` in its args")
    return bind(settings)


def bind(settings: Settings) -> serve.Application:
    """Bind the deployments of an application whose settings are complete."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    directory = _deployment(StreamDirectory).bind(pool_config(settings))
    return _deployment(Ingress).bind(settings.to_json(), directory)


def _deployment(decorated: Any) -> serve.Deployment:
    """Get what Serve's decorator made of a class, which its types hide."""
    assert isinstance(decorated, serve.Deployment)
    return decorated
