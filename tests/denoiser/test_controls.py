"""Live controls: on time, in place, without a click."""

import numpy as np
import pytest

from actors.denoiser import Delay, Denoiser, Engine, Model, ModelName, load_model
from tests.denoiser.clips import Sound, denoise, noisy_clip, worst

ROUNDING = 1e-6
HOP = 480


def _tone(seconds: float = 1.0) -> Sound:
    """Make a low tone whose neighbouring samples differ by at most 0.016, so a click stands out."""
    time = np.arange(round(seconds * 48000)) / 48000
    return (0.5 * np.sin(2 * np.pi * 200 * time) + 0.1 * np.sin(2 * np.pi * 340 * time)).astype(
        np.float32
    )


def _steepest(sound: Sound) -> float:
    return float(np.max(np.abs(np.diff(sound))))


def test_off_is_the_original_delayed(denoiser: Denoiser) -> None:
    """With denoising off the original comes out, at the same time as the denoised sound would."""
    sound = noisy_clip("words", 1.0)
    denoiser.denoise = False
    assert worst(denoise(denoiser, sound), sound) <= ROUNDING


def test_no_attenuation_is_the_original_and_100_db_is_all(model: Model) -> None:
    """A limit of 0 dB removes nothing; 100 dB limits nothing, and neither does None."""
    sound = noisy_clip("words", 1.0)
    full = denoise(Denoiser(model), sound)
    outputs = {}
    for limit_db in (0.0, 100.0):
        denoiser = Denoiser(model)
        denoiser.attenuation_limit_db = limit_db
        outputs[limit_db] = denoise(denoiser, sound)
    assert worst(outputs[0.0], sound) <= ROUNDING
    assert worst(outputs[100.0], full) <= 2e-5
    assert worst(sound, full) > 0.05, "the model takes nothing away: this clip tests nothing"


@pytest.mark.parametrize("limit_db", [-1.0, float("nan")])
def test_an_impossible_limit_is_refused(denoiser: Denoiser, limit_db: float) -> None:
    """A negative attenuation limit gets a clear error, and the old one stays."""
    denoiser.attenuation_limit_db = 6
    with pytest.raises(ValueError, match="expected an attenuation limit of 0 dB or more"):
        denoiser.attenuation_limit_db = limit_db
    assert denoiser.attenuation_limit_db == 6


def test_switching_crossfades_over_one_hop(model: Model) -> None:
    """A change takes one hop: before it all old, after it all new, a crossfade in between."""
    sound = noisy_clip("words", 1.0)
    denoised, switched = Denoiser(model), Denoiser(model)
    at = 50 * HOP
    old = np.concatenate((denoised.process(sound), denoised.flush()))
    first = switched.process(sound[:at])
    switched.denoise = False
    output = np.concatenate((first, switched.process(sound[at:]), switched.flush()))
    original = np.concatenate((np.zeros(switched.latency_samples, np.float32), sound))
    assert worst(output[:at], old[:at]) == 0
    assert worst(output[at + HOP :], original[at + HOP :]) <= ROUNDING
    fade, low, high = (
        output[at : at + HOP],
        np.minimum(old, original)[at : at + HOP],
        np.maximum(old, original)[at : at + HOP],
    )
    assert np.all(fade >= low - 0.05) and np.all(fade <= high + 0.05)


@pytest.mark.parametrize("name", ["dfn2", "dfn3"])
def test_the_post_filter_is_switched_for_one_stream(name: ModelName) -> None:
    """It changes no bit of a mate in the batch; after a while, nothing is left of it."""
    sound, model = noisy_clip("words", 1.0)[: 90 * HOP], load_model(name)

    def streamed(*, switched: bool) -> list[Sound]:
        engine = Engine(model, 2)
        slots = engine.join(), engine.join()
        for hop in range(0, len(sound), HOP):
            slots[0].post_filter = switched and 20 * HOP <= hop < 40 * HOP
            for slot in slots:
                slot.push(sound[hop : hop + HOP])
            engine.step()
        return [slot.take() for slot in slots]

    (plain, mate), (switched, mate_of_switched) = streamed(switched=False), streamed(switched=True)
    assert np.array_equal(mate, mate_of_switched)
    differs = np.flatnonzero(np.abs(plain - switched).reshape(-1, HOP).max(axis=1) > 1e-4)
    assert 20 <= differs[0] <= 24 and 39 <= differs[-1] <= 40 + 9
    rest = 50 * HOP
    assert worst(plain[rest:], switched[rest:]) == 0


@pytest.mark.parametrize("control", ["denoise", "attenuation_limit_db"])
def test_switching_does_not_click(denoiser: Denoiser, control: str) -> None:
    """Controls switched back and forth every 50 ms never make samples jump."""
    sound = _tone()
    values = {"denoise": (False, True), "attenuation_limit_db": (0.0, None)}[control]
    outputs = []
    for number, start in enumerate(range(0, len(sound), 5 * HOP)):
        setattr(denoiser, control, values[number % 2])
        outputs.append(denoiser.process(sound[start : start + 5 * HOP]))
    output = np.concatenate(outputs)[4800:]
    # A fade from full scale to silence in one hop adds less than 0.01 to the steepest slope.
    assert _steepest(output) <= _steepest(sound) + 0.01
    # The two settings differ on this sound, so a hard cut between them would show.
    levels = np.std(output[: len(output) // 4800 * 4800].reshape(-1, 5 * HOP), axis=1)
    assert levels.max() > 1.5 * levels.min()


def test_lsnr_tells_speech_from_noise(denoiser: Denoiser) -> None:
    """The estimated local SNR is far higher for loud speech than for noise alone."""
    assert denoiser.lsnr == -15
    denoiser.process(np.random.default_rng(1).normal(0, 0.1, 48000).astype(np.float32))
    in_noise = denoiser.lsnr
    denoiser.reset()
    in_speech = [denoiser.lsnr for _ in _each_hop(denoiser, noisy_clip("words", 1.0) * 2)]
    assert -15 <= in_noise < 0
    assert 10 < max(in_speech) <= 35


def _each_hop(denoiser: Denoiser, sound: Sound) -> list[Sound]:
    return [denoiser.process(sound[start : start + HOP]) for start in range(0, len(sound), HOP)]


@pytest.mark.parametrize("lengths", [[1] * 700, [0, 5000, 0, 3], [2400, 2400], [960] * 5])
def test_the_delay_holds_whatever_comes(lengths: list[int]) -> None:
    """The delayed original has as many samples as the input, 2400 samples later, bit for bit."""
    delay = Delay(2400)
    sound = noisy_clip("voice", 1.0)[: sum(lengths)]
    output, start = [], 0
    for length in lengths:
        output.append(delay.process(sound[start : start + length]))
        assert len(output[-1]) == length
        start += length
    delayed = np.concatenate((np.zeros(2400, np.float32), sound))[: len(sound)]
    assert worst(np.concatenate(output), delayed) == 0


def test_a_reset_delay_is_silent_again() -> None:
    """After a reset nothing of the earlier sound comes out."""
    delay = Delay(480)
    delay.process(np.ones(480, np.float32))
    delay.reset()
    assert not delay.process(np.ones(480, np.float32)).any()
