"""What all tests share: the real servers, and how made-up inputs are drawn."""

import hypothesis

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
