"""Stereo becomes mono without losing what only one channel has, or what is inverted in one."""

import numpy as np
import opuslib_next
import pytest

from actors.downmix import Downmix
from actors.opus import OpusDecoder
from tests.sounds import SAMPLE_RATE, Sound, speech_like

VOICE = speech_like(4.0)
OTHER = np.roll(VOICE[::-1], 12345)
NOISE = np.random.default_rng(1).normal(0, 1e-3, len(VOICE)).astype(np.float32)
SILENCE = np.zeros_like(VOICE)


def mixed(left: Sound, right: Sound) -> Sound:
    """Mix two channels in packets of 20 ms."""
    downmix, stereo = Downmix(), np.stack((left, right), axis=1)
    return np.concatenate([downmix.mix(stereo[at : at + 960]) for at in range(0, len(stereo), 960)])


def level_db(sound: Sound, wanted: Sound) -> float:
    """Measure a level against another's, in dB."""
    return float(10 * np.log10(np.mean(sound**2) / np.mean(wanted**2)))


@pytest.mark.parametrize(
    ("left", "right"),
    [(VOICE, VOICE), (VOICE, SILENCE), (SILENCE, VOICE), (VOICE, -VOICE), (VOICE, NOISE)],
    ids=["in phase", "left only", "right only", "inverted", "noise on the right"],
)
def test_a_voice_keeps_its_level_on_whatever_channels_it_comes(left: Sound, right: Sound) -> None:
    """From the first packet on, and its form too, perhaps with the other sign."""
    mono = mixed(left, right)
    assert abs(level_db(mono, VOICE)) < 0.1
    assert abs(np.corrcoef(mono, VOICE)[0, 1]) > 0.999
    assert abs(level_db(mono[:9600], VOICE[:9600])) < 0.2


def test_two_people_on_two_channels_keep_their_levels_as_they_take_turns() -> None:
    """No pumping: the gain for one does not depend on whether the other speaks."""
    turns = np.repeat([1, 0, 1, 1], len(VOICE) // 4).astype(np.float32)
    left, right = VOICE * turns, OTHER * np.roll(turns, 1)
    mono = mixed(left, right)
    assert np.max(np.abs(mono - (left + right))) < 0.15 * np.max(np.abs(mono))


@pytest.mark.parametrize(("left", "right"), [(1.0, 1.0), (1.0, 0.0), (1.0, -1.0), (0.3, 1.0)])
def test_a_steady_tone_has_a_steady_level(left: float, right: float) -> None:
    """The gains come to rest; there are no steps between packets."""
    tone = np.sin(np.arange(SAMPLE_RATE) * 2 * np.pi * 997 / SAMPLE_RATE).astype(np.float32) * 0.3
    mono = mixed(left * tone, right * tone)
    levels = [np.sqrt(np.mean(mono[at : at + 4800] ** 2)) for at in range(0, len(mono), 4800)]
    assert max(levels) / min(levels) < 1.01
    assert np.max(np.abs(np.diff(mono))) < 1.1 * np.max(np.abs(np.diff(tone)))


def test_silence_stays_silence() -> None:
    """Nothing is divided by nothing."""
    assert not mixed(SILENCE, SILENCE).any()
    assert len(Downmix().mix(np.empty((0, 2), np.float32))) == 0


@pytest.mark.parametrize("sign", [1.0, -1.0, 0.0], ids=["in phase", "inverted", "left only"])
def test_stereo_packets_are_heard(sign: float) -> None:
    """Through libopus: stereo, losses between, and mono packets of the same source."""
    encoder = opuslib_next.Encoder(SAMPLE_RATE, 2, "audio")
    stereo = np.stack((VOICE, sign * VOICE), axis=1).astype(np.float32)
    packets = [
        encoder.encode_float(stereo[at : at + 960].tobytes(), 960)
        for at in range(0, len(stereo), 960)
    ]
    assert all(packet[0] & 4 for packet in packets[5:])
    decoder = OpusDecoder()
    pieces = [decoder.conceal(960) if n == 50 else decoder.decode(p) for n, p in enumerate(packets)]
    assert all(len(piece) == 960 for piece in pieces)
    assert abs(level_db(np.concatenate(pieces), VOICE)) < 0.5
