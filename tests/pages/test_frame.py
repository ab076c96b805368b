"""The frame around every view in Chromium: addresses, titles, focus, messages, fields."""

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import ConsoleMessage, Page, expect

from tests.app.browser import PHONE
from tests.edge.conftest import PASSWORD, Edge
from tests.pages.site import beat, fill, served, sign_in
from tests.waiting import until

pytestmark = pytest.mark.slow

LAYOUT = """() => ["main", "[data-testid=start]", "#friends"].map(
  (one) => document.querySelector(one).offsetTop)"""


def listen(page: Page) -> list[str]:
    """Note what the page complains about in the console."""
    errors: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            errors.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors


async def test_every_address_leads_somewhere(edge: Edge, tmp_path: Path) -> None:
    """A friend's link says whose page it is, and comes back to it; what leads nowhere says so."""
    await edge.person("ada")
    await edge.person("pub")
    await edge.befriend("ada", "pub")
    async with served(edge, tmp_path) as (page, url):
        errors = listen(page)
        await page.goto(f"{url}/u/Pub")
        await expect(page.get_by_test_id("whose-page")).to_contain_text("pub’s page")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        assert await page.title() == "Sign in · hushcast" and not errors
        await sign_in(page, "ada")
        await expect(page.get_by_role("heading", level=1)).to_have_text("pub")
        assert page.url == f"{url}/u/pub" and await page.title() == "pub · hushcast"
        assert not errors
        for path in ("/nothing", "/u/", "/u/%E0%A4%A", "/u/a%20b", f"/u/{'x' * 33}"):
            answer = await page.goto(url + path)
            assert answer and answer.status == 404
            await expect(page.get_by_test_id("nothing")).to_be_visible()
            assert await page.title() == "There is nothing here · hushcast"
        await page.get_by_role("link", name="Go to hushcast’s home page").click()
        await expect(page.get_by_test_id("start")).to_be_visible()
        await page.go_back()
        await expect(page.get_by_test_id("nothing")).to_be_visible()


async def test_the_keyboard_keeps_its_place(edge: Edge, tmp_path: Path) -> None:
    """A new view gives it the heading; an action that removes its button gives it the next one."""
    ada = await edge.person("ada")
    for name in ("bob", "eve"):
        await edge.person(name)
        await ada.http.put(f"/api/blocks/{name}")
    async with served(edge, tmp_path) as (page, url):
        await page.goto(url)
        await fill(page, "ada")
        await page.keyboard.press("Enter")
        await expect(page.get_by_test_id("me")).to_be_visible()
        heading = page.get_by_role("heading", level=1)
        await expect(heading).to_be_focused()
        await page.reload()
        await expect(page.get_by_test_id("me")).to_be_visible()
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(heading).to_be_focused()
        await page.get_by_test_id("me").press("Enter")
        await expect(page.get_by_role("heading", name="ada", level=1)).to_be_focused()
        await page.go_back()
        await expect(page.get_by_test_id("start")).to_be_visible()
        await expect(heading).to_be_focused()
        await page.get_by_test_id("account").press("Enter")
        await page.get_by_test_id("unblock-bob").press("Enter")
        await expect(page.get_by_test_id("unblock-eve")).to_be_focused()
        await page.get_by_test_id("unblock-eve").press("Enter")
        await expect(page.get_by_test_id("blocked")).to_be_hidden()
        await expect(page.get_by_test_id("delete-account")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_test_id("confirm-password")).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(page.get_by_test_id("delete-account")).to_be_focused()
        await page.get_by_test_id("sign-out").press("Enter")
        await expect(page.get_by_role("heading", name="Welcome back")).to_be_focused()


async def test_what_is_wrong_is_said_at_its_field(edge: Edge, tmp_path: Path) -> None:
    """With the focus there; nobody is welcomed back who was never here."""
    await edge.person("ada")
    async with served(edge, tmp_path) as (page, url):
        await page.goto(url)
        name, password = page.get_by_test_id("username"), page.get_by_test_id("password")
        heading = page.get_by_role("heading", level=1)
        await expect(heading).to_have_text("Sign in")
        await page.get_by_test_id("sign-in").click()
        await expect(name).to_be_focused()
        await expect(name).to_have_accessible_description("Enter your name.")
        await fill(page, "ada")
        assert await name.get_attribute("aria-invalid") is None
        await password.fill("not the password")
        await password.press("Enter")
        await expect(password).to_have_attribute("aria-invalid", "true")
        await expect(password).to_have_accessible_description("Wrong name or password.")
        await expect(password).to_be_focused()
        await expect(heading).to_have_text("Sign in")
        await page.get_by_test_id("create-account").click()
        await expect(name).to_be_focused()
        await expect(name).to_have_accessible_description(
            "The name ada is taken. Please choose another. 3 to 32 of a–z, 0–9, _ and -"
        )
        for tried, told in (("a b", "Use only"), ("ab", "at least 3"), ("New", "")):
            await name.fill(tried)
            await password.fill("12345678" if tried == "New" else PASSWORD)
            await password.press("Enter")
            wrong = password if tried == "New" else name
            await expect(wrong).to_have_attribute("aria-invalid", "true")
            assert told in await page.locator(".field .error:not(:empty)").inner_text()
        await expect(password).to_have_accessible_description(
            "Many people use this password. Please choose another. At least 8 characters"
        )
        await password.fill(PASSWORD)
        await password.press("Enter")
        await expect(page.get_by_test_id("me")).to_have_text("new")
        await page.get_by_test_id("account").click()
        await page.get_by_test_id("change-password").click()
        await expect(page.get_by_test_id("current-password")).to_be_focused()
        await page.get_by_test_id("current-password").fill("wrong")
        await page.get_by_test_id("new-password").fill(PASSWORD[::-1])
        await page.keyboard.press("Enter")
        await expect(page.get_by_test_id("current-password")).to_have_accessible_description(
            "Wrong password."
        )
        await page.get_by_test_id("current-password").fill(PASSWORD)
        await page.keyboard.press("Enter")
        await expect(page.get_by_test_id("notice")).to_contain_text("Password changed.")
        await page.get_by_test_id("delete-account").click()
        await page.get_by_test_id("confirm-password").fill("wrong")
        await page.keyboard.press("Enter")
        dialog = page.get_by_test_id("confirm-dialog")
        await expect(dialog).to_contain_text("Wrong password.")
        await page.get_by_test_id("confirm-password").fill(PASSWORD[::-1])
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Welcome back")).to_be_visible()


async def test_a_message_moves_nothing_and_titles_say_who_is_live(
    edge: Edge, tmp_path: Path
) -> None:
    """The message lies over the view, in the window, wherever the page is scrolled to."""
    await edge.person("ada")
    await edge.person("bob")
    await edge.befriend("ada", "bob")
    async with served(edge, tmp_path) as (page, url):
        await page.goto(url)
        await sign_in(page, "ada")
        await expect(page.get_by_test_id("friend-row-bob")).to_be_visible()
        await edge.streams.store.tell_pages("ada", "quota", "01", "", reason="Your disk is full.")
        notice = page.get_by_test_id("notice")
        await expect(notice).to_have_text("Your disk is full.")
        for position in (10_000, 0):
            await page.evaluate(f"window.scrollTo(0, {position})")
            await expect(notice).to_be_in_viewport(ratio=1)
        with_it = await page.evaluate(LAYOUT)
        await page.get_by_role("button", name="Dismiss").click()
        await expect(notice).to_have_text("")
        assert await page.evaluate(LAYOUT) == with_it
        beating = asyncio.create_task(beat(edge, "bob"))
        await page.wait_for_function("() => document.title.startsWith('bob is live')")
        edge.streams.stopped.append(("bob", None))
        await beating


async def test_a_message_leaves_room_for_the_last_controls(edge: Edge, tmp_path: Path) -> None:
    """On a phone too, the page scrolls far enough for them to be seen and pressed beside it."""
    await edge.person("ada")
    async with served(edge, tmp_path) as (page, url):
        await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        await page.goto(url)
        await sign_in(page, "ada")
        await page.get_by_test_id("account").click()
        told = "Your disk is full, and this sentence is long enough for two lines of a phone."
        await edge.streams.store.tell_pages("ada", "quota", "01", "", reason=told)
        notice = page.locator(".notice")
        await expect(notice).to_contain_text(told)
        last = page.get_by_test_id("delete-account")
        await page.get_by_test_id("new-password").focus()
        for _ in range(8):
            await page.keyboard.press("Tab")
            if await last.evaluate("(one) => one === document.activeElement"):
                break
        await expect(last).to_be_focused()
        button, above = await last.bounding_box(), await notice.bounding_box()
        assert button and above and button["y"] + button["height"] <= above["y"]
        await last.click(timeout=5_000)
        await expect(page.get_by_test_id("confirm-password")).to_be_focused()


async def test_what_is_wrong_with_a_friend_s_name_is_said_at_its_field(
    edge: Edge, tmp_path: Path
) -> None:
    """Whoever finds it, the page or the server; and nobody becomes a friend twice."""
    await edge.person("ada")
    await edge.person("bob")
    await edge.person("eve")
    await edge.befriend("ada", "bob")
    async with served(edge, tmp_path) as (page, url):
        await page.goto(url)
        await sign_in(page, "ada")
        await expect(page.get_by_test_id("friend-row-bob")).to_be_visible()
        name = page.get_by_test_id("friend-add-name")
        for tried, told in (
            ("", "Enter the name of a friend."),
            ("nobody", "There is no user called nobody."),
            ("ada", "You cannot add yourself as a friend."),
            ("bob", "You and bob are friends already."),
        ):
            await name.fill(tried)
            await page.get_by_test_id("friend-add").click()
            await expect(name).to_have_accessible_description(told)
            await expect(name).to_have_attribute("aria-invalid", "true")
            await expect(name).to_be_focused()
            await expect(page.get_by_test_id("notice")).to_be_empty()
        await name.fill("eve")
        await name.press("Enter")
        await expect(page.get_by_test_id("notice")).to_have_text("Friend request sent to eve.")
        await expect(name).to_have_accessible_description("")


async def test_what_a_page_could_not_do_offline_is_forgotten_once_it_is_back(
    edge: Edge, tmp_path: Path
) -> None:
    """Its sentences are true while they stand there, at the stream and over the view."""
    await edge.person("ada")
    await edge.person("bob")
    await edge.befriend("ada", "bob")
    async with served(edge, tmp_path) as (page, url):
        await page.goto(f"{url}/u/ada")
        await sign_in(page, "ada")
        own = page.get_by_test_id("listen-sentence")
        await expect(own).to_contain_text("You are not live.")
        await expect(page.get_by_test_id("listen")).to_be_hidden()
        await expect(page.get_by_test_id("mine")).to_be_hidden()
        beating = asyncio.create_task(beat(edge, "ada"))
        await expect(own).to_have_text("You are live now.")
        await expect(page.get_by_test_id("listen")).to_be_visible()
        await page.goto(url)
        await expect(page.get_by_test_id("stop")).to_be_visible()
        await page.context.set_offline(True)
        await page.get_by_test_id("stop").click()
        await expect(page.get_by_test_id("stream-problem")).to_contain_text("cannot be reached")
        await page.get_by_test_id("remove-bob").click()
        await page.get_by_test_id("confirm").click()
        await expect(page.get_by_test_id("notice")).to_contain_text("cannot be reached")
        await page.context.set_offline(False)
        await expect(page.get_by_test_id("stream-problem")).to_be_empty(timeout=15_000)
        await expect(page.get_by_test_id("notice")).to_be_empty()
        edge.streams.stopped.append(("ada", None))
        await beating


async def test_who_waits_for_the_first_connection_is_not_reconnecting(
    edge: Edge, tmp_path: Path
) -> None:
    """Nothing was lost yet: the page says that it connects."""
    await edge.person("ada")
    async with served(edge, tmp_path) as (page, url):
        await page.route_web_socket("**/api/presence", lambda _: None)  # it never answers
        await page.goto(url)
        await sign_in(page, "ada")
        await expect(page.get_by_test_id("link-state")).to_have_text("Connecting…")


async def test_people_are_told_who_goes_live_if_they_ask(edge: Edge, tmp_path: Path) -> None:
    """Somebody who looks elsewhere gets a notification, which leads there without a reload."""
    await edge.person("ada")
    await edge.person("bob")
    await edge.befriend("ada", "bob")
    async with served(edge, tmp_path) as (page, url):
        await page.context.grant_permissions(["notifications"])
        await page.add_init_script(
            "Object.defineProperty(document, 'visibilityState', { get: () => 'hidden' })"
        )
        await page.goto(url)
        await sign_in(page, "ada")
        await page.get_by_test_id("account").click()
        await page.get_by_test_id("notify").check()

        async def shown() -> list[str]:
            found: list[str] = await page.evaluate(
                """async () => (await (await navigator.serviceWorker.ready).getNotifications())
                  .map(({ title, data }) => `${title} ${data.path}`)"""
            )
            return found

        async def is_told() -> bool:
            return bool(await shown())

        assert await shown() == []
        beating = asyncio.create_task(beat(edge, "bob"))
        await page.wait_for_function("() => document.title.startsWith('bob is live')")
        await until(is_told)  # Playwright's own wait takes a promise for its answer
        assert await shown() == ["bob is live /u/bob"]
        await page.reload()
        await expect(page.get_by_test_id("friend-row-bob")).to_be_visible()
        await page.get_by_test_id("account").click()
        await expect(page.get_by_test_id("notify")).to_be_checked()
        await page.evaluate(
            "navigator.serviceWorker.dispatchEvent("
            "new MessageEvent('message', { data: { path: '/u/bob' } }))"
        )
        await expect(page.get_by_role("heading", level=1)).to_have_text("bob")
        edge.streams.stopped.append(("bob", None))
        await beating


async def test_it_can_be_installed(edge: Edge, tmp_path: Path) -> None:
    """Chromium finds nothing missing in the manifest."""
    async with served(edge, tmp_path) as (page, url):
        await page.goto(url)
        cdp = await page.context.new_cdp_session(page)
        manifest = await cdp.send("Page.getAppManifest")
        assert not manifest["errors"] and "hushcast" in manifest["data"]
        problems = await cdp.send("Page.getInstallabilityErrors")
        print(problems)
        kinds = {error["errorId"] for error in problems["installabilityErrors"]}
        assert kinds <= {"in-incognito"}  # Playwright's contexts are


async def test_a_german_browser_gets_german_pages(edge: Edge, tmp_path: Path) -> None:
    """What the server says too; the page says which language it is in."""
    await edge.person("ada")
    async with served(edge, tmp_path) as (page, url):
        german = await page.context.browser.new_context(locale="de-AT")  # type: ignore[union-attr]
        page = await german.new_page()
        await page.goto(f"{url}/u/bob")
        assert await page.title() == "Anmelden · hushcast"
        await expect(page.locator("html")).to_have_attribute("lang", "de")
        await expect(page.get_by_test_id("whose-page")).to_contain_text("die Seite von bob")
        await page.get_by_test_id("username").fill("ada")
        await page.get_by_test_id("password").fill("falsch")
        await page.keyboard.press("Enter")
        await expect(page.get_by_test_id("password")).to_have_accessible_description(
            "Name oder Passwort ist falsch."
        )
