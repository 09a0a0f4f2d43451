"""A browser that looks at an installation, notes what its console says, and is used by a hand."""

import asyncio
import contextlib
import dataclasses
import shutil
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    Dialog,
    Locator,
    Page,
    async_playwright,
    expect,
)

from api_support import put_task
from dashboard_support import PATHS, a_session, installation, schedules, tell
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import wiring

#: `make browser` has it fetched.
AXE = Path(sys.prefix) / "axe.min.js"
# A page asks for itself the less often the longer that takes, on a machine that has much to do.
expect.set_options(timeout=30_000)

#: In ms: so long a page may take to show what a pod does, beside others that start.
POD = 240_000
#: How many stops of the Tab key a page may have at most.
_MOST_STOPS = 600

#: What a page says goes after four seconds: it is kept, for those who come later.
_KEEPS_WHAT_IS_SAID = """
window.said = [];
new MutationObserver((changes) => {
  for (const node of changes.flatMap((change) => [...change.addedNodes])) {
    if (node.classList?.contains("toast") && node.checkVisibility()) {
      window.said.push(node.textContent);
    }
  }
}).observe(document, { childList: true, subtree: true });
"""
_TAKE_WHAT_IS_SAID = """
(text) => {
  const at = window.said.findIndex((one) => one.startsWith(text));
  return at >= 0 && window.said.splice(at, 1).length > 0;
}
"""


@contextlib.asynccontextmanager
async def started() -> AsyncIterator[Browser]:
    """Start the machine's own Chromium."""
    chromium = shutil.which("chromium")
    assert chromium, "No Chromium: `make browser` installs it."
    async with async_playwright() as playwright:
        # Docker's /dev/shm is small, and root has no sandbox.
        args = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = await playwright.chromium.launch(executable_path=chromium, args=args)
        try:
            yield browser
        finally:
            await browser.close()


@dataclasses.dataclass
class Visits:
    """Pages of an installation; what the browser complains of in any of them is kept."""

    browser: Browser
    url: str
    complaints: list[str] = dataclasses.field(default_factory=list)  #: of the browsers' consoles

    async def blank(self, context: BrowserContext) -> Page:
        """Return a page of a browser, whose console is listened to."""
        page = await context.new_page()
        await page.add_init_script(_KEEPS_WHAT_IS_SAID)
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", self._refuse)
        return page

    async def newcomer(self, **more: Any) -> Page:
        """Return a page of somebody who is not known."""
        context = await self.browser.new_context(**({"reduced_motion": "reduce"} | more))
        return await self.blank(context)

    async def _refuse(self, dialog: Dialog) -> None:
        self.complaints.append(f"it says: {dialog.message}")
        await dialog.dismiss()

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.text} ({message.location.get('url')})")


@dataclasses.dataclass
class Stage(Visits):
    """The pages of an installation in memory."""

    kubernetes: MemoryKubernetes = dataclasses.field(kw_only=True)
    services: wiring.Services = dataclasses.field(kw_only=True)

    async def visitor(
        self, username: str | None = "amelie", role: str = "admin", **more: Any
    ) -> Page:
        """Return a page of somebody who is logged in; of nobody, who is not."""
        page = await self.newcomer(**more)
        if username is not None:
            await self.let_in(page.context, username, role)
        return page

    async def let_in(self, context: BrowserContext, username: str, role: str = "admin") -> str:
        """Give a browser the cookie of a session; return its token."""
        token = await a_session(self.services, username, role=role)
        await context.add_cookies([{"name": "longtask", "value": token, "url": self.url}])
        return token

    async def filled(self) -> list[str]:
        """Let there be schedules, receivers, mails and acts as well; return where all pages are."""
        schedules(self.kubernetes, datetime.now(UTC))
        token = await self.let_in(await self.browser.new_context(), "root")
        told = await tell(self.services, self.url, token)
        return [*PATHS, f"subscriptions/{told}"]

    def reports(self, percent: int, message: str) -> None:
        """Let a program say how far it is."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        told = {"percent": percent, "message": message, "updatedAt": now}
        put_task(self.kubernetes, "render-video-7f3k2q", status={"progress": told})

    async def open(self, path: str, **who: Any) -> Page:
        """Return a page that somebody has open."""
        page = await self.visitor(**who)
        await page.goto(f"{self.url}/{path}")
        return page


@contextlib.asynccontextmanager
async def staged(
    kubernetes: MemoryKubernetes, directory: Path, **more: Any
) -> AsyncIterator[Stage]:
    """Serve an installation, and start a browser."""
    async with (
        installation(kubernetes, directory, **more) as (services, url),
        started() as browser,
    ):
        yield Stage(browser, url, kubernetes=kubernetes, services=services)


# --- what is looked at on every page


async def violations(page: Page) -> list[tuple[str, list[Any]]]:
    """Return what axe has against a page, and against its colours in the dark."""
    await page.evaluate(AXE.read_text())
    found = []
    for scheme, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        told: dict[str, Any] = await page.evaluate(
            "options => axe.run(document, options)", {"resultTypes": ["violations"]} | rules
        )
        found += [
            (f"{scheme}: {one['id']}", [node["target"] for node in one["nodes"]])
            for one in told["violations"]
        ]
    return found


async def overflow(page: Page) -> int:
    """Return by how much a page is wider than its window."""
    over: int = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return over


async def arrived(page: Page, url: str) -> None:
    """Wait until a page is there with its script: before that it answers to no key."""
    await page.wait_for_url(lambda at: at == url, wait_until="load")


async def said(page: Page, text: str) -> None:
    """Wait until the page has shown a word that begins so; it counts once."""
    async with asyncio.timeout(60):
        while not await page.evaluate(_TAKE_WHAT_IS_SAID, text):  # noqa: ASYNC110 - a page calls nobody
            await asyncio.sleep(0.1)


async def is_live(page: Page) -> None:
    """Wait until a page hears what happens."""
    await expect(page.locator("[data-state]")).to_have_text("live", timeout=60_000)


# --- what one does there


class Hand(Protocol):
    """How somebody uses a page."""

    async def press(self, one: Locator) -> None:
        """Press a button, follow a link, mark a box, unfold what is folded."""

    async def write(self, one: Locator, text: str) -> None:
        """Put a text in the place of what stands in a field."""

    async def choose(self, one: Locator, says: str) -> None:
        """Choose the first of a field's options that begins so."""


class Mouse:
    """With a mouse, and a keyboard for letters alone."""

    async def press(self, one: Locator) -> None:
        await one.click()

    async def write(self, one: Locator, text: str) -> None:
        await one.click()
        await one.fill(text)

    async def choose(self, one: Locator, says: str) -> None:
        await expect(one).to_be_visible()
        label = await one.evaluate(
            "(one, says) => [...one.options].find(({ label }) => label.startsWith(says))?.label",
            says,
        )
        await one.select_option(label=label)


class Keyboard:
    """Without a mouse: what Tab does not reach, or what does not show where one is, fails."""

    async def press(self, one: Locator) -> None:
        await self._reach(one)
        is_link = await one.evaluate("one => one.matches('a')")
        await one.page.keyboard.press("Enter" if is_link else "Space")

    async def write(self, one: Locator, text: str) -> None:
        await self._reach(one)
        await one.page.keyboard.press("ControlOrMeta+a")
        # A field of several parts, such as a date's, is filled part by part.
        if await one.evaluate("one => one.type === 'datetime-local'"):
            await one.fill(text)
        elif text:
            await one.page.keyboard.insert_text(text)
        else:
            await one.page.keyboard.press("Delete")

    async def choose(self, one: Locator, says: str) -> None:
        await self._reach(one)
        # What one types goes to the option that begins so.
        await one.page.keyboard.type(says)

    async def _reach(self, one: Locator) -> None:
        await expect(one).to_be_visible()
        await expect(one).to_be_enabled()
        keyboard = one.page.keyboard
        is_behind = await one.evaluate(
            "one => document.activeElement !== document.body &&"
            " Boolean(one.compareDocumentPosition(document.activeElement) & 4)"
        )
        for _ in range(_MOST_STOPS):
            at = await one.evaluate(
                "one => one !== document.activeElement ? '' :"
                " getComputedStyle(one).outlineStyle + getComputedStyle(one).outlineWidth"
            )
            if at:
                assert at == "solid2px", f"it does not show that one is at {one}: {at}"
                return
            await keyboard.press("Shift+Tab" if is_behind else "Tab")
        pytest.fail(f"no key leads to {one}")


async def sure(page: Page, hand: Hand) -> None:
    """Say that one means it."""
    await hand.press(page.locator("#ask").get_by_role("button", name="Yes"))
