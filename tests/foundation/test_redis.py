"""Which Redis can serve, by which URLs, and what is said of the others; on real servers."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest

from foundation.redis import RedisUnavailable, check_url, connect, connect_subscriber, unfit
from tests.running import free_port
from tests.s3_stub import make_certificate
from tests.servers import valkey_with


async def answers(url: str) -> bool:
    """Tell whether a Redis can be written by this URL."""
    async with aclosing(connect(check_url(url))) as client:
        await client.prove()
        return bool(await client.ping())


async def test_databases_of_one_redis_hear_nothing_of_each_other(valkey: str) -> None:
    """Redis has one set of channels for all of its databases, so their names differ."""
    zero, one = valkey, valkey.removesuffix("/0") + "/1"
    async with (
        connect_subscriber(zero) as ours,
        connect(one) as theirs,
        connect(f"{valkey.removesuffix('/0')}?db=1") as theirs_again,
        ours.pubsub() as heard,
    ):
        assert theirs.channel("hushcast:x") == theirs_again.channel("hushcast:x")
        await heard.subscribe(ours.channel("hushcast:x"))
        for each, text in ((theirs, "theirs"), (ours, "ours")):
            await each.publish(each.channel("hushcast:x"), text)
        while (message := await heard.get_message(timeout=5))["type"] != "message":
            continue
        assert message["data"] == "ours"


async def test_a_command_can_be_cancelled_at_any_moment(valkey: str) -> None:
    """A loop of commands ends by one cancel, in whichever of its steps it comes."""
    async with connect(valkey) as redis:

        async def ask() -> None:
            while True:
                await redis.ping()

        for steps in range(60):
            asking = asyncio.create_task(ask())
            for _ in range(steps):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking], timeout=1)
            assert asking.cancelled()


async def test_cluster_mode_is_refused(tmp_path: Path) -> None:
    """By a sentence before anything uses it, and by every write that gets there."""
    with valkey_with(tmp_path, "cluster-enabled yes") as port:
        url = f"redis://127.0.0.1:{port}"
        assert "cluster mode, which hushcast does not support" in (await unfit(url) or "")
        async with connect(url) as redis:
            with pytest.raises(RedisUnavailable) as refused:
                await redis.prove()
            assert "cluster mode" in refused.value.reason
            await redis.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while "cluster_state:ok" not in str(await redis.execute_command("CLUSTER", "INFO")):
                continue
            with pytest.raises(RedisUnavailable) as refused:
                await redis.prove()
            assert "cluster mode" in refused.value.reason


async def test_a_replica_is_refused(tmp_path: Path) -> None:
    """It answers a PING, but nothing can be written."""
    with valkey_with(tmp_path, f"replicaof 127.0.0.1 {free_port()}") as port:
        url = f"redis://127.0.0.1:{port}"
        assert "read-only replica" in (await unfit(url) or "")
        async with connect(url) as redis:
            await redis.ping()
            with pytest.raises(RedisUnavailable) as refused:
                await redis.prove()
        assert refused.value.reason == "is a read-only replica"


async def test_a_primary_that_became_a_replica_is_looked_for_anew(tmp_path: Path) -> None:
    """Behind a proxy or a name that follows the primary, a new connection leads to the new one."""
    with valkey_with(tmp_path) as port:
        async with connect(f"redis://127.0.0.1:{port}") as redis:
            before = await redis.client_id()
            assert await redis.client_id() == before
            await redis.replicaof("127.0.0.1", 1)
            with pytest.raises(RedisUnavailable):
                await redis.set("hushcast:x", 1)
            assert await redis.client_id() != before


async def test_a_sentinel_is_refused(tmp_path: Path) -> None:
    """Its URL is an easy mistake."""
    with valkey_with(tmp_path, arguments=("--sentinel",)) as port:
        assert "This is a Sentinel" in (await unfit(f"redis://127.0.0.1:{port}") or "")


async def test_one_that_serves_or_does_not_answer_is_not_refused(valkey: str) -> None:
    """What is away may come back."""
    assert await unfit(valkey) is None
    assert await unfit(f"redis://127.0.0.1:{free_port()}/0") is None


async def test_a_full_one_says_so(tmp_path: Path) -> None:
    """It still answers a PING."""
    with valkey_with(tmp_path, "maxmemory 1", "maxmemory-policy noeviction") as port:
        async with connect(f"redis://127.0.0.1:{port}") as redis:
            with pytest.raises(RedisUnavailable) as refused:
                await redis.prove()
        assert refused.value.reason == "is full"


async def test_a_unix_socket(tmp_path: Path) -> None:
    """With a database and a password, which a socket's URL has in its options."""
    place = tmp_path / "valkey.sock"
    with valkey_with(tmp_path, f"unixsocket {place}", "requirepass p/a#s?s"):
        assert await answers(f"unix://{place}?db=2&password=p%2Fa%23s%3Fs")
        assert await answers(f"unix://:p%2Fa%23s%3Fs@{place}?db=2")
        async with connect(f"unix://{place}?db=2") as redis:
            assert redis.channel("x") == "x:2"


async def test_names_and_passwords_with_any_character(tmp_path: Path) -> None:
    """Percent-encoded; also the password of a user who may do nothing else than hushcast does."""
    user, password = "ann:b@c", "p/a?s#s%w@r:d[é] "
    rule = f"user {user} on >{password.strip()} ~hushcast:* &hushcast:* +@all"
    with valkey_with(tmp_path, rule) as port:
        where = f"{quote(user, safe='')}:{quote(password.strip(), safe='')}@127.0.0.1:{port}"
        assert await answers(f"redis://{where}/1")
        async with connect(f"redis://{where}/1") as redis:
            with pytest.raises(RedisUnavailable) as refused:
                await redis.get("another")
        assert "does not allow the user" in refused.value.reason


async def test_tls_with_an_authority_of_ones_own(valkey: str, tmp_path: Path) -> None:
    """`ssl_ca_certs` in the URL names it; without it the certificate is refused."""
    certificate, key = tmp_path / "tls.pem", tmp_path / "tls.key"
    make_certificate(certificate, key)
    user, _, place = valkey.removeprefix("redis://").rpartition("@")
    async with tls_in_front_of(int(place.split("/")[0].split(":")[1]), certificate, key) as port:
        url = f"rediss://{user}@127.0.0.1:{port}/0"
        assert await answers(f"{url}?ssl_ca_certs={quote(str(certificate))}")
        with pytest.raises(RedisUnavailable):
            await answers(url)


@asynccontextmanager
async def tls_in_front_of(plain: int, certificate: Path, key: Path) -> AsyncIterator[int]:
    """Listen with TLS for a server that has none, as stunnel does; yields the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", plain)
        await asyncio.gather(pass_on(reader, inner_writer), pass_on(inner_reader, writer))

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://host", "begins with redis://, rediss:// or unix://"),
        ("redis+sentinel://host:26379/primary", "begins with redis://, rediss:// or unix://"),
        ("host:6379", "begins with redis://, rediss:// or unix://"),
        ("redis://", "give redis://USER:PASSWORD@HOST:PORT/DATABASE"),
        ("redis://:sec/ret@host:6379/0", "with / # ? @ : and % in user and password as %2F"),
        ("redis://:sec#ret@host:6379/0", "with / # ? @ : and % in user and password as %2F"),
        ("redis://:sec?ret@host:6379/0", "with / # ? @ : and % in user and password as %2F"),
        ("redis://:1234#secret@host:6379/0", "with / # ? @ : and % in user and password as %2F"),
        ("redis://secret:12?secret@host:6379/0", "has an unknown option"),
        ("redis://host:secret/0", "give redis://USER:PASSWORD@HOST:PORT/DATABASE"),
        ("redis://host:6379/secret", "the database at the end must be a number"),
        ("redis://host:6379/0?socket_timeout=1", "has an unknown option"),
        ("redis://host:6379?db=secret", "Invalid value for 'db'"),
        ("rediss://host:6379/0?ssl_ca_certs=/secret.pem", "ssl_ca_certs names no file"),
        ("redis://host/0?ssl_cert_reqs=none", "an option that does not go with redis://"),
        ("unix:///valkey.sock?ssl_cert_reqs=none", "an option that does not go with unix://"),
        ("unix://", "unix:///PATH?db=DATABASE"),
        ("unix://secret/valkey.sock", "unix:///PATH?db=DATABASE"),
    ],
)
def test_a_wrong_url_is_refused_with_a_sentence(url: str, sentence: str) -> None:
    """It says how to write one, and quotes nothing: anything in it may be a part of a password."""
    with pytest.raises(ValueError, match=re.escape(sentence)) as refused:
        check_url(url)
    assert "secret" not in str(refused.value)


async def test_a_wrong_password_is_not_repeated(valkey: str) -> None:
    """Neither in the error nor in the client's name for itself."""
    url = f"redis://:secret-of-ours@{valkey.rpartition('@')[2]}"
    async with connect(url) as redis:
        with pytest.raises(RedisUnavailable) as refused:
            await redis.ping()
        assert "secret-of-ours" not in f"{refused.value!r} {refused.value.__cause__!r} {redis!r}"
    assert refused.value.reason == "refuses the user or the password"


async def test_one_that_cannot_save_says_so(tmp_path: Path) -> None:
    """By the first command and by a pipeline, whose errors redis-py words otherwise."""
    (gone := tmp_path / "gone").mkdir()
    with valkey_with(tmp_path, "save 3600 1", "enable-protected-configs yes") as port:
        async with connect(f"redis://127.0.0.1:{port}") as redis:
            await redis.config_set("dir", str(gone))
            gone.rmdir()
            await redis.bgsave()
            while (await redis.info("persistence"))["rdb_last_bgsave_status"] == "ok":
                continue
            for ask in (redis.prove, partial(redis.set, "hushcast:x", 1)):
                with pytest.raises(RedisUnavailable) as refused:
                    await ask()
                assert refused.value.reason == "refuses writes, because it cannot save its data"
