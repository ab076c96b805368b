"""Encodes our PCM into the formats of copies.

`small` is Opus in an MP4. Safari plays Opus in MP4 from version 17 on, in Ogg only from 18.4 and in
WebM, on phones, from 17.4; Firefox and Chromium play all three. An MP4 has an index, here put in
front of the sound, so a player seeks by ranges without searching.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from recordings.names import Copy
from recordings.wav import SAMPLE_RATE

SMALL_BITRATE = 48_000
"""22 MB an hour, whatever the sound, with the index."""


@dataclass(frozen=True)
class Encoding:
    """How FFmpeg makes a format: container, codec, and their options."""

    container: str
    codec: str
    container_options: dict[str, str] = field(default_factory=dict)
    codec_options: dict[str, str] = field(default_factory=dict)


ENCODINGS = {
    Copy.SMALL: Encoding(
        "mp4",
        "libopus",
        {"movflags": "+faststart"},
        {"b": str(SMALL_BITRATE), "application": "audio", "vbr": "constrained"}
        | {"compression_level": "5"},
    ),
    Copy.FLAC: Encoding("flac", "flac", codec_options={"compression_level": "5"}),
}


def encode(
    sound: Iterable[NDArray[np.int16]],
    copy: Copy,
    path: Path,
    tags: Mapping[str, str] | None = None,
) -> int:
    """Write mono sound, 48 kHz, in pieces [T] of any length, to a file; returns the samples.

    `tags` are what players show, by FFmpeg's names: title, artist, date.
    """
    how = ENCODINGS[copy]
    samples = 0
    with av.open(str(path), "w", format=how.container, options=how.container_options) as file:
        file.metadata.update(tags or {})
        stream: Any = file.add_stream(how.codec, rate=SAMPLE_RATE, options=how.codec_options)
        assert isinstance(stream, AudioStream)
        stream.layout = "mono"
        for piece in sound:
            frame = av.AudioFrame.from_ndarray(piece[np.newaxis], format="s16", layout="mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE, samples
            file.mux(stream.encode(frame))
            samples += len(piece)
        file.mux(stream.encode(None))
    return samples
