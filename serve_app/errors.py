"""What the ingress refuses, and the one table that maps every refusal to a status code."""

from ray.exceptions import RayError, RayTaskError

from actors import errors as stream
from foundation.redis import RedisUnavailable
from recordings.store import ObjectMissing, RangeNotSatisfiable, StoreUnavailable
from serve_app import accounts, friends, links, passwords
from serve_app.callers import ForeignOrigin, NotForGuests
from serve_app.invitations import InvitationRefused
from serve_app.publishers import TooManyStreams
from serve_app.rates import TooOften


class EdgeError(Exception):
    """Base of what the routes refuse; `str(error)` is a sentence a person can act on."""


class SignUpClosed(EdgeError):
    """Only `hushcast accounts` creates accounts here."""


class NameReserved(EdgeError):
    """The name is an administrator's."""


class NotAnAdmin(EdgeError):
    """Only names in HUSHCAST_ADMINS may do this."""


class NoSuchStream(EdgeError):
    """The user has no stream."""


class NotAFriend(EdgeError):
    """Only friends may do this."""


class NotAGuest(EdgeError):
    """Only an invite link's token can be asked whose it is."""

    def __init__(self) -> None:
        super().__init__("This is for the guests of a link.")


class NotYours(EdgeError):
    """Only the owner may do this."""


class NoSuchRecording(EdgeError):
    """It does not exist, or the caller may not know that it does."""

    def __init__(self) -> None:
        super().__init__("There is no such recording.")


class NotStoredYet(EdgeError):
    """It is still being recorded or stored."""


class WrongType(EdgeError):
    """The body has an unsupported media type; `accepted` is the one that it should have."""

    def __init__(self, what: str, accepted: str) -> None:
        super().__init__(f"Please send {what} as {accepted}.")
        self.accepted = accepted


class SessionChanged(EdgeError):
    """`If-Match` names another ICE session (RFC 9725, section 4.3)."""


STATUS: dict[type[Exception], int] = {
    accounts.UsernameTaken: 409,
    accounts.WrongCredentials: 401,
    accounts.WrongPassword: 403,
    accounts.AccountDisabled: 403,
    accounts.NoSuchSignIn: 404,
    passwords.UnfitPassword: 422,
    passwords.TooManyPasswords: 503,
    friends.NoSuchUser: 404,
    friends.NoSuchFriend: 404,
    friends.NotWithOneself: 422,
    friends.BlockedByYou: 409,
    friends.TooManyFriends: 409,
    friends.TooManyBlocks: 409,
    friends.Declined: 429,
    ForeignOrigin: 403,
    NotForGuests: 403,
    links.LinkRefused: 401,
    links.OwnerChanged: 401,
    links.AnotherOwner: 403,
    links.NoSuchLink: 404,
    links.TooManyLinks: 429,
    SignUpClosed: 403,
    InvitationRefused: 403,
    NameReserved: 409,
    TooOften: 429,
    NotAnAdmin: 403,
    NoSuchStream: 404,
    TooManyStreams: 429,
    NotAFriend: 403,
    NotAGuest: 403,
    NotYours: 403,
    NoSuchRecording: 404,
    NotStoredYet: 409,
    WrongType: 415,
    SessionChanged: 412,
    stream.OfferRefused: 400,
    stream.FragmentRefused: 400,
    stream.IceRestartRefused: 405,
    stream.UnknownSession: 404,
    stream.NotYourSession: 403,
    stream.NotLive: 409,
    stream.OriginalNotShared: 403,
    stream.RemovedFromStream: 403,
    stream.TooManySessions: 429,
    stream.PreviewRefused: 422,
    stream.ModelNotLoaded: 422,
    stream.NoCapacity: 503,
    stream.ActorSilent: 503,
    stream.StreamError: 503,
    RayError: 503,
    TimeoutError: 503,
    RedisUnavailable: 503,
    StoreUnavailable: 503,
    ObjectMissing: 404,
    RangeNotSatisfiable: 416,
}
"""Every refusal and its status. The detail is the error's own sentence, except for those below."""

SENTENCES: dict[type[Exception], str] = {
    RayError: "The streaming service is unavailable right now. Please try again.",
    TimeoutError: "This took too long. Please try again.",
    RedisUnavailable: "The service cannot reach its database right now. Please try again.",
    StoreUnavailable: "The service cannot reach its object storage right now. Please try again.",
    ObjectMissing: "The audio of this recording is missing.",
}
"""Sent instead of messages that describe our internals."""

RETRY_AFTER_S: dict[type[Exception], int] = {
    NotStoredYet: 2,
    stream.NotLive: 3,
    stream.TooManySessions: 15,
    TooManyStreams: 60,
    StoreUnavailable: 5,
}
"""When to try again, if the error itself does not say."""
UNAVAILABLE_RETRY_S = 2
"""For every other 503."""


def raised(error: Exception) -> Exception:
    """Unwrap what an actor or a deployment raised from Ray's error.

    A RayTaskError is a RayError, but it means that Ray reached the actor and its code failed.
    """
    return error.cause if isinstance(error, RayTaskError) else error


def kind_of(error: Exception) -> type[Exception] | None:
    """Find the class that the tables list for an error; None: it is not a refusal but a bug."""
    return next((kind for kind in type(error).__mro__ if kind in STATUS), None)


def retry_after_s(error: Exception) -> int | None:
    """Get the seconds to wait before trying again; None: trying again does not help."""
    if isinstance(error, TooOften | friends.Declined | stream.NoCapacity):
        return error.retry_after_s
    kind = kind_of(error)
    if kind is None:
        return None
    return RETRY_AFTER_S.get(kind, UNAVAILABLE_RETRY_S if STATUS[kind] == 503 else None)
