"""What all tests share: the real servers, how made-up inputs are drawn, what runs side by side."""

import hypothesis
import pytest
import xdist.scheduler

from actors.ice import gather_on

pytest_plugins = ["tests.servers"]

gather_on(["127.0.0.1"])  # the peers of the tests stay on loopback

# A run can be repeated, and a busy machine fails no test: neither by a deadline for an example nor
# by hypothesis' check that drawing the first examples takes less than a second.
hypothesis.settings.register_profile(
    "hushcast",
    derandomize=True,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("hushcast")


class Folders(xdist.scheduler.LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Gives a process whole folders of slow tests: one hushcast serves all of tests/app."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.rsplit("/", 1)[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(
    config: pytest.Config, log: object
) -> xdist.scheduler.LoadScopeScheduling | None:
    """Spread the tests as --dist says, but folders with `--dist loadscope`."""
    return Folders(config, log) if config.getoption("dist") == "loadscope" else None
