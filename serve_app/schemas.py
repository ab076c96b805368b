"""The messages of the API, in and out. Times are RFC 3339 UTC."""

import unicodedata
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    StrictBool,
    StringConstraints,
)

from actors.models import DEFAULT_MODEL
from actors.status import Listening, StreamState, StreamStatus
from recordings.index import Reason, RecordingChange, RecordingState
from recordings.index import Recording as KeptRecording
from recordings.peaks import fewer
from recordings.recording import STORED
from serve_app.links import LONGEST_S, SHORTEST_S, USUAL_S
from serve_app.settings import USERNAME
from serve_app.settings import SignUp as SignUpMode

Username = Annotated[str, Field(pattern=f"^{USERNAME}$", examples=["ada"])]
MAX_LINE_CHARS = 80
UNSEEN = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters that show nothing, besides the spaces and format characters of Unicode."""
TURNING = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])
"""Controls that turn the writing's direction, of what follows too."""


def _shown(text: str) -> str | None:
    """Get a line as it is shown, with single spaces; None if nothing would be seen of it."""
    line = " ".join(text.translate(TURNING).split())
    seen = (c not in UNSEEN and unicodedata.category(c) not in ("Cf", "Zs") for c in line)
    return line if any(seen) else None


Line = (
    Annotated[
        str,
        StringConstraints(
            strip_whitespace=True,
            max_length=MAX_LINE_CHARS,
            pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$",
        ),
        AfterValidator(_shown),
    ]
    | None
)
"""One line of text that people read; what shows nothing becomes null."""
ModelChoice = Annotated[str, Field(max_length=64)]
OptionalInQuery = BeforeValidator(lambda text: None if text in ("", "null") else text)
"""Query parameters know no null."""


class Credentials(BaseModel):
    """A name and a password."""

    username: Username
    password: str = Field(min_length=8, max_length=128)


class NewAccount(Credentials):
    """A name and a password, and an invitation where one is needed."""

    invite: str | None = Field(None, max_length=64)


class SignUp(BaseModel):
    """Who may create an account: anybody, who has an invitation, or nobody."""

    sign_up: SignUpMode


class SignIn(BaseModel):
    """What a user typed; anything that matches no account is simply wrong."""

    username: str = Field(max_length=128)
    password: str = Field(max_length=128)


class PasswordChange(BaseModel):
    """The password as it is, and as it shall be."""

    current: str = Field(max_length=128)
    new: str = Field(max_length=1024)


class Farewell(BaseModel):
    """What somebody types who wants their account deleted."""

    password: str = Field(max_length=128)


class Created(BaseModel):
    """A new account."""

    username: str


class SignedIn(BaseModel):
    """A sign-in: the token is also set as a cookie."""

    username: str
    token: str
    expires_at: str


class KnownSignIn(BaseModel):
    """Where the caller is signed in; `current`: by this request."""

    id: str
    created_at: str
    last_used_at: str
    current: bool
    address: str
    user_agent: str


class Stream(BaseModel):
    """A stream as its publisher and their friends see it."""

    username: str
    stream_id: str
    state: StreamState
    started_at: str | None
    listeners: int
    denoise: bool
    attenuation_limit_db: float | None
    share_original: bool
    muted: bool
    title: str | None
    post_filter: bool
    model: str
    undenoised_on_overload: bool
    degraded: bool
    part: int


class Listener(BaseModel):
    """Somebody who listens, and by which sessions; a guest has the label of a link for a name."""

    username: str | None
    label: str | None
    since: str
    sessions: list[str]


class NewLink(BaseModel):
    """What an invite link shall be. The label is for its owner, who sees it beside its guests."""

    label: Line = None
    expires_in_s: Annotated[int, Field(strict=True, ge=SHORTEST_S, le=LONGEST_S)] = USUAL_S
    recordings: StrictBool = False


class Link(BaseModel):
    """An invite link as its owner sees it; `guests`: how many listen by it now."""

    id: str
    label: str | None
    expires_at: str
    recordings: bool
    guests: int


class MadeLink(Link):
    """An invite link that was just made, with its page: nothing tells the address again."""

    url: str


class OpenLink(BaseModel):
    """An invite link as its guests see it: whom they hear."""

    id: str
    username: str
    expires_at: str
    recordings: bool


class Storage(BaseModel):
    """How large the caller's recordings are, and may be; `full`: the next is not recorded."""

    used_bytes: int
    limit_bytes: int | None
    full: bool


class Me(BaseModel):
    """The caller."""

    username: str
    stream: Stream | None
    session: str | None = None
    """Which session publishes the stream: the last part of its `Location`."""
    storage: Storage
    admin: bool
    models: list[str]
    """What a stream may choose, first what it begins with."""


class Account(BaseModel):
    """An account as administrators see it. Times are null where they are not known."""

    username: str
    created_at: str | None
    last_used_at: str | None
    disabled: bool
    admin: bool
    used_bytes: int


class AccountChange(BaseModel):
    """What administrators change of an account."""

    disabled: StrictBool


class Friend(BaseModel):
    """A friend and the friend's stream."""

    username: str
    stream: Stream | None


class Friends(BaseModel):
    """The caller's friends and open requests."""

    friends: list[Friend]
    incoming: list[str]
    outgoing: list[str]


class FriendState(BaseModel):
    """How far a friendship has come."""

    state: Literal["requested", "friends"]


class User(BaseModel):
    """A user, as far as the caller may see them."""

    username: str
    friend: bool
    stream: Stream | None


class StreamChange(BaseModel):
    """Changes to the caller's live stream; anything left out stays as it is."""

    denoise: StrictBool = True
    attenuation_limit_db: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] | None = (
        None
    )
    share_original: StrictBool = False
    muted: StrictBool = False
    title: Line = None
    post_filter: StrictBool = False
    model: ModelChoice = DEFAULT_MODEL
    undenoised_on_overload: StrictBool = False


class StreamStart(BaseModel):
    """The same as query parameters, for a stream that begins with them."""

    denoise: bool = True
    attenuation_limit_db: Annotated[
        Annotated[float, Field(ge=0, allow_inf_nan=False)] | None, OptionalInQuery
    ] = None
    share_original: bool = False
    muted: bool = False
    title: Annotated[Line, OptionalInQuery] = None
    post_filter: bool = False
    model: ModelChoice = DEFAULT_MODEL
    undenoised_on_overload: bool = False


class Recording(BaseModel):
    """A stream's kept audio; `peaks` are up to 1,000 numbers 0..1 for drawing.

    `formats` are those that play at once; `reason` says why it was deleted.
    """

    id: str
    username: str
    stream_id: str
    started_at: str
    duration_s: float
    size_bytes: int
    title: str | None
    state: RecordingState
    reason: Reason | None = None
    formats: list[str]
    peaks: list[float]


class RecordingTitle(BaseModel):
    """What the owner of a recording may change."""

    title: Line


class Problem(BaseModel):
    """Why something was refused: a sentence a person can act on."""

    detail: str


def rfc3339(seconds: float) -> str:
    """Write seconds since the epoch as RFC 3339, UTC, with milliseconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stream_of(status: StreamStatus | None) -> Stream | None:
    """Describe a stream to a caller who may hear it."""
    if status is None:
        return None
    return Stream(
        username=status.username,
        stream_id=status.stream_id,
        state=status.state,
        started_at=None if status.started_at is None else rfc3339(status.started_at),
        listeners=status.listeners,
        denoise=status.denoise,
        attenuation_limit_db=status.attenuation_limit_db,
        share_original=status.share_original,
        muted=status.muted,
        title=status.title,
        post_filter=status.post_filter,
        model=status.model,
        undenoised_on_overload=status.undenoised_on_overload,
        degraded=status.degraded,
        part=status.part,
    )


def listener_of(listening: Listening) -> Listener:
    """Describe a listener to the stream's owner."""
    return Listener(
        username=listening.username,
        label=listening.label,
        since=rfc3339(listening.since),
        sessions=list(listening.sessions),
    )


LISTED_PEAKS = 100
"""How many peaks a recording has in a list, or in the news."""


def recording_of(kept: KeptRecording, max_peaks: int = LISTED_PEAKS) -> Recording:
    """Describe a recording to a caller who may hear it."""
    stored = ["wav"] if kept.state in STORED else []
    return Recording(
        id=kept.id,
        username=kept.username,
        stream_id=kept.stream_id,
        started_at=rfc3339(kept.started_at),
        duration_s=round(kept.duration_s, 3),
        size_bytes=kept.size_bytes,
        title=kept.title,
        state=kept.state,
        formats=[*stored, *kept.copies],
        peaks=fewer(kept.peaks, max_peaks),
    )


def news_of(change: RecordingChange) -> Recording:
    """Describe a recording that has changed; one that was deleted has that as its state."""
    if change.reason is None:
        return recording_of(change.recording)
    told = recording_of(replace(change.recording, state=RecordingState.DELETED))
    return told.model_copy(update={"reason": change.reason})


def plain(model: BaseModel | None) -> Any:
    """Turn a message into plain JSON types."""
    return None if model is None else model.model_dump(mode="json")
