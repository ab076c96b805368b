"""Who listens to one stream, how many may, and who may not any more."""

from collections.abc import Iterable, Iterator

from actors.access import Guest, is_guest
from actors.errors import RemovedFromStream, TooManySessions
from actors.sessions import ListenerSession, SessionState
from actors.status import Listening

MAX_SESSIONS_OF_A_LISTENER = 32
MAX_CONNECTING_OF_A_LISTENER = 8
"""How many of these may not be connected yet."""
MAX_GUESTS_OF_A_LINK = 100
MAX_CONNECTING_GUESTS_OF_A_LINK = 32


class Audience:
    """The listener sessions of one stream, and the people whom its owner removed from it.

    A user is one person however many sessions they have; each session of a guest is a person.

    Attributes:
        removed: the users, and the sessions of guests, that were removed.
    """

    def __init__(self, owner: str, removed: Iterable[str] = ()) -> None:
        self._owner = owner
        self._sessions: dict[str, ListenerSession] = {}
        self.removed = set(removed)
        self._removed_sentence = f"{owner} removed you from this stream."

    def __iter__(self) -> Iterator[ListenerSession]:
        return iter(list(self._sessions.values()))

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def _people(self) -> dict[str, list[ListenerSession]]:
        """The connected sessions of each person, without the owner, as they came."""
        people: dict[str, list[ListenerSession]] = {}
        for each in self:
            if each.state is SessionState.CONNECTED and each.listener != self._owner:
                people.setdefault(_person(each), []).append(each)
        return people

    @property
    def count(self) -> int:
        """How many people listen, not counting the owner."""
        return len(self._people)

    @property
    def people(self) -> list[Listening]:
        """Who listens, not counting the owner, in the order in which they came."""
        return [_listening(own) for own in self._people.values()]

    def get(self, session_id: str) -> ListenerSession | None:
        """Get a session, None when it has ended."""
        return self._sessions.get(session_id)

    def of(self, listener: str) -> list[ListenerSession]:
        """Get a user's sessions, or those of all guests of a link."""
        return [each for each in self if each.listener == listener]

    def add(self, session: ListenerSession) -> None:
        """Add a session."""
        self._sessions[session.session_id] = session

    def drop(self, session: ListenerSession) -> None:
        """Forget a session that has ended."""
        self._sessions.pop(session.session_id, None)

    def admit(self, listener: str, guest: Guest | None) -> None:
        """Check that a user, or another guest of a link, may begin to listen.

        Raises RemovedFromStream or TooManySessions.
        """
        if listener in self.removed:
            raise RemovedFromStream(self._removed_sentence)
        own = self.of(listener)
        connecting = sum(each.state is SessionState.CONNECTING for each in own)
        if guest is not None:
            if len(own) >= MAX_GUESTS_OF_A_LINK:
                raise TooManySessions(f"This link is at its limit of {len(own)} listeners.")
            if connecting >= MAX_CONNECTING_GUESTS_OF_A_LINK:
                raise TooManySessions("Many people are connecting right now. Please wait.")
            return
        if len(own) >= MAX_SESSIONS_OF_A_LISTENER:
            raise TooManySessions(f"You already listen to {self._owner} {len(own)} times.")
        if connecting >= MAX_CONNECTING_OF_A_LISTENER:
            raise TooManySessions(
                f"{connecting} of your sessions are still connecting. Please wait."
            )

    def remove(self, listener: str, session_id: str) -> str:
        """Close a person's sessions and let them open no other; of guests this session alone.

        Returns the sentence that tells them.
        """
        self.removed.add(session_id if is_guest(listener) else listener)
        for each in self.of(listener):
            if _person(each) in self.removed:
                each.close()
        return self._removed_sentence

    def expired(self, now: float) -> list[ListenerSession]:
        """Get the sessions of guests whose link has expired, at a time since the epoch."""
        return [each for each in self if each.guest and each.guest.expires_at <= now]


def _person(session: ListenerSession) -> str:
    return session.session_id if session.guest else session.listener


def _listening(sessions: list[ListenerSession]) -> Listening:
    first = sessions[0]
    return Listening(
        username=None if first.guest else first.listener,
        since=min(each.since for each in sessions),
        sessions=tuple(each.session_id for each in sessions),
        label=first.guest.label if first.guest else None,
        link=first.guest.link if first.guest else None,
    )
