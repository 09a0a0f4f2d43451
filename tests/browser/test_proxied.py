"""The dashboard under a path, behind an nginx that is told nothing of streams."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from browser_support import Stage, is_live, staged
from dashboard_support import StampedLogs
from longtask_crds import names
from proxy_support import Proxy, a_port, nginx

PREFIX = "/tools/longtask"


@contextlib.asynccontextmanager
async def proxied(
    kubernetes: StampedLogs, folder: Path, *, strips: bool
) -> AsyncIterator[tuple[Stage, Proxy]]:
    """Serve an installation behind a proxy; who visits it goes through that."""
    port = a_port()
    public_url = f"http://127.0.0.1:{port}{PREFIX}"
    async with staged(kubernetes, folder, public_url=public_url) as stage:
        target = f"{stage.url}/" if strips else stage.url
        proxy = Proxy(nginx(folder, port, target, PREFIX), port, PREFIX)
        await proxy.start()
        stage.url = proxy.url
        try:
            yield stage, proxy
        finally:
            await proxy.stop()


@pytest.mark.parametrize("strips", [True, False], ids=["cuts-the-path-off", "leaves-it"])
async def test_all_of_it_works_under_a_path(
    kubernetes: StampedLogs, tmp_path: Path, strips: bool
) -> None:
    async with proxied(kubernetes, tmp_path, strips=strips) as (stage, proxy):
        page = await stage.visitor()
        for path in await stage.filled():
            await page.goto(f"{stage.url}/{path}")
            # Every way on leads on under the path.
            ways: list[str] = await page.locator("[href], [src], [action]").evaluate_all(
                "all => all.flatMap(one => ['href', 'src', 'action'].map(name =>"
                " one.getAttribute(name))).filter(one => one && !one.startsWith('#'))"
                ".map(one => new URL(one, location.href).pathname)"
            )
            assert [way for way in ways if not way.startswith(f"{PREFIX}/")] == [], path
        for one in stage.complaints:
            assert "tasks/nobody" in one or "/logs" in one, one
        await is_heard_and_obeyed(stage, proxy)


async def is_heard_and_obeyed(stage: Stage, proxy: Proxy) -> None:
    page = await stage.open("tasks/render-video-7f3k2q")
    await is_live(page)
    stage.reports(80, "frame 1,440 of 1,800")
    await expect(page.locator(".facts [data-percent]")).to_have_text("80 %")
    await expect(page.locator("[data-log-state]")).to_contain_text("400 lines")
    await proxy.stop()
    await expect(page.locator("[data-state]")).to_contain_text("lost at")
    stage.reports(90, "while nobody listened")
    await proxy.start()
    await is_live(page)
    await expect(page.locator(".facts [data-percent]")).to_have_text("90 %")
    await page.get_by_role("button", name="Cancel").click()
    await page.locator("#ask").get_by_role("button", name="Yes").click()
    await expect(page.get_by_role("button", name="Ending…")).to_be_visible()
    spec = stage.kubernetes.stored(names.LONGTASKS, "render-video-7f3k2q")["spec"]
    assert spec["cancel"] is True
    # From the page of nobody to the login, and on.
    page = await stage.newcomer()
    await page.goto(f"{stage.url}/queues")
    assert page.url == f"{stage.url}/login?next={PREFIX.replace('/', '%2F')}%2Fqueues"
