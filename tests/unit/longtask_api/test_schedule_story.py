"""A schedule's life, as REST tells it while the real operator acts: in one Kubernetes in memory."""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api_support import TOKEN, bearing, eventually, key
from longtask_adapters.testing import MemoryKubernetes
from longtask_adapters.testing.store import stamp
from longtask_api import app, settings, wiring
from longtask_crds import names
from longtask_operator import testing

SCHEDULES = "/api/v1/schedules"
S = f"{SCHEDULES}/rates"
ORDER = {
    "name": "rates",
    "intervalSeconds": 60,
    "maxFailures": 2,
    "taskTemplate": {"spec": {"type": "fibonacci", "input": {"n": {"$from": "run#/number"}}}},
}


class Stage:
    """Kubernetes, its operator, and a client of the API: the clock is the test's."""

    def __init__(self, kubernetes: MemoryKubernetes, client: httpx.AsyncClient) -> None:
        self.kubernetes = kubernetes
        self.client = client
        self.operator = testing.Operator(kubernetes=kubernetes)

    async def get(self, path: str) -> Any:
        answer = await self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def look(self) -> None:
        """Let the operator look at the schedule, and the API hear of what it wrote."""
        await self.operator.hear()
        await self.operator.scheduler.reconcile(key("rates"))

        async def is_told() -> bool:
            stored = self.kubernetes.stored(names.LONGTASKSCHEDULES, "rates").get("status", {})
            shown, listed = await self.get(S), (await self.get(f"{S}/runs"))["items"]
            # Those that the history no longer keeps are archived meanwhile.
            runs = {one.name for one in self.kubernetes.objects(names.LONGTASKS)}
            return (
                shown["runsStarted"] == stored.get("runsStarted", 0)
                and shown["active"] == stored.get("active", [])
                and shown["failuresInARow"] == stored.get("failuresInARow", 0)
                and shown["nextRuns"] == stored.get("nextRuns", [])
                and runs <= {one["id"] for one in listed}
            )

        await eventually(is_told)

    async def pass_minutes(self, count: int = 1) -> None:
        for _ in range(count):
            self.kubernetes.now += timedelta(minutes=1)
            await self.look()

    async def end_run(self, *, value: Any = None, failure: str | None = None) -> None:
        """Let the run end that goes on, two seconds after it began."""
        (run,) = (await self.get(S))["active"]
        now = self.kubernetes.now
        good = failure is None
        said = {
            "lastTransitionTime": stamp(now),
            "message": failure or "",
            "reason": "Completed" if good else "ProgramFailed",
        }
        self.kubernetes.put(
            names.LONGTASKS,
            run,
            status={
                "phase": "Succeeded" if good else "Failed",
                "startedAt": stamp(now),
                "finishedAt": stamp(now + timedelta(seconds=2)),
                "result": {"value": value} if good else None,
                "conditions": [
                    {"type": "Finished", "status": "True", **said},
                    {"type": "Succeeded", "status": str(good), **said},
                ],
            },
        )
        await self.look()


@pytest.fixture
async def stage(
    kubernetes: MemoryKubernetes, configured: settings.Settings
) -> AsyncIterator[Stage]:
    async with contextlib.AsyncExitStack() as stack:
        running = wiring.running(kubernetes, configured, clock=lambda: kubernetes.now)
        services = await stack.enter_async_context(running)
        await services.health.synced()
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app.for_users(services)),
            base_url="http://api.test",
            headers=bearing(TOKEN),
        )
        made = Stage(kubernetes, await stack.enter_async_context(client))
        await made.operator.hear()
        yield made


async def test_a_schedule_runs_fails_is_stopped_and_goes_on(stage: Stage) -> None:
    made = await stage.client.post(SCHEDULES, json=ORDER)
    assert made.status_code == 201, made.text
    promised = made.json()["nextRuns"]
    await stage.look()
    shown = await stage.get(S)
    assert (shown["suspended"], shown["reason"], shown["nextRuns"]) == (False, "Active", promised)

    await stage.pass_minutes()
    (first,) = (await stage.get(f"{S}/runs"))["items"]
    assert (first["scheduledAt"], first["number"], first["phase"]) == (promised[0], 1, "Pending")
    assert (await stage.get(S))["runs"][0]["phase"] == "Pending"
    stored = stage.kubernetes.stored(names.LONGTASKS, first["id"])
    assert stored["spec"]["input"] == {"n": 1}
    assert (await stage.get(f"{S}/status"))["lastExecutionStatus"] is None

    await stage.end_run(value={"rate": 1})
    good = await stage.get(f"{S}/status")
    assert good == {
        "id": "rates",
        "executionTime": 2.0,
        "lastExecuteTime": promised[0],
        "lastExecutionData": {"rate": 1},
        "lastExecutionDataUrl": None,
        "lastExecutionError": None,
        "lastExecutionStatus": "Succeeded",
    }

    for _ in range(2):
        await stage.pass_minutes()
        await stage.end_run(failure="the bank answers 503")
    broken = await stage.get(f"{S}/status")
    assert broken["lastExecutionStatus"] == "Failed"
    assert broken["lastExecutionError"] == "ProgramFailed: the bank answers 503"
    assert broken["lastExecutionData"] == {"rate": 1}
    runs = (await stage.get(f"{S}/runs"))["items"]
    assert [run["error"] for run in runs] == [broken["lastExecutionError"]] * 2 + [None]
    # The schedule's own memory and its tasks tell the same of each run.
    assert (await stage.get(S))["runs"] == runs
    assert [one["data"] for one in (await stage.get(f"{S}/data"))["items"]] == [{"rate": 1}]

    stopped = await stage.get(S)
    assert (stopped["suspended"], stopped["reason"]) == (True, "MaxFailures")
    assert stopped["message"] == "2 runs failed in a row"
    await stage.pass_minutes(2)
    assert (await stage.get(S))["runsStarted"] == 3

    assert (await stage.client.post(f"{S}:reset-attempts")).status_code == 200
    await stage.look()
    going = await stage.get(S)
    assert (going["suspended"], going["failuresInARow"]) == (False, 0)
    assert (going["resetBy"], going["resetAt"]) == ("installation", stamp(stage.kubernetes.now))
    await stage.pass_minutes()
    await stage.end_run(value={"rate": 2})
    assert (await stage.get(f"{S}/status"))["lastExecutionData"] == {"rate": 2}


async def test_runs_by_hand_come_one_after_the_other_though_it_is_paused(stage: Stage) -> None:
    await stage.client.post(SCHEDULES, json=ORDER | {"suspend": True})
    created = stage.kubernetes.now
    await stage.pass_minutes(3)
    assert (await stage.get(f"{S}/runs"))["items"] == []
    asked = await stage.client.post(f"{S}:trigger")
    assert asked.status_code == 202
    span = {"from": stamp(created), "to": stamp(stage.kubernetes.now)}
    filled = await stage.client.post(f"{S}:backfill", params=span)
    ids = [one["id"] for one in filled.json()["items"]] + [asked.json()["id"]]
    assert len(set(ids)) == 3
    for _ in ids:
        await stage.look()
        await stage.end_run(value=1)
    runs = (await stage.get(f"{S}/runs"))["items"]
    assert sorted(run["id"] for run in runs) == sorted(ids)
    assert sorted(run["number"] for run in runs) == [1, 2, 3]
    # Asked again, nothing is done again.
    await stage.client.post(f"{S}:backfill", params=span)
    await stage.look()
    annotations = stage.kubernetes.stored(names.LONGTASKSCHEDULES, "rates")["metadata"]
    assert names.RUN_AT_ANNOTATION not in annotations.get("annotations", {})
    assert (await stage.get(S))["runsStarted"] == 3


async def test_what_becomes_wrong_later_is_told_and_mended(stage: Stage) -> None:
    await stage.client.post(SCHEDULES, json=ORDER)
    await stage.look()
    spec = stage.kubernetes.stored(names.LONGTASKTYPES, "fibonacci")["spec"]
    stage.kubernetes.remove(names.LONGTASKTYPES, "fibonacci")
    await stage.pass_minutes()

    async def is_refused() -> bool:
        return (await stage.get(S))["reason"] == "TypeNotFound"

    await eventually(is_refused)
    told = (await stage.get(S))["message"]
    assert "there is no LongTaskType named fibonacci" in told
    assert (await stage.client.post(f"{S}:trigger")).status_code == 409
    stage.kubernetes.put(names.LONGTASKTYPES, "fibonacci", spec=spec)
    await stage.pass_minutes()

    async def runs() -> bool:
        return (await stage.get(S))["reason"] == "Active"

    await eventually(runs)
    await stage.pass_minutes()
    assert (await stage.get(S))["runsStarted"] >= 1
