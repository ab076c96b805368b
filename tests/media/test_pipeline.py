"""The path of sound: output is as long as input and aligned with it, whatever goes wrong."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from actors.denoiser import load_model
from actors.fanout import EncodedFrame
from actors.models import MODELS
from actors.opus import OpusDecoder
from actors.pipeline import Controls, Gap, Heard, Pipeline, decode
from actors.receive import Lost, Opus, Silence, opus_samples
from actors.sound_thread import SoundThread
from foundation.ids import new_id
from recordings.spool_thread import SpoolThread
from recordings.writer import RecordingWriter, SpoolMeta
from tests.denoiser.clips import noisy_clip
from tests.peers import encode
from tests.sounds import Sound, speech_like

SOUND = speech_like(2.0)
PACKETS = encode(SOUND)


@pytest.fixture
def thread() -> Iterator[SoundThread]:
    """A sound thread with the official model and places for two streams."""
    sound_thread = SoundThread(load_model(), streams=2)
    sound_thread.start()
    yield sound_thread
    sound_thread.close()


class Run:
    """A pipeline with a real spool, and all of its output."""

    def __init__(self, thread: SoundThread, folder: Path) -> None:
        self.frames: list[EncodedFrame] = []
        self.errors: list[BaseException] = []
        self.decoder = OpusDecoder()
        meta = SpoolMeta(new_id(), "alice", "stream-1", 1.7e9)
        path = folder / f"{meta.recording_id}.wav"
        self.spool = SpoolThread(
            lambda: RecordingWriter(path, meta, reserve_bytes=0), name="test spool"
        )
        self.spool.start()
        self.pipeline = Pipeline(
            thread,
            name="test",
            recording=self.spool,
            emit=self.frames.append,
            failed=self.errors.append,
        )
        self.pipeline.start()

    def play(self, packets: list[bytes]) -> None:
        """Push packets no faster than the pipeline takes them."""
        for payload in packets:
            self.pipeline.push(Heard(self.decoder, Opus(payload)))
            while self.pipeline.waiting:
                time.sleep(0.001)

    def finish(self) -> Sound:
        """Close it; returns the recorded sound, [T]."""
        self.pipeline.close()
        self.spool.close()
        assert self.spool.spool is not None and not self.errors
        sound, rate = soundfile.read(self.spool.spool, dtype="float32")
        assert rate == 48000
        return np.asarray(sound)


def offset(recorded: Sound, wanted: Sound) -> int:
    """Measure by correlation how many samples a recording lags behind what was said."""
    spectrum = np.fft.rfft(recorded, 2 * len(wanted)) * np.conj(
        np.fft.rfft(wanted, 2 * len(wanted))
    )
    lag = int(np.argmax(np.fft.irfft(spectrum)))
    return lag if lag < len(wanted) else lag - 2 * len(wanted)


def test_the_recording_is_as_long_as_the_sound_and_aligned_with_it(
    thread: SoundThread, tmp_path: Path
) -> None:
    """Not a sample more or less, and none of the model's latency: only the codec's 6.5 ms."""
    run = Run(thread, tmp_path)
    run.pipeline.control(Controls(denoise=False))
    run.play(PACKETS)
    recorded = run.finish()
    assert len(recorded) == len(PACKETS) * 960
    assert abs(offset(recorded, SOUND[: len(recorded)]) - 312) <= 2


def test_silences_and_losses_keep_the_timeline(thread: SoundThread, tmp_path: Path) -> None:
    """Pauses, losses and gaps of any length last exactly as long, even very long ones."""
    run = Run(thread, tmp_path)
    run.play(PACKETS[:10])
    for item in (
        Heard(run.decoder, Silence(2400)),
        Heard(run.decoder, Lost(1920, PACKETS[12])),
        Heard(run.decoder, Lost(48000 * 3, None)),
        Gap(48000 * 60 + 7),
        Gap(480),
    ):
        run.pipeline.push(item)
    run.play(PACKETS[:10])
    lengths = 20 * 960 + 2400 + 1920 + 48000 * 3 + 48000 * 60 + 7 + 480
    assert len(run.finish()) == lengths


def test_gaps_are_counted_where_they_are_heard(thread: SoundThread, tmp_path: Path) -> None:
    """Not what FEC or a moment of concealment covers, nor what the sender left out on purpose."""
    run = Run(thread, tmp_path)
    run.play(PACKETS[:10])
    for item, gaps in (
        (Heard(run.decoder, Lost(960, PACKETS[11])), 0),
        (Heard(run.decoder, Lost(1920, PACKETS[11])), 0),
        (Heard(run.decoder, Silence(96000)), 0),
        (Heard(run.decoder, Lost(2880, PACKETS[11])), 1),
        (Heard(run.decoder, Lost(1920, None)), 2),
        (Gap(48000), 3),
    ):
        run.pipeline.push(item)
        run.play(PACKETS[11:13])
        assert run.pipeline.gaps == gaps
    run.finish()


def test_what_the_queue_cannot_hold_is_silence_of_the_same_length(
    thread: SoundThread, tmp_path: Path
) -> None:
    """A pipeline that is too slow drops, counts, and keeps its timeline."""
    run = Run(thread, tmp_path)
    for payload in PACKETS * 4:
        run.pipeline.push(Heard(run.decoder, Opus(payload)))
    recorded = run.finish()
    assert run.pipeline.levels.late_hops > 0
    assert len(recorded) == 4 * len(PACKETS) * 960


def test_garbage_between_packets_is_concealed(thread: SoundThread, tmp_path: Path) -> None:
    """A packet that libopus refuses costs its 20 ms, not the stream."""
    run = Run(thread, tmp_path)
    run.play(PACKETS[:5])
    run.pipeline.push(Heard(run.decoder, Opus(b"\xf8\xff\xff\xff\xff" * 5)))
    run.play(PACKETS[5:10])
    run.finish()


@given(
    samples=st.integers(1, 20_000),
    following=st.one_of(st.none(), st.sampled_from(PACKETS), st.binary(min_size=1, max_size=80)),
)
def test_a_loss_has_its_length_whatever_follows(samples: int, following: bytes | None) -> None:
    """Garbage after a gap restores nothing and ends nothing; nor does a gap of odd length."""
    decoder = OpusDecoder()
    decoder.decode(PACKETS[0])
    assert len(decode(decoder, Lost(samples, following))) == samples


@given(payload=st.binary(min_size=1, max_size=80))
def test_a_packet_has_the_length_that_it_says(payload: bytes) -> None:
    """Garbage lasts as long as the packet order says."""
    assert len(decode(OpusDecoder(), Opus(payload))) == opus_samples(payload)


@pytest.mark.parametrize("pause", [0, 4800], ids=["at once", "after a pause"])
def test_another_source_takes_over_without_a_click(
    pause: int, thread: SoundThread, tmp_path: Path
) -> None:
    """A decoder of its own, and a short fade: no sample leaves the two tones' own range."""
    tone = 0.3 * np.sin(np.arange(48000) * 2 * np.pi * 300 / 48000).astype(np.float32)
    run = Run(thread, tmp_path)
    run.pipeline.control(Controls(denoise=False))
    run.play(encode(tone)[:20])
    if pause:
        run.pipeline.push(Gap(pause))
    run.decoder = OpusDecoder()
    run.play(encode(np.roll(tone, 77))[10:30])
    recorded = run.finish()
    assert len(recorded) == 40 * 960 + pause
    around = recorded[19 * 960 : 22 * 960 + pause]
    assert np.max(np.abs(around)) < 0.33
    assert np.max(np.abs(np.diff(around))) < 3 * 0.3 * 2 * np.pi * 300 / 48000


@pytest.mark.parametrize("missing", ["dropped", "dropped for long", "pause", "gap", "lost"])
def test_sound_comes_back_without_a_click(
    missing: str, thread: SoundThread, tmp_path: Path
) -> None:
    """Whatever was silent before: it fades in, at any place of a tone."""
    tone = 0.3 * np.sin(np.arange(96000) * 2 * np.pi * 437 / 48000).astype(np.float32)
    packets = encode(tone)
    for n in range(4):
        run = Run(thread, tmp_path)
        run.pipeline.control(Controls(denoise=False))
        run.play(packets[:20])
        if missing.startswith("dropped"):
            for packet in packets[20 : 95 if "long" in missing else 30]:
                run.pipeline._count_dropped(Heard(run.decoder, Opus(packet)))
        elif missing == "pause":
            run.pipeline.push(Heard(run.decoder, Silence(4800)))
        elif missing == "gap":
            run.pipeline.push(Gap(4800))
        else:
            run.pipeline.push(Heard(run.decoder, Lost(19200, None)))
        run.play(packets[40 + n : 45 + n])
        recorded = run.finish()
        assert np.max(np.abs(np.diff(recorded))) < 2 * 0.3 * 2 * np.pi * 437 / 48000


def test_a_muted_stream_is_silent_and_as_long(thread: SoundThread, tmp_path: Path) -> None:
    """Whatever the publisher sends; the sound comes back when it is unmuted."""
    run = Run(thread, tmp_path)
    run.pipeline.control(Controls(denoise=False))
    run.pipeline.muted = True
    run.play(PACKETS[:50])
    run.pipeline.muted = False
    run.play(PACKETS[50:])
    recorded = run.finish()
    assert len(recorded) == len(PACKETS) * 960
    assert not recorded[: 48 * 960].any() and recorded[52 * 960 :].any()


def test_muting_fades(thread: SoundThread, tmp_path: Path) -> None:
    """Neither muting nor unmuting clicks, and nothing that came afterwards is heard."""
    tone = 0.3 * np.sin(np.arange(48000) * 2 * np.pi * 300 / 48000).astype(np.float32)
    run = Run(thread, tmp_path)
    run.pipeline.control(Controls(denoise=False))
    for muted, packets in ((False, slice(0, 15)), (True, slice(15, 30)), (False, slice(30, 45))):
        run.pipeline.muted = muted
        run.play(encode(tone)[packets])
    recorded = run.finish()
    assert not recorded[16 * 960 : 29 * 960].any()
    assert np.max(np.abs(np.diff(recorded))) < 2 * 0.3 * 2 * np.pi * 300 / 48000


def test_the_noise_removed_is_what_the_settings_allow(thread: SoundThread, tmp_path: Path) -> None:
    """Much by default, no more than a limit, nothing without reduction; more by a post-filter."""
    packets = encode(noisy_clip("words", 3.5))
    run = Run(thread, tmp_path)
    run.pipeline.watch(True)
    spectrum = run.pipeline.spectrum
    assert spectrum is not None
    removed = []
    for denoise, limit_db, post_filter in (
        (True, None, False), (True, 6.0, False), (False, None, False), (True, None, True),
    ):  # fmt: skip
        run.pipeline.control(Controls(denoise, limit_db, post_filter))
        run.play(packets)
        removed.append(spectrum.noise.decibels or 0.0)
    run.finish()
    assert removed[0] > 10 and 4 < removed[1] < 6.5 and removed[2] < 0.5, removed
    assert removed[3] > removed[0] + 1, removed
    assert sum(message[1] for message in spectrum.take()) > 20
    run.pipeline.watch(False)
    assert run.pipeline.spectrum is None


def test_frames_are_encoded_only_for_somebody(thread: SoundThread, tmp_path: Path) -> None:
    """Nothing is encoded without listeners; with them, both sounds come at the same moments."""
    run = Run(thread, tmp_path)
    run.play(PACKETS[:20])
    run.pipeline.encode_denoised = run.pipeline.encode_original = True
    run.play(PACKETS[20:60])
    run.finish()
    assert 0 < len(run.frames) < 60
    assert all(frame.denoised and frame.original for frame in run.frames)
    steps = np.diff([frame.position for frame in run.frames])
    assert set(steps) == {960}


def test_frames_leave_with_the_publishers(thread: SoundThread, tmp_path: Path) -> None:
    """No half frame waits for the next one: after n frames of 20 ms, n - 2 have been sent."""
    run = Run(thread, tmp_path)
    run.pipeline.encode_denoised = True
    for number in range(1, 30):
        run.play(PACKETS[number - 1 : number])
        deadline = time.monotonic() + 10
        while len(run.frames) < number - 2 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(run.frames) == max(0, number - 2)
    run.finish()


def test_a_long_pause_takes_its_time_for_listeners_too(thread: SoundThread, tmp_path: Path) -> None:
    """Positions follow the publisher's clock: padding of frames is not counted twice."""
    run = Run(thread, tmp_path)
    run.pipeline.encode_denoised = True
    run.play(PACKETS[:10])
    for _ in range(5):
        run.pipeline.push(Heard(run.decoder, Silence(96000)))
        run.play(PACKETS[:10])
    run.finish()
    positions = [frame.position for frame in run.frames]
    assert positions == sorted(positions)
    assert abs(positions[-1] + 960 - (60 * 960 + 5 * 96000)) <= 960


CLICK = 2e-3
"""Far below what is heard of a change of treatment; the codec makes more."""


@pytest.fixture(scope="module")
def every_model() -> Iterator[SoundThread]:
    """A sound thread with all models."""
    first, *others = map(load_model, MODELS)
    sound_thread = SoundThread(first, streams=2, others=others)
    sound_thread.start()
    yield sound_thread
    sound_thread.close()


def unchanged(thread: SoundThread, folder: Path, packets: list[bytes]) -> Sound:
    """Get what is recorded where nothing is reduced and nothing changes."""
    run = Run(thread, folder)
    run.pipeline.control(Controls(denoise=False))
    run.play(packets)
    return run.finish()


def test_a_change_of_model_moves_nothing(every_model: SoundThread, tmp_path: Path) -> None:
    """Between all latencies, up and down: not a sample is lost, moved or heard as a click."""
    packets = encode(speech_like(12.0))
    run = Run(every_model, tmp_path)
    names = [*MODELS, *reversed(list(MODELS))]
    for start, name in zip(range(0, len(packets), 75), names, strict=True):
        run.pipeline.control(Controls(denoise=False, model=name))
        run.play(packets[start : start + 75])
    recorded = run.finish()
    expected = unchanged(every_model, tmp_path, packets)
    assert len(recorded) == len(expected)
    assert np.max(np.abs(recorded - expected)) < CLICK


def test_another_model_is_heard_after_a_change(every_model: SoundThread, tmp_path: Path) -> None:
    """It sounds as if it had been there all the time, once it has heard enough."""
    packets = encode(noisy_clip("words", 6.0))
    expected = {}
    for name in MODELS:
        run = Run(every_model, tmp_path)
        run.pipeline.control(Controls(model=name))
        run.play(packets)
        expected[name] = run.finish()
    run = Run(every_model, tmp_path)
    run.play(packets[:100])
    run.pipeline.control(Controls(model="dfn3_ll"))
    run.play(packets[100:])
    recorded = run.finish()
    apart = np.std(expected["dfn3_ll"][240_000:] - expected["dfn2"][240_000:])
    assert np.array_equal(recorded[:96_000], expected["dfn2"][:96_000])
    assert np.std(recorded[240_000:] - expected["dfn3_ll"][240_000:]) < 0.2 * apart


def test_a_stream_begins_with_the_model_that_it_chose(
    every_model: SoundThread, tmp_path: Path
) -> None:
    """At once; a model that is not there is the usual one; so it is after a long pause."""
    packets = encode(noisy_clip("words", 1.0))
    chosen, usual = Run(every_model, tmp_path), Run(every_model, tmp_path)
    chosen.pipeline.control(Controls(model="dfn2"))
    usual.pipeline.control(Controls(model="of tomorrow"))  # type: ignore[arg-type]
    for run in (chosen, usual):
        run.play(packets)
        run.pipeline.control(Controls(model="dfn3"))
        run.pipeline.push(Gap(96_000))
        run.play(packets)
    recorded = chosen.finish()
    assert np.array_equal(recorded, usual.finish())
    fresh = Run(every_model, tmp_path)
    fresh.pipeline.control(Controls(model="dfn3"))
    fresh.play(packets)
    again = recorded[-len(packets) * 960 :]
    assert np.std(again - fresh.finish()) < 0.1 * np.std(again)


def test_sound_that_passes_is_the_original_where_it_would_be(
    every_model: SoundThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a click at either end, if it may: who did not allow it is denoised."""
    monkeypatch.setattr(SoundThread, "_look", lambda self: None)  # there is time enough
    packets = encode(noisy_clip("words", 6.0))
    expected = unchanged(every_model, tmp_path, packets)
    for may_pass in (True, False):
        run = Run(every_model, tmp_path)
        run.pipeline.control(Controls(may_pass=may_pass))
        run.play(packets[:100])
        run.pipeline._lane.passes = True
        run.play(packets[100:150])
        assert run.pipeline.degraded is may_pass
        run.pipeline._lane.passes = False
        run.play(packets[150:])
        assert not run.pipeline.degraded
        recorded = run.finish()
        assert len(recorded) == len(expected)
        error = np.abs(recorded - expected)
        passed, denoised = error[100 * 960 + 4000 : 150 * 960], error[250 * 960 :]
        assert (float(np.max(passed)) < CLICK) == may_pass
        assert np.max(denoised) > 10 * CLICK


def test_dropped_sound_is_silence_that_no_model_hears(thread: SoundThread, tmp_path: Path) -> None:
    """What comes before and after it is where it would be, even if no output is left to come."""
    packets = encode(SOUND)
    expected = unchanged(thread, tmp_path, packets)
    run = Run(thread, tmp_path)
    run.pipeline.control(Controls(denoise=False))
    run.play(packets[:40])
    for dropped in packets[40:55]:
        run.pipeline._count_dropped(Heard(run.decoder, Opus(dropped)))
        run.decoder.decode(dropped)
    run.play(packets[55:])
    assert run.pipeline.degraded and run.pipeline.gaps == 1
    recorded = run.finish()
    assert len(recorded) == len(expected)
    start, end = 40 * 960, 55 * 960
    assert not recorded[start + 240 : end].any()
    assert np.max(np.abs(recorded - expected)[:start]) < CLICK
    apart = np.abs(recorded - expected)[end + 9600 :]  # the decoder needs a while
    assert np.max(apart) < CLICK
