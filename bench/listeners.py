"""What a listener costs: CPU of one core for each, ours against aiortc's own sending, in turns.

    python -m bench.listeners [--listeners 20] [--seconds 10] [--rounds 3]

The listeners are real peers in a process of their own. "aiortc, packets" passes encoded packets to
aiortc's sender; "aiortc, stock" gives every sender the sound, which it encodes for each listener.
"""

import argparse
import asyncio
import multiprocessing
import time
from collections.abc import Awaitable, Callable
from fractions import Fraction
from multiprocessing.connection import Connection
from typing import Any

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from actors.fanout import EncodedFrame, Fanout
from actors.ice import gather_on
from actors.opus import FRAME_SAMPLES, SAMPLE_RATE
from actors.sessions import ListenerSession, SessionState
from bench.sounds import noisy_streams
from commands.load.peers import PacketListener, encode

FRAME_S = FRAME_SAMPLES / SAMPLE_RATE
Play = Callable[[int], None]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--listeners", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{options.listeners} listeners, {options.seconds:g} s, {options.rounds} rounds in turns")
    shares: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(options.rounds):
        for name, way in WAYS.items():
            shares[name].append(asyncio.run(_measure(way, options.listeners, options.seconds)))
    for name, values in shares.items():
        each = ", ".join(f"{100 * value:.2f}" for value in values)
        print(f"{name:18} {100 * float(np.median(values)):6.2f} % of a core a listener ({each})")


async def _measure(
    way: Callable[[list[str]], Awaitable[tuple[list[str], Play, Callable[[], Awaitable[None]]]]],
    listeners: int,
    seconds: float,
) -> float:
    """Get the share of a core that each listener costs this process."""
    gather_on(["127.0.0.1"])
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    peers = context.Process(target=_listen, args=(theirs, listeners), daemon=True)
    peers.start()
    answers, play, close = await way(await asyncio.to_thread(ours.recv))
    ours.send(answers)
    await asyncio.to_thread(ours.recv)  # all are connected
    idle_s = await _play(lambda frame: None, seconds / 2) / (seconds / 2)
    busy_s = await _play(play, seconds) / seconds
    ours.send("end")
    heard = await asyncio.to_thread(ours.recv)
    assert min(heard) > 0.9 * seconds / FRAME_S, f"frames that arrived: {min(heard)}"
    await close()
    peers.join()
    return (busy_s - idle_s) / listeners


async def _play(play: Play, seconds: float) -> float:
    """Play frames in real time; get the CPU seconds that took, of all threads."""
    began, cpu = time.monotonic(), time.process_time()
    for frame in range(round(seconds / FRAME_S)):
        play(frame)
        await asyncio.sleep(max(0.0, began + (frame + 1) * FRAME_S - time.monotonic()))
    return time.process_time() - cpu


def _packets() -> list[bytes]:
    return encode(noisy_streams(1)[:, 0].reshape(-1)[: 100 * FRAME_SAMPLES], bitrate=64_000)


async def _ours(offers: list[str]) -> tuple[list[str], Play, Callable[[], Awaitable[None]]]:
    fanout, packets = Fanout(), _packets()
    sessions = [
        ListenerSession(str(n), connect_timeout_s=30, listener="l", original=False)
        for n in range(len(offers))
    ]
    tasks = [asyncio.create_task(s.run(o)) for s, o in zip(sessions, offers, strict=True)]
    answers = [await session.answer for session in sessions]
    for session in sessions:
        fanout.add(session.feeds[0])

    def play(frame: int) -> None:
        payload = packets[frame % len(packets)]
        fanout.push(EncodedFrame(frame * FRAME_SAMPLES, payload, None))

    async def close() -> None:
        assert all(session.state is SessionState.CONNECTED for session in sessions)
        for session in sessions:
            session.close()
        await asyncio.gather(*tasks)

    return answers, play, close


class _Track(MediaStreamTrack):
    """Gives aiortc what is put in."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.queue: asyncio.Queue[Any] = asyncio.Queue()

    async def recv(self) -> Any:
        return await self.queue.get()


async def _aiortc(
    offers: list[str], frame_of: Callable[[int], Any]
) -> tuple[list[str], Play, Callable[[], Awaitable[None]]]:
    tracks, connections, answers = [_Track() for _ in offers], [], []
    for track, offer in zip(tracks, offers, strict=True):
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        connection.addTrack(track)
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        connections.append(connection)
        answers.append(connection.localDescription.sdp)

    def play(frame: int) -> None:
        made = frame_of(frame)
        for track in tracks:
            track.queue.put_nowait(made)

    async def close() -> None:
        for connection in connections:
            await connection.close()

    return answers, play, close


async def _passed(offers: list[str]) -> tuple[list[str], Play, Callable[[], Awaitable[None]]]:
    packets = _packets()

    def packet(frame: int) -> Any:
        made: Any = av.Packet(packets[frame % len(packets)])
        made.pts, made.time_base = frame * FRAME_SAMPLES, Fraction(1, SAMPLE_RATE)
        return made

    return await _aiortc(offers, packet)


async def _stock(offers: list[str]) -> tuple[list[str], Play, Callable[[], Awaitable[None]]]:
    sound = (noisy_streams(1)[:, 0] * 32767).astype(np.int16).reshape(-1, 1, FRAME_SAMPLES)

    def decoded(frame: int) -> Any:
        made = av.AudioFrame.from_ndarray(sound[frame % len(sound)], format="s16", layout="mono")
        made.sample_rate, made.pts = SAMPLE_RATE, frame * FRAME_SAMPLES
        made.time_base = Fraction(1, SAMPLE_RATE)
        return made

    return await _aiortc(offers, decoded)


WAYS = {"hushcast": _ours, "aiortc, packets": _passed, "aiortc, stock": _stock}


def _listen(pipe: Connection, listeners: int) -> None:
    asyncio.run(_listen_all(pipe, listeners))


async def _listen_all(pipe: Connection, listeners: int) -> None:
    """Be the listeners: count the packets, decode nothing."""
    gather_on(["127.0.0.1"])
    peers = [PacketListener(keep_sound=False) for _ in range(listeners)]
    pipe.send([await peer.offer() for peer in peers])
    for peer, answer in zip(peers, await asyncio.to_thread(pipe.recv), strict=True):
        await peer.accept(answer)
    await asyncio.gather(*(peer.connected.wait() for peer in peers))
    pipe.send("connected")
    await asyncio.to_thread(pipe.recv)
    pipe.send([peer.arrivals.counts(time.monotonic()).received for peer in peers])
    for peer in peers:
        await peer.close()


if __name__ == "__main__":
    main()
