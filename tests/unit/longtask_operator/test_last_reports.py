"""What follows when a program says how it ends, and when its container then ends otherwise."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from longtask_crds import runner_contract, v1alpha1
from longtask_crds.testing import FINISHED, NOW, a_task, an_attempt, with_status
from longtask_crds.v1alpha1 import Phase, Reason
from longtask_operator.rules import decide as rules
from longtask_operator.rules import decisions, outcome, pods, status
from longtask_operator.rules.decisions import (
    AdoptPod,
    Contradict,
    DeleteJob,
    Finish,
    Proof,
    ReleaseJob,
    StopPod,
    TryAgain,
    Wait,
    World,
)
from longtask_operator.testing import REPORT, Operator, a_job, a_pod, a_world, an_ended_pod
from longtask_runner import last_words, leaving

SAID_AT = NOW + timedelta(seconds=40)
LATE = rules.ENDS_WITHIN.seconds
STOP_AT = SAID_AT + rules.ENDS_WITHIN
KNOWN_BY = SAID_AT + rules.KNOWN_WITHIN
RUNNING = a_pod(started_at=NOW, running_seen_at=NOW)
STOPPING = dataclasses.replace(RUNNING, is_stopping=True)
TWICE = {"maxAttempts": 2, "backoffSeconds": 10}


def a_report(exit_code: int = 0, **said: Any) -> v1alpha1.Report:
    given: dict[str, Any] = {
        "attempt": 1,
        "pod_name": "report-pod",
        "pod_uid": "pod-1",
        "reported_at": SAID_AT,
    }
    return v1alpha1.Report(exit_code=exit_code, **(given | said))


def world(
    report: v1alpha1.Report, pod: pods.Pod | None = RUNNING, *, of_attempt: Any = None, **spec: Any
) -> World:
    task = with_status(
        a_task(container={"image": "x"}, callback={"url": "https://example.com/done"}, **spec),
        phase=Phase.STARTING,
        attempt=1,
        attempts=[an_attempt(**(of_attempt or {}))],
        report=report,
    )
    return a_world(task, pod=pod, job=a_job())


def decided(seen: World, after: float = 0) -> decisions.Decision:
    return rules.decide(seen, now=SAID_AT + timedelta(seconds=after))


WELL = a_report(result=v1alpha1.Result(value=7))
BADLY = a_report(1, message="boom")


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(world(WELL), id="while-it-runs"),
        pytest.param(world(WELL, a_pod()), id="before-it-is-seen-to-run"),
        pytest.param(world(WELL, None), id="before-its-pod-is-seen"),
        pytest.param(world(WELL, of_attempt={"pod_uid": "pod-1"}), id="when-it-is-on-record"),
        pytest.param(world(WELL, cancel=True), id="though-it-was-cancelled-after-that"),
        pytest.param(
            world(WELL, dataclasses.replace(RUNNING, is_disrupted=True)), id="though-disrupted"
        ),
        pytest.param(world(WELL, an_ended_pod(137)), id="though-it-was-killed-then"),
    ],
)
def test_a_success_ends_the_task_at_once(seen: World) -> None:
    step = decided(seen)
    assert isinstance(step, Finish), step
    ended = step.outcome
    assert (ended.phase, ended.reason) == (Phase.SUCCEEDED, Reason.COMPLETED)
    assert (ended.exit_code, ended.result) == (0, v1alpha1.Result(value=7))
    assert ended.finished_at == ended.reported_at == SAID_AT


@pytest.mark.parametrize(
    ("report", "reason", "message"),
    [
        pytest.param(BADLY, Reason.PROGRAM_FAILED, "boom", id="in-its-own-words"),
        pytest.param(a_report(70, message="x"), Reason.PERMANENT_FAILURE, "x", id="permanent"),
        pytest.param(a_report(75, message="x"), Reason.TRY_AGAIN, "x", id="try-again-at-the-end"),
        pytest.param(
            a_report(65, message="InvalidInput: n"), Reason.INVALID_INPUT, "InvalidInput: n", id="n"
        ),
    ],
)
def test_a_failure_that_nothing_follows_ends_the_task_at_once(
    report: v1alpha1.Report, reason: Reason, message: str
) -> None:
    step = decided(world(report))
    assert isinstance(step, Finish), step
    assert (step.outcome.reason, step.outcome.message) == (reason, message)


@pytest.mark.parametrize("code", [1, 75])
def test_another_attempt_is_thought_of_when_the_program_has_ended(code: int) -> None:
    report = a_report(code, message="boom")
    assert decided(world(report, retry=TWICE)) == Wait(STOP_AT)
    step = decided(world(report, an_ended_pod(code), retry=TWICE))
    assert isinstance(step, TryAgain), step
    assert (step.outcome.exit_code, step.outcome.reported_at) == (code, SAID_AT)
    # It said so, and the exit code of its container is another: what it said stands.
    step = decided(world(report, an_ended_pod(0), retry=TWICE))
    assert isinstance(step, TryAgain), step


def test_a_permanent_failure_is_not_waited_for() -> None:
    assert isinstance(decided(world(a_report(70, message="no"), retry=TWICE)), Finish)


def test_a_failure_without_words_waits_for_the_end_of_its_log() -> None:
    assert decided(world(a_report(3))) == Wait(STOP_AT)
    step = decided(world(a_report(3), an_ended_pod(3, "the last line")))
    assert isinstance(step, Finish)
    assert step.outcome.message == "the last line"
    cancelled = decided(world(a_report(3), cancel=True))
    assert isinstance(cancelled, Finish)
    assert (cancelled.outcome.phase, cancelled.outcome.message) == (Phase.FAILED, "exit code 3")


def test_a_program_that_does_not_end_is_stopped_and_then_given_up() -> None:
    assert decided(world(BADLY, retry=TWICE), LATE) == StopPod(RUNNING)
    given_up_at = STOP_AT + rules.STOP_PATIENCE
    assert decided(world(BADLY, STOPPING, retry=TWICE), LATE + 1) == Wait(given_up_at)
    step = decided(world(BADLY, STOPPING, retry=TWICE), LATE + rules.STOP_PATIENCE.seconds)
    assert isinstance(step, Finish), "another one might run beside it"


def test_who_lingers_is_gone_within_three_quarters_of_a_minute() -> None:
    """Its place is another's by then. What the Python runner waits for is over sooner."""
    assert LATE + runner_contract.GRACE_SECONDS <= 45
    assert LATE > leaving.PATIENCE_SECONDS + last_words.PATIENCE_SECONDS


def test_a_pod_that_is_never_seen_is_not_waited_for_long() -> None:
    unseen = world(BADLY, None, retry=TWICE)
    assert decided(unseen) == decided(unseen, LATE) == Wait(KNOWN_BY)
    assert decided(unseen, 60) == DeleteJob(a_job())
    gone = dataclasses.replace(unseen, job=a_job(exists=False))
    step = decided(gone, 61)
    assert isinstance(step, TryAgain)
    assert decisions.needs_proof(step, gone) is Proof.JOB_AND_PODS


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(
            world(BADLY, dataclasses.replace(RUNNING, is_disrupted=True, is_ended_by_node=True)),
            id="ended-by-its-node",
        ),
        pytest.param(
            world(WELL, a_pod(created_at=SAID_AT - timedelta(days=1), started_at=NOW)),
            id="when-its-time-was-up",
        ),
        pytest.param(world(a_report(attempt=2)), id="of-another-attempt"),
        pytest.param(world(WELL, of_attempt={"pod_uid": "pod-0"}), id="of-another-pod"),
    ],
)
def test_what_is_not_its_own_doing_waits_for_the_end_of_the_pod(seen: World) -> None:
    assert not isinstance(decided(seen), Finish | TryAgain)


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param(an_ended_pod(1), id="as-it-said"),
        pytest.param(an_ended_pod(1, is_deleting=True), id="deleted-later"),
        pytest.param(an_ended_pod(143, is_deleting=True, is_disrupted=True), id="drained-later"),
        pytest.param(None, id="gone-when-an-operator-comes"),
    ],
)
def test_a_failure_that_is_stored_is_one_whatever_is_seen_of_its_pod(pod: pods.Pod | None) -> None:
    seen = dataclasses.replace(world(BADLY, pod, retry=TWICE), job=a_job(exists=pod is not None))
    step = decided(seen, 61)
    assert isinstance(step, TryAgain), step
    assert (step.outcome.reason, step.following.is_free) == (Reason.PROGRAM_FAILED, False)


def test_an_orphan_is_adopted_before_anything_is_made_of_what_it_said() -> None:
    orphan = dataclasses.replace(RUNNING, is_orphan=True)
    assert decided(world(WELL, orphan)) == AdoptPod(orphan)


# --- the status ---


def written(task: v1alpha1.LongTask, news: decisions.Write) -> v1alpha1.LongTaskStatus:
    return status.next_status(task, news, queue="default", now=SAID_AT + timedelta(seconds=1))


@pytest.mark.parametrize("pod", [None, a_pod(node="node-1"), RUNNING])
def test_the_pod_that_said_so_is_recorded(pod: pods.Pod | None) -> None:
    seen = world(WELL, pod)
    step = decided(seen)
    assert isinstance(step, Finish)
    after = written(seen.task, step)
    (attempt,) = after.attempts or []
    assert (attempt.pod_uid, attempt.exit_code) == ("pod-1", 0)
    assert attempt.pod_name in ("report-pod", pod and pod.name)
    assert attempt.reported_at == attempt.finished_at == SAID_AT
    started_at = pod.started_at if pod is not None else None
    assert attempt.started_at == after.started_at == (started_at or SAID_AT)
    assert (after.report, after.result) == (None, v1alpha1.Result(value=7))
    assert after.phase is Phase.SUCCEEDED
    assert after.callback is not None


def test_a_result_that_was_sent_before_is_the_tasks() -> None:
    ref = v1alpha1.ResultRef(size=5000, sha256="0" * 64)
    seen = world(a_report(result=v1alpha1.Result(ref=ref)))
    seen = dataclasses.replace(seen, task=with_status(seen.task, result=v1alpha1.Result(ref=ref)))
    step = decided(seen)
    assert isinstance(step, Finish)
    assert written(seen.task, step).result == v1alpha1.Result(ref=ref)


# --- after the end ---

SAID = {"exit_code": 0, "started_at": NOW, "finished_at": SAID_AT, "reported_at": SAID_AT}


def finished(pod: pods.Pod | None, **values: Any) -> World:
    task = with_status(
        a_task(), conditions=[FINISHED], attempts=[an_attempt(**SAID, pod_uid="pod-1")], **values
    )
    return a_world(task, pod=pod, job=a_job())


KILLED = v1alpha1.Contradiction(attempt=1, exit_code=137, reason="Error")


@pytest.mark.parametrize(
    ("seen", "after", "expected"),
    [
        pytest.param(finished(RUNNING), 0, Wait(STOP_AT), id="its-end-is-waited-for"),
        pytest.param(finished(None), LATE, Wait(KNOWN_BY), id="though-it-was-not-seen-yet"),
        pytest.param(finished(an_ended_pod(0)), 0, ReleaseJob(a_job()), id="then-released"),
        pytest.param(finished(RUNNING), LATE, StopPod(RUNNING), id="who-lingers-is-stopped"),
        pytest.param(
            finished(STOPPING), LATE + 1, Wait(STOP_AT + rules.STOP_PATIENCE), id="and-waited-for"
        ),
        pytest.param(finished(STOPPING), 200, ReleaseJob(a_job()), id="and-given-up"),
        pytest.param(
            finished(None), 60, DeleteJob(a_job()), id="what-was-never-seen-may-not-start"
        ),
        pytest.param(finished(an_ended_pod(137)), 0, Contradict(KILLED), id="told-otherwise"),
        pytest.param(
            finished(an_ended_pod(137), contradictions=[KILLED]),
            0,
            ReleaseJob(a_job()),
            id="which-is-told-once",
        ),
        pytest.param(
            finished(an_ended_pod(137, is_over=False)), 0, Contradict(KILLED), id="before-its-phase"
        ),
    ],
)
def test_a_program_is_seen_off(seen: World, after: float, expected: decisions.Decision) -> None:
    assert decided(seen, after) == expected


def test_a_contradiction_stands_beside_an_end_that_does_not_change() -> None:
    before = finished(an_ended_pod(137)).task
    after = written(before, Contradict(KILLED))
    assert after.contradictions == [KILLED]
    assert after == before.status.model_copy(
        update={"contradictions": [KILLED], "observed_generation": before.metadata.generation}
    )
    many = [v1alpha1.Contradiction(attempt=n, exit_code=1) for n in range(1, 11)]
    before = finished(None, contradictions=many).task
    assert written(before, Contradict(KILLED)).contradictions == [*many[1:], KILLED]


# --- one pass after the other ---


async def test_the_callback_is_sent_before_the_container_has_ended() -> None:
    operator = Operator()
    await operator.submit()
    await operator.look()
    await operator.look()
    pod = operator.kubernetes.make_pod(operator.job)
    assert operator.kubernetes.report_outcome(pod, result={"value": 7})
    await operator.hear()
    while await operator.look() == 0.0:
        pass
    stored = operator.status()
    assert (stored.phase, stored.result) == (Phase.SUCCEEDED, v1alpha1.Result(value=7))
    assert stored.callback is not None
    assert stored.callback.state is v1alpha1.CallbackState.DELIVERED
    # Claim, Job, outcome, delivery. The task itself costs five, with its creation and the report.
    assert operator.kubernetes.writes == 4
    assert "ttlSecondsAfterFinished" not in operator.kubernetes.stored("jobs", operator.job)["spec"]
    operator.kubernetes.start_pod(pod)
    operator.kubernetes.end_pod(pod, 137)
    await operator.hear()
    while await operator.look() == 0.0:
        pass
    assert operator.status().contradictions == [KILLED]
    assert operator.status().attempts == stored.attempts
    assert operator.kubernetes.stored("jobs", operator.job)["spec"]["ttlSecondsAfterFinished"]
    assert operator.mirror.tasks.get(REPORT) is not None


def test_what_a_report_means_is_what_an_exit_code_means() -> None:
    for code in range(256):
        message = "x" if code else ""
        said = outcome.of_report(a_report(code, message=message or None), None)
        pod = an_ended_pod(code, message)
        ended = outcome.of_pod(pod, cancel_requested=False, run_seconds=100)
        assert (said.phase, said.reason) == (ended.phase, ended.reason), code
