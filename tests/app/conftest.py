"""One running hushcast for all tests of the product."""

import datetime
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from recordings.store import StoreConfig
from tests.app.client import Person, sign_up
from tests.running import App, running_app

GRACE_S = 2.0


@pytest.fixture(scope="session")
def app(valkey: str, s3: StoreConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Start `hushcast up` on the test servers."""
    with running_app(
        tmp_path_factory.mktemp("hushcast"),
        *("--s3-endpoint", s3.endpoint or "", "--s3-bucket", s3.bucket),
        # Not as an argument: whoever lists the machine's processes would read the password.
        HUSHCAST_REDIS_URL=valkey,
        HUSHCAST_GRACE_S=str(GRACE_S),
        HUSHCAST_WARM_ACTORS="1",
        HUSHCAST_LIMITS="accounts=100000/minute offers=100000/minute",
        AWS_ACCESS_KEY_ID=s3.access_key or "",
        AWS_SECRET_ACCESS_KEY=s3.secret_key or "",
    ) as running:
        yield running


@pytest.fixture
async def people(app: App) -> AsyncIterator[Callable[[], Awaitable[Person]]]:
    """Make people who sign up, and whose peers and streams are gone after the test."""
    known: list[Person] = []

    async def make() -> Person:
        person = await sign_up(app.url)
        known.append(person)
        return person

    yield make
    for person in known:
        await person.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hushcast test")])
    now = datetime.datetime.now(datetime.UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(alternative, critical=False)
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert, private
