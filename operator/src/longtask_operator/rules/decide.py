"""What is to be done next for one task: every rule, no IO, the clock is an argument.

A pass never asks what happened, only what is. Each decision has at most one effect, and each state
that the API server can hold leads to one decision, so a crash between any two writes costs time
and nothing else.
"""

import re
from datetime import datetime, timedelta

from longtask_crds import names, queueing, v1alpha1
from longtask_crds.v1alpha1 import Reason
from longtask_operator.rules import outcome, pods, timeouts
from longtask_operator.rules.decisions import (
    Acknowledge,
    CheckJob,
    CheckPod,
    Claim,
    CreateJob,
    Decision,
    Defer,
    DeleteJob,
    Enqueue,
    Explain,
    Finish,
    MarkRunning,
    ReleaseJob,
    SendCallback,
    StopPod,
    Wait,
    World,
)

#: A container that is seen to run for less is never reported as running: one write less. The
#: kubelet looks each second, so the end of one that ended at once is seen a good second later.
RUNNING_AFTER = timedelta(seconds=1.5)
#: How long a Job may be without a pod before its Events are read.
POD_EXPECTED_WITHIN = timedelta(seconds=5)
#: How often a Job is looked at that should have a pod and has none.
JOB_CHECK_INTERVAL = timedelta(seconds=5)
#: How long a container may take to start before its pod's Events are read.
START_EXPECTED_WITHIN = timedelta(seconds=5)
#: How often they are read again.
POD_CHECK_INTERVAL = timedelta(seconds=15)
#: How often a Job is tried again that the API server refused.
JOB_RETRY_INTERVAL = timedelta(seconds=10)


def decide(world: World, *, now: datetime) -> Decision:
    """Return the next step for one task."""
    if world.task.metadata.deletion_timestamp is not None:
        return Wait()  # garbage collection takes the Job and its pod along
    step = _next_step(world, now)
    return Acknowledge() if isinstance(step, Wait) and is_unseen(world.task) else step


def _next_step(world: World, now: datetime) -> Decision:
    if world.task.is_finished:
        return _after_the_end(world, now)
    if not world.task.status.attempts:
        return _before_the_start(world, now)
    attempt = world.task.status.attempts[-1]
    if world.pod is None:
        return _without_pod(world, attempt, now)
    return _with_pod(world, attempt, world.pod, now)


def _before_the_start(world: World, now: datetime) -> Decision:
    if world.task.spec.cancel:
        return Finish(outcome.cancelled())
    if world.refusal is not None:
        return Finish(world.refusal)
    if world.has_slot:
        return Claim(attempt=1, job_name=world.job_name)
    joins_at = queueing.deferred_until(world.task)
    if joins_at is not None and now < joins_at:
        waiting = queueing.postponed(world.queue, joins_at)
        return Wait(until=joins_at) if world.task.status.waiting == waiting else Defer(waiting)
    due = timeouts.first_due(world.task, queue_seconds=world.spec.queue_seconds)
    if due is not None and now >= due.at:
        return Finish(outcome.failed(due.reason, due.message))
    if is_enqueued(world.task, world.queue, queue_exists=world.queue_exists):
        return Wait(until=due.at if due else None)
    if world.queue_exists:
        return Enqueue(None, None)
    return Enqueue(_no_queue(world.queue), Reason.QUEUE_NOT_FOUND)


def is_enqueued(task: v1alpha1.LongTask, queue: str, *, queue_exists: bool) -> bool:
    """Tell whether the status of a waiting task says all that there is to say."""
    status = task.status
    return (
        status.phase is v1alpha1.Phase.QUEUED
        and status.queue == queue
        and status.waiting == (None if queue_exists else _no_queue(queue))
    )


def is_unseen(task: v1alpha1.LongTask) -> bool:
    """Tell whether the spec was changed since the status last spoke of it."""
    seen = task.status.observed_generation
    # The first visit records it with all the rest.
    return seen is not None and seen < task.metadata.generation


def is_settled(
    task: v1alpha1.LongTask,
    queue: str | None,
    *,
    queue_exists: bool,
    queue_seconds: int | None,
) -> bool:
    """Tell whether nothing is to do for a task until it, its queue or its Job changes.

    Args:
        task: The task.
        queue: The queue that it waits in or holds a place in; None if neither.
        queue_exists: Whether there is such a queue.
        queue_seconds: How long it may wait there; None is no limit.
    """
    if task.metadata.deletion_timestamp is not None:
        return queueing.standing(task) is queueing.Standing.OUT
    if is_unseen(task):
        return False
    if task.is_finished:
        entry = task.status.callback
        return entry is None or entry.state is not v1alpha1.CallbackState.PENDING
    waits = queueing.standing(task) is queueing.Standing.WAITING
    told = queue is not None and is_enqueued(task, queue, queue_exists=queue_exists)
    return waits and told and queue_seconds is None


def _no_queue(name: str) -> str:
    return f"there is no LongTaskQueue named {name}"


def _without_pod(world: World, attempt: v1alpha1.Attempt, now: datetime) -> Decision:
    job = world.job
    if world.task.spec.cancel and not attempt.started_at:
        return Finish(outcome.cancelled())
    if world.task.spec.cancel and job is not None and job.exists and not job.is_finished:
        # Its pod was disrupted, and no other is there yet: without the Job there will be none.
        return Finish(outcome.cancelled("cancelled while it had no pod"))
    if not attempt.started_at and now >= _start_deadline(world, attempt):
        cause = world.task.status.waiting or "no pod was made for it"
        return Finish(outcome.failed(Reason.START_TIMEOUT, cause))
    if job is None or not job.exists:
        return _without_job(world, attempt, now)
    if job.owner_uid != world.task.metadata.uid:
        return Finish(
            outcome.failed(Reason.NAME_CONFLICT, f"the Job {job.name} belongs to something else")
        )
    if attempt.job_uid is not None and attempt.job_uid != job.uid:
        return Finish(outcome.failed(Reason.JOB_LOST, "another Job stands in the Job's place"))
    if job.is_finished:
        return Finish(
            outcome.failed(Reason.JOB_LOST, "the pod vanished before its outcome was read")
        )
    # A cause without words is none: recorded, it would be told again for ever.
    if job.refusal and not _is_told(job.refusal, world.task.status.waiting):
        return Explain(job.refusal, Reason.POD_NOT_CREATED, job.uid)
    expected = (job.created_at or job.checked_at) + POD_EXPECTED_WITHIN
    due = max(expected, job.checked_at + JOB_CHECK_INTERVAL)
    return CheckJob(job.name) if now >= due else Wait(until=due)


def _without_job(world: World, attempt: v1alpha1.Attempt, now: datetime) -> Decision:
    job = world.job
    if attempt.job_uid is not None:
        if job is None:
            return CheckJob(attempt.job_name)
        return Finish(outcome.failed(Reason.JOB_LOST, "the Job was deleted"))
    if job is not None and job.refusal is not None:
        if not _is_told(job.refusal, world.task.status.waiting):
            return Explain(job.refusal, Reason.JOB_REFUSED)
        due = job.checked_at + JOB_RETRY_INTERVAL
        if now < due:
            return Wait(until=min(due, _start_deadline(world, attempt)))
    return CreateJob(attempt.number)


def _with_pod(world: World, attempt: v1alpha1.Attempt, pod: pods.Pod, now: datetime) -> Decision:
    cancel = bool(world.task.spec.cancel)
    # A success stands as soon as the container has ended: the pod's phase follows a second later.
    # But what ended when its time was up may have been ended, and that the phase brings too.
    in_time = not pod.outlived(world.spec.run_seconds) or cancel
    if pod.is_over or (pod.succeeded and in_time):
        if pod.is_disrupted and not pod.succeeded and not cancel:
            return _after_disruption(world, attempt, now)
        ended = outcome.of_pod(pod, cancel_requested=cancel, run_seconds=world.spec.run_seconds)
        return Finish(ended, pod)
    # Of any other end the phase brings the cause: a deadline, an eviction, a disruption.
    if pod.is_deleting or pod.end is not None:
        return Wait()
    if cancel:
        if pod.started_at is None:
            return Finish(outcome.cancelled(), pod)
        return Wait() if pod.is_stopping else StopPod(pod)
    if pod.started_at is not None:
        if attempt.pod_uid == pod.uid:
            return Wait()
        due = (pod.running_seen_at or pod.started_at) + RUNNING_AFTER
        return MarkRunning(pod) if now >= due else Wait(until=due)
    deadline = _start_deadline(world, attempt)
    if attempt.started_at:
        # It stands in for a disrupted one, and has its own time to start.
        deadline = max(deadline, pod.created_at + timedelta(seconds=world.spec.start_seconds))
    if now >= deadline:
        return Finish(outcome.failed(Reason.START_TIMEOUT, _start_failure(world, pod)), pod)
    if pod.cannot_start:
        if not _is_told(pod.cannot_start, world.task.status.waiting):
            return Explain(pod.cannot_start, Reason.POD_CANNOT_START, pod.job_uid)
        return Wait(until=deadline)
    checked = pod.events_read_at
    due = checked + POD_CHECK_INTERVAL if checked else pod.created_at + START_EXPECTED_WITHIN
    return CheckPod(pod) if now >= due else Wait(until=min(due, deadline))


def _after_disruption(world: World, attempt: v1alpha1.Attempt, now: datetime) -> Decision:
    """Wait for the pod that the Job makes in place of a disrupted one."""
    job = world.job
    if job is None or (job.exists and now >= job.checked_at + JOB_CHECK_INTERVAL):
        return CheckJob(attempt.job_name)
    if job.exists and not job.is_finished:
        return Wait(until=job.checked_at + JOB_CHECK_INTERVAL)
    return Finish(
        outcome.failed(
            Reason.DISRUPTED, "the pod was preempted, drained or lost, and no other was made"
        ),
        world.pod,
    )


def _after_the_end(world: World, now: datetime) -> Decision:
    job = world.job
    stands = (
        job is not None
        and job.exists
        and not job.is_deleting
        and job.owner_uid == world.task.metadata.uid
    )
    ended = any(a.exit_code is not None for a in world.task.status.attempts or ())
    if stands and job is not None and not ended and not job.is_released:
        # The program was not seen to end, and nothing may start it any more.
        return DeleteJob(job)
    entry = world.task.status.callback
    pending = entry is not None and entry.state is v1alpha1.CallbackState.PENDING
    due = entry.next_try_at if pending and entry is not None else None
    if pending and entry is not None and (due is None or now >= due):
        return SendCallback(entry)
    if stands and job is not None and not job.is_released:
        return ReleaseJob(job)
    return Wait(until=due)


#: What differs from one wording of a cause to the next: made-up names, and counts.
_VARYING = re.compile(r'"[^"]*"|[0-9]+')


def _is_told(cause: str, waiting: str | None) -> bool:
    if waiting is None:
        return False
    # The kubelet goes back and forth between these two, and the first one says more.
    if cause.startswith("ImagePullBackOff") and waiting.startswith("ErrImagePull"):
        return True
    return _VARYING.sub("", cause) == _VARYING.sub("", waiting)


def _start_deadline(world: World, attempt: v1alpha1.Attempt) -> datetime:
    claimed = attempt.claimed_at
    if claimed is None:
        raise ValueError("a claim records its time")
    return claimed + timedelta(seconds=world.spec.start_seconds)


def _start_failure(world: World, pod: pods.Pod) -> str:
    cause = pod.cannot_start or world.task.status.waiting or "no cause is known"
    text = f"the container did not start within {world.spec.start_seconds} s: {cause}"
    return text[: names.MESSAGE_MAX]
