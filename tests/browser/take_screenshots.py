"""Take the pictures of the dashboard and of a mail that the docs show: `make screenshots`.

Light and dark, wide and narrow, of an installation in memory with made-up data.
"""

import asyncio
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, Page, async_playwright

import mail_cases
from dashboard_support import (
    StampedLogs,
    a_session,
    a_wide_pipeline,
    fill,
    installation,
    schedules,
    tell,
)

SHOTS: Final = {
    "tasks": "",
    "task": "tasks/nightly-report-0412",
    "failed": "tasks/ocr-invoices-51d",
    "waiting": "tasks/render-video-p02mm",
    "wide-pipeline": "tasks/wide",
    "new": "new?type=render-video",
    "queues": "queues",
    "queue": "queues/video",
    "types": "types",
    "type": "types/render-video",
    "health": "health",
    "account": "account",
    "admin": "admin",
    "schedules": "schedules",
    "schedule": "schedules/nightly-report",
    "schedule-dense": "schedules/import-ledger",
    "schedule-stopped": "schedules/crawl-shop",
    "new-schedule": "new/schedule?type=render-video",
    "told": "told",
    "trends": "trends",
    "subscriptions": "subscriptions",
    "subscription": "subscriptions/{subscription}",
    "audit": "audit",
    "task-mailed": "tasks/crawl-shop-us-b20",
    "login": "login",
    "empty": "?search=nothing-like-this",
    "missing": "tasks/nobody",
}
SIZES: Final = {"wide": (1360, 860), "narrow": (390, 844)}
#: What the docs show; the others are for whoever works on the pages.
KEPT: Final = (
    *("tasks", "task", "new", "queue", "schedules", "schedule"),
    *("told", "subscription", "trends", "audit"),
)


async def main(folder: Path, *, everything: bool) -> None:
    """Take them."""
    kubernetes = StampedLogs()
    fill(kubernetes, datetime.now(UTC))
    a_wide_pipeline(kubernetes, datetime.now(UTC))
    schedules(kubernetes, datetime.now(UTC))
    with tempfile.TemporaryDirectory() as directory:
        async with (
            installation(kubernetes, Path(directory)) as (services, url),
            async_playwright() as playwright,
        ):
            token = await a_session(services, "amelie")
            await a_session(services, "mira", role="user")
            subscription = await tell(services, url, token)
            browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"))
            for scheme in ("light", "dark"):
                for size in SIZES:
                    for name in SHOTS if everything else KEPT:
                        path = folder / f"{name}-{size}-{scheme}.png"
                        where = SHOTS[name].format(subscription=subscription)
                        page = await opened(browser, url, token, name, size, scheme)
                        await page.goto(f"{url}/{where}")
                        await page.wait_for_timeout(500)
                        is_whole = size == "narrow" or name != "tasks"
                        await page.screenshot(path=path, full_page=is_whole)
                        await page.context.close()
            await take_mail(browser, folder / "mail-narrow.png")
            await browser.close()


async def take_mail(browser: Browser, path: Path) -> None:
    """Take what a telephone shows of a mail that tells of several tasks."""
    page = await browser.new_page(viewport={"width": 390, "height": 400})
    await page.set_content(await mail_cases.page("digest"))
    await page.screenshot(path=path, full_page=True)
    await page.close()


async def opened(browser: Browser, url: str, token: str, name: str, size: str, scheme: str) -> Page:
    """Return an empty page of who is to be seen there."""
    width, height = SIZES[size]
    context = await browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    if name != "login":
        await context.add_cookies([{"name": "longtask", "value": token, "url": url}])
    return await context.new_page()


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    asyncio.run(main(Path(sys.argv[1]), everything="--all" in sys.argv))
