"""WHIP (RFC 9725) and WHEP: publish and listen with any standard client."""

import asyncio
import base64
import hashlib
import hmac
import time
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from deployments.streams import SessionAnswer
from serve_app.bodies import media_type
from serve_app.callers import From, Hearer, Hearing, Signed, session_owner
from serve_app.errors import NotAFriend, SessionChanged, WrongType
from serve_app.friends import NoSuchUser
from serve_app.links import Link
from serve_app.schemas import StreamStart
from serve_app.services import Use
from serve_app.settings import Settings

router = APIRouter(tags=["media"])

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
TURN_TTL_S = 2 * 3600
"""For making a relay: coturn lets one that was made be refreshed for as long as it is used."""

Session = Annotated[str, Path(max_length=64)]


@router.post("/whip", status_code=201)
async def publish(
    request: Request,
    token: Signed,
    place: From,
    use: Use,
    settings: Annotated[StreamStart, Query()],
) -> Response:
    """Begin to publish the caller's stream, with the settings that are given."""
    caller = token.username
    chosen = settings.model_dump(exclude_unset=True)
    use.loaded(chosen.get("model"))
    offer = await _offer(request)
    await use.rates.count("offers", caller)
    if not place.local:
        await use.publishers.begin(caller, place.counted, use.rates.streams)
    answer = await asyncio.shield(
        use.streams.publish(caller, offer, sign_in=token.token_id, settings=chosen)
    )
    return _created(answer, "/whip/sessions/", use.settings, caller)


@router.post("/whep/{name}", status_code=201)
async def listen(
    request: Request,
    name: Annotated[str, Path(max_length=64)],
    who: Hearing,
    use: Use,
    sound: Annotated[str, Query(pattern="^(original|denoised|both)$")] = "denoised",
) -> Response:
    """Begin to listen to a friend, the caller's own stream, or whom a guest's link is for."""
    offer = await _offer(request)
    original, both = sound == "original", sound == "both"
    if isinstance(who, Link):
        who.check(name)
        guest = who.guest
        await use.rates.count("guest_offers", who.id)
        answer = await asyncio.shield(
            use.streams.listen(guest.name, name, offer, original=original, both=both, guest=guest)
        )
        return _created(answer, "/whep/sessions/", use.settings, answer.session_id)
    caller = who.username
    await use.rates.count("offers", caller)
    if not await use.accounts.exists(name):
        raise NoSuchUser(name)
    if name != caller and not await use.accounts.are_friends(caller, name):
        raise NotAFriend(f"Only friends of {name} can listen.")
    answer = await asyncio.shield(
        use.streams.listen(caller, name, offer, original=original, both=both, sign_in=who.token_id)
    )
    return _created(answer, "/whep/sessions/", use.settings, caller)


@router.patch("/whip/sessions/{session}", status_code=204)
@router.patch("/whep/sessions/{session}", status_code=204)
async def trickle(
    request: Request, session: Session, caller: Hearer, place: From, use: Use
) -> Response:
    """Add ICE candidates to a session; an empty body adds none."""
    known = request.headers.get("if-match", "*")
    if known not in ("*", f'"{session}"'):
        raise SessionChanged("The ICE session has changed. Please post a new offer.")
    owner = session_owner(caller)
    # A link's guests are counted by where they come from: they do not know of each other.
    await use.rates.count("changes", owner, *([place.counted] if owner != caller else []))
    body = await request.body()
    if body and media_type(request) != FRAGMENT:
        raise WrongType("candidates", FRAGMENT)
    await use.streams.trickle(session, owner, body.decode(errors="replace"))
    return Response(status_code=204)  # RFC 9725, section 4.3.2: without an ETag


@router.delete("/whip/sessions/{session}")
@router.delete("/whep/sessions/{session}")
async def end_session(session: Session, caller: Hearer, use: Use) -> Response:
    """End a session; the stream with it if the session publishes it.

    The stream's owner thereby removes a listener.
    """
    await asyncio.shield(use.streams.end_session(session, session_owner(caller)))
    return Response(status_code=200)


@router.options("/whip", status_code=204)
@router.options("/whep/{name}", status_code=204)
async def endpoint_options() -> Response:
    """Say what may be posted; every answer here gets the CORS headers."""
    return Response(status_code=204, headers={"Accept-Post": SDP, "Allow": "POST, OPTIONS"})


@router.options("/whip/sessions/{session}", status_code=204)
@router.options("/whep/sessions/{session}", status_code=204)
async def session_options() -> Response:
    """Say how a session may be changed (RFC 5789, section 3.1)."""
    allow = "PATCH, DELETE, OPTIONS"
    return Response(status_code=204, headers={"Accept-Patch": FRAGMENT, "Allow": allow})


CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match, ETag, X-Request-ID",
    "Access-Control-Expose-Headers": (
        "Location, ETag, Link, Retry-After, X-Request-ID, Access-Control-Allow-Methods"
    ),
    "Access-Control-Max-Age": "600",
}
"""Any site may use WHIP and WHEP with a token; browsers send no cookies along.

Some clients send the session's ETag as a header of that name. Some read the allowed methods of the
endpoint to learn whether they may trickle to a session, so both have all of them.
"""


async def _offer(request: Request) -> str:
    if media_type(request) != SDP:
        raise WrongType("the offer", SDP)
    return (await request.body()).decode(errors="replace")


def _created(answer: SessionAnswer, place: str, settings: Settings, caller: str) -> Response:
    headers = {"Location": f"{place}{answer.session_id}", "ETag": f'"{answer.session_id}"'}
    if settings.turn_urls and settings.turn_secret:
        username, credential = turn_credentials(settings.turn_secret, caller)
        headers["Link"] = ", ".join(
            f'<{url}>; rel="ice-server"; username="{username}"; '
            f'credential="{credential}"; credential-type="password"'
            for url in settings.turn_urls
        )
    return Response(answer.answer_sdp, 201, headers, SDP)


def turn_credentials(secret: str, username: str) -> tuple[str, str]:
    """Make credentials for coturn's `use-auth-secret`: expiry:user, HMAC-SHA1."""
    name = f"{int(time.time()) + TURN_TTL_S}:{username}"
    digest = hmac.new(secret.encode(), name.encode(), hashlib.sha1).digest()
    return name, base64.b64encode(digest).decode()
