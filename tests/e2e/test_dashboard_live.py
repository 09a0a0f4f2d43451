"""The dashboard of the installed product while things go wrong, and what programs show on it."""

import asyncio
import re
from typing import Final
from urllib.parse import quote

import pytest
from playwright.async_api import Page, expect

from browser_support import POD, is_live, overflow
from e2e_support import SYSTEM, Kubectl, Product, eventually, program, ready, submit
from page_support import HOSTILE
from people_support import People, Person
from wire_support import Wire

#: How many lines a program writes, in 45 seconds: so long that all else is done before its end.
LINES: Final = 300
WRITES = f"""
import contextlib
for number in range({LINES}):
    print("line", number, flush=True)
    if number % 20 == 0:
        with contextlib.suppress(OSError):  # while the API is away
            report(percent=number * 100 // {LINES}, message="line %d" % number)
    time.sleep(0.15)
open(os.environ["LONGTASK_OUTPUT_FILE"], "w").write("[1]")
"""
#: What is printed, reported, and brought or said at the end is what comes as the input.
SAYS = """
texts = json.load(open(os.environ["LONGTASK_INPUT_FILE"]))["texts"]
for text in texts.values():
    print(text, flush=True)
    report(percent=50, message=text[:200])
"""
BRINGS = SAYS + (
    "brought = {key: text[:300] for key, text in texts.items()}\n"
    'open(os.environ["LONGTASK_OUTPUT_FILE"], "w").write(json.dumps(brought))\n'
)
FAILS = SAYS + (
    'open(os.environ["LONGTASK_OUTPUT_FILE"], "w").write("".join(texts.values())[:1000])\n'
    "sys.exit(3)\n"
)


async def writes(person: Person, url: str = "") -> Page:
    """Return the page of a task that writes line after line, once some have come."""
    task = submit(person.rest, container=program(WRITES))["id"]
    page = await person.page(f"tasks/{task}", url=url)
    await page.evaluate("window.isTheSame = true")
    # As much of the log is drawn as is seen: let that be all of it.
    await page.locator("[data-log-pane]").evaluate(
        f"pane => {{ pane.style.height = '{LINES * 30}px'; }}"
    )
    await expect(page.locator(".log")).to_contain_text("line 9", timeout=POD)
    await is_live(page)
    return page


async def has_all(page: Page) -> None:
    """Wait for the end; nothing was missed or came twice, and it is still that page."""
    await expect(page.locator("#head .phase")).to_have_text("Succeeded", timeout=POD)
    await expect(page.locator("[data-state]")).to_have_text("it is over")
    await expect(page.locator("[data-log-state]")).to_have_text(
        f"{LINES} lines; this attempt is over"
    )
    lines = await page.locator(".log p span").all_inner_texts()
    assert lines == [f"line {number}" for number in range(LINES)]
    await expect(page.locator("#result .json")).to_contain_text("1")
    events = await page.locator("#events li > span:first-child").all_inner_texts()
    assert [event.split()[0] for event in events] == ["succeeded", "started", "queued"]
    assert await page.evaluate("window.isTheSame") is True


async def test_a_stream_that_is_cut_goes_on_and_misses_nothing(
    people: People, product: Product
) -> None:
    person = people.user()
    with Wire(product.url) as wire:
        page = await writes(person, wire.url)
        many = await person.page(url=wire.url)
        await is_live(many)
        wire.cut()
        for one in (page, many):
            await expect(one.locator("[data-state]")).to_contain_text("lost at")
        await expect(page.locator("[data-log-state]")).to_contain_text("lost at")
        shown = await page.locator(".log p").count()
        assert shown < LINES, "nothing is left to be missed"
        # What happens meanwhile is what would be missed.
        log = f"/api/v1/tasks/{page.url.rsplit('/', 1)[1]}/logs"
        eventually(
            lambda: len(person.rest.get(log).text.splitlines()),
            lambda n: n > min(shown + 30, LINES - 1),
            within=60,
        )
        submit(person.rest, name=f"{person.name}-new", type="fibonacci", input={"n": 1})
        wire.mend()
        for one in (page, many):
            await is_live(one)
        await expect(many.locator(f"#t-{person.name}-new")).to_be_visible()
        await has_all(page)


@pytest.mark.alone
async def test_pages_outlive_the_api(people: People, kubectl: Kubectl) -> None:
    """It ends in peace, so its streams do as well; then the ingress answers for it."""
    person = people.user()
    page, many = await writes(person), await person.page()
    await is_live(many)
    kubectl("rollout", "restart", "deploy/longtask-api", *SYSTEM)
    # Each is lost for a moment, which is not the same.
    await asyncio.gather(
        *(
            expect(one.locator("[data-state]")).to_contain_text("lost at", timeout=60_000)
            for one in (page, many)
        )
    )
    await asyncio.to_thread(ready, kubectl, "api")
    for one in (page, many):
        await expect(one.locator("[data-state]")).not_to_contain_text("lost at", timeout=60_000)
    submit(person.rest, name=f"{person.name}-new", type="fibonacci", input={"n": 1})
    await expect(many.locator(f"#t-{person.name}-new")).to_be_visible(timeout=15_000)
    await has_all(page)
    # A browser says of what it cannot make a stream of that it cannot.
    said = people.visits.complaints
    said[:] = [one for one in said if "EventSource" not in one]


async def test_a_session_that_is_over_leads_to_the_login_and_back(people: People) -> None:
    person = people.user()
    page = await person.page("?sort=name&search=a")
    quiet = await person.page("account")
    await is_live(page)
    # As it ends in twelve hours; here somebody ends it elsewhere.
    login = {"username": person.name, "password": person.password}
    other = person.rest.post("/api/v1/login", json=login).json()["token"]
    person.rest.headers["Authorization"] = f"Bearer {other}"
    elsewhere = await person.page("account")
    await elsewhere.get_by_role("button", name="End", exact=True).click()
    await elsewhere.locator("#ask").get_by_role("button", name="Yes").click()
    await expect(page.get_by_text("Your session is over.")).to_be_visible(timeout=60_000)
    await page.get_by_label("Username").fill(person.name)
    await page.get_by_label("Password").fill(person.password)
    await page.get_by_role("button", name="Log in").click()
    await expect(page).to_have_url(f"{people.visits.url}/?sort=name&search=a")
    await is_live(page)
    # A page that hears nothing learns of it when it asks for something.
    await quiet.get_by_role("button", name="Show the key").click()
    await expect(quiet.get_by_text("Your session is over.")).to_be_visible()
    assert quiet.url.endswith("next=%2Faccount")


async def test_whatever_programs_say_is_text(people: People) -> None:
    """Nothing of it runs, and nothing of it pushes the page out of its window."""
    person = people.user()
    given = {"texts": {value[:100]: value for value in HOSTILE.values()}}
    brings, fails = (
        submit(person.rest, container=program(text), input=given, labels={"a": "x" * 63})["id"]
        for text in (BRINGS, FAILS)
    )
    page = await person.page(f"tasks/{brings}")
    await expect(page.locator("#head .phase")).to_have_text("Succeeded", timeout=POD)
    await is_harmless(page)
    await page.goto(f"{people.visits.url}/tasks/{fails}")
    await expect(page.locator("#head .phase")).to_have_text("Failed", timeout=POD)
    await expect(page.locator(".lead")).to_contain_text("<script>alert(1)</script>")
    await expect(page.locator("[data-log-state]")).to_have_text(re.compile("lines"))
    await page.locator("details.fetched > summary").click()
    await expect(page.locator("details.fetched pre")).to_contain_text("LongTask")
    await is_harmless(page)
    for path in ("", f"?search={quote(HOSTILE['script'])}", f"new?of={brings}", "trends"):
        await page.goto(f"{people.visits.url}/{path}")
        await is_harmless(page)
    answer = person.rest.get(f"/api/v1/tasks/{brings}/result")
    assert answer.json() == {key: value[:300] for key, value in given["texts"].items()}
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def is_harmless(page: Page) -> None:
    for width in (320, 1360):
        await page.set_viewport_size({"width": width, "height": 900})
        assert await overflow(page) <= 0, (page.url, width)
    assert await page.locator("img, main script, iframe").count() == 0
    assert "title" not in await page.title()
