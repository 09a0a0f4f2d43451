"""Schedules, what was told, subscriptions and the audit, as those see them who may see them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from api_support import a_token, eventually, put_ended_task, put_run, put_schedule, put_task
from longtask_adapters.kube import kinds
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import app, errors, wiring
from longtask_api.mail import message
from longtask_api.stores import ends
from longtask_api.stores.ledger import Channel, Ledger, Notice
from longtask_api.stores.users import Users
from longtask_api.ui import calendar, trends
from longtask_api.ui.groups import Group
from longtask_crds import names, signing_keys
from longtask_crds.testing import NOW
from page_support import HOSTILE, Shape, check
from stream_support import knows, serving, talking

HOUR = timedelta(hours=1)
#: As the schedule's `Forbid` would be seen.
OWNED = {names.OWNER_LABEL: "ada"}
EXHAUSTED = {
    "id": "msg_a",
    "event": "succeeded",
    "state": "Exhausted",
    "tries": 8,
    "deliveries": [{"at": "2026-01-02T03:04:00Z", "event": "succeeded", "code": 503}],
}
Browser = Callable[..., Any]


@pytest.fixture
def kubernetes(kubernetes: MemoryKubernetes) -> MemoryKubernetes:
    kubernetes.add_secret(signing_keys.KEYS_SECRET, {}, namespace="longtask")
    return kubernetes


@pytest.fixture
async def as_(services: wiring.Services) -> AsyncIterator[Browser]:
    """Return what makes a browser of somebody who is logged in."""
    made = []

    async def browser(username: str, role: str = "user") -> httpx.AsyncClient:
        token = await a_token(Users(services.database), username, role=role)
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app.for_users(services)),
            base_url="http://api.test",
            headers={"Cookie": f"__Host-longtask={token}", "Origin": "http://api.test"},
        )
        made.append(client)
        return client

    yield browser
    for client in made:
        await client.aclose()


def put_ada_s(kubernetes: MemoryKubernetes, **parts: Any) -> None:
    """Let ada have a schedule `s`, which the operator has seen."""
    put_schedule(kubernetes, metadata={"labels": OWNED})
    generation = kubernetes.stored(names.LONGTASKSCHEDULES, "s")["metadata"]["generation"]
    soon = (NOW + HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")
    usual = {"nextRuns": [soon], "conditions": [said("Accepted", "True", "Active")]}
    put_schedule(kubernetes, status={"observedGeneration": generation} | usual | parts)


def said(kind: str, status: str, reason: str, words: str = "") -> dict[str, Any]:
    stamp = "2026-01-02T03:04:05Z"
    about = {"type": kind, "status": status, "reason": reason, "message": words}
    return about | {"lastTransitionTime": stamp}


async def is_shown(client: httpx.AsyncClient, path: str, text: str) -> Shape:
    """Return the page once it says that."""
    shape = None

    async def there() -> bool:
        nonlocal shape
        answer = await client.get(path)
        shape = Shape(answer.text)
        return answer.status_code == 200 and text in shape.text

    await eventually(there)
    return check(await client.get(path))


async def a_mail(services: wiring.Services, words: str = "a", *, gives_up: bool = True) -> None:
    """Let a mail about a task of ada's be on record."""
    ledger = Ledger(services.database, clock=lambda: NOW)
    at = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    what = message.Said(event="failed", kind="task", name=words[:100], message=words, at=at)
    notice = Notice(
        channel=Channel.MAIL,
        event_id="msg_1",
        event="failed",
        sequence=1,
        task_uid="uid-of-a",
        namespace="longtasks",
        task_name="a",
        owner="ada",
        recipient="ada@example.com",
        document=what.document(),
    )
    await ledger.note([notice])
    if gives_up:
        taken = await ledger.take(Channel.MAIL, 1, 60)
        await ledger.give_up(taken, code=550, error=words[:200])


def calls(shape: Shape) -> set[str]:
    """Return what the page offers to have done."""
    return {one["data-call"] or "" for _, one in shape.tags if "data-call" in one}


PATHS = (
    "/schedules",
    "/schedules/s",
    "/schedules/none",
    "/schedules?cursor=nonsense",
    "/new/schedule",
    "/new/schedule?type=fibonacci",
    "/new/schedule?type=none",
    "/told",
    "/trends",
    "/trends?span=hour",
    "/trends?span=never",
    "/told?state=given_up&task=a",
    "/told?state=nonsense",
    "/subscriptions",
    "/subscriptions/none",
    "/audit",
    "/audit?actor=ada&since=2026-01-02&until=2026-01-03",
    "/audit?since=2026-13-01",
    "/audit?since=yesterday",
    "/audit?actor=%00",
    "/account",
)
WRONG = {
    "/schedules/none": 404,
    "/schedules?cursor=nonsense": 400,
    "/new/schedule?type=none": 404,
    "/told?state=nonsense": 422,
    "/subscriptions/none": 404,
    "/audit?since=2026-13-01": 422,
    "/audit?since=yesterday": 422,
    "/audit?actor=%00": 422,
}


@pytest.mark.parametrize("role", ["viewer", "user", "admin"])
@pytest.mark.parametrize("path", PATHS)
async def test_every_page_keeps_to_the_policy(
    kubernetes: MemoryKubernetes, services: wiring.Services, as_: Browser, role: str, path: str
) -> None:
    put_ada_s(kubernetes)
    put_run(kubernetes, NOW - HOUR, owner="ada")
    await a_mail(services)
    browser = await as_("ada", role)
    await is_shown(browser, "/schedules", "The next run is")
    answer = await browser.get(path)
    status = WRONG.get(path, 200)
    if (role == "viewer" and path.startswith("/new")) or (role != "admin" and path in ADMINS_ONLY):
        status = 403
    assert answer.status_code == status
    shape = check(answer)
    assert len(shape.all("main")) == len(shape.all("h1")) == 1


#: What cannot be read at all is refused before anybody asks who it is that asks.
ADMINS_ONLY = {path for path in PATHS if path.startswith("/audit")} - {
    "/audit?since=yesterday",
    "/audit?actor=%00",
    "/audit?since=2026-13-01",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
async def test_what_others_wrote_is_text_and_nothing_else(
    kubernetes: MemoryKubernetes, services: wiring.Services, as_: Browser, text: str
) -> None:
    brief = text[:200]
    template = {"spec": {"type": "fibonacci", "input": {brief: brief}}}
    put_schedule(kubernetes, spec={"schedule": "@daily", "taskTemplate": template})
    put_ada_s(
        kubernetes,
        message=brief,
        resetBy=brief,
        resetAt="2026-01-02T03:04:00Z",
        runs=[
            {
                "name": "s-gone",
                "number": 1,
                "scheduledAt": "2026-01-02T02:00:00Z",
                "error": brief,
            }
        ],
    )
    put_run(kubernetes, NOW - HOUR, owner="ada", phase="Failed", message=brief)
    put_ended_task(
        kubernetes,
        "b",
        labels=OWNED,
        callback=EXHAUSTED
        | {"deliveries": [{"at": "2026-01-02T03:04:00Z", "event": "failed", "error": brief}]},
    )
    await a_mail(services, brief)
    admin = await as_("root", "admin")
    made = await admin.post(
        "/api/v1/subscriptions",
        json={
            "url": f"https://hooks.test:9000/{quote(brief[:50])}",
            "description": " ".join(brief.split()),
            "filter": {"type": "t", "labels": {"a": "b"}},
        },
    )
    await is_shown(admin, "/schedules/s", "fibonacci")
    paths = ["/schedules", "/schedules/s", "/told", "/subscriptions", "/audit", "/account"]
    if made.status_code == 201:
        paths.append(f"/subscriptions/{made.json()['id']}")
    for path in paths:
        answer = await admin.get(path)
        assert answer.status_code == 200, path
        shape = check(answer)
        assert brief not in answer.text or not set(brief) & set("<>\"'&")
        # What a template would make of it; ids have such digits too.
        assert " 49 " not in shape.text


# --- schedules


async def test_the_list_says_what_comes_and_what_stands(
    kubernetes: MemoryKubernetes, as_: Browser
) -> None:
    put_ada_s(kubernetes)
    ended = {"phase": "Failed", "finishedAt": "2026-01-02T02:01:00Z"}
    runs = [{"name": "s-1", "number": 1, "scheduledAt": "2026-01-02T02:00:00Z"} | ended]
    stopped = [said("Suspended", "True", "MaxFailures", "3 in a row")]
    put_schedule(kubernetes, "stopped", metadata={"labels": OWNED})
    put_schedule(
        kubernetes,
        "stopped",
        status={
            "observedGeneration": 1,
            "conditions": [said("Accepted", "True", "Active"), *stopped],
            "runs": runs,
            "failuresInARow": 3,
        },
    )
    ada = await as_("ada")
    shape = await is_shown(ada, "/schedules", "stopped")
    assert "The next run is in 60m" in shape.text
    assert "1 is stopped." in shape.text
    assert "nothing" not in calls(shape)
    eve = check(await (await as_("eve")).get("/schedules"))
    assert "Nothing starts by itself" in eve.text
    assert "longtask schedule create" in eve.text


async def test_a_schedule_says_why_it_starts_nothing(
    kubernetes: MemoryKubernetes, as_: Browser
) -> None:
    paused = said("Suspended", "True", "AsAsked")
    put_ada_s(kubernetes, nextRuns=[], conditions=[said("Accepted", "True", "Active"), paused])
    put_schedule(kubernetes, spec={"suspend": True})
    ada = await as_("ada")
    shape = await is_shown(ada, "/schedules/s", "paused")
    assert "POST api/v1/schedules/s:resume" in calls(shape)
    assert "POST api/v1/schedules/s:pause" not in calls(shape)
    assert "longtask schedule resume s" in shape.text


async def test_nothing_is_offered_that_would_be_refused(
    kubernetes: MemoryKubernetes, as_: Browser
) -> None:
    put_ada_s(kubernetes)
    own = "api/v1/schedules/s"
    ada = await as_("ada")
    shape = await is_shown(ada, "/schedules/s", "The next run is")
    assert calls(shape) == {
        f"POST {own}:trigger",
        f"POST {own}:pause",
        f"DELETE {own}",
        f"POST {own}:backfill",
    }
    for call in sorted(calls(shape) - {f"DELETE {own}"}):
        method, path = call.split(" ")
        asked = {"from": "2026-01-02T01:00:00Z", "to": "2026-01-02T03:00:00Z"}
        query = asked if path.endswith("backfill") else {}
        answer = await ada.request(method, f"/{path}", params=query)
        assert answer.status_code in (200, 202), (call, answer.text)
    # One that is refused can start no run by hand either.
    refused = said("Accepted", "False", "InvalidTemplate", "there is no type t")
    put_ada_s(kubernetes, nextRuns=[], failuresInARow=2, conditions=[refused])
    shape = await is_shown(ada, "/schedules/s", "there is no type t")
    assert f"POST {own}:trigger" not in calls(shape)
    assert f"POST {own}:reset-attempts" in calls(shape)


async def test_a_viewer_is_offered_nothing(
    kubernetes: MemoryKubernetes, services: wiring.Services, as_: Browser
) -> None:
    put_ada_s(kubernetes, failuresInARow=2)
    put_ended_task(kubernetes, "b", labels=OWNED, callback=EXHAUSTED)
    await a_mail(services)
    token_owner = await as_("ada", "viewer")
    await is_shown(token_owner, "/told", "did not arrive")
    for path in ("/schedules", "/schedules/s", "/told", "/subscriptions"):
        shape = check(await token_owner.get(path))
        assert calls(shape) == set()
        assert not [one for one in shape.all("a") if "/new" in (one.get("href") or "")]


async def test_runs_without_a_task_are_told_by_the_schedule(
    kubernetes: MemoryKubernetes, as_: Browser
) -> None:
    gone = {"name": "s-gone", "number": 2, "scheduledAt": "2026-01-02T02:30:00Z"}
    put_ada_s(kubernetes, runs=[gone | {"error": "no quota is left"}])
    run = put_run(kubernetes, NOW - 2 * HOUR, owner="ada")
    shape = await is_shown(await as_("ada"), "/schedules/s", "no quota is left")
    hrefs = [one.get("href") for one in shape.all("a")]
    assert f"/tasks/{run}" in hrefs
    assert "/tasks/s-gone" not in hrefs


async def test_runs_are_shown_of_the_archive_too(
    kubernetes: MemoryKubernetes, services: wiring.Services, as_: Browser
) -> None:
    put_ada_s(kubernetes)
    run = put_run(kubernetes, NOW - HOUR, owner="ada")
    task = kinds.TASKS.read(kubernetes.stored(names.LONGTASKS, run))
    await services.resources.archive.put(task, queue="default", at=NOW)
    kubernetes.remove(names.LONGTASKS, run)
    shape = await is_shown(await as_("ada"), "/schedules/s", "Succeeded")
    assert f"/tasks/{run}" in [one.get("href") for one in shape.all("a")]


async def test_a_text_becomes_an_order_of_a_schedule(as_: Browser) -> None:
    ada = await as_("ada")
    spec = {"schedule": "@daily", "taskTemplate": {"spec": {"type": "t"}}}
    whole = (
        "apiVersion: longtask.dev/v1alpha1\nkind: LongTaskSchedule\nmetadata: {name: a}\n"
        "spec: {schedule: '@daily', taskTemplate: {spec: {type: t}}}"
    )
    answer = await ada.post("/new/schedule/order", json={"text": whole})
    assert answer.json() == {"name": "a"} | spec
    wrong = await ada.post("/new/schedule/order", json={"text": whole.replace("Schedule\n", "\n")})
    assert wrong.status_code == 422
    told = Shape((await ada.post("/new/schedule/calls", json={"name": "a"} | spec)).text).text
    assert "http://api.test/api/v1/schedules" in told
    assert "longtask schedule create -f -" in told
    assert "kind: LongTaskSchedule" in told


async def test_the_form_s_order_is_taken(as_: Browser) -> None:
    ada = await as_("ada")
    shape = check(await ada.get("/new/schedule?type=fibonacci"))
    pointers = {one["data-pointer"] for _, one in shape.tags if "data-pointer" in one}
    assert {"/name", "/schedule", "/intervalSeconds", "/taskTemplate/spec/input/n"} <= pointers
    order = {
        "name": "s",
        "schedule": "0 3 * * *",
        "taskTemplate": {"spec": {"type": "fibonacci", "input": {"n": 1}}},
    }
    assert (await ada.post("/api/v1/schedules", json=order)).status_code == 201
    assert (await ada.get("/schedules/s")).status_code == 200


# --- the calendar


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def drawn(*moments: str, zone: str | None = None) -> calendar.Calendar:
    return calendar.of(
        [calendar.Run(at(one), Group.SUCCEEDED, one) for one in moments], zone_name=zone
    )


def test_few_rows_whatever_the_schedule() -> None:
    start = at("2026-01-02T00:00:00+00:00")
    for between in (5, 60, 3_600, 86_400, 7 * 86_400, 40 * 86_400):
        runs = [
            calendar.Run(start + timedelta(seconds=between * n), Group.FAILED, "")
            for n in range(60)
        ]
        found = calendar.of(runs, None)
        assert 1 <= len(found.rows) <= 14
        assert all(0 <= mark.left < 100 for row in found.rows for mark in row.marks)


def test_runs_of_the_same_hour_stand_below_each_other() -> None:
    # The clocks go forward in between.
    found = drawn("2026-03-28T02:30:00+01:00", "2026-03-30T02:30:00+02:00", zone="Europe/Zurich")
    assert [row.name for row in found.rows] == ["Sat 28 Mar", "Mon 30 Mar"]
    assert {mark.left for row in found.rows for mark in row.marks} == {10.42}
    assert found.zone == "Europe/Zurich"


def test_a_zone_that_is_none_is_utc() -> None:
    for zone in ("Mars/Olympus", "../etc/passwd", "\0", "a" * 64):
        assert drawn("2026-03-28T02:30:00+00:00", zone=zone).zone == "UTC"
    assert drawn().rows == ()


# --- what was told


async def test_what_did_not_arrive_comes_first(
    kubernetes: MemoryKubernetes, services: wiring.Services, as_: Browser
) -> None:
    put_ended_task(kubernetes, "b", labels=OWNED, callback=EXHAUSTED)
    put_ended_task(kubernetes, "theirs", labels={names.OWNER_LABEL: "eve"}, callback=EXHAUSTED)
    await a_mail(services)
    ada = await as_("ada")
    shape = await is_shown(ada, "/told", "1 callback and 1 mail did not arrive.")
    assert "theirs" not in shape.text
    assert "503" in shape.text
    assert calls(shape) == {
        "POST api/v1/callbacks:redeliver",
        "POST api/v1/tasks/b/callbacks:redeliver",
    }
    (again,) = [
        one
        for one in shape.all("button")
        if one.get("data-call") == "POST api/v1/callbacks:redeliver"
    ]
    answer = await ada.post(
        "/api/v1/callbacks:redeliver",
        content=again["data-body"],
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 202, answer.text
    eve = check(await (await as_("eve")).get("/told"))
    assert "1 callback did not arrive." in eve.text
    assert "ada@example.com" not in eve.text


async def test_a_task_says_what_was_mailed_of_it(
    kubernetes: MemoryKubernetes,
    services: wiring.Services,
    as_: Browser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_ended_task(kubernetes, "a", labels=OWNED)
    await a_mail(services)
    ada = await as_("ada")
    shape = await is_shown(ada, "/tasks/a", "mail to")
    assert "ada@example.com" in shape.text

    async def away(*_: Any, **__: Any) -> Any:
        raise errors.DatabaseAway("away")

    monkeypatch.setattr(services.notices, "page", away)
    assert "not known now" in check(await ada.get("/tasks/a")).text


async def test_one_says_of_what_one_is_mailed(client: httpx.AsyncClient, as_: Browser) -> None:
    ada = await as_("ada")
    shape = check(await ada.get("/account"))
    assert {"PUT api/v1/me/notices", "POST api/v1/me/email:verify"} <= calls(shape)
    assert (await ada.put("/api/v1/me/notices", json={"events": ["failed"]})).status_code == 200
    checked = [
        one["value"] for one in check(await ada.get("/account")).all("input") if "checked" in one
    ]
    assert "failed" in checked
    assert "succeeded" not in checked
    # The installation's token has no address.
    assert "PUT api/v1/me/notices" not in calls(check(await client.get("/account")))


# --- trends


async def test_trends_are_of_live_and_archived_tasks_that_one_sees(
    kubernetes: MemoryKubernetes, services: wiring.Services, as_: Browser
) -> None:
    times = {"queuedAt": "2026-01-02T02:58:05Z", "startedAt": "2026-01-02T03:00:05Z"}
    for name, phase in (("a", "Succeeded"), ("b", "Failed"), ("c", "Failed")):
        put_ended_task(kubernetes, name, labels=OWNED, phase=phase, ended_at=NOW, **times)
    put_ended_task(kubernetes, "theirs", labels={names.OWNER_LABEL: "eve"}, phase="Cancelled")
    task = kinds.TASKS.read(kubernetes.stored(names.LONGTASKS, "c"))
    await services.resources.archive.put(task, queue="default", at=NOW)
    kubernetes.remove(names.LONGTASKS, "c")
    shape = await is_shown(await as_("ada"), "/trends?span=week", "3 tasks ended; 2 failed, 67%.")
    assert "2 m 00 s" in shape.text
    assert "4 m 00 s" in shape.text
    assert "2 failed, 1 succeeded" in shape.text
    await is_shown(await as_("root", "admin"), "/trends?span=week", "4 tasks ended; 2 failed, 50%.")


async def test_trends_are_of_the_days_that_one_asks_for(
    kubernetes: MemoryKubernetes, as_: Browser
) -> None:
    for name, days in (("a", 0), ("b", 3), ("c", 40), ("d", 100)):
        put_ended_task(kubernetes, name, labels=OWNED, ended_at=NOW - days * 24 * HOUR)

    async def is_archived() -> bool:
        return [key.name for key in kubernetes.objects(names.LONGTASKS)] == ["a"]

    await eventually(is_archived)
    ada = await as_("ada")
    for query, number in (
        ("", 1),
        ("?span=week", 2),
        ("?span=quarter", 3),
        ("?since=2025-09-01&until=2025-10-01", 1),
        ("?since=2025-12-30&until=2025-12-30", 1),
        ("?since=2025-12-31&until=2026-01-01", 0),
        ("?until=2025-12-31", 2),
    ):
        says = f"{number} task{'' if number == 1 else 's'} ended" if number else "Nothing has ended"
        assert says in check(await ada.get(f"/trends{query}")).text, query
    for wrong in ("?since=2026-02-30", "?since=2026-01-02&until=2026-01-01", "?since=2027-01-01"):
        assert (await ada.get(f"/trends{wrong}")).status_code == 422
    # What is over needs no stream.
    assert "data-stream" in (await ada.get("/trends")).text
    assert "data-stream" not in (await ada.get("/trends?until=2025-12-31")).text


async def test_without_the_archive_trends_say_so(
    services: wiring.Services, as_: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await as_("ada")

    async def away(*_: Any, **__: Any) -> None:
        raise errors.DatabaseAway

    monkeypatch.setattr(services.trends._ends, "count", away)
    assert "The archive does not answer" in check(await ada.get("/trends")).text


def test_parts_of_what_is_known() -> None:
    assert trends._part({1: 1}, 0.95) == 1
    assert trends._part(dict.fromkeys(range(1, 101), 1), 0.5) == 50
    assert trends._part(dict.fromkeys(range(1, 101), 3), 0.95) == 95


def test_a_chart_of_nothing() -> None:
    found = trends.chart(ends.Tally(), ends.Span(0, 0, 48))
    assert {column.says.rpartition(": ")[2] for column in found.columns} == {"none"}


# --- subscriptions


async def test_a_subscription_with_its_deliveries(
    kubernetes: MemoryKubernetes, as_: Browser
) -> None:
    ada = await as_("ada")
    order = {"url": "https://hooks.test:9000/in", "filter": {"queue": "default"}}
    made = (await ada.post("/api/v1/subscriptions", json=order)).json()
    put_ended_task(kubernetes, "mine", labels=OWNED)
    path = f"/subscriptions/{made['id']}"
    shape = await is_shown(ada, path, "mine")
    own = f"api/v1/subscriptions/{made['id']}"
    assert {f"PATCH {own}", f"DELETE {own}"} <= calls(shape)
    assert "in the queue default" in check(await ada.get("/subscriptions")).text
    assert (await ada.patch(f"/{own}", json={"paused": True})).status_code == 200
    shape = check(await ada.get(path))
    assert "It is told nothing." in shape.text
    assert f"POST {own}/deliveries:redeliver" not in calls(shape)
    eve = await as_("eve")
    assert (await eve.get(path)).status_code == 404
    assert "hooks.test" not in (await eve.get("/subscriptions")).text


# --- the audit


async def test_the_audit_is_looked_through(as_: Browser) -> None:
    ada, admin = await as_("ada"), await as_("root", "admin")
    order = {"name": "a-task", "type": "fibonacci", "input": {"n": 1}}
    assert (await ada.post("/api/v1/tasks", json=order)).status_code == 202
    shape = await is_shown(admin, "/audit", "createTask")
    assert "a-task" in shape.text
    for fits in ("actor=ada", "act=createTask", "target=a-task", f"since={NOW:%Y-%m-%d}"):
        assert "a-task" in check(await admin.get(f"/audit?{fits}&until={NOW:%Y-%m-%d}")).text
    for not_so in ("actor=eve", "act=deleteTask", "target=b", "since=2027-01-01"):
        assert "Nothing fits." in check(await admin.get(f"/audit?{not_so}")).text


# --- a list that is kept fresh


async def test_a_fresh_list_holds_what_its_reader_may_see(
    kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    put_task(kubernetes, "hers", metadata={"labels": OWNED})
    put_task(kubernetes, "theirs", metadata={"labels": {names.OWNER_LABEL: "eve"}})
    await knows(services, kubernetes)
    users = Users(services.database)

    async def first_page(client: httpx.AsyncClient, username: str, role: str, query: str) -> str:
        token = await a_token(users, username, role=role)
        got = ""
        headers = {"Authorization": f"Bearer {token}"}
        async with client.stream("GET", f"/live{query}", headers=headers) as answer:
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            async for text in answer.aiter_text():
                got += text
                if got.endswith("\n\n") and "event: page" in got:
                    break
        return got

    async with serving(services) as url, talking(url) as client:
        asked = [("ada", "user", ""), ("eve", "user", ""), ("root", "admin", "")]
        asked += [("root", "admin", "?owner=eve"), ("ada", "viewer", "")]
        found = await asyncio.gather(*(first_page(client, *one) for one in asked))
        assert [("t-hers" in one, "t-theirs" in one) for one in found] == [
            (True, False),
            (False, True),
            (True, True),
            (False, True),
            (True, False),
        ]
        # Who may only look is offered nothing to mark, whatever others of the same list are.
        assert "data-mark" in found[2]
        assert all("<!doctype" not in one for one in found)
        wrong = await client.get("/live?label=none", headers={"Accept": "text/html"})
        assert wrong.status_code == 422
