"""The operator's picture never goes back, and forgets only what is really gone."""

import dataclasses
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from longtask_crds import names, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.testing import (
    FINISHED,
    NOW,
    TASK_UID,
    a_queue,
    a_task,
    a_type,
    an_attempt,
    with_meta,
    with_status,
)
from longtask_operator import mirror
from longtask_operator.testing import REPORT, a_job, a_pod

R = TypeVar("R", bound=v1alpha1.Resource)

CLAIMED = with_status(a_task(), attempts=[an_attempt()])
#: Who holds the place that others wait for.
RUNS = with_status(a_task("runs", uid="1"), queue="default", attempts=[an_attempt()])


FIRST = a_pod()
SECOND = a_pod(uid="pod-2", created_at=NOW + timedelta(seconds=60))


@pytest.fixture
def woken() -> list[str]:
    return []


@pytest.fixture
def seen(woken: list[str]) -> mirror.Mirror:
    def wake(keys: Iterable[ObjectKey]) -> None:
        woken.extend(key.name for key in keys)

    return mirror.Mirror(wake)


def at(version: int, resource: R) -> R:
    return with_meta(resource, resource_version=str(version))


def counts(seen: mirror.Mirror, task: v1alpha1.LongTask) -> str | None:
    """Return the uid of the pod that counts for the task."""
    pod = seen.pod_of(task)
    return None if pod is None else pod.uid


# --- tasks, types and queues; that none goes back is the cache's, and tested there ---


def test_a_deleted_task_takes_its_jobs_and_pods_along(seen: mirror.Mirror) -> None:
    other = with_status(a_task(uid="other"), attempts=[an_attempt(job_name="other")])
    seen.tasks.put(CLAIMED)
    for job in (a_job(), a_job(name="other", owner_uid="other", uid="job-2")):
        seen.put_job(job)
    seen.put_pod(a_pod())
    seen.put_pod(a_pod(job_name="other", uid="pod-2", job_uid="job-2"))
    seen.tasks.remove(REPORT, TASK_UID)
    assert seen.tasks.get(REPORT) is None
    assert (seen.job(a_job().key), counts(seen, CLAIMED)) == (None, None)
    assert seen.job(REPORT.sibling("other")) is not None
    assert counts(seen, other) == "pod-2"


def test_a_task_made_anew_is_not_given_what_the_one_before_left(seen: mirror.Mirror) -> None:
    seen.tasks.put(at(2, CLAIMED))
    seen.put_job(a_job())
    seen.put_pod(a_pod())
    seen.tasks.put(at(3, a_task(uid="new")))
    assert (seen.job(a_job().key), counts(seen, CLAIMED)) == (None, None)


def test_the_input_is_kept_until_the_task_was_looked_at(seen: mirror.Mirror) -> None:
    task = a_task(type="sleep", input={"seconds": 1})
    seen.tasks.put(at(2, task))
    kept = seen.tasks.get(REPORT)
    assert kept is not None
    assert kept.spec.input == {"seconds": 1}
    seen.tasks.put(at(3, with_status(task, observed_generation=1)))
    kept = seen.tasks.get(REPORT)
    assert kept is not None
    assert kept.spec.input is None


# --- whom a change concerns ---


def those_who_wait(seen: mirror.Mirror, *named: str) -> None:
    """Let one hold a place, and others wait in the same queue."""
    seen.tasks.put(RUNS)
    for nth, name in enumerate(named, start=2):
        seen.tasks.put(a_task(name, uid=str(nth)))


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param(with_status(RUNS, conditions=[FINISHED]), {"second"}, id="its-end"),
        pytest.param(with_status(RUNS, waiting="a word"), set(), id="no-other-news-of-it"),
    ],
)
def test_whom_news_of_one_that_holds_a_place_wakes(
    seen: mirror.Mirror, woken: list[str], after: v1alpha1.LongTask, expected: set[str]
) -> None:
    seen.queues.put(a_queue(maxRunning=1))
    those_who_wait(seen, "second", "third")
    seen.tasks.put(at(2, after))
    assert set(woken) == expected


def test_a_deletion_wakes_who_may_start(seen: mirror.Mirror, woken: list[str]) -> None:
    seen.queues.put(a_queue(maxRunning=1))
    those_who_wait(seen, "second", "third")
    seen.tasks.remove(REPORT.sibling("runs"), RUNS.metadata.uid)
    assert woken == ["second"]


def test_one_that_waited_and_goes_lets_the_next_one_up(
    seen: mirror.Mirror, woken: list[str]
) -> None:
    seen.queues.put(a_queue(maxRunning=2))
    those_who_wait(seen, "second", "third")
    seen.tasks.put(at(2, a_task("second", uid="2", container={"image": "x"}, cancel=True)))
    assert woken == ["third"]


def test_where_there_is_no_limit_nobody_waits_for_an_end(
    seen: mirror.Mirror, woken: list[str]
) -> None:
    seen.queues.put(a_queue())
    those_who_wait(seen, "second")
    seen.tasks.put(at(2, with_status(RUNS, conditions=[FINISHED])))
    assert woken == []


# Which queues and types wake whom is tested with the handlers.


@pytest.mark.parametrize(
    "defaults",
    [
        pytest.param({"queue": "elsewhere"}, id="to-another-queue"),
        pytest.param({"queue": "small", "priority": 0}, id="further-back"),
    ],
)
def test_a_type_that_moves_the_first_one_away_wakes_who_is_first_now(
    seen: mirror.Mirror, woken: list[str], defaults: dict[str, Any]
) -> None:
    seen.queues.put(a_queue("small", maxRunning=1))
    seen.types.put(a_type("sleep", defaults={"queue": "small"}))
    seen.tasks.put(a_task("first", uid="1", type="sleep"))
    seen.tasks.put(a_task("second", uid="2", container={"image": "x"}, queue="small"))
    assert seen.index.startable(REPORT.sibling("small")) == [REPORT.sibling("first")]
    seen.types.put(at(2, a_type("sleep", defaults=defaults)))
    assert set(woken) == {"first", "second"}


# --- lanes of the work queue ---


SMALL = {"maxRunning": 1}
LATE = a_task("late", uid="2", container={"image": "x"}, notBefore=NOW + timedelta(hours=1))
WAITS = a_task("waits", uid="2")


@pytest.mark.parametrize(
    ("task", "others", "limits", "lane"),
    [
        pytest.param(WAITS, [], SMALL, "start", id="who-may-start-shares-one-with-its-queue"),
        pytest.param(WAITS, [RUNS], SMALL, "record", id="who-only-waits-takes-another-one"),
        pytest.param(WAITS, [], SMALL | {"paused": True}, "record", id="so-where-it-is-paused"),
        pytest.param(WAITS, [], None, "record", id="so-where-there-is-no-queue"),
        pytest.param(LATE, [], SMALL, "record", id="so-who-joins-later"),
        pytest.param(RUNS, [], SMALL, None, id="what-runs-is-free"),
        pytest.param(
            with_status(RUNS, attempts=[an_attempt(finished_at=NOW)], retry_at=NOW),
            [],
            SMALL,
            "start",
            id="who-is-to-be-tried-again-stands-with-the-others",
        ),
        pytest.param(
            with_status(WAITS, conditions=[FINISHED]), [], SMALL, None, id="what-is-over-is-free"
        ),
        pytest.param(
            a_task("waits", uid="2", container={"image": "x"}, cancel=True),
            [],
            SMALL,
            None,
            id="what-is-cancelled-is-free",
        ),
        pytest.param(
            with_meta(WAITS, deletion_timestamp=NOW), [], SMALL, None, id="what-is-deleted-is-free"
        ),
    ],
)
def test_lane_of(
    seen: mirror.Mirror,
    task: v1alpha1.LongTask,
    others: list[v1alpha1.LongTask],
    limits: dict[str, Any] | None,
    lane: str | None,
) -> None:
    if limits is not None:
        seen.queues.put(a_queue(**limits))
    for one in (*others, task):
        seen.tasks.put(one)
    seen.tell_time(NOW)
    expected = None if lane is None else (lane, REPORT.sibling("default"))
    assert seen.lane_of(REPORT.sibling(task.metadata.name)) == expected


def test_who_is_not_known_takes_no_lane(seen: mirror.Mirror) -> None:
    assert seen.lane_of(REPORT) is None


def test_a_lane_changes_with_what_its_task_may(seen: mirror.Mirror) -> None:
    """A claim under way is free of lanes, and each queue has its own."""
    for name in ("small", "default"):
        seen.queues.put(a_queue(name, maxRunning=1))
    for uid, queue in enumerate(("small", "default")):
        seen.tasks.put(a_task(f"in-{queue}", uid=str(uid), container={"image": "x"}, queue=queue))
    small = REPORT.sibling("in-small")
    lanes = {seen.lane_of(small), seen.lane_of(REPORT.sibling("in-default"))}
    assert lanes == {("start", REPORT.sibling("small")), ("start", REPORT.sibling("default"))}
    seen.index.reserve(small)
    assert seen.lane_of(small) is None
    seen.index.release(small)
    seen.hold_back(small)
    assert seen.lane_of(small) == ("record", REPORT.sibling("small"))


# --- pods ---


def test_a_pod_never_goes_back_and_keeps_when_it_was_seen(seen: mirror.Mirror) -> None:
    later = NOW + timedelta(seconds=9)
    seen.put_pod(a_pod(version=5, running_seen_at=NOW, events_read_at=NOW))
    seen.put_pod(a_pod(version=4, is_over=True))
    seen.put_pod(a_pod(version=6, node="n", running_seen_at=later))
    seen.put_pod(a_pod(version=5, is_over=True))
    pod = seen.pod_of(CLAIMED)
    assert pod == a_pod(version=6, node="n", running_seen_at=NOW, events_read_at=NOW)
    seen.put_pod(dataclasses.replace(a_pod(version=6), events_read_at=later))
    pod = seen.pod_of(CLAIMED)
    assert pod is not None
    assert pod.events_read_at == later
    seen.drop_pod(REPORT, "pod-1")
    assert seen.pod_of(CLAIMED) is None


def test_what_events_say_is_said_of_the_pod_as_it_was_and_of_none_that_went(
    seen: mirror.Mirror,
) -> None:
    def told() -> tuple[str | None, bool]:
        pod = seen.pod_of(CLAIMED)
        assert pod is not None
        return pod.cannot_start, pod.events_read_at is not None

    seen.put_pod(FIRST)
    seen.note_events(FIRST, "no volume", read_at=NOW)
    assert told() == ("no volume", True)
    seen.put_pod(dataclasses.replace(FIRST, version=2))
    seen.note_events(FIRST, "no volume", read_at=NOW)
    assert told() == (None, True)
    seen.drop_pod(REPORT, FIRST.uid)
    seen.note_events(FIRST, "no volume", read_at=NOW)
    assert seen.pod_of(CLAIMED) is None


def test_the_pods_of_one_task_leave_others_alone(seen: mirror.Mirror) -> None:
    other = REPORT.sibling("other")
    seen.put_pod(a_pod())
    seen.put_pod(a_pod(uid="other", task=other))
    seen.absorb_pods_of(REPORT, [SECOND], 9)
    assert counts(seen, CLAIMED) == "pod-2"
    assert counts(seen, with_meta(CLAIMED, name="other")) == "other"


def test_a_list_of_all_pods_takes_away_only_what_is_older_than_itself(seen: mirror.Mirror) -> None:
    known = {name: REPORT.sibling(name) for name in ("same", "changed", "gone", "newer", "new")}
    for name in ("same", "changed", "gone"):
        seen.put_pod(a_pod(uid=name, task=known[name]))
    seen.put_pod(a_pod(uid="newer", task=known["newer"], version=10))
    listed = [
        a_pod(uid="same", task=known["same"]),
        a_pod(uid="changed", task=known["changed"], version=8),
        a_pod(uid="new", task=known["new"], version=7),
    ]
    seen.absorb_pods(listed, 9)
    kept = [name for name in known if counts(seen, with_meta(CLAIMED, name=name)) is not None]
    assert kept == ["same", "changed", "newer", "new"]


def test_a_list_of_all_jobs_does_not_take_away_what_was_made_since(seen: mirror.Mirror) -> None:
    late = NOW + timedelta(seconds=1)
    for name, checked_at in (("old", NOW), ("made-since", late)):
        seen.put_job(a_job(name=name, checked_at=checked_at))
    seen.absorb_jobs([a_job(name="listed", checked_at=NOW)], NOW)
    named = ("old", "made-since", "listed")
    assert [name for name in named if seen.job(REPORT.sibling(name))] == ["made-since", "listed"]


# --- which pod counts ---


STARTED = {"job_uid": "job-1", "pod_uid": "pod-1", "started_at": NOW}


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
            [a_pod(job_name=names.job_name("report", "another-uid", attempt=1))],
            None,
            id="not-the-pod-of-a-task-that-had-the-name-before",
        ),
        pytest.param({}, None, [a_pod(job_name="")], None, id="not-a-pod-without-a-job"),
        pytest.param(STARTED, a_job(), [FIRST, SECOND], "pod-1", id="the-recorded-pod-first"),
        pytest.param(STARTED, a_job(), [SECOND], None, id="no-other-than-the-recorded-pod"),
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
        seen.put_job(job)
    pod = seen.pod_of(with_status(a_task(), attempts=[an_attempt(**attempt)]))
    assert (pod and pod.uid) == expected


def test_before_an_attempt_no_pod_counts(seen: mirror.Mirror) -> None:
    seen.put_pod(FIRST)
    assert seen.pod_of(a_task()) is None
