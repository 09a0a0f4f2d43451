"""The status that each decision leads to."""

import dataclasses
from datetime import timedelta

import pytest

from longtask_crds import events, v1alpha1
from longtask_crds.testing import NOW, TASK_UID, a_task, an_attempt, with_meta, with_status
from longtask_crds.v1alpha1 import Reason
from longtask_crds.v1alpha1.conditions import find
from longtask_operator import cluster
from longtask_operator.rules import decisions, outcome, status
from longtask_operator.testing import a_job, a_pod, an_ended_pod

LATER = NOW + timedelta(seconds=30)
URL = "https://example.com/done"
WITH_CALLBACK = a_task(type="sleep", callback={"url": URL})
CLAIM = decisions.Claim(1, a_job().name)
DONE = outcome.Outcome(
    v1alpha1.Phase.SUCCEEDED,
    Reason.COMPLETED,
    result=v1alpha1.Result(value={"n": None}),
    exit_code=0,
    finished_at=NOW + timedelta(seconds=20),
)
FAILURE = outcome.failed(Reason.PROGRAM_FAILED, "exit code 1")


def told(
    task: v1alpha1.LongTask,
    news: decisions.Write | status.Delivered,
    *,
    at: timedelta = timedelta(),
) -> v1alpha1.LongTask:
    """Return the task as it is stored after a decision."""
    after = status.next_status(task, news, queue="default", now=NOW + at)
    stored = v1alpha1.LongTaskStatus.model_validate(after.to_json())
    return task.model_copy(update={"status": stored})


def conditions(task: v1alpha1.LongTask) -> dict[str, tuple[str, str]]:
    return {c.type: (str(c.status), c.reason) for c in task.status.conditions}


def claimed(task: v1alpha1.LongTask = WITH_CALLBACK) -> v1alpha1.LongTask:
    return told(task, CLAIM)


def running() -> v1alpha1.LongTask:
    return told(claimed(), decisions.MarkRunning(a_pod(started_at=NOW, node="node-1")))


def finished() -> v1alpha1.LongTask:
    pod = an_ended_pod(0, "7", node="node-1")
    return told(running(), decisions.Finish(DONE, pod), at=timedelta(seconds=30))


def test_the_first_visit_sets_every_condition() -> None:
    task = told(a_task(), decisions.Enqueue(None, None))
    assert conditions(task) == {
        "Accepted": ("True", "Valid"),
        "Finished": ("False", "Queued"),
        "Succeeded": ("Unknown", "Queued"),
        "CallbackDelivered": ("Unknown", "NoCallback"),
        "Stalled": ("False", "AsExpected"),
    }
    assert task.status.phase is v1alpha1.Phase.QUEUED
    assert (task.status.queue, task.status.queued_at) == ("default", NOW)
    assert task.status.observed_generation == 1


def test_every_write_says_which_spec_it_speaks_of() -> None:
    patched = with_meta(finished(), generation=7)
    assert told(patched, decisions.Acknowledge()).status == patched.status.model_copy(
        update={"observed_generation": 7}
    )


def test_a_task_with_a_callback_has_nothing_to_deliver_yet() -> None:
    queued = told(WITH_CALLBACK, decisions.Enqueue(None, None))
    assert conditions(queued)["CallbackDelivered"] == ("Unknown", "NotDue")


def test_a_claim_records_the_attempt_and_no_more() -> None:
    task = claimed()
    assert task.status.phase is v1alpha1.Phase.STARTING
    assert task.status.attempts == [an_attempt()]
    assert task.status.attempt == 1
    assert task.status.started_at is None


def test_a_cause_is_told_and_goes_away_again() -> None:
    explain = decisions.Explain("no such image", Reason.POD_CANNOT_START, "job-1")
    stalled = told(claimed(), explain)
    assert stalled.status.waiting == "no such image"
    assert stalled.status.attempts == [an_attempt(job_uid="job-1")]
    assert conditions(stalled)["Stalled"] == ("True", "PodCannotStart")
    task = told(stalled, decisions.MarkRunning(a_pod(started_at=NOW)))
    assert task.status.waiting is None
    assert conditions(task)["Stalled"] == ("False", "AsExpected")


def test_an_explanation_without_a_job_keeps_the_recorded_one() -> None:
    known = told(claimed(), decisions.Explain("a", Reason.POD_NOT_CREATED, "job-1"))
    again = told(known, decisions.Explain("b", Reason.JOB_REFUSED))
    assert again.status.attempts == [an_attempt(job_uid="job-1")]


def test_a_running_pod_is_recorded() -> None:
    task = running()
    assert task.status.phase is v1alpha1.Phase.RUNNING
    assert task.status.started_at == NOW
    assert task.status.attempts == [
        an_attempt(
            job_uid="job-1",
            pod_name="report-pod",
            pod_uid="pod-1",
            node="node-1",
            started_at=NOW,
        )
    ]


def test_a_second_pod_does_not_change_when_the_task_started() -> None:
    second = a_pod(uid="pod-2", started_at=LATER)
    task = told(running(), decisions.MarkRunning(second))
    assert task.status.started_at == NOW
    assert (task.status.attempts or [])[-1].pod_uid == "pod-2"


def test_a_transition_time_moves_with_its_status_only() -> None:
    task = told(running(), decisions.Finish(DONE, an_ended_pod()), at=timedelta(seconds=30))
    moved = {c.type for c in task.status.conditions if c.last_transition_time == LATER}
    assert moved == {"Finished", "Succeeded", "CallbackDelivered"}


def test_the_outcome_and_the_outbox_are_one_write() -> None:
    task = finished()
    assert conditions(task) == {
        "Accepted": ("True", "Valid"),
        "Finished": ("True", "Completed"),
        "Succeeded": ("True", "Completed"),
        "CallbackDelivered": ("False", "Delivering"),
        "Stalled": ("False", "AsExpected"),
    }
    assert task.status.result == v1alpha1.Result(value={"n": None})
    assert task.status.progress == v1alpha1.Progress(percent=100, updated_at=LATER)
    assert task.status.finished_at == LATER
    ended = (task.status.attempts or [])[-1]
    assert (ended.exit_code, ended.reason, ended.finished_at) == (0, "Completed", DONE.finished_at)
    event = v1alpha1.TaskEvent.SUCCEEDED
    assert task.status.callback == v1alpha1.CallbackStatus(
        id=events.webhook_id(TASK_UID, event, 1),
        event=event,
        state=v1alpha1.CallbackState.PENDING,
        next_try_at=LATER,
    )


def test_success_keeps_the_last_words_of_the_progress() -> None:
    said = v1alpha1.Progress(percent=40, message="halfway", updated_at=NOW)
    task = told(with_status(running(), progress=said), decisions.Finish(DONE, an_ended_pod()))
    assert task.status.progress == v1alpha1.Progress(percent=100, message="halfway", updated_at=NOW)


def test_failure_leaves_the_progress_alone() -> None:
    said = v1alpha1.Progress(percent=40, updated_at=NOW)
    task = told(with_status(running(), progress=said), decisions.Finish(FAILURE, an_ended_pod(1)))
    assert task.status.progress == said
    assert task.status.result is None


def test_a_task_refused_before_any_attempt_is_not_accepted() -> None:
    refusal = outcome.failed(Reason.TYPE_NOT_FOUND, "there is no LongTaskType named x")
    task = told(a_task(type="x"), decisions.Finish(refusal))
    assert conditions(task)["Accepted"] == ("False", "TypeNotFound")
    assert conditions(task)["Succeeded"] == ("False", "TypeNotFound")
    assert conditions(task)["CallbackDelivered"] == ("Unknown", "NoCallback")
    accepted = find(task.status.conditions, "Accepted")  # type: ignore[arg-type]
    assert accepted is not None
    assert accepted.message == refusal.message


@pytest.mark.parametrize(
    ("task", "ended"),
    [
        pytest.param(a_task(), outcome.cancelled(), id="a-cancelled-one"),
        pytest.param(claimed(), FAILURE, id="one-that-failed-later"),
    ],
)
def test_other_ends_stay_accepted(task: v1alpha1.LongTask, ended: outcome.Outcome) -> None:
    assert conditions(told(task, decisions.Finish(ended)))["Accepted"] == ("True", "Valid")


def test_an_event_that_nobody_asked_for_is_not_delivered() -> None:
    task = a_task(type="sleep", callback={"url": URL, "events": ["failed"]})
    ended = told(told(task, CLAIM), decisions.Finish(DONE, an_ended_pod()))
    assert ended.status.callback is None
    assert conditions(ended)["CallbackDelivered"] == ("Unknown", "NotDue")


def test_the_start_of_a_pod_that_is_not_known_any_more_stays_recorded() -> None:
    unknown = a_pod(is_over=True)
    lost = outcome.failed(Reason.JOB_LOST, "gone")
    task = told(running(), decisions.Finish(lost, unknown))
    assert task.status.started_at == NOW
    assert (task.status.attempts or [])[-1].started_at == NOW


def test_a_message_fits_its_field() -> None:
    ended = outcome.Outcome(v1alpha1.Phase.FAILED, Reason.PROGRAM_FAILED, "x" * 5000)
    task = told(claimed(), decisions.Finish(ended))
    assert len((task.status.attempts or [])[-1].message or "") == 1024


def test_only_the_last_ten_attempts_are_kept() -> None:
    many = [an_attempt(n) for n in range(1, 11)]
    task = told(with_status(a_task(), attempts=many), decisions.Claim(11, "next"))
    assert [a.number for a in task.status.attempts or ()] == list(range(2, 12))


def delivered(state: v1alpha1.CallbackState, reason: Reason, **entry: object) -> status.Delivered:
    before = finished().status.callback
    assert before is not None
    return status.Delivered(before.model_copy(update={"state": state, "tries": 1} | entry), reason)


@pytest.mark.parametrize(
    ("made", "condition", "message"),
    [
        pytest.param(
            delivered(v1alpha1.CallbackState.DELIVERED, Reason.DELIVERED, last_code=204),
            ("True", "Delivered"),
            "",
            id="delivered",
        ),
        pytest.param(
            delivered(v1alpha1.CallbackState.PENDING, Reason.DELIVERING, last_code=500),
            ("False", "Delivering"),
            "try 1 was answered with 500",
            id="answered-badly",
        ),
        pytest.param(
            delivered(v1alpha1.CallbackState.PENDING, Reason.DELIVERING, last_error="Timeout"),
            ("False", "Delivering"),
            "try 1 failed: Timeout",
            id="not-answered",
        ),
        pytest.param(
            dataclasses.replace(
                delivered(v1alpha1.CallbackState.PENDING, Reason.DELIVERING, last_error="X"),
                message="there is no Secret mine with the label",
            ),
            ("False", "Delivering"),
            "there is no Secret mine with the label",
            id="not-sent-and-why",
        ),
        pytest.param(
            delivered(v1alpha1.CallbackState.EXHAUSTED, Reason.GONE, last_code=410),
            ("False", "Gone"),
            "try 1 was answered with 410",
            id="given-up",
        ),
    ],
)
def test_a_try_changes_the_callback_and_its_condition_only(
    made: status.Delivered, condition: tuple[str, str], message: str
) -> None:
    before = finished()
    assert before.status.callback is not None
    after = told(before, made)
    changed = {step["path"] for step in cluster.status_patch(before, after.status)[1:]}
    assert changed == {"/status/callback", "/status/conditions"}
    assert conditions(after)["CallbackDelivered"] == condition
    found = find(after.status.conditions, "CallbackDelivered")  # type: ignore[arg-type]
    assert found is not None
    assert found.message == message
    unlike = {k for k in conditions(after) if conditions(after)[k] != conditions(before)[k]}
    assert unlike <= {"CallbackDelivered"}


@pytest.mark.parametrize(
    ("task", "decided"),
    [
        pytest.param(a_task(), decisions.Enqueue(None, None), id="queued"),
        pytest.param(
            claimed(), decisions.Explain("w", Reason.POD_CANNOT_START, "job-1"), id="explained"
        ),
        pytest.param(claimed(), decisions.MarkRunning(a_pod(started_at=NOW)), id="running"),
    ],
)
def test_the_same_decision_later_changes_nothing(
    task: v1alpha1.LongTask, decided: decisions.Write
) -> None:
    once = told(task, decided)
    again = status.next_status(once, decided, queue="default", now=LATER)
    assert again == once.status
    assert cluster.status_patch(once, again) == []


def test_what_is_sent_again_is_due_at_once() -> None:
    task = told(finished(), decisions.Redeliver("once"))
    assert task.status.callback is not None
    assert (task.status.callback.next_try_at, task.status.callback.redelivery) == (NOW, "once")


def test_what_was_never_sent_is_not_sent_again() -> None:
    with pytest.raises(ValueError, match=r"^what was never sent is not sent again$"):
        told(a_task(), decisions.Redeliver("once"))
