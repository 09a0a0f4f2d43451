"""What may happen to pods that wait, twenty tasks each: all end, each once, at no cost."""

import concurrent.futures
import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from e2e_support import (
    Kubectl,
    Product,
    Receiver,
    answers,
    eventually,
    finished,
    jobs_ever_created,
    kill,
    pods_of,
    ready,
    submit,
)
from freezing_support import frozen, killed, kubelets, main_of
from warm_support import Pool

pytestmark = pytest.mark.alone

SIZE = 8
TASKS = 20


@pytest.fixture
def pool(kubectl: Kubectl, name: str) -> Iterator[Pool]:
    made = Pool(kubectl, name)
    made.keep(SIZE)
    made.filled(SIZE)
    yield made
    kubectl("delete", "ltt", name)


class Twenty:
    """Twenty tasks of one type."""

    def __init__(self, rest: httpx.Client, pool: Pool, receiver: Receiver) -> None:
        self._rest = rest
        self._pool = pool
        self._receiver = receiver
        self.names: list[str] = []

    def hand_over(self, count: int, **order: Any) -> list[str]:
        def one(_: int) -> str:
            callback = {"url": self._receiver.url()}
            return str(submit(self._rest, type=self._pool.name, callback=callback, **order)["id"])

        with concurrent.futures.ThreadPoolExecutor(count) as threads:
            made = list(threads.map(one, range(count)))
        self.names += made
        return made

    def all_end_well(self) -> dict[str, int]:
        """Check that each has ended, and been called back, as one; return how they began."""
        began: dict[str, int] = {}
        for task in self.names:
            view = finished(self._rest, task, within=240)
            assert view["phase"] == "Succeeded", view
            assert len({delivery.id for delivery in self._receiver.wait_for(task, within=90)}) == 1
            lost = [one for one in view["attempts"] if one.get("reason") == "Disrupted"]
            assert view["attempt"] == 1 + len(lost), view
            assert view["result"]["value"]["name"] in (task, "cold")
            start = view["attempts"][0]["start"]
            began[start] = began.get(start, 0) + 1
        assert len(self.names) == TASKS
        print(began)
        return began


@pytest.fixture
def twenty(rest: httpx.Client, pool: Pool, receiver: Receiver) -> Twenty:
    return Twenty(rest, pool, receiver)


def test_the_api_is_killed_while_they_wait(
    rest: httpx.Client, kubectl: Kubectl, twenty: Twenty
) -> None:
    kill(kubectl, "api")
    ready(kubectl, "api")
    eventually(lambda: answers(rest), bool, within=60)
    twenty.hand_over(SIZE)
    twenty.hand_over(TASKS - SIZE)
    assert twenty.all_end_well()["Warm"] >= SIZE


def test_the_operator_is_killed_between_claims_and_hand_overs(
    kubectl: Kubectl, twenty: Twenty
) -> None:
    for _ in range(4):
        twenty.hand_over(TASKS // 4)
        kill(kubectl, "operator")
        ready(kubectl, "operator")
    twenty.all_end_well()


def test_the_operator_is_killed_when_all_is_claimed_and_nothing_handed_over(
    rest: httpx.Client, kubectl: Kubectl, product: Product, receiver: Receiver, pool: Pool
) -> None:
    pool.keep(TASKS)
    before = {pod["metadata"]["uid"] for pod in pool.filled(TASKS)}
    tasks = Claimed(kubectl, receiver, pool)
    (api,) = pods_of(kubectl, "api")
    with tasks.queue():
        with frozen(main_of(api["metadata"]["name"])):
            # Who hands tasks over stands still, so that the claims are all that is done.
            tasks.make()
            claimed = eventually(tasks.claims, lambda claims: len(claims) == TASKS, within=50)
            kill(kubectl, "operator")
            assert {claim["podUid"] for claim in claimed} == before
            assert not any(tasks.heard(status) for status in tasks.statuses())
        ready(kubectl, "operator")
        eventually(lambda: answers(rest), bool, within=60)
        for task in tasks.names:
            view = finished(rest, task, within=120)
            assert (view["phase"], view["attempt"]) == ("Succeeded", 1), view
            (attempt,) = view["attempts"]
            assert attempt["start"] == "Warm"
            assert view["result"]["value"] == {"name": task, "pod": attempt["podName"]}
            assert len({delivery.id for delivery in receiver.wait_for(task, within=60)}) == 1
            assert jobs_ever_created(product, task) == 0
    # Each program began once: none of the pods had two tasks, and no task two pods.
    for claim in claimed:
        log = kubectl("logs", claim["podName"])
        assert log.count("works on") == 1, log


def test_programs_are_killed_when_all_is_claimed_and_nothing_handed_over(
    rest: httpx.Client, kubectl: Kubectl, receiver: Receiver, pool: Pool
) -> None:
    pool.keep(TASKS)
    pool.filled(TASKS)
    tasks = Claimed(kubectl, receiver, pool)
    (api,) = pods_of(kubectl, "api")
    with tasks.queue():
        with frozen(main_of(api["metadata"]["name"])):
            tasks.make()
            claimed = eventually(tasks.claims, lambda claims: len(claims) == TASKS, within=50)
            lost = {claim["podName"] for claim in claimed[: TASKS // 4]}
            killed(*map(main_of, lost))
        eventually(lambda: answers(rest), bool, within=60)
        for task in tasks.names:
            view = finished(rest, task, within=120)
            first, *more = view["attempts"]
            assert view["phase"] == "Succeeded", view
            # It costs no attempt, and there is but one.
            assert view["disruptions"] == len(more) == (first["podName"] in lost), view
            assert len({delivery.id for delivery in receiver.wait_for(task, within=60)}) == 1


def test_pods_are_deleted_after_the_claim(kubectl: Kubectl, twenty: Twenty) -> None:
    deleted: set[str] = set()
    tasks = twenty.hand_over(TASKS, input={"seconds": 5})
    until = time.monotonic() + 20
    while time.monotonic() < until and len(deleted) < SIZE:
        for pod in kubectl.get("pods", "-l", "longtask.dev/warm")["items"]:
            meta = pod["metadata"]
            if meta["labels"]["longtask.dev/task"] in tasks and meta["name"] not in deleted:
                deleted.add(meta["name"])
                kubectl("delete", "pod", meta["name"], "--grace-period=1", "--wait=false")
    assert deleted
    twenty.all_end_well()


def test_the_kubelet_is_frozen_meanwhile(kubectl: Kubectl, twenty: Twenty) -> None:
    with frozen(*kubelets(kubectl)):
        warm = twenty.hand_over(SIZE)
        # No kubelet is needed for a pod that waits already.
        for task in warm:
            twenty._receiver.wait_for(task, within=60)
        twenty.hand_over(TASKS - SIZE)
    assert twenty.all_end_well()["Warm"] >= SIZE


def test_the_type_is_changed_under_load(pool: Pool, twenty: Twenty) -> None:
    for change in range(4):
        twenty.hand_over(TASKS // 4)
        pool.keep(SIZE, env=[{"name": "CHANGE", "value": str(change)}])
    twenty.all_end_well()
    pool.filled(SIZE)


class Claimed:
    """Twenty tasks that are made without the API, and have places at once."""

    def __init__(self, kubectl: Kubectl, receiver: Receiver, pool: Pool) -> None:
        self._kubectl = kubectl
        self._url = receiver.url()
        self._type = pool.name
        self.names = [f"{pool.name}-{number}" for number in range(TASKS)]

    @contextlib.contextmanager
    def queue(self) -> Iterator[None]:
        """Have their queue meanwhile."""
        meta = {"name": self._type}
        self._apply({"kind": "LongTaskQueue", "metadata": meta, "spec": {"maxRunning": TASKS}})
        try:
            yield
        finally:
            self._kubectl("delete", "ltq", self._type)

    def make(self) -> None:
        """Make them all by one call."""
        spec = {"type": self._type, "queue": self._type, "callback": {"url": self._url}}
        tasks = [
            {"kind": "LongTask", "metadata": {"name": name}, "spec": spec} for name in self.names
        ]
        self._apply(*tasks)

    def statuses(self) -> list[dict[str, Any]]:
        """How they stand, by Kubernetes."""
        found = self._kubectl.get("lt", *self.names)["items"]
        return [task.get("status", {}) for task in found]

    def claims(self) -> list[dict[str, Any]]:
        """The attempts that name a pod which waited."""
        attempts = (status["attempts"][-1] for status in self.statuses() if "attempts" in status)
        return [attempt for attempt in attempts if attempt.get("start") == "Warm"]

    def heard(self, status: dict[str, Any]) -> bool:
        """Whether its program has said anything."""
        return not status.keys().isdisjoint({"report", "progress", "finishedAt", "startedAt"})

    def _apply(self, *objects: dict[str, Any]) -> None:
        items = [{"apiVersion": "longtask.dev/v1alpha1", **one} for one in objects]
        self._kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
