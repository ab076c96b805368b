"""A local Ray: one node on loopback, closed to everybody without this data directory's token."""

import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from subprocess import list2cmdline
from typing import Any, Self

from commands.local.child import LOG_BYTES, Command
from commands.local.data_dir import kept_secret, private_folder
from commands.local.paths import python_path
from commands.local.ports import free_ports
from deployments.environment import ENVIRONMENT

ADOPTER = "commands.local.adopter"
OBJECT_STORE_BYTES = 100 * 1024 * 1024
"""Little goes through it, and never sound."""
NOBODY = list2cmdline(("sh", "-c", "exec sleep 2147483647"))
"""Stands for an agent of Ray's that nobody asks anything; what Ray appends, sh takes for itself."""
AGENTS_PORTS = (
    "dashboard_agent_listen_port",
    "metrics_agent_port",
    "metrics_export_port",
    "runtime_env_agent_port",
)
HTTP_SERVER = "serve_app.http_server.bounded"
"""A name, not an import: `hushcast up` loads no web framework."""


@dataclass(frozen=True)
class RayHead:
    """`ray start`: the cluster's store and the node, kept by one process that ends with them.

    Not `ray.init()`: that starts two more processes, and takes a fixed port.
    """

    folder: Path
    log: Path
    temp: Path
    ports: dict[str, int]
    name: str = "Ray"

    @classmethod
    def prepare(cls, folder: Path, log: Path, temp: Path) -> Self:
        """Create the token if there is none, and find ports. `temp` is for this run only.

        Ray opens its own folder to everybody, so it gets one within `temp`, which is private.
        """
        private_folder(folder)
        kept_secret(folder / "token")
        uses = ("store", "autoscaler metrics", "dashboard metrics")
        ports = dict(zip(uses, free_ports(len(uses)), strict=True))
        return cls(folder.absolute(), log, temp / "r", ports)

    @property
    def address(self) -> str:
        """What `ray.init` takes, in a process with `environment`."""
        return f"127.0.0.1:{self.ports['store']}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment that Ray's processes and its clients need."""
        return ray_environment(self.folder / "token") | {
            # The application has already drained when Ray is told to end.
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
            "RAY_START_HOOK": f"{__name__}.{without_what_nobody_uses.__name__}",
            # Nobody reads Ray's metrics here, and Serve's controller looks ten times a second.
            "RAY_enable_metrics_collection": "0",
            "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.3",
            # Serve replaces a proxy that was not there three times in a row. At 10 s, its default,
            # streams would end: their pages are away for longer than the grace.
            "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
            # It would end streams where other programs have filled the machine's memory.
            "RAY_memory_monitor_refresh_ms": "0",
            "AUTOSCALER_METRIC_PORT": str(self.ports["autoscaler metrics"]),
            "DASHBOARD_METRIC_PORT": str(self.ports["dashboard metrics"]),
        }

    def command(self) -> Command:
        """Get the command line: no dashboard, no autoscaler, no fixed port."""
        program = Path(sysconfig.get_path("scripts")) / "ray"
        options = (
            "--head", "--node-ip-address=127.0.0.1", f"--port={self.ports['store']}",
            "--include-dashboard=false", "--dashboard-agent-listen-port=0",
            "--min-worker-port=0", "--max-worker-port=0",
            f"--object-store-memory={OBJECT_STORE_BYTES}", f"--temp-dir={self.temp}",
            "--no-monitor", "--disable-usage-stats",
        )  # fmt: skip
        start = (str(program), "start", *options)
        adopted = (sys.executable, "-m", ADOPTER, *start)
        argv = adopted if sys.platform == "linux" else (*start, "--block")
        return Command(argv, self.folder, self.log, self.environment)

    def answers(self) -> bool:
        """Tell whether `ray start` has seen its node join the cluster: then it writes its address.

        Its store listens earlier, but a busy machine may not start the node within Ray's 30 s.
        """
        try:
            return (self.temp / "ray_current_cluster").read_text() == self.address
        except OSError:
            return False


def without_what_nobody_uses(ray_params: Any, head: bool) -> None:
    """Keep `ray start`, which calls this, from starting five processes (in ray 2.60).

    The dashboard's starts with `--include-dashboard=false` too, only to report that usage
    statistics are off, and to ask the metadata services of three clouds where it is
    (`UsageStatsHead`). The server for remote clients starts if grpcio is installed, on port 10001.
    The log monitor sends a driver what workers print; ours have logs of their own.

    A raylet wants two agents, and waits until they have written their ports. One serves the
    dashboard; -1 is what Ray itself writes where it is installed without that. The other makes
    environments that actors ask for, and none of ours does (`deployments/environment.py`).
    """
    import ray._private.services as services  # up.py, which imports this module, loads no Ray

    services.start_api_server = lambda *args, **kwargs: (None, None)
    ray_params.ray_client_server_port = None
    ray_params.include_log_monitor = False
    start = services.start_ray_process

    def start_ray_process(command: list[str], *args: Any, **kwargs: Any) -> Any:
        return start(_without_agents(command), *args, **kwargs)

    services.start_ray_process = start_ray_process


def _without_agents(command: list[str]) -> list[str]:
    """Give a raylet, started with this command, nobody for its agents, and the ports they write.

    Other commands stay as they are.
    """
    from ray._raylet import persist_port  # type: ignore[attr-defined]

    agents = "--dashboard_agent_command=", "--runtime_env_agent_command="
    if not any(word.startswith(agents) for word in command):
        return command
    options = dict(word.removeprefix("--").split("=", 1) for word in command if "=" in word)
    for port in AGENTS_PORTS:
        persist_port(options["session_dir"], options["node_id"], port, -1)
    return [
        f"{word.split('=')[0]}={NOBODY}" if word.startswith(agents) else word for word in command
    ]


def ray_environment(token: Path) -> dict[str, str]:
    """Get the environment of Ray's processes and of their clients."""
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        # Otherwise Ray takes 127.0.0.1 for a mistake and listens on every address of the
        # machine (`get_node_ip_address` in ray 2.60).
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Serve's uvicorn would take X-Forwarded-For from anybody on loopback for the peer: whether
        # a proxy is believed is decided in serve_app/addresses.py.
        "FORWARDED_ALLOW_IPS": "",
        "RAY_ADDRESS": "",
        # The HTTP server of Serve, which it starts without limits.
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": HTTP_SERVER,
        # Each process of Ray has a log of its own in the temporary folder.
        "RAY_ROTATION_MAX_BYTES": str(LOG_BYTES),
        "RAY_ROTATION_BACKUP_COUNT": "1",
        # Sound does not wait for what else a machine does. Ray's workers give way otherwise (15).
        "RAY_worker_niceness": "0",
        **ENVIRONMENT,
        "PYTHONPATH": python_path(),
    }
