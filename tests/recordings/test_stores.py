"""Stores that are not Amazon's, and what AWS's own variables say, on a store that misbehaves."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from foundation.ids import new_id
from recordings.multipart import COPY_BYTES, PART_BYTES
from recordings.names import recording_key
from recordings.probe import Probe
from recordings.store import (
    CHUNK_BYTES,
    PEOPLE_WAIT_S,
    RecordingStore,
    StoreConfig,
    StoreUnavailable,
)
from tests.s3_stub import BUCKET, HOST, S3Stub, s3_stub

KEY = recording_key("anna", 0, new_id())
SUPPORTED = "when_supported"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep this machine's own AWS settings out of it."""
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", str(tmp_path / "none"))
    for name in ("REGION", "DEFAULT_REGION", "PROFILE", "DEFAULT_PROFILE", "CA_BUNDLE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[S3Stub]:
    with s3_stub(tmp_path) as stub:
        yield stub


@contextmanager
def reached(config: StoreConfig, wait_s: float = 5.0) -> Iterator[RecordingStore]:
    store = RecordingStore(config, wait_s=wait_s)
    try:
        yield store
    finally:
        store.close()


def refusal(config: StoreConfig, wait_s: float = 5.0) -> StoreUnavailable:
    """Get why a store does not pass the probe."""
    with reached(config, wait_s) as store, pytest.raises(StoreUnavailable) as refused:
        store.check()
        with Probe(store):
            pass
    return refused.value


def use_all(store: RecordingStore, folder: Path) -> None:
    """Do everything that recordings do with a store."""
    short, long = folder / "short.wav", folder / "long.wav"
    short.write_bytes(b"short" * 1000)
    long.write_bytes(bytes(range(256)) * ((CHUNK_BYTES + 512) // 256))
    for path in (short, long):
        store.put(path, KEY)
        assert store.verify(path, KEY)
    store.put_peaks(KEY, (0.5,))
    assert store.get_peaks(KEY) == (0.5,)
    upload_id = store.parts.begin(KEY)
    parts = [store.parts.put(KEY, upload_id, n, bytes([n]) * PART_BYTES) for n in range(1, 8)]
    store.parts.complete(KEY, upload_id, parts)
    store.parts.replace_head(KEY, b"head")
    store.parts.abort(KEY, store.parts.begin(KEY))
    store.delete(KEY)
    assert not store.exists(KEY)
    with Probe(store):
        pass


def test_no_checksum_and_no_framing_is_sent(stub: S3Stub, tmp_path: Path) -> None:
    """A store that knows neither can keep recordings, over HTTPS too."""
    stub.knows_checksums = False
    with reached(stub.config) as store:
        use_all(store, tmp_path)
    assert {request.method for request in stub.requests} == {"GET", "HEAD", "PUT", "POST", "DELETE"}
    assert not any(request.checksums for request in stub.requests)
    bodies = [request for request in stub.requests if request.method == "PUT" and request.body]
    assert all("content-md5" in request.headers for request in bodies)
    assert not stub.objects and not stub.uploads


@pytest.mark.parametrize("by", ["variable", "file"])
def test_checksums_are_sent_if_aws_settings_ask_for_them(
    stub: S3Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """Then completing an upload repeats the parts' checksums, as Amazon wants."""
    if by == "variable":
        monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", SUPPORTED)
    else:
        (tmp_path / "config").write_text(f"[default]\nrequest_checksum_calculation = {SUPPORTED}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with reached(stub.config) as store:
        use_all(store, tmp_path)
    puts = [request for request in stub.requests if request.method == "PUT" and request.body]
    assert all("x-amz-trailer" in request.checksums for request in puts)
    completed = [request for request in stub.requests if "uploadId" in request.query]
    assert any(b"<ChecksumCRC32>" in request.body for request in completed)


def test_a_store_that_keeps_the_framing_is_found(
    stub: S3Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes everything, and gives back something else."""
    stub.keeps_framing = True
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", SUPPORTED)
    assert refusal(stub.config).reason == "gives objects back changed"


def test_a_store_that_refuses_the_framing_is_found(
    stub: S3Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason has the store's own code."""
    stub.knows_checksums = False
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", SUPPORTED)
    found = refusal(stub.config)
    assert found.reason == "refuses requests (501 NotImplemented) when asked to store an object"


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ({"refuses": {"PUT"}}, "refuses requests (403 AccessDenied) when asked to store an object"),
        (
            {"refuses": {"POST"}},
            "refuses requests (403 AccessDenied) when asked to store an object in parts",
        ),
        ({"refuses": {"GET"}}, "refuses requests (403 AccessDenied) when asked to read an object"),
        (
            {"refuses": {"DELETE"}},
            "refuses requests (403 AccessDenied) when asked to delete an object",
        ),
        ({"refuses": {"HEAD", "GET"}}, "refuses requests (403 AccessDenied)"),
        ({"hangs_on": {"HEAD"}}, "does not answer in time"),
        ({"hangs_on": {"PUT"}}, "does not answer in time when asked to store an object"),
        ({"hangs_on": {"DELETE"}}, "does not answer in time when asked to delete an object"),
        ({"buckets_are_hosts": True}, "refuses requests (403 SecondLevelDomainForbidden)"),
    ],
)
def test_the_probe_says_what_a_store_does_not_do(
    stub: S3Stub, behaviour: dict[str, Any], reason: str
) -> None:
    """Its sentence is for the person who runs hushcast, and names no place."""
    for name, value in behaviour.items():
        setattr(stub, name, value)
    assert refusal(stub.config, wait_s=0.3).reason == reason


@pytest.mark.parametrize("begins", ["H", "HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n"])
def test_a_store_that_trickles_holds_nobody(stub: S3Stub, begins: str) -> None:
    """Neither with its headers nor with its body, with or without a body of ours."""
    stub.trickles = begins
    told = "does not answer in time"
    with reached(stub.config, wait_s=0.3) as store:
        with pytest.raises(StoreUnavailable) as deleting:
            store.delete(KEY)
        with pytest.raises(StoreUnavailable) as putting:
            store.put_peaks(KEY, (0.5,))
    assert [deleting.value.reason, putting.value.reason] == [told, told]
    assert len(stub.requests) == 4


def test_a_redirect_is_not_followed(stub: S3Stub) -> None:
    """Its host is for the operator; whoever else may read the reason does not get it."""
    stub.redirects_to = "https://login.example/?next=/"
    found = refusal(stub.config)
    assert "not an S3 store" in str(found) and "it redirects to login.example" in str(found)
    assert found.reason.endswith("it redirects elsewhere")
    assert len(stub.requests) == 1


@pytest.mark.parametrize("page", ["<html>Welcome</html>", "<!doctype html><title>Hi</title><p>Hi"])
def test_a_web_page_is_no_store(stub: S3Stub, page: str) -> None:
    """Although it comes with 200, and is XML or not: neither as an answer nor as an object."""
    stub.always = {"text/html; charset=utf-8": page}
    told = "it answers with a web page when asked to store an object"
    assert refusal(stub.config).reason.endswith(told)
    with reached(stub.config) as store:
        with pytest.raises(StoreUnavailable, match="web page"):
            store.open(KEY)
        with pytest.raises(StoreUnavailable, match="not an S3 store"):
            list(store.list_keys())


@pytest.mark.parametrize("answer", ["", "<a/>", "nothing"])
def test_an_answer_that_is_not_s3s(stub: S3Stub, answer: str) -> None:
    """Is no answer: an upload without an id, a part without an ETag."""
    stub.always = {"application/xml": answer}
    with reached(stub.config) as store:
        with pytest.raises(StoreUnavailable):
            store.parts.begin(KEY)
        with pytest.raises(StoreUnavailable):
            store.parts.put(KEY, "upload", 1, b"part")


def test_an_empty_answer_may_say_that_it_is_html(stub: S3Stub) -> None:
    """As Swift's do."""
    stub.always = {"text/html": ""}
    with reached(stub.config) as store:
        store.delete(KEY)


def test_a_bucket_may_be_a_host(stub: S3Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """With virtual addressing, by our setting or AWS's config file, objects and signed URLs too."""
    stub.buckets_are_hosts = True
    resolve = socket.getaddrinfo

    def on_loopback(host: str, *args: Any, **kwargs: Any) -> Any:
        return resolve("127.0.0.1" if host.endswith(HOST) else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", on_loopback)
    config = replace(stub.config, endpoint=f"https://{HOST}:{stub.port}", addressing="virtual")
    with reached(config) as store, Probe(store) as probe:
        assert probe.url.startswith(f"https://{BUCKET}.{HOST}:{stub.port}/recordings/")
    config_file = stub.certificate.with_name("config")
    config_file.write_text("[default]\ns3 =\n  addressing_style = virtual\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config_file))
    with reached(replace(config, addressing=None)) as store, Probe(store):
        pass
    config = replace(config, public_endpoint="https://cdn.example.org")
    with reached(config) as store:
        assert store.browser_origin == f"https://{BUCKET}.cdn.example.org"


@pytest.mark.parametrize(
    ("variables", "setting"),
    [
        ({"AWS_REGION": "eu-west-9", "AWS_DEFAULT_REGION": "us-east-2"}, None),
        ({"AWS_DEFAULT_REGION": "eu-west-9"}, None),
        ({"AWS_REGION": "us-east-2"}, "eu-west-9"),
    ],
)
def test_the_region_is_as_set(
    stub: S3Stub,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    setting: str | None,
) -> None:
    """Ours comes first, then AWS_REGION, then AWS_DEFAULT_REGION."""
    stub.region = "eu-west-9"
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with reached(replace(stub.config, region=setting)) as store, Probe(store):
        assert {"/eu-west-9/" in each.headers["authorization"] for each in stub.requests} == {True}


def test_a_wrong_region_is_named(stub: S3Stub) -> None:
    """A store that says which one is right gets that; of others we say what they refuse."""
    config = replace(stub.config, region="us-east-2")
    stub.region = "eu-west-9"
    with reached(config) as store:
        store.check()
        with Probe(store):
            pass
    stub.names_region = False
    found = refusal(config)
    assert found.reason == "refuses requests (400 AuthorizationHeaderMalformed)"


def test_without_any_region_it_is_the_usual_one(stub: S3Stub) -> None:
    """Most stores take any; us-east-1 is what they take if they take only one."""
    stub.region = "us-east-1"
    with reached(stub.config) as store, Probe(store):
        pass


def test_an_authority_of_ones_own(stub: S3Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that nobody else signed is refused, unless a setting or AWS's trusts it."""
    config = replace(stub.config, authority=None)
    assert "certificate is refused" in refusal(config).reason
    monkeypatch.setenv("AWS_CA_BUNDLE", str(stub.certificate))
    with reached(config) as store, Probe(store):
        pass


def test_an_endpoint_that_only_aws_settings_name(
    stub: S3Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is used, and as it is not Amazon's, browsers are not sent there."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://127.0.0.1:{stub.port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with reached(StoreConfig(BUCKET, authority=stub.certificate)) as store, Probe(store):
        assert not store.browsers_reach_it and store.browser_origin is None


def test_a_profile_that_is_missing(stub: S3Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """With keys of our own it does not matter; without them it is said."""
    monkeypatch.setenv("AWS_PROFILE", "of-another-program")
    with reached(stub.config) as store, Probe(store):
        pass
    with pytest.raises(StoreUnavailable, match="of-another-program"):
        RecordingStore(replace(stub.config, access_key=None, secret_key=None))


def test_without_credentials_it_says_so(stub: S3Stub) -> None:
    """Not that the store is away."""
    found = refusal(replace(stub.config, access_key=None, secret_key=None))
    assert found.reason == "cannot be used: there are no credentials for it"


@pytest.mark.parametrize("lacking", [{"copies_parts": False}, {"wants_equal_parts": True}])
def test_a_header_is_replaced_on_stores_that_know_less(
    stub: S3Stub, lacking: dict[str, bool]
) -> None:
    """Google's cannot copy into a part; Cloudflare's wants all parts but the last equally long."""
    for name, value in lacking.items():
        setattr(stub, name, value)
    body = bytes(range(251)) * (2 * COPY_BYTES // 251) + b"the end"
    stub.objects[KEY] = body
    with reached(stub.config) as store:
        store.parts.replace_head(KEY, b"head")
    assert stub.objects[KEY] == b"head" + body[4:]


def test_a_person_waits_for_two_attempts(stub: S3Stub) -> None:
    """A store that hangs holds a request for no longer."""
    stub.hangs_on = frozenset({"DELETE"})
    with reached(stub.config, wait_s=0.2) as store, pytest.raises(StoreUnavailable):
        store.delete(KEY)
    assert stub.count("DELETE") == 2 and 2 * PEOPLE_WAIT_S < 10


def test_secrets_are_not_shown(stub: S3Stub) -> None:
    """Neither by the configuration, which travels and may be logged, nor by an error."""
    secret = "s" * 40
    config = replace(stub.config, access_key=secret, secret_key=secret)
    stub.refuses = frozenset({"PUT"})
    assert secret not in repr(config) and secret not in repr(refusal(config))
