"""Sound that is broken, too loud or missing leaves no trace in the state."""

import time
from collections.abc import Iterator

import numpy as np
import pytest

from actors.denoiser import Denoiser
from actors.denoiser.cpu_executor import CpuExecutor
from actors.denoiser.features import Complex
from tests.denoiser.clips import Sound, denoise, noisy_clip, worst
from tests.denoiser.official import official_model

HOP = 480


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 3e38, -1e5])
def test_poison_is_taken_as_silence(denoiser: Denoiser, poison: float) -> None:
    """Invalid samples become silence of the same length, and are counted."""
    sound = noisy_clip("voice", 1.0)
    poisoned, silenced = sound.copy(), sound.copy()
    poisoned[20000:20003], silenced[20000:20003] = poison, 0
    assert worst(denoise(denoiser, poisoned), official_model().enhance(silenced)) <= 1e-5
    assert denoiser.bad_hops == 1


def test_only_poisoned_hops_are_counted(denoiser: Denoiser) -> None:
    """Two bad hops count as two, good ones as none, and a reset keeps the count."""
    bad = np.full(2 * HOP, np.nan, np.float32)
    denoiser.process(np.concatenate((np.zeros(HOP, np.float32), bad, np.ones(HOP, np.float32))))
    denoiser.reset()
    assert denoiser.bad_hops == 2


@pytest.mark.parametrize("gain", [10.0, 1000.0])
def test_loud_and_clipped_sound_is_exact(denoiser: Denoiser, gain: float) -> None:
    """Clipped sound, and sound far above full scale, is denoised as by the official program."""
    sound = noisy_clip("words", 1.0) * np.float32(gain)
    if gain == 10:
        sound = np.clip(sound, -1, 1)
    error = worst(denoise(denoiser, sound), official_model().enhance(sound))
    assert error <= 1e-5 * np.max(np.abs(sound))
    assert denoiser.bad_hops == 0


def test_silence_neither_slows_nor_harms(denoiser: Denoiser) -> None:
    """After 90 s of digital silence a hop takes as long as before, and speech is heard again.

    Without a floor the running unit norm would be denormal by then, and 0/0 a little later.
    """
    speech = noisy_clip("voice", 2.0)
    before_s = _median_hop_s(denoiser, speech)
    silence = np.zeros(HOP, np.float32)
    for _ in range(9000):
        output = denoiser.process(silence)
    assert np.max(np.abs(output)) < 1e-6
    assert not any(_denormals(array) for array in _state_arrays(denoiser))
    assert _median_hop_s(denoiser, np.zeros(96000, np.float32)) < 3 * before_s
    heard = np.concatenate([denoiser.process(speech), denoiser.flush()])[-len(speech) :]
    # The norms adapt for a second; then the output is as without the silence.
    official = official_model().enhance(speech)
    assert np.all(np.isfinite(heard))
    late = slice(72000, None)
    assert np.std(heard[late] - official[late]) < 0.2 * np.std(official[late])


def _state_arrays(denoiser: Denoiser) -> Iterator[Sound]:
    executor = denoiser._engine._executor
    assert isinstance(executor, CpuExecutor)
    yield from vars(executor._heard).values()
    yield from executor._network._state.values()
    yield from (array.view(np.float32) for array in _rings(executor))


def _rings(executor: CpuExecutor) -> Iterator[Complex]:
    filtered = executor._filtered
    yield from (filtered.noisy, filtered.low, filtered.coefs)


def _denormals(array: Sound) -> int:
    """Count denormal numbers, which take a processor a hundred times longer."""
    magnitude = np.abs(array)
    return int(np.count_nonzero((magnitude > 0) & (magnitude < np.finfo(np.float32).tiny)))


def _median_hop_s(denoiser: Denoiser, sound: Sound) -> float:
    times = []
    for start in range(0, len(sound) - HOP, HOP):
        begin = time.perf_counter()
        denoiser.process(sound[start : start + HOP])
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


@pytest.mark.parametrize("samples", [np.zeros(480), np.zeros((2, 480), np.float32)])
def test_what_is_not_mono_float32_is_refused(denoiser: Denoiser, samples: Sound) -> None:
    """Doubles and stereo get a clear error instead of wrong sound."""
    with pytest.raises(ValueError, match=r"expected float32 samples \[T\], got"):
        denoiser.process(samples)
