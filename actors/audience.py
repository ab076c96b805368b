"""Who listens to one stream, and who may not any more."""

from collections.abc import Iterator

from actors.access import is_guest
from actors.sessions import ListenerSession, SessionState
from actors.status import Listening


class Audience:
    """The listener sessions of one stream, and the people whom its owner removed from it.

    A user is one person however many sessions they have; each session of a guest is a person.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._sessions: dict[str, ListenerSession] = {}
        self._removed: set[str] = set()

    def __iter__(self) -> Iterator[ListenerSession]:
        return iter(list(self._sessions.values()))

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

    def remove(self, listener: str, session_id: str) -> None:
        """Close a person's sessions and let them open no other; of guests this session alone."""
        self._removed.add(session_id if is_guest(listener) else listener)
        for each in self.of(listener):
            if self.is_removed(_person(each)):
                each.close()

    def is_removed(self, person: str) -> bool:
        """Tell whether the owner removed this user, or guest's session."""
        return person in self._removed

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
