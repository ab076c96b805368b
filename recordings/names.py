"""Names of recordings: ids, and keys in the bucket. Nothing unsafe gets into a path."""

import re
import unicodedata
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import quote

from foundation.ids import ALPHABET

KEY_PREFIX = "recordings/"
_ID = re.compile(rf"[{ALPHABET}]{{26}}")
_USERNAME = re.compile(r"[a-z0-9_-]{3,32}")
_ACCOUNT = re.compile(r"[0-9a-f]{0,32}")
_STREAM_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KEY = re.compile(
    rf"{KEY_PREFIX}(?P<username>{_USERNAME.pattern})/"
    rf"[0-9]{{8}}T[0-9]{{6}}Z_(?P<id>{_ID.pattern})\.wav"
)


class Copy(StrEnum):
    """The formats of the copies that are made of a WAV."""

    FLAC = "flac"
    SMALL = "small"


EXTENSIONS = {Copy.FLAC: ".flac", Copy.SMALL: ".m4a"}
MEDIA_TYPES = {Copy.FLAC: "audio/flac", Copy.SMALL: "audio/mp4"}

TAIL_EXTENSION = ".tail"

_NOT_IN_FILE_NAME = re.compile(r"""[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069/\\:*?"<>|%;]""")
_FILE_NAME = re.compile(rf"[A-Za-z0-9](?:(?!{_NOT_IN_FILE_NAME.pattern}).){{0,254}}")


def check_recording_id(recording_id: str) -> str:
    """Return the id. Raises ValueError unless it is one of ours."""
    if not _ID.fullmatch(recording_id):
        raise ValueError(f"not a recording id: {recording_id!r}")
    return recording_id


def check_username(username: str) -> str:
    """Return the name. Raises ValueError unless it is 3 to 32 of `a-z 0-9 _ -`."""
    if not _USERNAME.fullmatch(username):
        raise ValueError(f"a username has 3 to 32 of a-z 0-9 _ -, got {username!r}")
    return username


def check_account(account: str) -> str:
    """Return the id. Raises ValueError unless it is an account's, or empty."""
    if not _ACCOUNT.fullmatch(account):
        raise ValueError(f"not an account's id: {account!r}")
    return account


def check_stream_id(stream_id: str) -> str:
    """Return the id. Raises ValueError unless it is 1 to 64 of `A-Z a-z 0-9 _ -`."""
    if not _STREAM_ID.fullmatch(stream_id):
        raise ValueError(f"not a stream id: {stream_id!r}")
    return stream_id


def recording_key(username: str, started_at: float, recording_id: str) -> str:
    """Make `recordings/USERNAME/YYYYMMDDTHHMMSSZ_ID.wav`. Raises ValueError on unsafe names."""
    when = datetime.fromtimestamp(int(started_at), UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{KEY_PREFIX}{check_username(username)}/{when}_{check_recording_id(recording_id)}.wav"


def id_in_key(key: str) -> str | None:
    """Get the recording id from a key; None if `recording_key` would not make such a key."""
    match = _KEY.fullmatch(key)
    return match["id"] if match else None


def peaks_key(key: str) -> str:
    """Get the key of the peaks stored beside a recording."""
    return f"{key.removesuffix('.wav')}.peaks.json"


def tail_key(key: str) -> str:
    """Get the key of what is not yet a part of a recording in progress."""
    return f"{key.removesuffix('.wav')}{TAIL_EXTENSION}"


def copy_key(key: str, copy: Copy) -> str:
    """Get the key of a copy stored beside a recording."""
    return f"{key.removesuffix('.wav')}{EXTENSIONS[copy]}"


def attachment(name: str) -> str:
    """Make a Content-Disposition that downloads under a name (RFC 6266).

    Raises ValueError unless it is a plain file name.
    """
    if not _FILE_NAME.fullmatch(name):
        raise ValueError(f"not a plain file name: {name!r}")
    stem, dot, extension = name.rpartition(".")
    ascii = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    plain = " ".join(ascii.split()) + dot + extension
    told = f'attachment; filename="{plain}"'
    return told if plain == name else f"{told}; filename*=UTF-8''{quote(name, safe='')}"


def file_name(username: str, started_at: float, title: str | None, copy: Copy | None) -> str:
    """Name a download, without leading dashes or underscores, which trip up shells and tools."""
    moment = datetime.fromtimestamp(started_at, UTC)
    words = [username.lstrip("_-") or "recording", f"{moment:%Y-%m-%d %H.%M.%S}"]
    if title:
        words.append(_NOT_IN_FILE_NAME.sub(" ", title))
    return " ".join(" ".join(words).split()) + (EXTENSIONS[copy] if copy else ".wav")
