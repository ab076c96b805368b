"""StreamActor: the Ray shell around live streams. Methods in, plain data out.

An actor is named, detached and holds real resources. It hosts `streams_per_actor` streams,
keeps the model loaded between them, and ends itself when nobody asks for it any more.

Only its own process loads the media path: callers import this module, too, and are spared the 60 MB
and the half second that aiortc, FFmpeg, LLVM and ONNX take.
"""

import asyncio
import gc
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
import ray.actor
import ray.util

from actors.access import Guest
from actors.access_watch import AccessWatch
from actors.admission import MAX_LISTENERS, Admission
from actors.errors import NoCapacity, NoPlace, NotLive, UnknownSession
from actors.heartbeat import Heartbeat
from actors.models import DEFAULT_MODEL, ModelName
from actors.node import WITHOUT_RAY, Node, here
from actors.previews import Previews
from actors.process_load import ProcessLoad
from actors.status import LEASE_TTL_S, Kept, Listening, StatusStore, StreamStatus
from actors.stream_core import StreamTimes
from foundation import logs
from foundation.lease import Lease
from foundation.logs import LogConfig, fields, request_id
from foundation.redis import connect
from foundation.tasks import TaskSet
from recordings.index import RecordingIndex
from recordings.quota import UNLIMITED, Quota
from recordings.recorder import Recorder
from recordings.retention import KEEP_ALL, Retention
from recordings.store import RecordingStore, StoreConfig

if TYPE_CHECKING:
    from actors.denoiser import Device
    from actors.live_stream import LiveStream
    from actors.sound_thread import SoundThread

log = logging.getLogger(__name__)

MAX_CONNECTING = 128
"""How many sessions of an actor may not be connected yet."""
STORING_S = 15.0
"""How long before its node goes the last streams of an actor end: they are stored by then."""
LEAVING_MOST_S = 3600.0
"""How long clients that cannot be moved keep an actor whose node goes without a deadline."""
LEAVING_INTERVAL_S = 0.5
ORPHAN_TIMEOUT_S = 60.0
"""An idle actor that no directory has asked about for this long exits."""


@dataclass(frozen=True)
class StreamActorConfig:
    """What a stream actor needs to know; plain data, sent to it by the directory."""

    redis_url: str = field(repr=False)
    store: StoreConfig
    spool_dir: str
    version: str
    model: ModelName = DEFAULT_MODEL
    models: tuple[ModelName, ...] = ()
    """What streams may choose besides; each is loaded before the first stream."""
    device: "Device" = "cpu"
    streams_per_actor: int = 1
    listeners_per_actor: int = MAX_LISTENERS
    ice_addresses: tuple[str, ...] = ()
    udp_ports: tuple[int, int] | None = None
    public_ips: Mapping[str, str] = field(default_factory=dict)
    """Public addresses of nodes by their own ones; `EVERY_NODE` stands for all others."""
    times: StreamTimes = field(default_factory=StreamTimes)
    retention: Retention = KEEP_ALL
    quota: Quota = UNLIMITED
    other_disks: tuple[str, ...] = ()
    """Folders whose disks must not fill up either, besides the spool's."""
    tail_s: float = 0.0
    """How often what is not yet a part of a recording goes to the store; 0 for never."""
    logs: LogConfig = LogConfig()


@dataclass(frozen=True)
class ActorDescription:
    """What the directory wants to know of an actor. Its capacity is 0 while it has no model.

    So it is once it no longer learns whose access ended. `load` is the share of a core that the
    process takes, `loop_lag_ms` how late its event loop runs, `listeners` counts connected listener
    sessions; `starting`: nobody has made it ready yet; `leaving`: it takes no new stream. An actor
    of an earlier release leaves these at their defaults.
    """

    name: str
    version: str
    users: tuple[str, ...]
    capacity: int
    idle_s: float
    node_id: str = ""
    node_ip: str = ""
    load: float = 0.0
    loop_lag_ms: float = 0.0
    listeners: int = 0
    starting: bool = False
    leaving: bool = False


@dataclass
class Reservation:
    """A place kept for a user whose offer is on its way."""

    lease: Lease
    since: float = field(default_factory=time.monotonic)


class StreamHost:
    """The streams of one process. `StreamActor` is this class as a Ray actor."""

    def __init__(self, name: str, config: StreamActorConfig, node: Node = WITHOUT_RAY) -> None:
        self._name = name
        self._config = config
        self._node = node
        self._load = ProcessLoad()
        self._sound_thread: SoundThread | None = None
        redis = connect(config.redis_url)
        self._store = StatusStore(redis)
        self._heartbeat = Heartbeat(config.redis_url)
        self._recorder = Recorder(
            RecordingIndex(redis),
            RecordingStore(config.store),
            Path(config.spool_dir),
            config.retention,
            config.quota,
            [Path(folder) for folder in config.other_disks],
            config.tail_s,
        )
        self._streams: dict[str, LiveStream] = {}
        self._access = AccessWatch(config.redis_url, redis, self._streams)
        self._reserved: dict[str, Reservation] = {}
        self._admission = Admission(config.listeners_per_actor, listening=self._count_listeners)
        self._previews = Previews()
        self._tasks = TaskSet()
        self._starting = asyncio.Lock()
        self._leaving: asyncio.Task[None] | None = None
        self._asked_at = self._used_at = time.monotonic()
        from actors.ice import gather_on

        gather_on(
            here(config.ice_addresses),
            ports=config.udp_ports,
            public_ip=node.public_ip(config.public_ips),
        )

    async def ready(self) -> ActorDescription:
        """Load the model and finish what a dead process left on this node; again is fine.

        Raises NodeUnfit when this node lacks what streams need, ModelError when the model cannot be
        loaded: such an actor never hosts a stream.
        """
        async with self._starting:
            if self._sound_thread is None:
                await self._get_ready()
        return self.describe_now()

    async def _get_ready(self) -> None:
        config = self._config
        spool = Path(config.spool_dir)
        await self._node.check(spool, config.ice_addresses, config.udp_ports, config.public_ips)
        from actors.aiortc_internals import check_aiortc

        await check_aiortc()
        self._sound_thread = await asyncio.to_thread(_make_sound_thread, self._config)
        self._sound_thread.start()
        self._heartbeat.watch("the sound thread", self._sound_progress)
        self._heartbeat.start()
        self._tasks.start(self._access.run(), name="access watch")
        self._tasks.start(self._recorder.recover(), name="recovery")
        self._tasks.start(self._recorder.sweep(), name="sweep")
        self._tasks.start(self._recorder.delete(), name="deletion")
        self._tasks.start(self._recorder.copy(), name="copies")
        log.info("takes streams", extra=fields(actor=self._name))

    async def describe(self) -> ActorDescription:
        """Tell the directory what this actor hosts; being asked keeps it alive."""
        self._asked_at = time.monotonic()
        return self.describe_now()

    def describe_now(self) -> ActorDescription:
        """Tell what this actor hosts."""
        users = tuple(self._users())
        idle_s = 0.0 if users or self._recorder.busy else time.monotonic() - self._used_at
        capacity = self._config.streams_per_actor if self._works else 0
        return ActorDescription(
            self._name,
            self._config.version,
            users,
            capacity,
            idle_s,
            node_id=self._node.node_id,
            node_ip=self._node.node_ip,
            load=self._load.share,
            loop_lag_ms=self._heartbeat.lag_ms,
            listeners=sum(stream.listening for stream in self._streams.values()),
            starting=self._sound_thread is None,
            leaving=self._leaving is not None,
        )

    @property
    def _works(self) -> bool:
        """Whether a stream can begin: the model is loaded, and whatever streams need runs."""
        sound = self._sound_thread is not None and self._sound_thread.alive
        return sound and self._heartbeat.alive and not self._access.failed

    def _sound_progress(self) -> int | None:
        return None if self._sound_thread is None else self._sound_thread.progress

    async def reserve(self, username: str) -> str | None:
        """Reserve a place for a user's stream and take the lease on it.

        Returns the actor that holds the lease, this one or another, None when there is no place
        here. A place that is not used before the lease runs out is free again. Raises
        RedisUnavailable.
        """
        stream = self._streams.get(username)
        if stream is not None and not stream.stopping:
            return self._name
        reserved = self._reservations().get(username)
        if reserved is None:
            if self._leaving or len(self._users()) >= self._config.streams_per_actor:
                return None
            reserved = Reservation(self._store.lease(username, actor=self._name))
            self._reserved[username] = reserved
        try:
            ours = await reserved.lease.hold()
        except BaseException:
            self._reserved.pop(username, None)
            raise
        if ours:
            reserved.since = time.monotonic()
            return self._name
        self._reserved.pop(username, None)
        grant = reserved.lease.grant  # None: the user stopped the stream meanwhile
        return grant.holder if grant else None

    async def publish(
        self,
        username: str,
        session_id: str,
        offer_sdp: str,
        *,
        sign_in: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> str:
        """Answer a publisher's offer; begins the user's stream if there is none.

        `settings` of the stream change once the session is heard. The session ends with the sign-in
        that it rests on, and the stream with that session. Raises OfferRefused, RedisUnavailable,
        NoCapacity, or NoPlace when none is reserved.
        """
        stream = self._streams.get(username)
        if stream is not None and stream.stopping:
            await stream.stop("a new one begins")
            await self.reserve(username)
            stream = self._streams.get(username)
        if stream is None:
            kept = await self._store.kept(username)
            stream = self._streams.get(username) or self._begin(username, kept)
        answer = await stream.publish(session_id, offer_sdp, sign_in=sign_in, settings=settings)
        self._access.check_soon()  # the sign-in may have ended since it was verified
        return answer

    async def listen(
        self,
        username: str,
        session_id: str,
        offer_sdp: str,
        listener: str,
        original: bool,
        *,
        both: bool = False,
        sign_in: str | None = None,
        guest: Guest | None = None,
    ) -> str:
        """Answer a listener's offer, when its turn comes.

        Raises NoCapacity, or what `LiveStream.listen` does.
        """
        self._refuse_a_crowd()
        self._stream(username)
        answer = await self._admission.join(
            lambda: self._stream(username).listen(
                session_id,
                offer_sdp,
                listener=listener,
                original=original,
                both=both,
                sign_in=sign_in,
                guest=guest,
            )
        )
        self._access.check_soon()
        return answer

    async def listeners(self, username: str) -> list[Listening]:
        """List who listens to a user's stream. Raises NotLive."""
        return self._stream(username).listeners()

    async def remove(self, username: str, listener: str, session_id: str) -> None:
        """Remove the person of a listener's session from a user's stream, if there is one."""
        if stream := self._streams.get(username):
            await stream.remove(listener, session_id)

    async def trickle(self, username: str, session_id: str, fragment: str) -> None:
        """Add a session's candidates. Raises UnknownSession, or what `Session.trickle` does."""
        stream = self._streams.get(username)
        if stream is None:
            raise UnknownSession("This session has ended.")
        await stream.trickle(session_id, fragment)

    async def end_session(self, username: str, session_id: str) -> None:
        """Close a session, if it is still there."""
        if stream := self._streams.get(username):
            await stream.end_session(session_id)

    async def stop(self, username: str, session_id: str | None, reason: str) -> None:
        """End a user's stream, if there is one and the session, if given, publishes it."""
        if stream := self._streams.get(username):
            await stream.stop(reason, session_id=session_id)

    async def control(self, username: str, changes: Mapping[str, Any]) -> StreamStatus:
        """Change a live stream's settings. Raises NotLive."""
        return self._stream(username).control(changes)

    async def publisher_socket(self, username: str, session_id: str, connected: bool) -> None:
        """Note that a page's presence socket came or went."""
        if stream := self._streams.get(username):
            stream.publisher_socket(session_id, connected=connected)

    async def preview(
        self,
        wav: bytes,
        attenuation_limit_db: float | None,
        model: ModelName | None = None,
        post_filter: bool = False,
    ) -> bytes:
        """Clean a short WAV for somebody. Raises PreviewRefused or NoCapacity."""
        self._used_at = time.monotonic()
        name = model or self._config.model
        return await self._previews.make(wav, attenuation_limit_db, name, post_filter=post_filter)

    async def drain(self, reason: str) -> None:
        """End every stream and wait until the recordings are stored."""
        await asyncio.gather(*(stream.stop(reason) for stream in self._streams.values()))
        await self._recorder.wait_stored()

    async def vacate(self, reason: str, ends_at: float | None) -> None:
        """Take no new stream, and end those that are here; returns at once, again is fine.

        Pages of ours are asked to go on elsewhere at once. Other clients know no such request: they
        stay until shortly before `ends_at`, in seconds since the epoch, so that what they sent is
        stored by then.
        """
        if self._leaving is None:
            log.info("actor %s leaves: %s", self._name, reason)
            self._leaving = self._tasks.start(self._vacate(reason, ends_at), name="vacate")

    async def _vacate(self, reason: str, ends_at: float | None) -> None:
        rest_ends_at = min(ends_at or math.inf, time.time() + LEAVING_MOST_S) - STORING_S
        while self._users():  # whoever has reserved a place may still begin
            over = time.time() >= rest_ends_at
            going = [each for each in self._streams.values() if over or each.has_page]
            await asyncio.gather(*(stream.move(reason) for stream in going))
            await asyncio.sleep(LEAVING_INTERVAL_S)

    async def leave(self) -> None:
        """End this process, unless somebody is here or something is being made or stored."""
        if self._users() or self._recorder.busy or self._previews.busy:
            return
        ray.actor.exit_actor()  # type: ignore[no-untyped-call]  # ray leaves it untyped

    def _count_listeners(self) -> int:
        """Count the sessions that listen here, connected or not."""
        return sum(stream.audience_size for stream in self._streams.values())

    def _refuse_a_crowd(self) -> None:
        """Raise NoCapacity while too many sessions are being set up."""
        if sum(stream.connecting for stream in self._streams.values()) >= MAX_CONNECTING:
            raise NoCapacity("Many people are connecting right now. Please try again.", 2)

    def _reservations(self) -> dict[str, Reservation]:
        """Get the reservations that have not run out; the others are dropped."""
        now = time.monotonic()
        for user, reserved in list(self._reserved.items()):
            if now - reserved.since > LEASE_TTL_S:
                del self._reserved[user]
        return self._reserved

    def _users(self) -> set[str]:
        """Whom this actor hosts or keeps a place for."""
        return {*self._streams, *self._reservations()}

    def _stream(self, username: str) -> "LiveStream":
        stream = self._streams.get(username)
        if stream is None or stream.stopping:
            raise NotLive(f"{username} is not live.")
        return stream

    def _begin(self, username: str, kept: Kept | None) -> "LiveStream":
        reserved = self._reservations().pop(username, None)
        if reserved is None or self._sound_thread is None or not self._sound_thread.alive:
            raise NoPlace("This actor has no place for the stream.")
        from actors.live_stream import LiveStream

        stream = LiveStream(
            username,
            actor=self._name,
            lease=reserved.lease,
            sound_thread=self._sound_thread,
            heartbeat=self._heartbeat,
            times=self._config.times,
            store=self._store,
            recorder=self._recorder,
            kept=kept,
        )
        self._streams[username] = stream
        log.info("stream begins", extra=fields(stream=stream.status.stream_id, actor=self._name))
        self._tasks.start(self._host(stream), name=f"stream of {self._name}")
        return stream

    async def _host(self, stream: "LiveStream") -> None:
        """Run a stream to its end."""
        try:
            await stream.run()
        finally:
            if self._streams.get(stream.username) is stream:
                del self._streams[stream.username]
            self._used_at = time.monotonic()


def _make_sound_thread(config: StreamActorConfig) -> "SoundThread":
    import actors.live_stream  # noqa: F401  # not only when somebody waits for the first stream
    from actors.denoiser import load_model
    from actors.sound_thread import SoundThread

    # Microphones without automatic gain are often quiet: the network hears them louder.
    model, *others = (
        load_model(name, normalise_level=True)
        for name in dict.fromkeys((config.model, *config.models))
    )
    return SoundThread(model, config.streams_per_actor, others=others, device=config.device)


class StreamHostProcess(StreamHost):
    """`StreamHost` as Ray runs it, in a process of its own."""

    def __init__(self, name: str, config: StreamActorConfig) -> None:
        logs.configure("actor", config.logs)
        node_id = ray.get_runtime_context().get_node_id()
        node_ip = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        super().__init__(name, config, Node(node_id, node_ip))

    async def answer(self, request: str, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method on behalf of a request, whose id stands in the logs of what it causes."""
        request_id.set(request)
        return await getattr(self, method)(*args, **kwargs)

    async def _get_ready(self) -> None:
        await super()._get_ready()
        # To look through what was loaded takes garbage collection 60 ms, in which no thread runs.
        gc.collect()
        gc.freeze()
        self._tasks.start(self._end_when_orphaned(), name="orphan watch")

    async def _end_when_orphaned(self) -> None:
        """End this process when no directory has asked for it and nobody is here."""
        while True:
            await asyncio.sleep(ORPHAN_TIMEOUT_S / 4)
            idle = not self._users() and not self._recorder.busy
            if idle and time.monotonic() - self._asked_at > ORPHAN_TIMEOUT_S:
                log.warning("actor %s: exits, no directory asks about it", self._name)
                ray.get_runtime_context().current_actor.leave.remote()  # needs no head


StreamActor = ray.remote(StreamHostProcess)
