"""Who listens to one stream, and who may not any more."""

from collections.abc import Iterator

from actors.sessions import ListenerSession, SessionState
from actors.status import Listening


class Audience:
    """The listener sessions of one stream, and the people whom its owner removed from it."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._sessions: dict[str, ListenerSession] = {}
        self._removed: set[str] = set()

    def __iter__(self) -> Iterator[ListenerSession]:
        return iter(list(self._sessions.values()))

    @property
    def _connected(self) -> list[ListenerSession]:
        return [each for each in self if each.state is SessionState.CONNECTED]

    @property
    def count(self) -> int:
        """How many people listen, not counting the owner."""
        return len({each.listener for each in self._connected} - {self._owner})

    @property
    def people(self) -> list[Listening]:
        """Who listens, not counting the owner, in the order in which they came."""
        sessions: dict[str, list[ListenerSession]] = {}
        for each in self._connected:
            if each.listener != self._owner:
                sessions.setdefault(each.listener, []).append(each)
        return [
            Listening(name, min(e.since for e in own), tuple(e.session_id for e in own))
            for name, own in sessions.items()
        ]

    def get(self, session_id: str) -> ListenerSession | None:
        """Get a session, None when it has ended."""
        return self._sessions.get(session_id)

    def of(self, username: str) -> list[ListenerSession]:
        """Get a person's sessions."""
        return [each for each in self if each.listener == username]

    def add(self, session: ListenerSession) -> None:
        """Add a session."""
        self._sessions[session.session_id] = session

    def drop(self, session: ListenerSession) -> None:
        """Forget a session that has ended."""
        self._sessions.pop(session.session_id, None)

    def remove(self, username: str) -> None:
        """Close a person's sessions and let them open no other."""
        self._removed.add(username)
        for each in self.of(username):
            each.close()

    def is_removed(self, username: str) -> bool:
        """Tell whether the owner removed this person."""
        return username in self._removed
