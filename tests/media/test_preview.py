"""Previews: whatever WAV comes is cleaned or refused in a sentence, beside the live streams."""

import asyncio
import io
import struct
from collections.abc import AsyncIterator

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import previews
from actors.denoiser import Model, load_model
from actors.errors import NoCapacity, PreviewRefused
from actors.preview import clean, read
from actors.previews import MAX_WAITING, Previews
from tests.denoiser.clips import noisy_clip
from tests.sounds import Sound, noise

NOISE = 0.05 * noise(0.5)


def wav(sound: Sound, rate: int = 48000, subtype: str = "PCM_16", form: str = "WAV") -> bytes:
    """Write sound [T] or [T, channels]."""
    file = io.BytesIO()
    soundfile.write(file, sound, rate, subtype, format=form)
    return file.getvalue()


@pytest.fixture(scope="module")
def model() -> Model:
    """The model as live streams have it."""
    return load_model(normalise_level=True)


@pytest.mark.parametrize(
    ("rate", "channels", "subtype", "form"),
    [
        (48000, 1, "PCM_16", "WAV"),
        (44100, 2, "PCM_24", "WAV"),
        (8000, 1, "ULAW", "WAV"),
        (16000, 1, "PCM_U8", "WAV"),
        (96000, 1, "FLOAT", "WAV"),
        (22050, 6, "PCM_16", "WAVEX"),
        (48000, 1, "DOUBLE", "RF64"),
        (1000, 1, "PCM_16", "WAV"),
    ],
)
def test_the_form_stays_and_the_noise_goes(
    model: Model, rate: int, channels: int, subtype: str, form: str
) -> None:
    """Same length, rate, channels and subtype; every channel is cleaned."""
    sound = np.stack([0.3 * np.roll(noise(1.2), n)[: int(1.1 * rate) + 7] for n in range(channels)])
    before = wav((0.3 * sound.T).astype(np.float32), rate, subtype, form)
    after = io.BytesIO(clean(before, model, None))
    told = soundfile.info(after)
    assert (told.samplerate, told.channels, told.subtype) == (rate, channels, subtype)
    cleaned, _ = soundfile.read(io.BytesIO(after.getvalue()), always_2d=True)
    noisy, _ = soundfile.read(io.BytesIO(before), always_2d=True)
    assert cleaned.shape == noisy.shape
    if rate >= 8000:
        half = len(noisy) // 2
        levels = [np.sqrt(np.mean(np.square(each[half:]), axis=0)) for each in (noisy, cleaned)]
        assert np.all(levels[1] < levels[0] / 4)


def test_speech_stays_and_a_limit_leaves_noise(model: Model) -> None:
    """With a limit of 0 dB the sound comes out as it went in; without one it is another."""
    before = wav(noisy_clip("words", 2.0))
    same, _ = soundfile.read(io.BytesIO(clean(before, model, 0.0)))
    noisy, _ = soundfile.read(io.BytesIO(before))
    cleaned, _ = soundfile.read(io.BytesIO(clean(before, model, None)))
    some, _ = soundfile.read(io.BytesIO(clean(before, model, 6.0)))
    assert np.max(np.abs(same - noisy)) < 3 / 32768
    assert 0.2 < np.std(cleaned) / np.std(noisy) < 0.99
    assert np.std(noisy - some) < 0.7 * np.std(noisy - cleaned)


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "GSM610"])
def test_compressed_sound_becomes_pcm(model: Model, subtype: str) -> None:
    """Coding it again would add a rest of a block to it."""
    before = wav(NOISE, 8000, subtype)
    told = soundfile.info(io.BytesIO(clean(before, model, None)))
    assert told.subtype == "PCM_16"
    assert told.frames == soundfile.info(io.BytesIO(before)).frames


SHORT = np.zeros(480, np.float32)
REFUSED = {
    "nothing": (b"", "not a WAV"),
    "text": (b"hello" * 50, "not a WAV"),
    "a header alone": (wav(SHORT)[:30], "not a WAV"),
    "FLAC": (wav(SHORT, form="FLAC"), "not a WAV"),
    "AIFF": (wav(SHORT, form="AIFF"), "not a WAV"),
    "Ogg": (wav(SHORT, subtype="VORBIS", form="OGG"), "not a WAV"),
    "no sound": (wav(SHORT[:0]), "no sound"),
    "too long": (wav(np.zeros(80_001, np.float32), 8000), "10 seconds"),
    "too many channels": (wav(np.zeros((480, 9), np.float32)), "8 channels"),
    "too slow": (wav(SHORT, 999), "1,000 to 768,000 Hz"),
    "too fast": (wav(SHORT, 768_001), "1,000 to 768,000 Hz"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_preview_is_refused_with_a_sentence(name: str) -> None:
    """It says what is wrong."""
    body, reason = REFUSED[name]
    with pytest.raises(PreviewRefused, match=reason):
        read(body)


def test_the_longest_ones_are_read() -> None:
    """Ten seconds exactly, eight channels."""
    assert len(read(wav(np.zeros(480_000, np.float32))).sound) == 480_000
    assert read(wav(np.zeros((480, 8), np.float32))).sound.shape == (480, 8)


BODIES = [
    wav(NOISE[:2000], 8000, subtype, form)
    for subtype, form in (
        ("PCM_16", "WAV"), ("FLOAT", "WAVEX"), ("PCM_U8", "RF64"), ("IMA_ADPCM", "WAV"),
        ("GSM610", "WAV"), ("PCM_16", "W64"),
    )
]  # fmt: skip


@settings(max_examples=150)
@given(
    body=st.sampled_from(BODIES),
    changes=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255) | st.just(-1)), max_size=8),
    end=st.integers(0, 5000),
    numbers=st.lists(st.tuples(st.integers(4, 100), st.integers(0, 2**32 - 1)), max_size=2),
)
def test_no_body_is_a_fault_of_ours(
    body: bytes, changes: list[tuple[int, int]], end: int, numbers: list[tuple[int, int]]
) -> None:
    """However mangled, it is read within bounds or refused."""
    mangled = bytearray(body[:end] if end < 4000 else body)
    for place, value in changes:
        if place < len(mangled):
            mangled[place : place + 1] = b"" if value < 0 else bytes((value,))
    for place, number in numbers:
        if place + 4 <= len(mangled):
            struct.pack_into("<I", mangled, place, number)
    try:
        clip = read(bytes(mangled))
    except PreviewRefused as refusal:
        assert str(refusal).endswith(".")
        return
    samples, channels = clip.sound.shape
    assert 0 < samples <= 10 * clip.rate and 1 <= channels <= 8


@given(
    st.lists(st.floats(width=32), min_size=1, max_size=300),
    st.sampled_from(["FLOAT", "DOUBLE"]),
)
@settings(max_examples=20)
def test_no_sample_is_a_fault_of_ours(model: Model, samples: list[float], subtype: str) -> None:
    """Infinite, absurdly large and missing numbers become silence."""
    sound = np.array(samples, np.float32)
    with np.errstate(all="ignore"):
        body = wav(sound, 16000, subtype)
    cleaned, _ = soundfile.read(io.BytesIO(clean(body, model, None)))
    assert len(cleaned) == len(sound) and np.isfinite(cleaned).all()


# -- the worker


@pytest.fixture
async def made() -> AsyncIterator[Previews]:
    """Previews of a process."""
    made = Previews()
    yield made
    await made.close()


async def test_a_worker_makes_previews_as_live_streams_sound(made: Previews, model: Model) -> None:
    """It stays for the next one, also after a refusal; whoever is one too many is told so."""
    body = wav(NOISE)
    asked = [asyncio.create_task(made.make(body, None)) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    assert made.busy
    with pytest.raises(NoCapacity) as busy:
        await made.make(body, None)
    assert busy.value.retry_after_s > 0
    assert set(await asyncio.gather(*asked)) == {clean(body, model, None)}
    worker = made._worker
    with pytest.raises(PreviewRefused, match="not a WAV"):
        await made.make(b"hello", 3.0)
    assert await made.make(body, 6.0) == clean(body, model, 6.0)
    filtered = await made.make(body, None, post_filter=True)
    assert filtered == clean(body, model, None, post_filter=True) != clean(body, model, None)
    assert made._worker is worker and not made.busy


async def test_a_worker_that_dies_is_replaced(made: Previews, model: Model) -> None:
    """Who waited is told to try again; so it is after somebody gave up waiting."""
    body = wav(NOISE)
    await made.make(body, None)
    worker = made._worker
    assert worker is not None
    worker.kill()
    with pytest.raises(NoCapacity):
        await made.make(body, None)
    given_up = asyncio.create_task(made.make(body, None))
    await asyncio.sleep(0.05)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    assert made._worker is None
    assert await made.make(body, None) == clean(body, model, None)


async def test_a_worker_ends_when_it_takes_too_long_or_nobody_needs_it(
    made: Previews, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory is for those who come next."""
    with monkeypatch.context() as patch:
        patch.setattr(previews, "TIMEOUT_S", 0.001)
        with pytest.raises(NoCapacity):
            await made.make(wav(NOISE), None)
    assert made._worker is None
    monkeypatch.setattr(previews, "IDLE_S", 0.0)
    await made.make(wav(NOISE), None)
    worker = made._worker
    assert worker is not None
    assert await asyncio.wait_for(worker.wait(), 10) == 0
