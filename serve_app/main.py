"""The one composition root: settings in, the Serve application out."""

import asyncio
import logging
import os
from typing import Any

from pydantic import BaseModel
from ray import serve

from actors.stream import StreamActorConfig
from actors.stream_core import StreamTimes
from deployments.directory import StreamDirectory
from deployments.pool import PoolConfig
from deployments.recovery import RecoveryConfig
from deployments.stream_actors import StreamActorOptions
from foundation.redis import unfit
from recordings.retention import Retention
from serve_app.cluster import refuse_an_open_cluster
from serve_app.ingress import RESOURCES, Ingress
from serve_app.settings import Settings, SettingsError, read_settings, unknown_variables

log = logging.getLogger(__name__)

IN_A_CLUSTER = {"sign_up": "invite", "tail_s": 8.0, "heartbeat_s": 2.0}
"""Defaults where Serve says at which address it listens, and a node is lost without the others."""


class AppArgs(BaseModel):
    """The arguments of `build_app` in a Serve config: settings by name, as in `Settings`.

    Anything left out comes from `HUSHCAST_*` on the node that builds the application.
    """

    settings: dict[str, Any] = {}


def _retention(settings: Settings) -> Retention:
    days, gigabytes = settings.keep_days, settings.keep_gb_per_user
    return Retention(
        max_age_s=None if days is None else days * 86_400,
        max_user_bytes=None if gigabytes is None else round(gigabytes * 1e9),
    )


def pool_config(
    settings: Settings, other_disks: tuple[str, ...] = (), *, has_environment: bool = False
) -> PoolConfig:
    """Configure the pool of stream actors, and each actor in it."""
    assert settings.redis_url is not None, "Redis is either configured or started by `hushcast up`"
    actor = StreamActorConfig(
        redis_url=settings.redis_url,
        store=settings.store_config,
        spool_dir=str(settings.spool_dir),
        version=settings.release,
        model=settings.model,
        models=settings.models,
        device="cuda" if settings.actor_num_gpus else "cpu",
        streams_per_actor=settings.streams_per_actor,
        listeners_per_actor=settings.listeners_per_actor,
        ice_addresses=settings.ice_addresses,
        udp_ports=settings.udp_ports,
        public_ips=settings.public_ips,
        times=StreamTimes(
            connect_timeout_s=settings.connect_timeout_s,
            publisher_timeout_s=settings.publisher_timeout_s,
            grace_s=settings.grace_s,
            max_stream_s=settings.max_stream_hours * 3600,
        ),
        retention=_retention(settings),
        quota=settings.quota,
        other_disks=other_disks,
        tail_s=settings.tail_s,
        logs=settings.logs,
    )
    options = StreamActorOptions(
        actor, settings.actor_num_cpus, settings.actor_num_gpus, has_environment
    )
    return PoolConfig(options, settings.warm_actors)


def build_app(args: AppArgs) -> serve.Application:
    """Build the application for `serve deploy`: see serve.yaml.

    Raises SettingsError for invalid settings or a Redis that cannot serve, ValueError for missing
    ones, OpenCluster for a Ray without a token.
    """
    refuse_an_open_cluster()
    settings = read_settings(args.settings)
    for name in ("redis_url", "s3_bucket", "secret_key"):
        if not getattr(settings, name):
            raise ValueError(f"a cluster needs HUSHCAST_{name.upper()}, or `{name}` in its args")
    for sentence in unknown_variables(os.environ):
        log.warning(sentence)
    settings = in_a_cluster(settings)
    if wrong := asyncio.run(unfit(settings.redis_url or "")):
        raise SettingsError(wrong)
    return bind(settings, recovery=recovery_config(settings))


def in_a_cluster(settings: Settings) -> Settings:
    """Replace defaults by those for a cluster."""
    unset = IN_A_CLUSTER.keys() - settings.model_fields_set
    return settings.changed(**{name: IN_A_CLUSTER[name] for name in unset})


def recovery_config(settings: Settings) -> RecoveryConfig:
    """Configure the actors that finish what is left on the nodes of a cluster."""
    assert settings.redis_url is not None
    return RecoveryConfig(
        redis_url=settings.redis_url,
        store=settings.store_config,
        spool_dir=str(settings.spool_dir),
        version=settings.release,
        num_cpus=settings.actor_num_cpus,
        num_gpus=settings.actor_num_gpus,
        logs=settings.logs,
    )


def bind(
    settings: Settings,
    other_disks: tuple[str, ...] = (),
    *,
    recovery: RecoveryConfig | None = None,
    has_environment: bool = False,
) -> serve.Application:
    """Bind the deployments of an application whose settings are complete.

    Nothing is recorded while the disk of the spool, or of one of `other_disks`, is full. Without
    `recovery` only stream actors look for what is left on their nodes. `has_environment` says that
    Ray was started with `deployments.environment`, and need not be asked for it.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    pool = pool_config(settings, other_disks, has_environment=has_environment)
    directory = _deployment(StreamDirectory).bind(pool, recovery)
    ingress = _deployment(Ingress)
    if has_environment:
        ingress = ingress.options(ray_actor_options=RESOURCES)
    return ingress.bind(settings.to_json(), directory)


def _deployment(decorated: Any) -> serve.Deployment:
    """Get the deployment that Serve's decorator made of a class; its type hints hide that."""
    assert isinstance(decorated, serve.Deployment)
    return decorated
