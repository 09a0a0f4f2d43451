"""Operators that are killed, stand side by side, and freeze: limits and order hold all the same."""

import collections
import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e_support import Kubectl, Product, eventually, kill, pods_of, scale
from freezing_support import frozen, main_of
from longtask_crds import names, queueing, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_localcluster import audit

pytestmark = pytest.mark.alone

#: Only the API names owners.
AS_THE_API = "--as=system:serviceaccount:longtask:longtask-api"
LIMITS = {"maxRunning": 3, "maxRunningPerOwner": 2}
TASKS, OWNERS, PRIORITIES = 30, ("ada", "bob", "eve"), (50, 0, 51, 10)
#: While it is frozen: a lease lapses after 15 seconds, and a busy machine is slow.
TAKEN_OVER_WITHIN = 45
FROZEN_FOR = 60


class Queue:
    """A queue of this test's own, all its tasks, and what has become of them in which order."""

    def __init__(self, kubectl: Kubectl, rest: httpx.Client, name: str, watched: Path) -> None:
        self.name = name
        #: Who waited, in order, as the API answered from time to time.
        self.answered: list[list[str]] = []
        self._kubectl = kubectl
        self._rest = rest
        self._file = watched
        self._selector = ("-l", f"e2e={name}")

    def make(self) -> None:
        """Make the queue, paused, and its tasks."""
        self._kubectl.apply(
            json.dumps(
                {
                    "apiVersion": names.API_VERSION,
                    "kind": "LongTaskQueue",
                    "metadata": {"name": self.name},
                    "spec": {**LIMITS, "paused": True},
                }
            )
        )
        tasks = {"apiVersion": "v1", "kind": "List", "items": list(map(self._task, range(TASKS)))}
        self._kubectl("create", AS_THE_API, "-f", "-", stdin=json.dumps(tasks))

    def _task(self, number: int) -> dict[str, Any]:
        owner = OWNERS[number % len(OWNERS)]
        return {
            "apiVersion": names.API_VERSION,
            "kind": "LongTask",
            "metadata": {
                "name": f"{self.name}-{number:02}",
                "labels": {"e2e": self.name, names.OWNER_LABEL: owner},
            },
            "spec": {
                "type": "sleep",
                "input": {"seconds": 5},
                "queue": self.name,
                "priority": PRIORITIES[number % len(PRIORITIES)],
            },
        }

    def pause(self, paused: bool) -> None:
        patch = json.dumps({"spec": {"paused": paused}})
        self._kubectl("patch", "ltq", self.name, "--type=merge", "-p", patch)

    def tasks(self) -> list[v1alpha1.LongTask]:
        found = self._kubectl.get("lt", *self._selector)["items"]
        return [v1alpha1.LongTask.model_validate(raw) for raw in found]

    def claimed(self) -> int:
        """Count the tasks that were ever claimed."""
        return sum(bool(task.status.attempts) for task in self.tasks())

    def wait_for_claims(self, count: int, *, within: float) -> None:
        """Wait until so many were ever claimed, and keep what the API answers meanwhile."""

        def claimed() -> int:
            self.answered.append(self.ask())
            return self.claimed()

        eventually(claimed, lambda claimed: claimed >= count, within=within)

    def ask(self) -> list[str]:
        """Return who waits, in order, as the API answers."""
        answer = self._rest.get(f"/api/v1/queues/{self.name}", params={"limit": TASKS})
        content = answer.raise_for_status().json()["content"]
        assert [task["position"] for task in content] == list(range(1, len(content) + 1))
        return [task["id"] for task in content]

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Keep each change of a task meanwhile, in the order of the API server."""
        command = ["kubectl", "get", "lt", *self._selector, "-o", "json"]
        with self._file.open("wb") as file:
            watch = subprocess.Popen([*command, "--watch", "--output-watch-events"], stdout=file)
        try:
            eventually(self.watched, lambda seen: len(seen) == TASKS, within=60)
            yield
        finally:
            watch.terminate()
            watch.wait()

    def history(self) -> list[v1alpha1.LongTask]:
        """Return the tasks as they came to be, one after the other."""
        text, found = self._file.read_text(), []
        while text := text.lstrip():
            try:
                event, end = json.JSONDecoder().raw_decode(text)
            except ValueError:
                break  # the last one is being written
            found.append(v1alpha1.LongTask.model_validate(event["object"]))
            text = text[end:]
        return found

    def watched(self) -> dict[str, str | None]:
        """Return up to which version each task was watched."""
        return versions(self.history())

    def is_all_watched(self) -> bool:
        """Tell whether no change of a task is yet to be kept."""
        return self.watched() == versions(self.tasks())

    def delete(self) -> None:
        self._kubectl("delete", "lt", *self._selector, "--wait=false", check=False)
        self._kubectl("delete", "ltq", self.name, check=False)


def versions(tasks: list[v1alpha1.LongTask]) -> dict[str, str | None]:
    return {task.metadata.name: task.metadata.resource_version for task in tasks}


@pytest.fixture
def queue(kubectl: Kubectl, rest: httpx.Client, name: str, tmp_path: Path) -> Iterator[Queue]:
    queue = Queue(kubectl, rest, name, tmp_path / "watched.json")
    try:
        queue.make()
        yield queue
    finally:
        queue.delete()


def holder(kubectl: Kubectl) -> str:
    """Return the pod that lets tasks start."""
    lease = kubectl.get("lease", names.ADMISSION_LEASE)["spec"]
    return str(lease.get("holderIdentity", "")).rpartition("_")[0]


@pytest.mark.usefixtures("scaled_back")
def test_limits_order_and_positions_hold_whatever_becomes_of_the_operators(
    kubectl: Kubectl, product: Product, queue: Queue
) -> None:
    log = Path(product.audit_log)
    offset = log.stat().st_size
    with queue.watching():
        eventually(queue.ask, lambda waiting: len(waiting) == TASKS, within=60)
        queue.pause(False)
        for killed in range(2):
            queue.wait_for_claims(3 * (killed + 1), within=120)
            kill(kubectl, "operator")
        queue.wait_for_claims(9, within=120)
        # However long that takes, there are tasks left for what follows.
        queue.pause(True)
        scale(kubectl, "operator", 2)
        there = {pod["metadata"]["name"] for pod in pods_of(kubectl, "operator")}
        first = eventually(lambda: holder(kubectl), lambda pod: pod in there, within=60)
        queue.pause(False)
        queue.wait_for_claims(queue.claimed() + 1, within=60)

        with frozen(main_of(first)):
            since, claimed = time.monotonic(), queue.claimed()
            queue.wait_for_claims(claimed + 1, within=TAKEN_OVER_WITHIN)
            assert holder(kubectl) != first
            queue.wait_for_claims(claimed + 6, within=60)
            eventually(
                lambda: time.monotonic() - since, lambda t: t > FROZEN_FOR, within=FROZEN_FOR
            )

        done = eventually(
            queue.tasks, lambda tasks: all(task.is_finished for task in tasks), within=180
        )
        assert {task.status.phase for task in done} == {v1alpha1.Phase.SUCCEEDED}
        eventually(queue.is_all_watched, bool, within=60)

    check_limits_and_order(queue)
    check_positions(queue)
    check_jobs(queue, log, offset)
    check_times(done)


def check_limits_and_order(queue: Queue) -> None:
    """At each claim, in the order of the API server, it was the turn of that task."""
    index, place = queueing.Index(), ObjectKey("longtasks", queue.name)
    index.set_queue(place, v1alpha1.LongTaskQueueSpec.model_validate(LIMITS))
    claimed: set[str] = set()
    for task in queue.history():
        key = place.sibling(task.metadata.name)
        if task.status.attempts and key.name not in claimed:
            claimed.add(key.name)
            assert key in index.startable(place), f"{key.name} was not next"
        index.update(key, queueing.Entry.of(task))
    assert len(claimed) == TASKS


def check_positions(queue: Queue) -> None:
    """Each answer of the API was the order of those who waited, at some moment of the record."""
    index, place = queueing.Index(), ObjectKey("longtasks", queue.name)
    orders: set[tuple[str, ...]] = set()
    known: set[str] = set()
    for task in queue.history():
        known.add(task.metadata.name)
        index.update(place.sibling(task.metadata.name), queueing.Entry.of(task))
        if len(known) == TASKS:
            orders.add(tuple(key.name for key in index.waiting(place)))
    answered = set(map(tuple, queue.answered))
    assert answered <= orders
    assert len(answered) > 1, "nobody asked while it went on"


def check_jobs(queue: Queue, log: Path, offset: int) -> None:
    """Each attempt had one Job, ever."""
    made = collections.Counter(
        request.name
        for request in audit.requests(log, offset=offset)
        if (request.verb, request.resource) == ("create", "jobs")
        and request.name.startswith(queue.name)
    )
    jobs = [a.job_name for task in queue.tasks() for a in task.status.attempts or ()]
    assert made == dict.fromkeys(jobs, 1)


def check_times(tasks: list[v1alpha1.LongTask]) -> None:
    """By the record too, no more ran at any time than may."""
    held = [(a, owner_of(task)) for task in tasks for a in task.status.attempts or ()]
    for moment in {a.claimed_at for a, _ in held}:
        assert moment is not None
        running = collections.Counter(
            owner
            for a, owner in held
            if a.claimed_at and a.finished_at and a.claimed_at <= moment < a.finished_at
        )
        assert running.total() <= LIMITS["maxRunning"], moment
        assert max(running.values()) <= LIMITS["maxRunningPerOwner"], moment


def owner_of(task: v1alpha1.LongTask) -> str:
    return task.metadata.labels[names.OWNER_LABEL]
