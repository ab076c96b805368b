"""POST /api/preview: what comes in, what goes out, how often."""

import io

import httpx
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.edge.conftest import Edge, MakeEdge, Person
from tests.media.test_preview import NOISE, wav

WAV = {"content-type": "audio/wav"}
CLIP = wav(NOISE[:4800], 16000)


async def ask(
    person: Person, body: bytes = CLIP, media_type: str = "audio/wav", **asked: str
) -> httpx.Response:
    """Ask for a preview."""
    headers = {"content-type": media_type} if media_type else {}
    return await person.http.post("/api/preview", content=body, headers=headers, params=asked)


async def test_a_preview_is_a_wav_of_the_same_form(edge: Edge) -> None:
    """Cleaned; whatever name browsers have for WAV; with a limit, and the model that is loaded."""
    ada = await edge.person("ada")
    for media_type in ("audio/wav", "audio/x-wav", "Audio/Wave; codecs=1", "audio/vnd.wave"):
        answer = await ask(ada, media_type=media_type)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "audio/wav"
        assert answer.headers["cache-control"] == "no-store"
    cleaned, rate = soundfile.read(io.BytesIO(answer.content))
    assert rate == 16000 and len(cleaned) == 4800
    same = await ask(ada, attenuation_limit_db="0", model=edge.services.settings.model)
    kept, _ = soundfile.read(io.BytesIO(same.content))
    assert np.std(cleaned) < np.std(kept)
    for limit in ("", "null", "12.5"):
        assert (await ask(ada, attenuation_limit_db=limit)).status_code == 200
    filtered = await ask(ada, post_filter="true")
    assert filtered.status_code == 200 and filtered.content != answer.content


@pytest.mark.parametrize(
    ("body", "media_type", "asked", "status"),
    [
        (CLIP, "audio/ogg", {}, 415),
        (CLIP, "", {}, 415),
        (b"", "audio/wav", {}, 422),
        (b"hello", "audio/wav", {}, 422),
        (wav(np.zeros(80_001, np.float32), 8000), "audio/wav", {}, 422),
        (bytes(2 * 1024 * 1024 + 1), "audio/wav", {}, 413),
        (CLIP, "audio/wav", {"model": "dfn2_ll"}, 422),
        (CLIP, "audio/wav", {"model": "x" * 100}, 422),
        (CLIP, "audio/wav", {"model": ""}, 422),
        (CLIP, "audio/wav", {"attenuation_limit_db": "-1"}, 422),
        (CLIP, "audio/wav", {"attenuation_limit_db": "inf"}, 422),
        (CLIP, "audio/wav", {"post_filter": "perhaps"}, 422),
    ],
)
async def test_anything_else_is_refused_with_a_sentence(
    edge: Edge, body: bytes, media_type: str, asked: dict[str, str], status: int
) -> None:
    """413, 415 or 422."""
    answer = await ask(await edge.person("ada"), body, media_type, **asked)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"].endswith(".")
    assert ("accept-post" in answer.headers) is (status == 415)


async def test_ten_a_minute_and_no_more_than_there_is_time_for(make_edge: MakeEdge) -> None:
    """429 counts for each user; 503 says when to come back."""
    edge = make_edge(rates={"previews": "2/minute"})
    ada, bob = await edge.person("ada"), await edge.person("bob")
    answers = [await ask(ada) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].headers["retry-after"]
    edge.streams.full = True
    busy = await ask(bob)
    assert busy.status_code == 503 and busy.headers["retry-after"] == "7"


@pytest.fixture
async def often(make_edge: MakeEdge) -> Person:
    """Somebody who may ask as often as they like."""
    return await make_edge(rates={"previews": "1000000/minute"}).person("ada")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=400) | st.binary(max_size=60).map(lambda more: CLIP[:40] + more),
    media_type=st.sampled_from(["audio/wav", "audio/x-wav", "text/plain", ""]),
    limit=st.text(max_size=5) | st.floats().map(str),
    model=st.sampled_from(["dfn2", "dfn2", "dfn9"]) | st.text(max_size=5),
)
async def test_whatever_comes_is_answered_or_refused(
    often: Person, body: bytes, media_type: str, limit: str, model: str
) -> None:
    """Never 500."""
    asked = {"attenuation_limit_db": limit, "model": model}
    answer = await ask(often, body, media_type, **asked)
    assert answer.status_code in (200, 413, 415, 422), answer.text
