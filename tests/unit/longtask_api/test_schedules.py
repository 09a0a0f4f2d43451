"""Schedules by REST: made, looked at, changed, asked for runs, deleted."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api_support import TOKEN, a_token, bearing, eventually, key, put_run, put_schedule
from longtask_adapters.kube import kinds
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import app, settings, wiring
from longtask_api.stores.users import Users
from longtask_crds import names
from longtask_crds.schedule import runs
from longtask_crds.testing import NOW

SCHEDULES = "/api/v1/schedules"
S = f"{SCHEDULES}/s"
TEMPLATE = {"spec": {"type": "fibonacci", "input": {"n": 1}}}
ORDER = {"name": "s", "schedule": "@hourly", "taskTemplate": TEMPLATE}


def stored(kubernetes: MemoryKubernetes, name: str = "s") -> Any:
    return kubernetes.stored(names.LONGTASKSCHEDULES, name)


def annotations(kubernetes: MemoryKubernetes) -> dict[str, str]:
    found: dict[str, str] = stored(kubernetes)["metadata"]["annotations"]
    return found


def waiting(kubernetes: MemoryKubernetes) -> list[str]:
    """Return the times for which a run is asked of the operator."""
    return [runs.text_of(at) for at in runs.asked(kinds.SCHEDULES.read(stored(kubernetes)))]


def seen(kubernetes: MemoryKubernetes, **status: Any) -> None:
    """Let the operator have looked at the schedule `s`."""
    generation = stored(kubernetes)["metadata"]["generation"]
    put_schedule(kubernetes, status={"observedGeneration": generation} | status)


def a_condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    stamp = "2026-01-02T03:04:05Z"
    said = {"type": kind, "status": status, "reason": reason, "message": message}
    return said | {"lastTransitionTime": stamp}


async def test_one_too_deep_to_be_shown_whole_hides_no_other(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    step = {"name": "a", "type": "fibonacci", "input": deep, "forEach": [deep]}
    for name, spec in {"t": {"type": "fibonacci", "input": deep}, "u": {"steps": [step]}}.items():
        made = {"intervalSeconds": 60, "taskTemplate": {"spec": spec}}
        kubernetes.put(names.LONGTASKSCHEDULES, name, spec=made)
    assert (await client.post(SCHEDULES, json=ORDER)).status_code == 201
    shown = [(await client.get(f"{SCHEDULES}/{name}")).json() for name in "stu"]
    assert [one["taskTemplate"]["spec"] for one in shown] == [
        TEMPLATE["spec"],
        {"type": "fibonacci"},
        {"steps": [{"name": "a", "type": "fibonacci"}]},
    ]
    assert (await client.get(SCHEDULES)).json()["items"] == shown
    for page in ("/schedules", "/schedules/t", "/schedules/u"):
        assert (await client.get(page)).status_code == 200


# --- made


async def test_a_schedule_is_made_and_shown(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    made = await client.post(SCHEDULES, json=ORDER | {"timeZone": "Europe/Zurich"})
    assert (made.status_code, made.headers["Location"]) == (201, S)
    assert stored(kubernetes)["spec"] == {
        "schedule": "@hourly",
        "timeZone": "Europe/Zurich",
        "taskTemplate": TEMPLATE,
    }
    shown = (await client.get(S)).json()
    assert shown == made.json()
    # Before the operator has seen it, it says what comes by itself.
    hours = [f"2026-01-02T{hour:02}:00:00Z" for hour in (4, 5, 6)]
    assert shown | {"schedule": None, "timeZone": None} == {
        "name": "s",
        "namespace": "longtasks",
        "schedule": None,
        "intervalSeconds": None,
        "timeZone": None,
        "startTime": None,
        "endTime": None,
        "suspend": None,
        "concurrencyPolicy": None,
        "startingDeadlineSeconds": None,
        "jitterSeconds": None,
        "misfire": None,
        "maxFailures": None,
        "successfulJobsHistoryLimit": None,
        "failedJobsHistoryLimit": None,
        "taskTemplate": TEMPLATE,
        "owner": None,
        "ownerName": None,
        "createdAt": "2026-01-02T03:04:05Z",
        "nextRuns": hours,
        "lastScheduleTime": None,
        "lastSuccessfulTime": None,
        "active": [],
        "runsStarted": 0,
        "failuresInARow": 0,
        "skipped": 0,
        "suspended": False,
        "reason": None,
        "message": None,
        "resetBy": None,
        "resetAt": None,
        "runs": [],
        "links": {
            "self": S,
            "runs": f"{S}/runs",
            "status": f"{S}/status",
            "data": f"{S}/data",
            "pause": f"{S}:pause",
            "resume": f"{S}:resume",
            "trigger": f"{S}:trigger",
            "reset-attempts": f"{S}:reset-attempts",
            "backfill": f"{S}:backfill",
        },
    }


async def test_what_the_operator_says_is_shown(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    put_schedule(kubernetes)
    seen(
        kubernetes,
        nextRuns=["2026-01-02T05:00:00Z"],
        lastScheduleTime="2026-01-02T04:00:00Z",
        active=["s-1"],
        runsStarted=7,
        failuresInARow=1,
        skipped=2,
        message="it waits for its next time",
        conditions=[
            a_condition("Accepted", "True", "Valid"),
            a_condition("Suspended", "False", "Active"),
        ],
        runs=[
            {
                "name": "s-1",
                "number": 7,
                "scheduledAt": "2026-01-02T04:00:00Z",
                "phase": "Failed",
                "seconds": 1.5,
                "error": "it broke",
            }
        ],
    )
    shown = (await client.get(S)).json()
    assert shown["nextRuns"] == ["2026-01-02T05:00:00Z"]
    assert (shown["runsStarted"], shown["failuresInARow"], shown["skipped"]) == (7, 1, 2)
    assert (shown["suspended"], shown["reason"]) == (False, "Active")
    assert shown["message"] == "it waits for its next time"
    (run,) = shown["runs"]
    assert run == {
        "id": "s-1",
        "number": 7,
        "scheduledAt": "2026-01-02T04:00:00Z",
        "phase": "Failed",
        "startedAt": None,
        "finishedAt": None,
        "seconds": 1.5,
        "error": "it broke",
        "links": {
            "self": "/api/v1/tasks/s-1",
            "result": "/api/v1/tasks/s-1/result",
            "logs": "/api/v1/tasks/s-1/logs",
        },
    }


@pytest.mark.parametrize(
    ("spec", "conditions", "expected"),
    [
        pytest.param({}, [], (False, None), id="nobody-has-seen-it"),
        pytest.param({"suspend": True}, [], (True, "AsAsked"), id="paused-and-not-seen-yet"),
        pytest.param(
            {},
            [a_condition("Suspended", "True", "AsAsked")],
            (False, None),
            id="resumed-and-not-seen-yet",
        ),
        pytest.param(
            {},
            [a_condition("Suspended", "True", "MaxFailures")],
            (True, "MaxFailures"),
            id="stopped-by-failures",
        ),
        pytest.param(
            {},
            [
                a_condition("Suspended", "False", "Active"),
                a_condition("Accepted", "False", "TypeNotFound", "there is no such type"),
            ],
            (False, "TypeNotFound"),
            id="refused",
        ),
    ],
)
async def test_whether_it_starts_runs_and_why_not(
    client: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    spec: dict[str, Any],
    conditions: list[Any],
    expected: tuple[bool, str | None],
) -> None:
    put_schedule(kubernetes)
    put_schedule(kubernetes, spec=spec)
    seen(kubernetes, conditions=conditions)
    shown = (await client.get(S)).json()
    assert (shown["suspended"], shown["reason"]) == expected


@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        ({"schedule": "61 * * * *"}, ["/schedule"]),
        ({"schedule": ["@daily", "nonsense"]}, ["/schedule/1"]),
        ({"schedule": {"a": 1}}, ["/schedule"]),
        ({"intervalSeconds": 60}, ["/schedule"]),
        ({"schedule": None, "intervalSeconds": 4}, ["/intervalSeconds"]),
        ({"timeZone": "Mars/Olympus"}, ["/timeZone"]),
        ({"startTime": "2026-02-01T00:00:00Z", "endTime": "2026-01-01T00:00:00Z"}, ["/endTime"]),
        ({"startTime": "tomorrow"}, ["/startTime"]),
        ({"jitterSeconds": "5"}, ["/jitterSeconds"]),
        ({"timezone": "UTC"}, ["/timezone"]),
        ({"name": "a" * 44}, ["/name"]),
        ({"name": "No"}, ["/name"]),
        ({"name": None}, ["/name"]),
        ({"taskTemplate": {"spec": {"type": "nothing"}}}, ["/taskTemplate/spec/type"]),
        ({"taskTemplate": {"spec": {"tpye": "x"}}}, ["/taskTemplate/spec/tpye"]),
        ({"taskTemplate": {"spec": {}}}, ["/taskTemplate/spec"]),
        (
            {"taskTemplate": {"spec": {"type": "fibonacci", "input": {"n": -1}}}},
            ["/taskTemplate/spec/input/n"],
        ),
        (
            {"taskTemplate": {"spec": {"type": "fibonacci", "input": {"n": {"$from": "run#/x"}}}}},
            ["/taskTemplate/spec/input/n"],
        ),
        (
            {"taskTemplate": {"spec": TEMPLATE["spec"] | {"queue": "none"}}},
            ["/taskTemplate/spec/queue"],
        ),
        (
            {"taskTemplate": TEMPLATE | {"labels": {"longtask.dev/owner": "eve", "a b": "c"}}},
            ["/taskTemplate/labels/longtask.dev~1owner", "/taskTemplate/labels/a b"],
        ),
    ],
)
async def test_what_is_wrong_is_named(
    client: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    change: dict[str, Any],
    pointers: list[str],
) -> None:
    answer = await client.post(SCHEDULES, json=ORDER | change)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == pointers
    assert not kubernetes.objects(names.LONGTASKSCHEDULES)


async def test_a_name_is_given_once(client: httpx.AsyncClient) -> None:
    assert (await client.post(SCHEDULES, json=ORDER)).status_code == 201
    again = await client.post(SCHEDULES, json=ORDER)
    assert (again.status_code, again.json()["detail"]) == (409, "A schedule named s exists.")


async def test_the_same_request_makes_it_once(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    keyed = {"Idempotency-Key": "k"}
    answers = await asyncio.gather(
        *(client.post(SCHEDULES, json=ORDER, headers=keyed) for _ in range(5))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [201]
    # What has become of its type meanwhile is nothing to a request that was answered.
    kubernetes.remove(names.LONGTASKTYPES, "fibonacci")
    assert (await client.post(SCHEDULES, json=ORDER, headers=keyed)).status_code == 200
    for wrong, headers in (
        (ORDER | {"schedule": "@daily"}, keyed),
        (ORDER, {"Idempotency-Key": "another"}),
    ):
        assert (await client.post(SCHEDULES, json=wrong, headers=headers)).status_code == 409
    empty = await client.post(SCHEDULES, json=ORDER, headers={"Idempotency-Key": ""})
    assert empty.json()["errors"][0]["name"] == "Idempotency-Key"


# --- listed


async def test_schedules_are_listed_by_name_page_by_page(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    for name in ("d", "a", "c", "b", "e"):
        put_schedule(kubernetes, name)
        await client.get(f"{SCHEDULES}/{name}")
    found, address = [], f"{SCHEDULES}?limit=2"
    while address:
        page = await client.get(address)
        found += [one["name"] for one in page.json()["items"]]
        address = page.links.get("next", {}).get("url")
        assert (address is None) == (page.json()["nextCursor"] is None)
    assert found == ["a", "b", "c", "d", "e"]
    other = (await client.get(f"{SCHEDULES}?limit=2")).json()["nextCursor"]
    for wrong in ("x", "e30"):
        assert (await client.get(SCHEDULES, params={"cursor": wrong})).status_code == 400
    assert (await client.get(f"{SCHEDULES}?owner=a&cursor={other}")).status_code == 400


async def test_another_s_schedule_is_not_there(
    services: wiring.Services, client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    token = await a_token(Users(services.database), "ann")
    other = await a_token(Users(services.database), "bob")
    mine = await client.post(SCHEDULES, json=ORDER, headers=bearing(token))
    assert mine.json()["owner"] == "ann"
    assert stored(kubernetes)["metadata"]["labels"] == {names.OWNER_LABEL: "ann"}
    bobs = bearing(other)
    for verb, path in (
        ("GET", S),
        ("GET", f"{S}/runs"),
        ("GET", f"{S}/status"),
        ("GET", f"{S}/data"),
        ("POST", f"{S}:pause"),
        ("POST", f"{S}:trigger"),
        ("POST", f"{S}:reset-attempts"),
        ("POST", f"{S}:backfill?from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00Z"),
        ("DELETE", S),
    ):
        answer = await client.request(verb, path, headers=bobs)
        assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such schedule.")
    assert (await client.patch(S, json={}, headers=bobs)).status_code == 404
    assert (await client.get(SCHEDULES, headers=bobs)).json()["items"] == []
    assert [
        one["name"] for one in (await client.get(f"{SCHEDULES}?owner=ann")).json()["items"]
    ] == ["s"]
    assert (await client.get(f"{SCHEDULES}?owner=bob")).json()["items"] == []
    # That the name is taken is all that bob is told.
    taken = await client.post(SCHEDULES, json=ORDER, headers=bobs | {"Idempotency-Key": "k"})
    assert taken.status_code == 409


async def test_nobody_takes_the_name_of_a_run_to_come(
    services: wiring.Services, kubernetes: MemoryKubernetes, client: httpx.AsyncClient
) -> None:
    put_schedule(kubernetes, metadata={"labels": {names.OWNER_LABEL: "eve"}})
    assert (await client.get(S)).status_code == 200
    token = await a_token(Users(services.database), "ada")
    for name, status in (
        (names.run_name("s", NOW + timedelta(hours=1)), 409),
        (names.run_name("t", NOW + timedelta(hours=1)), 202),
        ("s-report", 202),
    ):
        order = {"name": name, "type": "fibonacci", "input": {"n": 1}}
        answer = await client.post("/api/v1/tasks", json=order, headers=bearing(token))
        assert answer.status_code == status, name


@pytest.mark.parametrize("name", ["nothing", "No-Name", "..", "a%2Fb"])
async def test_no_such_schedule(client: httpx.AsyncClient, name: str) -> None:
    for suffix in ("", "/runs", "/status", "/data"):
        assert (await client.get(f"{SCHEDULES}/{name}{suffix}")).status_code == 404
    assert (await client.post(f"{SCHEDULES}/{name}:trigger")).status_code == 404
    assert (await client.delete(f"{SCHEDULES}/{name}")).status_code == 404


async def test_a_schedule_is_found_before_the_watch_tells_of_it(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    put_schedule(kubernetes, "new")
    assert (await client.get(f"{SCHEDULES}/new")).status_code == 200


# --- how many


@pytest.fixture
def configured(configured: settings.Settings) -> settings.Settings:
    return configured.model_copy(update={"schedules_per_owner": 2})


async def test_an_owner_has_so_many(services: wiring.Services, client: httpx.AsyncClient) -> None:
    mine = bearing(await a_token(Users(services.database), "ann"))
    made = await asyncio.gather(
        *(client.post(SCHEDULES, json=ORDER | {"name": n}, headers=mine) for n in "abcd")
    )
    assert sorted(answer.status_code for answer in made) == [201, 201, 429, 429]
    refused = await client.post(SCHEDULES, json=ORDER | {"name": "e"}, headers=mine)
    assert refused.json()["detail"] == "You have 2 schedules; 2 are allowed. Delete some."
    (one, *_) = (await client.get(SCHEDULES, headers=mine)).json()["items"]
    assert (await client.delete(f"{SCHEDULES}/{one['name']}", headers=mine)).status_code == 204
    assert (
        await client.post(SCHEDULES, json=ORDER | {"name": "e"}, headers=mine)
    ).status_code == 201
    # The installation has as many as it likes.
    for name in ("x", "y", "z"):
        assert (await client.post(SCHEDULES, json=ORDER | {"name": name})).status_code == 201


# --- changed


async def test_a_change_is_a_merge_patch(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await client.post(SCHEDULES, json=ORDER | {"timeZone": "Europe/Zurich", "maxFailures": 3})
    change = {
        "schedule": None,
        "intervalSeconds": 60,
        "timeZone": None,
        "taskTemplate": {"spec": {"input": {"n": 2}, "queue": "default"}},
    }
    patched = await client.patch(
        S, json=change, headers={"Content-Type": "application/merge-patch+json"}
    )
    assert patched.status_code == 200
    assert stored(kubernetes)["spec"] == {
        "intervalSeconds": 60,
        "maxFailures": 3,
        "taskTemplate": {"spec": {"type": "fibonacci", "input": {"n": 2}, "queue": "default"}},
    }
    assert patched.json()["nextRuns"][0] == "2026-01-02T03:05:05Z"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"intervalSeconds": 60}, "/schedule"),
        ({"schedule": "x"}, "/schedule"),
        ({"schedule": None}, "/schedule"),
        ({"taskTemplate": None}, "/taskTemplate"),
        ({"taskTemplate": {"spec": {"type": None}}}, "/taskTemplate/spec"),
        ({"taskTemplate": {"spec": {"input": {"m": 1}}}}, "/taskTemplate/spec/input/m"),
        ({"name": "t"}, "/name"),
        ({"nonsense": None}, "/nonsense"),
        ([], ""),
    ],
)
async def test_a_change_that_makes_no_schedule_is_refused(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, change: Any, pointer: str
) -> None:
    await client.post(SCHEDULES, json=ORDER)
    before = stored(kubernetes)
    answer = await client.patch(S, json=change)
    assert answer.status_code == 422
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]
    assert stored(kubernetes) == before


async def test_a_time_that_its_zone_carries_out_of_all_years_is_the_first_or_last(
    client: httpx.AsyncClient,
) -> None:
    early = {"startTime": "1900-01-01T00:00:00+14:00"}
    made = await client.post(SCHEDULES, json=ORDER | early)
    assert (made.status_code, made.json()["startTime"]) == (201, "1900-01-01T00:00:00Z")
    changed = await client.patch(S, json={"startTime": "2999-12-31T23:59:59-23:59"})
    assert (changed.status_code, changed.json()["startTime"]) == (200, "2999-12-31T23:59:59Z")
    assert (await client.get(SCHEDULES)).json()["items"] == [changed.json()]


async def test_what_has_changed_since_it_was_seen_stays_as_it_is(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    seen_as = (await client.post(SCHEDULES, json=ORDER)).headers["ETag"]
    assert (await client.get(S)).headers["ETag"] == seen_as
    known = {"If-None-Match": seen_as}
    assert (await client.get(S, headers=known)).status_code == 304
    if_match = {"If-Match": seen_as}
    changed = await client.patch(S, json={"maxFailures": 3}, headers=if_match)
    assert changed.status_code == 200
    assert (await client.get(S, headers=known)).status_code == 200
    for method, path, body in (
        ("PATCH", S, {"maxFailures": 4}),
        ("POST", f"{S}:pause", None),
        ("POST", f"{S}:resume", None),
        ("DELETE", S, None),
    ):
        answer = await client.request(method, path, json=body, headers=if_match)
        assert answer.status_code == 412, path
    assert stored(kubernetes)["spec"]["maxFailures"] == 3
    fresh = {"If-Match": changed.headers["ETag"]}
    assert (await client.delete(S, headers=fresh)).status_code == 204


async def test_a_write_of_the_operator_in_between_is_no_obstacle(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await client.post(SCHEDULES, json=ORDER)
    left = [2]

    def write(what: str, moment: str) -> None:
        if what == f"PATCH {names.LONGTASKSCHEDULES}" and moment == "before" and left[0]:
            left[0] -= 1
            put_schedule(kubernetes, status={"skipped": left[0]})

    kubernetes.interrupt = write
    assert (await client.patch(S, json={"maxFailures": 3})).status_code == 200
    assert stored(kubernetes)["spec"]["maxFailures"] == 3
    left[0] = 100
    assert (await client.post(f"{S}:pause")).status_code == 409


async def test_pause_and_resume(client: httpx.AsyncClient, kubernetes: MemoryKubernetes) -> None:
    await client.post(SCHEDULES, json=ORDER)
    for verb, suspended in (("pause", True), ("pause", True), ("resume", False)):
        answer = await client.post(f"{S}:{verb}")
        assert (answer.status_code, answer.json()["suspended"]) == (200, suspended)
        assert bool(answer.json()["nextRuns"]) is not suspended
        assert stored(kubernetes)["spec"]["suspend"] is suspended


# --- runs that are asked for


async def test_a_run_is_asked_for(client: httpx.AsyncClient, kubernetes: MemoryKubernetes) -> None:
    await client.post(SCHEDULES, json=ORDER)
    run = names.run_name("s", NOW)
    for _ in range(2):  # within one second it is one
        answer = await client.post(f"{S}:trigger")
        assert answer.status_code == 202
        assert answer.headers["Location"] == f"/api/v1/tasks/{run}"
        assert answer.json()["id"] == run
        assert answer.json()["scheduledAt"] == "2026-01-02T03:04:05Z"
    assert annotations(kubernetes)[names.RUN_AT_ANNOTATION] == "2026-01-02T03:04:05Z"


async def test_a_schedule_that_is_refused_is_asked_for_nothing(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    put_schedule(kubernetes)
    refused = a_condition("Accepted", "False", "TypeNotFound", "there is no such type")
    seen(kubernetes, conditions=[refused])
    answer = await client.post(f"{S}:trigger")
    assert answer.status_code == 409
    assert answer.json()["detail"] == "The schedule can start no run: there is no such type"
    # Mended, and not looked at again yet.
    put_schedule(kubernetes, metadata={"generation": 9})

    async def is_told() -> bool:
        return (await client.get(S)).json()["reason"] is None

    await eventually(is_told)
    assert (await client.post(f"{S}:trigger")).status_code == 202


async def test_times_that_have_passed_are_asked_for(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await client.post(SCHEDULES, json=ORDER)
    await client.post(f"{S}:trigger")
    asked = await client.post(
        f"{S}:backfill",
        params={"from": "2026-01-01T22:00:00Z", "to": "2026-01-02T01:00:00+01:00"},
    )
    assert asked.status_code == 202
    there = ["2026-01-01T22:00:00Z", "2026-01-01T23:00:00Z"]
    assert [one["scheduledAt"] for one in asked.json()["items"]] == there
    assert waiting(kubernetes) == [*there, "2026-01-02T03:04:05Z"]
    nothing = await client.post(
        f"{S}:backfill", params={"from": "2026-01-01T22:01:00Z", "to": "2026-01-01T22:59:00Z"}
    )
    assert (nothing.status_code, nothing.json()) == (202, {"items": []})


@pytest.mark.parametrize(
    ("since", "until", "detail"),
    [
        ("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", "it is before `from`"),
        ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z", "it is not past yet"),
        ("2025-12-20T00:00:00Z", "2026-01-02T00:00:00Z", "more than 100 times are due"),
        ("x", "2026-01-02T00:00:00Z", "RFC 3339"),
    ],
)
async def test_a_range_that_makes_no_sense(
    client: httpx.AsyncClient, since: str, until: str, detail: str
) -> None:
    await client.post(SCHEDULES, json=ORDER)
    answer = await client.post(f"{S}:backfill", params={"from": since, "to": until})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert detail in error["detail"]
    assert error["name"] in ("from", "to")


async def test_not_any_number_of_runs_waits_to_be_started(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await client.post(SCHEDULES, json=ORDER | {"schedule": "* * * * *"})
    spans = [("00:00", "01:39"), ("01:40", "02:39"), ("02:40", "03:04")]
    statuses = [
        (
            await client.post(
                f"{S}:backfill",
                params={"from": f"2026-01-02T{a}:00Z", "to": f"2026-01-02T{b}:00Z"},
            )
        ).status_code
        for a, b in spans
    ]
    assert statuses == [202, 202, 202]
    assert len(waiting(kubernetes)) == 99 + 59 + 24
    more = {"from": "2026-01-01T23:00:00Z", "to": "2026-01-02T00:00:00Z"}
    assert (await client.post(f"{S}:backfill", params=more)).status_code == 409


# --- failures that are forgotten


async def test_failures_are_forgotten_by_somebody(
    services: wiring.Services, client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    mine = bearing(await a_token(Users(services.database), "ann"))
    await client.post(SCHEDULES, json=ORDER | {"suspend": True, "maxFailures": 1}, headers=mine)
    answer = await client.post(f"{S}:reset-attempts", headers=mine)
    assert answer.status_code == 200
    assert annotations(kubernetes)[names.RESET_ANNOTATION] == "2026-01-02T03:04:05Z ann"
    assert stored(kubernetes)["spec"]["suspend"] is False
    # A clock that is behind asks for no less.
    put_schedule(kubernetes, status={"resetAt": "2026-01-02T03:10:00Z"})

    async def is_told() -> bool:
        return (await client.get(S)).json()["resetAt"] is not None

    await eventually(is_told)
    await client.post(f"{S}:reset-attempts")
    assert annotations(kubernetes)[names.RESET_ANNOTATION] == "2026-01-02T03:10:01Z installation"


# --- deleted


async def test_a_schedule_goes_with_its_runs(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    made = await client.post(SCHEDULES, json=ORDER)
    assert made.status_code == 201
    run = put_run(kubernetes, NOW - timedelta(hours=1))
    owner = {"kind": "LongTaskSchedule", "name": "s", "uid": stored(kubernetes)["metadata"]["uid"]}
    kubernetes.put(names.LONGTASKS, run, metadata={"ownerReferences": [owner]})
    deleted = await client.delete(S)
    assert deleted.status_code == 204
    assert "longtaskschedules=" in deleted.headers["LongTask-Version"]
    assert (await client.get(S)).status_code == 404
    assert key(run) not in kubernetes.objects(names.LONGTASKS)
    assert (await client.delete(S)).status_code == 404


async def test_one_s_own_write_is_read_at_another_replica(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, configured: settings.Settings
) -> None:
    made = await client.post(SCHEDULES, json=ORDER)
    version = {"LongTask-Version": made.headers["LongTask-Version"]}
    async with wiring.running(kubernetes, configured, clock=lambda: NOW) as other:
        await other.health.synced()
        transport = httpx.ASGITransport(app.for_users(other))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://api.test", headers=bearing(TOKEN)
        ) as there:
            listed = await there.get(SCHEDULES, headers=version)
    assert [one["name"] for one in listed.json()["items"]] == ["s"]
