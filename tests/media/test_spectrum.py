"""What a publisher's page draws: levels are right, columns keep their place in time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.spectrum import (
    BANDS,
    COLUMN_SAMPLES,
    MAX_COLUMNS,
    VERSION,
    WINDOW_SAMPLES,
    NoiseRemoved,
    Spectrum,
    Transform,
)
from tests.sounds import Sound, noise

EDGES_HZ = 700 * (10 ** (np.linspace(0, np.log10(1 + 16000 / 700), BANDS + 1)) - 1)
"""Equally wide in mel, from 0 to 16 kHz."""
SECOND = 0.1 * noise(1.0)


def decibels(levels: bytes) -> Sound:
    """Read the levels of a message, dBFS."""
    return np.frombuffer(levels, np.uint8).astype(np.float32) * np.float32(0.5) - np.float32(120)


@pytest.mark.parametrize("hertz", [100, 440, 1000, 3000, 8000, 15500])
@pytest.mark.parametrize("amplitude", [1.0, 0.01])
def test_a_tone_is_in_its_band_with_its_level(hertz: float, amplitude: float) -> None:
    """RMS relative to full scale; bands far away are at least 50 dB below."""
    tone = amplitude * np.sin(2 * np.pi * hertz * np.arange(WINDOW_SAMPLES) / 48000)
    before, after = Transform()(np.stack((tone, np.zeros_like(tone))).astype(np.float32))
    levels = decibels(before.tobytes())
    band = int(np.searchsorted(EDGES_HZ, hertz)) - 1
    loudest = int(np.argmax(levels))
    assert abs(loudest - band) <= 1
    total = 10 * np.log10(np.sum(10 ** (levels / 10)))
    assert abs(total - 20 * np.log10(amplitude / np.sqrt(2))) < 1.5
    far = np.delete(levels, slice(max(0, loudest - 4), loudest + 5))
    assert far.max() < levels[loudest] - 50
    assert not after.any()


def test_all_bands_together_have_the_power_of_the_sound() -> None:
    """White noise of -40 dBFS: two thirds of it are below 16 kHz."""
    dice = np.random.default_rng(5)
    spectrum = Spectrum()
    spectrum.push(dice.normal(0, 0.01, (2, 48000)).astype(np.float32), 0)
    [message] = spectrum.take()
    powers = 10 ** (decibels(message[4:]).reshape(-1, 2, BANDS) / 10)
    found = 10 * np.log10(powers.sum(axis=2).mean(axis=0))
    assert np.abs(found - (-40 + 10 * np.log10(2 / 3))).max() < 0.5


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=60))
def test_columns_do_not_depend_on_how_the_sound_comes(cuts: list[int]) -> None:
    """Whatever the lengths of packets."""
    sound = np.stack((SECOND, 0.1 * SECOND))
    whole, pieces = Spectrum(), Spectrum()
    whole.push(sound, 0)
    position = 0
    for length in [*cuts, 48000]:
        block = sound[:, position : position + length]
        pieces.push(block, position)
        position += block.shape[1]
    assert pieces.take() == whole.take()


def test_a_gap_has_no_columns_and_those_after_it_have_later_numbers() -> None:
    """The picture keeps its time; numbers go round at 65536."""
    spectrum, block = Spectrum(), np.stack((SECOND, SECOND))[:, : 2 * COLUMN_SAMPLES]
    late = 65535 * COLUMN_SAMPLES
    for position in (0, late):
        spectrum.push(block, position)
    first, second = spectrum.take()
    assert first[:4] == bytes((VERSION, 2, 0, 0)) and second[:4] == bytes((VERSION, 2, 255, 255))
    assert len(first) == len(second) == 4 + 2 * 2 * BANDS
    spectrum.push(block, late + 2 * COLUMN_SAMPLES)
    assert spectrum.take()[0][:4] == bytes((VERSION, 2, 0, 1))
    assert spectrum.take() == []


def test_what_nobody_takes_is_bounded() -> None:
    """The newest columns stay."""
    spectrum, block = Spectrum(), np.zeros((2, COLUMN_SAMPLES), np.float32)
    for number in range(300):
        spectrum.push(block, number * COLUMN_SAMPLES)
    [message] = spectrum.take()
    assert message[:4] == bytes((VERSION, MAX_COLUMNS, 1, 300 - MAX_COLUMNS - 256))


def test_noise_is_measured_in_pauses_of_the_last_three_seconds() -> None:
    """Speech does not count; None without enough sound, or without noise in it."""
    removed, frame = NoiseRemoved(), noise(0.02)[:960]
    pause = np.stack((0.01 * frame, 0.001 * frame)).astype(np.float32)
    speech = np.stack((frame, frame))

    def push(both: Sound, lsnr: float, count: int) -> None:
        for _ in range(count):
            removed.push(both, lsnr)

    assert removed.decibels is None
    push(pause, -12.0, 9)
    assert removed.decibels is None, "it is too short"
    for _ in range(3):
        push(pause, -12.0, 10)
        push(speech, 20.0, 20)
    assert removed.decibels == pytest.approx(20, abs=0.01)
    push(speech, 20.0, 150)
    assert removed.decibels == pytest.approx(0, abs=0.01), "the quietest speech, as it came"
    push(np.float32(0.00001) * pause, -12.0, 150)
    assert removed.decibels is None, "there is nothing to remove"
    push(pause[::-1], -12.0, 150)
    assert removed.decibels == 0.0


def test_noise_in_which_the_network_finds_speech_is_measured_where_it_is_quietest() -> None:
    """Voices behind the speaker: there are pauses for listeners, if not for the network."""
    removed, frame = NoiseRemoved(), 0.1 * noise(0.02)[:960]
    for _ in range(15):
        for gain in (1.0, 1.0, 0.9, 0.05, 0.05):
            removed.push(np.stack((frame, gain * frame)).astype(np.float32), 5.0)
    assert removed.decibels == pytest.approx(26, abs=0.1)
