"""The status after a decision: one function, so that status is derived in one place. Pure."""

import dataclasses
from datetime import datetime

from longtask_crds import events, names, v1alpha1
from longtask_crds.v1alpha1 import ConditionType, Reason
from longtask_crds.v1alpha1.conditions import replaced
from longtask_operator import decision, outcome

_Status = v1alpha1.ConditionStatus
_Phase = v1alpha1.Phase


@dataclasses.dataclass(frozen=True)
class Delivered:
    """What became of a callback: its entry, and why it stands so."""

    entry: v1alpha1.CallbackStatus
    reason: Reason


def next_status(
    task: v1alpha1.LongTask,
    decided: decision.Decision,
    delivered: Delivered | None = None,
    *,
    queue: str,
    now: datetime,
) -> v1alpha1.LongTaskStatus:
    """Return the status that a decision leads to; the same one if it changes nothing.

    Args:
        task: The task as it was when the decision was taken.
        decided: The decision, its effect carried out.
        delivered: For a `SendCallback`, what became of it.
        queue: The queue that the task goes through.
        now: The time that transitions get.
    """
    after = _after(task, decided, delivered, queue=queue, now=now)
    if after == task.status and not isinstance(decided, decision.Acknowledge):
        return task.status
    return after.model_copy(update={"observed_generation": task.metadata.generation})


def _after(
    task: v1alpha1.LongTask,
    decided: decision.Decision,
    delivered: Delivered | None,
    *,
    queue: str,
    now: datetime,
) -> v1alpha1.LongTaskStatus:
    match decided:
        case decision.Enqueue(waiting, stalled):
            return _undecided(
                _visited(task, queue, now),
                _Phase.QUEUED,
                Reason.QUEUED,
                waiting,
                stalled,
                now,
            )
        case decision.Claim(number, job_name):
            attempt = v1alpha1.Attempt(number=number, job_name=job_name, claimed_at=now)
            status = _visited(task, queue, now).model_copy(
                update={
                    "attempt": number,
                    "attempts": [*(task.status.attempts or [])[-9:], attempt],
                }
            )
            return _undecided(status, _Phase.STARTING, Reason.STARTING, None, None, now)
        case decision.Explain(waiting, stalled, job_uid):
            status = _with_attempt(task.status, job_uid=job_uid) if job_uid else task.status
            return _undecided(status, _Phase.STARTING, Reason.STARTING, waiting, stalled, now)
        case decision.MarkRunning(pod):
            status = _with_attempt(
                task.status,
                job_uid=pod.job_uid,
                pod_name=pod.name,
                pod_uid=pod.uid,
                node=pod.node,
                started_at=pod.started_at,
            ).model_copy(update={"started_at": task.status.started_at or pod.started_at})
            return _undecided(status, _Phase.RUNNING, Reason.RUNNING, None, None, now)
        case decision.Finish(ended, pod):
            status = _visited(task, queue, now)
            if pod is not None:
                attempt = (status.attempts or [])[-1]
                status = _with_attempt(
                    status,
                    job_uid=pod.job_uid or attempt.job_uid,
                    pod_name=pod.name,
                    pod_uid=pod.uid,
                    node=pod.node,
                    started_at=pod.started_at or attempt.started_at,
                ).model_copy(update={"started_at": status.started_at or pod.started_at})
            return _finished(task, status, ended, now)
        case decision.SendCallback() if delivered is not None:
            return _told(task.status, delivered, now)
        case _:
            return task.status


def _visited(task: v1alpha1.LongTask, queue: str, now: datetime) -> v1alpha1.LongTaskStatus:
    """Return the status with all that the first visit sets."""
    status = task.status
    update: dict[str, object] = {
        "queue": queue,
        # The order of a queue goes by it; the API server's clock is the only one.
        "queued_at": status.queued_at or task.metadata.creation_timestamp,
    }
    if not status.conditions:
        conditions = status.conditions
        told = Reason.NOT_DUE if task.spec.callback else Reason.NO_CALLBACK
        for kind, value, reason in (
            (ConditionType.ACCEPTED, _Status.TRUE, Reason.VALID),
            (ConditionType.FINISHED, _Status.FALSE, Reason.PENDING),
            (ConditionType.SUCCEEDED, _Status.UNKNOWN, Reason.PENDING),
            (ConditionType.CALLBACK_DELIVERED, _Status.UNKNOWN, told),
            (ConditionType.STALLED, _Status.FALSE, Reason.AS_EXPECTED),
        ):
            conditions = list(replaced(conditions, kind, value, reason, now=now))
        update["conditions"] = conditions
    return status.model_copy(update=update)


def _undecided(
    status: v1alpha1.LongTaskStatus,
    phase: v1alpha1.Phase,
    reason: Reason,
    waiting: str | None,
    stalled: Reason | None,
    now: datetime,
) -> v1alpha1.LongTaskStatus:
    waiting = waiting[: names.MESSAGE_MAX] if waiting else None
    conditions = replaced(status.conditions, ConditionType.FINISHED, _Status.FALSE, reason, now=now)
    conditions = replaced(
        conditions, ConditionType.SUCCEEDED, _Status.UNKNOWN, reason, waiting or "", now=now
    )
    conditions = replaced(
        conditions,
        ConditionType.STALLED,
        _Status.TRUE if stalled else _Status.FALSE,
        stalled or Reason.AS_EXPECTED,
        waiting or "" if stalled else "",
        now=now,
    )
    return status.model_copy(
        update={"phase": phase, "conditions": list(conditions), "waiting": waiting}
    )


def _finished(
    task: v1alpha1.LongTask,
    status: v1alpha1.LongTaskStatus,
    ended: outcome.Outcome,
    now: datetime,
) -> v1alpha1.LongTaskStatus:
    succeeded = ended.phase is _Phase.SUCCEEDED
    refused = not status.attempts and ended.phase is _Phase.FAILED
    conditions = status.conditions
    for kind, value, reason, message in (
        (
            ConditionType.ACCEPTED,
            _Status.FALSE if refused else _Status.TRUE,
            ended.reason if refused else Reason.VALID,
            ended.message if refused else "",
        ),
        (ConditionType.FINISHED, _Status.TRUE, ended.reason, ""),
        (
            ConditionType.SUCCEEDED,
            _Status.TRUE if succeeded else _Status.FALSE,
            ended.reason,
            ended.message,
        ),
        (ConditionType.STALLED, _Status.FALSE, Reason.AS_EXPECTED, ""),
    ):
        conditions = list(
            replaced(conditions, kind, value, reason, message[: names.MESSAGE_MAX], now=now)
        )
    update: dict[str, object] = {
        "phase": ended.phase,
        "finished_at": now,
        "waiting": None,
        "result": ended.result,
    }
    if succeeded:
        before = status.progress or v1alpha1.Progress()
        update["progress"] = before.model_copy(update={"percent": 100, "updated_at": now})
    event = events.terminal_event(ended.phase)
    if task.spec.callback is not None:
        wanted = events.is_wanted(task.spec.callback, event)
        if wanted:
            number = status.attempt or 0
            update["callback"] = v1alpha1.CallbackStatus(
                id=events.webhook_id(task.metadata.uid, event, number),
                event=event,
                state=v1alpha1.CallbackState.PENDING,
                next_try_at=now,
            )
        conditions = list(
            replaced(
                conditions,
                ConditionType.CALLBACK_DELIVERED,
                _Status.FALSE if wanted else _Status.UNKNOWN,
                Reason.DELIVERING if wanted else Reason.NOT_DUE,
                now=now,
            )
        )
    update["conditions"] = conditions
    if status.attempts:
        status = _with_attempt(
            status,
            finished_at=ended.finished_at or now,
            exit_code=ended.exit_code,
            reason=ended.reason,
            message=ended.message[: names.MESSAGE_MAX] or None,
        )
    return status.model_copy(update=update)


def _told(
    status: v1alpha1.LongTaskStatus, delivered: Delivered, now: datetime
) -> v1alpha1.LongTaskStatus:
    done = delivered.entry.state is v1alpha1.CallbackState.DELIVERED
    conditions = replaced(
        status.conditions,
        ConditionType.CALLBACK_DELIVERED,
        _Status.TRUE if done else _Status.FALSE,
        delivered.reason,
        _failure(delivered.entry),
        now=now,
    )
    return status.model_copy(update={"callback": delivered.entry, "conditions": list(conditions)})


def _failure(entry: v1alpha1.CallbackStatus) -> str:
    if entry.state is v1alpha1.CallbackState.DELIVERED:
        return ""
    if entry.last_code is not None:
        return f"try {entry.tries} was answered with {entry.last_code}"
    return f"try {entry.tries} failed: {entry.last_error}"


def _with_attempt(status: v1alpha1.LongTaskStatus, **values: object) -> v1alpha1.LongTaskStatus:
    """Return the status with values set in its last attempt."""
    attempts = list(status.attempts or ())
    attempts[-1] = attempts[-1].model_copy(update=values)
    return status.model_copy(update={"attempts": attempts})
