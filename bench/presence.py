"""How soon friends see a start, a stop and a crash: 50 sockets and 3 pages, 200 changes.

    python -m bench.presence [--rounds 100] [--crashes 10] [--url http://127.0.0.1:8000]

A start counts from the first decoded sound (`started_at`), a stop from sending the DELETE, a crash
from the last packet of a publisher that says nothing any more. Without --url it starts hushcast
itself.
"""

import argparse
import asyncio
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from playwright.async_api import Browser

from actors.ice import gather_on
from bench.starts import given_or_started
from commands.load.peers import encode
from tests.app.browser import Tab, chromium, open_tab, write_microphone
from tests.app.client import Person, Presence, delete_account, sign_up
from tests.sounds import speech_like
from tests.waiting import until

FRIENDS = 10
SOCKETS_EACH = 5
PAGES = 3

# Notes each state of a friend's badge, with the page's clock in ms.
WATCH = """() => {
  window.told = [];
  const look = () => {
    const state = document.querySelector('[data-testid="stream-state"]')?.closest("[data-state]")
      ?.dataset.state;
    if (state && state !== window.told.at(-1)?.state) window.told.push({ state, at: Date.now() });
  };
  new MutationObserver(look).observe(document.body,
    { subtree: true, childList: true, attributes: true, characterData: true });
  look();
}"""


@dataclass
class Watchers:
    """Everybody who is told of one publisher."""

    publisher: Person
    sockets: list[Presence]
    pages: list[Tab]

    def forget(self) -> None:
        """Keep nothing of what was told so far."""
        for socket in self.sockets:
            socket.messages.clear()
            socket.times.clear()

    async def told(self, state: str | None) -> tuple[list[float], list[float]]:
        """Wait until everybody was told of a state; get when, s since the epoch."""
        name = self.publisher.username
        await until(lambda: all(s.states(name)[-1:] == [state] for s in self.sockets))
        now, loop_now = time.time(), asyncio.get_running_loop().time()
        shown = "() => window.told.findLast(({ state }) => state === '%s')?.at" % (state or "off")
        found = [await tab.page.wait_for_function(shown) for tab in self.pages]
        at_pages = [await each.json_value() / 1000 for each in found]
        return [now - (loop_now - self._when(s, state)) for s in self.sockets], at_pages

    def _when(self, socket: Presence, state: str | None) -> float:
        changes = zip(socket.messages, socket.times, strict=True)
        return next(
            at
            for message, at in changes
            if message["type"] == "stream"
            and (message["stream"] or {}).get("state") == state
            and message["username"] == self.publisher.username
        )

    def started_at(self) -> float:
        """Get when the first sound was decoded, s since the epoch."""
        streams = [m["stream"] for m in self.sockets[0].messages if m.get("stream")]
        return datetime.fromisoformat(streams[-1]["started_at"]).timestamp()


Times = dict[tuple[str, str], list[float]]


async def one_round(watchers: Watchers, packets: list[bytes], times: Times, *, crash: bool) -> None:
    """Start, then stop or crash; add how long each watcher waited, in ms."""
    person = watchers.publisher
    watchers.forget()
    peer, location = await person.publish(packets)
    told = await watchers.told("live")
    note(times, "start", watchers.started_at(), told)
    watchers.forget()
    at = time.time()
    if crash:
        peer.microphone.stop()
        note(times, "crash: reconnecting", at, await watchers.told("reconnecting"))
        told = await watchers.told(None)
        note(times, "crash: ended", at, told)
    else:
        await person.http.delete(location)
        note(times, "stop", at, await watchers.told(None))
    await peer.close()
    person.peers.clear()


def note(times: Times, change: str, at: float, told: tuple[list[float], list[float]]) -> None:
    """Keep how long after a moment sockets and pages were told, in ms."""
    for where, moments in zip(("sockets", "pages"), told, strict=True):
        times[change, where] += [(moment - at) * 1000 for moment in moments]


async def measure(url: str, rounds: int, crashes: int) -> Times:
    """Let friends watch somebody who comes and goes."""
    packets = encode(speech_like(2.0))
    ada = await sign_up(url)
    friends = [await sign_up(url) for _ in range(FRIENDS)]
    for friend in friends:
        await ada.befriend(friend)
    times: Times = defaultdict(list)
    async with AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(friend.presence())
            for friend in friends
            for _ in range(SOCKETS_EACH)
        ]
        folder = stack.enter_context(TemporaryDirectory())
        silence = write_microphone(Path(folder) / "silence.wav", np.zeros(48_000, np.float32))
        browser = await stack.enter_async_context(chromium(silence))
        pages = [await watching(browser, friend, ada.username) for friend in friends[:PAGES]]
        watchers = Watchers(ada, sockets, pages)
        await one_round(watchers, packets, defaultdict(list), crash=False)  # warms everything
        for n in range(rounds + crashes):
            await one_round(watchers, packets, times, crash=n >= rounds)
    for person in (ada, *friends):
        await delete_account(person)
        await person.close()
    return times


async def watching(browser: Browser, friend: Person, username: str) -> Tab:
    """Open the page of a user."""
    tab = await open_tab(browser, friend, f"/u/{username}")
    await tab.find("stream-state").wait_for()
    await tab.page.evaluate(WATCH)
    return tab


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--crashes", type=int, default=10)
    parser.add_argument("--url")
    options = parser.parse_args()
    gather_on(["127.0.0.1"])
    with given_or_started(options.url) as url:
        times = asyncio.run(measure(url, options.rounds, options.crashes))
    print(f"{'ms':22}{'seen by':10}{'p50':>8}{'p99':>8}{'max':>8}{'n':>7}")
    for (change, where), values in times.items():
        p50, p99, most = np.percentile(values, (50, 99, 100))
        print(f"{change:22}{where:10}{p50:8.0f}{p99:8.0f}{most:8.0f}{len(values):7}")


if __name__ == "__main__":
    main()
