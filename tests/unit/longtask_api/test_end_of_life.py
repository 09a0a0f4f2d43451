"""From a task's end to the day when nothing of it is left, by REST over a Kubernetes in memory."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from api_support import TOKEN, eventually, key, put_ended_task, put_pod, put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import app, settings, wiring
from longtask_crds import names
from longtask_crds.testing import NOW, a_task

LONG_AGO = NOW - timedelta(days=30)


def is_there(kubernetes: MemoryKubernetes, name: str = "a") -> bool:
    return key(name) in kubernetes.objects(names.LONGTASKS)


async def archived(kubernetes: MemoryKubernetes, name: str = "a", **task: Any) -> None:
    """Let a task end long ago, and wait until its resource is gone."""
    put_ended_task(kubernetes, name, **({"ended_at": LONG_AGO} | task))

    async def is_gone() -> bool:
        return not is_there(kubernetes, name)

    await eventually(is_gone)


async def listed(client: httpx.AsyncClient, **query: Any) -> str:
    """Return the names on all pages, each of one letter."""
    found = ""
    while True:
        page = (await client.get("/api/v1/tasks", params=query)).json()
        found += "".join(task["id"] for task in page["items"])
        if page["nextCursor"] is None:
            return found
        query["cursor"] = page["nextCursor"]


async def test_an_archived_task_answers_as_it_did(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    put_ended_task(kubernetes, result={"value": {"x": [None]}}, labels={"team": "x"})
    paths = ("", "/state", "/result")
    before = [(await client.get(f"/api/v1/tasks/a{path}")).text for path in paths]
    kubernetes.put(names.LONGTASKS, "a", spec={"ttlSecondsAfterFinished": 0})

    async def is_gone() -> bool:
        return not is_there(kubernetes)

    await eventually(is_gone)
    assert [(await client.get(f"/api/v1/tasks/a{path}")).text for path in paths] == before
    assert (await client.get("/api/v1/tasks/a", headers={"Prefer": "wait=60"})).status_code == 200
    assert (await client.post("/api/v1/tasks/a:cancel")).status_code == 200
    change = await client.patch("/api/v1/tasks/a", json={"priority": 9})
    assert change.status_code == 409


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param({}, "lba", id="all"),
        pytest.param({"limit": 1}, "lba", id="page-by-page"),
        pytest.param({"sort": "createdAt", "limit": 1}, "abl", id="the-oldest-first"),
        pytest.param({"sort": "queuePosition", "limit": 1}, "lab", id="who-is-next-first"),
        pytest.param({"archived": True}, "ba", id="archived"),
        pytest.param({"archived": False}, "l", id="live"),
        pytest.param({"phase": "Failed"}, "b", id="phase"),
        pytest.param({"phase": "Pending"}, "l", id="a-phase-of-none"),
        pytest.param({"type": "fibonacci"}, "la", id="type"),
        pytest.param({"queue": "slow"}, "b", id="queue"),
        pytest.param({"label": "team=x"}, "a", id="label"),
        pytest.param({"label": ["team=x", "kind=z"]}, "", id="every-label-counts"),
        pytest.param({"owner": "ann"}, "b", id="owner"),
        pytest.param({"search": "OUT OF mem"}, "b", id="message"),
        pytest.param({"search": "L"}, "lb", id="name-and-message"),
        pytest.param({"search": "%"}, "", id="no-wildcards"),
        pytest.param({"search": "\0"}, "", id="what-no-text-has"),
        pytest.param({"since": "2025-12-03T03:04:06Z"}, "lb", id="since"),
        pytest.param({"until": "2025-12-03T03:04:06Z"}, "a", id="until"),
        pytest.param({"until": "2025-12-03T03:04:05Z"}, "", id="until-is-not-included"),
    ],
)
async def test_lists_and_searches(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, query: dict[str, Any], expected: str
) -> None:
    await archived(kubernetes, "a", labels={"team": "x", "kind": "y"}, message="a b c")
    await archived(
        kubernetes,
        "b",
        ended_at=LONG_AGO + timedelta(seconds=1),
        phase="Failed",
        message="Killed: out of memory",
        spec={"container": {"image": "busybox"}},
        queue="slow",
        labels={names.OWNER_LABEL: "ann"},
    )
    put_task(kubernetes, "l")
    assert (await client.get("/api/v1/tasks/l")).status_code == 200
    assert await listed(client, **query) == expected


async def test_a_task_is_listed_once_while_it_is_in_both(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    put_ended_task(kubernetes)
    task = await services.resources.look(key("a"))
    assert task is not None
    await services.resources.archive.put(task, queue="default", at=NOW)
    for limit in (1, 50):
        assert await listed(client, limit=limit) == "a"


async def test_of_a_name_that_came_again_the_live_task_is_meant(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await archived(kubernetes)
    put_task(kubernetes, "a", spec={"type": "fibonacci", "queue": "other"})
    assert (await client.get("/api/v1/tasks/a")).json()["phase"] == "Pending"
    page = (await client.get("/api/v1/tasks")).json()["items"]
    assert [(task["phase"], task["queue"], task["queuePosition"]) for task in page] == [
        ("Pending", "other", 1),
        ("Succeeded", "default", None),
    ]
    assert (await client.delete("/api/v1/tasks/a")).status_code == 204
    assert (await client.get("/api/v1/tasks/a")).json()["phase"] == "Succeeded"


async def test_without_the_archive_nothing_is_said_to_be_missing_that_may_be_there(
    kubernetes: MemoryKubernetes, configured: settings.Settings
) -> None:
    away = configured.model_copy(update={"database_url": "sqlite:////nowhere/longtask.db"})
    async with (
        wiring.running(kubernetes, away, clock=lambda: NOW) as services,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app.for_users(services)),
            base_url="http://api.test",
            headers={"Authorization": f"Bearer {TOKEN}"},
        ) as client,
    ):
        await services.health.synced()
        put_ended_task(kubernetes, ended_at=LONG_AGO)
        assert (await client.get("/api/v1/tasks/a")).status_code == 200
        assert (await client.get("/api/v1/tasks/b")).status_code == 503
        page = (await client.get("/api/v1/tasks")).json()
        assert [task["id"] for task in page["items"]] == ["a"]
        assert page["incomplete"] == "The archive does not answer: the tasks in it are missing."
        live = (await client.get("/api/v1/tasks", params={"archived": False})).json()
        assert live["incomplete"] is None
        assert (await client.get("/api/v1/tasks", params={"archived": True})).status_code == 503
        headers = {"Idempotency-Key": "k"}
        assert (await client.post("/api/v1/tasks", json=ORDER, headers=headers)).status_code == 202

        async def is_told() -> bool:
            return "no task is deleted" in (await client.get("/readyz")).text

        await eventually(is_told)
        assert is_there(kubernetes)
        assert (await client.delete("/api/v1/tasks/a")).status_code == 503
        assert (await client.get("/readyz")).status_code == 200


async def test_a_deleted_task_is_gone_from_both(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    await archived(kubernetes, "a")
    put_ended_task(kubernetes, "b")
    task = await services.resources.look(key("b"))
    assert task is not None
    await services.resources.archive.put(task, queue="default", at=NOW)
    for name in "ab":
        assert (await client.delete(f"/api/v1/tasks/{name}")).status_code == 204
        assert (await client.get(f"/api/v1/tasks/{name}")).status_code == 404
        assert (await client.delete(f"/api/v1/tasks/{name}")).status_code == 404
    assert await listed(client) == ""


ORDER = {"type": "fibonacci", "input": {"n": 5}}


async def test_the_same_key_finds_the_archived_task(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    headers = {"Idempotency-Key": "k"}
    first = await client.post("/api/v1/tasks", json=ORDER, headers=headers)
    task = first.json()["id"]
    put_ended_task(kubernetes, task, ended_at=LONG_AGO, spec=ORDER)

    async def is_gone() -> bool:
        return not is_there(kubernetes, task)

    await eventually(is_gone)
    again = await client.post("/api/v1/tasks", json=ORDER, headers=headers)
    assert (again.status_code, again.json()["id"]) == (200, task)
    other = await client.post("/api/v1/tasks", json={"type": "fibonacci"}, headers=headers)
    assert other.status_code == 409
    assert not is_there(kubernetes, task)


async def test_the_installation_finds_its_own_behind_what_is_anothers(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    """The newest of a name may be another's: that is none of this request's."""
    headers, named = {"Idempotency-Key": "k"}, ORDER | {"name": "report"}
    assert (await client.post("/api/v1/tasks", json=named, headers=headers)).status_code == 202
    await archived(kubernetes, "report", spec=ORDER)
    others = a_task("report", uid="another").model_copy()
    later = NOW + timedelta(hours=1)
    meta = others.metadata.model_copy(
        update={"labels": {names.OWNER_LABEL: "ann"}, "created_at": later}
    )
    others = others.model_copy(update={"metadata": meta})
    await services.resources.archive.put(others, queue="default", at=later)
    found = await services.resources.archive.find(key("report"))
    assert found is not None
    assert found.metadata.uid == "another"
    again = await client.post("/api/v1/tasks", json=named, headers=headers)
    assert again.status_code == 200
    assert again.json()["owner"] is None
    assert not is_there(kubernetes, "report")


async def test_a_name_of_ones_own_may_come_again(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await archived(kubernetes)
    order = ORDER | {"name": "a"}
    answer = await client.post("/api/v1/tasks", json=order, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 202


async def test_the_end_of_a_log_is_kept(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    put_pod(kubernetes, "a-pod")
    kubernetes.logs["a-pod"] = [b"one\ntw", b"o\n", b"three"]
    put_ended_task(kubernetes)
    path = "/api/v1/tasks/a/logs"
    assert (await client.get(path)).text == "one\ntwo\nthree"
    reads = "get pods a-pod/log"

    async def is_read() -> bool:
        return kubernetes.calls.count(reads) == 2

    await eventually(is_read)
    kubernetes.remove("pods", "a-pod")

    async def is_kept() -> bool:
        return (await client.get(path)).status_code == 200

    await eventually(is_kept)
    assert (await client.get(path)).text == "one\ntwo\nthree"
    assert (await client.get(path, params={"tail": 2})).text == "two\nthree"
    assert (await client.get(path, params={"tail": 0})).text == ""
    assert (await client.get(path, params={"timestamps": True, "tail": 1})).text == (
        "2026-01-02T03:04:05Z three"
    )
    assert (await client.get(path, params={"since": "2026-01-02T03:04:05Z", "tail": 1})).text
    assert (await client.get(path, params={"since": "2026-01-02T03:04:06Z"})).text == ""
    assert (await client.get(path, params={"attempt": 2})).status_code == 404
    kubernetes.put(names.LONGTASKS, "a", spec={"ttlSecondsAfterFinished": 0})

    async def is_gone() -> bool:
        return not is_there(kubernetes)

    await eventually(is_gone)
    assert (await client.get(path, params={"follow": True})).text == "one\ntwo\nthree"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        pytest.param({"tail": -1}, "tail", id="tail"),
        pytest.param({"since": "yesterday"}, "since", id="since"),
        pytest.param({"timestamps": "x"}, "timestamps", id="timestamps"),
    ],
)
async def test_options_of_logs_are_checked(
    client: httpx.AsyncClient, query: dict[str, Any], field: str
) -> None:
    answer = await client.get("/api/v1/tasks/a/logs", params=query)
    assert (answer.status_code, answer.json()["errors"][0]["name"]) == (422, field)
