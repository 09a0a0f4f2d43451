"""Which pod is handed which task, when, and what is noted of that."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from api_support import an_identity, eventually, key, put_task
from longtask_adapters.kube import errors as kube
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import wiring
from longtask_api.services.pods import handovers
from longtask_crds import names
from longtask_crds.testing import FINISHED, NOW

PATH = "/runner/v1/task"
POD = {"podName": "a-pod", "podUid": "uid-of-a-pod", "jobName": "a-job", "jobUid": "uid-of-a-job"}
CLAIMED = {
    "phase": "Starting",
    "attempt": 1,
    "attempts": [{"number": 1, "start": "Warm", "claimedAt": "2026-01-02T03:04:05Z"} | POD],
}
SPEC = {"type": "fibonacci", "input": {"n": 7}}


@pytest.fixture
def waiting(kubernetes: MemoryKubernetes) -> None:
    kubernetes.tokens["pod-token"] = an_identity()


def progress_of(kubernetes: MemoryKubernetes) -> dict[str, Any]:
    status = kubernetes.stored(names.LONGTASKS, "a")["status"]
    progress: dict[str, Any] = status.get("progress", {})
    return progress


async def soon(is_so: Callable[[], bool]) -> None:
    async def asked() -> bool:
        return is_so()

    await eventually(asked)


async def claim(
    kubernetes: MemoryKubernetes, client: httpx.AsyncClient, **status: Any
) -> dict[str, Any]:
    put_task(kubernetes, spec=SPEC, status=CLAIMED | status)
    await client.get("/api/v1/tasks/a")  # it is known by now
    stored: dict[str, Any] = kubernetes.stored(names.LONGTASKS, "a")
    return stored


@pytest.mark.usefixtures("waiting")
async def test_a_pod_is_handed_the_task_that_names_it(
    runner: httpx.AsyncClient, client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    stored = await claim(kubernetes, client, progress={"checkpoint": {"page": 3}})
    answer = await runner.get(PATH)
    assert answer.status_code == 200
    assert answer.json() == {
        "name": "a",
        "namespace": "longtasks",
        "uid": stored["metadata"]["uid"],
        "attempt": 1,
        "step": "",
        "input": {"n": 7},
        "checkpoint": {"page": 3},
        "deadline": NOW.replace(day=NOW.day + 1).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "heartbeatSeconds": None,
    }
    assert (await runner.get(PATH)).json() == answer.json()  # an answer that was lost


@pytest.mark.usefixtures("waiting")
async def test_a_pod_waits_until_it_is_named(
    runner: httpx.AsyncClient, client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    asked = asyncio.create_task(runner.get(PATH, params={"wait": 30}))
    await soon(lambda: any("tokenreviews" in call for call in kubernetes.calls))
    assert not asked.done()
    await claim(kubernetes, client)
    answer = await asyncio.wait_for(asked, 60)
    assert (answer.status_code, answer.json()["name"]) == (200, "a")


@pytest.mark.usefixtures("waiting")
async def test_without_a_task_there_is_no_content(runner: httpx.AsyncClient) -> None:
    answer = await runner.get(PATH)
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize(
    "status",
    [
        pytest.param({"attempts": [CLAIMED["attempts"][0] | {"podUid": "another"}]}, id="another"),  # type: ignore[index]
        pytest.param({"phase": "Failed", "conditions": [FINISHED.to_json()]}, id="finished"),
        pytest.param(
            {"attempts": [CLAIMED["attempts"][0] | {"finishedAt": "2026-01-02T03:04:06Z"}]},  # type: ignore[index]
            id="the-attempt-is-over",
        ),
    ],
)
@pytest.mark.usefixtures("waiting")
async def test_nobody_else_is_handed_it(
    runner: httpx.AsyncClient,
    client: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    status: dict[str, Any],
) -> None:
    await claim(kubernetes, client, **status)
    assert (await runner.get(PATH)).status_code == 204


@pytest.mark.usefixtures("waiting")
async def test_what_is_cached_is_not_believed(
    runner: httpx.AsyncClient, client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await claim(kubernetes, client)
    # Nobody hears of it: the watch is silent.
    kubernetes.go_away(kube.Unavailable("away"))
    put_task(kubernetes, status={"phase": "Failed", "conditions": [FINISHED.to_json()]})
    kubernetes.come_back()
    assert (await runner.get(PATH)).status_code == 204


async def test_a_stranger_is_refused(runner: httpx.AsyncClient) -> None:
    assert (await runner.get(PATH)).status_code == 401


@pytest.mark.usefixtures("waiting")
async def test_who_has_it_is_noted_when_it_lasts(
    runner: httpx.AsyncClient,
    client: httpx.AsyncClient,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
) -> None:
    slept: list[float] = []
    go_on = asyncio.Event()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await go_on.wait()

    services.handovers._sleep = sleep
    await claim(kubernetes, client)
    await runner.get(PATH)
    await soon(lambda: slept == [handovers.NOTED_AFTER])
    assert "updatedAt" not in progress_of(kubernetes)
    go_on.set()
    await soon(lambda: "updatedAt" in progress_of(kubernetes))


@pytest.mark.usefixtures("waiting")
async def test_it_is_noted_at_the_end_of_the_api_too(
    runner: httpx.AsyncClient,
    client: httpx.AsyncClient,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
) -> None:
    await claim(kubernetes, client)
    await runner.get(PATH)
    asked = asyncio.create_task(services.handovers.close())
    await asyncio.wait_for(asked, 60)
    await soon(lambda: "updatedAt" in progress_of(kubernetes))


# --- programs of a pipeline

STEPS = {
    "input": {"city": "Basel"},
    "steps": [
        {"name": "list", "type": "fibonacci"},
        {
            "name": "each",
            "type": "fibonacci",
            "forEach": {"$from": "steps.list#/cities"},
            "input": {"city": {"$from": "item#"}, "not": {"$from": "input#/city"}},
            "timeouts": {"runSeconds": 3600, "heartbeatSeconds": 30},
        },
        {"name": "last", "type": "fibonacci", "input": {"of": {"$from": "steps.list#/cities/1"}}},
    ],
}
CITIES = {"cities": ["Bern", "Chur"], "padding": "x" * 5_000}
DONE = {"phase": "Succeeded", "attempt": 1, "jobName": "l"}


def a_warm_run(pod: str, **values: Any) -> dict[str, Any]:
    named = {"podName": pod, "podUid": f"uid-of-{pod}", "jobName": f"{pod}-job", "start": "Warm"}
    return {"phase": "Starting", "attempt": 1, **named, **values}


def listed_inline() -> dict[str, Any]:
    return {**DONE, "result": {"value": {"cities": CITIES["cities"]}}}


async def go_on(
    kubernetes: MemoryKubernetes,
    services: wiring.Services,
    listed: dict[str, Any],
    *each: dict[str, Any],
    last: dict[str, Any] | None = None,
) -> None:
    """Have a pipeline stand so, and the API know it."""
    children = [{"index": index, **child} for index, child in enumerate(each)]
    of_each = {"phase": "Running", "items": 2, "children": children} if each else {}
    steps = [
        {"name": "list", **listed},
        {"name": "each", "phase": "Pending", **of_each},
        {"name": "last", "phase": "Pending", **(last or {})},
    ]
    status = {"phase": "Running", "attempt": 1, "steps": steps}
    metadata = {"uid": "uid-of-a", "creationTimestamp": "2026-01-02T03:04:05Z"}
    put_task(kubernetes, metadata=metadata, spec=STEPS, status=status)
    await services.resources.look(key("a"))


async def ask(runner: httpx.AsyncClient, pod: str, **params: int) -> httpx.Response:
    return await runner.get(PATH, params=params, headers={"Authorization": f"Bearer {pod}"})


@pytest.fixture
def three(kubernetes: MemoryKubernetes) -> None:
    for pod in ("one", "two", "three"):
        kubernetes.tokens[pod] = an_identity(pod=pod)


@pytest.mark.usefixtures("three")
async def test_each_item_gets_its_own_with_all_that_it_takes(
    runner: httpx.AsyncClient, services: wiring.Services, kubernetes: MemoryKubernetes
) -> None:
    asked = [asyncio.create_task(ask(runner, pod, wait=30)) for pod in ("one", "two")]
    await soon(lambda: len(services.handovers._waiting) == 2)
    noted = a_warm_run("two", attempt=2, progress={"checkpoint": {"page": 3}})
    await go_on(kubernetes, services, listed_inline(), a_warm_run("one"), noted)
    first, second = [(await asyncio.wait_for(one, 60)).json() for one in asked]
    assert first == {
        "name": "a",
        "namespace": "longtasks",
        "uid": "uid-of-a",
        "attempt": 1,
        "step": "each.0",
        "input": {"city": "Bern", "not": "Basel"},
        "checkpoint": None,
        "deadline": NOW.replace(hour=NOW.hour + 1).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "heartbeatSeconds": 30,
    }
    assert second["step"] == "each.1"
    assert second["input"] == {"city": "Chur", "not": "Basel"}
    assert (second["attempt"], second["checkpoint"]) == (2, {"page": 3})
    assert (await ask(runner, "three")).status_code == 204


@pytest.mark.usefixtures("three")
async def test_a_part_of_a_kept_result_is_handed_over(
    runner: httpx.AsyncClient, services: wiring.Services, kubernetes: MemoryKubernetes
) -> None:
    await go_on(kubernetes, services, a_warm_run("one"))
    by = {"Authorization": "Bearer one"}
    kept = await runner.put("/runner/v1/result", json=CITIES, headers=by)
    listed = {**DONE, "result": {"ref": kept.json()}}
    await go_on(kubernetes, services, listed, last=a_warm_run("two"))
    answer = (await ask(runner, "two")).json()
    assert (answer["step"], answer["input"]) == ("last", {"of": "Chur"})


@pytest.mark.usefixtures("three")
async def test_what_is_not_kept_any_more_is_told(
    runner: httpx.AsyncClient, services: wiring.Services, kubernetes: MemoryKubernetes
) -> None:
    listed = {**DONE, "result": {"ref": {"size": 5000, "sha256": "0" * 64}}}
    await go_on(kubernetes, services, listed, last=a_warm_run("two"))
    answer = await ask(runner, "two")
    assert answer.status_code == 409
    assert "not kept any more" in answer.json()["detail"]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"podUid": "another"}, id="another"),
        pytest.param({"phase": "Succeeded"}, id="it-is-over"),
        pytest.param(
            {"phase": "Retrying", "finishedAt": "2026-01-02T03:04:06Z"}, id="the-attempt-is-over"
        ),
    ],
)
@pytest.mark.usefixtures("three")
async def test_nobody_else_is_handed_a_step(
    runner: httpx.AsyncClient,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
    values: dict[str, Any],
) -> None:
    await go_on(kubernetes, services, listed_inline(), last=a_warm_run("two", **values))
    assert (await ask(runner, "two")).status_code == 204


@pytest.mark.usefixtures("three")
async def test_that_a_step_has_its_task_is_noted_with_it(
    runner: httpx.AsyncClient, services: wiring.Services, kubernetes: MemoryKubernetes
) -> None:
    services.handovers._sleep = lambda _seconds: asyncio.sleep(0)
    await go_on(kubernetes, services, listed_inline(), last=a_warm_run("two"))
    await ask(runner, "two")

    def is_noted() -> bool:
        status = kubernetes.stored(names.LONGTASKS, "a")["status"]
        return "updatedAt" in status["steps"][2].get("progress", {})

    await soon(is_noted)
