"""What programs, users and others may have written anywhere, in a browser."""

from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from playwright.async_api import Page, expect

from api_support import bearing, eventually, put_schedule, put_task
from browser_support import Stage, is_live, overflow
from dashboard_support import Scene, StampedLogs
from longtask_crds import names
from page_support import HOSTILE

#: All of them in one, and a word that no line is long enough for.
TEXTS = {
    "many": " ".join(text for name, text in HOSTILE.items() if name != "long"),
    "long": HOSTILE["long"],
}


def write(kubernetes: StampedLogs, text: str) -> None:
    """Let the text stand wherever the cluster takes it."""
    brief, now = text[:1000], datetime.now(UTC)
    scene = Scene(kubernetes, now)
    kubernetes.put(
        names.LONGTASKTYPES,
        "hostile",
        spec={
            "description": brief,
            "inputSchema": {
                "type": "object",
                "description": brief,
                "required": [brief],
                "properties": {
                    brief: {"type": "string", "title": brief, "description": brief},
                    "choice": {"enum": [brief, "other"], "default": brief},
                    "group": {"type": "object", "properties": {brief: {"type": "boolean"}}},
                },
            },
        },
    )
    attempts = [
        scene.attempt("runs", 1, 60, 50, message=brief, reason=brief[:60]),
        scene.attempt("runs", 2, 40) | {"node": brief[:200]},
    ]
    given = {brief: [text, {brief: text}]}
    scene.running("runs", "hostile", "mira", 60, 40, brief, attempt=2, attempts=attempts)
    put_task(kubernetes, "runs", spec={"type": "hostile", "input": given})
    told = {"id": "msg_a", "event": "failed", "state": "Exhausted", "tries": 8}
    tried = [{"at": scene.ago(seconds=5), "event": "failed", "error": brief[:200], "seconds": 1}]
    scene.over(
        "is-over",
        "hostile",
        "mira",
        "Failed",
        30,
        5,
        brief,
        reason="ProgramFailed",
        result={"value": {brief: [text], "more": text}},
        callback=told | {"deliveries": tried},
        spec={"input": text, "callback": {"url": f"https://a.test/{quote(brief[:60])}"}},
    )
    scene.over("as-text", "hostile", "mira", "Succeeded", 30, 5, brief)
    put_task(kubernetes, "as-text", status={"result": {"value": text, "mediaType": "text/plain"}})
    stamped = [f"2026-01-02T03:04:05.00000000{n}Z {text}\n".encode() for n in range(9)]
    for pod in ("runs-2-pod", "is-over-1-pod"):
        kubernetes.logs[pod] = [b"".join(stamped)]
    step = {"name": "one", "phase": "Failed", "message": brief[:256], "reason": brief[:60]}
    scene.running("steps", None, "mira", 9, 1, brief, spec={"output": brief}, step=brief[:80])
    put_task(kubernetes, "steps", spec={"steps": [{"name": "one", "type": "hostile"}]})
    put_task(kubernetes, "steps", status={"steps": [step]})
    put_task(
        kubernetes, "steps", metadata={"annotations": {names.OWNER_NAME_ANNOTATION: brief[:200]}}
    )
    failed = {"phase": "Failed", "error": brief[:256]}
    put_schedule(
        kubernetes,
        "hostile",
        metadata={"labels": {names.OWNER_LABEL: "mira"}},
        spec={"taskTemplate": {"spec": {"type": "hostile", "input": {brief: text}}}},
        status={
            "resetBy": brief[:200],
            "resetAt": scene.ago(hours=1),
            "runs": [{"name": "h-1", "number": 1, "scheduledAt": scene.ago(hours=2)} | failed],
        },
    )


async def say(stage: Stage, text: str) -> str:
    """Let the text stand wherever the API takes it; return the id of a subscription."""
    token = await stage.let_in(await stage.browser.new_context(), "root")
    brief = " ".join(text.split())[:100].encode(errors="ignore").decode()
    page = await stage.browser.new_page(extra_http_headers=bearing(token))
    for path, order in (
        ("tokens", {"name": brief[:60]}),
        ("invites", {"note": brief[:60]}),
        ("subscriptions", {"url": f"https://hooks.test:9000/{quote(brief)}", "description": brief}),
    ):
        answer = await page.request.post(f"{stage.url}/api/v1/{path}", data=order)
        made = await answer.json()
        assert answer.status == 201, made
    await page.context.close()
    return str(made["id"])


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_nothing_of_it_runs_or_breaks_the_page(
    stage: Stage, kubernetes: StampedLogs, text: str
) -> None:
    write(kubernetes, text)
    subscription = await say(stage, text)
    page = await stage.visitor(username="root")
    over = []
    for path in (
        *("", "tasks/runs", "tasks/is-over", "tasks/as-text", "tasks/steps"),
        *("types", "types/hostile", "new?type=hostile", "new?of=is-over"),
        *("schedules", "schedules/hostile", "new/schedule?type=hostile"),
        *("told", "subscriptions", f"subscriptions/{subscription}", "trends", "account", "admin"),
        *("audit", f"?search={quote(text[:200])}", f"login?next={quote(text[:200])}"),
    ):
        await page.goto(f"{stage.url}/{path}")
        for width in (320, 1360):
            await page.set_viewport_size({"width": width, "height": 800})
            if await overflow(page) > 0:
                over.append((path, width))
        assert await page.locator("img, main script, iframe").count() == 0, path
        assert await page.title() != "title", path
    assert over == [], over
    assert [one for one in stage.complaints if "/logs" not in one] == []
    await is_said_as_it_happens(stage, page, text)


async def is_said_as_it_happens(stage: Stage, page: Page, text: str) -> None:
    """What comes by the stream is put into the page by its script, and is text there as well."""
    await page.goto(f"{stage.url}/tasks/render-video-7f3k2q")
    await is_live(page)
    said = " ".join(text[:200].split())
    stage.reports(77, said)
    await expect(page.locator(".facts [data-percent]")).to_have_text("77 %")
    shown = page.locator(".lead [data-note]")

    async def is_shown() -> bool:
        return said[1:] in " ".join((await shown.inner_text()).split())

    await eventually(is_shown)
    assert await overflow(page) <= 0
    assert [one for one in stage.complaints if "/logs" not in one] == []
