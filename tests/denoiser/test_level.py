"""Quiet sound is denoised as well as loud sound, on request."""

from collections.abc import Callable

import numpy as np
import pytest

from actors.denoiser import Denoiser, Engine, Model, ModelName, load_model
from actors.denoiser.torch_executor import TorchExecutor
from tests.denoiser.clips import Sound, babble, denoise, noisy_clip, worst
from tests.denoiser.official import official_model
from tests.sounds import spoken_words

QUIET = np.float32(0.1)


@pytest.fixture
def levelled() -> Model:
    return load_model(normalise_level=True)


def _si_sdr_db(clean: Sound, heard: Sound) -> float:
    """Measure scale-invariant SDR (Le Roux et al. 2019)."""
    wanted = clean * (np.dot(heard, clean) / np.dot(clean, clean))
    return float(10 * np.log10(np.sum(wanted**2) / np.sum((heard - wanted) ** 2)))


@pytest.mark.parametrize("clip, speech", [("voice", babble), ("words", spoken_words)])
def test_quiet_speech_loses_less(
    clip: str, speech: Callable[[float], Sound], model: Model, levelled: Model
) -> None:
    """Nothing changes at a usual level; 40 dB below it, several dB of SI-SDR are regained."""
    clean, noisy = speech(3.0)[:-77], noisy_clip(clip, 3.0)
    for gain, least_db, most_db in (1, -0.3, 0.3), (0.1, 0.3, 10), (0.01, 4, 20):
        sound = noisy * np.float32(gain)
        official_db = _si_sdr_db(clean, denoise(Denoiser(model), sound))
        ours_db = _si_sdr_db(clean, denoise(Denoiser(levelled), sound))
        print(f"{clip} x{gain}: SI-SDR {official_db:.1f} dB, normalised {ours_db:.1f} dB")
        assert least_db <= ours_db - official_db <= most_db


@pytest.mark.parametrize("name", ["dfn3", "dfn3_ll"])
@pytest.mark.parametrize("silence_s", [0.0, 0.5])
def test_a_quiet_stream_is_heard_from_the_start(name: ModelName, silence_s: float) -> None:
    """With a norm that begins where a loud stream's is, DeepFilterNet3 silenced six seconds."""
    levelled, plain = load_model(name, normalise_level=True), load_model(name)
    clean = np.pad(spoken_words(2.0), (round(48000 * silence_s), 0))
    wanted = denoise(Denoiser(plain), clean)
    for gain in (0.03, 0.01):
        heard = denoise(Denoiser(levelled), clean * np.float32(gain)) / np.float32(gain)
        assert np.std(heard) > 0.7 * np.std(wanted)


def test_it_is_off_unless_asked_for(model: Model) -> None:
    """By default the output is the official one, at any level."""
    quiet = noisy_clip("voice", 1.0) * QUIET
    assert worst(denoise(Denoiser(model), quiet), official_model().enhance(quiet)) <= 1e-6


def test_loud_sound_is_heard_as_it_is(levelled: Model, model: Model) -> None:
    """After a loud moment nothing changes while the peak lasts."""
    loud = np.clip(noisy_clip("voice", 2.0) * 8, -1, 1)
    first, second = (denoise(Denoiser(each), loud) for each in (levelled, model))
    assert worst(first[48000:], second[48000:]) <= 2e-3


def test_silence_is_not_made_loud(levelled: Model) -> None:
    """Digital silence stays silence, and what comes after it is valid sound."""
    denoiser = Denoiser(levelled)
    silent = denoiser.process(np.zeros(48000 * 5, np.float32))
    assert np.max(np.abs(silent)) < 1e-6
    assert np.all(np.isfinite(denoiser.process(noisy_clip("voice", 1.0))))


@pytest.mark.parametrize("name", ["dfn2", "dfn3"])
def test_both_executors_agree(name: ModelName) -> None:
    """The same gain on torch as on the CPU, and the same start after silence."""
    levelled = load_model(name, normalise_level=True)
    quiet = np.pad(noisy_clip("voice", 1.0) * QUIET * QUIET, (9000, 0))
    engine = Engine(levelled, 2, executor=TorchExecutor)
    slot = engine.join()
    slot.push(quiet)
    while engine.step():
        pass
    assert worst(slot.take(), Denoiser(levelled).process(quiet)) <= 2e-6
