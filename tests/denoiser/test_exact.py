"""Streaming equals the official offline program, however the sound is cut."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.denoiser import Denoiser, Model, ModelName, load_model
from actors.models import MODELS
from tests.denoiser.clips import CLIPS, Sound, denoise, noisy_clip, worst
from tests.denoiser.official import official_model

EXACT = 1e-5
"""What we promise. About 4e-7 was measured: rounding."""

LATENCY_SAMPLES: Mapping[ModelName, int] = {
    "dfn2": 2400,
    "dfn2_ll": 480,
    "dfn3": 1440,
    "dfn3_ll": 480,
}


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("name", MODELS)
def test_streaming_equals_the_official_program(name: ModelName, clip: str) -> None:
    """A clip streamed in 20 ms frames equals the official program's output, to its end."""
    sound = noisy_clip(clip)
    streamed = denoise(Denoiser(load_model(name)), sound, [960] * (len(sound) // 960))
    official = official_model(name).enhance(sound)
    assert worst(streamed, official) <= EXACT
    # The comparison means something: noise was removed, and what is left is not silence.
    assert np.std(official) < 0.9 * np.std(sound)
    assert np.std(official) > 0.3 * np.std(sound)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("lengths", [[1] * 2000, [0, 479, 1, 0, 480, 481], [3000] * 4, []])
def test_cutting_does_not_matter(name: ModelName, lengths: list[int]) -> None:
    """Single samples, empty pieces, large ones, all at once: the output is the same."""
    sound = noisy_clip("voice", 0.4)
    streamed = denoise(Denoiser(load_model(name)), sound, lengths)
    assert worst(streamed, official_model(name).enhance(sound)) <= EXACT


@settings(max_examples=20)
@given(
    name=st.sampled_from(list(MODELS)),
    length=st.integers(0, 15000),
    lengths=st.lists(st.integers(0, 3000), max_size=30),
)
def test_any_length_in_any_pieces(name: ModelName, length: int, lengths: list[int]) -> None:
    """A clip of any length, even empty, cut in any way, is exact to its last sample."""
    sound = noisy_clip("voice", 0.4)[:length]
    streamed = denoise(Denoiser(load_model(name)), sound, lengths)
    assert worst(streamed, official_model(name).enhance(sound)) <= EXACT


@settings(max_examples=15)
@given(lengths=st.lists(st.integers(0, 3000), max_size=12))
def test_whole_hops_come_out(lengths: list[int]) -> None:
    """After any input, as many whole hops have come out as gone in: the delay never changes."""
    denoiser = Denoiser(load_model())
    taken = given_back = 0
    for length in lengths:
        taken += length
        given_back += len(denoiser.process(np.zeros(length, np.float32)))
        assert given_back == taken // 480 * 480


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("remainder", [0, 1, 479])
def test_the_end_of_a_clip_is_exact(name: ModelName, remainder: int) -> None:
    """The last 100 ms, where the official program pads features, not sound, are exact."""
    sound = noisy_clip("voice", 0.5)[: 40 * 480 + remainder]
    tail = denoise(Denoiser(load_model(name)), sound)[-4800:]
    assert worst(tail, official_model(name).enhance(sound)[-4800:]) <= EXACT


@pytest.mark.parametrize("end", ["flush", "reset"])
def test_a_new_start_forgets_everything(denoiser: Denoiser, end: str) -> None:
    """After a flush or a reset in mid-hop, a clip comes out as from a new denoiser."""
    denoiser.process(noisy_clip("words", 0.5)[:12345] * 3)
    getattr(denoiser, end)()
    sound = noisy_clip("voice", 0.5)
    assert worst(denoise(denoiser, sound), official_model().enhance(sound)) <= EXACT


def test_streams_do_not_hear_each_other(model: Model) -> None:
    """Two streams of one model, fed in turns, each come out as if alone."""
    clips = noisy_clip("voice", 0.5), noisy_clip("words", 0.5)
    denoisers = Denoiser(model), Denoiser(model)
    outputs: tuple[list[Sound], list[Sound]] = ([], [])
    for start in range(0, len(clips[0]), 960):
        for denoiser, clip, output in zip(denoisers, clips, outputs, strict=True):
            output.append(denoiser.process(clip[start : start + 960]))
    for denoiser, clip, output in zip(denoisers, clips, outputs, strict=True):
        streamed = np.concatenate([*output, denoiser.flush()])[denoiser.latency_samples :]
        assert worst(streamed, official_model().enhance(clip)) <= EXACT


@pytest.mark.parametrize(("name", "latency"), LATENCY_SAMPLES.items())
def test_latency_is_what_it_says(name: ModelName, latency: int) -> None:
    """Sound comes out `latency_samples` later, where output and input match best."""
    denoiser = Denoiser(load_model(name))
    assert denoiser.latency_samples == latency
    sound = noisy_clip("words")
    streamed = np.concatenate((denoiser.process(sound), denoiser.flush()))
    size = 2 * len(streamed)
    spectra = np.fft.rfft(streamed, size), np.conj(np.fft.rfft(sound, size))
    assert int(np.argmax(np.fft.irfft(spectra[0] * spectra[1]))) == latency


@pytest.mark.parametrize("name", MODELS)
def test_attenuation_limit_is_the_official_one(name: ModelName) -> None:
    """12 dB of attenuation limit mixes as the official program does."""
    sound = noisy_clip("words", 1.0)
    denoiser = Denoiser(load_model(name))
    denoiser.attenuation_limit_db = 12
    official = official_model(name).enhance(sound, atten_lim_db=12)
    assert worst(denoise(denoiser, sound), official) <= EXACT


@pytest.mark.parametrize("limit_db", [None, 12])
@pytest.mark.parametrize("name", MODELS)
def test_the_post_filter_is_the_official_one(name: ModelName, limit_db: float | None) -> None:
    """As by `--pf`: DeepFilterNet2's changes the gains, DeepFilterNet3's what comes of both."""
    sound = noisy_clip("words", 1.0)
    denoiser = Denoiser(load_model(name))
    denoiser.post_filter, denoiser.attenuation_limit_db = True, limit_db
    official = official_model(name).enhance(sound, limit_db, post_filter=True)
    assert worst(denoise(denoiser, sound), official) <= EXACT
    assert worst(official, official_model(name).enhance(sound, limit_db)) > 100 * EXACT


@pytest.mark.parametrize(("name", "latency"), LATENCY_SAMPLES.items())
@pytest.mark.parametrize("at", [0, 777, 4800])
def test_latency_is_where_an_impulse_comes_out(name: ModelName, latency: int, at: int) -> None:
    """The model's stated latency follows from its configuration, and is true."""
    model = load_model(name)
    assert model.latency_samples == latency
    denoiser = Denoiser(model)
    denoiser.denoise = False
    impulse = np.zeros(9600, np.float32)
    impulse[at] = 1
    output = np.concatenate((denoiser.process(impulse), denoiser.flush()))
    assert int(np.argmax(np.abs(output))) == at + latency
    assert worst(np.delete(output, at + latency), np.zeros(len(output) - 1, np.float32)) <= 1e-6
