"""The operator's picture never goes back, and forgets only what is really gone."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from longtask_crds import names, v1alpha1
from longtask_crds.testing import (
    FINISHED,
    NOW,
    a_queue,
    a_task,
    a_type,
    an_attempt,
    with_meta,
    with_status,
)
from longtask_operator import mirror
from longtask_operator.testing import MemoryCluster, a_job, a_pod


def at(version: int, task: v1alpha1.LongTask | None = None, **meta: Any) -> v1alpha1.LongTask:
    return with_meta(task or a_task(), resource_version=str(version), **meta)


@pytest.fixture
def seen() -> mirror.Mirror:
    return mirror.Mirror()


# --- one by one ---


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        pytest.param(at(2), at(3), 3, id="a-newer-one-is-taken"),
        pytest.param(at(10), at(9), 10, id="an-older-one-is-not-though-its-text-is-greater"),
        pytest.param(at(3), at(3), 3, id="the-same-is-no-news"),
        pytest.param(at(3), at(4, uid="new"), 4, id="a-task-made-anew-is-taken"),
        pytest.param(at(4, uid="new"), at(3), 4, id="the-late-word-of-a-deleted-one-is-not"),
    ],
)
def test_a_task_never_goes_back(
    seen: mirror.Mirror, first: v1alpha1.LongTask, second: v1alpha1.LongTask, kept: int
) -> None:
    assert seen.put_task(first)
    assert seen.put_task(second) == (kept == mirror.version(second) != mirror.version(first))
    assert mirror.version(seen.tasks["report"]) == kept


def test_a_finished_task_leaves_the_unfinished(seen: mirror.Mirror) -> None:
    seen.put_task(at(2))
    assert seen.unfinished == {"report"}
    seen.put_task(at(3, with_status(a_task(), conditions=[FINISHED])))
    assert seen.unfinished == set()


def test_a_deleted_task_takes_its_jobs_and_pods_along(seen: mirror.Mirror) -> None:
    seen.put_task(at(2))
    seen.jobs = {"ours": a_job(name="ours"), "other": a_job(name="other", owner_uid="x")}
    seen.put_pod(a_pod(job_name="ours"))
    seen.put_pod(a_pod(job_name="other", uid="pod-2"))
    seen.drop_task("report", a_task().metadata.uid)
    assert (seen.tasks, seen.unfinished, list(seen.jobs)) == ({}, set(), ["other"])
    assert list(seen.pods["report"]) == ["pod-2"]


def test_the_end_of_one_task_does_not_drop_its_namesake(seen: mirror.Mirror) -> None:
    seen.put_task(at(2, uid="new"))
    seen.drop_task("report", "old")
    assert "report" in seen.tasks


def test_a_pod_never_goes_back_and_keeps_when_it_was_seen(seen: mirror.Mirror) -> None:
    seen.put_pod(a_pod(version=5, running_seen_at=NOW))
    seen.put_pod(a_pod(version=4, is_over=True))
    seen.put_pod(a_pod(version=6, node="n", running_seen_at=NOW + timedelta(seconds=9)))
    (pod,) = seen.pods["report"].values()
    assert (pod.version, pod.is_over, pod.running_seen_at) == (6, False, NOW)
    seen.drop_pod("report", "pod-1")
    assert seen.pods == {}


# --- which pod counts ---

STARTED = {"job_uid": "job-1", "pod_uid": "pod-1", "started_at": NOW}
FIRST = a_pod()
SECOND = a_pod(uid="pod-2", created_at=NOW + timedelta(seconds=60))


@pytest.mark.parametrize(
    ("attempt", "job", "known", "expected"),
    [
        pytest.param({}, None, [], None, id="none-is-none"),
        pytest.param({}, None, [FIRST], "pod-1", id="the-jobs-pod"),
        pytest.param({}, a_job(), [FIRST], "pod-1", id="the-known-jobs-pod"),
        pytest.param(
            {}, a_job(uid="job-2"), [FIRST], None, id="not-the-pod-of-a-job-that-was-there-before"
        ),
        pytest.param(
            {"job_uid": "job-2"}, None, [FIRST], None, id="not-the-pod-of-another-than-recorded"
        ),
        pytest.param(
            {}, a_job(owner_uid="stranger"), [FIRST], None, id="not-the-pod-of-a-foreign-job"
        ),
        pytest.param(
            {},
            None,
            [a_pod(job_name=an_attempt(2).job_name)],
            None,
            id="not-the-pod-of-another-attempt",
        ),
        pytest.param(
            {},
            None,
            [a_pod(job_name=job_manifest.job_name("report", "another-uid", attempt=1))],
            None,
            id="not-the-pod-of-a-task-that-had-the-name-before",
        ),
        pytest.param({}, None, [a_pod(job_name="")], None, id="not-a-pod-without-a-job"),
        pytest.param(STARTED, a_job(), [FIRST, SECOND], "pod-1", id="the-recorded-pod-first"),
        pytest.param(
            STARTED,
            a_job(),
            [dataclasses.replace(FIRST, is_disrupted=True), SECOND],
            "pod-2",
            id="the-pod-after-a-disrupted-one",
        ),
        pytest.param(
            STARTED,
            a_job(),
            [dataclasses.replace(FIRST, is_disrupted=True)],
            "pod-1",
            id="a-disrupted-pod-while-there-is-no-other",
        ),
        pytest.param(STARTED, a_job(), [SECOND], "pod-2", id="the-pod-after-one-that-is-gone"),
        pytest.param(
            {},
            a_job(),
            [
                dataclasses.replace(FIRST, is_disrupted=True, version=9),
                a_pod(uid="pod-2", version=5),
            ],
            "pod-2",
            id="of-two-made-in-one-second-the-one-that-was-not-disrupted",
        ),
        pytest.param(
            STARTED,
            a_job(exists=False),
            [a_pod(job_name="", job_uid="")],
            "pod-1",
            id="the-recorded-pod-though-it-was-orphaned",
        ),
    ],
)
def test_pod_of(
    seen: mirror.Mirror, attempt: dict[str, Any], job: Any, known: list[Any], expected: str | None
) -> None:
    for pod in known:
        seen.put_pod(pod)
    if job is not None:
        seen.jobs[job.name] = job
    pod = seen.pod_of(with_status(a_task(), attempts=[an_attempt(**attempt)]))
    assert (pod and pod.uid) == expected


def test_before_an_attempt_no_pod_counts(seen: mirror.Mirror) -> None:
    seen.put_pod(FIRST)
    assert seen.pod_of(a_task()) is None


# --- complete lists ---


async def lists(cluster: MemoryCluster) -> dict[str, Any]:
    found = {}
    for kind in (names.LONGTASKS, names.LONGTASKTYPES, names.LONGTASKQUEUES):
        found[kind] = await cluster.list_ours(kind)
    for kind in ("pods", "jobs"):
        found[kind] = await cluster.list_labelled(kind)
    return found


@pytest.fixture
def stored() -> MemoryCluster:
    """A cluster with one task, its Job and its pod, a queue and a type."""
    cluster = MemoryCluster()
    cluster.add(a_task())
    cluster.add(a_queue())
    cluster.add(a_type("sleep"))
    job = {
        "name": a_job().name,
        "ownerReferences": [{"uid": a_task().metadata.uid, "controller": True}],
        "uid": "job-1",
        "creationTimestamp": "2026-01-02T03:04:05Z",
    }
    labels = {names.TASK_LABEL: "report", names.ATTEMPT_LABEL: "1"}
    cluster.jobs[a_job().name] = {
        "metadata": job,
        "spec": {"template": {"metadata": {"labels": labels}, "spec": {}}},
    }
    cluster.make_pod(a_job().name)
    return cluster


async def test_lists_bring_everything(seen: mirror.Mirror, stored: MemoryCluster) -> None:
    assert seen.absorb_lists(await lists(stored), now=NOW) == {"report"}
    assert (list(seen.tasks), list(seen.types), list(seen.queues)) == (
        *(["report"], ["sleep"], ["default"]),
    )
    assert list(seen.jobs) == [a_job().name]
    assert len(seen.pods["report"]) == 1


async def test_the_same_lists_bring_no_news(seen: mirror.Mirror, stored: MemoryCluster) -> None:
    seen.absorb_lists(await lists(stored), now=NOW)
    assert seen.absorb_lists(await lists(stored), now=NOW) == set()


async def test_what_is_in_no_list_is_gone(seen: mirror.Mirror, stored: MemoryCluster) -> None:
    seen.absorb_lists(await lists(stored), now=NOW)
    empty = MemoryCluster(version=stored.version)
    assert seen.absorb_lists(await lists(empty), now=NOW) == {"report"}
    assert (seen.tasks, seen.pods, seen.jobs, seen.types, seen.queues) == ({}, {}, {}, {}, {})


async def test_what_is_newer_than_the_lists_stays(
    seen: mirror.Mirror, stored: MemoryCluster
) -> None:
    old = await lists(MemoryCluster(version=1))
    seen.absorb_lists(await lists(stored), now=NOW)
    seen.jobs = {name: a_job(checked_at=NOW + timedelta(seconds=1)) for name in seen.jobs}
    assert seen.absorb_lists(old, now=NOW) == set()
    assert list(seen.tasks) == ["report"]
    assert list(seen.pods) == ["report"]
    assert list(seen.jobs) == [a_job().name]
    assert list(seen.queues) == ["default"]
    assert list(seen.types) == ["sleep"]


async def test_a_pause_that_came_while_the_lists_were_made_holds(seen: mirror.Mirror) -> None:
    cluster = MemoryCluster()
    cluster.add(a_queue(maxRunning=1))
    slow = await lists(cluster)
    cluster.add(a_queue(paused=True))
    seen.queues["default"] = v1alpha1.LongTaskQueue.model_validate(cluster.queues["default"])
    seen.absorb_lists(slow, now=NOW)
    assert seen.queues["default"].spec.paused


async def test_one_unreadable_object_does_not_stop_the_rest(
    seen: mirror.Mirror, stored: MemoryCluster
) -> None:
    poison = {"metadata": {"name": "bad", "resourceVersion": "9", "uid": "b"}, "spec": {"type": 7}}
    stored.tasks = {"bad": poison, **stored.tasks}
    stored.queues["bad"] = poison | {"spec": {"maxRunning": "many"}}
    seen.absorb_lists(await lists(stored), now=NOW)
    assert list(seen.tasks) == ["report"]
    assert list(seen.queues) == ["default"]


def test_the_pods_of_one_task_leave_others_alone(seen: mirror.Mirror) -> None:
    seen.put_pod(FIRST)
    seen.put_pod(a_pod(uid="other", task="other"))
    seen.absorb_pods_of("report", [SECOND], 9)
    assert {uid for known in seen.pods.values() for uid in known} == {"pod-2", "other"}


def test_a_tasks_own_reservation_does_not_count(seen: mirror.Mirror) -> None:
    seen.put_task(at(2))
    seen.queues["default"] = a_queue(maxRunning=1)
    seen.reserved.add("report")
    assert seen.may_start("default") == []
    assert seen.may_start("default", ignoring="report") == ["report"]
    assert seen.may_start("other") == []
