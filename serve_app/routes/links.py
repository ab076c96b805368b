"""Invite links: their owner makes, sees and revokes them; a guest asks whose one it is."""

import time
from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from actors.errors import NotLive
from serve_app import links
from serve_app.callers import LINK_COOKIE, Caller, Hearer, bearer_of
from serve_app.errors import NotAGuest
from serve_app.schemas import Link, MadeLink, NewLink, OpenLink, rfc3339
from serve_app.services import Use

router = APIRouter(prefix="/api", tags=["links"])


@router.post("/links", status_code=201)
async def make_link(body: NewLink, caller: Caller, request: Request, use: Use) -> MadeLink:
    """Make a link by which people listen to the caller without an account."""
    await use.rates.count("links", caller)
    token, made = await use.links.make(
        caller,
        label=body.label,
        expires_in_s=body.expires_in_s,
        recordings=body.recordings,
    )
    site = use.settings.public_url or str(request.base_url).rstrip("/")
    return MadeLink(**_described(made, 0).model_dump(), url=f"{site}/l/{token}")


@router.get("/links")
async def list_links(caller: Caller, use: Use) -> list[Link]:
    """List the caller's links, the one that expires next first."""
    found = await use.links.of_user(caller)
    guests = await _guests(caller, use) if found else Counter[str | None]()
    return [_described(link, guests[link.id]) for link in found]


@router.delete("/links/{link_id}", status_code=204)
async def revoke_link(
    link_id: Annotated[str, Path(max_length=64)], caller: Caller, use: Use
) -> None:
    """Revoke a link: its guests hear nothing any more."""
    await use.links.end(caller, link_id)


@router.get("/link")
async def open_link(caller: Hearer, request: Request, response: Response, use: Use) -> OpenLink:
    """Tell a guest whom their link lets them hear; for recordings it sets a cookie."""
    if isinstance(caller, str):
        raise NotAGuest
    if caller.recordings:
        response.set_cookie(
            f"{LINK_COOKIE}{caller.id}",
            bearer_of(request) or "",
            max_age=round(caller.expires_at - time.time()),
            path="/api/recordings",
            httponly=True,
            samesite="strict",
            secure=use.settings.https,
        )
    return OpenLink(
        id=caller.id,
        username=caller.owner,
        expires_at=rfc3339(caller.expires_at),
        recordings=caller.recordings,
    )


async def _guests(owner: str, use: Use) -> Counter[str | None]:
    """Count who listens by each link."""
    try:
        return Counter(each.link for each in await use.streams.listeners(owner))
    except NotLive:
        return Counter()


def _described(link: links.Link, guests: int) -> Link:
    return Link(
        id=link.id,
        label=link.label,
        expires_at=rfc3339(link.expires_at),
        recordings=link.recordings,
        guests=guests,
    )
