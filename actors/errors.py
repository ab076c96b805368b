"""What can be refused on the media path. Raised where known, turned into HTTP by the ingress."""


class StreamError(Exception):
    """Base of every refusal; `str(error)` is a sentence a person can act on."""


class OfferRefused(StreamError):
    """The SDP offer cannot be answered: not SDP, no audio, no Opus, no ICE or DTLS."""


class FragmentRefused(StreamError):
    """The trickle fragment cannot be read (RFC 8840)."""


class IceRestartRefused(StreamError):
    """The fragment asks for an ICE restart; the client posts a new offer instead."""


class UnknownSession(StreamError):
    """There is no session of this id."""


class NotYourSession(StreamError):
    """The session belongs to somebody else."""


class NotLive(StreamError):
    """The user has no stream that could be heard or changed now."""


class OriginalNotShared(StreamError):
    """The publisher does not share the undenoised sound."""


class NoCapacity(StreamError):
    """No stream actor is free. One has been asked for; try again in `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: int = 5) -> None:
        super().__init__(message, retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return str(self.args[0])


class NoPlace(StreamError):
    """The actor that was asked keeps no place for this user's stream; another one may."""


class TooManySessions(StreamError):
    """This person has as many sessions of this stream as anybody may have."""


class ActorSilent(StreamError):
    """The stream's actor does not answer in time."""
