"""Reads what libsndfile does not know, with FFmpeg: m4a, mp4, webm, mkv, aac and so on; and MP3.

FFmpeg takes off what encoders add at either end (edit lists, pre-skip, LAME's header).
"""

import errno
from collections.abc import Iterator
from itertools import chain, groupby
from typing import BinaryIO

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard

from actors.samples import Sound
from commands.denoise.source import ROUGHLY_S, Form, Refused, Source

_CONTAINERS = {
    "mp3": "MP3", "flac": "FLAC", "ogg": "OGG", "aiff": "AIFF", "caf": "CAF", "au": "AU",
    "wav": "WAV",
}  # fmt: skip
"""Those of FFmpeg's formats that libsndfile writes."""
_OPTIONS = {"protocol_whitelist": "none"}
"""A playlist opens no other file and no host."""
_SUBTYPES = {
    "mp3": "MPEG_LAYER_III", "vorbis": "VORBIS", "opus": "OPUS",
    "adpcm_ima_wav": "IMA_ADPCM", "adpcm_ms": "MS_ADPCM", "gsm_ms": "GSM610",
}  # fmt: skip
"""FFmpeg's codecs that libsndfile writes."""
_LOSSLESS = {"u8": "PCM_U8", "s16": "PCM_16", "s32": "PCM_24", "flt": "FLOAT", "dbl": "DOUBLE"}
"""How to write what a lossless codec decodes to; hardly any uses more than 24 of 32 bits."""
_TAGS = {
    "title": "title", "artist": "artist", "album": "album", "comment": "comment", "date": "date",
    "genre": "genre", "copyright": "copyright", "track": "tracknumber",
}  # fmt: skip
"""FFmpeg's names and soundfile's."""


class MediaSource(Source):
    """One audio track of a file that FFmpeg reads. It closes both.

    Attributes:
        promised_s: how long it must be, if that is sure.
    """

    promised_s: float | None = None

    def __init__(
        self, file: BinaryIO, container: InputContainer, stream: AudioStream, name: str
    ) -> None:
        self._file = file
        self._container = container
        self._stream = stream
        self._damaged = 0
        self._padding = 0  # of the latest frame
        frames = self._decoded()
        first = next(frames, None)
        if first is None:
            raise Refused(f"{name}: its sound cannot be decoded")
        self._frames = chain([first], frames)
        self._layout = first.layout
        self.form = Form(
            container=_CONTAINERS.get(container.format.name, ""),
            subtype=_subtype(stream, first),
            rate=first.sample_rate,
            channels=first.layout.nb_channels,
            samples=None,
        )
        told = {tag.lower(): text for tag, text in (container.metadata | stream.metadata).items()}
        self.tags = {ours: told[theirs] for theirs, ours in _TAGS.items() if theirs in told}

    @property
    def seconds(self) -> float | None:
        if self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        return self._container.duration / av.time_base if self._container.duration else None

    def blocks(self) -> Iterator[Sound]:
        pieces: list[Sound] = []
        read = 0
        for frame in self._alike():
            if sum(map(len, pieces)) >= self.form.block_samples:
                yield np.concatenate(pieces)
                pieces = []
            samples = np.asarray(frame.to_ndarray(), np.float32)
            pieces.append(samples.reshape(-1, self.form.channels))
            read += len(pieces[-1])
        if pieces:
            last = pieces[-1]
            pieces[-1] = last[: len(last) - self._padding]
            yield np.concatenate(pieces)
        if self._damaged:
            packets = "packet was" if self._damaged == 1 else "packets were"
            self.note = f"{self._damaged} damaged {packets} left out"
        elif self.promised_s and self.promised_s - read / self.form.rate > ROUGHLY_S:
            missing_s = self.promised_s - read / self.form.rate
            self.note = f"{missing_s:.1f} s of its sound are missing"

    def close(self) -> None:
        self._container.close()
        self._file.close()

    def _alike(self) -> Iterator[AudioFrame]:
        """Turn all frames into floats, [1, T * channels], of the first one's rate and channels.

        A track may change in the middle. PyAV 18 reads beyond the planes of a frame that has eight
        or more, so floats are interleaved.
        """
        for _, frames in groupby(self._frames, _frame_form):
            resampler = AudioResampler("flt", self._layout, self.form.rate)
            for frame in chain(frames, [None]):
                yield from resampler.resample(frame)

    def _decoded(self) -> Iterator[AudioFrame]:
        """Decode the track; leaves out what is damaged, as ffmpeg does."""
        for packet in self._packets():
            try:
                for frame in self._stream.decode(packet):
                    self._padding = self._padding_of(frame)
                    frame.pts = None  # gaps stay closed
                    yield frame
            except av.FFmpegError:
                self._damaged += 1

    def _padding_of(self, frame: AudioFrame) -> int:
        """Count an MP4's samples behind its end, if this is its last frame: FFmpeg 8 does not."""
        if self._container.format.name.startswith("mov,") and frame.duration and frame.time_base:
            lasts = round(frame.duration * frame.time_base * frame.sample_rate)
            return max(0, frame.samples - lasts)
        return 0

    def _packets(self) -> "Iterator[Packet[AudioStream] | None]":
        try:
            yield from self._container.demux(self._stream)
        except (av.FFmpegError, OSError) as error:  # often the file ends in the middle
            if not _is_damage(error):
                raise
            self._damaged += 1
            yield None  # flushes the decoder


def open_media(file: BinaryIO, name: str) -> MediaSource:
    """Open the best audio track of a file, which the source closes.

    `name` is for messages. Raises Refused if there is none that can be decoded; OSError.
    """
    try:
        container = av.open(file, "r", options=_OPTIONS, metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        if not _is_damage(error):
            raise
        raise Refused(f"{name}: cannot be read as a sound file") from error
    try:
        if not container.streams.audio:
            raise Refused(f"{name}: holds no sound")
        stream = container.streams.best("audio")
        if not isinstance(stream, AudioStream):
            raise Refused(f"{name}: its sound cannot be decoded")
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        return MediaSource(file, container, stream, name)
    except BaseException:
        container.close()
        raise


def _is_damage(error: Exception) -> bool:
    """Tell a file's faults from a disk's; EINVAL is a position that no file has."""
    return isinstance(error, av.FFmpegError) or getattr(error, "errno", None) == errno.EINVAL


def _frame_form(frame: AudioFrame) -> tuple[int, int, str, str]:
    layout = frame.layout
    return frame.sample_rate, layout.nb_channels, layout.name, frame.format.name


def _subtype(stream: AudioStream, frame: AudioFrame) -> str:
    codec = stream.codec_context.codec
    if codec.lossless:
        return _LOSSLESS.get(frame.format.packed.name, "PCM_24")
    return _SUBTYPES.get(codec.canonical_name, codec.canonical_name.upper())
