import asyncio
from typing import Any

import httpx
import pytest

from api_support import put_pod, put_task
from longtask_adapters.testing import MemoryKubernetes, Refusal
from longtask_api import wiring
from longtask_api.auth import callers
from longtask_api.stores.resources import Resources
from longtask_crds import names, v1alpha1
from longtask_crds.testing import FINISHED, a_condition

DONE = a_condition(v1alpha1.ConditionType.SUCCEEDED, message="well done")
SUCCEEDED = {
    "phase": "Succeeded",
    "conditions": [FINISHED.to_json(), DONE.to_json()],
    "attempt": 1,
}


async def seen(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, name: str, **parts: Any
) -> None:
    """Make a task, and let the API hear of it."""
    put_task(kubernetes, name, **parts)
    assert (await client.get(f"/api/v1/tasks/{name}")).status_code == 200


async def test_a_task_that_is_only_in_kubernetes_is_found(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await seen(client, kubernetes, "a")


@pytest.mark.parametrize("name", ["nothing", "No-Name", "a" * 60, "..", "a%2Fb"])
async def test_what_is_not_there_is_not_found(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/api/v1/tasks/{name}")).status_code == 404


async def test_a_finished_task(client: httpx.AsyncClient, kubernetes: MemoryKubernetes) -> None:
    await seen(client, kubernetes, "a", status=SUCCEEDED | {"result": {"value": {"x": [None]}}})
    view = (await client.get("/api/v1/tasks/a")).json()
    assert (view["percent"], view["reason"], view["message"]) == (100, "Completed", "well done")
    assert view["queuePosition"] is None
    assert view["waiting"] is None
    assert (await client.get("/api/v1/tasks/a/state")).json() == {
        "state": "Succeeded",
        "percent": 100,
    }
    assert (await client.get("/api/v1/tasks/a/result")).text == '{"x":[null]}'


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        pytest.param({"phase": "Running", "attempt": 1}, 409, None, id="not-yet"),
        pytest.param(SUCCEEDED, 200, "null", id="no-value-is-null"),
        pytest.param(SUCCEEDED | {"phase": "Failed"}, 200, "null", id="a-failure-brings-nothing"),
        pytest.param(SUCCEEDED | {"result": {"value": "9" * 40}}, 200, f'"{"9" * 40}"', id="text"),
        pytest.param(
            SUCCEEDED | {"result": {"ref": {"size": 1, "sha256": "0" * 64}}},
            404,
            None,
            id="never-a-wrong-null",
        ),
    ],
)
async def test_results(
    client: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    status: dict[str, Any],
    code: int,
    text: str | None,
) -> None:
    await seen(client, kubernetes, "a", status=status)
    answer = await client.get("/api/v1/tasks/a/result")
    assert answer.status_code == code
    if text is not None:
        assert answer.text == text


async def test_the_etag_changes_with_what_is_shown_and_with_nothing_else(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await seen(client, kubernetes, "b")
    first = await client.get("/api/v1/tasks/b")
    known = {"If-None-Match": first.headers["ETag"]}
    same = await client.get("/api/v1/tasks/b", headers=known)
    assert (same.status_code, same.content) == (304, b"")

    # Somebody gets in front: the resource is as it was, its place is not.
    await client.post(
        "/api/v1/tasks", json={"type": "fibonacci", "input": {"n": 1}, "priority": 99}
    )
    other = await client.get("/api/v1/tasks/b", headers=known)
    assert other.status_code == 200
    assert other.json()["queuePosition"] == 2
    assert other.json()["waiting"] == "1 ahead in queue default"


async def test_a_long_poll_ends_with_the_task(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await seen(client, kubernetes, "a")
    poll = asyncio.create_task(
        client.get("/api/v1/tasks/a", headers={"Prefer": "respond-async, wait=60"})
    )
    put_task(kubernetes, "a", status={"phase": "Running", "attempt": 1})
    put_task(kubernetes, "a", status=SUCCEEDED)
    answer = await asyncio.wait_for(poll, 60)
    assert answer.json()["phase"] == "Succeeded"
    assert answer.headers["Preference-Applied"] == "wait=60"
    assert "Retry-After" not in answer.headers


async def test_a_long_poll_ends_with_its_time(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await seen(client, kubernetes, "a")
    answer = await client.get("/api/v1/tasks/a", headers={"Prefer": "wait=0"})
    assert answer.json()["phase"] == "Pending"


async def test_a_long_poll_ends_with_the_deletion(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await seen(client, kubernetes, "a")
    poll = asyncio.create_task(client.get("/api/v1/tasks/a", headers={"Prefer": "wait=60"}))
    await client.delete("/api/v1/tasks/a")
    assert (await asyncio.wait_for(poll, 60)).status_code == 404


async def test_cancel(client: httpx.AsyncClient, kubernetes: MemoryKubernetes) -> None:
    await seen(client, kubernetes, "a")
    for _ in range(2):
        answer = await client.post("/api/v1/tasks/a:cancel")
        assert answer.status_code == 202
    assert kubernetes.stored(names.LONGTASKS, "a")["spec"]["cancel"] is True
    assert kubernetes.calls.count("patch longtasks a") == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("POST", "/api/v1/tasks/a:cancel", 202, id="cancel"),
        pytest.param("DELETE", "/api/v1/tasks/a", 204, id="delete"),
    ],
)
async def test_of_one_name_the_last_task_is_meant(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, method: str, path: str, status: int
) -> None:
    await seen(client, kubernetes, "a")
    # The watch has not told of it yet: nothing was awaited since.
    kubernetes.remove_task("a")
    put_task(kubernetes, "a")
    there = kubernetes.stored(names.LONGTASKS, "a")["metadata"]["uid"]
    answer = await client.request(method, path)
    assert answer.status_code == status
    if method == "POST":
        stored = kubernetes.stored(names.LONGTASKS, "a")
        assert (stored["metadata"]["uid"], stored["spec"]["cancel"]) == (there, True)
    else:
        assert names.ObjectKey("longtasks", "a") not in kubernetes.objects(names.LONGTASKS)


async def test_a_finished_task_cannot_be_cancelled_any_more(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await seen(client, kubernetes, "a", status=SUCCEEDED)
    answer = await client.post("/api/v1/tasks/a:cancel")
    assert (answer.status_code, answer.json()["phase"]) == (200, "Succeeded")
    assert "cancel" not in kubernetes.stored(names.LONGTASKS, "a")["spec"]


async def test_delete(client: httpx.AsyncClient, kubernetes: MemoryKubernetes) -> None:
    await seen(client, kubernetes, "a")
    assert (await client.delete("/api/v1/tasks/a")).status_code == 204
    assert (await client.get("/api/v1/tasks/a")).status_code == 404
    assert (await client.delete("/api/v1/tasks/a")).status_code == 404


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        pytest.param(Refusal(429, "TooManyRequests", "wait"), 429, id="busy"),
        pytest.param(None, 503, id="no-answer"),
        pytest.param(Refusal(403, "Forbidden", "an admission rule says no"), 403, id="forbidden"),
    ],
)
async def test_a_refused_delete_hides_nothing(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, refusal: Refusal | None, status: int
) -> None:
    await seen(client, kubernetes, "a")
    kubernetes.go_away(refusal)
    assert (await client.delete("/api/v1/tasks/a")).status_code == status
    kubernetes.come_back()
    kubernetes.requests.clear()
    assert [item["id"] for item in (await client.get("/api/v1/tasks")).json()["items"]] == ["a"]
    assert (await client.get("/api/v1/tasks/a")).status_code == 200
    assert kubernetes.calls == []


async def test_a_task_that_a_finalizer_holds_is_shown_until_it_goes(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await seen(client, kubernetes, "a", metadata={"finalizers": ["example.com/keep"]})
    assert (await client.delete("/api/v1/tasks/a")).status_code == 204
    assert (await client.get("/api/v1/tasks/a")).status_code == 200


async def test_reads_cost_kubernetes_nothing(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await seen(client, kubernetes, "a")
    kubernetes.requests.clear()
    for path in ("tasks", "tasks/a", "tasks/a/state", "types", "types/fibonacci"):
        assert (await client.get(f"/api/v1/{path}")).status_code == 200
    assert kubernetes.calls == []


def failures_of_the_watch(services: wiring.Services) -> float:
    name, labels = "longtask_api_cache_unforeseen_failures", {"kind": "longtasks"}
    return services.metrics.registry.get_sample_value(name, labels) or 0.0


async def test_a_watch_that_breaks_as_nobody_foresaw_goes_on(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    await seen(client, kubernetes, "a")
    for count, unforeseen in enumerate((KeyError("type"), RecursionError()), start=1):
        kubernetes.go_away(unforeseen)
        async with asyncio.timeout(60):
            while failures_of_the_watch(services) < count:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)
        kubernetes.come_back()
    put_task(kubernetes, "a", status=SUCCEEDED)
    poll = client.get("/api/v1/tasks/a", headers={"Prefer": "wait=60"})
    assert (await asyncio.wait_for(poll, 60)).json()["phase"] == "Succeeded"
    for path in ("/healthz", "/readyz"):
        assert (await client.get(path)).status_code == 200


async def test_types(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/api/v1/types")).json()
    assert [item["name"] for item in listed["items"]] == ["fibonacci"]
    one = (await client.get("/api/v1/types/fibonacci")).json()
    assert one["inputSchema"]["required"] == ["n"]
    assert (await client.get("/api/v1/types/nothing")).status_code == 404


async def test_reads_go_on_while_kubernetes_is_away(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await seen(client, kubernetes, "a")
    kubernetes.go_away()
    assert (await client.get("/api/v1/tasks/a")).status_code == 200
    assert (await client.get("/api/v1/tasks/other")).status_code == 503
    assert (await client.delete("/api/v1/tasks/a")).status_code == 503


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        pytest.param("limit=0", "limit", id="no-page-is-empty"),
        pytest.param("limit=501", "limit", id="no-page-is-endless"),
        pytest.param("phase=Nowhere", "phase", id="an-unknown-phase"),
        pytest.param("sort=name", "sort", id="an-unknown-order"),
        pytest.param("label=a", "label", id="half-a-label"),
        pytest.param("fields=id,size", "fields", id="an-unknown-field"),
        pytest.param("phases=Failed", "phases", id="an-unknown-parameter"),
    ],
)
async def test_wrong_parameters_are_named(
    client: httpx.AsyncClient, query: str, parameter: str
) -> None:
    answer = await client.get(f"/api/v1/tasks?{query}")
    assert answer.status_code == 422
    assert [(e["in"], e["name"]) for e in answer.json()["errors"]] == [("query", parameter)]


@pytest.mark.parametrize("cursor", ["", "x", "e30", "WyJhIl0", "WzFd", "ä", "W1tb" * 10_000])
async def test_a_foreign_cursor_is_refused(client: httpx.AsyncClient, cursor: str) -> None:
    answer = await client.get("/api/v1/tasks", params={"cursor": cursor})
    assert answer.status_code == 400


async def test_pages_show_every_task_once(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    for number in range(5):
        await seen(client, kubernetes, f"t{number}")
    for sort in ("-createdAt", "createdAt", "queuePosition"):
        found, cursor = [], ""
        while cursor is not None:
            params = {"limit": 2, "sort": sort} | ({"cursor": cursor} if cursor else {})
            page = (await client.get("/api/v1/tasks", params=params)).json()
            found += [item["id"] for item in page["items"]]
            cursor = page["nextCursor"]
        assert sorted(found) == [f"t{number}" for number in range(5)]
    params = {"limit": 2, "phase": "Pending"}
    other = (await client.get("/api/v1/tasks", params=params)).json()["nextCursor"]
    assert (await client.get("/api/v1/tasks", params={"cursor": other})).status_code == 400


async def test_logs_are_not_those_of_a_task_that_had_the_name_before(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    claimed = {
        "phase": "Starting",
        "attempt": 1,
        "attempts": [{"number": 1, "jobName": "new-job"}],
    }
    await seen(client, kubernetes, "a", status=claimed)
    put_pod(kubernetes, "old-pod", task="a", job="old-job")
    kubernetes.logs["old-pod"] = [b"another's words"]
    assert (await client.get("/api/v1/tasks/a/logs")).status_code == 409
    put_pod(kubernetes, "new-pod", task="a", job="new-job")
    kubernetes.logs["new-pod"] = [b"its own"]
    assert (await client.get("/api/v1/tasks/a/logs")).text == "its own"


async def test_logs(client: httpx.AsyncClient, kubernetes: MemoryKubernetes) -> None:
    running = {
        "phase": "Running",
        "attempt": 1,
        "attempts": [{"number": 1, "jobName": "a-job", "podName": "a-pod"}],
    }
    await seen(client, kubernetes, "a", status=running)
    assert (await client.get("/api/v1/tasks/a/logs")).status_code == 404  # the pod is gone
    put_pod(kubernetes, "a-pod", task="a", job="a-job")
    for follow in ("true", "false"):
        answer = await client.get(f"/api/v1/tasks/a/logs?follow={follow}")
        assert (answer.status_code, answer.json()["type"]) == (
            409,
            "urn:longtask:problem:not-started",
        )
    kubernetes.logs["a-pod"] = [b"one\n", b"two\n"]
    answer = await client.get("/api/v1/tasks/a/logs?follow=true")
    assert (answer.status_code, answer.text) == (200, "one\ntwo\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert (await client.get("/api/v1/tasks/a/logs?attempt=1")).text == "one\ntwo\n"
    assert (await client.get("/api/v1/tasks/a/logs?attempt=2")).status_code == 404
    assert (await client.get("/api/v1/tasks/a/logs?step=x")).status_code == 404


async def test_a_follower_of_a_task_that_waits_looks_seldom(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await seen(client, kubernetes, "a")
    looks = []
    look = Resources.seen_task

    async def counted(self: Resources, caller: callers.Caller, name: str) -> v1alpha1.LongTask:
        looks.append(name)
        return await look(self, caller, name)

    monkeypatch.setattr(Resources, "seen_task", counted)
    assert (await client.get("/api/v1/tasks/a/logs?follow=true")).status_code == 409
    assert len(looks) <= 3


async def test_a_follower_finds_the_pod_before_it_is_recorded(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    claimed = {"attempt": 1, "attempts": [{"number": 1, "jobName": "a-job"}]}
    await seen(client, kubernetes, "a", status=claimed)
    put_pod(kubernetes, "a-pod", task="a", job="a-job")
    kubernetes.logs["a-pod"] = [b"early\n"]
    assert (await client.get("/api/v1/tasks/a/logs?follow=true")).text == "early\n"


async def test_a_type_too_deep_to_be_shown_hides_no_other(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    schema: dict[str, Any] = {}
    for _ in range(300):
        schema = {"not": schema}
    kubernetes.put(names.LONGTASKTYPES, "deep", spec={"inputSchema": schema})
    # What no cache has yet is read from Kubernetes, and kept.
    one = (await client.get("/api/v1/types/deep")).json()
    assert one["inputSchema"]["not"] == {}
    listed = (await client.get("/api/v1/types")).json()
    assert [item["name"] for item in listed["items"]] == ["deep", "fibonacci"]
    order = {"type": "deep", "input": {}}
    answer = await client.post("/api/v1/tasks", json=order)
    assert answer.status_code == 422
    assert "inputSchema of type deep cannot be used" in answer.text
    assert (
        await client.post("/api/v1/tasks", json={"type": "fibonacci", "input": {"n": 1}})
    ).is_success
