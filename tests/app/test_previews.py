"""Previews, settings before the start and both sounds, on the running product."""

import asyncio
import io
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
import soundfile

from tests.app.client import Person
from tests.media.test_preview import wav
from tests.peers import encode
from tests.sounds import noise, speech_like
from tests.waiting import until

pytestmark = pytest.mark.slow

PACKETS = encode(speech_like(2.0))
People = Callable[[], Awaitable[Person]]


async def test_previews_are_made_while_somebody_streams_as_they_chose(people: People) -> None:
    """A stream begins with its settings; previews leave it alone; a friend hears both sounds."""
    ada, bob = await people(), await people()
    await ada.befriend(bob)
    query = "?title=Birds&share_original=true&attenuation_limit_db=12"
    publisher, _ = await ada.publish(PACKETS, query, protocol="2")

    async def live() -> bool:
        stream = await bob.http.get(f"/api/users/{ada.username}")
        return bool((stream.json()["stream"] or {}).get("state") == "live")

    await until(live)
    stream = await ada.stream()
    assert stream is not None
    assert (stream["title"], stream["share_original"]) == ("Birds", True)
    assert (stream["attenuation_limit_db"], stream["muted"]) == (12, False)
    listener, _ = await bob.listen(ada.username, "?sound=both", sections=2)
    body = wav(0.05 * noise(2.0), 44100)

    async def preview() -> bytes:
        answer = await bob.http.post(
            "/api/preview?attenuation_limit_db=", content=body,
            headers={"content-type": "audio/wav"}, timeout=60,
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "audio/wav"
        return answer.content

    first, *others = await asyncio.gather(*(preview() for _ in range(3)))
    assert others == [first, first]
    cleaned, rate = soundfile.read(io.BytesIO(first))
    noisy, _ = soundfile.read(io.BytesIO(body))
    assert rate == 44100 and len(cleaned) == len(noisy)
    assert np.std(cleaned[22050:]) < np.std(noisy) / 3
    refused = await bob.http.post(
        "/api/preview", content=b"hello", headers={"content-type": "audio/wav"}
    )
    assert refused.status_code == 422 and "WAV" in refused.json()["detail"]
    assert await live()
    await until(lambda: all(len(sound) > 48000 for sound in listener.sounds))
    await until(lambda: len(publisher.spectra) > 10)
