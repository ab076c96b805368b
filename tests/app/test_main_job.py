"""Somebody speaks, a friend hears it live, the recording is kept: over HTTP, with real peers."""

import asyncio
import io
from collections.abc import Awaitable, Callable

import httpx
import numpy as np
import pytest
import soundfile

from tests.app.client import Person
from tests.app.conftest import GRACE_S
from tests.denoiser.official import official_model
from tests.peers import encode
from tests.quality import quality
from tests.sounds import Sound, mix, noise, spoken_words
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.quiet]

SECONDS = 12.0
CLEAN = spoken_words(SECONDS)
NOISY = mix(CLEAN, noise(SECONDS), snr_db=5.0)
PACKETS = encode(NOISY)

People = Callable[[], Awaitable[Person]]


async def live(person: Person) -> bool:
    """Tell whether somebody is live."""
    stream = await person.stream()
    return stream is not None and stream["state"] == "live"


async def stored(person: Person) -> bool:
    """Tell whether somebody's newest recording can be played."""
    recordings = await person.recordings()
    return bool(recordings) and recordings[0]["state"] == "ready"


async def download(person: Person, recording: dict[str, object]) -> Sound:
    """Get a recording's sound [T]."""
    answer = await person.http.get(
        f"/api/recordings/{recording['id']}/audio", follow_redirects=True
    )
    assert answer.status_code == 200, answer.text
    sound, rate = soundfile.read(io.BytesIO(answer.content), dtype="float32")
    assert rate == 48000
    return np.asarray(sound)


async def test_a_friend_sees_it_hears_it_and_finds_the_recording(people: People) -> None:
    """The whole job: live within a second, sound within a second, quality as offline, kept."""
    ada, bob = await people(), await people()
    await ada.befriend(bob)
    loop = asyncio.get_running_loop()
    async with bob.presence() as presence:
        await until(lambda: bool(presence.messages))
        assert presence.messages[0] == {**presence.messages[0], "type": "snapshot", "streams": []}
        pressed = loop.time()
        peer, session = await ada.publish(PACKETS)
        await until(lambda: "live" in presence.states(ada.username))
        seen_after = presence.times[-1] - pressed
        pressed = loop.time()
        listener, _ = await bob.listen(ada.username)
        await asyncio.wait_for(listener.first_sound.wait(), 10)
        heard_after = loop.time() - pressed
        await until(lambda: peer.microphone.played >= SECONDS * 50, timeout_s=60)
        played = peer.microphone.played
        ended = loop.time()
        assert (await ada.http.delete(session)).status_code == 200
        await until(lambda: presence.states(ada.username)[-1] is None)
        gone_after = presence.times[-1] - ended
        assert presence.states(ada.username) == ["connecting", "live", None]
    await until(lambda: stored(ada))
    [recording] = await ada.recordings()
    recorded = await download(bob, recording)
    wanted = quality(official_model().enhance(NOISY), CLEAN)
    kept, listened = quality(recorded, CLEAN), quality(listener.sound, CLEAN)
    print(
        f"\nlive seen after {seen_after:.2f} s, first sound after {heard_after:.2f} s, "
        f"end seen after {gone_after:.2f} s; {played * 0.02:.2f} s played, "
        f"{recording['duration_s']:.2f} s recorded\n"
        f"noisy: {quality(NOISY, CLEAN)}; offline model: {wanted}; "
        f"recording: {kept}; listener: {listened}"
    )
    assert max(seen_after, heard_after, gone_after) < 1.0
    assert abs(recording["duration_s"] - played * 0.02) <= 0.2
    assert len(recorded) == round(recording["duration_s"] * 48000)
    for got in (kept, listened):
        assert abs(got.pesq - wanted.pesq) <= 0.3 and abs(got.stoi - wanted.stoi) <= 0.03


async def test_the_recording_plays_in_ranges_and_downloads_with_a_name(people: People) -> None:
    """Browsers seek with ranges; a download gets a readable name; strangers get nothing."""
    ada, eve = await people(), await people()
    peer, session = await ada.publish(PACKETS)
    await until(lambda: live(ada))
    await until(lambda: peer.microphone.played > 50)
    await ada.http.delete(session)
    await until(lambda: stored(ada))
    [recording] = await ada.recordings()
    assert 0 < len(recording["peaks"]) <= 1000 and max(recording["peaks"]) <= 1
    path = f"/api/recordings/{recording['id']}/audio"
    part = await ada.http.get(path, headers={"range": "bytes=0-11"}, follow_redirects=True)
    assert part.status_code == 206 and part.content[8:12] == b"WAVE"
    whole = await ada.http.get(path, params={"download": 1}, follow_redirects=True)
    assert len(whole.content) == recording["size_bytes"]
    assert "attachment" in whole.headers["content-disposition"]
    assert (await eve.http.get(path)).status_code == 404

    async def has_small_copy() -> bool:
        return "small" in (await ada.recordings())[0]["formats"]

    await until(has_small_copy)
    small = await ada.http.get(path, params={"format": "small"}, follow_redirects=True)
    assert small.headers["content-type"] == "audio/mp4"
    assert len(small.content) < len(whole.content) / 5
    assert (await ada.http.delete(f"/api/recordings/{recording['id']}")).status_code == 204
    assert await ada.recordings() == []


async def test_a_second_publisher_of_the_same_user_takes_over(people: People) -> None:
    """The stream continues; the first page is told; closing that page ends nothing."""
    ada = await people()
    async with ada.presence() as presence:
        _, first = await ada.publish(PACKETS)
        await until(lambda: live(ada))
        before = await ada.stream()
        _, second = await ada.publish(PACKETS)
        await until(lambda: any(m["type"] == "control" for m in presence.messages))
        told = next(m for m in presence.messages if m["type"] == "control")
        assert told["action"] == "taken_over" and first.endswith(told["session"])
        session = first.rsplit("/", 1)[1]
        stopped = await ada.http.post("/api/stream/stop", params={"session": session})
        assert stopped.status_code == 204
        assert (await ada.http.delete(first)).status_code == 200
        after = await ada.stream()
        assert before and after and after["stream_id"] == before["stream_id"]
        assert (await ada.http.delete(second)).status_code == 200
        assert await ada.stream() is None


async def test_the_beacon_ends_the_stream_at_once(people: People) -> None:
    """`POST /api/stream/stop?session=`, as sendBeacon sends it when a page goes away."""
    ada, bob = await people(), await people()
    await ada.befriend(bob)
    async with bob.presence() as presence:
        _, session = await ada.publish(PACKETS)
        await until(lambda: live(ada))
        answer = await ada.http.post(
            "/api/stream/stop",
            params={"session": session.rsplit("/", 1)[1]},
            content=b"",
            headers={"content-type": "text/plain;charset=UTF-8"},
        )
        assert answer.status_code == 204
        assert await until(lambda: presence.states(ada.username)[-1] is None) < 1.0
    await until(lambda: stored(ada))


async def test_the_loss_of_the_publishing_socket_ends_the_stream_after_the_grace(
    people: People,
) -> None:
    """A page that just vanishes: its presence socket is gone while its sound still arrives."""
    ada = await people()
    async with ada.presence() as presence:
        _, session = await ada.publish(PACKETS)
        await until(lambda: live(ada))
        await presence.say(type="publishing", session=session.rsplit("/", 1)[1])
        await until(lambda: live(ada))
    waited = await until(lambda: _gone(ada))
    assert GRACE_S * 0.8 <= waited < GRACE_S + 5
    await until(lambda: stored(ada))


async def test_the_loss_of_the_connection_ends_the_stream_after_the_grace(people: People) -> None:
    """A peer connection that closes without a word: reconnecting, then the end."""
    ada, bob = await people(), await people()
    await ada.befriend(bob)
    async with bob.presence() as presence:
        peer, _ = await ada.publish(PACKETS)
        await until(lambda: live(ada))
        await peer.close()
        await until(lambda: presence.states(ada.username)[-1] is None)
        assert presence.states(ada.username) == ["connecting", "live", "reconnecting", None]
    await until(lambda: stored(ada))


async def test_after_a_stop_the_next_start_finds_a_warm_actor(people: People) -> None:
    """Start, stop, start, stop: every start is answered in well under a cold actor's time."""
    ada = await people()
    loop = asyncio.get_running_loop()
    for _ in range(3):
        began = loop.time()
        _, session = await ada.publish(PACKETS)
        assert loop.time() - began < 1.5
        await until(lambda: live(ada))
        await ada.http.delete(session)


async def test_a_friend_cannot_listen_to_nobody_and_a_stranger_to_nothing(people: People) -> None:
    """409 while not live, 403 for a stranger, 404 for an unknown user; the page may try again."""
    ada, bob, eve = await people(), await people(), await people()
    await ada.befriend(bob)
    for person, name, status in (
        (bob, ada.username, 409),
        (eve, ada.username, 403),
        (bob, "nobody-at-all", 404),
    ):
        with pytest.raises(AssertionError, match=str(status)):
            await person.listen(name)


async def _gone(person: Person) -> bool:
    return await person.stream() is None


async def test_health(app: object, people: People) -> None:
    """Both probes answer without a sign-in."""
    ada = await people()
    async with httpx.AsyncClient(base_url=ada.url) as http:
        assert (await http.get("/healthz")).status_code == 200
        await until(lambda: _ready(http))


async def _ready(http: httpx.AsyncClient) -> bool:
    return (await http.get("/readyz")).status_code == 200
