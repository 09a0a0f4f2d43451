"""Operators that are killed, stand side by side, and freeze: limits and order hold all the same."""

import collections
import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e_support import Kubectl, Product, eventually
from freezing_support import frozen, main_of
from longtask_crds import names, queueing, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_localcluster import audit

SYSTEM = ("-n", "longtask")
OPERATOR = "deploy/longtask-operator"
OPERATORS = ("-l", "app.kubernetes.io/component=operator")
#: Only the API names owners.
AS_THE_API = "--as=system:serviceaccount:longtask:longtask-api"
LIMITS = {"maxRunning": 3, "maxRunningPerOwner": 2}
TASKS, OWNERS, PRIORITIES = 30, ("ada", "bob", "eve"), (50, 0, 51, 10)
TAKEN_OVER_WITHIN = 20
FROZEN_FOR = 60


class Queue:
    """A queue of this test's own, all its tasks, and what has become of them in which order."""

    def __init__(self, kubectl: Kubectl, name: str, watched: Path) -> None:
        self.name = name
        self._kubectl = kubectl
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

    def go_on(self) -> None:
        self._kubectl("patch", "ltq", self.name, "--type=merge", '-p={"spec":{"paused":false}}')

    def tasks(self) -> list[v1alpha1.LongTask]:
        found = self._kubectl.get("lt", *self._selector)["items"]
        return [v1alpha1.LongTask.model_validate(raw) for raw in found]

    def claimed(self) -> int:
        """Count the tasks that were ever claimed."""
        return sum(bool(task.status.attempts) for task in self.tasks())

    def wait_for_claims(self, count: int, *, within: float) -> None:
        eventually(self.claimed, lambda claimed: claimed >= count, within=within)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Keep each change of a task meanwhile, in the order of the API server."""
        command = ["kubectl", "get", "lt", *self._selector, "-o", "json"]
        with self._file.open("wb") as file:
            watch = subprocess.Popen([*command, "--watch", "--output-watch-events"], stdout=file)
        try:
            eventually(self.watched, lambda seen: len(seen) == TASKS, within=20)
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
        return {task.metadata.name: task.metadata.resource_version for task in self.history()}

    def delete(self) -> None:
        self._kubectl("delete", "lt", *self._selector, "--wait=false", check=False)
        self._kubectl("delete", "ltq", self.name, check=False)


@pytest.fixture
def queue(kubectl: Kubectl, name: str, tmp_path: Path) -> Iterator[Queue]:
    queue = Queue(kubectl, name, tmp_path / "watched.json")
    try:
        queue.make()
        yield queue
    finally:
        queue.delete()


@pytest.fixture
def scaled_back(kubectl: Kubectl) -> Iterator[None]:
    """As many operators afterwards as before."""
    before = kubectl.get(OPERATOR, *SYSTEM)["spec"]["replicas"]
    yield
    scale(kubectl, before)


def scale(kubectl: Kubectl, replicas: int) -> None:
    kubectl("scale", OPERATOR, *SYSTEM, f"--replicas={replicas}")
    kubectl("rollout", "status", OPERATOR, *SYSTEM, "--timeout=60s")
    # One that is to end acts until it has ended, in the next test, too.
    eventually(
        lambda: kubectl.get("pods", *SYSTEM, *OPERATORS)["items"],
        lambda pods: len(pods) == replicas,
        within=60,
    )


def holder(kubectl: Kubectl) -> str:
    """Return the pod that lets tasks start."""
    lease = kubectl.get("lease", names.ADMISSION_LEASE)["spec"]
    return str(lease.get("holderIdentity", "")).rpartition("_")[0]


@pytest.mark.usefixtures("scaled_back")
def test_limits_and_order_hold_whatever_becomes_of_the_operators(
    kubectl: Kubectl, product: Product, queue: Queue
) -> None:
    log = Path(product.audit_log)
    offset = log.stat().st_size
    with queue.watching():
        queue.go_on()
        for killed in range(2):
            queue.wait_for_claims(3 * (killed + 1), within=60)
            now = ("--force", "--grace-period=0", "--wait=false")
            kubectl("delete", "pod", *SYSTEM, *OPERATORS, *now)
        # Claimed by the third one: the lease is held by one of those who are there.
        queue.wait_for_claims(9, within=60)
        scale(kubectl, 2)

        first = holder(kubectl)
        with frozen(main_of(first)):
            since, claimed = time.monotonic(), queue.claimed()
            queue.wait_for_claims(claimed + 1, within=TAKEN_OVER_WITHIN)
            assert holder(kubectl) != first
            queue.wait_for_claims(claimed + 6, within=60)
            eventually(
                lambda: time.monotonic() - since, lambda t: t > FROZEN_FOR, within=FROZEN_FOR
            )

        done = eventually(
            queue.tasks, lambda tasks: all(task.is_finished for task in tasks), within=120
        )
        assert {task.status.phase for task in done} == {v1alpha1.Phase.SUCCEEDED}
        newest = {task.metadata.name: task.metadata.resource_version for task in done}
        eventually(queue.watched, lambda seen: seen == newest, within=20)

    check_limits_and_order(queue)
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
