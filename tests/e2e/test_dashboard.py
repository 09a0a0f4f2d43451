"""The dashboard of the installed product, through the ingress: what people do there.

Each story is lived by two at once, one with a mouse and one with nothing but keys.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from playwright.async_api import Locator, Page, expect

from browser_support import (
    POD,
    Hand,
    Keyboard,
    Mouse,
    Visits,
    is_live,
    overflow,
    said,
    sure,
    violations,
)
from e2e_support import (
    PATIENT,
    SYSTEM,
    Kubectl,
    Product,
    Receiver,
    a_queue,
    callback_key,
    client_of,
    eventually,
    program,
    shell,
    submit,
)
from people_support import People, Person

#: What it prints and reports on its way is seen as it comes, by browsers that are slow, too.
WORKS = """
for part in range(1, 13):
    print("line", part, flush=True)
    report(percent=part * 8, message=f"part {part} of 12")
    time.sleep(3)
open(os.environ["LONGTASK_OUTPUT_FILE"], "w").write(json.dumps({"parts": {"all": [1, 2, 3]}}))
"""
#: Has no end of its own.
LASTS = """
import signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
print("line", flush=True)
signal.pause()
"""
#: Two steps; with a limit of 0 the second fails.
SHARES = """
given = json.load(open(os.environ["LONGTASK_INPUT_FILE"]))
print("shares", given["limit"], flush=True)
if not given["limit"]:
    sys.exit(65)
open(os.environ["LONGTASK_OUTPUT_FILE"], "w").write(json.dumps(given))
"""
COUNTS = """
print("counts to 7", flush=True)
open(os.environ["LONGTASK_OUTPUT_FILE"], "w").write("7")
"""

Story = Callable[[Hand, Person], Awaitable[None]]


async def both(people: People, story: Story, *, admins: bool = False) -> None:
    """Let two live a story at once, neither of whom sees what the other does."""
    hands: tuple[Hand, ...] = (Mouse(), Keyboard())
    make = people.admin if admins else people.user
    await asyncio.gather(*(story(hand, make()) for hand in hands))


def named(page: Page) -> str:
    """Return what the page is about, by its address."""
    return page.url.partition("?")[0].rsplit("/", 1)[1]


def button(page: Page | Locator, says: str) -> Locator:
    return page.get_by_role("button", name=says, exact=True)


async def saved(hand: Hand, page: Page, link: Locator) -> str:
    """Have a file downloaded; return what stands in it."""
    async with page.expect_download() as download:
        await hand.press(link)
    return (await (await download.value).path()).read_text()


# --- one task


async def test_a_task_is_handed_over_and_watched_to_its_end(
    people: People, receiver: Receiver
) -> None:
    async def story(hand: Hand, person: Person) -> None:
        page = await person.page()
        await is_live(page)
        await hand.press(page.get_by_role("link", name="New task").first)
        await page.wait_for_url("**/new")
        await hand.choose(page.locator("#type"), "sleep")
        await page.wait_for_url("**/new?type=sleep")
        await form_says_what_is_wrong(hand, page)
        await form_says_how_else(hand, page)
        await hand.press(page.get_by_role("tab", name="YAML or JSON"))
        text = page.locator("[data-text]")
        await expect(text).to_have_value(re.compile("type: sleep"))
        order = {"container": program(WORKS), "callback": {"url": receiver.url()}}
        await hand.write(text, json.dumps(order))
        await hand.press(button(page, "Hand it over"))
        await page.wait_for_url("**/tasks/*")
        await watched(page)
        await log_is_read(hand, page)
        await values_are_read(hand, page)
        await callback_is_sent_again(hand, page, receiver)
        await done_again_and_forgotten(hand, page, person)

    await both(people, story)


async def form_says_what_is_wrong(hand: Hand, page: Page) -> None:
    """Errors stand where they belong, and one is led there."""
    field = page.locator("[data-pointer='/input/seconds']")
    await hand.write(field, "-1")
    await hand.press(button(page, "Hand it over"))
    await expect(field).to_have_attribute("aria-invalid", "true")
    await expect(field).to_be_focused()
    wrong = page.locator(".field", has=field).locator("[data-wrong]")
    await expect(wrong).not_to_be_empty()
    await hand.write(field, "2")


async def form_says_how_else(hand: Hand, page: Page) -> None:
    """What the form says stands beside it as other programs are told it."""
    for door, word in (
        ("curl", "curl"),
        ("Python", "longtask_client"),
        ("Command", "longtask submit"),
        ("kubectl", "kind: LongTask"),
    ):
        folded = page.locator("#calls details", has=page.locator("summary", has_text=door))
        if await folded.get_attribute("open") is None:
            await hand.press(folded.locator("summary"))
        await expect(folded.locator("pre")).to_be_visible()
        await expect(folded.locator("pre")).to_contain_text(word)
        await expect(folded.locator("pre")).to_contain_text("seconds")


async def watched(page: Page) -> None:
    """The page keeps up with its task, and is never loaded again."""
    await page.evaluate("window.isTheSame = true")
    await expect(page.locator(".facts [data-percent]")).to_have_text(
        re.compile(r"^[1-9]\d? %$"), timeout=POD
    )
    await expect(page.locator("#head .phase")).to_have_text("Running")
    await expect(page.locator(".lead [data-note]")).to_contain_text(re.compile("part", re.I))
    await expect(page.locator(".log p").first).to_contain_text("line 1")
    await expect(page.locator("#attempts")).to_be_visible()
    await expect(page.locator("#head .phase")).to_have_text("Succeeded", timeout=POD)
    await expect(page.locator("#result .json")).to_contain_text("parts")
    await expect(page.locator("[data-state]")).to_have_text("it is over")
    await expect(page.locator("[data-log-state]")).to_have_text(re.compile("^12 lines"))
    lines = await page.locator(".log p span").all_inner_texts()
    assert lines == [f"line {part}" for part in range(1, 13)]
    await expect(page.locator("#events li").first).to_contain_text("succeeded")
    await expect(page.locator("#told .Succeeded").first).to_contain_text("204")
    await expect(page.locator("#life .lane rect.Succeeded")).to_have_count(1)
    assert await page.evaluate("window.isTheSame") is True


async def log_is_read(hand: Hand, page: Page) -> None:
    """One finds in it, wraps its lines and takes it along."""
    await hand.write(page.locator("[data-log-find]"), "line 7")
    await expect(page.locator("[data-log-hits]")).to_have_text("1 of 1")
    await expect(page.locator(".log .at mark")).to_have_text("line 7")
    wrap = page.locator("[data-log-wrap]")
    await hand.press(wrap)
    await expect(wrap).to_have_attribute("aria-pressed", "true")
    text = await saved(hand, page, page.locator("[data-log-file]"))
    assert text.splitlines() == [f"line {part}" for part in range(1, 13)]


async def values_are_read(hand: Hand, page: Page) -> None:
    """One folds, copies and takes along what went in and what came out."""
    result = page.locator("#result")
    inner = result.locator("details details").first
    await expect(inner).to_have_attribute("open", "")
    await hand.press(inner.locator("summary").first)
    await expect(inner).not_to_have_attribute("open", "")
    await hand.press(button(result, "copy"))
    await said(page, "Copied.")
    text = await saved(hand, page, result.get_by_role("link", name="download"))
    assert json.loads(text) == {"parts": {"all": [1, 2, 3]}}
    await hand.press(page.locator("details.fetched > summary"))
    await expect(page.locator("details.fetched pre")).to_contain_text("kind: LongTask")
    yaml = page.locator("section", has_text="YAML").get_by_role("link", name="download")
    assert "kind: LongTask" in await saved(hand, page, yaml.last)


async def callback_is_sent_again(hand: Hand, page: Page, receiver: Receiver) -> None:
    await hand.press(button(page.locator("#told"), "send again"))
    await sure(page, hand)
    await expect(page.locator("#told .tell li")).to_have_count(2)
    first, second = (one.id for one in receiver.of(named(page)))
    assert first == second


async def done_again_and_forgotten(hand: Hand, page: Page, person: Person) -> None:
    """It is done again; another that lasts is cancelled; and then deleted."""
    before = named(page)
    await hand.press(button(page, "Retry"))
    await sure(page, hand)
    await page.wait_for_url(re.compile(f"/tasks/(?!{before}$)"))
    await expect(page.locator(".facts")).to_contain_text(f"another try of {before}")
    again = submit(person.rest, container=program(LASTS))["id"]
    await page.goto(f"{person.visits.url}/tasks/{again}")
    await hand.press(button(page, "Cancel"))
    await sure(page, hand)
    await expect(page.locator("#head .phase")).to_have_text("Cancelled", timeout=POD)
    await hand.press(page.get_by_role("link", name="Retry with changes…"))
    await page.wait_for_url("**/new?of=*")
    await expect(page.locator("[data-text]")).to_have_value(re.compile(r"line"))
    await page.go_back()
    await hand.press(button(page, "Delete"))
    await sure(page, hand)
    await page.wait_for_url(f"{person.visits.url}/")
    await expect(page.locator(f"#t-{before}")).to_be_visible()
    await expect(page.locator(f"#t-{again}")).to_have_count(0)


# --- a pipeline


async def test_a_pipeline_goes_on_with_changes_where_it_failed(people: People) -> None:
    """Each step's log is found by the picture; what had succeeded is not done again."""
    order = {
        "input": {"limit": 0},
        "steps": [
            {"name": "count", "container": program(COUNTS)},
            {
                "name": "share",
                "container": program(SHARES),
                "input": {"limit": {"$from": "input#/limit"}, "rows": {"$from": "steps.count"}},
            },
        ],
    }

    async def story(hand: Hand, person: Person) -> None:
        view = submit(person.rest, **order)
        page = await person.page(f"tasks/{view['id']}")
        await expect(page.locator("#head .phase")).to_have_text("Failed", timeout=POD)
        # While none is chosen it is the log of the one that failed.
        await expect(page.locator(".log p span")).to_have_text(["shares 0"])
        await steps_are_chosen(hand, page, {"count": "counts to 7", "share": "shares 0"})
        await hand.press(page.get_by_role("link", name="Retry with changes…"))
        await page.wait_for_url("**/new?of=*")
        await taken_over_stays(hand, page)
        text = page.locator("[data-text]")
        await hand.write(text, (await text.input_value()).replace("limit: 0", "limit: 3"))
        await hand.press(button(page, "Hand it over"))
        await page.wait_for_url(re.compile(f"/tasks/(?!{view['id']}$)"))
        await expect(page.locator(".facts")).to_contain_text(f"another try of {view['id']}")
        await expect(page.locator("#head .phase")).to_have_text("Succeeded", timeout=POD)
        await expect(page.locator("#result .json")).to_contain_text("limit")
        again = person.rest.get(f"/api/v1/tasks/{named(page)}").json()
        assert again["result"]["value"] == {"limit": 3, "rows": 7}
        assert [bool(step.get("reused")) for step in again["steps"]] == [True, False]
        await steps_are_chosen(hand, page, {"share": "shares 3"})

    await both(people, story)


async def steps_are_chosen(hand: Hand, page: Page, logs: dict[str, str]) -> None:
    for step, line in logs.items():
        await hand.press(page.locator(f".graph [data-show-run={step}]"))
        await expect(page.locator("[data-log-run]")).to_have_value(step)
        await expect(page.locator(".log p span")).to_have_text([line])


async def taken_over_stays(hand: Hand, page: Page) -> None:
    """What a result was made of that is taken over cannot be changed: it is said where."""
    await expect(page.locator("[data-from-failed]")).to_be_checked()
    await expect(page.locator("form.new")).to_contain_text("What count brought is taken over")
    text = page.locator("[data-text]")
    before = await text.input_value()
    await hand.write(text, before.replace("counts to", "counts up to"))
    await hand.press(button(page, "Hand it over"))
    await expect(page.locator("[data-problem]")).to_contain_text("/steps/0/container")
    await hand.write(text, before)


# --- many tasks


async def test_many_tasks_are_found_ordered_and_ended_at_once(
    people: People, kubectl: Kubectl
) -> None:
    async def story(hand: Hand, person: Person) -> None:
        with a_queue(kubectl, paused=True) as queue:
            for number in range(3):
                submit(
                    person.rest,
                    name=f"{queue}-{number}",
                    queue=queue,
                    container=shell(PATIENT),
                    labels={"part": "odd" if number % 2 else "even"},
                )
            page = await person.page()
            await is_live(page)
            await expect(page.locator("[data-row]")).to_have_count(3)
            await is_filtered(hand, page, queue)
            await are_ended(hand, page, person, queue)

    await both(people, story)


async def is_filtered(hand: Hand, page: Page, queue: str) -> None:
    """What one filters by stands in the address, and holds for what comes later."""
    rows, filters = page.locator("[data-row]"), page.locator("form.filter")
    await hand.write(filters.locator("[name=label]"), "part=even")
    await hand.choose(filters.locator("[name=sort]"), "oldest")
    await hand.press(button(filters, "Filter"))
    await page.wait_for_url("**/?*label=part%3Deven*")
    assert "sort=createdAt" in page.url
    await expect(rows).to_have_count(2)
    assert [await row.get_attribute("id") for row in await rows.all()] == [
        f"t-{queue}-0",
        f"t-{queue}-2",
    ]
    await page.reload()
    await expect(rows).to_have_count(2)
    await hand.press(page.get_by_role("link", name="All tasks"))
    await expect(rows).to_have_count(3)
    await hand.write(page.locator("[data-find]"), f"{queue}-1")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/?search=*")
    await expect(rows).to_have_count(1)
    await hand.press(page.get_by_role("link", name="All tasks"))
    await hand.write(filters.locator("[name=queue]"), queue)
    await hand.write(filters.locator("[name=type]"), "sleep")
    await hand.press(button(filters, "Filter"))
    await expect(page.get_by_text("No task fits.")).to_be_visible()
    await hand.press(page.get_by_role("link", name="All tasks").first)
    await expect(rows).to_have_count(3)


async def are_ended(hand: Hand, page: Page, person: Person, queue: str) -> None:
    """Some are marked and cancelled, and done again; what comes meanwhile is counted."""
    rows = page.locator("[data-row]")
    counts = {
        name: page.locator("#counts a", has_text=name).locator("b")
        for name in ("Waiting", "Cancelled")
    }
    await expect(counts["Waiting"]).to_have_text("3")
    await is_live(page)
    submit(person.rest, name=f"{queue}-3", queue=queue, container=shell(PATIENT))
    await expect(counts["Waiting"]).to_have_text("4")
    for number in (0, 3):
        await hand.press(page.locator(f"#t-{queue}-{number} [data-mark]"))
    await expect(page.locator("[data-marked]")).to_have_text("2")
    await hand.press(page.locator("[data-many=':cancel']"))
    await sure(page, hand)
    await said(page, "2 done.")
    await expect(counts["Cancelled"]).to_have_text("2")
    await expect(counts["Waiting"]).to_have_text("2")
    # As a chosen phase stands in the address, it is that of all of them.
    await hand.press(page.locator("#counts a", has_text="Cancelled"))
    await page.wait_for_url("**/?phase=Cancelled")
    await expect(rows).to_have_count(2)
    await hand.press(page.locator("[data-mark-all]"))
    await hand.press(page.locator("[data-many=':retry']"))
    await sure(page, hand)
    await said(page, "2 done.")
    await expect(counts["Waiting"]).to_have_text("4")
    await page.goto(f"{person.visits.url}/?queue={queue}")
    await hand.press(button(page, "Cancel all that fit"))
    await sure(page, hand)
    await expect(counts["Cancelled"]).to_have_text("6")


# --- queues


async def test_a_queue_is_paused_ordered_anew_and_resumed(people: People, kubectl: Kubectl) -> None:
    owner = people.user()

    async def story(hand: Hand, person: Person) -> None:
        with a_queue(kubectl) as queue:
            page = await person.page(f"queues/{queue}")
            await is_live(page)
            await hand.press(button(page, "Pause"))
            await sure(page, hand)
            await expect(page.locator("#head .tag")).to_have_text("paused")
            for number in range(3):
                name = f"{queue}-{number}"
                submit(owner.rest, name=name, queue=queue, container=shell("true"))
            rows = page.locator("#content tbody tr")
            await expect(rows).to_have_count(3)
            await expect(rows.first).to_contain_text(f"{queue}-0")
            last = page.locator(f"#w-{queue}-2")
            await hand.write(last.locator("input"), "90")
            await hand.press(button(last, "Set"))
            await expect(rows.first).to_contain_text(f"{queue}-2")
            await from_its_page(hand, owner, queue)
            await expect(rows.first).to_contain_text(f"{queue}-1")
            await expect(page.locator("#shares")).to_contain_text(owner.name)
            await hand.press(page.get_by_role("link", name="Queues").first)
            listed = page.locator(f"#q-{queue}")
            await expect(listed).to_contain_text("paused")
            await hand.press(button(listed, "Resume"))
            await sure(page, hand)
            await expect(listed).not_to_contain_text("paused")
            await page.goto(f"{person.visits.url}/?queue={queue}")
            await expect(page.locator("[data-row] .phase.Succeeded")).to_have_count(3, timeout=POD)

    async def from_its_page(hand: Hand, person: Person, queue: str) -> None:
        page = await person.page(f"tasks/{queue}-1")
        await is_live(page)
        await expect(page.locator(".facts")).to_contain_text("place")
        await hand.write(page.locator("#priority"), "99")
        await hand.press(button(page, "Set priority"))
        await expect(page.locator(".facts")).to_contain_text("priority 99")
        # Who is no admin is offered no more than they may do.
        await page.goto(f"{person.visits.url}/queues/{queue}")
        await expect(button(page, "Resume")).to_have_count(0)

    await both(people, story, admins=True)


# --- schedules


async def test_a_schedule_is_made_run_stopped_by_failures_and_deleted(people: People) -> None:
    async def story(hand: Hand, person: Person) -> None:
        page = await person.page("schedules")
        await hand.press(page.get_by_role("link", name="New schedule").first)
        await page.wait_for_url("**/new/schedule")
        await hand.choose(page.locator("#type"), "http")
        await page.wait_for_url("**/new/schedule?type=http-fetch")
        name = f"{person.name}-s"
        await hand.write(page.locator("#f-name"), name)
        await hand.write(page.locator("#f-cron"), "61 * * * *")
        await hand.write(page.locator("[data-pointer$='/input/url']"), "https://127.0.0.1/")
        await hand.press(page.locator("details.rest > summary"))
        await hand.write(page.locator("#f-failures"), "1")
        await hand.press(button(page, "Make it"))
        await expect(page.locator("#f-cron")).to_have_attribute("aria-invalid", "true")
        # Half a day from now: it has no run but those that are asked for.
        await hand.write(page.locator("#f-cron"), f"0 {(datetime.now(UTC).hour + 12) % 24} * * *")
        await hand.press(button(page, "Make it"))
        await page.wait_for_url(f"**/schedules/{name}")
        await expect(page.locator("#lead")).to_contain_text("The next run is in")
        await is_run(hand, page)
        await is_stopped(hand, page)
        await hand.press(button(page, "Delete"))
        await sure(page, hand)
        await page.wait_for_url("**/schedules")
        await expect(page.locator(f"#s-{name}")).to_have_count(0)

    await both(people, story)


async def is_run(hand: Hand, page: Page) -> None:
    """It fails at once, and one failure is what it may have."""
    await is_live(page)
    rows = page.locator("#runs tbody tr")
    await hand.press(button(page, "Run now"))
    await sure(page, hand)
    await expect(rows).to_have_count(1)
    await expect(rows.first).to_contain_text("Failed", timeout=POD)
    await hand.press(button(page, "Reset failures"))
    await sure(page, hand)
    await expect(button(page, "Reset failures")).to_have_count(0)


async def is_stopped(hand: Hand, page: Page) -> None:
    """It is paused and goes on, and makes up for what has passed."""
    await hand.press(button(page, "Pause"))
    await sure(page, hand)
    await expect(page.locator("#lead")).to_contain_text("paused", ignore_case=True)
    await hand.press(button(page, "Resume"))
    await sure(page, hand)
    await expect(button(page, "Pause")).to_be_visible(timeout=30_000)
    await expect(page.locator("#lead")).to_contain_text("The next run is in")
    await hand.write(page.locator("#f-from"), "2026-01-02T00:00")
    await hand.write(page.locator("#f-to"), "2026-01-01T00:00")
    await hand.press(button(page, "Run them"))
    await expect(page.locator("#e-to")).to_contain_text("before")
    await hand.write(page.locator("#f-to"), "2026-01-03T00:00")
    await hand.press(button(page, "Run them"))
    await said(page, "They are asked for")
    await expect(page.locator("#runs tbody tr")).to_have_count(2)


# --- what is told


async def test_what_nobody_took_is_sent_again(people: People, receiver: Receiver) -> None:
    async def story(hand: Hand, person: Person) -> None:
        path = f"/{person.name}"
        receiver.answers_at[path].append(410)
        task = submit(
            person.rest,
            type="fibonacci",
            input={"n": 1},
            callback={"url": receiver.url(path)},
        )["id"]
        page = await person.page("told")
        row = page.locator(f"#c-{task}")
        await expect(row).to_contain_text("410", timeout=POD)
        await hand.press(button(row, "Send again"))
        await sure(page, hand)
        await expect(row).to_have_count(0)

    await both(people, story)


async def test_a_subscription_is_made_watched_and_ended(people: People, receiver: Receiver) -> None:
    async def story(hand: Hand, person: Person) -> None:
        page = await person.page("subscriptions")
        await hand.write(page.locator("[data-pointer='/url']"), receiver.url(f"/{person.name}"))
        await hand.press(page.locator("input[value=cancelled]"))
        await hand.write(page.locator("[data-pointer='/filter/type']"), "fibonacci")
        await hand.write(page.locator("[data-pointer='/description']"), "by hand")
        await hand.press(button(page, "Make it"))
        link = page.locator("tbody [data-open]")
        await expect(link).to_contain_text(person.name)
        await expect(page.locator("tbody tr")).to_contain_text("succeeded, failed")
        await hand.press(link)
        await page.wait_for_url("**/subscriptions/*")
        await is_live(page)
        task = submit(person.rest, type="fibonacci", input={"n": 1})["id"]
        row = page.locator("#deliveries tbody tr", has_text=task)
        await expect(row).to_contain_text("sent", timeout=POD)
        await expect(row).to_contain_text("204")
        await hand.press(button(row, "Send again"))
        await sure(page, hand)
        receiver.wait_for(task, count=2)
        await expect(row).to_contain_text("sent")
        await hand.choose(page.locator("select[name=state]"), "given")
        await page.wait_for_url("**?state=given_up")
        await expect(page.get_by_text("None stands so.")).to_be_visible()
        await hand.press(button(page, "Pause"))
        await sure(page, hand)
        await expect(page.locator("#head .tag")).to_have_text("paused")
        await hand.press(button(page, "Resume"))
        await sure(page, hand)
        await expect(page.locator("#head .tag")).to_have_count(0)
        await hand.press(button(page, "Delete"))
        await sure(page, hand)
        await page.wait_for_url("**/subscriptions")
        await expect(page.locator("tbody tr")).to_have_count(0)

    await both(people, story)


# --- one's account


async def test_an_account_is_ones_own_affair(people: People, product: Product) -> None:
    async def story(hand: Hand, person: Person) -> None:
        page = await person.page("account")
        await tokens_come_and_go(hand, page, product)
        await key_is_made_anew(hand, page, person)
        mails = page.locator("#mails")
        await hand.press(mails.locator("input[value=failed]"))
        await hand.press(button(mails, "Keep this"))
        await said(page, "From now on you are mailed of these.")
        await page.reload()
        await expect(mails.locator("input[value=failed]")).to_be_checked()
        await password_is_changed(hand, page, person)

    await both(people, story)


async def test_an_address_is_shown_to_be_ones_own(people: People, kubectl: Kubectl) -> None:
    """The installation logs its mails, so the code is read there as others read it in a mail."""

    async def story(hand: Hand, person: Person) -> None:
        page, box = await person.page("account"), f"{person.name}@box.example.com"
        mails, ask, give = (page.locator(one) for one in ("#mails", "#verify", "#confirm"))
        await expect(mails).to_contain_text("before you have shown that it is yours")
        await hand.write(ask.locator("[data-pointer='/email']"), box)
        await hand.press(button(ask, "Send a code"))
        await said(page, "A mail with a code is on its way.")
        code = give.locator("[data-pointer='/code']")
        await hand.write(code, "of-nobody")
        await hand.press(button(give, "Confirm"))
        await expect(give.locator("#e-code")).to_contain_text("it is none of yours")
        mailed = await asyncio.to_thread(mailed_code, kubectl, box)
        await hand.write(code, mailed)
        await hand.press(button(give, "Confirm"))
        await expect(mails).to_contain_text(f"They go to {box}.")
        await expect(page.locator(".head")).to_contain_text(box)
        assert mailed not in person.rest.get("/api/v1/notices").text

    await both(people, story)


def mailed_code(kubectl: Kubectl, box: str) -> str:
    """Return the code that was mailed there."""

    def find() -> list[str]:
        log = kubectl("logs", *SYSTEM, "-l", "app.kubernetes.io/component=api", "--tail=-1")
        told = [json.loads(line) for line in log.splitlines() if box in line]
        mails = [one["text"] for one in told if one.get("to") == box and "text" in one]
        return [code for mail in mails for code in re.findall(r"longtask mail confirm (\S+)", mail)]

    (code,) = eventually(find, bool, within=60)
    return code


async def tokens_come_and_go(hand: Hand, page: Page, product: Product) -> None:
    form = page.locator("#new-token")
    await hand.write(form.locator("[data-pointer='/name']"), "nightly")
    await hand.press(form.locator("input[value=write]"))
    await hand.write(form.locator("[data-pointer='/expiresInDays']"), "900")
    await hand.press(button(form, "Make the token"))
    await expect(form.locator("#e-expiresInDays")).not_to_be_empty()
    await hand.write(form.locator("[data-pointer='/expiresInDays']"), "2")
    await hand.press(button(form, "Make the token"))
    shown = form.locator("[data-secret-out] code")
    await expect(shown).to_contain_text("lt_")
    await hand.press(button(form, "copy"))
    await said(page, "Copied.")
    token = await shown.inner_text()
    assert answered(product, token) == 200
    row = page.locator("tr", has_text="nightly")
    await hand.press(button(row, "Delete"))
    await sure(page, hand)
    await expect(row).to_have_count(0)
    eventually(lambda: answered(product, token), lambda code: code == 401, within=30)


def answered(product: Product, token: str) -> int:
    """Return how a program is answered that shows the token."""
    with client_of(product, token) as program:
        return program.get("/api/v1/tasks").status_code


async def key_is_made_anew(hand: Hand, page: Page, person: Person) -> None:
    form, before = page.locator("#callback-key"), callback_key(person.rest)
    await hand.press(button(form, "Show the key"))
    await expect(form.locator("code")).to_have_text(before)
    await hand.press(button(form, "Make a new one"))
    await sure(page, hand)
    await said(page, "Done.")
    await hand.press(button(form, "Show the key"))
    await expect(form.locator("code")).not_to_have_text(before)
    await expect(form.locator("code")).to_have_text(callback_key(person.rest))


async def password_is_changed(hand: Hand, page: Page, person: Person) -> None:
    """Who changes it stays in; who comes later needs the new one."""
    form = page.locator("#password")
    await hand.write(form.locator("[data-pointer='/current']"), "not this one")
    await hand.write(form.locator("[data-pointer='/new']"), f"{person.password} too")
    await hand.press(button(form, "Change it"))
    await expect(form.locator(".wrong:visible")).to_have_count(1)
    await hand.write(form.locator("[data-pointer='/current']"), person.password)
    await hand.press(button(form, "Change it"))
    await said(page, "The password is changed")
    await hand.press(button(page, "Log out"))
    await hand.write(page.get_by_label("Username"), person.name)
    # Of tries to show who one is, an installation takes five a minute.
    await hand.write(page.get_by_label("Password"), f"{person.password} too")
    await hand.press(button(page, "Log in"))
    await expect(page.get_by_role("heading", name="Tasks")).to_be_visible()


# --- those who look after it


async def test_admins_let_people_in_and_see_what_they_did(people: People) -> None:
    async def story(hand: Hand, person: Person) -> None:
        page = await person.page("admin")
        name = f"{person.name}-x"
        new = page.locator("#new-user")
        await hand.write(new.locator("[data-pointer='/username']"), name)
        await hand.write(new.locator("[data-pointer='/email']"), f"{name}@example.com")
        await hand.choose(new.locator("[data-pointer='/role']"), "viewer")
        await hand.press(button(new, "Make the user"))
        await expect(new.locator("[data-secret-out] code")).not_to_be_empty()
        await page.reload()
        row = await found(hand, page, name)
        await hand.choose(row.locator("select"), "user")
        await expect(row.locator("select")).to_have_value("user")
        await hand.press(button(row, "Keep out"))
        await sure(page, hand)
        await expect(row).to_contain_text("kept out")
        await hand.press(button(row, "Let in"))
        await sure(page, hand)
        await expect(row).not_to_contain_text("kept out")
        await hand.press(button(row, "New password"))
        await sure(page, hand)
        await expect(row.locator("code")).not_to_be_empty()
        await page.reload()
        row = await found(hand, page, name)
        await hand.press(button(row, "Delete"))
        await sure(page, hand)
        await expect(row).to_have_count(0)
        await invitation_is_taken_back(hand, page, person)
        await is_on_record(hand, page, person, name)

    async def found(hand: Hand, page: Page, name: str) -> Locator:
        row = page.locator(f"#u-{name}")
        while await row.count() == 0:
            async with page.expect_navigation():
                await hand.press(page.get_by_role("link", name="next →"))
        return row

    await both(people, story, admins=True)


async def invitation_is_taken_back(hand: Hand, page: Page, person: Person) -> None:
    form = page.locator("#new-invite")
    await hand.write(form.locator("[data-pointer='/note']"), f"for {person.name}")
    await hand.press(button(form, "Invite"))
    await expect(form.locator("code")).to_contain_text("/register?invite=lti_")
    row = page.locator("tr", has_text=f"for {person.name}")
    await hand.press(button(row, "Take back"))
    await sure(page, hand)
    await expect(row).to_have_count(0)


async def is_on_record(hand: Hand, page: Page, person: Person, name: str) -> None:
    """The audit has all of it, by whom and to whom."""
    await hand.press(page.get_by_role("navigation").get_by_role("link", name="Audit"))
    filters = page.locator("form.filter")
    await hand.write(filters.locator("[name=actor]"), person.name)
    await hand.write(filters.locator("[name=target]"), name)
    await hand.press(button(filters, "Filter"))
    await page.wait_for_url("**/audit?*actor=*")
    rows = page.locator("[data-row]")
    await expect(rows).to_have_count(6)
    await expect(rows.first).to_contain_text(name)
    await hand.press(rows.first.get_by_title("All such acts"))
    await page.wait_for_url("**/audit?act=*")
    await expect(rows.first).to_be_visible()


# --- what is looked at


PATHS = (
    *("", "schedules", "queues", "queues/default", "types", "types/sleep", "told"),
    *("subscriptions", "trends", "trends?span=hour", "health", "account"),
    *("new", "new?type=prime-numbers", "new/schedule"),
)
OF_ADMINS = ("audit", "admin")


async def test_nothing_keeps_anybody_from_using_it(people: People, visits: Visits) -> None:
    """Axe finds nothing, nothing scrolls sideways, and no console says anything."""

    async def looks(person: Person, *paths: str) -> None:
        page = await person.page(viewport={"width": 390, "height": 800})
        task = submit(person.rest, type="fibonacci", input={"n": 3})["id"]
        for path in (*paths, f"tasks/{task}"):
            await page.goto(f"{visits.url}/{path}")
            assert await violations(page) == [], path
            assert await overflow(page) <= 0, path

    await asyncio.gather(looks(people.user(), *PATHS), looks(people.admin(), *PATHS, *OF_ADMINS))
    assert [one for one in visits.complaints if "/logs" not in one] == []


async def test_neither_of_two_sees_anything_of_the_other(
    people: People, kubectl: Kubectl, receiver: Receiver
) -> None:
    one, other = people.user(), people.user()
    secret = f"of-{one.name}"
    own = ("", "schedules", "told", "subscriptions", "account", "trends", "queues", "health")
    pages = {path: await other.page(path) for path in ("", "schedules")}
    for page in pages.values():
        await is_live(page)
    receiver.answers = [410]
    with a_queue(kubectl, paused=True) as queue:
        order = {"container": shell(PATIENT), "name": f"{secret}-t", "queue": queue}
        submit(one.rest, **order)
        told = {"type": "fibonacci", "input": {"n": 1}, "callback": {"url": receiver.url()}}
        submit(one.rest, name=f"{secret}-c", **told)
        schedule = {"schedule": "@hourly", "taskTemplate": {"spec": {"type": "sleep"}}}
        schedule["taskTemplate"]["spec"]["input"] = {"seconds": 1}  # type: ignore[index]
        made = one.rest.post("/api/v1/schedules", json=schedule | {"name": f"{secret}-s"})
        assert made.status_code == 201, made.text
        # It is told nothing here: the receiver's answer is the callback's.
        hears = {"url": receiver.url(f"/{secret}"), "events": ["cancelled"]}
        subscription = one.rest.post("/api/v1/subscriptions", json=hears).json()["id"]
        token = {"name": secret, "scopes": ["read"]}
        assert one.rest.post("/api/v1/tokens", json=token).status_code == 201
        # What is theirs, they see; by then the other would.
        mine = await one.page("told")
        await expect(mine.locator(f"#c-{secret}-c")).to_be_visible(timeout=POD)
        submit(other.rest, name=f"of-{other.name}", queue=queue, container=shell(PATIENT))
        await expect(pages[""].locator(f"#t-of-{other.name}")).to_be_visible()
        for path in own:
            for person, sees in ((one, True), (other, False)):
                page = await person.page(path)
                text = await page.locator("main").inner_text()
                assert sees or secret not in text, path
                if sees and path in ("", "schedules", "told", "subscriptions", "account"):
                    assert secret in text, path
                await page.context.close()
        for page in pages.values():
            assert secret not in await page.locator("main").inner_text()
        hidden = (
            f"tasks/{secret}-t",
            f"schedules/{secret}-s",
            f"new?of={secret}-c",
            f"subscriptions/{subscription}",
        )
        for path in hidden:
            page = await other.page(path)
            await expect(page.locator(".middle")).to_contain_text("404")
        page = await other.page(f"queues/{queue}")
        await expect(page.locator("#content header")).to_contain_text("1 of others")
        assert secret not in await page.locator("main").inner_text()
