"""The course of a load test, from creating its accounts to removing them."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from actors.opus import Sound
from commands.load.api import Account, Api, ApiError
from commands.load.crew import CrewResult, Job, Listening, Publishing, Started
from commands.load.processes import Crew, crews_of
from commands.load.report import Measured
from commands.load.wire import Faults
from commands.local.signals import Signals

PUBLISHERS_PER_PROCESS = 10
LISTENERS_PER_PROCESS = 25
LISTENERS_PER_ACCOUNT = 25
"""Below the number of offers that an account may post in a minute."""
MEASURED_LISTENERS = 10
"""How many keep their sound, to be located afterwards."""
LIVE_LIMIT_S = 30.0
POLL_S = 0.2

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What a load test should do."""

    url: str
    publishers: int
    listeners: int
    seconds: float
    faults: Faults
    sound: Sound
    packets: tuple[bytes, ...]
    denoise: bool
    undenoised_on_overload: bool = False
    invite: str | None = None


class Scenario:
    """One load test."""

    def __init__(self, wanted: Wanted, signals: Signals, say: Say) -> None:
        self.left_behind: list[str] = []
        self._wanted = wanted
        self._signals = signals
        self._say = say
        self._measured = Measured()

    def run(self) -> Measured:
        """Create accounts, publish, listen, measure; end and remove everything on every path.

        Raises Interrupted, ApiError, CrewLost. `left_behind` names accounts that could not be
        removed.
        """
        Api(self._wanted.url).call("GET", "/healthz", patience_s=0)
        with ExitStack() as stack:
            self._run(stack)
        return self._measured

    def _run(self, stack: ExitStack) -> None:
        wanted = self._wanted
        voices = self._accounts(wanted.publishers, "voice", stack)
        ears = self._accounts(-(-wanted.listeners // LISTENERS_PER_ACCOUNT), "ear", stack)
        hearing = [
            (ears[n // LISTENERS_PER_ACCOUNT], voices[n % len(voices)])
            for n in range(wanted.listeners)
        ]
        self._befriend(hearing)
        publishing = self._publish(voices, stack)
        began = {
            voice.username: each.began
            for voice, each in zip(voices, self._measured.publishers, strict=True)
            if each.failure is None
        }
        live = [voice for voice in voices if voice.username in began]
        self._wait_live(live)
        heard = [(ear, voice) for ear, voice in hearing if voice.username in began]
        listening = self._listen(heard, began, stack)
        self._wait(live)
        self._say("collecting the results")
        self._measured.listening = self._stop(listening)
        self._measured.publishing = self._stop(publishing)

    def _accounts(self, count: int, role: str, stack: ExitStack) -> list[Account]:
        accounts = []
        for n in range(count):
            self._say(f"creating accounts: {role} {n + 1} of {count}")
            self._signals.pause(0)
            account = Account.new(self._wanted.url, role)
            stack.callback(self._remove, account)  # before it exists: the answer may get lost
            account.create(self._signals.pause, self._wanted.invite)
            accounts.append(account)
        return accounts

    def _remove(self, account: Account) -> None:
        self._say(f"removing {account.username}")
        if self._signals.hurry:
            self.left_behind.append(account.username)
            return
        try:
            account.remove()
        except ApiError:
            self.left_behind.append(account.username)

    def _befriend(self, hearing: Sequence[tuple[Account, Account]]) -> None:
        known = set()
        for ear, voice in hearing:
            if (ear.username, voice.username) not in known:
                known.add((ear.username, voice.username))
                self._signals.pause(0)
                ear.befriend(voice)

    def _publish(self, voices: Sequence[Account], stack: ExitStack) -> list[Crew]:
        wishes = [Publishing(voice.api.token or "") for voice in voices]
        jobs = [
            self._job(tuple(wishes[n : n + PUBLISHERS_PER_PROCESS]))
            for n in range(0, len(wishes), PUBLISHERS_PER_PROCESS)
        ]
        crews = crews_of(jobs, stack.callback)
        self._measured.publishers = self._started(crews, jobs, "publishers")
        return crews

    def _listen(
        self, heard: Sequence[tuple[Account, Account]], began: dict[str, float], stack: ExitStack
    ) -> list[Crew]:
        wishes = [
            Listening(
                ear.api.token or "",
                voice.username,
                began[voice.username],
                measure_latency=n < MEASURED_LISTENERS,
            )
            for n, (ear, voice) in enumerate(heard)
        ]
        jobs = [
            self._job(tuple(wishes[n : n + LISTENERS_PER_PROCESS]))
            for n in range(0, len(wishes), LISTENERS_PER_PROCESS)
        ]
        crews = crews_of(jobs, stack.callback)
        self._measured.listeners = self._started(crews, jobs, "listeners")
        return crews

    def _job(self, peers: tuple[Publishing, ...] | tuple[Listening, ...]) -> Job:
        wanted = self._wanted
        publishing = isinstance(peers[0], Publishing)
        packets = wanted.packets if publishing else ()
        return Job(wanted.url, wanted.faults, peers, packets, wanted.sound)

    def _started(self, crews: list[Crew], jobs: list[Job], what: str) -> list[Started]:
        started: list[Started] = []
        for crew, job in zip(crews, jobs, strict=True):
            for _ in job.peers:
                started.append(crew.started(self._signals))
                failed = sum(each.failure is not None for each in started)
                self._say(f"{what}: {len(started) - failed} connected, {failed} failed")
        return started

    def _wait_live(self, voices: Sequence[Account]) -> None:
        """Wait until the streams are live, then have the model leave the marker as it is.

        With denoising off, an overloaded server would not even run it.
        """
        settings: dict[str, object] = {}
        if not self._wanted.denoise:
            settings["attenuation_limit_db"] = 0
        if self._wanted.undenoised_on_overload:
            settings["undenoised_on_overload"] = True
        for voice in voices:
            give_up = time.monotonic() + LIVE_LIMIT_S
            while (stream := voice.stream()) is None or stream["state"] != "live":
                if time.monotonic() > give_up:
                    raise ApiError(f"{voice.username} connected but did not go live")
                self._signals.pause(POLL_S)
            if settings:
                voice.api.call("PATCH", "/api/stream", settings)

    def _wait(self, live: Sequence[Account]) -> None:
        """Let the time pass; see every second whether a stream is degraded, each in its turn."""
        degraded = self._measured.degraded
        end = time.monotonic() + self._wanted.seconds
        while (left := end - time.monotonic()) > 0:
            self._say(f"measuring: {left:.0f} s to go")
            self._signals.pause(min(left, 1.0))
            if live:
                stream = live[len(degraded) % len(live)].stream()
                degraded.append(bool(stream and stream.get("degraded")))

    def _stop(self, crews: list[Crew]) -> list[CrewResult]:
        for crew in crews:
            crew.stop()
        return [crew.result(self._signals) for crew in crews]
