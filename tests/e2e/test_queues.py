"""A queue as all three doors show it, and what moves it: priority, pause, resume."""

import itertools
import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from e2e_support import BASE_IMAGE, Kubectl, eventually, finished, submit
from longtask_crds import queueing, v1alpha1
from longtask_crds.names import ObjectKey

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def queue(kubectl: Kubectl, name: str) -> Iterator[str]:
    """A queue of this test alone, with one place, paused."""
    manifest = {
        "apiVersion": "longtask.dev/v1alpha1",
        "kind": "LongTaskQueue",
        "metadata": {"name": name},
        "spec": {"maxRunning": 1, "paused": True},
    }
    kubectl.apply(json.dumps(manifest))
    yield name
    kubectl("delete", "lt", "-l", f"e2e-queue={name}", "--wait=false")
    kubectl("delete", "ltq", name)


def put(rest: httpx.Client, queue: str, *names: str, seconds: int) -> None:
    """Let tasks of so many seconds wait in the queue."""
    program = {"image": BASE_IMAGE, "command": ["sleep", str(seconds)]}
    for name in names:
        submit(rest, name=name, queue=queue, container=program, labels={"e2e-queue": queue})


def tasks(kubectl: Kubectl, queue: str) -> list[v1alpha1.LongTask]:
    """Return the queue's tasks as Kubernetes stores them."""
    found = kubectl.get("lt", "-l", f"e2e-queue={queue}")["items"]
    return [v1alpha1.LongTask.model_validate(raw) for raw in found]


def order_by_rest(rest: httpx.Client, queue: str) -> list[str]:
    content = rest.get(f"/api/v1/queues/{queue}").json()["content"]
    assert [task["position"] for task in content] == list(range(1, len(content) + 1))
    return [task["id"] for task in content]


def order_by_list(rest: httpx.Client, queue: str) -> list[str]:
    query = {"queue": queue, "sort": "queuePosition"}
    items = rest.get("/api/v1/tasks", params=query).json()["items"]
    return [task["id"] for task in items if task["queuePosition"] is not None]


def order_by_command(longtask: Command, queue: str) -> list[str]:
    shown = longtask("queue", "show", queue, "-o", "json")
    assert shown.returncode == 0, shown.stderr
    return [task["id"] for task in json.loads(shown.stdout)["content"]]


def order_by_kubectl(kubectl: Kubectl, queue: str) -> list[str]:
    """Count anew, by the rule of the contract, from what is stored."""
    index = queueing.Index()
    for task in tasks(kubectl, queue):
        key = ObjectKey(task.metadata.namespace, task.metadata.name)
        index.update(key, queueing.Entry.of(task))
    return [key.name for key in index.waiting(*index.queues())]


def test_all_doors_agree_on_the_order_and_priority_changes_it(
    rest: httpx.Client, kubectl: Kubectl, longtask: Command, queue: str
) -> None:
    names = [f"{queue}-{number}" for number in range(5)]
    put(rest, queue, *names, seconds=1)

    def orders() -> list[list[str]]:
        return [
            order_by_rest(rest, queue),
            order_by_list(rest, queue),
            order_by_command(longtask, queue),
            order_by_kubectl(kubectl, queue),
        ]

    # In one second the name settles it; and tasks are made in the order of their names.
    assert orders() == [names] * 4
    last = names[-1]
    assert rest.get(f"/api/v1/tasks/{last}").json()["queuePosition"] == 5

    moved = longtask("priority", last, "100")

    assert moved.returncode == 0, moved.stderr
    assert orders() == [[last, *names[:-1]]] * 4
    patched = rest.patch(f"/api/v1/tasks/{names[1]}", json={"priority": 99})
    assert (patched.status_code, patched.json()["queuePosition"]) == (200, 2)
    assert orders() == [[last, names[1], names[0], names[2], names[3]]] * 4


def test_a_paused_queue_holds_its_tasks_and_a_resumed_one_starts_them_in_order(
    rest: httpx.Client, kubectl: Kubectl, longtask: Command, queue: str
) -> None:
    names = [f"{queue}-{number}" for number in range(4)]
    # So long that the queue is paused while it runs.
    put(rest, queue, names[0], seconds=20)
    put(rest, queue, *names[1:], seconds=1)
    path = f"/api/v1/queues/{queue}"

    def counts() -> tuple[bool, int, int]:
        view: dict[str, Any] = rest.get(path).json()
        return view["paused"], view["running"], view["waiting"]

    assert counts() == (True, 0, 4)
    assert longtask("queue", "resume", queue).returncode == 0
    eventually(counts, lambda seen: seen == (False, 1, 3), within=60)
    late = rest.patch(f"/api/v1/tasks/{names[0]}", json={"priority": 1})
    assert late.status_code == 409
    assert "waits no longer" in late.json()["detail"]

    # The one that runs goes on to its end, and leaves a place that nobody takes ...
    assert rest.post(f"{path}:pause").json()["paused"] is True
    assert kubectl.get("ltq", queue)["spec"]["paused"] is True
    assert finished(rest, names[0])["phase"] == "Succeeded"
    # ... while a task of another queue comes and goes.
    other = submit(rest, container={"image": BASE_IMAGE, "command": ["true"]})["id"]
    finished(rest, other)
    assert counts() == (True, 0, 3)
    waiting = rest.get(f"/api/v1/tasks/{names[1]}").json()
    assert (waiting["waiting"], waiting["estimatedStart"]) == (f"queue {queue} is paused", None)

    assert rest.post(f"{path}:resume").json()["paused"] is False

    for name in names[1:]:
        assert finished(rest, name)["phase"] == "Succeeded"
    ran = [task.status.attempts or [] for task in tasks(kubectl, queue)]
    spans = sorted((one.claimed_at, one.finished_at, one.job_name) for (one,) in ran)
    assert [next(n for n in names if job.startswith(n)) for *_, job in spans] == names
    for (_, before, _), (after, _, _) in itertools.pairwise(spans):
        assert before is not None
        assert after is not None
        assert before <= after
    eventually(counts, lambda seen: seen == (False, 0, 0), within=60)
    assert rest.get(path).json()["startsPerMinute"] == pytest.approx(0.8)
