"""The table of limits in docs/api.md says what the code does, and leaves none of these out."""

import inspect
from asyncio.constants import SSL_HANDSHAKE_TIMEOUT
from pathlib import Path

from actors import (
    admission,
    audience,
    ice_lite,
    live_stream,
    preview,
    previews,
    sdp,
    sessions,
    stream,
)
from commands import cli
from deployments import presence, subscription
from recordings import index, quota
from serve_app import (
    bodies,
    friends,
    links,
    passwords,
    rates,
    readiness,
    schemas,
    settings,
    sign_ins,
)
from serve_app.http_server import Bounds
from serve_app.routes import media, recordings
from serve_app.routes import presence as socket

API = Path(__file__).parent.parent / "docs/api.md"
DAY_S = 86_400
BOUNDS = Bounds()
KIB, MIB = 1024, 1024 * 1024


def setting(name: str) -> object:
    """Get a setting's default."""
    return settings.Settings.model_fields[name].default


def invite(option: str) -> object:
    """Get a default of `hushcast accounts invite`."""
    return getattr(cli._parser().parse_args(["accounts", "invite"]), option)


def page_limit() -> int:
    """Get how many recordings one may ask for."""
    limit = inspect.signature(recordings.list_recordings, eval_str=True).parameters["limit"]
    [most] = [each.le for each in limit.annotation.__metadata__[0].metadata if hasattr(each, "le")]
    return int(most)


def title_limit() -> int:
    """Get how long a title may be."""
    schema = schemas.RecordingTitle.model_json_schema()["properties"]["title"]
    [most] = [each["maxLength"] for each in schema["anyOf"] if "maxLength" in each]
    return int(most)


IN_CODE: dict[str, object] = {
    "new accounts of an address": rates.USUAL["accounts"],
    "wrong passwords for a username from an address": rates.USUAL["sign_ins"],
    "new accounts of an address, in a day": rates.USUAL["accounts_per_day"],
    "wrong passwords from an address, for all usernames": rates.USUAL["sign_ins_per_address"],
    "wrong passwords for a username, from all addresses": rates.USUAL["sign_ins_per_name"],
    "wrong passwords of a signed-in user (change, deletion)": rates.USUAL["passwords"],
    "POST /whip and /whep of a user": rates.USUAL["offers"],
    "POST /whep by the guests of a link": rates.USUAL["guest_offers"],
    "new links of a user": rates.USUAL["links"],
    "changes of friends, requests and blocks by a user": rates.USUAL["friends"],
    "GET /api/users/NAME of others than friends, and of their recordings, by a user": rates.USUAL[
        "look_ups"
    ],
    "PATCH /api/stream, /api/recordings/ID and trickling of a user; "
    "trickling of a link's guests from an address": rates.USUAL["changes"],
    "copies of recordings that a user, or the guests of a link, have made": rates.USUAL["copies"],
    "POST /api/preview of a user": rates.USUAL["previews"],
    "streams from an address at a time": rates.USUAL["streams"],
    "passwords that a replica checks at a time": passwords.AT_ONCE,
    "passwords that wait to be checked, per replica": passwords.MAX_WAITING,
    "accounts that an invitation makes": invite("uses"),
    "days that an invitation is valid": invite("days"),
    "characters of a username": settings.USERNAME.partition("{")[2].strip("}").replace(",", " to "),
    "characters of a password": f"{passwords.MIN_CHARS} to {passwords.MAX_CHARS}",
    "sign-ins of a user": sign_ins.MAX_SIGN_INS,
    "days that a sign-in lasts unused": sign_ins.TTL_S // DAY_S,
    "friends and pending requests of a user": friends.MAX_FRIENDS,
    "blocks of a user": friends.MAX_BLOCKS,
    "links of a user": links.MAX_LINKS,
    "characters of a link's label": schemas.MAX_LINE_CHARS,
    "days that a link is valid": links.USUAL_S // DAY_S,
    "checks that /readyz makes": f"{1 / readiness.FRESH_S:g}/second",
    "length of a stream": f"{setting('max_stream_hours'):g} hours",
    "recordings of a user": f"{setting('max_gb_per_user')} GB",
    "free space on every disk": f"{quota.RESERVE_BYTES // MIB} MiB",
    "recordings in one answer": page_limit(),
    "seconds in which a deleted recording can be restored": index.UNDO_S,
    "characters of a title": title_limit(),
    "a request's address": f"{BOUNDS.url_bytes // KIB} KiB",
    "its headers, trailers and chunk headers included": f"{BOUNDS.head_bytes // KIB} KiB",
    "number of its headers": BOUNDS.headers,
    "seconds for a request to begin, and for its headers": BOUNDS.head_s,
    "seconds for its body": BOUNDS.body_s,
    "seconds that a connection lasts without a request": BOUNDS.idle_s,
    "the same, from a proxy on loopback": BOUNDS.idle_proxy_s,
    "seconds that an answer waits to be read, for each 48 KiB": BOUNDS.unread_s,
    "connections of an IPv4 address or IPv6 /64, not of a proxy": BOUNDS.per_address,
    "connections of all": BOUNDS.connections,
    "seconds for a TLS handshake, where hushcast serves HTTPS itself": SSL_HANDSHAKE_TIMEOUT,
    "hours that TURN credentials are good for new relays": media.TURN_TTL_S // 3600,
    "a presence message, all its frames": f"{BOUNDS.message_bytes // KIB} KiB",
    "frames of a presence message": BOUNDS.frames,
    f"messages and pings to the presence socket in {BOUNDS.socket_s:g} s": (
        f"{BOUNDS.socket_bytes // KIB} KiB"
    ),
    "sent to a presence socket and not read": f"{BOUNDS.unread_bytes // MIB} MiB",
    "body of JSON": f"{bodies.MAX_JSON_BYTES // KIB} KiB",
    "body of SDP": f"{bodies.MAX_SDP_BYTES // KIB} KiB",
    "body of a preview": f"{bodies.MAX_PREVIEW_BYTES // MIB} MiB",
    "seconds of a preview": preview.MAX_SECONDS,
    "channels of a preview": preview.MAX_CHANNELS,
    "previews that an actor makes or keeps waiting": previews.MAX_WAITING,
    "sections of an offer": sdp.MAX_SECTIONS,
    "lines of an offer": sdp.MAX_LINES,
    "sessions that try to publish a stream at a time": live_stream.MAX_PUBLISHERS,
    "sessions of one listener to a stream": audience.MAX_SESSIONS_OF_A_LISTENER,
    "of these, sessions that are still connecting": audience.MAX_CONNECTING_OF_A_LISTENER,
    "guests of a link": audience.MAX_GUESTS_OF_A_LINK,
    "of these, guests who are still connecting": audience.MAX_CONNECTING_GUESTS_OF_A_LINK,
    "listeners of an actor": setting("listeners_per_actor"),
    "listeners who wait to join at an actor": admission.MAX_WAITING,
    "sessions of an actor that are still connecting": stream.MAX_CONNECTING,
    "seconds until a session is connected": setting("connect_timeout_s"),
    "addresses that a session hears": ice_lite.MAX_SOURCES,
    "datagrams that wait in a session": ice_lite.MAX_DATAGRAMS,
    "seconds without a datagram": ice_lite.CONSENT_S,
    "SSRCs of a publisher's session": sessions.MAX_SOURCES,
    "data channel packets of a publisher's session": f"{sessions.MESSAGES_PER_SECOND:g}/second",
    "unfinished data channel chunks of a publisher's session": sessions.MAX_UNFINISHED_CHUNKS,
    "seconds without sound": setting("publisher_timeout_s"),
    "seconds that a stream waits for its publisher": setting("grace_s"),
    "presence sockets of a user, per replica": presence.MAX_SOCKETS_OF_A_USER,
    "presence sockets of a link, per replica": presence.MAX_SOCKETS_OF_A_LINK,
    "events that wait for a presence socket": subscription.MAX_QUEUED_EVENTS,
    "characters of a presence message": socket.MAX_MESSAGE_CHARS,
    "sessions published over a presence socket": socket.MAX_SESSIONS,
}
"""Every limit of the table, with its default."""


def table() -> dict[str, tuple[str, str]]:
    """Read the table: default and setting by limit."""
    text = API.read_text().partition("## Limits")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {limit: (default, named) for limit, default, named, _ in rows[2:]}


def written(value: object) -> str:
    """Write a default as the table does."""
    return f"{value:,g}" if isinstance(value, int | float) else str(value)


def test_every_default_is_the_codes() -> None:
    """A limit that changes is changed in the document; a new one is added to both."""
    told = {limit: default for limit, (default, _) in table().items()}
    assert told == {limit: written(value) for limit, value in IN_CODE.items()}


def test_rates_that_can_be_set_are_all_there() -> None:
    """Each name in HUSHCAST_LIMITS has its row."""
    named = [named for _, named in table().values()]
    for name in rates.USUAL:
        assert f"`HUSHCAST_LIMITS`: `{name}`" in named
