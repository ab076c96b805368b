"""Our WAV header: RIFF or RF64, always the same length, with user, ids and start time in it.

Chunks, in order: JUNK, which becomes ds64 when sizes need 64 bits (EBU Tech 3306); bext (EBU
Tech 3285, version 1; the account's id ends its reserved bytes); fmt; data, which ends with the
file. 48 kHz, mono, PCM16.
"""

import struct
from dataclasses import dataclass
from datetime import UTC, datetime

from recordings.names import check_account, check_recording_id, check_stream_id, check_username

SAMPLE_RATE = 48_000
SAMPLE_BYTES = 2

_LAYOUT = struct.Struct(
    "<4sI4s"  # RIFF or RF64, size, WAVE
    "4sIQQQI"  # JUNK or ds64: RIFF size, data size, samples, no table
    "4sI256s32s32s10s8sQH222x32s"  # bext: what, who, id, date, time, samples since midnight,
    # version, account
    "4sIHHIIHH"  # fmt
    "4sI"  # data
)
HEADER_BYTES = _LAYOUT.size
_MAX_32 = 0xFFFF_FFFF
_DS64_BYTES, _BEXT_BYTES, _FMT_BYTES = 28, 602, 16
_DESCRIPTION = "hushcast stream "
_DAY_S = 86_400


class HeaderError(ValueError):
    """These bytes are not a header made by `pack_header`."""


@dataclass(frozen=True)
class SpoolMeta:
    """Whose sound it is and when it began (`started_at`, epoch seconds). The header holds it all.

    `account` is empty where it is not known, as in headers made before 0.3.
    Raises ValueError for names that could do harm in a path or a key.
    """

    recording_id: str
    username: str
    stream_id: str
    started_at: float
    account: str = ""

    def __post_init__(self) -> None:
        check_account(self.account)
        check_recording_id(self.recording_id)
        check_username(self.username)
        check_stream_id(self.stream_id)


def pack_header(meta: SpoolMeta, samples: int | None) -> bytes:
    """Make the header of a file with this many samples, RF64 if 32 bits are too few.

    None means open length: readers then go on to the end of the file, as with a stream.
    """
    data_bytes = _MAX_32 if samples is None else samples * SAMPLE_BYTES
    riff_bytes = HEADER_BYTES - 8 + data_bytes
    large = samples is not None and riff_bytes > _MAX_32
    started = datetime.fromtimestamp(int(meta.started_at), UTC)
    return _LAYOUT.pack(
        *(b"RF64" if large else b"RIFF", min(riff_bytes, _MAX_32), b"WAVE"),
        *(b"ds64" if large else b"JUNK", _DS64_BYTES),
        *((riff_bytes, data_bytes, samples or 0, 0) if large else (0, 0, 0, 0)),
        *(b"bext", _BEXT_BYTES, f"{_DESCRIPTION}{meta.stream_id}".encode()),
        *(meta.username.encode(), meta.recording_id.encode()),
        *(started.strftime("%Y-%m-%d").encode(), started.strftime("%H:%M:%S").encode()),
        *(int(meta.started_at % _DAY_S * SAMPLE_RATE), 1, meta.account.encode()),
        *(b"fmt ", _FMT_BYTES, 1, 1),
        *(SAMPLE_RATE, SAMPLE_RATE * SAMPLE_BYTES, SAMPLE_BYTES, 8 * SAMPLE_BYTES),
        *(b"data", _MAX_32 if large else data_bytes),
    )


def unpack_header(header: bytes) -> SpoolMeta:
    """Read the metadata back. Ignores the sizes, since a file may be longer than its header says.

    `started_at` is exact to 1/48000 s and never falls in another second. Raises HeaderError.
    """
    if len(header) < HEADER_BYTES:
        raise HeaderError(f"expected {HEADER_BYTES} bytes of header, got {len(header)}")
    fields = _LAYOUT.unpack_from(header)
    if fields[0] not in (b"RIFF", b"RF64") or (fields[9], fields[19]) != (b"bext", b"fmt "):
        raise HeaderError("not a hushcast WAV header")
    description, username, recording_id, date, account = (
        field.rstrip(b"\0").decode("ascii", "replace") for field in (*fields[11:15], fields[18])
    )
    try:
        midnight = datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC)
        return SpoolMeta(
            recording_id=recording_id,
            username=username,
            stream_id=description.removeprefix(_DESCRIPTION),
            started_at=midnight.timestamp() + fields[16] / SAMPLE_RATE,
            account=account,
        )
    except ValueError as error:
        raise HeaderError(str(error)) from error


def samples_in(file_bytes: int) -> int:
    """Count the whole samples in a WAV of ours of this size."""
    return max(0, file_bytes - HEADER_BYTES) // SAMPLE_BYTES
