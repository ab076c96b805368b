"""`hushcast up`: one process that starts everything else, watches it, and ends it."""

import asyncio
import http.client
import json
import os
import ssl
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import NoReturn

from commands.local.child import Child, Command, StartFailed
from commands.local.data_dir import DataDirRefused, locked, private_folder
from commands.local.forgetting import Forgetting
from commands.local.guardian import Guardian
from commands.local.paths import temp_folder
from commands.local.ports import claimed, refusal
from commands.local.ray_head import RayHead
from commands.local.server import Server, stop_together
from commands.local.signals import Interrupted, Signals
from commands.local.storage import STOP_LIMIT_S, KeepingServer, Storage, publish_settings
from foundation.redis import unfit
from recordings.quota import little_space
from serve_app.settings import Settings, reached_from_here_alone, unknown_variables

APPLICATION = "commands.local.application"
DRAIN_STOP_S = 45.0
"""What the waiter gives streams, and what a busy machine takes to load Ray before."""
RAY_LIMIT_S = 120.0
"""More than Ray itself waits before it gives up."""
DEPLOY_LIMIT_S = 120.0
ANSWER_LIMIT_S = 6.0
"""How long /readyz may take: a little more than the limit of its checks."""
WATCH_INTERVAL_S = 0.2
REVIVE_INTERVAL_S = 2.0
SIGN_UP = {
    "invite": "People need an invitation to sign up: `hushcast accounts invite` makes one.",
    "closed": "Nobody can sign up: `hushcast accounts create NAME` makes an account.",
}
"""What to say of HUSHCAST_SIGN_UP unless it is open."""
DEPLOYED = "deployed"
"""What the application's process reports once Serve runs it."""


class PortInUse(Exception):
    """The port is taken or needs root, or the address is not this machine's."""


class RedisUnfit(Exception):
    """The Redis of the settings cannot serve hushcast."""


class PartLost(Exception):
    """A part that cannot be restarted on its own has ended."""


class Progress:
    """Reports the progress of the start, with seconds."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line with the time since the beginning."""
        self.show(f"{time.monotonic() - self._began:6.1f} s  {text}")

    def show(self, line: str) -> None:
        """Print a line as it is. A terminal that has gone away is no reason to fail."""
        try:
            print(line, flush=True)
        except OSError:
            sys.stdout = open(os.devnull, "w")


class Application:
    """The process that deploys the Serve application and drains it; see application.py."""

    def __init__(self, builder: str, data_dir: Path, guardian: Guardian) -> None:
        self._heard = b""
        self._reports, self._far_end = os.pipe()
        os.set_blocking(self._reports, False)
        command = Command(
            (sys.executable, "-m", APPLICATION, builder, str(self._far_end)),
            data_dir,
            data_dir / "logs" / "application.log",
        )
        self.child = Child("The application", command, guardian)

    def start(self, environment: dict[str, str]) -> None:
        """Start the process: it imports what it needs, and waits for `run`."""
        self.child.command.environment.update(environment)
        self.child.start(pipe=True, pass_fds=(self._far_end,))
        os.close(self._far_end)

    def run(self, ray: str, settings: Settings) -> None:
        """Tell it to connect to Ray and to run the application."""
        orders = json.dumps({"ray": ray, "settings": settings.to_json()})
        try:
            self.child.stdin.write(f"{orders}\n".encode())
            self.child.stdin.flush()
        except BrokenPipeError:
            return  # it has ended, which the next wait for it will notice

    @property
    def deployed(self) -> bool:
        """Whether Serve runs the application yet."""
        try:
            self._heard += os.read(self._reports, 4096)
        except BlockingIOError:
            pass
        return DEPLOYED in self._heard.decode().splitlines()

    def stop(self, ray: Child, signals: Signals) -> None:
        """End it: at once if not deployed, else once its streams have ended and are stored.

        Also at once if Ray has ended: its streams have too, and recovery stores them.
        """
        if self.child.started and (not self.deployed or ray.ended is not None):
            self.child.kill()  # nothing to lose, and ray.init ignores signals
        stop_together([self.child], signals, DRAIN_STOP_S)


def up(settings: Settings, builder: str, signals: Signals) -> int:
    """Run hushcast until a signal comes; returns the exit code. Leaves no process behind.

    `builder` is the `module:function` that makes a LocalApp of the settings; see application.py.
    """
    progress = Progress()
    try:
        with ExitStack() as stack:
            _run(settings, builder, signals, progress, stack)
    except Interrupted:
        progress.say("everything has stopped")
        return 0
    except (PortInUse, RedisUnfit, PartLost, StartFailed, DataDirRefused) as problem:
        print(problem, file=sys.stderr, flush=True)
        return 1
    raise AssertionError("it ends only by a signal or a problem")


def _run(
    settings: Settings, builder: str, signals: Signals, progress: Progress, stack: ExitStack
) -> NoReturn:
    lock = stack.enter_context(locked(settings.data_dir))
    if not stack.enter_context(claimed(settings.port)):
        raise PortInUse(_cannot_serve(settings, "another hushcast uses it, or is about to"))
    if why := refusal(settings.port, settings.host):
        raise PortInUse(_cannot_serve(settings, why))
    _refuse_an_unfit_redis(settings)
    progress.show(f"hushcast {settings.release} is starting; its data is in {settings.data_dir}")
    if settings.sign_up != "open":
        progress.show(SIGN_UP[settings.sign_up])
    for warning in (*unknown_variables(os.environ), *dangers(settings, os.geteuid())):
        progress.show(f"warning: {warning}")
    private_folder(settings.spool_dir)
    if wrong := little_space(settings.spool_dir):
        progress.show(f"warning: {wrong}. Free some space on its disk, or give it another.")
    guardian = stack.enter_context(Guardian(lock))
    storage, ray = _prepare(settings, guardian, signals)
    stack.callback(
        lambda: stop_together([s.child for s in (ray, *storage.servers)], signals, STOP_LIMIT_S)
    )
    for server in (ray, *storage.servers):  # the slowest first
        server.start()
    application = Application(builder, settings.data_dir, guardian)
    stack.callback(lambda: application.stop(ray.child, signals))
    application.start(ray.part.environment)
    for server in (*storage.servers, ray):
        server.wait(progress.say)
        progress.say(f"{server.part.name} is ready")
    complete = storage.complete(settings)
    application.run(ray.part.address, complete)

    def deployed() -> bool:
        _refuse_to_lose([ray.child])
        return application.deployed

    application.child.wait_until(deployed, signals.pause, DEPLOY_LIMIT_S)
    application.child.note_started()
    progress.say("the application is deployed")
    application.child.wait_until(_Readiness(settings, progress), signals.pause, DEPLOY_LIMIT_S)
    publish_settings(complete, guardian)
    progress.show(f"hushcast is ready: {_url(settings)}")
    try:
        forgetting = stack.enter_context(closing(Forgetting(storage, guardian)))
        _watch(storage, (ray.child, application.child), forgetting, guardian, signals, progress)
    except Interrupted:
        progress.say("stopping: ending streams, storing recordings; a second signal stops at once")
        raise


def _prepare(
    settings: Settings, guardian: Guardian, signals: Signals
) -> tuple[Storage, Server[RayHead]]:
    temp = temp_folder()
    guardian.remove(temp)
    log = private_folder(settings.data_dir / "logs") / "ray.log"
    prepare = partial(RayHead.prepare, settings.data_dir / "ray", log, temp)
    ray = Server(prepare, guardian, signals, RAY_LIMIT_S)
    return Storage.prepare(settings, guardian, signals), ray


def dangers(settings: Settings, user: int) -> list[str]:
    """Say what is unsafe about running with these settings, as this user."""
    found = []
    if user == 0:
        found.append(
            "hushcast runs as root, so a fault in it is a fault of the whole machine. "
            "Give it a user of its own; docs/operating.md has a unit for systemd."
        )
    if not settings.tls_cert and not reached_from_here_alone(settings.host):
        found.append(
            f"hushcast listens on {settings.host} without TLS: whoever is on the way can read "
            "passwords. Use --tls-cert and --tls-key, or a proxy that alone reaches this port."
        )
    return found


def _cannot_serve(settings: Settings, why: str) -> str:
    return (
        f"Cannot serve on port {settings.port} of {settings.host}: {why}. "
        "Choose others with --port and --host."
    )


def _refuse_an_unfit_redis(settings: Settings) -> None:
    if settings.redis_url is not None and (wrong := asyncio.run(unfit(settings.redis_url))):
        raise RedisUnfit(f"HUSHCAST_REDIS_URL: {wrong}")


def _url(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'https' if settings.tls_cert else 'http'}://{host}:{settings.port}"


class _Readiness:
    """Asks /readyz, and reports what is still missing."""

    def __init__(self, settings: Settings, progress: Progress) -> None:
        anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
        self._host = anywhere.get(settings.host, settings.host)
        self._port = settings.port
        self._tls = bool(settings.tls_cert)
        self._progress = progress
        self._said = ""

    def __call__(self) -> bool:
        connection = self._connection()
        try:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            body = response.read(1000).decode(errors="replace")
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        if response.status != 200 and body != self._said:
            self._said = body
            self._progress.say(f"not ready yet: {body}")
        return response.status == 200

    def _connection(self) -> http.client.HTTPConnection:
        if not self._tls:
            return http.client.HTTPConnection(self._host, self._port, timeout=ANSWER_LIMIT_S)
        # We ask ourselves, by an address that the certificate need not cover.
        trusting = ssl._create_unverified_context()
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=ANSWER_LIMIT_S, context=trusting
        )


def _watch(
    storage: Storage,
    indispensable: Sequence[Child],
    forgetting: Forgetting,
    guardian: Guardian,
    signals: Signals,
    progress: Progress,
) -> NoReturn:
    """Restart servers that end, until a signal comes or another part ends."""
    while True:
        for server in storage.servers:
            if server.child.ended is not None:
                _revive(server, signals, progress)
        _refuse_to_lose(indispensable)
        for child in (*indispensable, *(server.child for server in storage.servers)):
            child.turn_over_log()
        forgetting.when_due()
        if not guardian.alive:
            raise PartLost("The guardian ended, and hushcast does not run without one.")
        signals.pause(WATCH_INTERVAL_S)


def _refuse_to_lose(children: Sequence[Child]) -> None:
    for child in children:
        if child.ended is not None:
            raise PartLost(f"{child.name} {child.ended}. {child.last_words()}")


def _revive(server: KeepingServer, signals: Signals, progress: Progress) -> None:
    progress.say(f"{server.part.name} {server.child.ended}; restarting it")
    while True:
        try:
            server.revive()
        except StartFailed as problem:
            progress.say(f"{problem}")
            signals.pause(REVIVE_INTERVAL_S)
        else:
            progress.say(f"{server.part.name} is ready again")
            return
