"""The path of sound through a stream: decode, denoise, record, encode. No event loop.

The process's sound thread decodes, denoises and encodes; the stream's own thread writes to disk.
Both have bounded queues. Sound that does not fit is dropped and counted, and silence of the same
length replaces it, so the timeline holds.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from actors.denoiser import ModelName, Slot
from actors.fanout import EncodedFrame
from actors.opus import (
    FRAME_SAMPLES,
    MAX_PACKET_SAMPLES,
    MIN_FRAME_SAMPLES,
    SAMPLE_RATE,
    OpusDecoder,
    OpusEncoder,
    OpusError,
    Sound,
)
from actors.receive import Lost, Opus, Segment, Silence, opus_samples
from actors.sound_thread import Lane, SoundThread
from actors.spectrum import Spectrum
from actors.treatment import Change, Denoised, Treatment, Undenoised

MAX_WAITING_SEGMENTS = 50
"""One second of 20 ms packets between the network and the denoiser."""
MAX_CONCEALED_SAMPLES = 5760
"""120 ms, as long as libopus can conceal credibly; the rest of a longer loss is silence."""
FADE = np.linspace(1, 0, 240, dtype=np.float32)
"""5 ms, in which one source's sound goes over into the next one's, or into silence."""
AUDIBLE_SAMPLES = FRAME_SAMPLES
"""What libopus conceals is heard as a gap if it is longer than this."""
LONG_GAP_SAMPLES = SAMPLE_RATE
"""A silence of this length or more bypasses the model, which is flushed and reset instead."""
DEGRADED_S = 2.0
"""How long a stream counts as degraded after the thread had no time for some of its sound."""


@dataclass(frozen=True)
class Heard:
    """A segment of a publisher's sound, with the decoder of its source."""

    decoder: OpusDecoder
    segment: Segment

    @property
    def samples(self) -> int:
        """The segment's length."""
        if isinstance(self.segment, Opus):
            return opus_samples(self.segment.payload)
        return self.segment.samples


@dataclass(frozen=True)
class Gap:
    """`samples` without a publisher."""

    samples: int


@dataclass
class Levels:
    """What the publisher's page shows. dBFS is the RMS of the latest sound, -100 for silence."""

    input_dbfs: float = -100.0
    output_dbfs: float = -100.0
    lsnr: float = 0.0
    late_hops: int = 0


@dataclass(frozen=True)
class Controls:
    """How a stream's sound is treated; see `Slot`. Without `model` by what it began with.

    `may_pass`: in overload it may pass undenoised rather than be lost.
    """

    denoise: bool = True
    attenuation_limit_db: float | None = None
    post_filter: bool = False
    model: ModelName | None = None
    may_pass: bool = False

    def apply(self, slot: Slot) -> None:
        """Set what a slot does from the next hop on."""
        slot.attenuation_limit_db = self.attenuation_limit_db
        slot.post_filter = self.post_filter
        slot.denoise = self.denoise


@dataclass
class Skip:
    """Silence in place of sound that was dropped: after `comes_after` more samples of output."""

    comes_after: int
    samples: int


class Recording(Protocol):
    """Where a stream's denoised sound is kept."""

    def push(self, block: Sound | int) -> None:
        """Queue sound [T], or a number of silent samples, from any thread; never blocks."""


class Pipeline:
    """Owns the lane and the encoders of one stream."""

    def __init__(
        self,
        thread: SoundThread,
        *,
        name: str,
        recording: Recording,
        emit: Callable[[EncodedFrame], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """`emit` and `failed` are called on the sound thread; after `failed` no sound comes."""
        self.levels = Levels()
        self.gaps = 0
        """How often the publisher's sound was missing for long enough to be heard."""
        self.spectrum: Spectrum | None = None
        self.encode_denoised = False
        self.encode_original = False
        self.muted = False  # silence in place of whatever the publisher sends, after a short fade
        self._gain = 0.0  # of the last sample decoded
        self._thread = thread
        # Denoised and original, [2, T]. Leading silence aligns our frames with the publisher's;
        # otherwise each would wait for half of the next one. It is the same for all models.
        self._lead: Sound = np.zeros((2, thread.model.latency_samples % FRAME_SAMPLES), np.float32)
        self._unframed: Sound = self._lead
        self._encoders = OpusEncoder(), OpusEncoder()
        self._emit = emit
        self._position = 0
        self._dropped = DroppedSamples()
        self._skips: deque[Skip] = deque()
        self._missed_at = -math.inf  # when the thread had no time for some of the sound
        self._recording = recording
        self._decoder: OpusDecoder | None = None
        self._sounds = False  # whether the last that came was that decoder's sound
        self._lane = Lane[Heard | Gap](
            thread,
            f"{name} sound",
            capacity=MAX_WAITING_SEGMENTS,
            work=self._work,
            passed_on=self._pass_on,
            finished=self._end_of_sound,
            dropped=self._count_dropped,
            failed=failed,
        )
        self._controls = Controls()
        self._slot: Slot = self._lane.slot  # whose lsnr is shown
        self._treatment: Treatment = Denoised(self._slot)
        self._treated_as: ModelName | None = thread.model.name  # None: undenoised
        self._inside = 0  # samples that have not come out yet

    def start(self) -> None:
        """Start working. The caller must call `close`."""
        self._thread.open(self._lane)

    def control(self, controls: Controls) -> None:
        """Set how to denoise: from the next hop on, by another model a second later."""
        self._controls = controls  # first: a slot that comes meanwhile reads them
        for slot in tuple(self._lane.slots):
            controls.apply(slot)
        # Whoever wants no noise reduction does not miss it.
        self._lane.may_pass = controls.may_pass or not controls.denoise

    @property
    def degraded(self) -> bool:
        """Whether the thread has too little time to denoise this stream, or lost some of it."""
        passes = self._treated_as is None and self._controls.denoise
        return passes or time.monotonic() - self._missed_at < DEGRADED_S

    def push(self, item: Heard | Gap) -> None:
        """Queue sound; never blocks."""
        self._lane.push(item)

    def watch(self, watched: bool) -> None:
        """Make a spectrum while somebody watches it."""
        if watched != (self.spectrum is not None):
            self.spectrum = Spectrum() if watched else None

    @property
    def waiting(self) -> int:
        """How many segments wait for the sound thread."""
        return self._lane.waiting

    def close(self) -> None:
        """Finish what is queued. Call off the event loop. Errors have already gone to `failed`."""
        self._lane.close()

    def _count_dropped(self, item: Heard | Gap) -> None:
        self._dropped.add(item.samples)

    def _work(self, item: Heard | Gap) -> None:
        if dropped := self._dropped.take():
            self.levels.late_hops += math.ceil(dropped / self._thread.model.hop_samples)
            self._missed_at = time.monotonic()
            self._note_gap(dropped)
            self._skip(dropped)
        self._follow_controls()
        if isinstance(item, Gap):
            self._note_gap(item.samples)
            self._silence(item.samples)
        elif isinstance(item.segment, Silence):
            self._silence(item.segment.samples)
        else:
            self._sound(self._decode(item.decoder, item.segment))

    def _decode(self, decoder: OpusDecoder, segment: Opus | Lost) -> Sound:
        """Decode a segment; the first one after silence fades in, and so does another source's
        while the last one fades out."""
        sound = decode(decoder, segment)
        if isinstance(segment, Lost):
            self._note_gap(segment.samples - restorable(segment))
        if decoder is not self._decoder or not self._sounds:
            head = sound[: len(FADE)]
            head *= 1 - FADE[: len(head)]
            head += self._fading()[: len(head)]
            self._decoder = decoder
        self._sounds = True
        return self._audible(sound)

    def _audible(self, sound: Sound) -> Sound:
        """Silence sound while the stream is muted; where that changes it fades."""
        before, self._gain = self._gain, 0.0 if self.muted else 1.0
        if before == self._gain:
            return sound if self._gain else np.zeros_like(sound)
        faded = np.full_like(sound, self._gain)
        head = faded[: len(FADE)]
        head += (before - self._gain) * FADE[: len(head)]
        return sound * faded

    def _note_gap(self, samples: int) -> None:
        self.gaps += samples > AUDIBLE_SAMPLES

    def _fading(self) -> Sound:
        """Get what the last source would go on with, fading out: [240], silence if none sounds."""
        if self._decoder is None or not self._sounds or self.muted:
            return np.zeros_like(FADE)
        return self._decoder.conceal(len(FADE)) * FADE

    def _silence(self, samples: int) -> None:
        if samples and self._sounds:
            end = self._fading()[:samples]
            self._sounds = False
            self._sound(end)
            samples -= len(end)
        if samples < LONG_GAP_SAMPLES:
            self._sound(np.zeros(samples, np.float32))
            return
        self._end_of_sound()
        self._recording.push(samples)
        self._position += samples

    def _skip(self, samples: int) -> None:
        """Put silence in place of dropped sound; there is no time for the model to hear it."""
        if samples >= LONG_GAP_SAMPLES:
            self._silence(samples)
            return
        end = self._fading()[:samples] if self._sounds else np.empty(0, np.float32)
        self._sounds = False
        self._sound(end)
        self._skips.append(Skip(self._inside - sum(each.comes_after for each in self._skips),
                                samples - len(end)))  # fmt: skip

    def _sound(self, sound: Sound) -> None:
        """Have sound [T] treated."""
        if len(sound):
            self.levels.input_dbfs = _dbfs(sound)
            self._inside += len(sound)
            self._treatment.push(sound)

    # -- who treats it

    def _follow_controls(self) -> None:
        """Begin to treat the sound as it is wanted now, by another model or by none."""
        if isinstance(self._treatment, Change):
            return  # one after the other
        wanted = self._controls.model
        if wanted not in self._thread.models:
            wanted = self._thread.model.name
        passes = self._lane.passes and self._lane.may_pass
        if (None if passes else wanted) == self._treated_as:
            return
        after: Treatment
        if passes:
            after = Undenoised(self._slot.model)
        else:
            after = Denoised(self._new_slot(wanted))
        self._treated_as = None if passes else wanted
        for encoder in self._encoders:
            encoder.hurry(passes)
        if self._inside:
            self._treatment = Change(self._treatment, after, inside=self._inside)
        else:
            self._begin(after)

    def _new_slot(self, name: ModelName) -> Slot:
        slot = Slot(self._thread.models[name])
        self._lane.enter(slot)
        self._controls.apply(slot)
        return slot

    def _begin(self, treatment: Treatment) -> None:
        """Treat the sound by this one alone from now on."""
        for slot in tuple(self._lane.slots):
            if slot not in treatment.slots:
                self._lane.leave(slot)
        self._treatment = treatment
        for slot in treatment.slots:
            self._slot = slot

    def _end_of_sound(self) -> None:
        """Flush the last `latency` samples out of the model and reset it."""
        self._treatment.end()
        for slot in self._treatment.slots:
            self._thread.run_out(slot)
        self._pass_on()
        padding = -self._unframed.shape[1] % FRAME_SAMPLES
        self._unframed = np.pad(self._unframed, ((0, 0), (0, padding)))
        self._encode_frames()
        self._unframed = self._lead
        self._position -= padding + self._lead.shape[1]  # these belong to the silence that follows
        self._inside = 0
        latest = self._treatment.after if isinstance(self._treatment, Change) else self._treatment
        for slot in latest.slots:
            self._thread.reset(slot)
        self._begin(Denoised(*latest.slots) if latest.slots else Undenoised(self._slot.model))

    def _pass_on(self) -> None:
        """Record and encode what has come out."""
        both = self._treatment.take()
        if isinstance(self._treatment, Change) and self._treatment.over:
            self._begin(self._treatment.after)
        self._inside -= both.shape[1]
        if self._skips:
            both = self._with_skips(both)
        if not both.shape[1]:
            return
        self.levels.output_dbfs = _dbfs(both[0])
        self.levels.lsnr = self._slot.lsnr
        self._recording.push(both[0])
        self._watch(both)
        self._unframed = np.concatenate((self._unframed, both), axis=1)
        self._encode_frames()

    def _with_skips(self, both: Sound) -> Sound:
        """Put silence where sound was dropped."""
        pieces = []
        while self._skips and self._skips[0].comes_after <= both.shape[1]:
            skip = self._skips.popleft()
            before, both = np.split(both, [skip.comes_after], axis=1)
            pieces += [before, np.zeros((2, skip.samples), np.float32)]
        if self._skips:
            self._skips[0].comes_after -= both.shape[1]
        return np.concatenate((*pieces, both), axis=1)

    def _watch(self, both: Sound) -> None:
        if (spectrum := self.spectrum) is not None:
            before_and_after = both[::-1]
            spectrum.push(before_and_after, self._position + self._unframed.shape[1])
            spectrum.noise.push(before_and_after, self.levels.lsnr)

    def _encode_frames(self) -> None:
        while self._unframed.shape[1] >= FRAME_SAMPLES:
            denoised, original = self._unframed[:, :FRAME_SAMPLES]
            self._unframed = self._unframed[:, FRAME_SAMPLES:]
            frame = EncodedFrame(
                self._position,
                self._encoders[0].encode(denoised) if self.encode_denoised else None,
                self._encoders[1].encode(original) if self.encode_original else None,
            )
            self._position += FRAME_SAMPLES
            if frame.denoised or frame.original:
                self._emit(frame)


class DroppedSamples:
    """A counter that one thread adds to and another reads and resets."""

    def __init__(self) -> None:
        self._samples = 0
        self._lock = threading.Lock()

    def add(self, samples: int) -> None:
        """Add samples that a full queue dropped."""
        with self._lock:
            self._samples += samples

    def take(self) -> int:
        """Return the count and reset it to 0."""
        with self._lock:
            samples, self._samples = self._samples, 0
        return samples


def decode(decoder: OpusDecoder, segment: Opus | Lost) -> Sound:
    """Turn a segment into sound; conceal a packet that libopus rejects like a lost one."""
    if isinstance(segment, Opus):
        try:
            return decoder.decode(segment.payload)
        except OpusError:
            return decoder.conceal(opus_samples(segment.payload))
    restored = restorable(segment)
    concealed = min(segment.samples - restored, MAX_CONCEALED_SAMPLES)
    pieces = [
        decoder.conceal(concealed),
        np.zeros(segment.samples - restored - concealed, np.float32),
    ]
    if segment.following and restored:
        try:
            pieces.append(decoder.recover(segment.following, restored))
        except OpusError:
            pieces.append(decoder.conceal(restored))
    return np.concatenate(pieces)


def restorable(segment: Lost) -> int:
    """Count the samples that FEC may restore: those of the packet right before the next one."""
    samples = opus_samples(segment.following) if segment.following else 0
    samples = min(samples, segment.samples, MAX_PACKET_SAMPLES)
    return samples - samples % MIN_FRAME_SAMPLES


def _dbfs(sound: Sound) -> float:
    """Measure the RMS level of sound [T] in dB relative to full scale, at least -100."""
    if not len(sound):
        return -100.0
    power = float(np.dot(sound, sound)) / len(sound)
    return 10 * math.log10(max(power, 1e-10))
