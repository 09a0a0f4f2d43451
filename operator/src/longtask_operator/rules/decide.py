"""What is to be done next for one task: every rule, no IO, the clock is an argument.

A pass never asks what happened, only what is. Each decision has at most one effect, and each state
that the API server can hold leads to one decision, so a crash between any two writes costs time
and nothing else.
"""

import dataclasses
from datetime import datetime, timedelta
from typing import NamedTuple

from longtask_crds import (
    delivery,
    effective,
    events,
    last_words,
    names,
    queueing,
    runner_contract,
    v1alpha1,
)
from longtask_crds.pipeline import runs
from longtask_crds.v1alpha1 import Reason
from longtask_operator.rules import outcome, pods, retry, steps, timeouts, troubles, warm
from longtask_operator.rules.decisions import (
    Acknowledge,
    AdoptJob,
    AdoptPod,
    Advance,
    Begin,
    CheckJob,
    CheckPod,
    Claim,
    Condemn,
    Contradict,
    CreateJob,
    Decision,
    Defer,
    DeleteJob,
    Enqueue,
    Explain,
    Finish,
    Keep,
    LimitPod,
    MarkRunning,
    OfRun,
    Redeliver,
    ReleaseJob,
    SendCallback,
    StopPod,
    TellProgress,
    TryAgain,
    Wait,
    World,
)

#: A container that is seen to run for less is never reported as running: one write less. The
#: kubelet looks each second, so the end of one that ended at once is seen a good second later.
RUNNING_AFTER = timedelta(seconds=1.5)
#: After this a Job is looked at that should have a pod and has none, or that is to go.
JOB_CHECK_INTERVAL = timedelta(seconds=5)
#: The next looks at one that gets no pod come after twice as long each time, and this at most:
#: where a cluster is slow very many wait for theirs.
JOB_CHECK_INTERVAL_MAX = timedelta(seconds=30)
#: How long a container may take to start before its pod's Events are read.
START_EXPECTED_WITHIN = timedelta(seconds=5)
#: How often they are read again.
POD_CHECK_INTERVAL = timedelta(seconds=15)
#: How long the end of what was stopped, or has run out of time, is waited for: the grace, and what
#: two clocks may differ by.
STOP_PATIENCE = timedelta(seconds=runner_contract.GRACE_SECONDS + 60)
#: How long a program may take to end that has said how it does; then it is stopped. The Python
#: runner gives threads and exit handlers of a task ten seconds, and the kubelet looks each second.
ENDS_WITHIN = timedelta(seconds=15)
#: How long its pod may be unknown, before its Job goes: what no watch brings, the next resync does,
#: and the end of its log goes with it.
KNOWN_WITHIN = timedelta(minutes=1)
#: So long after the claim, or the end, the Job of a pod that was started ahead becomes the task's.
#: That is one write more, for which nobody waits, while others may wait for the processor.
ADOPTED_AFTER = timedelta(seconds=1)
#: How often something is asked for again that the API keeps and could not hand over.
PART_INTERVAL = timedelta(seconds=5)
#: So long after its claim the Job of an attempt is left to the operator that claimed it: twice as
#: long as that one may make it without asking, as two clocks may differ.
LEFT_TO_ITS_CLAIMER = timedelta(seconds=10)
#: How often a Job is tried again that the API server refused.
JOB_RETRY_INTERVAL = timedelta(seconds=10)


def decide(world: World, *, now: datetime) -> Decision:
    """Return the next step for one task."""
    if world.task.metadata.deletion_timestamp is not None:
        return Wait()  # garbage collection takes the Job and its pod along
    step = _next_step(world, now)
    if isinstance(step, Wait):
        step = _meanwhile(world, step, now)
    return Acknowledge() if isinstance(step, Wait) and is_unseen(world.task) else step


def _next_step(world: World, now: datetime) -> Decision:
    if world.task.is_finished:
        return _after_the_end(world, now)
    if world.task.status.steps:
        return _in_a_pipeline(world, now)
    if not world.task.status.attempts:
        return _before_the_start(world, now)
    return _in_an_attempt(world, now)


def _in_an_attempt(world: World, now: datetime) -> Decision:
    if not world.task.status.attempts:
        return Wait()
    attempt = world.task.status.attempts[-1]
    if attempt.finished_at is not None:
        return _between_attempts(world, attempt, now)
    report = last_words.taken(world.task)
    if report is not None and _is_its_own(world, report):
        return _reported(world, attempt, report, now)
    adopted = _adopted(world, attempt)
    due = _adoption_due(world, attempt) or now
    if adopted is not None and now >= due:
        return adopted
    step = (
        _without_pod(world, attempt, now)
        if world.pod is None
        else _with_pod(world, attempt, world.pod, now)
    )
    return step.no_later(due) if adopted is not None and isinstance(step, Wait) else step


def _before_the_start(world: World, now: datetime) -> Decision:
    if world.task.spec.cancel:
        return Finish(outcome.cancelled())
    if world.refusal is not None:
        return Finish(world.refusal)
    due = timeouts.first_due(world.task, world.spec.limits)
    # Whoever has a place at that very moment has not waited in vain.
    in_vain = not (world.has_slot and due is not None and due.reason is Reason.QUEUE_TIMEOUT)
    if due is not None and now >= due.at and in_vain:
        return Finish(outcome.failed(due.reason, due.message))
    if world.has_slot:
        is_pipeline = bool(world.task.spec.steps)
        return Begin() if is_pipeline else Claim(1, world.job_name)
    joins_at = queueing.deferred_until(world.task)
    if joins_at is not None and now < joins_at:
        waiting = queueing.postponed(world.queue, joins_at)
        if world.task.status.waiting != waiting:
            return Defer(waiting)
        return Wait(until=timeouts.earliest(joins_at, due and due.at))
    return _in_the_queue(world, None, due)


def _between_attempts(world: World, attempt: v1alpha1.Attempt, now: datetime) -> Decision:
    if world.task.spec.cancel:
        return Finish(outcome.cancelled("cancelled between two attempts"))
    if world.refusal is not None:
        return Finish(world.refusal)
    due = timeouts.first_due(world.task, world.spec.limits)
    if due is not None and now >= due.at:
        return Finish(outcome.failed(due.reason, due.message))
    if not isinstance(tidied := _tidy_up(world, attempt, now), Wait):
        return tidied
    if world.has_slot:
        if world.job is None:
            # It may stand and not have been heard of; with another attempt nobody looks for it.
            return CheckJob(attempt.job_name)
        meta, number = world.task.metadata, attempt.number + 1
        job_name = names.job_name(meta.name, meta.uid, attempt=number, step=world.run)
        return Claim(number, job_name)
    retry_at = world.task.status.retry_at
    return _in_the_queue(world, retry_at if retry_at and now < retry_at else None, due)


def _in_the_queue(world: World, joins_at: datetime | None, due: timeouts.Due | None) -> Decision:
    if not is_enqueued(world.task, world.queue, queue_exists=world.queue_exists):
        stalled = None if world.queue_exists else Reason.QUEUE_NOT_FOUND
        return Enqueue(_waiting(world.task, world.queue, queue_exists=world.queue_exists), stalled)
    return Wait(until=timeouts.earliest(joins_at, due and due.at))


def is_enqueued(task: v1alpha1.LongTask, queue: str, *, queue_exists: bool) -> bool:
    """Tell whether the status of a waiting task says all that there is to say."""
    status, phase = task.status, v1alpha1.Phase
    return (
        status.phase is (phase.RETRYING if status.attempts else phase.QUEUED)
        and status.queue == queue
        and status.waiting == _waiting(task, queue, queue_exists=queue_exists)
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
    limits: effective.Limits,
) -> bool:
    """Tell whether nothing is to do for a task until it, its queue or its Job changes.

    Args:
        task: The task.
        queue: The queue that it waits in or holds a place in; None if neither.
        queue_exists: Whether there is such a queue.
        limits: How long each part of it may take.
    """
    if task.metadata.deletion_timestamp is not None:
        return queueing.standing(task) is queueing.Standing.OUT
    if is_unseen(task):
        return False
    if delivery.is_open(task):
        return False
    if task.is_finished:
        return True
    if queueing.standing(task) is not queueing.Standing.WAITING or queue is None:
        return False
    # The Job of an attempt before is looked at while it is there, the others when it is time.
    is_timed = timeouts.first_due(task, limits) is not None or task.status.retry_at is not None
    return is_enqueued(task, queue, queue_exists=queue_exists) and not is_timed


def _waiting(task: v1alpha1.LongTask, queue: str, *, queue_exists: bool) -> str | None:
    """Return what the status of a task in a queue says of its wait."""
    if not queue_exists:
        return f"there is no LongTaskQueue named {queue}"
    return retry.sentence(task.status)[: names.MESSAGE_MAX] if task.status.attempts else None


def _without_pod(world: World, attempt: v1alpha1.Attempt, now: datetime) -> Decision:
    job = world.job
    if world.task.spec.cancel and not attempt.started_at:
        return Finish(outcome.cancelled())
    # One that is complete ended well, with what nobody read: that is lost.
    is_complete = job is not None and job.is_finished and not job.has_failed
    if world.task.spec.cancel and job is not None and job.exists and not is_complete:
        return Finish(outcome.cancelled("cancelled while it had no pod"))
    if (sentence := outcome.sentence_of(attempt)) is not None:
        return _condemned_without_pod(world, attempt, sentence, now)
    due = timeouts.first_due(world.task, world.spec.limits)
    if due is not None and now >= due.at:
        return _overdue(world, due, now)
    gone = warm.never_began(attempt, None)
    if gone is not None and job is not None and (job.is_finished or not job.exists):
        return _settle(world, gone, None, now)
    step = (
        _with_job(world, attempt, job, now)
        if job is not None and job.exists
        else _without_job(world, attempt, now)
    )
    return step.no_later(due.at) if isinstance(step, Wait) and due is not None else step


def _with_job(world: World, attempt: v1alpha1.Attempt, job: pods.Job, now: datetime) -> Decision:
    if job.owner_uid != world.task.metadata.uid:
        return Finish(
            outcome.failed(Reason.NAME_CONFLICT, f"the Job {job.name} belongs to something else")
        )
    if attempt.job_uid is not None and attempt.job_uid != job.uid:
        return Finish(outcome.failed(Reason.JOB_LOST, "another Job stands in the Job's place"))
    if job.is_finished:
        # Nothing but a deletion makes the pod of a Job that stands go so early.
        reason = Reason.DISRUPTED if job.has_failed and world.job_stands else Reason.JOB_LOST
        vanished = "the pod vanished before its outcome was read"
        return _settle(world, outcome.failed(reason, vanished), None, now)
    wait = Wait()
    has_begun = attempt.started_at is not None
    # A cause without words is none: recorded, it would be told again for ever.
    if job.refusal and not has_begun:
        told = troubles.keeps_from_starting(
            world, job.refusal, Reason.POD_NOT_CREATED, job.uid, attempt, now
        )
        if isinstance(told, Explain):
            return told
        wait = told
    # Of one that had its pod the next news is its end.
    doublings = 0 if has_begun else min(max(job.looks - 1, 0), 8)
    look_at = job.checked_at + min(JOB_CHECK_INTERVAL * 2**doublings, JOB_CHECK_INTERVAL_MAX)
    return CheckJob(job.name) if now >= look_at else wait.no_later(look_at)


def _without_job(world: World, attempt: v1alpha1.Attempt, now: datetime) -> Decision:
    job = world.job
    if attempt.job_uid is not None:
        if job is None:
            return CheckJob(attempt.job_name)
        return _settle(world, outcome.failed(Reason.JOB_LOST, "the Job was deleted"), None, now)
    if job is not None and job.refusal is not None:
        told = troubles.keeps_from_starting(
            world, job.refusal, Reason.JOB_REFUSED, None, attempt, now
        )
        again_at = job.checked_at + JOB_RETRY_INTERVAL
        if isinstance(told, Explain):
            return told
        if now < again_at:
            return told.no_later(again_at)
    if world.run and world.refusal is not None:
        # What it takes from others is known only now.
        return Finish(world.refusal)
    if attempt.claimed_at is not None and not world.has_claim:
        others_may = attempt.claimed_at + LEFT_TO_ITS_CLAIMER
        if now < others_may:
            # Made twice, it might be made again after one of us has deleted it.
            return Wait(until=others_may)
    return CreateJob(attempt.number) if world.is_input_known else Wait(until=now + PART_INTERVAL)


def _with_pod(world: World, attempt: v1alpha1.Attempt, pod: pods.Pod, now: datetime) -> Decision:
    if pod.is_orphan and not pod.is_deleting:
        return AdoptPod(pod)
    cancel = bool(world.task.spec.cancel)
    sentence = outcome.sentence_of(attempt)
    # A success stands as soon as the container has ended: the pod's phase follows a second later.
    # But what ended when its time was up may have been ended, and that the phase brings too.
    in_time = cancel or (sentence is None and not pod.outlived(world.spec.limits.run))
    if pod.is_over and not cancel and (gone := warm.never_began(attempt, pod)) is not None:
        return _settle(world, gone, pod, now)
    if pod.is_over or (pod.succeeded and in_time):
        ended = outcome.of_pod(
            pod,
            cancel_requested=cancel,
            run_seconds=world.spec.limits.run,
            sentence=sentence,
            job_stands=world.job_stands,
        )
        return _settle(world, ended, pod, now)
    given_up = _given_up(world, pod, sentence)
    if now >= given_up.at:
        # Without another attempt: the program may still run where we do not see it.
        return Finish(given_up.outcome, pod)
    step = _while_it_lives(world, attempt, pod, sentence, now)
    return step.no_later(given_up.at) if isinstance(step, Wait) else step


def _while_it_lives(
    world: World,
    attempt: v1alpha1.Attempt,
    pod: pods.Pod,
    sentence: outcome.Outcome | None,
    now: datetime,
) -> Decision:
    # Of an end that is no success the phase brings the cause: a deadline, an eviction.
    if pod.is_deleting or pod.end is not None:
        return troubles.of_running(world, pod, now)
    if world.task.spec.cancel and pod.started_at is None:
        return Finish(outcome.cancelled(), pod)
    if world.task.spec.cancel or (sentence is not None and pod.started_at is not None):
        return troubles.of_running(world, pod, now) if pod.is_stopping else StopPod(pod)
    if sentence is not None:
        return DeleteJob(world.job) if world.job and world.job_stands else Wait()
    due = timeouts.first_due(world.task, world.spec.limits)
    # A pod that was started ahead is recorded before its program has the task.
    is_news = attempt.pod_uid != pod.uid or attempt.started_at is None
    if pod.started_at is not None and is_news:
        seen_long_enough = (pod.running_seen_at or pod.started_at) + RUNNING_AFTER
        return MarkRunning(pod) if now >= seen_long_enough else Wait(until=seen_long_enough)
    if (seconds := warm.deadline(attempt, pod, world.spec.limits.run)) is not None:
        return LimitPod(pod, seconds)
    if due is not None and now >= due.at:
        return _overdue(world, due, now)
    step = (
        troubles.of_running(world, pod, now)
        if pod.started_at is not None
        else _while_it_starts(world, attempt, pod, now)
    )
    return step.no_later(due.at) if isinstance(step, Wait) and due is not None else step


def _while_it_starts(
    world: World, attempt: v1alpha1.Attempt, pod: pods.Pod, now: datetime
) -> Decision:
    if pod.cannot_start:
        cause, uid = pod.cannot_start, pod.job_uid
        return troubles.keeps_from_starting(
            world, cause, Reason.POD_CANNOT_START, uid, attempt, now
        )
    checked = pod.events_read_at
    look_at = checked + POD_CHECK_INTERVAL if checked else pod.created_at + START_EXPECTED_WITHIN
    return CheckPod(pod) if now >= look_at else Wait(until=look_at)


# --- the end of an attempt ---


def _settle(
    world: World, ended: outcome.Outcome, pod: pods.Pod | None, now: datetime
) -> TryAgain | Finish:
    """Return what follows the end of an attempt whose program certainly runs no more."""
    following = retry.next_attempt(world.task, ended, world.spec.retry, now=now, run=world.run)
    if following is not None:
        return TryAgain(ended, following, pod)
    if ended.reason is Reason.DISRUPTED:
        words = f"{ended.message}, as {retry.FREE_ATTEMPTS} pods were before it"
        ended = dataclasses.replace(ended, message=words)
    return Finish(ended, pod)


def _overdue(world: World, due: timeouts.Due, now: datetime) -> Decision:
    """Return what follows when the time of an attempt, or of the task, is over."""
    ended = outcome.failed(due.reason, due.message)
    if due.reason is Reason.START_TIMEOUT:
        ended = outcome.failed(due.reason, f"{due.message}: {_cause(world)}")
    runs = (world.task.status.attempts or [])[-1].started_at is not None
    if not runs and retry.next_attempt(world.task, ended, world.spec.retry, now=now) is None:
        return Finish(ended, world.pod)
    return Condemn(ended.reason, ended.message)


def _cause(world: World) -> str:
    unknown = "no cause is known" if world.pod else "no pod was made for it"
    return (world.pod and world.pod.cannot_start) or world.task.status.waiting or unknown


def _condemned_without_pod(
    world: World, attempt: v1alpha1.Attempt, sentence: outcome.Outcome, now: datetime
) -> Decision:
    """See to it that no pod can come any more before another attempt may begin."""
    job = world.job
    if job is None:
        return CheckJob(attempt.job_name)
    if world.job_stands:
        return DeleteJob(job)
    if job.exists and job.owner_uid == world.task.metadata.uid:
        look_at = job.checked_at + JOB_CHECK_INTERVAL
        return CheckJob(job.name) if now >= look_at else Wait(until=look_at)
    return _settle(world, sentence, None, now)


def _is_its_own(world: World, report: v1alpha1.Report) -> bool:
    """Tell whether a program that says how it ends does so by itself; else its pod's end decides.

    A failure is not taken from a pod that is being deleted, so one that is stored came first. What
    the kubelet ends on its own the pod alone tells, and that stays: it costs no attempt. What is
    said when the pod's time is up may be said because it is.
    """
    pod = world.pod
    if pod is None:
        return True
    run = timedelta(seconds=world.spec.limits.run)
    is_its_own = report.exit_code == 0 or not pod.is_ended_by_node
    return report.reported_at < pod.created_at + run and is_its_own


def _reported(
    world: World, attempt: v1alpha1.Attempt, report: v1alpha1.Report, now: datetime
) -> Decision:
    """Return what follows when a program says how it ends.

    Its end is not waited for, but where another attempt follows, for no two of them may run at
    once; and for the last lines of the log of a failure that has no words of its own.
    """
    pod, ended = world.pod, outcome.of_report(report, world.pod)
    if pod is not None and pod.is_orphan and not pod.is_deleting:
        return AdoptPod(pod)
    following = retry.next_attempt(world.task, ended, world.spec.retry, now=now, run=world.run)
    is_told = ended.phase is v1alpha1.Phase.SUCCEEDED or report.message or world.task.spec.cancel
    if (pod is not None and pod.is_over) or (following is None and is_told):
        return _settle(world, ended, pod, now)
    stop_at = report.reported_at + (KNOWN_WITHIN if pod is None else ENDS_WITHIN)
    if now < stop_at:
        return Wait(until=stop_at)
    if pod is None:
        return _condemned_without_pod(world, attempt, ended, now)
    if now >= stop_at + STOP_PATIENCE:
        # Without another attempt: the program may still run where we do not see it.
        return Finish(ended, pod)
    return Wait(until=stop_at + STOP_PATIENCE) if pod.is_stopping else StopPod(pod)


class _GivenUp(NamedTuple):
    """Until when the word of a node is waited for, and how the task ends without it."""

    at: datetime
    outcome: outcome.Outcome


def _given_up(world: World, pod: pods.Pod, sentence: outcome.Outcome | None) -> _GivenUp:
    silent = "its node does not answer"
    run = world.spec.limits.run
    over_at = (pod.started_at or pod.created_at) + timedelta(seconds=run) + STOP_PATIENCE
    late = outcome.failed(Reason.RUN_TIMEOUT, f"ran longer than {run} s, and {silent}")
    found = [_GivenUp(over_at, late)]
    due = timeouts.first_due(world.task, world.spec.limits)
    if sentence is not None and due is not None:
        words = f"{sentence.message}; {silent}"
        found.append(_GivenUp(due.at + STOP_PATIENCE, outcome.failed(sentence.reason, words)))
    if world.task.spec.cancel and pod.unready_since is not None:
        ended = outcome.cancelled(f"cancelled while {silent}")
        found.append(_GivenUp(pod.unready_since + troubles.LOST_AFTER, ended))
    return min(found, key=lambda given_up: given_up.at)


def _after_the_end(world: World, now: datetime) -> Decision:
    tidied = _tidied(world, now)
    if isinstance(tidied, DeleteJob) or (
        isinstance(tidied, OfRun) and isinstance(tidied.decided, DeleteJob)
    ):
        return tidied
    told = _callback_step(world, now)
    if isinstance(tidied, Wait) and isinstance(told, Wait):
        return Wait(until=timeouts.earliest(tidied.until, told.until))
    return tidied if isinstance(told, Wait) else told


def _tidied(world: World, now: datetime) -> Decision:
    """Return what is to be done with the Job of a program that is over, or of one of several."""
    wait = Wait()
    for run in world.runs:
        tidied = _tidied(run, now)
        if isinstance(tidied, Wait):
            wait = Wait(until=timeouts.earliest(wait.until, tidied.until))
        elif not isinstance(tidied, OfRun):
            return OfRun(run, tidied)
    attempts = world.task.status.attempts
    return _tidy_up(world, attempts[-1], now) if attempts else wait


# --- pipelines ---


def _in_a_pipeline(world: World, now: datetime) -> Decision:
    """Return the next step for one of the programs; if none has one, for the whole."""
    is_ending = world.task.status.outcome is not None
    due = None if is_ending else timeouts.first_due(world.task, world.spec.limits)
    overdue = due is not None and now >= due.at
    wait = Wait(until=due and due.at)
    if not is_ending and (overdue or world.task.spec.cancel):
        return Advance(overdue)  # whatever stands in the way of a program
    found: list[OfRun] = []
    late: Decision | None = None
    for run in world.runs:
        step = _of_run(run, now)
        if isinstance(step, Wait):
            wait = Wait(until=timeouts.earliest(wait.until, step.until))
        elif isinstance(step, OfRun):
            raise TypeError("a program has no programs")
        elif isinstance(step, Finish) and steps.overflows(world.task, step.outcome.result):
            late = late or _kept(run, step)
        else:
            found.append(OfRun(run, step))
    if found:
        # One for which something goes wrong keeps no other from going on.
        return min(found, key=lambda one: (one.world.run in world.held_back, _turn(one)))
    if steps.advanced(world.task, world.parts, now=now) != world.task.status:
        return Advance()
    if (recipe := steps.recipe(world.task, world.parts)) is not None:
        return Keep(recipe)
    if steps.is_over(world.task) and not world.is_short_of_parts:
        return Advance()
    if late is not None:
        return late
    # Who has said how it ends may not have ended, and is listed until its Job is released.
    untidy = frozenset(runs.split(run.run)[0] for run in world.runs if run.task.is_finished)
    if steps.folded(world.task.status, untidy=untidy) != world.task.status:
        return Advance(fold=True, untidy=untidy)
    return wait.no_later(now + PART_INTERVAL) if world.is_short_of_parts else wait


def _turn(of_run: OfRun) -> int:
    """Return when something is done of what can be done for several programs: the least first."""
    match of_run.decided:
        case DeleteJob():
            return 0  # before another step begins, nothing may start the one before any more
        case ReleaseJob() | AdoptJob() | LimitPod():
            return 2  # nobody waits for it
        case Contradict():
            return 3  # only so many are kept: each comes with the release of its Job
        case _:
            return 1


def _of_run(run: World, now: datetime) -> Decision:
    """Return the next step for a program of a pipeline: the ladder of a plain task."""
    if run.task.is_finished:
        return _tidied(run, now)
    retry_at = run.task.status.retry_at
    return _in_an_attempt(
        dataclasses.replace(run, has_slot=retry_at is None or now >= retry_at), now
    )


def _kept(run: World, ended: Finish) -> Keep:
    result = ended.outcome.result or v1alpha1.Result()
    attempt = run.task.status.attempt or 1
    recipe = steps.Recipe(run.run, attempt, is_list=False, parts=(result,))
    return Keep(recipe, OfRun(run, ended))


def _meanwhile(world: World, step: Wait, now: datetime) -> Decision:
    """Return what there is to tell while the task itself waits for something."""
    if world.task.is_finished:
        return step
    # News first: they take the place of what is not delivered yet.
    for told in (_progress_step(world, now), _callback_step(world, now)):
        if not isinstance(told, Wait):
            return told
        step = Wait(until=timeouts.earliest(step.until, told.until))
    return step


def _progress_step(world: World, now: datetime) -> TellProgress | Wait:
    due = events.progress_due_at(world.task, world.task.status)
    return TellProgress() if due is not None and now >= due else Wait(until=due)


def _callback_step(world: World, now: datetime) -> Redeliver | SendCallback | Wait:
    request = delivery.asked_again(world.task)
    if request is not None:
        return Redeliver(request)
    entry = world.task.status.callback
    if entry is None or entry.state is not v1alpha1.CallbackState.PENDING or world.is_sending:
        return Wait()
    due = entry.next_try_at
    return SendCallback(entry) if due is None or now >= due else Wait(until=due)


def _adopted(world: World, attempt: v1alpha1.Attempt) -> AdoptJob | None:
    """Have the Job of a pod that was started ahead belong to its task, if it does not yet."""
    job = world.job
    if job is None or not job.exists or job.is_deleting or not warm.is_warm(attempt):
        return None
    is_ours = job.owner_uid == world.task.metadata.uid
    # Of an item that is over the uid is not kept; no two that wait have one name.
    is_meant = attempt.job_uid in (None, job.uid)
    return AdoptJob(job) if is_meant and not is_ours else None


def _adoption_due(world: World, attempt: v1alpha1.Attempt) -> datetime | None:
    """Return when that is to be; None: at once, for then something is to be done with the Job."""
    pod = world.pod
    if world.task.is_finished:
        return attempt.finished_at and attempt.finished_at + ADOPTED_AFTER
    if attempt.finished_at is not None or attempt.reason is not None or world.task.spec.cancel:
        return None
    if pod is None or pod.end is not None or pod.is_over or pod.is_deleting or pod.is_disrupted:
        return None
    return attempt.claimed_at and attempt.claimed_at + ADOPTED_AFTER


def _tidy_up(world: World, attempt: v1alpha1.Attempt, now: datetime) -> Decision:
    """Return what is to be done with the Job of an attempt that is over."""
    if (adopted := _adopted(world, attempt)) is not None:
        due = _adoption_due(world, attempt) or now
        return adopted if now >= due else Wait(until=due)
    job = world.job
    if job is None or not world.job_stands or job.is_released:
        return Wait()
    if attempt.reported_at is not None:
        return _see_off(world, attempt, attempt.reported_at, job, now)
    # Where the program was not seen to end, nothing may start it any more.
    return DeleteJob(job) if attempt.exit_code is None else ReleaseJob(job)


def _see_off(
    world: World,
    attempt: v1alpha1.Attempt,
    reported_at: datetime,
    job: pods.Job,
    now: datetime,
) -> Decision:
    """Wait for the end of a program that has said how it ends, and see that it comes."""
    pod = world.pod
    if pod is None and not world.task.is_finished:
        return ReleaseJob(job)  # before another attempt was thought of, the end of this one was
    stop_at = reported_at + (KNOWN_WITHIN if pod is None else ENDS_WITHIN)
    if pod is None:
        return Wait(until=stop_at) if now < stop_at else DeleteJob(job)
    if pod.end is None and not pod.is_over:
        if now < stop_at:
            return Wait(until=stop_at)
        if not pod.is_stopping:
            return StopPod(pod)
        given_up_at = stop_at + STOP_PATIENCE
        return Wait(until=given_up_at) if now < given_up_at else ReleaseJob(job)
    found = outcome.contradiction(world.task.status, attempt, pod, world.run)
    return ReleaseJob(job) if found is None else Contradict(found)
