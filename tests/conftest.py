"""What all tests share: the real servers, and how made-up inputs are drawn."""

import hypothesis
import pytest

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


SHARED = ("app", "instance")
"""Fixtures that start a hushcast: what uses the same one runs in the same process."""


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests together that share a fixture or a file, for xdist's `loadgroup`."""
    for item in items:
        used = set(getattr(item, "fixturenames", ()))
        group = next((name for name in SHARED if name in used), item.nodeid.split("::")[0])
        item.add_marker(pytest.mark.xdist_group(group))
