"""One running hushcast for all tests of the product."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

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
