"""The bucket on a real SeaweedFS: objects are verified, and can be played in ranges."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import httpx
import numpy as np
import pytest

from foundation.ids import new_id
from recordings.index import Recording
from recordings.names import recording_key
from recordings.store import (
    CHUNK_BYTES,
    ObjectMissing,
    RangeNotSatisfiable,
    RecordingStore,
    StoreConfig,
    StoreUnavailable,
)
from recordings.wav import SAMPLE_RATE
from tests.recordings.spools import some_meta, some_sound, write_spool


@pytest.fixture
def key() -> str:
    return recording_key("anna", 0, new_id())


@pytest.fixture
def path(spool_dir: Path) -> Path:
    return write_spool(spool_dir, some_sound(10 * SAMPLE_RATE))


def put_bytes(config: StoreConfig, key: str, body: bytes) -> None:
    """Put anything under a key, as somebody else might."""
    client: Any = boto3.session.Session(config.access_key, config.secret_key).client(
        "s3", endpoint_url=config.endpoint, region_name=config.region
    )
    client.put_object(Bucket=config.bucket, Key=key, Body=body)
    client.close()


def read(store: RecordingStore, key: str, byte_range: str | None = None) -> bytes:
    stored = store.open(key, byte_range)
    try:
        return b"".join(stored)
    finally:
        stored.close()


def test_a_short_recording_is_stored_and_verified(
    store: RecordingStore, path: Path, key: str
) -> None:
    """The object is the file, byte for byte, and is listed without its peaks."""
    assert not store.verify(path, key) and not store.exists(key)
    store.put(path, key)
    store.put_peaks(key, (0.0, 0.5))
    assert store.verify(path, key) and store.exists(key)
    assert read(store, key) == path.read_bytes()
    assert store.get_peaks(key) == (0.0, 0.5)
    assert list(store.list_keys()) == [key]
    store.delete(key)
    store.delete(key)
    assert list(store.list_keys()) == []
    with pytest.raises(ObjectMissing):
        store.get_peaks(key)


def test_a_long_recording_goes_up_in_parts(
    store: RecordingStore, spool_dir: Path, key: str
) -> None:
    """More than one part arrives whole and verifies; prints how fast."""
    sound = some_sound(int(2.5 * CHUNK_BYTES) // 2)
    path = write_spool(spool_dir, sound)
    began = time.perf_counter()
    store.put(path, key)
    put_s = time.perf_counter() - began
    assert store.verify(path, key)
    verify_s = time.perf_counter() - began - put_s
    assert read(store, key, "bytes=-4") == path.read_bytes()[-4:]
    stored = store.open(key)
    assert stored.headers["ETag"].endswith('-3"')
    stored.close()
    print(f"{path.stat().st_size / 1e6:.0f} MB: put {put_s:.2f} s, verify {verify_s:.2f} s")


@pytest.mark.parametrize("at", [0, 500_000, -1])
def test_a_changed_byte_is_found(
    store: RecordingStore, store_config: StoreConfig, path: Path, key: str, at: int
) -> None:
    """An object of the right size with one wrong byte does not verify."""
    body = bytearray(path.read_bytes())
    body[at] ^= 1
    put_bytes(store_config, key, bytes(body))
    assert not store.verify(path, key)


@pytest.mark.parametrize(
    "change", [lambda b: b[:-1], lambda b: b[: len(b) // 2], lambda b: b + b"x"]
)
def test_a_wrong_length_is_found(
    store: RecordingStore, store_config: StoreConfig, path: Path, key: str, change: Any
) -> None:
    """A truncated or longer object does not verify."""
    put_bytes(store_config, key, change(path.read_bytes()))
    assert not store.verify(path, key)


def test_a_presigned_url_plays_in_ranges(store: RecordingStore, path: Path, key: str) -> None:
    """A browser without credentials gets the whole, a range, or an attachment, but nothing with
    a changed signature."""
    store.put(path, key)
    body = path.read_bytes()
    url = store.presign(key)
    whole = httpx.get(url)
    assert (whole.status_code, whole.content) == (200, body)
    assert whole.headers["content-type"] == "audio/wav"
    assert whole.headers["content-disposition"] == "inline"
    part = httpx.get(url, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, body[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(body)}"
    named = httpx.get(store.presign(key, download_name="anna 2026-11-23.wav"))
    assert named.headers["content-disposition"] == 'attachment; filename="anna 2026-11-23.wav"'
    assert httpx.get(url[:-1] + ("0" if url[-1] != "0" else "1")).status_code == 403
    with pytest.raises(ValueError, match="file name"):
        store.presign(key, download_name='a"\r\nSet-Cookie: x')


def test_urls_are_signed_for_the_public_endpoint(store_config: StoreConfig, key: str) -> None:
    """URLs for browsers name the address that browsers reach."""
    assert not RecordingStore(store_config).browsers_reach_it
    public = RecordingStore(replace(store_config, public_endpoint="https://s3.example.org"))
    assert public.browsers_reach_it
    url = public.presign(key, expires_s=60)
    assert url.startswith(f"https://s3.example.org/{store_config.bucket}/{key}?")
    assert "X-Amz-Expires=60" in url and "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url


def test_reading_through_the_ingress(store: RecordingStore, path: Path, key: str) -> None:
    """The whole or one range, with the right headers; a range outside is a clear error."""
    store.put(path, key)
    body = path.read_bytes()
    for byte_range, expected, content_range in (
        (None, body, None),
        ("bytes=10-19", body[10:20], f"bytes 10-19/{len(body)}"),
        ("bytes=900000-", body[900_000:], f"bytes 900000-{len(body) - 1}/{len(body)}"),
        ("bytes=-5", body[-5:], f"bytes {len(body) - 5}-{len(body) - 1}/{len(body)}"),
        (f"bytes=1-{10**30}", body[1:], f"bytes 1-{len(body) - 1}/{len(body)}"),
        ("bytes=0-1,4-5", body, None),
        ("lines=1-2", body, None),
    ):
        stored = store.open(key, byte_range)
        assert b"".join(stored) == expected
        stored.close()
        assert stored.status == (206 if content_range else 200)
        assert stored.headers.get("Content-Range") == content_range
        assert stored.headers["Content-Length"] == str(len(expected))
        assert stored.headers["Content-Type"] == "audio/wav"
    for if_range, status in ((stored.headers["ETag"], 206), ('"other"', 200)):
        stored = store.open(key, "bytes=0-9", if_range)
        assert stored.status == status and len(b"".join(stored)) == (
            10 if status == 206 else len(body)
        )
        stored.close()
    with pytest.raises(RangeNotSatisfiable) as refused:
        store.open(key, "bytes=99999999-")
    assert refused.value.size_bytes == len(body)
    with pytest.raises(ObjectMissing):
        store.open(recording_key("anna", 0, new_id()))


def test_check_says_quickly_what_is_wrong(store: RecordingStore, store_config: StoreConfig) -> None:
    """A good bucket passes; a missing one, wrong keys and a dead server are reported in seconds."""
    store.check()
    store.ensure_bucket()
    for wrong in (
        replace(store_config, bucket="not-there"),
        replace(store_config, secret_key="wrong"),
        replace(store_config, endpoint="http://127.0.0.1:1"),
    ):
        bad = RecordingStore(wrong)
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            bad.check()
        assert time.monotonic() - began < 6
        bad.close()


def test_a_recording_has_its_promised_key(store: RecordingStore) -> None:
    """The store and the index agree on keys, and unsafe names have no key."""
    recording = Recording.of(some_meta())
    assert store.key_for(recording) == recording.key
    with pytest.raises(ValueError, match="username"):
        store.key_for(replace(recording, username="../anna"))


def test_an_upload_replaces_what_was_there(store: RecordingStore, path: Path, key: str) -> None:
    """An upload over an existing object replaces it whole."""
    store.put(path, key)
    shorter = write_spool(path.parent, np.zeros(10, np.float32))
    store.put(shorter, key)
    assert store.verify(shorter, key) and not store.verify(path, key)
