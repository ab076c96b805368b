"""A client of the HTTP API that waits when the server tells it to."""

import json
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from typing import Any

TIMEOUT_S = 30.0
PATIENCE_S = 120.0
SDP = "application/sdp"

Pause = Callable[[float], None]
"""Waits for some seconds; may raise to give up."""

# Without a proxy: the sound does not use one either.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ApiError(Exception):
    """The server refused or cannot be reached; the message is a sentence."""


class Missing(ApiError):
    """The server does not know what was asked for: 401 or 404."""


@dataclass(frozen=True)
class Answer:
    """What the server answered, and how long the last try took."""

    text: str
    headers: "Message[str, str]"
    took_s: float
    asked_at: float
    """On time.monotonic."""
    tries: int


class Api:
    """One caller of an instance. Calls block."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        self.token = token

    def get(self, path: str) -> Any:
        """Get what is at a path."""
        return json.loads(self.call("GET", path).text)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        pause: Pause = time.sleep,
        patience_s: float = PATIENCE_S,
    ) -> Answer:
        """Send a request, and retry after each `Retry-After` for up to `patience_s`.

        Text is sent as SDP. Raises ApiError, or Missing.
        """
        data, headers = _encode(body)
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        give_up = time.monotonic() + patience_s
        tries = 0
        while True:
            tries += 1
            asked_at = time.monotonic()
            try:
                with _opener.open(request, timeout=TIMEOUT_S) as response:
                    text = response.read().decode()
                    took_s = time.monotonic() - asked_at
                    return Answer(text, response.headers, took_s, asked_at, tries)
            except urllib.error.HTTPError as refusal:
                wait_s = _retry_after_s(refusal)
                if wait_s is None or time.monotonic() + wait_s > give_up:
                    raise _told(refusal, f"{method} {path}") from refusal
            except OSError as error:
                reason = getattr(error, "reason", error)
                raise ApiError(f"{self.url} cannot be reached: {reason}") from error
            pause(wait_s)


@dataclass
class Account:
    """An account that the load test made."""

    username: str
    api: Api
    password: str

    @classmethod
    def new(cls, url: str, role: str) -> "Account":
        """Choose a name and a password; nothing is sent yet."""
        name = f"load-{role}-{secrets.token_hex(5)}"
        return cls(name, Api(url), secrets.token_urlsafe(16))

    def create(self, pause: Pause, invite: str | None = None) -> None:
        """Create the account, with an invitation if one is needed, and sign in."""
        body = {"username": self.username, "password": self.password, "invite": invite}
        Api(self.api.url).call("POST", "/api/accounts", body, pause=pause)
        self.sign_in()

    def sign_in(self) -> None:
        """Get a token."""
        credentials = {"username": self.username, "password": self.password}
        answer = Api(self.api.url).call("POST", "/api/session", credentials)
        self.api.token = json.loads(answer.text)["token"]

    def befriend(self, other: "Account") -> None:
        """Become friends: one asks, the other accepts."""
        self.api.call("PUT", f"/api/friends/{other.username}")
        other.api.call("PUT", f"/api/friends/{self.username}")

    def stream(self) -> dict[str, Any] | None:
        """Get this account's stream."""
        stream: dict[str, Any] | None = self.api.get("/api/me")["stream"]
        return stream

    def remove(self) -> None:
        """Delete the account and everything in it; does nothing if there is none."""
        try:
            if self.api.token is None:
                self.sign_in()
            farewell = {"password": self.password}
            self.api.call("DELETE", "/api/me", farewell, patience_s=20)
        except Missing:
            return


def _encode(body: object) -> tuple[bytes | None, dict[str, str]]:
    if body is None:
        return None, {}
    if isinstance(body, str):
        return body.encode(), {"Content-Type": SDP}
    return json.dumps(body).encode(), {"Content-Type": "application/json"}


def _retry_after_s(refusal: urllib.error.HTTPError) -> float | None:
    told = refusal.headers.get("Retry-After", "")
    return float(told) if told.isdecimal() and refusal.code in (429, 503) else None


def _told(refusal: urllib.error.HTTPError, what: str) -> ApiError:
    text = refusal.read(1000).decode(errors="replace")
    try:
        text = json.loads(text)["detail"]
    except (ValueError, TypeError, KeyError):
        pass  # it did not come from hushcast: show what it said
    kind = Missing if refusal.code in (401, 404) else ApiError
    return kind(f"{what}: {refusal.code} {text}")
