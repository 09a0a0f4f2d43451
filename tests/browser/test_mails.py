"""The mails in a browser, as a mail program that shows all of them would have them."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Request

import mail_cases
from browser_support import Visits, overflow, started
from longtask_api.mail import message


@pytest.fixture
async def visits() -> AsyncIterator[Visits]:
    async with started() as browser:
        yield Visits(browser, url="")


@pytest.mark.parametrize("case", mail_cases.CASES)
async def test_a_mail_is_read_and_nothing_else_happens(visits: Visits, case: str) -> None:
    page = await visits.newcomer()
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))
    await page.set_content(await mail_cases.page(case), wait_until="load")
    over = []
    for width in (320, 360, 700, 1360):
        await page.set_viewport_size({"width": width, "height": 640})
        if await overflow(page) > 0:
            over.append(width)
    assert over == []
    assert (visits.complaints, asked) == ([], [])
    # Of its own it has no picture, script or form: whatever there is of them is a stranger's.
    assert await page.locator("img, script, iframe, form, [onmouseover], [onerror]").count() == 0
    links = await page.locator("a").evaluate_all("all => all.map(one => one.protocol)")
    assert set(links) == {"https:"}
    shown = " ".join((await page.locator("body").inner_text()).split())
    for said in mail_cases.CASES[case]:
        for text in (said.name, said.event, said.reason, said.message, said.step):
            assert message.line(text) in shown
