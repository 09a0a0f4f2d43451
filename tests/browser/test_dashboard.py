"""The dashboard in a browser: what it does by itself, and whether everybody can use it.

The installation is in memory, all else is real: sockets, streams, cookies, the policy.
"""

import gzip
import json
import re
import statistics
from datetime import UTC, datetime

import httpx
import pytest
from playwright.async_api import Page, expect

import weight_support
from api_support import bearing, eventually, put_ended_task, put_task
from browser_support import (
    Hand,
    Keyboard,
    Mouse,
    Stage,
    arrived,
    is_live,
    overflow,
    said,
    violations,
)
from dashboard_support import PATHS, Scene
from longtask_api.stores.users import Users
from longtask_api.ui import words
from longtask_crds import names

#: More than so much for a frame is a stutter.
FRAME_MS = 50

# --- for everybody


async def test_nothing_keeps_anybody_from_using_it(stage: Stage) -> None:
    """Axe finds nothing, and the console says nothing: so the policy forbids none of it."""
    page = await stage.visitor()
    found = []
    for path in await stage.filled():
        await page.goto(f"{stage.url}/{path}")
        found += [(path, *one) for one in await violations(page)]
    assert found == []
    assert [
        one for one in stage.complaints if "tasks/nobody" not in one and "/logs" not in one
    ] == []


async def test_the_login_page_is_for_everybody_too(stage: Stage) -> None:
    for path in ("login", "register"):
        page = await stage.open(path, username=None)
        assert await violations(page) == []
    assert stage.complaints == []


async def test_pages_are_light(stage: Stage) -> None:
    async with httpx.AsyncClient(base_url=stage.url, timeout=60) as client:
        token = await stage.let_in(await stage.browser.new_context(), "amelie")
        for path in PATHS:
            page = await client.get(f"/{path}", headers=bearing(token))
            files = set(re.findall(r'(?:href|src)="(/assets/[^"]+)"', page.text))
            assert len(files) == 4
            parts = [page, *[await client.get(file) for file in files]]
            assert sum(len(gzip.compress(one.content)) for one in parts) < 200_000


async def test_nothing_scrolls_sideways(stage: Stage) -> None:
    """Logs, code and pictures may: no page does, and no table."""
    page = await stage.visitor()
    found = []
    for path in await stage.filled():
        await page.goto(f"{stage.url}/{path}")
        for width in (320, 390, 768, 1360):
            await page.set_viewport_size({"width": width, "height": 800})
            over = await overflow(page)
            tables: list[str] = await page.locator("table").evaluate_all(
                "all => all.filter(one => one.scrollWidth > one.parentElement.clientWidth)"
                ".map(one => one.className)"
            )
            if over > 0 or (tables and width >= 390):
                found.append((path, width, over, tables))
    assert found == [], found


@pytest.mark.parametrize(
    "path", ["", "tasks/nightly-report-0412", "new?type=render-video", "queues", "trends"]
)
async def test_a_first_visit_is_soon_seen_and_light(stage: Stage, path: str) -> None:
    paints = []
    for _ in range(weight_support.TRIES):
        page = await stage.open(path)  # in a browser that was never here
        assert await weight_support.weight(page) <= weight_support.WEIGHT
        paints.append(await weight_support.paint(page))
        await page.context.close()
        if paints[-1] <= weight_support.FIRST_PAINT_MS:
            break
    assert min(paints) <= weight_support.FIRST_PAINT_MS


async def test_nothing_moves_under_who_reads(stage: Stage) -> None:
    """Neither as a page comes, nor as it is kept fresh."""
    paths = await stage.filled()
    page = await stage.visitor(reduced_motion="no-preference")
    await page.add_init_script(weight_support.OBSERVE)
    found = []
    for number, path in enumerate(paths):
        await page.goto(f"{stage.url}/{path}")
        state = page.locator("[data-state]")
        if await state.count() and path.partition("/")[0] != "tasks":
            await expect(state).to_have_text("live")
            for change in range(2):
                fresh = await page.evaluate("window.fresh")
                name = f"new-{number}-{change}"
                scene = Scene(stage.kubernetes, datetime.now(UTC))
                scene.running(name, "ocr", "mira", 1, 3, "page 1", queue="video")
                stage.reports(70 + change, f"frame {change} of 1,800")
                scene.over("import-ledger-9ab", "import-ledger", "mira", "Succeeded", 1, 60)
                await weight_support.freshened(page, since=fresh)
        elif await state.count() and await state.inner_text() != "it is over":
            fresh = await page.evaluate("window.fresh")
            task = path.rpartition("/")[2]
            put_task(stage.kubernetes, task, metadata={"annotations": {"bench": str(number)}})
            await weight_support.freshened(page, since=fresh)
        shifts = await page.evaluate("window.shifts")
        if weight_support.worst(shifts) > weight_support.SHIFT:
            found.append((path, weight_support.worst(shifts), shifts))
    assert found == []


# --- live


async def test_progress_is_seen_as_it_is_made(stage: Stage) -> None:
    page = await stage.open("")
    await expect(page.locator("[data-state]")).to_have_text("live")
    stage.reports(80, "frame 1,440 of 1,800")
    row = page.locator("#t-render-video-7f3k2q")
    await expect(row.locator("[data-percent]")).to_have_text("80 %")
    await expect(row.locator("[data-note]")).to_have_text("frame 1,440 of 1,800")
    assert await row.locator("progress").evaluate("one => one.value") == 80


async def test_a_new_task_comes_and_counts_follow(stage: Stage) -> None:
    page = await stage.open("")
    await expect(page.locator("[data-state]")).to_have_text("live")
    await expect(page.locator("#counts a").first.locator("b")).to_have_text("5")
    Scene(stage.kubernetes, datetime.now(UTC)).running("new-one", "ocr", "mira", 1, 3, "page 1")
    await expect(page.locator("#t-new-one")).to_be_visible()
    await expect(page.locator("#counts a").first.locator("b")).to_have_text("6")
    # What is focused, marked or written meanwhile stays.
    await page.locator("#t-ocr-invoices-51d [data-mark]").check()
    await page.locator("#t-wide [data-open]").focus()
    put_task(stage.kubernetes, "another", metadata={"labels": {names.OWNER_LABEL: "mira"}})
    await expect(page.locator("#t-another")).to_be_visible()
    await expect(page.locator("#t-wide [data-open]")).to_be_focused()
    await expect(page.locator("#t-ocr-invoices-51d [data-mark]")).to_be_checked()
    await expect(page.locator("[data-marked]")).to_have_text("1")


async def test_a_lost_stream_says_so_and_goes_on_by_itself(stage: Stage) -> None:
    page = await stage.open("")
    await expect(page.locator("[data-state]")).to_have_text("live")
    # As a replica that ends does, and whatever is behind it by then.
    stage.services.hub.close()
    await expect(page.locator("[data-state]")).to_contain_text("lost at")
    stage.reports(91, "while nobody listened")
    stage.services.hub.is_closing = False
    await expect(page.locator("[data-state]")).to_have_text("live")
    await expect(page.locator("#t-render-video-7f3k2q [data-percent]")).to_have_text("91 %")


async def test_a_page_that_nobody_sees_holds_no_connection(stage: Stage) -> None:
    """A browser has six of them for each host."""
    page = await stage.open("tasks/render-video-7f3k2q")
    await expect(page.locator("[data-state]")).to_have_text("live")
    assert len(stage.services.hub) == 1
    seen = """isSeen => {
        Object.defineProperty(document, 'hidden', { value: !isSeen, configurable: true });
        document.dispatchEvent(new Event('visibilitychange'));
    }"""
    await page.evaluate(seen, False)
    await expect(page.locator("[data-state]")).to_have_text("asleep")

    async def is_left() -> bool:
        return len(stage.services.hub) == 0

    await eventually(is_left)
    stage.reports(93, "while nobody looked")
    await page.evaluate(seen, True)
    await expect(page.locator("[data-state]")).to_have_text("live")
    await expect(page.locator(".facts [data-percent]")).to_have_text("93 %")
    await expect(page.locator("[data-log-state]")).to_contain_text("400 lines")


async def test_an_ended_session_leads_to_the_login_and_back(stage: Stage) -> None:
    page = await stage.open("?phase=Running")
    await expect(page.locator("[data-state]")).to_have_text("live")
    users = Users(stage.services.database)
    for token in await users.tokens_of("amelie", at=datetime.now(UTC)):
        await users.remove_token("amelie", token.id)
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert "next=%2F%3Fphase%3DRunning" in page.url


async def test_a_task_is_followed_to_its_end(stage: Stage) -> None:
    name = "render-video-7f3k2q"
    page = await stage.open(f"tasks/{name}")
    await expect(page.locator("[data-state]")).to_have_text("live")
    Scene(stage.kubernetes, datetime.now(UTC)).over(
        name,
        "render-video",
        "mira",
        "Succeeded",
        1,
        260,
        "1,800 frames",
        result={"value": {"film": "s3://a"}},
    )
    await expect(page.locator("#head .phase")).to_have_text("Succeeded")
    await expect(page.locator("#result")).to_contain_text("s3://a")
    await expect(page.locator("[data-state]")).to_have_text("it is over")
    await expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


async def test_what_was_not_there_before_comes_without_a_reload(stage: Stage) -> None:
    name = "train-model-k3"
    page = await stage.open(f"tasks/{name}")
    await is_live(page)
    await expect(page.locator("#attempts, [data-log-attempt]")).to_have_count(0)
    await page.evaluate("window.isTheSame = true")
    scene = Scene(stage.kubernetes, datetime.now(UTC))
    attempts = [
        scene.attempt(name, 1, 50, 20, exitCode=75, reason="TryAgain"),
        scene.attempt(name, 2, 10),
    ]
    began = {"attempt": 2, "attempts": attempts, "queue": "gpu"}
    scene.running(name, "train-model", "lea", 50, 10, "epoch 1 of 10", **began)
    await expect(page.locator("#attempts li")).to_have_count(2)
    # Its place is the one that the page would have it in.
    await expect(page.locator("#told + #attempts")).to_be_visible()
    await expect(page.locator("[data-log-attempt]")).to_have_value("2")
    assert await page.evaluate("window.isTheSame") is True


# --- what one does


async def test_keys_walk_open_and_find(stage: Stage) -> None:
    page = await stage.open("")
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("k")
    first = page.locator("[data-open]").first
    await expect(first).to_be_focused()
    outline = await first.evaluate("one => getComputedStyle(one).outlineStyle")
    assert outline == "solid"
    await page.keyboard.press("x")
    await expect(page.locator("[data-mark]").first).to_be_checked()
    name = await first.inner_text()
    await page.keyboard.press("Enter")
    await arrived(page, f"{stage.url}/tasks/{name}")
    await page.keyboard.press("?")
    await expect(page.locator("#keys")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("#keys")).to_be_hidden()
    await page.keyboard.press("/")
    await expect(page.locator("[data-find]")).to_be_focused()
    await page.keyboard.type("nightly")
    await page.keyboard.press("Enter")
    await arrived(page, f"{stage.url}/?search=nightly")
    await page.keyboard.press("n")
    await expect(page).to_have_url(f"{stage.url}/new")
    assert stage.complaints == []


async def test_a_task_is_cancelled_once_one_is_sure(stage: Stage) -> None:
    name = "render-video-p02mm"
    page = await stage.open(f"tasks/{name}")
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.locator("#ask")).to_contain_text("so it ends at once")
    await page.get_by_role("button", name="No").click()
    assert "cancel" not in stage.kubernetes.stored(names.LONGTASKS, name)["spec"]
    await page.get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Yes").click()
    await expect(page.get_by_role("button", name="Ending…")).to_be_visible()
    assert stage.kubernetes.stored(names.LONGTASKS, name)["spec"]["cancel"] is True


async def test_several_are_cancelled_at_once(stage: Stage) -> None:
    page = await stage.open("?queue=video&phase=Queued")
    await page.locator("[data-mark-all]").check()
    await expect(page.locator("[data-marked]")).to_have_text("8")
    await page.locator("[data-many=':cancel']").click()
    await page.get_by_role("button", name="Yes").click()
    await said(page, "8 done.")
    stored = stage.kubernetes.objects(names.LONGTASKS).values()
    assert sum(one["spec"].get("cancel", False) for one in stored) == 8


async def test_a_form_becomes_a_task_and_says_what_is_wrong(stage: Stage) -> None:
    page = await stage.open("new?type=render-video")
    await page.get_by_role("button", name="Hand it over").click()
    wrong = page.locator("[aria-invalid], [data-problem]:not([hidden])")
    await expect(wrong.first).to_be_visible()
    await page.get_by_label("source").fill("https://a.test/scene")
    await page.get_by_label("frames").fill("0")
    await page.get_by_role("button", name="Hand it over").click()
    frames = page.get_by_label("frames")
    await expect(frames).to_have_attribute("aria-invalid", "true")
    await expect(frames).to_be_focused()
    await frames.fill("12")
    await page.get_by_label("width").fill("640")
    await expect(page.locator("#calls")).to_contain_text('"frames": 12')
    await page.get_by_role("tab", name="YAML or JSON").click()
    await expect(page.locator("[data-text]")).to_have_value(re.compile("frames: 12"))
    await page.get_by_role("button", name="Hand it over").click()
    await expect(page).to_have_url(re.compile("/tasks/render-video-"))
    name = page.url.rsplit("/", 1)[1]
    stored = stage.kubernetes.stored(names.LONGTASKS, name)
    wanted = {"source": "https://a.test/scene", "frames": 12, "size": {"width": 640}}
    assert stored["spec"]["input"] == wanted
    assert stored["metadata"]["labels"][names.OWNER_LABEL] == "amelie"


async def test_a_pipeline_goes_on_where_it_failed_with_changes(stage: Stage) -> None:
    steps = [
        {"name": "fetch", "type": "crawl"},
        {"name": "convert", "type": "ocr", "input": {"pages": 7}},
    ]
    scene = Scene(stage.kubernetes, datetime.now(UTC))
    told = [{"name": "fetch", "phase": "Succeeded"}, {"name": "convert", "phase": "Failed"}]
    spec = {"steps": steps}
    scene.task("half", None, "mira", "Failed", 90, spec=spec, reason="StepFailed", steps=told)
    page = await stage.open("tasks/half")
    await page.get_by_role("link", name="Retry with changes…").click()
    await arrived(page, f"{stage.url}/new?of=half")
    await expect(page.get_by_label("Go on where it failed")).to_be_checked()
    text = page.locator("[data-text]")
    order = await text.input_value()
    await text.fill(order.replace("type: crawl", "type: ocr"))
    await page.get_by_role("button", name="Hand it over").click()
    await expect(page.locator("[data-problem]")).to_contain_text("/steps/0/type: cannot be changed")
    await text.fill(order.replace("pages: 7", "pages: 8"))
    await page.get_by_role("button", name="Hand it over").click()
    await expect(page).to_have_url(re.compile("/tasks/half-"))
    stored = stage.kubernetes.stored(names.LONGTASKS, page.url.rsplit("/", 1)[1])
    assert stored["spec"]["steps"][1]["input"] == {"pages": 8}
    assert "fetch" in stored["metadata"]["annotations"][names.REUSE_ANNOTATION]
    assert stage.complaints[1:] == []  # of the refusal the console says so


async def test_a_token_is_shown_once(stage: Stage) -> None:
    page = await stage.open("account")
    await page.get_by_label("A new token for").fill("nightly")
    await page.get_by_role("button", name="Make the token").click()
    secret = page.locator("[data-secret-out]").first
    await expect(secret).to_contain_text("lt_")
    await page.reload()
    await expect(page.get_by_role("cell", name="nightly")).to_be_visible()
    assert "lt_" not in (await page.locator("main").inner_text()).replace("lt_…", "")
    await page.get_by_role("button", name="Show the key").click()
    await expect(page.locator("[data-secret-out]").last).to_contain_text("whsec_")


async def test_one_registers_by_an_invitation_works_and_leaves(stage: Stage) -> None:
    admin = await stage.open("admin")
    await admin.get_by_role("button", name="Invite").click()
    code = admin.locator("[data-secret-out] code")
    await expect(code).to_contain_text("/register?invite=lti_")
    link = await code.inner_text()
    page = await stage.visitor(username=None)
    await page.goto(link)
    await page.get_by_label("Username").fill("grace")
    await page.get_by_label("E-mail").fill("grace@example.com")
    await page.get_by_label("Password").fill("correct horse battery")
    await page.get_by_role("button", name="Make the account").click()
    await expect(page.get_by_role("heading", name="Tasks")).to_be_visible()
    await expect(page.get_by_text("There is no task yet.")).to_be_visible()
    await page.get_by_role("link", name="Your account").click()
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    await page.goto(f"{stage.url}/queues")
    await page.get_by_label("Username").fill("grace")
    await page.get_by_label("Password").fill("correct horse battery")
    await page.get_by_role("button", name="Log in").click()
    await expect(page).to_have_url(f"{stage.url}/queues")


# --- the log


async def frame(page: Page) -> float:
    """Scroll through the whole log; return what a frame takes, in ms, at the best of some tries."""
    medians: list[float] = []
    while len(medians) < weight_support.TRIES and min(medians, default=FRAME_MS) >= FRAME_MS:
        medians.append(statistics.median(await frames(page)))
    return min(medians)


async def frames(page: Page) -> list[float]:
    """Scroll through the whole log; return how long each frame took, in ms."""
    found: list[float] = await page.evaluate(
        """async () => {
        const pane = document.querySelector('[data-log-pane]');
        const times = [];
        let before = performance.now();
        for (let n = 0; n <= 60; n += 1) {
            pane.scrollTop = (pane.scrollHeight * n) / 60;
            await new Promise(requestAnimationFrame);
            const now = performance.now();
            times.push(now - before);
            before = now;
        }
        return times;
    }"""
    )
    return found


async def test_a_hundred_thousand_lines_are_read_without_a_stutter(stage: Stage) -> None:
    pod = "thumbnails-20414-1-pod"
    stage.kubernetes.logs[pod] = [
        b"".join(b"2026-01-02T03:04:05.%09dZ line %d of many\n" % (n, n) for n in range(100_000))
    ]
    page = await stage.open("tasks/thumbnails-20414")
    await expect(page.locator("[data-log-state]")).to_have_text("100,000 lines", timeout=180_000)
    await expect(page.locator(".log p").last).to_contain_text("line 99999 of many")
    assert await page.locator(".log p").count() < 150
    assert await frame(page) < FRAME_MS
    await page.keyboard.press("f")
    await page.keyboard.type("line 54321 ")
    await expect(page.locator("[data-log-hits]")).to_have_text("1 of 1")
    await expect(page.locator(".log .at mark")).to_have_text("line 54321 ")
    await page.locator("[data-log-wrap]").click()
    await expect(page.locator("[data-log-wrap]")).to_have_attribute("aria-pressed", "true")
    assert await frame(page) < FRAME_MS


async def test_a_log_is_text_whatever_is_in_it(stage: Stage) -> None:
    pod = "thumbnails-20414-1-pod"
    hostile = "\x1b[31mred\x1b[0m <img src=x onerror=alert(1)> \u202eturned \x07 " + "wide界" * 80
    stage.kubernetes.logs[pod] = [f"2026-01-02T03:04:05.000000001Z {hostile}\n".encode()]
    page = await stage.open("tasks/thumbnails-20414")
    line = page.locator(".log p span").first
    await expect(line).to_contain_text("red <img src=x onerror=alert(1)> ⟨U+202E⟩turned ␇")
    await page.locator("[data-log-wrap]").click()
    await expect(page.locator(".log p")).not_to_have_count(1)
    rows = await page.locator(".log p span").all_inner_texts()
    assert "".join(rows).endswith("wide界" * 3)
    sizes = await page.locator(".log p").evaluate_all(
        "all => all.map(one => one.scrollWidth - one.clientWidth)"
    )
    assert max(sizes) <= 0
    assert await page.locator("img").count() == 0


@pytest.mark.parametrize("hand", [Mouse(), Keyboard()], ids=["by-mouse", "by-keys"])
async def test_a_steps_log_is_chosen_in_the_graph(stage: Stage, hand: Hand) -> None:
    page = await stage.open("tasks/nightly-report-0412")
    await expect(page.locator("[data-log-state]")).to_contain_text("320 lines")
    await hand.press(page.get_by_role("link", name=re.compile("^fetch")))
    await expect(page.locator("[data-log-run]")).to_have_value("fetch")
    await expect(page.locator("[data-log-state]")).to_contain_text("320 lines")


@pytest.mark.parametrize("hand", [Mouse(), Keyboard()], ids=["by-mouse", "by-keys"])
async def test_a_pipeline_goes_on_with_changes_where_it_failed(stage: Stage, hand: Hand) -> None:
    steps = [
        {"name": "count", "container": {"image": "none"}, "input": {"n": 7}},
        {
            "name": "share",
            "container": {"image": "none"},
            "input": {"limit": {"$from": "input#/limit"}},
        },
    ]
    done = [
        {"name": "count", "phase": "Succeeded", "result": {"value": 13}},
        {"name": "share", "phase": "Failed"},
    ]
    spec = {"input": {"limit": 0}, "steps": steps}
    put_ended_task(stage.kubernetes, "shares", phase="Failed", spec=spec, steps=done)
    page = await stage.open("tasks/shares")
    await hand.press(page.get_by_role("link", name="Retry with changes…"))
    await page.wait_for_url("**/new?of=shares")
    await expect(page.locator("[data-from-failed]")).to_be_checked()
    await expect(page.locator("form.new")).to_contain_text("What count brought is taken over")
    text, ready = page.locator("[data-text]"), page.get_by_role("button", name="Hand it over")
    before = await text.input_value()
    await hand.write(text, before.replace("n: 7", "n: 8"))
    await hand.press(ready)
    await expect(page.locator("[data-problem]")).to_contain_text("/steps/0/input")
    await hand.write(text, before.replace("limit: 0", "limit: 3"))
    await hand.press(ready)
    await page.wait_for_url(re.compile("/tasks/(?!shares$)"))
    await expect(page.locator(".facts")).to_contain_text("another try of shares")
    made = stage.kubernetes.stored(names.LONGTASKS, page.url.rsplit("/", 1)[1])
    assert made["spec"]["input"] == {"limit": 3}
    taken_over = json.loads(made["metadata"]["annotations"][names.REUSE_ANNOTATION])
    assert list(taken_over["results"]) == ["count"]


@pytest.mark.parametrize("hand", [Mouse(), Keyboard()], ids=["by-mouse", "by-keys"])
async def test_an_address_is_shown_to_be_ones_own(
    stage: Stage, hand: Hand, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    page = await stage.open("account", username="ada", role="user")
    ask, give = page.locator("#verify"), page.locator("#confirm")
    await hand.write(ask.locator("[data-pointer='/email']"), "ada@example.com")
    await hand.press(ask.get_by_role("button"))
    await said(page, "A mail with a code is on its way.")
    code = give.locator("[data-pointer='/code']")
    await hand.write(code, "of-nobody")
    await hand.press(give.get_by_role("button"))
    await expect(give.locator("#e-code")).to_contain_text("it is none of yours")

    def mailed() -> list[str]:
        mails = [one.__dict__["text"] for one in caplog.records if one.message == "Logged mail"]
        return re.findall(r"longtask mail confirm (\S+)", "".join(mails))

    async def is_mailed() -> bool:
        return bool(mailed())

    await eventually(is_mailed)
    await hand.write(code, mailed()[0])
    await hand.press(give.get_by_role("button"))
    await expect(page.locator("#mails")).to_contain_text("They go to ada@example.com.")


async def test_both_sides_have_the_same_words(stage: Stage) -> None:
    page = await stage.open("")
    seconds = [0, 1, 59, 60, 61, 3599, 3600, 3661, 86_399, 86_400, 90_061, 1_000_000]
    script = await page.locator("script").get_attribute("src")
    said = await page.evaluate(
        "async ([url, all]) => { const { took } = await import(url); return all.map(took); }",
        [script, seconds],
    )
    assert said == [words.took(one) for one in seconds]


# --- schedules


async def test_a_schedule_is_made_run_and_deleted(stage: Stage) -> None:
    page = await stage.open("new/schedule?type=render-video")
    await page.fill("#f-name", "films")
    await page.fill("#f-cron", "61 * * * *")
    await page.get_by_label("source", exact=True).fill("https://example.com/scene")
    await page.get_by_label("frames", exact=True).fill("100")
    await expect(page.locator("#calls")).to_contain_text("61 * * * *")
    await page.get_by_role("button", name="Make it").click()
    # What is wrong is said where it is wrong.
    await expect(page.locator("#f-cron")).to_have_attribute("aria-invalid", "true")
    await page.fill("#f-cron", "@hourly")
    await page.get_by_role("button", name="Make it").click()
    await page.wait_for_url("**/schedules/films")
    await page.get_by_role("button", name="Run now").click()
    await page.get_by_role("button", name="Yes").click()
    await page.fill("#f-from", "2026-01-02T00:00")
    await page.fill("#f-to", "2026-01-01T00:00")
    await page.get_by_role("button", name="Run them").click()
    await expect(page.locator("#e-to")).to_contain_text("before")
    await page.fill("#f-to", "2026-01-02T02:00")
    await page.get_by_role("button", name="Run them").click()
    await expect(page.get_by_text("They are asked for")).to_be_visible()
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Yes").click()
    await page.wait_for_url("**/schedules")
    assert [one for one in stage.complaints if "422" not in one] == []
