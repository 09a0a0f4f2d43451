"""Each state that the API server can hold leads to one decision."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from longtask_crds import names, v1alpha1
from longtask_crds.testing import (
    FINISHED,
    NOW,
    a_condition,
    a_task,
    an_attempt,
    with_meta,
    with_status,
)
from longtask_crds.v1alpha1 import Reason
from longtask_operator.rules import decide as rules
from longtask_operator.rules import decisions, outcome, pods, retry, steps, troubles
from longtask_operator.rules.decisions import (
    Acknowledge,
    AdoptPod,
    CheckJob,
    CheckPod,
    Claim,
    Condemn,
    CreateJob,
    DeleteJob,
    Enqueue,
    Explain,
    Finish,
    MarkRunning,
    Proof,
    ReleaseJob,
    SendCallback,
    StopPod,
    TryAgain,
    Wait,
    World,
)
from longtask_operator.testing import a_job, a_pod, a_world, an_ended_pod

JOB = a_job().name
START_SECONDS = 600
DEADLINE = NOW + timedelta(seconds=START_SECONDS)
FAILED = v1alpha1.Phase.FAILED
CANCELLED = v1alpha1.Phase.CANCELLED
SUCCEEDED = v1alpha1.Phase.SUCCEEDED


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def decide(world: World, after: float = 0) -> decisions.Decision:
    return rules.decide(world, now=NOW + seconds(after))


def ending(decided: decisions.Decision) -> tuple[v1alpha1.Phase, Reason]:
    assert isinstance(decided, Finish), decided
    return decided.outcome.phase, decided.outcome.reason


# --- before the start ---

REFUSAL = outcome.failed(Reason.TYPE_NOT_FOUND, "there is no LongTaskType named x")
QUEUED = with_status(a_task(), phase=v1alpha1.Phase.QUEUED, queue="default")
UNKNOWN_QUEUE = "there is no LongTaskQueue named default"


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        pytest.param(a_world(), Enqueue(None, None), id="a-new-task-is-queued"),
        pytest.param(a_world(QUEUED), Wait(), id="a-queued-task-waits-without-a-write"),
        pytest.param(
            a_world(has_slot=True),
            Claim(1, JOB),
            id="a-task-with-a-place-is-claimed-before-any-job",
        ),
        pytest.param(
            a_world(queue_exists=False),
            Enqueue(UNKNOWN_QUEUE, Reason.QUEUE_NOT_FOUND),
            id="a-missing-queue-is-said",
        ),
        pytest.param(
            a_world(with_status(QUEUED, waiting=UNKNOWN_QUEUE), queue_exists=False),
            Wait(),
            id="a-missing-queue-is-said-once",
        ),
        pytest.param(
            a_world(with_status(QUEUED, waiting=UNKNOWN_QUEUE)),
            Enqueue(None, None),
            id="the-cause-goes-when-the-queue-comes",
        ),
        pytest.param(
            a_world(with_status(QUEUED, queue="other")),
            Enqueue(None, None),
            id="a-task-that-came-to-another-queue-is-recorded-there",
        ),
        pytest.param(
            a_world(refusal=REFUSAL, has_slot=True),
            Finish(REFUSAL),
            id="a-task-that-can-never-run-is-refused-before-it-takes-a-place",
        ),
        pytest.param(
            a_world(a_task(cancel=True, type="x"), refusal=REFUSAL, has_slot=True),
            Finish(outcome.cancelled()),
            id="a-queued-task-is-cancelled-at-once",
        ),
        pytest.param(
            a_world(with_meta(a_task(), deletion_timestamp=NOW), has_slot=True),
            Wait(),
            id="a-deleted-task-starts-nothing",
        ),
        pytest.param(
            a_world(has_slot=True, job=a_job()),
            Claim(1, JOB),
            id="a-wiped-status-is-claimed-again-and-finds-its-job-later",
        ),
    ],
)
def test_before_the_start(world: World, expected: decisions.Decision) -> None:
    assert decide(world) == expected


# --- with a claim, without a pod ---


def claimed(*, job: pods.Job | None = None, pod: pods.Pod | None = None, **values: Any) -> World:
    """Return the world of a claimed task; the keywords are its spec's, status's or attempt's."""
    spec = {k: values.pop(k) for k in ("cancel", "callback") if k in values}
    status = {k: values.pop(k) for k in ("waiting", "conditions", "progress") if k in values}
    task = a_task(container={"image": "busybox"}, **spec)
    attempt = an_attempt(**values)
    task = with_status(task, phase=v1alpha1.Phase.STARTING, attempt=1, attempts=[attempt], **status)
    return a_world(task, job=job, pod=pod)


STALLED = a_condition(v1alpha1.ConditionType.STALLED)
ABSENT = a_job(exists=False, uid="", owner_uid="", created_at=None)
REFUSED = a_job(exists=False, uid="", owner_uid="", created_at=None, refusal="no")


@pytest.mark.parametrize(
    ("world", "after", "expected"),
    [
        pytest.param(claimed(), 0, CreateJob(1), id="a-claim-gets-its-job"),
        pytest.param(claimed(job=ABSENT), 0, CreateJob(1), id="a-job-that-is-not-there-is-made"),
        pytest.param(
            claimed(job=a_job()), 0, Wait(NOW + seconds(5)), id="a-fresh-job-gets-time-for-its-pod"
        ),
        pytest.param(claimed(job=a_job()), 5, CheckJob(JOB), id="a-job-without-a-pod-is-looked-at"),
        pytest.param(
            claimed(job=a_job(looks=1, checked_at=NOW + seconds(5))),
            6,
            Wait(NOW + seconds(10)),
            id="a-job-is-looked-at-again-five-seconds-later",
        ),
        pytest.param(
            claimed(job=a_job(looks=3, checked_at=NOW + seconds(20))),
            31,
            Wait(NOW + seconds(40)),
            id="then-after-twice-as-long-each-time",
        ),
        pytest.param(
            claimed(job=a_job(looks=9_999, checked_at=NOW + seconds(100))),
            101,
            Wait(NOW + seconds(130)),
            id="after-half-a-minute-at-most",
        ),
        pytest.param(
            claimed(
                job=a_job(looks=9, checked_at=NOW + seconds(400), refusal="long ago"),
                started_at=NOW,
                job_uid="job-1",
            ),
            405,
            CheckJob(JOB),
            id="one-whose-pod-is-gone-after-five-seconds-whatever-was-before",
        ),
        pytest.param(
            claimed(job=a_job(looks=4, checked_at=NOW + seconds(40), refusal="why"), waiting="why"),
            41,
            Wait(NOW + seconds(60)),
            id="the-next-look-does-not-miss-the-need-for-help",
        ),
        pytest.param(
            claimed(job=a_job(created_at=NOW + seconds(600))),
            5,
            CheckJob(JOB),
            id="whatever-the-clock-of-the-api-server-says",
        ),
        pytest.param(
            claimed(job=a_job(refusal="quota")),
            5,
            Explain("quota", None, "job-1"),
            id="why-there-is-no-pod-is-said",
        ),
        pytest.param(
            claimed(job=a_job(refusal="quota"), waiting="quota"),
            5,
            CheckJob(JOB),
            id="why-there-is-no-pod-is-said-once",
        ),
        pytest.param(
            claimed(job=REFUSED),
            0,
            Explain("no", None),
            id="why-there-is-no-job-is-said",
        ),
        pytest.param(
            claimed(job=REFUSED, waiting="no"),
            0,
            Wait(NOW + seconds(10)),
            id="a-refused-job-is-not-tried-again-at-once",
        ),
        pytest.param(
            claimed(job=REFUSED, waiting="no"), 10, CreateJob(1), id="a-refused-job-is-tried-again"
        ),
        pytest.param(
            claimed(
                job=a_job(exists=False, refusal="quota", checked_at=DEADLINE - seconds(3)),
                waiting="quota",
                conditions=[STALLED],
            ),
            START_SECONDS - 2,
            Wait(DEADLINE),
            id="the-next-try-does-not-miss-the-deadline",
        ),
        pytest.param(
            claimed(job_uid="job-1"),
            0,
            CheckJob(JOB),
            id="a-recorded-job-is-never-made-again-unseen",
        ),
    ],
)
def test_without_a_pod(world: World, after: float, expected: decisions.Decision) -> None:
    assert decide(world, after) == expected


LOST = (FAILED, Reason.JOB_LOST)


@pytest.mark.parametrize(
    ("world", "after", "expected"),
    [
        pytest.param(
            claimed(job=ABSENT, job_uid="job-1"), 0, LOST, id="a-recorded-job-that-is-gone-is-lost"
        ),
        pytest.param(
            claimed(job=a_job(is_finished=True)), 0, LOST, id="a-pod-that-vanished-unread-is-lost"
        ),
        pytest.param(
            claimed(job=a_job(uid="job-2"), job_uid="job-1"),
            0,
            LOST,
            id="another-job-in-its-place-is-never-adopted",
        ),
        pytest.param(
            claimed(job=a_job(owner_uid="stranger")),
            0,
            (FAILED, Reason.NAME_CONFLICT),
            id="a-foreign-job-is-never-adopted",
        ),
        pytest.param(
            claimed(job=a_job(owner_uid="")),
            0,
            (FAILED, Reason.NAME_CONFLICT),
            id="a-job-without-an-owner-is-never-adopted",
        ),
        pytest.param(
            claimed(job=a_job()),
            START_SECONDS,
            (FAILED, Reason.START_TIMEOUT),
            id="no-pod-in-time-is-a-start-timeout",
        ),
        pytest.param(
            claimed(job=REFUSED, waiting="no"),
            START_SECONDS,
            (FAILED, Reason.START_TIMEOUT),
            id="no-job-in-time-is-a-start-timeout",
        ),
        pytest.param(
            claimed(cancel=True), 0, (CANCELLED, Reason.CANCELLED), id="a-claim-is-cancelled"
        ),
        pytest.param(
            claimed(cancel=True, job=a_job()),
            START_SECONDS,
            (CANCELLED, Reason.CANCELLED),
            id="a-cancelled-task-does-not-time-out",
        ),
        pytest.param(
            claimed(cancel=True, job=a_job(), job_uid="job-1", started_at=NOW),
            0,
            (CANCELLED, Reason.CANCELLED),
            id="between-two-pods-a-task-is-cancelled-at-once",
        ),
        pytest.param(
            claimed(cancel=True, job=a_job(is_finished=True), job_uid="job-1", started_at=NOW),
            0,
            LOST,
            id="a-cancelled-task-whose-end-nobody-read-is-lost",
        ),
        pytest.param(
            claimed(
                cancel=True,
                job=a_job(is_finished=True, has_failed=True),
                job_uid="job-1",
                started_at=NOW,
            ),
            0,
            (CANCELLED, Reason.CANCELLED),
            id="a-cancelled-task-whose-pod-was-deleted-is-cancelled",
        ),
    ],
)
def test_an_end_without_a_pod(
    world: World, after: float, expected: tuple[v1alpha1.Phase, Reason]
) -> None:
    decided = decide(world, after)
    assert ending(decided) == expected
    assert decided.pod is None  # type: ignore[union-attr]


def test_a_start_timeout_says_what_it_waited_for() -> None:
    decided = decide(claimed(job=a_job(refusal="quota"), waiting="quota"), START_SECONDS)
    assert isinstance(decided, Finish)
    assert decided.outcome.message == "the container did not start within 600 s: quota"


@pytest.mark.parametrize(
    ("world", "cause"),
    [
        pytest.param(
            claimed(job=a_job(checked_at=NOW + seconds(599))), "no pod was made for it", id="no-pod"
        ),
        pytest.param(claimed(pod=a_pod()), "no cause is known", id="no-word-of-the-pod"),
    ],
)
def test_a_start_timeout_without_a_cause_says_so(world: World, cause: str) -> None:
    decided = decide(world, START_SECONDS)
    assert isinstance(decided, Finish)
    assert decided.outcome.message == f"the container did not start within 600 s: {cause}"


# --- with a pod ---

RUNNING = a_pod(started_at=NOW)


def ended_in_running_pod(exit_code: int) -> pods.Pod:
    """The container has ended, the pod's phase does not say so yet."""
    end = pods.End(exit_code, "", "", None)
    return a_pod(started_at=NOW, end=end)


UNPULLABLE = a_pod(cannot_start="ErrImagePull: no such image")
DISRUPTED = an_ended_pod(143, is_disrupted=True)


def disrupted_before(world: World, times: int) -> World:
    task = with_status(world.task, disruptions=times, attempt=1 + times)
    return dataclasses.replace(world, task=task)


#: From then on the word of its node is waited for no more.
RUN_IS_OVER = NOW + seconds(86_400) + rules.STOP_PATIENCE
RECORDED = {"job_uid": "job-1", "pod_uid": "pod-1", "started_at": NOW}


@pytest.mark.parametrize(
    ("world", "after", "expected"),
    [
        pytest.param(
            claimed(pod=a_pod()), 1, Wait(NOW + seconds(5)), id="a-pod-gets-time-to-start"
        ),
        pytest.param(
            claimed(pod=a_pod()),
            5,
            CheckPod(a_pod()),
            id="of-a-pod-that-does-not-start-the-events-are-read",
        ),
        pytest.param(
            claimed(pod=a_pod(events_read_at=NOW + seconds(5))),
            6,
            Wait(NOW + seconds(20)),
            id="they-are-read-again-after-a-while",
        ),
        pytest.param(
            claimed(pod=a_pod(events_read_at=NOW + seconds(599))),
            599,
            Wait(DEADLINE),
            id="but-not-beyond-the-time-to-start",
        ),
        pytest.param(
            claimed(pod=UNPULLABLE),
            1,
            Explain("ErrImagePull: no such image", None, "job-1"),
            id="why-it-does-not-start-is-said",
        ),
        pytest.param(
            claimed(pod=UNPULLABLE, waiting="ErrImagePull: no such image"),
            1,
            Wait(NOW + troubles.HELP_NEEDED_AFTER),
            id="why-it-does-not-start-is-said-once",
        ),
        pytest.param(
            claimed(
                pod=a_pod(cannot_start="ImagePullBackOff: Back-off pulling image"),
                waiting="ErrImagePull: no such image",
            ),
            1,
            Wait(NOW + troubles.HELP_NEEDED_AFTER),
            id="a-pause-between-two-pulls-is-no-news",
        ),
        pytest.param(
            claimed(pod=ended_in_running_pod(1)),
            60,
            Wait(RUN_IS_OVER),
            id="a-failure-waits-for-the-cause-that-the-phase-brings",
        ),
        pytest.param(
            claimed(pod=RUNNING),
            0,
            Wait(NOW + rules.RUNNING_AFTER),
            id="a-pod-that-just-started-may-end-at-once",
        ),
        pytest.param(claimed(pod=RUNNING), 2, MarkRunning(RUNNING), id="a-running-pod-is-recorded"),
        pytest.param(
            claimed(pod=a_pod(is_orphan=True, started_at=NOW)),
            2,
            AdoptPod(a_pod(is_orphan=True, started_at=NOW)),
            id="a-pod-that-nobody-owns-is-to-go-with-its-task",
        ),
        pytest.param(
            claimed(pod=a_pod(started_at=NOW, running_seen_at=NOW + seconds(1))),
            2,
            Wait(NOW + seconds(1) + rules.RUNNING_AFTER),
            id="what-counts-is-when-it-was-seen-to-run",
        ),
        pytest.param(
            claimed(pod=RUNNING, **RECORDED),
            50_000,
            Wait(RUN_IS_OVER),
            id="a-recorded-pod-runs-in-peace",
        ),
        pytest.param(
            claimed(pod=RUNNING, cancel=True), 5, StopPod(RUNNING), id="a-running-pod-is-stopped"
        ),
        pytest.param(
            claimed(pod=a_pod(started_at=NOW, is_stopping=True), cancel=True),
            5,
            Wait(RUN_IS_OVER),
            id="a-pod-is-stopped-once",
        ),
        pytest.param(
            claimed(pod=a_pod(started_at=NOW, is_deleting=True), cancel=True),
            5,
            Wait(RUN_IS_OVER),
            id="a-pod-that-is-going-is-left-alone",
        ),
        pytest.param(
            claimed(pod=a_pod(is_deleting=True)),
            START_SECONDS,
            Wait(RUN_IS_OVER),
            id="a-pod-that-is-going-is-waited-for",
        ),
    ],
)
def test_with_a_pod(world: World, after: float, expected: decisions.Decision) -> None:
    assert decide(world, after) == expected


@pytest.mark.parametrize(
    ("world", "after", "expected"),
    [
        pytest.param(
            claimed(pod=an_ended_pod(0, "7")), 60, (SUCCEEDED, Reason.COMPLETED), id="a-good-end"
        ),
        pytest.param(
            claimed(pod=an_ended_pod(1)), 60, (FAILED, Reason.PROGRAM_FAILED), id="a-bad-end"
        ),
        pytest.param(
            claimed(pod=an_ended_pod(0), cancel=True),
            60,
            (SUCCEEDED, Reason.COMPLETED),
            id="a-program-that-ended-well-was-not-cancelled",
        ),
        pytest.param(
            claimed(pod=an_ended_pod(143, reason="DeadlineExceeded"), cancel=True),
            60,
            (CANCELLED, Reason.CANCELLED),
            id="a-stopped-program-was-cancelled",
        ),
        pytest.param(
            claimed(pod=a_pod(), cancel=True),
            1,
            (CANCELLED, Reason.CANCELLED),
            id="a-pod-that-never-started-is-cancelled-at-once",
        ),
        pytest.param(
            claimed(pod=UNPULLABLE, waiting="w"),
            START_SECONDS,
            (FAILED, Reason.START_TIMEOUT),
            id="a-pod-that-does-not-start-in-time",
        ),
        pytest.param(
            claimed(pod=an_ended_pod(0, "7", is_disrupted=True), **RECORDED),
            60,
            (SUCCEEDED, Reason.COMPLETED),
            id="a-program-that-ended-well-was-not-disrupted",
        ),
        pytest.param(
            disrupted_before(claimed(pod=DISRUPTED, job=a_job(), **RECORDED), 3),
            1,
            (FAILED, Reason.DISRUPTED),
            id="the-fourth-disruption-is-one-too-many",
        ),
        pytest.param(
            disrupted_before(claimed(pod=DISRUPTED, job=ABSENT, **RECORDED), 3),
            1,
            (FAILED, Reason.DISRUPTED),
            id="a-disrupted-pod-whose-job-is-gone",
        ),
        pytest.param(
            claimed(pod=DISRUPTED, job=a_job(), cancel=True, **RECORDED),
            1,
            (CANCELLED, Reason.CANCELLED),
            id="a-cancelled-task-waits-for-no-other-pod",
        ),
    ],
)
def test_an_end_with_a_pod(
    world: World, after: float, expected: tuple[v1alpha1.Phase, Reason]
) -> None:
    decided = decide(world, after)
    assert ending(decided) == expected
    assert decided.pod == world.pod  # type: ignore[union-attr]


def test_a_start_timeout_says_why_the_pod_did_not_start_and_fits_a_status() -> None:
    decided = decide(claimed(pod=a_pod(cannot_start="x" * names.MESSAGE_MAX)), START_SECONDS)
    assert isinstance(decided, Finish)
    assert decided.outcome.message.startswith("the container did not start within 600 s: xxx")
    assert len(decided.outcome.message) == names.MESSAGE_MAX


# --- when an attempt is followed by another ---

RETRIED = {"container": {"image": "x"}, "retry": {"maxAttempts": 2, "backoffSeconds": 0}}


def retried(world: World, **spec: Any) -> World:
    """Return the same world for a task that may be tried again."""
    task = a_task(**RETRIED | spec)
    task = task.model_copy(update={"status": world.task.status})
    return a_world(task, job=world.job, pod=world.pod, has_slot=world.has_slot)


@pytest.mark.parametrize(
    ("world", "after", "reason", "is_free"),
    [
        pytest.param(
            retried(claimed(pod=an_ended_pod(1), **RECORDED)),
            60,
            Reason.PROGRAM_FAILED,
            False,
            id="a-failure",
        ),
        pytest.param(
            claimed(pod=DISRUPTED, job=a_job(), **RECORDED),
            1,
            Reason.DISRUPTED,
            True,
            id="a-disruption-though-one-attempt-was-all",
        ),
        pytest.param(
            claimed(pod=an_ended_pod(143, is_deleting=True), job=a_job(), **RECORDED),
            60,
            Reason.DISRUPTED,
            True,
            id="a-pod-that-was-deleted-by-hand",
        ),
        pytest.param(
            retried(claimed(pod=an_ended_pod(143, is_deleting=True), job=ABSENT, **RECORDED)),
            60,
            Reason.JOB_LOST,
            False,
            id="a-pod-that-was-deleted-with-its-job",
        ),
        pytest.param(
            retried(claimed(job=a_job(is_finished=True), **RECORDED)),
            60,
            Reason.JOB_LOST,
            False,
            id="a-pod-that-vanished-after-its-end",
        ),
        pytest.param(
            claimed(job=a_job(is_finished=True, has_failed=True), **RECORDED),
            60,
            Reason.DISRUPTED,
            True,
            id="a-pod-that-was-deleted-by-force",
        ),
    ],
)
def test_another_attempt(world: World, after: float, reason: Reason, is_free: bool) -> None:
    decided = decide(world, after)
    assert isinstance(decided, TryAgain)
    assert decided.outcome.reason is reason
    assert decided.following.is_free is is_free
    assert decided.pod == world.pod


def test_before_another_attempt_nothing_of_one_that_did_not_start_may_come() -> None:
    world = retried(claimed(pod=UNPULLABLE, job=a_job(), job_uid="job-1", waiting="w"))
    said = "the container did not start within 600 s: ErrImagePull: no such image"
    assert decide(world, START_SECONDS) == Condemn(Reason.START_TIMEOUT, said)
    condemned = {"job_uid": "job-1", "reason": Reason.START_TIMEOUT, "message": said}
    pending = retried(claimed(pod=UNPULLABLE, job=a_job(), **condemned))
    assert decide(pending, START_SECONDS) == DeleteJob(a_job())
    going = retried(claimed(pod=UNPULLABLE, job=a_job(is_deleting=True), **condemned))
    assert decide(going, START_SECONDS) == Wait(DEADLINE + rules.STOP_PATIENCE)
    assert decide(retried(claimed(**condemned)), START_SECONDS) == CheckJob(JOB)
    assert decide(retried(claimed(job=a_job(), **condemned)), 1) == DeleteJob(a_job())
    unseen = retried(claimed(job=a_job(is_deleting=True), **condemned))
    assert decide(unseen, 1) == Wait(NOW + rules.JOB_CHECK_INTERVAL)
    assert decide(unseen, rules.JOB_CHECK_INTERVAL.total_seconds()) == CheckJob(JOB)
    decided = decide(retried(claimed(job=ABSENT, **condemned)), START_SECONDS)
    assert isinstance(decided, TryAgain)
    assert decided.outcome == outcome.failed(Reason.START_TIMEOUT, said)


def between(job: pods.Job | None = None, *, has_slot: bool = False, **values: Any) -> World:
    """Return the world of a task whose first attempt failed; the keywords are its status'."""
    attempt = an_attempt(
        started_at=NOW, finished_at=NOW, exit_code=1, reason="ProgramFailed", message="boom"
    )
    status: dict[str, Any] = {
        "phase": v1alpha1.Phase.RETRYING,
        "attempt": 1,
        "attempts": [attempt],
        "queue": "default",
        "retry_at": NOW + seconds(10),
        "waiting": "attempt 2 at 2026-01-02T03:04:15Z, after ProgramFailed: boom",
    }
    spec = {k: values.pop(k) for k in ("cancel", "timeouts") if k in values}
    task = with_status(a_task(**RETRIED | spec), **status | values)
    return a_world(task, job=job, has_slot=has_slot)


@pytest.mark.parametrize(
    ("world", "after", "expected"),
    [
        pytest.param(between(), 0, Wait(NOW + seconds(10)), id="it-waits-for-its-time"),
        pytest.param(between(), 10, Wait(), id="then-for-a-place"),
        pytest.param(
            between(a_job(), has_slot=True),
            10,
            ReleaseJob(a_job()),
            id="but-first-the-job-before-is-let-go",
        ),
        pytest.param(
            between(has_slot=True),
            10,
            CheckJob(JOB),
            id="which-may-not-have-been-heard-of",
        ),
        pytest.param(
            between(a_job(is_released=True), has_slot=True),
            10,
            Claim(2, names.job_name("report", a_task().metadata.uid, attempt=2)),
            id="then-it-is-claimed",
        ),
        pytest.param(
            between(waiting=None),
            0,
            Enqueue("attempt 2 at 2026-01-02T03:04:15Z, after ProgramFailed: boom", None),
            id="what-it-waits-for-is-said",
        ),
        pytest.param(
            between(cancel=True),
            0,
            Finish(outcome.cancelled("cancelled between two attempts")),
            id="it-is-cancelled-at-once",
        ),
        pytest.param(
            between(timeouts={"totalSeconds": 5}),
            5,
            Finish(outcome.failed(Reason.TOTAL_TIMEOUT, "took longer than 5 s in all")),
            id="its-time-may-be-over",
        ),
        pytest.param(
            between(timeouts={"queueSeconds": 5}),
            6,
            Wait(NOW + seconds(10)),
            id="its-wait-in-the-queue-was-before",
        ),
    ],
)
def test_between_two_attempts(world: World, after: float, expected: decisions.Decision) -> None:
    assert decide(world, after) == expected


# --- times of a running program ---

SENTENCE = {"reason": "HeartbeatTimeout", "message": "no progress report for 60 s"}
SILENT = {"timeouts": {"heartbeatSeconds": 60}}


def running(**values: Any) -> World:
    world = claimed(**RECORDED | {"pod": RUNNING, "job": a_job()} | values)
    return dataclasses.replace(world, task=with_status(world.task, phase=v1alpha1.Phase.RUNNING))


def test_a_silent_program_is_ended_and_may_be_tried_again() -> None:
    assert decide(retried(running(), **SILENT), 59) == Wait(NOW + seconds(60))
    said = Condemn(Reason.HEARTBEAT_TIMEOUT, "no progress report for 60 s")
    assert decide(retried(running(), **SILENT), 60) == said
    assert decide(retried(running(**SENTENCE), **SILENT), 60) == StopPod(RUNNING)
    stopping = dataclasses.replace(RUNNING, is_stopping=True)
    waits = decide(retried(running(pod=stopping, **SENTENCE), **SILENT), 61)
    assert waits == Wait(NOW + seconds(60) + rules.STOP_PATIENCE)
    ended = an_ended_pod(0, reason="DeadlineExceeded")
    decided = decide(retried(running(pod=ended, **SENTENCE), **SILENT), 62)
    assert isinstance(decided, TryAgain)
    assert decided.outcome.reason is Reason.HEARTBEAT_TIMEOUT
    assert decided.outcome.exit_code == 0


def test_a_report_is_a_sign_of_life() -> None:
    reported = v1alpha1.Progress(percent=5, updated_at=NOW + seconds(30))
    assert decide(retried(running(progress=reported), **SILENT), 60) == Wait(NOW + seconds(90))


def test_a_program_that_reported_and_fell_silent_is_told() -> None:
    reported = v1alpha1.Progress(percent=5, updated_at=NOW)
    assert decide(running(progress=reported), 60) == Wait(NOW + troubles.SILENT_AFTER)
    told = Explain("no progress report since 2026-01-02T03:04:05Z", Reason.NO_HEARTBEAT)
    assert decide(running(progress=reported), 180) == told
    assert decide(running(progress=reported, waiting=told.waiting), 180) == Wait(RUN_IS_OVER)
    again = v1alpha1.Progress(percent=6, updated_at=NOW + seconds(190))
    assert decide(running(progress=again, waiting=told.waiting), 191) == MarkRunning(RUNNING)


# --- a node that is not heard of ---


def test_the_fourth_disruption_says_that_it_was_not_the_first() -> None:
    decided = decide(disrupted_before(claimed(pod=DISRUPTED, job=a_job(), **RECORDED), 3), 1)
    assert isinstance(decided, Finish)
    assert decided.outcome.message == (
        "the pod was preempted, drained or lost with its node, as 3 pods were before it"
    )
    other = decide(claimed(pod=an_ended_pod(1), **RECORDED), 60)
    assert isinstance(other, Finish)
    assert "before it" not in other.outcome.message


def test_a_program_is_reported_as_running_as_soon_as_it_was_seen_long_enough() -> None:
    world = claimed(pod=RUNNING, job=a_job(), job_uid="job-1")
    after = rules.RUNNING_AFTER.total_seconds()
    assert decide(world, after - 0.001) == Wait(NOW + rules.RUNNING_AFTER)
    assert decide(world, after) == MarkRunning(RUNNING)


def test_between_attempts_a_refusal_is_told_as_it_is() -> None:
    refused = dataclasses.replace(between(), refusal=REFUSAL)
    assert decide(refused) == Finish(REFUSAL)


def test_between_attempts_the_time_of_the_whole_task_is_not_slept_through() -> None:
    world = between(retry_at=NOW + seconds(100), timeouts={"totalSeconds": 60})
    world = dataclasses.replace(
        world, task=with_status(world.task, waiting=retry.sentence(world.task.status))
    )
    assert decide(world) == Wait(NOW + seconds(60))


LOST_POD = dataclasses.replace(RUNNING, unready_since=NOW, node="node-1")


def test_a_lost_node_is_told_and_starts_no_second_pod() -> None:
    assert decide(running(pod=LOST_POD), 59) == Wait(NOW + troubles.LOST_AFTER)
    told = Explain("its node node-1 does not answer since 2026-01-02T03:04:05Z", Reason.NODE_LOST)
    assert decide(running(pod=LOST_POD), 60) == told
    assert decide(running(pod=LOST_POD, waiting=told.waiting), 60) == Wait(RUN_IS_OVER)
    evicted = dataclasses.replace(LOST_POD, is_deleting=True, is_disrupted=True)
    assert decide(running(pod=evicted, waiting=told.waiting), 400) == Wait(RUN_IS_OVER)
    heard = dataclasses.replace(LOST_POD, unready_since=None)
    assert decide(running(pod=heard, waiting=told.waiting), 400) == MarkRunning(heard)


@pytest.mark.parametrize("is_stopping", [False, True], ids=["at-once", "after-it-was-stopped"])
def test_a_task_on_a_lost_node_is_cancelled_without_its_word(is_stopping: bool) -> None:
    pod = dataclasses.replace(LOST_POD, is_stopping=is_stopping)
    ended = Finish(outcome.cancelled("cancelled while its node does not answer"), pod)
    assert decide(running(pod=pod, cancel=True), 60) == ended


def test_the_time_of_a_task_on_a_lost_node_is_over_without_its_word() -> None:
    ended = decide(retried(running(pod=LOST_POD)), 86_400 + 90)
    assert ending(ended) == (FAILED, Reason.RUN_TIMEOUT)
    ended = decide(retried(running(pod=LOST_POD, **SENTENCE), **SILENT), 60 + 90)
    assert ending(ended) == (FAILED, Reason.HEARTBEAT_TIMEOUT)


def test_of_several_ends_without_a_word_the_first_one_counts() -> None:
    lost = dataclasses.replace(LOST_POD, unready_since=NOW + seconds(40))
    both = retried(running(pod=lost, **SENTENCE), cancel=True, **SILENT)
    assert ending(decide(both, 100)) == (CANCELLED, Reason.CANCELLED)
    assert not isinstance(decide(both, 99), Finish)


# --- when help is needed ---


@pytest.mark.parametrize(
    ("cause", "helpless"),
    [
        pytest.param("ErrImagePull: no such image", True, id="an-image-comes-by-help-alone"),
        pytest.param("Unschedulable: Insufficient cpu", False, id="a-busy-node-gets-room"),
        pytest.param("exceeded quota: tasks", False, id="so-does-a-quota"),
    ],
)
def test_a_need_for_help_is_told_after_a_minute(cause: str, helpless: bool) -> None:
    pod = a_pod(cannot_start=cause)
    assert decide(claimed(pod=pod), 59) == Explain(cause, None, "job-1")
    told = decide(claimed(pod=pod, waiting=cause), 60)
    expected = Explain(cause, Reason.POD_CANNOT_START, "job-1") if helpless else Wait(DEADLINE)
    assert told == expected
    stalled = claimed(pod=pod, waiting=cause, conditions=[STALLED])
    assert decide(stalled, 61) == Wait(DEADLINE)


# --- after the end: delete, then the callback, then release, then wait ---

PENDING = v1alpha1.CallbackStatus(
    id="msg_1",
    event=v1alpha1.TaskEvent.FAILED,
    state=v1alpha1.CallbackState.PENDING,
    next_try_at=NOW,
)
LATER = PENDING.model_copy(update={"tries": 1, "next_try_at": NOW + seconds(300)})
DELIVERED = PENDING.model_copy(
    update={"state": v1alpha1.CallbackState.DELIVERED, "next_try_at": None}
)
EXHAUSTED = DELIVERED.model_copy(update={"state": v1alpha1.CallbackState.EXHAUSTED})


def finished(
    *, job: pods.Job | None = None, entry: v1alpha1.CallbackStatus | None = None, **attempt: Any
) -> World:
    given = {"exit_code": 1, "started_at": NOW} | attempt
    task = with_status(
        a_task(), conditions=[FINISHED], attempts=[an_attempt(**given)], callback=entry
    )
    return a_world(task, job=job, has_slot=True)


UNREAD = {"exit_code": None}


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        pytest.param(finished(), Wait(), id="a-finished-task-gets-no-second-job"),
        pytest.param(finished(job=a_job()), ReleaseJob(a_job()), id="its-job-is-released"),
        pytest.param(finished(job=a_job(is_released=True)), Wait(), id="its-job-is-released-once"),
        pytest.param(finished(job=a_job(is_deleting=True)), Wait(), id="a-job-that-goes-may-go"),
        pytest.param(finished(job=ABSENT), Wait(), id="a-job-that-is-gone-needs-nothing"),
        pytest.param(
            finished(job=a_job(owner_uid="stranger")), Wait(), id="a-foreign-job-is-not-touched"
        ),
        pytest.param(
            finished(job=a_job(owner_uid="stranger"), **UNREAD),
            Wait(),
            id="a-foreign-job-is-not-deleted",
        ),
        pytest.param(
            finished(job=a_job(), entry=PENDING, **UNREAD),
            DeleteJob(a_job()),
            id="what-may-still-start-is-deleted-first",
        ),
        pytest.param(
            finished(job=a_job(is_deleting=True), entry=PENDING, **UNREAD),
            SendCallback(PENDING),
            id="a-job-is-deleted-once",
        ),
        pytest.param(
            finished(job=a_job(), entry=PENDING), SendCallback(PENDING), id="then-the-callback-goes"
        ),
        pytest.param(
            finished(job=a_job(), entry=LATER),
            ReleaseJob(a_job()),
            id="a-job-does-not-wait-for-the-next-try",
        ),
        pytest.param(
            finished(entry=LATER), Wait(NOW + seconds(300)), id="the-next-try-is-waited-for"
        ),
        pytest.param(
            finished(entry=PENDING.model_copy(update={"next_try_at": None})),
            SendCallback(PENDING.model_copy(update={"next_try_at": None})),
            id="a-reopened-entry-is-due-now",
        ),
        pytest.param(finished(entry=DELIVERED), Wait(), id="a-delivered-callback-is-not-sent"),
        pytest.param(finished(entry=EXHAUSTED), Wait(), id="a-callback-given-up-is-not-sent"),
    ],
)
def test_after_the_end(world: World, expected: decisions.Decision) -> None:
    assert decide(world) == expected


def test_a_claim_without_its_time_is_an_error() -> None:
    with pytest.raises(ValueError, match="records its time"):
        decide(claimed(job=a_job(), claimed_at=None))


def test_a_success_does_not_wait_for_the_pods_phase() -> None:
    decided = decide(claimed(pod=ended_in_running_pod(0)), 60)
    assert ending(decided) == (SUCCEEDED, Reason.COMPLETED)


def test_a_success_at_the_end_of_its_time_waits_for_the_pods_phase() -> None:
    end = pods.End(0, "", "7", NOW + seconds(86_400))
    pod = a_pod(started_at=NOW, end=end)
    assert decide(claimed(pod=pod), 86_401) == Wait(RUN_IS_OVER)
    over = dataclasses.replace(pod, is_over=True)
    assert ending(decide(claimed(pod=over), 86_401)) == (SUCCEEDED, Reason.COMPLETED)
    timed_out = dataclasses.replace(over, reason="DeadlineExceeded")
    assert ending(decide(claimed(pod=timed_out), 86_401)) == (FAILED, Reason.RUN_TIMEOUT)
    assert ending(decide(claimed(pod=timed_out, cancel=True), 86_401))[0] is SUCCEEDED


@pytest.mark.parametrize(
    ("told", "now_said", "is_news"),
    [
        pytest.param("0/3 nodes are available", "0/2 nodes are available", False, id="a-count"),
        pytest.param(
            'pods "report-x-abcde" is forbidden',
            'pods "report-x-fghij" is forbidden',
            False,
            id="a-name",
        ),
        pytest.param("ErrImagePull: no", "ImagePullBackOff: no", False, id="back-and-forth"),
        pytest.param("0/3 nodes are available", "FailedMount: no volume", True, id="another-cause"),
    ],
)
def test_a_cause_in_another_wording_is_no_news(told: str, now_said: str, is_news: bool) -> None:
    world = claimed(pod=a_pod(cannot_start=now_said), waiting=told)
    assert isinstance(decide(world, 1), Explain) is is_news


# --- what has to be proved first ---

NO_WORD = Finish(outcome.failed(Reason.JOB_LOST, "the Job was deleted"))
A_LIST = steps.Recipe("a", 1, is_list=True, parts=())


@pytest.mark.parametrize(
    ("decided", "world", "proof"),
    [
        pytest.param(Claim(1, JOB), a_world(), Proof.TASK, id="a-claim"),
        pytest.param(NO_WORD, claimed(), Proof.JOB_AND_PODS, id="an-end-without-a-word"),
        pytest.param(NO_WORD, a_world(), None, id="a-refusal"),
        pytest.param(
            Finish(dataclasses.replace(NO_WORD.outcome, exit_code=1), an_ended_pod(1)),
            claimed(),
            None,
            id="its-word",
        ),
        pytest.param(
            Finish(dataclasses.replace(NO_WORD.outcome, exit_code=1)),
            claimed(),
            Proof.JOB_AND_PODS,
            id="the-word-of-a-pod-that-was-not-seen",
        ),
        pytest.param(
            Finish(dataclasses.replace(NO_WORD.outcome, exit_code=1), a_pod(is_deleting=True)),
            claimed(),
            Proof.JOB_AND_PODS,
            id="whether-the-job-was-deleted-too",
        ),
        pytest.param(
            Finish(dataclasses.replace(NO_WORD.outcome, exit_code=0), a_pod(is_deleting=True)),
            claimed(),
            None,
            id="a-success-whoever-deleted-its-pod",
        ),
        pytest.param(
            TryAgain(NO_WORD.outcome, retry.Next(NOW)),
            claimed(),
            Proof.JOB_AND_PODS,
            id="another-attempt-without-a-word",
        ),
        pytest.param(NO_WORD, between(), None, id="an-end-between-two-attempts"),
        pytest.param(Wait(), claimed(), None, id="nothing-to-do"),
        pytest.param(decisions.Begin(), a_world(), Proof.TASK, id="a-pipelines-place"),
        pytest.param(
            decisions.OfRun(a_world(), Claim(1, JOB)), a_world(), None, id="a-claim-in-its-place"
        ),
        pytest.param(
            decisions.OfRun(claimed(), NO_WORD),
            a_world(),
            Proof.JOB_AND_PODS,
            id="an-end-of-a-program-without-a-word",
        ),
        pytest.param(
            decisions.OfRun(a_world(), NO_WORD), claimed(), None, id="of-one-that-does-not-run"
        ),
        pytest.param(
            decisions.Keep(A_LIST, decisions.OfRun(claimed(), NO_WORD)),
            a_world(),
            Proof.JOB_AND_PODS,
            id="such-an-end-with-what-is-kept",
        ),
        pytest.param(decisions.Keep(A_LIST), claimed(), None, id="what-is-kept-alone"),
    ],
)
def test_needs_proof(decided: decisions.Decision, world: World, proof: Proof | None) -> None:
    assert decisions.needs_proof(decided, world) is proof


# --- a spec that was changed ---


def patched(task: v1alpha1.LongTask, seen: int | None = 1) -> v1alpha1.LongTask:
    return with_meta(with_status(task, observed_generation=seen), generation=2)


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        pytest.param(
            a_world(patched(finished().task)), Acknowledge(), id="after-the-end-it-is-acknowledged"
        ),
        pytest.param(
            a_world(patched(QUEUED)), Acknowledge(), id="a-waiting-tasks-too-is-acknowledged"
        ),
        pytest.param(
            a_world(patched(QUEUED, seen=2)), Wait(), id="what-was-seen-is-not-written-again"
        ),
        pytest.param(
            a_world(patched(a_task(), seen=None)),
            Enqueue(None, None),
            id="the-first-visit-records-it-with-all-the-rest",
        ),
        pytest.param(
            a_world(with_meta(patched(finished().task), deletion_timestamp=NOW)),
            Wait(),
            id="of-a-task-that-is-going-nothing-is-written",
        ),
    ],
)
def test_a_changed_spec(world: World, expected: decisions.Decision) -> None:
    assert decide(world) == expected
