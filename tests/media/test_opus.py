"""Opus: sound survives encoding, and losses are concealed."""

import ctypes

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.opus import (
    FRAME_SAMPLES,
    OpusDecoder,
    OpusEncoder,
    OpusError,
    _bundled_libopus,
    decodes,
)
from tests.sounds import Sound, speech_like


def test_sound_comes_back_through_the_codec() -> None:
    """A voice keeps its length, timing and spectrum; the codec may shift phases."""
    sound = speech_like(2.0)
    encoder, decoder = OpusEncoder(), OpusDecoder()
    back = np.concatenate([decoder.decode(encoder.encode(f)) for f in sound.reshape(-1, 960)])
    assert len(back) == len(sound)
    delay = 312  # the codec's own, 6.5 ms at 48 kHz
    similarity = np.corrcoef(magnitudes(sound[:-delay]), magnitudes(back[delay:]))[0, 1]
    assert similarity > 0.98


def test_an_encoder_in_a_hurry_sounds_nearly_the_same() -> None:
    """It may change at any frame, and back: then its packets are those of any other."""
    sound = speech_like(2.0)
    encoder, decoder = OpusEncoder(), OpusDecoder()
    pieces = []
    for n, frame in enumerate(sound.reshape(-1, 960)):
        encoder.hurry(n % 20 >= 10)
        pieces.append(decoder.decode(encoder.encode(frame)))
    back = np.concatenate(pieces)
    delay = 312
    similarity = np.corrcoef(magnitudes(sound[:-delay]), magnitudes(back[delay:]))[0, 1]
    assert similarity > 0.98
    calm = OpusEncoder()
    before = [calm.encode(frame) for frame in sound.reshape(-1, 960)]
    quick = OpusEncoder()
    quick.hurry(True)
    assert [quick.encode(frame) for frame in sound.reshape(-1, 960)] != before
    again = OpusEncoder()
    again.hurry(True)
    again.hurry(False)
    assert [again.encode(frame) for frame in sound.reshape(-1, 960)] == before


def magnitudes(sound: Sound) -> NDArray[np.float64]:
    """Measure the magnitude spectra [T/960 * 481] of windows of 20 ms."""
    windows = sound[: len(sound) // 960 * 960].reshape(-1, 960) * np.hanning(960)
    return np.abs(np.fft.rfft(windows)).ravel()


def test_a_lost_packet_is_restored_better_than_silence() -> None:
    """In-band FEC restores a lost frame closer to what was sent than zeros would be."""
    frames = speech_like(2.0).reshape(-1, 960)
    encoder, whole, lossy = OpusEncoder(bitrate=32000), OpusDecoder(), OpusDecoder()
    packets = [encoder.encode(frame) for frame in frames]
    wanted = [whole.decode(packet) for packet in packets]
    gain = []
    for index, packet in enumerate(packets):
        if index % 10 == 5:
            restored = lossy.recover(packets[index + 1], FRAME_SAMPLES)
            power = np.mean(wanted[index] ** 2)
            gain.append(power / max(1e-9, np.mean((restored - wanted[index]) ** 2)))
        else:
            lossy.decode(packet)
    assert np.median(gain) > 1


def test_concealment_has_the_length_that_was_asked_for() -> None:
    """A loss of any length is filled exactly."""
    decoder = OpusDecoder()
    decoder.decode(OpusEncoder().encode(speech_like(0.02)))
    for samples in (0, 1, 120, 960, 967, 5760, 12000):
        assert len(decoder.conceal(samples)) == samples


def test_garbage_is_refused() -> None:
    """Bytes that are not Opus raise OpusError and do not count as sound."""
    with pytest.raises(OpusError):
        OpusDecoder().decode(b"\xff\xff\xff\xff")
    assert not decodes(b"\xff\xff\xff\xff")
    assert decodes(OpusEncoder().encode(speech_like(0.02)))


def test_more_than_a_packet_is_not_restored() -> None:
    """Nothing is written beyond 120 ms."""
    with pytest.raises(ValueError, match="at most 5760 samples, got 5880"):
        OpusDecoder().recover(OpusEncoder().encode(speech_like(0.02)), 5880)


def test_a_frame_of_another_length_is_refused() -> None:
    """The encoder takes exactly 20 ms, and says so otherwise."""
    with pytest.raises(ValueError, match="expected 960 samples, got 480"):
        OpusEncoder().encode(np.zeros(480, np.float32))


def test_the_wheel_of_pyav_brings_a_libopus() -> None:
    """It works on a machine without a system libopus."""
    path = _bundled_libopus()
    assert path is not None
    version = ctypes.CDLL(path).opus_get_version_string
    version.restype = ctypes.c_char_p
    assert version().startswith(b"libopus")
