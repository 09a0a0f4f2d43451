"""The pods' watch brings what happens to them, and queues their tasks."""

import asyncio
import dataclasses
from typing import Any

import pytest

from longtask_adapters import testing
from longtask_adapters.kube.connection import Event, EventType
from longtask_crds import names
from longtask_crds.testing import NAMESPACE, a_task, an_attempt, with_status
from longtask_operator.testing import Operator, a_job
from watch_support import watching

LIST, WATCH = "list pods", "watch pods"


@pytest.fixture
def operator() -> Operator:
    made = Operator()
    made.health.resynced_at = 0.0
    return made


def a_raw_pod(
    phase: str = "Running", *, version: int = 5, labels: dict[str, str] | None = None
) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "p",
            "namespace": NAMESPACE,
            "uid": "pod-1",
            "resourceVersion": str(version),
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": {names.TASK_LABEL: "report", names.ATTEMPT_LABEL: "1"} | (labels or {}),
            "ownerReferences": [
                {"kind": "Job", "name": an_attempt().job_name, "uid": "job-1", "controller": True}
            ],
        },
        "status": {"phase": phase},
    }


def tell(operator: Operator, kind: EventType, raw: dict[str, Any]) -> None:
    operator.pods._take(Event(kind, raw))


def is_heard(operator: Operator, uid: str, version: int) -> bool:
    """Tell whether lists that show this version find the watches deaf."""
    return not any(operator.hearing.is_deaf({uid: version}, version) for _ in range(2))


def pods_kept(operator: Operator) -> list[bool]:
    """Tell of the pod that counts for the task whether it is over; nothing if there is none."""
    pod = operator.mirror.pod_of(with_status(a_task(), attempts=[an_attempt()]))
    return [] if pod is None else [pod.is_over]


def test_a_pod_is_taken_over(operator: Operator) -> None:
    tell(operator, EventType.ADDED, a_raw_pod())
    assert (pods_kept(operator), operator.woken) == ([False], ["report"])
    assert is_heard(operator, "pod-1", 5)


def test_what_is_known_already_wakes_nobody(operator: Operator) -> None:
    tell(operator, EventType.ADDED, a_raw_pod())
    operator.woken.clear()
    for version in (5, 4):
        tell(operator, EventType.MODIFIED, a_raw_pod(version=version))
    assert operator.woken == []


def test_a_pod_with_a_strange_label_is_heard(operator: Operator) -> None:
    tell(operator, EventType.ADDED, a_raw_pod(labels={names.ATTEMPT_LABEL: "first"}))
    assert is_heard(operator, "pod-1", 5)


def test_a_deleted_pod_is_forgotten(operator: Operator) -> None:
    tell(operator, EventType.ADDED, a_raw_pod())
    tell(operator, EventType.DELETED, a_raw_pod(version=6))
    assert pods_kept(operator) == []
    assert operator.woken == ["report", "report"]


def test_last_words_that_come_with_the_deletion_are_heard(operator: Operator) -> None:
    tell(operator, EventType.ADDED, a_raw_pod())
    tell(operator, EventType.DELETED, a_raw_pod("Succeeded", version=6))
    assert pods_kept(operator) == [True]
    assert operator.woken == ["report", "report"]


def test_a_pod_that_waits_is_nobodys(operator: Operator) -> None:
    waiting = {names.TASK_LABEL: "", names.WARM_LABEL: "sleep"}
    for kind in (EventType.ADDED, EventType.DELETED):
        tell(operator, kind, a_raw_pod(labels=waiting))
        assert (pods_kept(operator), operator.woken) == ([], [])
    assert is_heard(operator, "pod-1", 5)
    tell(operator, EventType.MODIFIED, a_raw_pod(version=6))
    assert operator.woken == ["report"]


def test_a_pod_that_is_taken_is_news_of_its_task(operator: Operator) -> None:
    """Whoever took it: its Job is known as one that waits."""
    waiting = {names.TASK_LABEL: "", names.WARM_LABEL: "sleep"}
    job = dataclasses.replace(
        a_job(), uid="job-1", name=an_attempt().job_name, task_name="", warm="sleep"
    )
    operator.ahead.absorb([job], [], operator.kubernetes.now)
    tell(operator, EventType.ADDED, a_raw_pod(labels=waiting))
    assert operator.woken == []
    tell(operator, EventType.MODIFIED, a_raw_pod(version=6))
    assert operator.woken == ["report"]


# --- the watch over an API server ---


@pytest.fixture
def kubernetes(operator: Operator) -> testing.MemoryKubernetes:
    return operator.kubernetes


async def all_heard(operator: Operator) -> None:
    assert await operator.pods.reach(operator.kubernetes.version, within=60)


@pytest.fixture
async def job(operator: Operator) -> str:
    """The Job of a task that was claimed."""
    await operator.submit()
    await operator.look()
    return operator.job


async def test_the_watch_goes_on_from_the_first_list(operator: Operator, job: str) -> None:
    operator.restart()
    kubernetes = operator.kubernetes
    before = kubernetes.make_pod(job)
    kubernetes.calls.clear()
    async with watching(operator, operator.pods):
        kubernetes.start_pod(before)
        await all_heard(operator)
        assert operator.woken == ["report"]
        assert [call for call in kubernetes.calls if call == WATCH] == [WATCH]
        (watch,) = [r for r in kubernetes.requests if r.query.get("watch") == "true"]
        assert watch.query["labelSelector"] == names.TASK_LABEL
        for _ in range(2):
            await operator.resync.once()
        assert operator.health.deaf_since is None


@pytest.mark.parametrize(
    ("failure", "is_lost"),
    [
        pytest.param(testing.Refusal(410, "Expired", "too old"), True, id="410-in-the-watch"),
        pytest.param(testing.Refusal(500, "InternalError", "etcd"), False, id="500-in-the-watch"),
        pytest.param(KeyError("a mistake"), True, id="a-mistake-of-ours"),
    ],
)
async def test_a_watch_that_breaks_misses_nothing(
    operator: Operator,
    kubernetes: testing.MemoryKubernetes,
    job: str,
    failure: Exception,
    is_lost: bool,
) -> None:
    pod = kubernetes.make_pod(job)
    came_back = asyncio.Event()

    async def sleep(_: float) -> None:
        kubernetes.come_back()
        came_back.set()

    operator.pods._sleep = sleep
    async with watching(operator, operator.pods):
        await all_heard(operator)
        lists = kubernetes.calls.count(LIST)
        kubernetes.go_away(failure)
        kubernetes.start_pod(pod)
        await came_back.wait()
        await all_heard(operator)
        assert operator.woken == ["report"]
        assert kubernetes.calls.count(LIST) - lists == is_lost
        meta = kubernetes.stored("pods", pod)["metadata"]
        assert is_heard(operator, meta["uid"], int(meta["resourceVersion"]))
