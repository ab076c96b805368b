"""The path of sound inside a stream: decode, denoise, record, encode. Two threads, no loop.

The first thread decodes, denoises and encodes; the second one writes to disk, so that a slow
disk costs no listener a frame. Both have bounded queues. What does not fit is dropped and
counted, and silence of the same length takes its place: the timeline holds.
"""

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actors.denoiser import Delay, Denoiser, Model
from actors.fanout import EncodedFrame
from actors.opus import FRAME_SAMPLES, SAMPLE_RATE, OpusDecoder, OpusEncoder, OpusError, Sound
from actors.receive import Lost, Opus, Segment, Silence, opus_samples
from actors.worker import WorkerThread
from recordings.writer import RecordingWriter

log = logging.getLogger(__name__)

MAX_WAITING_SEGMENTS = 50
"""One second of 20 ms packets between the network and the denoiser."""
MAX_UNWRITTEN_BLOCKS = 1500
"""Half a minute between the denoiser and the disk."""
MAX_CONCEALED_SAMPLES = 5760
"""What libopus can continue credibly, 120 ms; the rest of a longer loss is silence."""
LONG_GAP_SAMPLES = SAMPLE_RATE
"""A silence longer than this does not pass through the model: it is ended and begun anew."""


@dataclass(frozen=True)
class Heard:
    """A segment of a publisher's sound with the decoder that belongs to this publisher."""

    decoder: OpusDecoder
    segment: Segment

    @property
    def samples(self) -> int:
        """How long the segment is."""
        if isinstance(self.segment, Opus):
            return opus_samples(self.segment.payload)
        return self.segment.samples


@dataclass(frozen=True)
class Gap:
    """`samples` in which there was no publisher."""

    samples: int


@dataclass
class Levels:
    """What the publisher's page shows. dBFS are RMS over the newest frame, -100 is silence."""

    input_dbfs: float = -100.0
    output_dbfs: float = -100.0
    lsnr: float = 0.0
    late_hops: int = 0


class Pipeline:
    """Owns the threads, the model's state and the encoders of one stream."""

    def __init__(
        self,
        model: Model,
        *,
        name: str,
        open_recording: Callable[[], RecordingWriter],
        emit: Callable[[EncodedFrame], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """`emit` and `failed` are called on the worker's thread.

        `failed` tells that no sound comes any more. A disk that is full is no such end: the
        sound goes on live, and the recording keeps what was written.
        """
        self.denoiser = Denoiser(model)
        self.levels = Levels()
        self.encode_denoised = False
        self.encode_original = False
        self._delay = Delay(self.denoiser.latency_samples)
        self._warm_up = self.denoiser.latency_samples
        self._original: Sound = np.empty(0, np.float32)
        self._unframed: Sound = np.empty((2, 0), np.float32)  # denoised and original, [2, T]
        self._encoders = OpusEncoder(), OpusEncoder()
        self._emit = emit
        self._position = 0
        self._dropped = DroppedSamples()
        self._spool = Spool(open_recording, name=f"{name} spool")
        self._worker = WorkerThread[Heard | Gap](
            f"{name} sound",
            self._work,
            capacity=MAX_WAITING_SEGMENTS,
            dropped=self._count_dropped,
            failed=failed,
        )

    def start(self) -> None:
        """Begin to work; whoever starts a pipeline finishes it."""
        self._spool.start()
        self._worker.start()

    def push(self, item: Heard | Gap) -> None:
        """Queue sound; never blocks."""
        self._worker.push(item)

    @property
    def waiting(self) -> int:
        """How many segments wait for the worker."""
        return self._worker.waiting

    def finish(self) -> Path | None:
        """Work off what is queued, close the recording and get its spool. Call it off the loop.

        None when nothing was recorded. Errors of the two threads went to `failed` already.
        """
        self._worker.close()
        self._end_of_sound()
        return self._spool.finish()

    def _count_dropped(self, item: Heard | Gap) -> None:
        self._dropped.add(item.samples)
        self.levels.late_hops += math.ceil(item.samples / self.denoiser.hop_samples)

    def _work(self, item: Heard | Gap) -> None:
        self._silence(self._dropped.take())
        if isinstance(item, Gap):
            self._silence(item.samples)
        elif isinstance(item.segment, Silence):
            self._silence(item.segment.samples)
        else:
            self._sound(_decode(item.decoder, item.segment))

    def _silence(self, samples: int) -> None:
        if samples < LONG_GAP_SAMPLES:
            self._sound(np.zeros(samples, np.float32))
            return
        self._end_of_sound()
        self._spool.push(samples)
        self._position += samples

    def _sound(self, sound: Sound) -> None:
        """Denoise sound [T] and pass on what comes out, beside the original of the same moment."""
        if not len(sound):
            return
        denoised = self.denoiser.process(sound)
        self._original = np.concatenate((self._original, self._delay.process(sound)))
        self.levels.input_dbfs = _dbfs(sound)
        self.levels.output_dbfs = _dbfs(denoised)
        self.levels.lsnr = self.denoiser.lsnr
        self._pass_on(denoised)

    def _end_of_sound(self) -> None:
        """Get the last `latency` samples out of the model and make it ready for a new start."""
        tail = self._delay.process(np.zeros(self.denoiser.latency_samples, np.float32))
        self._original = np.concatenate((self._original, tail))
        self._pass_on(self.denoiser.flush())
        self._unframed = np.pad(
            self._unframed, ((0, 0), (0, -self._unframed.shape[1] % FRAME_SAMPLES))
        )
        self._encode_frames()
        self.denoiser.reset()
        self._delay.reset()
        self._original = np.empty(0, np.float32)
        self._warm_up = self.denoiser.latency_samples

    def _pass_on(self, denoised: Sound) -> None:
        """Record and encode what the model gave, except for its warm-up at a start.

        What is left out there is what `_end_of_sound` adds, so as much comes out as went in.
        """
        both = np.stack((denoised, self._original[: len(denoised)]))
        self._original = self._original[len(denoised) :]
        warm_up = min(self._warm_up, both.shape[1])
        self._warm_up -= warm_up
        both = both[:, warm_up:]
        if both.shape[1]:
            self._spool.push(both[0])
        self._unframed = np.concatenate((self._unframed, both), axis=1)
        self._encode_frames()

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


class Spool:
    """Writes a recording on a thread of its own, opened at the first sound."""

    def __init__(
        self,
        open_recording: Callable[[], RecordingWriter],
        *,
        name: str,
    ) -> None:
        self._open_recording = open_recording
        self._writer: RecordingWriter | None = None
        self._dropped = DroppedSamples()
        self._worker = WorkerThread[Sound | int](
            name,
            self._write,
            capacity=MAX_UNWRITTEN_BLOCKS,
            dropped=lambda item: self._dropped.add(item if isinstance(item, int) else len(item)),
            failed=lambda error: log.error("%s: the recording is cut short: %s", name, error),
        )

    def start(self) -> None:
        """Begin to write; whoever starts it finishes it."""
        self._worker.start()

    def push(self, item: Sound | int) -> None:
        """Queue sound [T], or a number of silent samples; never blocks."""
        self._worker.push(item)

    def finish(self) -> Path | None:
        """Write what is queued and close the file; None when there was nothing to write."""
        self._worker.close()
        if self._writer is None:
            return None
        self._writer.close()
        return self._writer.path

    def _write(self, item: Sound | int) -> None:
        if self._writer is None:
            self._writer = self._open_recording()
        if dropped := self._dropped.take():
            self._writer.write_silence(dropped)
        if isinstance(item, int):
            self._writer.write_silence(item)
        else:
            self._writer.write(item)


class DroppedSamples:
    """A count that one thread adds to and another one takes."""

    def __init__(self) -> None:
        self._samples = 0
        self._lock = threading.Lock()

    def add(self, samples: int) -> None:
        """Count samples that a full queue dropped."""
        with self._lock:
            self._samples += samples

    def take(self) -> int:
        """Get the count and begin at 0 again."""
        with self._lock:
            samples, self._samples = self._samples, 0
        return samples


def _decode(decoder: OpusDecoder, segment: Opus | Lost) -> Sound:
    """Turn a segment into sound; a packet that libopus refuses is concealed like a lost one."""
    if isinstance(segment, Opus):
        try:
            return decoder.decode(segment.payload)
        except OpusError:
            return decoder.conceal(opus_samples(segment.payload))
    # Only the packet right before `following` can be restored from it.
    restored = opus_samples(segment.following) if segment.following else 0
    restored = min(restored, segment.samples)
    concealed = min(segment.samples - restored, MAX_CONCEALED_SAMPLES)
    pieces = [
        decoder.conceal(concealed),
        np.zeros(segment.samples - restored - concealed, np.float32),
    ]
    if segment.following and restored:
        pieces.append(decoder.recover(segment.following, restored))
    return np.concatenate(pieces)


def _dbfs(sound: Sound) -> float:
    """Measure the RMS level of sound [T] in dB relative to full scale, -100 at least."""
    if not len(sound):
        return -100.0
    power = float(np.mean(np.square(sound, dtype=np.float64)))
    return 10 * math.log10(max(power, 1e-10))
