"""What a recording is: its entry in the index, its states, and news of it."""

import json
from dataclasses import asdict, dataclass, replace
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

    `copies`: the formats in which it is stored besides the WAV. `account`: the id of the account
    that it belongs to, empty if nobody knows; None before 0.3, when only the name counted.
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
    account: str | None = None

    @property
    def owner(self) -> str:
        """Name whose lists it is in; see `owner_of`."""
        return owner_of(self.username, self.account)

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
            account=meta.account or None,
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote, also that of a later release."""
        fields: dict[str, Any] = json.loads(text)
        state, peaks = RecordingState(fields.pop("state")), tuple(fields.pop("peaks"))
        copies = tuple(map(Copy, fields.pop("copies", ())))
        known = {name: value for name, value in fields.items() if name in cls.__dataclass_fields__}
        return cls(**known, state=state, peaks=peaks, copies=copies)

    def found(self) -> Self:
        """Get the entry of what was found in a spool or the bucket: a name alone claims nothing."""
        return replace(self, account=self.account or "")

    def to_json(self) -> str:
        """Write every field."""
        return json.dumps(asdict(self))


def owner_of(username: str, account: str | None) -> str:
    """Name an account as the index does: `#ID`, or its user's name if that is all that is known."""
    return username if account is None else f"#{account}"


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
