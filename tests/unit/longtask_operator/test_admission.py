"""Which tasks of a queue may start now."""

from datetime import timedelta

import pytest

from longtask_crds import v1alpha1
from longtask_crds.testing import FINISHED, NOW, a_task, a_type, with_meta, with_status
from longtask_operator import admission


def waits(name: str, *, minutes: int = 0, priority: int = 50) -> admission.Candidate:
    created = NOW + timedelta(minutes=minutes)
    task = with_meta(a_task(name), creation_timestamp=created)
    return admission.Candidate(task, priority)


def runs(name: str) -> admission.Candidate:
    return admission.Candidate(with_status(a_task(name), attempt=1), 50)


def ended(name: str) -> admission.Candidate:
    return admission.Candidate(with_status(a_task(name), attempt=1, conditions=[FINISHED]), 50)


def goes(name: str) -> admission.Candidate:
    return admission.Candidate(with_meta(a_task(name), deletion_timestamp=NOW), 50)


TWO = v1alpha1.LongTaskQueueSpec(max_running=2)


@pytest.mark.parametrize(
    ("candidates", "queue", "reserved", "expected"),
    [
        pytest.param([waits("a")], None, set(), [], id="a-queue-that-is-not-there-starts-nothing"),
        pytest.param(
            [waits("b", minutes=1), waits("a")],
            v1alpha1.LongTaskQueueSpec(),
            set(),
            ["a", "b"],
            id="without-a-limit-all-start-in-order",
        ),
        pytest.param(
            [runs("r"), waits("b", minutes=1), waits("a")], TWO, set(), ["a"], id="what-runs-counts"
        ),
        pytest.param(
            [ended("e"), runs("r"), waits("a")], TWO, set(), ["a"], id="what-ended-does-not-count"
        ),
        pytest.param(
            [waits("x"), runs("r"), waits("a", minutes=1)],
            TWO,
            {"x"},
            [],
            id="a-claim-in-flight-counts-and-does-not-wait",
        ),
        pytest.param([runs("r")], TWO, {"r"}, [], id="a-claim-just-written-counts-once"),
        pytest.param([goes("g"), waits("a")], TWO, set(), ["a"], id="a-deleted-task-does-not-wait"),
        pytest.param(
            [waits("a", minutes=9), waits("b", priority=40)],
            v1alpha1.LongTaskQueueSpec(max_running=1),
            set(),
            ["a"],
            id="ten-points-beat-nine-minutes",
        ),
        pytest.param(
            [waits("a")],
            v1alpha1.LongTaskQueueSpec(paused=True),
            set(),
            [],
            id="a-paused-queue-starts-nothing",
        ),
    ],
)
def test_may_start(
    candidates: list[admission.Candidate],
    queue: v1alpha1.LongTaskQueueSpec | None,
    reserved: set[str],
    expected: list[str],
) -> None:
    assert admission.may_start(candidates, queue, reserved=reserved) == expected


SLOW = a_type("slow", defaults={"queue": "night", "priority": 0}).spec


@pytest.mark.parametrize(
    ("task", "queue", "priority"),
    [
        pytest.param(a_task(type="x"), "night", 0, id="the-type-says"),
        pytest.param(a_task(type="x", queue="day", priority=7), "day", 7, id="the-task-says"),
    ],
)
def test_a_candidate_has_its_types_defaults(
    task: v1alpha1.LongTask, queue: str, priority: int
) -> None:
    found, candidate = admission.candidate(task, SLOW)
    assert (found, candidate.priority) == (queue, priority)


def test_without_a_type_the_defaults_hold() -> None:
    found, candidate = admission.candidate(a_task(), None)
    assert (found, candidate.priority) == ("default", 50)
