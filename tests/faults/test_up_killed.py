"""`hushcast up` gets SIGKILL during a stream, and is started again on the same data."""

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.app.client import Person, sign_up
from tests.peers import encode
from tests.running import running_app
from tests.sounds import speech_like
from tests.waiting import until

PACKETS = encode(speech_like(2.0))


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_everything_is_killed_at_once(tmp_path: Path) -> None:
    """With its servers: the account is there, the token valid, the recording recovered."""
    with pytest.raises(AssertionError, match="exit code -9"):
        with running_app(tmp_path, HUSHCAST_WARM_ACTORS="1") as first:
            ada = await sign_up(first.url)
            peer, _ = await ada.publish(PACKETS)
            await until(lambda: _live(ada))
            await asyncio.sleep(5)
            published_s = peer.microphone.played * 0.02
            first.process.kill()
            await peer.close()
            first.process.wait()
    with running_app(tmp_path, HUSHCAST_WARM_ACTORS="1") as again:
        same = Person(again.url, ada.username, ada.token)
        assert await same.stream() is None
        await until(lambda: _recovered(same), timeout_s=60)
        [recording] = await same.recordings()
        lost_s = published_s - float(recording["duration_s"])
        print(f"\n{lost_s:+.2f} s of {published_s:.2f} s were lost")
        assert lost_s <= 1.0
        audio = await same.http.get(f"/api/recordings/{recording['id']}/audio")
        assert audio.status_code == 200 and len(audio.content) == recording["size_bytes"]
        await same.publish(PACKETS)
        await until(lambda: _live(same))
        await same.close()
    await ada.http.aclose()


async def _live(person: Person) -> bool:
    stream = await person.stream()
    return stream is not None and stream["state"] == "live"


async def _recovered(person: Person) -> bool:
    try:
        recordings = await person.recordings()
    except (AssertionError, httpx.HTTPError):
        return False
    return bool(recordings) and recordings[0]["state"] == "recovered"
