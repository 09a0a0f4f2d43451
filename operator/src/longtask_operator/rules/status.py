"""The status after a decision: one function, so that status is derived in one place."""

import dataclasses
from datetime import datetime
from typing import assert_never

from longtask_crds import delivery, events, names, queueing, v1alpha1
from longtask_crds.pipeline import inputs, references, runs, standing
from longtask_crds.v1alpha1 import ConditionType, Reason
from longtask_crds.v1alpha1.conditions import Change, changed
from longtask_operator.rules import decisions, outcome, pods, retry, steps

_NO_PARTS: inputs.Parts = {}
_MOST_CONTRADICTIONS = 10
_Status = v1alpha1.ConditionStatus
_Phase = v1alpha1.Phase


@dataclasses.dataclass(frozen=True)
class Delivered:
    """What became of a callback: its entry, why it stands so, and that in words."""

    entry: v1alpha1.CallbackStatus
    reason: Reason
    message: str = ""


@dataclasses.dataclass(frozen=True)
class Kept:
    """What became of a result for which the resource has no place."""

    keep: decisions.Keep
    made: v1alpha1.ResultRef | outcome.Outcome  #: where it is, or how what brings it fails


#: What a write of the status tells: what was decided, or what an effect brought.
News = decisions.Write | decisions.OfRun | Delivered | Kept


def next_status(
    task: v1alpha1.LongTask,
    news: News,
    *,
    queue: str,
    now: datetime,
    parts: inputs.Parts = _NO_PARTS,
) -> v1alpha1.LongTaskStatus:
    """Return the status that records the news; the same one if it says so already.

    Args:
        task: The task as it was when the decision was taken.
        news: A decision that is a write, or what an effect brought.
        queue: The name of the queue that the task goes through.
        now: The time that transitions get.
        parts: What was fetched for a pipeline.
    """
    after = events.numbered(task.status, _after(task, news, queue, now, parts))
    after = _with_event(task, after, now)
    if after == task.status and not isinstance(news, decisions.Acknowledge):
        return task.status
    return after.model_copy(update={"observed_generation": task.metadata.generation})


def with_start(
    status: v1alpha1.LongTaskStatus, run: str, start: v1alpha1.Start, pod: pods.Pod | None
) -> v1alpha1.LongTaskStatus:
    """Return a status that claims a program with how that begins.

    Args:
        status: What is to be written.
        run: The program's name; empty for that of a plain task.
        start: Warm, or why not.
        pod: The one that was started ahead, and is taken.
    """
    values: dict[str, object] = {"start": start}
    if pod is not None:
        # Whose it is, this says: it is handed the task of the status that names it.
        named = {"job_name": pod.job_name, "job_uid": pod.job_uid, "node": pod.node}
        values |= {**named, "pod_name": pod.name, "pod_uid": pod.uid}
    return steps.put(status, run, values) if run else _with_attempt(status, **values)


def _after(
    task: v1alpha1.LongTask, news: News, queue: str, now: datetime, parts: inputs.Parts
) -> v1alpha1.LongTaskStatus:
    match news:
        case decisions.Acknowledge() | decisions.TellProgress():
            return task.status
        case decisions.Defer(waiting):
            visited = _visited(task, queue, now)
            return _undecided(visited, _Phase.PENDING, waiting, None, now)
        case decisions.Enqueue(waiting, stalled):
            visited = _visited(task, queue, now)
            phase = _Phase.RETRYING if visited.attempts else _Phase.QUEUED
            return _undecided(visited, phase, waiting, stalled, now)
        case decisions.Claim():
            claimed = _claimed(_visited(task, queue, now), news, now)
            return _undecided(claimed, _Phase.STARTING, None, None, now)
        case decisions.Explain(waiting, stalled, job_uid):
            status = _with_attempt(task.status, job_uid=job_uid) if job_uid else task.status
            is_running = (status.attempts or [])[-1].started_at is not None
            phase = _Phase.RUNNING if is_running else _Phase.STARTING
            return _undecided(status, phase, waiting, stalled, now)
        case decisions.MarkRunning(pod):
            status = _with_pod(task.status, pod)
            return _undecided(status, _Phase.RUNNING, None, None, now)
        case decisions.Condemn(reason, message):
            return _with_attempt(task.status, reason=reason, message=message)
        case decisions.TryAgain(ended, following, pod):
            status = _with_pod(task.status, pod) if pod is not None else task.status
            return _to_be_retried(status, ended, following, now)
        case decisions.Finish(ended, pod):
            status = _visited(task, queue, now)
            if pod is not None:
                status = _with_pod(status, pod)
            return _finished(task, status, ended, now)
        case decisions.Contradict(found) | decisions.OfRun(_, decisions.Contradict(found)):
            told = [*(task.status.contradictions or ()), found][-_MOST_CONTRADICTIONS:]
            return task.status.model_copy(update={"contradictions": told})
        case decisions.Redeliver(request):
            return _reopened(task.status, request, now)
        case decisions.Begin():
            update = {"steps": steps.begun(task, now), "attempt": 1}
            visited = _visited(task, queue, now).model_copy(update=update)
            return _of_pipeline(task, visited, parts, now)
        case decisions.Advance(overdue, fold, untidy):
            status = steps.folded(task.status, untidy=untidy) if fold else task.status
            return _of_pipeline(task, status, parts, now, overdue=overdue)
        case decisions.OfRun(run, decided):
            if not isinstance(decided, decisions.Write):
                raise TypeError("an effect is carried out before it is news")
            after = _after(run.task, decided, queue, now, parts)
            values = runs.put_back(runs.status_of(task.status, run.run), after)
            return _of_pipeline(task, steps.put(task.status, run.run, values), parts, now)
        case Kept(keep, made):
            return _kept(task, keep, made, queue, now, parts)
        case Delivered():
            return _told(task.status, news, now)
        case unexpected:
            assert_never(unexpected)


def _of_pipeline(
    task: v1alpha1.LongTask,
    status: v1alpha1.LongTaskStatus,
    parts: inputs.Parts,
    now: datetime,
    *,
    overdue: bool = False,
) -> v1alpha1.LongTaskStatus:
    """Return the status with all that follows from where the programs stand in it."""
    seen = task.model_copy(update={"status": status})
    status = steps.advanced(seen, parts, now=now, overdue=overdue)
    seen = task.model_copy(update={"status": status})
    status = _summed_up(seen, now)
    if not steps.is_over(seen):
        return status
    ending, result = steps.verdict(seen), None
    if ending.phase is _Phase.SUCCEEDED:
        try:
            result = steps.result_of(seen, parts)
        except inputs.NotFetched:
            return status
        except references.Missing as error:
            reason, told = Reason.INVALID_STEPS, f"output: {error}"[: names.MESSAGE_MAX]
            ending = v1alpha1.Outcome(phase=_Phase.FAILED, reason=reason, message=told)
        else:
            if result is None:
                return status
    return _pipeline_ended(task, status, ending, result, now)


def _pipeline_ended(
    task: v1alpha1.LongTask,
    status: v1alpha1.LongTaskStatus,
    ending: v1alpha1.Outcome,
    result: v1alpha1.Result | None,
    now: datetime,
) -> v1alpha1.LongTaskStatus:
    status = status.model_copy(update={"outcome": ending})
    reason, message = Reason(ending.reason), ending.message or ""
    return _finished(task, status, outcome.Outcome(ending.phase, reason, message, result), now)


def _summed_up(task: v1alpha1.LongTask, now: datetime) -> v1alpha1.LongTaskStatus:
    """Return the status of a pipeline with what its programs' mean for the whole."""
    status, begun = task.status, list(runs.of(task))
    states = status.steps or []
    started = status.started_at or min(
        (run.last.started_at for run in begun if run.last.started_at is not None), default=None
    )
    troubles = [
        (run.name, known)
        for run in begun
        if not run.is_over and (known := runs.status_of(status, run.name)).waiting
    ]
    waiting, stalled = None, None
    if troubles:
        # One speaks for all: who needs help first.
        name, known = min(troubles, key=lambda trouble: trouble[1].stalled is None)
        waiting = f"step {name}: {known.waiting}"
        stalled = Reason(known.stalled) if known.stalled else None
    status = status.model_copy(
        update={
            "started_at": started,
            "step": standing.word(states),
            "progress": standing.told(task.spec, states, status.progress, status.outcome),
        }
    )
    phase = _Phase.RUNNING if started is not None else _Phase.STARTING
    return _undecided(status, phase, waiting, stalled, now)


def _kept(
    task: v1alpha1.LongTask,
    keep: decisions.Keep,
    made: v1alpha1.ResultRef | outcome.Outcome,
    queue: str,
    now: datetime,
    parts: inputs.Parts,
) -> v1alpha1.LongTaskStatus:
    failed = made if isinstance(made, outcome.Outcome) else None
    result = v1alpha1.Result(ref=made) if isinstance(made, v1alpha1.ResultRef) else None
    if keep.of_run is not None:
        ended = keep.of_run.decided
        if not isinstance(ended, decisions.Finish):
            raise TypeError("only what has ended has a result")
        kept = failed or dataclasses.replace(ended.outcome, result=result)
        ended = dataclasses.replace(ended, outcome=kept)
        return _after(task, decisions.OfRun(keep.of_run.world, ended), queue, now, parts)
    if not keep.recipe.run:
        ending = steps.verdict(task)
        if failed is not None:
            ending = v1alpha1.Outcome(
                phase=failed.phase, reason=failed.reason, message=failed.message
            )
        return _pipeline_ended(task, task.status, ending, result, now)
    step = next(s for s in task.status.steps or () if s.name == keep.recipe.run)
    values = steps.failed(failed, now) if failed else steps.brought(step, result, now)
    return _of_pipeline(task, steps.put(task.status, step.name, values), parts, now)


def _with_event(
    task: v1alpha1.LongTask, after: v1alpha1.LongTaskStatus, now: datetime
) -> v1alpha1.LongTaskStatus:
    """Return the new status with the delivery of what it tells, if somebody wants to know."""
    entry = events.on_the_way(task, after, now=now)
    return after if entry is None else _delivering(after, entry, now)


def _delivering(
    status: v1alpha1.LongTaskStatus, entry: v1alpha1.CallbackStatus, now: datetime
) -> v1alpha1.LongTaskStatus:
    due = Change(ConditionType.CALLBACK_DELIVERED, _Status.FALSE, Reason.DELIVERING)
    conditions = changed(status.conditions, due, now=now)
    return status.model_copy(update={"callback": entry, "conditions": conditions})


def _visited(task: v1alpha1.LongTask, queue: str, now: datetime) -> v1alpha1.LongTaskStatus:
    """Return the status with all that the first visit sets."""
    status = task.status
    joins_at = queueing.deferred_until(task)
    joins_later = joins_at is not None and now < joins_at
    update: dict[str, object] = {
        "queue": queue,
        # The order of a queue goes by it; the API server's clock is the only one.
        "queued_at": None if joins_later else queueing.joined_at(task),
    }
    if not status.conditions:
        due = Reason.NOT_DUE if task.spec.callback else Reason.NO_CALLBACK
        update["conditions"] = changed(
            (),
            Change(ConditionType.ACCEPTED, _Status.TRUE, Reason.VALID),
            Change(ConditionType.FINISHED, _Status.FALSE, Reason.PENDING),
            Change(ConditionType.SUCCEEDED, _Status.UNKNOWN, Reason.PENDING),
            Change(ConditionType.CALLBACK_DELIVERED, _Status.UNKNOWN, due),
            Change(ConditionType.STALLED, _Status.FALSE, Reason.AS_EXPECTED),
            now=now,
        )
    return status.model_copy(update=update)


def _claimed(
    status: v1alpha1.LongTaskStatus, claim: decisions.Claim, now: datetime
) -> v1alpha1.LongTaskStatus:
    attempt = v1alpha1.Attempt(number=claim.attempt, job_name=claim.job_name, claimed_at=now)
    kept = (status.attempts or [])[-9:]
    return status.model_copy(
        update={
            "attempt": claim.attempt,
            "attempts": [*kept, attempt],
            "retry_at": None,
            # What another attempt said of itself and brought is not this one's; it may go on from
            # where that one was.
            "progress": _checkpoint_alone(status.progress),
            "result": None,
            "report": None,
        }
    )


def _checkpoint_alone(progress: v1alpha1.Progress | None) -> v1alpha1.Progress | None:
    if progress is None or progress.checkpoint is None:
        return None
    return v1alpha1.Progress(checkpoint=progress.checkpoint)


def _to_be_retried(
    status: v1alpha1.LongTaskStatus, ended: outcome.Outcome, following: retry.Next, now: datetime
) -> v1alpha1.LongTaskStatus:
    status = _with_end(status, ended, now)
    update: dict[str, object] = {"retry_at": following.at if following.at > now else None}
    if following.is_free:
        update["disruptions"] = (status.disruptions or 0) + 1
    status = status.model_copy(update=update)
    told = retry.sentence(status)
    return _undecided(status, _Phase.RETRYING, told, None, now)


def _undecided(
    status: v1alpha1.LongTaskStatus,
    phase: v1alpha1.Phase,
    waiting: str | None,
    stalled: Reason | None,
    now: datetime,
) -> v1alpha1.LongTaskStatus:
    # The reason is the phase's own word, but for what waits for its time before it is queued.
    reason = Reason.DEFERRED if phase is _Phase.PENDING else Reason(str(phase))
    waiting = waiting[: names.MESSAGE_MAX] if waiting else None
    stall = (
        Change(ConditionType.STALLED, _Status.TRUE, stalled, waiting or "")
        if stalled
        else Change(ConditionType.STALLED, _Status.FALSE, Reason.AS_EXPECTED)
    )
    conditions = changed(
        status.conditions,
        Change(ConditionType.FINISHED, _Status.FALSE, reason),
        Change(ConditionType.SUCCEEDED, _Status.UNKNOWN, reason, waiting or ""),
        stall,
        now=now,
    )
    return status.model_copy(update={"phase": phase, "conditions": conditions, "waiting": waiting})


def _finished(
    task: v1alpha1.LongTask,
    status: v1alpha1.LongTaskStatus,
    ended: outcome.Outcome,
    now: datetime,
) -> v1alpha1.LongTaskStatus:
    message = ended.message[: names.MESSAGE_MAX]
    succeeded = ended.phase is _Phase.SUCCEEDED
    refused = (
        not status.attempts
        and not status.steps
        and ended.phase is _Phase.FAILED
        and ended.reason is not Reason.QUEUE_TIMEOUT  # it might have run, had there been a place
    )
    accepted = (
        Change(ConditionType.ACCEPTED, _Status.FALSE, ended.reason, message)
        if refused
        else Change(ConditionType.ACCEPTED, _Status.TRUE, Reason.VALID)
    )
    verdict = _Status.TRUE if succeeded else _Status.FALSE
    entry = events.outbox(task, ended.phase, status.attempt or 0, now=now)
    changes = [
        accepted,
        Change(ConditionType.FINISHED, _Status.TRUE, ended.reason),
        Change(ConditionType.SUCCEEDED, verdict, ended.reason, message),
        Change(ConditionType.STALLED, _Status.FALSE, Reason.AS_EXPECTED),
    ]
    if task.spec.callback is not None and entry is None and status.callback is None:
        changes.append(Change(ConditionType.CALLBACK_DELIVERED, _Status.UNKNOWN, Reason.NOT_DUE))
    update: dict[str, object] = {
        "phase": ended.phase,
        "finished_at": now,
        "waiting": None,
        "retry_at": None,
        "result": _result(status.result, ended.result),
        "conditions": changed(status.conditions, *changes, now=now),
    }
    if succeeded:
        before = status.progress or v1alpha1.Progress()
        update["progress"] = before.model_copy(update={"percent": 100, "updated_at": now})
    if status.attempts and status.attempts[-1].finished_at is None:
        status = _with_end(status, ended, now)
    status = status.model_copy(update=update)
    return status if entry is None else _delivering(status, entry, now)


def _reopened(
    status: v1alpha1.LongTaskStatus, request: str, now: datetime
) -> v1alpha1.LongTaskStatus:
    entry = status.callback
    if entry is None:
        raise ValueError("what was never sent is not sent again")
    return _delivering(status, delivery.reopened(entry, request, now=now), now)


def _result(
    uploaded: v1alpha1.Result | None, written: v1alpha1.Result | None
) -> v1alpha1.Result | None:
    """Return what a program brought: what it wrote, or what it had uploaded before."""
    is_elsewhere = uploaded is not None and uploaded.ref is not None
    return uploaded if is_elsewhere and written is not None and written.value is None else written


def _told(
    status: v1alpha1.LongTaskStatus, delivered: Delivered, now: datetime
) -> v1alpha1.LongTaskStatus:
    entry = delivered.entry
    done = entry.state is v1alpha1.CallbackState.DELIVERED
    message = "" if done else delivered.message or _failure(entry)
    verdict = _Status.TRUE if done else _Status.FALSE
    told = Change(ConditionType.CALLBACK_DELIVERED, verdict, delivered.reason, message)
    conditions = changed(status.conditions, told, now=now)
    return status.model_copy(update={"callback": entry, "conditions": conditions})


def _failure(entry: v1alpha1.CallbackStatus) -> str:
    if entry.last_code is not None:
        return f"try {entry.tries} was answered with {entry.last_code}"
    return f"try {entry.tries} failed: {entry.last_error}"


def _with_pod(status: v1alpha1.LongTaskStatus, pod: pods.Pod) -> v1alpha1.LongTaskStatus:
    """Return the status with the pod recorded whose outcome counts."""
    attempt = (status.attempts or [])[-1]
    recorded = _with_attempt(
        status,
        job_uid=pod.job_uid or attempt.job_uid,
        pod_name=pod.name,
        pod_uid=pod.uid,
        node=pod.node,
        started_at=pod.started_at or attempt.started_at,
    )
    return recorded.model_copy(update={"started_at": status.started_at or pod.started_at})


def _with_end(
    status: v1alpha1.LongTaskStatus, ended: outcome.Outcome, now: datetime
) -> v1alpha1.LongTaskStatus:
    """Return the status with the end of its last attempt recorded."""
    if ended.reported_at is not None:
        status = _with_reporter(status, ended.reported_at)
    status = _with_attempt(
        status,
        finished_at=ended.finished_at or now,
        reported_at=ended.reported_at,
        exit_code=ended.exit_code,
        reason=ended.reason,
        message=ended.message[: names.MESSAGE_MAX] or None,
    )
    # What it brought and said stands with the attempt now.
    return status.model_copy(update={"report": None})


def _with_reporter(
    status: v1alpha1.LongTaskStatus, reported_at: datetime
) -> v1alpha1.LongTaskStatus:
    """Return the status with the pod recorded that said how its program ends.

    It may have said so before the kubelet said that it runs. Then it has run for a second at most.
    """
    report, attempt = status.report, (status.attempts or [])[-1]
    if report is None:
        raise ValueError("who said so is recorded with what was said")
    started = attempt.started_at or reported_at
    status = _with_attempt(
        status, pod_name=report.pod_name, pod_uid=report.pod_uid, started_at=started
    )
    return status.model_copy(update={"started_at": status.started_at or started})


def _with_attempt(status: v1alpha1.LongTaskStatus, **values: object) -> v1alpha1.LongTaskStatus:
    """Return the status with values set in its last attempt."""
    attempts = list(status.attempts or ())
    attempts[-1] = attempts[-1].model_copy(update=values)
    return status.model_copy(update={"attempts": attempts})
