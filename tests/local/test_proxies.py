"""Proxies in the environment: loopback goes past them, the operator's own servers through them."""

import os
from dataclasses import replace

import pytest

from commands.local.proxies import LOOPBACK, spare_loopback
from recordings.store import RecordingStore, StoreConfig
from tests.proxy import recording_proxy

OURS = ",".join(LOOPBACK)


@pytest.mark.parametrize(
    ("given", "lower", "upper"),
    [
        ({}, None, None),
        ({"NO_PROXY": "a.test"}, None, None),
        ({"HTTP_PROXY": ""}, None, None),
        ({"HTTP_PROXY": "http://p"}, OURS, OURS),
        ({"https_proxy": "http://p", "NO_PROXY": "a.test"}, f"a.test,{OURS}", f"a.test,{OURS}"),
        ({"ALL_PROXY": "p", "no_proxy": "a.test,"}, f"a.test,{OURS}", f"a.test,{OURS}"),
        ({"all_proxy": "p", "no_proxy": "a", "NO_PROXY": "b"}, f"a,{OURS}", f"b,{OURS}"),
        ({"http_proxy": "p", "no_proxy": "*"}, "*", "*"),
    ],
)
def test_loopback_is_added_to_what_has_no_proxy(
    given: dict[str, str], lower: str | None, upper: str | None
) -> None:
    """In both cases of the variable, whichever is set; a machine without a proxy stays as it is."""
    environment = dict(given)
    spare_loopback(environment)
    assert (environment.get("no_proxy"), environment.get("NO_PROXY")) == (
        (given.get("no_proxy"), given.get("NO_PROXY")) if lower is None else (lower, upper)
    )
    assert (
        environment.items()
        >= {k: v for k, v in given.items() if "no_proxy" not in k.lower()}.items()
    )


def test_only_the_operators_store_is_reached_through_the_proxy(
    s3: StoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store on loopback is reached directly; one with a name through the proxy, and it works."""
    port = int((s3.endpoint or "").rpartition(":")[2])
    with recording_proxy(port) as proxy:
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            monkeypatch.delenv(name)
        for name, value in proxy.environment.items():
            monkeypatch.setenv(name, value)
        for name in ("no_proxy", "NO_PROXY", "grpc_proxy"):
            monkeypatch.setenv(name, "")  # so that they are as before afterwards
        spare_loopback(os.environ)
        for endpoint, asked in ((s3.endpoint, 0), ("http://store.test", 1)):
            store = RecordingStore(replace(s3, endpoint=endpoint))
            store.check()
            store.close()
            assert len(proxy.asked) == asked
        assert proxy.asked == [f"HEAD http://store.test/{s3.bucket} HTTP/1.1"]
