"""What the pages say of invitations, storage and administrators, in Chromium."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.async_api import expect

from recordings.quota import Quota
from tests.edge.conftest import MakeEdge
from tests.edge.test_recordings import recording_of
from tests.pages.site import beat, fill, served, sign_in

pytestmark = pytest.mark.slow


async def test_an_invitation_s_link_leads_to_an_account(
    make_edge: MakeEdge, tmp_path: Path
) -> None:
    """It fills the code in; without one the page asks for it, and only then. Enter creates it."""
    edge = make_edge(sign_up="invite")
    code = await edge.services.invitations.create()
    async with served(edge, tmp_path) as (page, url):
        await page.goto(url)
        field = page.get_by_test_id("invite")
        await expect(field).to_be_hidden()
        await sign_in(page, "ada", "create-account")
        await expect(field).to_be_visible()
        await page.goto(f"{url}/#invite={code}")
        await page.reload()
        await expect(field).to_have_value(code)
        await fill(page, "ada")
        await page.get_by_test_id("password").press("Enter")
        await expect(page.get_by_test_id("start")).to_be_visible()
        assert "invite" not in page.url
        await page.goto(f"{url}/u/nobody")
        await expect(page.get_by_text("There is no user")).to_be_visible()


async def test_a_closed_page_offers_no_account(make_edge: MakeEdge, tmp_path: Path) -> None:
    """It says whom to ask."""
    async with served(make_edge(sign_up="closed"), tmp_path) as (page, url):
        await page.goto(url)
        await expect(page.get_by_text("Ask whoever runs this hushcast")).to_be_visible()
        await expect(page.get_by_test_id("create-account")).to_be_hidden()


async def test_the_page_says_what_becomes_of_recordings(
    make_edge: MakeEdge, tmp_path: Path
) -> None:
    """Near the limit and at it before Start, and when it is reached."""
    edge = make_edge(max_gb_per_user=0.5)
    await edge.person("ada")
    recording = replace(recording_of("ada"), size_bytes=475_000_000)
    await edge.services.index.put(recording)
    async with served(edge, tmp_path) as (page, url):
        await page.goto(url)
        await sign_in(page, "ada")
        storage = page.get_by_test_id("storage")
        await expect(storage).to_contain_text("95 % of your 500 MB")
        await edge.services.index.put(replace(recording, size_bytes=499_500_000))
        await expect(storage).to_contain_text("500 MB for recordings is full")
        reason = Quota(500_000_000).full
        await edge.streams.store.tell_pages("ada", "quota", "01", "", reason=reason)
        await expect(page.get_by_test_id("notice")).to_have_text(reason)
        await edge.services.index.remove(recording.id)
        await expect(storage).to_be_hidden()


async def test_administrators_have_a_page(make_edge: MakeEdge, tmp_path: Path) -> None:
    """They end a stream, disable an account and enable it again; others find no way there."""
    edge = make_edge(admins=("root",))
    await edge.person("root")
    await edge.person("ada")
    beating = asyncio.create_task(beat(edge, "ada"))
    async with served(edge, tmp_path) as (page, url):
        await page.goto(url)
        await sign_in(page, "root")
        await page.get_by_test_id("admin").click()
        await page.get_by_test_id("end-ada").click()
        await page.get_by_test_id("confirm").click()
        await expect(page.get_by_text("Nobody is live.")).to_be_visible()
        await beating
        tool = page.get_by_test_id("disable-ada")
        await tool.click()
        await page.get_by_test_id("confirm").click()
        await expect(tool).to_have_text("Enable")
        await expect(page.get_by_text("administrator")).to_be_visible()
        await tool.click()
        await expect(tool).to_have_text("Disable")
        await page.get_by_test_id("sign-out").click()
        await sign_in(page, "ada")
        await expect(page.get_by_test_id("me")).to_be_visible()
        await expect(page.get_by_test_id("admin")).to_be_hidden()
