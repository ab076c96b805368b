"""Refusals of the media path. The ingress turns them into HTTP."""


class StreamError(Exception):
    """Base class of all refusals; `str(error)` is a sentence a person can act on."""


class OfferRefused(StreamError):
    """The SDP offer cannot be answered: not SDP, no audio, no Opus, no ICE or DTLS."""


class FragmentRefused(StreamError):
    """The trickle fragment cannot be read (RFC 8840)."""


class IceRestartRefused(StreamError):
    """The fragment asks for an ICE restart; the client must post a new offer instead."""


class UnknownSession(StreamError):
    """No session has this id."""


class NotYourSession(StreamError):
    """The session belongs to somebody else."""


class NotLive(StreamError):
    """The user has no stream to listen to or change."""


class OriginalNotShared(StreamError):
    """The publisher does not share the original sound."""


class RemovedFromStream(StreamError):
    """The publisher removed the listener; the stream is closed to them while it lasts."""


class PreviewRefused(StreamError):
    """The sound of a preview cannot be read, or is too long."""


class NoCapacity(StreamError):
    """There is no room for another stream or session now; retry after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: int = 5) -> None:
        super().__init__(message, retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return str(self.args[0])


class NoPlace(StreamError):
    """This actor has no place reserved for the user's stream; another one may."""


class NodeUnfit(StreamError):
    """No stream can be hosted on this node; the sentence says why and what to do."""

    def __init__(self, message: str, node_id: str = "") -> None:
        super().__init__(message, node_id)
        self.node_id = node_id

    def __str__(self) -> str:
        return str(self.args[0])


class TooManySessions(StreamError):
    """The caller has reached the limit on sessions for this stream."""


class ActorSilent(StreamError):
    """The stream's actor, or the cluster, did not answer in time."""


class ModelNotLoaded(StreamError):
    """Stream actors have other models."""
