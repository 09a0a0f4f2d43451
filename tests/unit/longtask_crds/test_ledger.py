from datetime import timedelta
from typing import Any

import pytest

from longtask_crds import events, v1alpha1
from longtask_crds.testing import FINISHED, NOW, TASK_UID, a_condition, a_task, an_attempt
from longtask_crds.v1alpha1 import ConditionStatus, ConditionType, Phase, Reason, TaskEvent

LATER = NOW + timedelta(seconds=9)


def a_told_task(**status: Any) -> v1alpha1.LongTask:
    return a_task().model_copy(update={"status": v1alpha1.LongTaskStatus(**status)})


def failed(reason: Reason, message: str = "", **status: Any) -> v1alpha1.LongTask:
    verdict = a_condition(ConditionType.SUCCEEDED, ConditionStatus.FALSE, reason, message)
    return a_told_task(
        phase=Phase.FAILED,
        queued_at=NOW,
        finished_at=LATER,
        conditions=[FINISHED, verdict],
        **status,
    )


def short(task: v1alpha1.LongTask) -> list[tuple[str, int]]:
    return [(str(event.type), event.sequence) for event in events.of(task)]


STARTED = an_attempt(1, started_at=NOW)
FAILED_ONCE = an_attempt(1, started_at=NOW, finished_at=NOW, reason="ProgramFailed", message="x")


@pytest.mark.parametrize(
    ("task", "told"),
    [
        pytest.param(a_told_task(), [], id="of-a-new-task-nothing-has-happened"),
        pytest.param(a_told_task(queued_at=NOW), [("queued", 1)], id="it-waits"),
        pytest.param(
            a_told_task(queued_at=NOW, attempt=1, attempts=[STARTED]),
            [("queued", 1), ("started", 1002)],
            id="it-runs",
        ),
        pytest.param(
            a_told_task(queued_at=NOW, attempt=1, attempts=[FAILED_ONCE]),
            [("queued", 1), ("started", 1002), ("retrying", 1300)],
            id="it-is-tried-again",
        ),
        pytest.param(
            failed(Reason.PROGRAM_FAILED, "x", attempt=1, attempts=[FAILED_ONCE]),
            [("queued", 1), ("started", 1002), ("failed", 1900)],
            id="the-end-of-its-attempt-was-its-end",
        ),
        pytest.param(
            failed(Reason.TOTAL_TIMEOUT, attempt=1, attempts=[FAILED_ONCE]),
            [("queued", 1), ("started", 1002), ("retrying", 1300), ("failed", 1900)],
            id="it-ended-while-it-waited-for-another",
        ),
        pytest.param(
            failed(Reason.QUEUE_TIMEOUT), [("queued", 1), ("failed", 900)], id="it-never-ran"
        ),
        pytest.param(
            a_told_task(queued_at=NOW, attempt=12, attempts=[an_attempt(12, started_at=NOW)]),
            [("queued", 1), ("started", 12002)],
            id="forgotten-attempts-leave-their-numbers",
        ),
    ],
)
def test_what_has_happened(task: v1alpha1.LongTask, told: list[tuple[str, int]]) -> None:
    assert short(task) == told
    assert len({event.id for event in events.of(task)}) == len(told)


def test_an_event_says_what_and_why() -> None:
    task = a_told_task(queued_at=NOW, attempt=1, attempts=[FAILED_ONCE])
    assert events.of(task)[-1] == events.Event(
        id=events.webhook_id(TASK_UID, TaskEvent.RETRYING, 1),
        type=TaskEvent.RETRYING,
        sequence=1300,
        at=NOW,
        attempt=1,
        reason="ProgramFailed",
        message="x",
    )


@pytest.mark.parametrize(
    ("status", "sequence"),
    [
        pytest.param({}, None, id="nothing-is-said"),
        pytest.param({"progress": {"message": "x"}}, None, id="without-a-percent"),
        pytest.param({"attempt": 2, "progress": {"percent": 40}}, 2140, id="of-an-attempt"),
        pytest.param({"attempt": 2, "progress": {"percent": 0}}, 2100, id="of-one-that-begins"),
        pytest.param(
            {"attempt": 1, "ordinal": 7, "progress": {"percent": 40}}, 7140, id="of-a-pipeline"
        ),
    ],
)
def test_progress_is_numbered_among_the_events(
    status: dict[str, Any], sequence: int | None
) -> None:
    said = events.progress(a_told_task(**status))
    assert (said and said.sequence) == sequence
    assert said is None or said.reason == "Running"


# --- pipelines


def a_pipeline(*steps: dict[str, Any], **status: Any) -> v1alpha1.LongTaskStatus:
    given = {"phase": "Running", "attempt": 1, "queuedAt": NOW, "startedAt": NOW}
    return v1alpha1.LongTaskStatus.model_validate(given | {"steps": list(steps)} | status)


def a_step(name: str, phase: str = "Running", **values: Any) -> dict[str, Any]:
    known = {"attempt": 1, "jobName": "j", "startedAt": NOW}
    ended = {"finishedAt": LATER} if phase not in ("Running", "Pending") else {}
    return {"name": name, "phase": phase, **known, **ended, **values}


def told_of(status: v1alpha1.LongTaskStatus) -> list[tuple[str, str | None, int]]:
    task = a_task().model_copy(update={"status": status})
    return [(str(event.type), event.step, event.sequence) for event in events.of(task)]


def test_events_of_a_pipeline_are_numbered_as_they_come() -> None:
    empty = v1alpha1.LongTaskStatus()
    both = events.numbered(empty, a_pipeline(a_step("a"), a_step("b")))
    assert told_of(both) == [
        ("queued", None, 1),
        ("started", None, 1002),
        ("step.started", "a", 2002),
        ("step.started", "b", 3002),
    ]
    second = a_pipeline(
        a_step("a", "Retrying", startOrdinal=2), a_step("b", startOrdinal=3), startOrdinal=1
    )
    once = events.numbered(both, second)
    assert told_of(once)[-1] == ("retrying", "a", 4002)
    # They overlap, and each has a number of its own.
    steps = [step.to_json() | {"phase": "Retrying"} for step in once.steps or ()]
    twice = events.numbered(once, a_pipeline(*steps, startOrdinal=1))
    assert told_of(twice)[-2:] == [("retrying", "a", 4002), ("retrying", "b", 5002)]
    assert events.numbered(twice, twice) == twice


def test_a_further_attempt_of_a_step_begins_anew() -> None:
    known = a_pipeline(
        a_step("a", "Retrying", startOrdinal=2, endOrdinal=3), startOrdinal=1, ordinal=3
    )
    again = a_pipeline(
        a_step("a", "Starting", attempt=2, startedAt=None, startOrdinal=2, endOrdinal=3),
        startOrdinal=1,
        ordinal=3,
    )
    assert told_of(events.numbered(known, again)) == [("queued", None, 1), ("started", None, 1002)]


def test_what_happened_before_there_were_numbers_is_no_news() -> None:
    """A status that the version before has written: its receivers were told of all that."""
    older = a_pipeline(a_step("a", "Retrying"), a_step("b", attempt=2))
    callback = v1alpha1.Callback(
        url="https://a.example", events=[TaskEvent.STARTED, TaskEvent.RETRYING]
    )
    task = a_task(container={"image": "x"}, callback=callback.to_json()).model_copy(
        update={"status": older}
    )
    newer = events.numbered(older, older)
    assert newer.ordinal is not None
    assert events.on_the_way(task, newer, now=LATER) is None
    assert told_of(older) == told_of(newer)
    # What comes now is told, and has a higher number.
    again = a_pipeline(a_step("a", "Retrying"), a_step("b", "Retrying", attempt=2))
    entry = events.on_the_way(task, events.numbered(older, again), now=LATER)
    assert entry is not None
    assert entry.facts is not None
    assert (entry.event, entry.facts.step) == (TaskEvent.RETRYING, "b")
    assert (entry.facts.sequence or 0) > max(sequence for _, _, sequence in told_of(older))


def test_of_items_only_that_they_are_tried_again_is_told() -> None:
    children = [
        {"index": 0, **a_step("", "Succeeded")},
        {"index": 1, **a_step("", "Retrying")},
    ]
    step = a_step("a", items=2, begunAt=NOW, children=children)
    status = events.numbered(v1alpha1.LongTaskStatus(), a_pipeline(step))
    assert told_of(status)[2:] == [("step.started", "a", 2002), ("retrying", "a.1", 3002)]


def test_a_plain_task_needs_no_numbers() -> None:
    plain = v1alpha1.LongTaskStatus(attempt=1, attempts=[STARTED])
    assert events.numbered(v1alpha1.LongTaskStatus(), plain) is plain
