"""What a recording is: its entry in the index, its states, and news of it."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from recordings.names import Copy, recording_key
from recordings.wav import SpoolMeta


class RecordingState(StrEnum):
    """A recording's progress. Only its stream's actor and the code that finishes it write this.

    `DELETED` is in no entry, only in what people are told.
    """

    RECORDING = "recording"
    STORING = "storing"
    READY = "ready"
    RECOVERED = "recovered"
    DELETED = "deleted"


STORED = (RecordingState.READY, RecordingState.RECOVERED)


class Reason(StrEnum):
    """Why a recording was deleted: by whom, or beyond which limit."""

    OWNER = "owner"
    ADMIN = "admin"
    QUOTA = "quota"
    AGE = "age"


@dataclass(frozen=True)
class Recording:
    """A stream's recorded sound. `started_at`: epoch seconds; `peaks`: up to 1,000 numbers 0..1.

    `copies`: the formats in which it is stored besides the WAV.
    """

    id: str
    username: str
    stream_id: str
    started_at: float
    duration_s: float
    size_bytes: int
    state: RecordingState
    peaks: tuple[float, ...]
    key: str
    title: str | None = None
    copies: tuple[Copy, ...] = ()

    @classmethod
    def of(cls, meta: SpoolMeta, state: RecordingState = RecordingState.RECORDING) -> Self:
        """Make the entry of a recording that has just begun."""
        return cls(
            id=meta.recording_id,
            username=meta.username,
            stream_id=meta.stream_id,
            started_at=meta.started_at,
            duration_s=0.0,
            size_bytes=0,
            state=state,
            peaks=(),
            key=recording_key(meta.username, meta.started_at, meta.recording_id),
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        state, peaks = RecordingState(fields.pop("state")), tuple(fields.pop("peaks"))
        copies = tuple(map(Copy, fields.pop("copies", ())))
        return cls(**fields, state=state, peaks=peaks, copies=copies)

    def to_json(self) -> str:
        """Write every field."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class RecordingChange:
    """A published change; `removed` means that the recording is gone, `reason` why."""

    recording: Recording
    removed: bool
    reason: Reason | None = None

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a message from `CHANNEL`. Raises ValueError, TypeError or KeyError on others."""
        fields = json.loads(text)
        reason = fields.get("reason")
        recording = Recording.from_json(fields["recording"])
        return cls(recording, bool(fields["removed"]), Reason(reason) if reason else None)
