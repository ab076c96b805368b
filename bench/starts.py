"""How long a start takes: POST /whip to 201 on a warm actor, and to "live" at a friend.

    python -m bench.starts [--starts 50] [--url http://127.0.0.1:8000]

Without --url it starts hushcast itself, in a temporary folder, on loopback.
"""

import argparse
import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from actors.ice import gather_on
from commands.load.peers import PublisherPeer, encode
from tests.app.client import Person, Presence, delete_account, sign_up
from tests.running import running_app
from tests.sounds import speech_like
from tests.waiting import until


async def one_start(ada: Person, presence: Presence, packets: list[bytes]) -> tuple[float, float]:
    """Start and stop a stream; get the seconds to the answer, and to "live" at the friend."""
    loop = asyncio.get_running_loop()
    peer = PublisherPeer(packets)
    offer = await peer.offer()
    presence.messages.clear()
    presence.times.clear()
    began = loop.time()
    answer = await ada.http.post(
        "/whip", content=offer, headers={"content-type": "application/sdp"}
    )
    answered = loop.time() - began
    assert answer.status_code == 201, answer.text
    await peer.accept(answer.text)
    await until(lambda: presence.states(ada.username)[-1:] == ["live"])
    live = presence.times[-1] - began
    await ada.http.delete(answer.headers["location"])
    await until(lambda: presence.states(ada.username)[-1:] == [None])
    await peer.close()
    return answered, live


async def measure(url: str, starts: int) -> list[tuple[float, float]]:
    """Start and stop one stream again and again."""
    packets = encode(speech_like(2.0))
    ada, bob = await sign_up(url), await sign_up(url)
    await ada.befriend(bob)
    times = []
    async with bob.presence() as presence:
        await one_start(ada, presence, packets)  # warms imports and caches, as any first start
        for _ in range(starts):
            times.append(await one_start(ada, presence, packets))
    for person in (ada, bob):
        await delete_account(person)
        await person.close()
    return times


@contextlib.contextmanager
def given_or_started(url: str | None) -> Iterator[str]:
    """Use a running hushcast, or start one."""
    if url:
        yield url
        return
    with tempfile.TemporaryDirectory() as folder:
        limits = "offers=100000/minute"
        with running_app(Path(folder), HUSHCAST_LIMITS=limits, HUSHCAST_WARM_ACTORS="1") as app:
            yield app.url


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--starts", type=int, default=50)
    parser.add_argument("--url")
    options = parser.parse_args()
    gather_on(["127.0.0.1"])
    with given_or_started(options.url) as url:
        times = np.array(asyncio.run(measure(url, options.starts))) * 1000
    print(f"{len(times)} starts, milliseconds\n{'':24}    p50    p95    max")
    for name, column in (("POST /whip to 201", 0), ('POST /whip to "live"', 1)):
        p50, p95, most = np.percentile(times[:, column], (50, 95, 100))
        print(f"{name:24} {p50:6.0f} {p95:6.0f} {most:6.0f}")


if __name__ == "__main__":
    main()
