"""Ingress: the Serve deployment that answers HTTP."""

from typing import Any

from fastapi import FastAPI
from ray import serve

from deployments.directory import DirectoryClient
from deployments.environment import RUNTIME_ENV
from deployments.stream_actors import RayStreamActors
from foundation import logs
from serve_app.api import build_api, check_background
from serve_app.cluster import refuse_an_open_cluster
from serve_app.services import build_services
from serve_app.settings import Settings
from serve_app.site import site

RESOURCES = {"num_cpus": 0.1}


@serve.deployment(
    ray_actor_options={**RESOURCES, "runtime_env": RUNTIME_ENV},
    max_ongoing_requests=10_000,
    health_check_period_s=2,
    logging_config={"enable_access_log": False},  # it would name people, and any X-Request-ID
)
@serve.ingress()
class Ingress:
    """A replica of the HTTP application. Every WebSocket counts as an ongoing request."""

    def __init__(self, settings_json: str, directory: Any) -> None:
        self._settings = Settings.from_json(settings_json)
        logs.configure("ingress", self._settings.logs)
        refuse_an_open_cluster()
        self._directory = directory

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Make the application in the replica, on its event loop."""
        directory = DirectoryClient(self._directory)
        site().compress()
        services = build_services(self._settings, directory, RayStreamActors())
        self._api = build_api(services, behind_serve=True)
        return self._api

    def check_health(self) -> None:
        """Raise if this replica cannot serve: it gets no requests, and Serve soon replaces it."""
        check_background(self._api)
