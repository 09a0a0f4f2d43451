"""Which pods should wait, and what a pod that waited looks like from then on."""

import dataclasses
import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest

from longtask_crds import effective, v1alpha1
from longtask_crds.testing import NOW, a_task, an_attempt, with_status
from longtask_operator.rules import decide, decisions, pods, warm
from longtask_operator.testing import a_job, a_pod, a_world, an_ended_pod

TEMPLATE = "made-of-this"
LIMITS = effective.Limits(None, 600, 60, None, None)


def a_unit(number: int, *, age: float = 60, pod: bool = True, **values: Any) -> warm.Unit:
    made_at = NOW - timedelta(seconds=age)
    name = f"warm-{number}"
    job = a_job(name=name, uid=f"uid-{number}", created_at=made_at, template=TEMPLATE, warm="t")
    waiting = a_pod(name=name, uid=f"pod-{number}", job_uid=job.uid, warm="t", started_at=made_at)
    unit = warm.Unit(job, waiting if pod else None)
    of_job = {k: v for k, v in values.items() if k in ("template", "is_deleting", "is_finished")}
    of_pod = {k: v for k, v in values.items() if k not in of_job}
    unit = dataclasses.replace(unit, job=dataclasses.replace(unit.job, **of_job))
    if unit.pod is not None:
        unit = dataclasses.replace(unit, pod=dataclasses.replace(unit.pod, **of_pod))
    return unit


def planned(*units: warm.Unit, before: warm.Before | None = None, **spec: Any) -> warm.Plan:
    wanted = v1alpha1.Warm.model_validate({"size": 3} | spec)
    return warm.plan(wanted, TEMPLATE, units, before=before or warm.Before(), now=NOW)


def gone(plan: warm.Plan) -> list[str]:
    return [unit.job.name for unit in plan.recycle]


def test_as_many_wait_as_are_wanted() -> None:
    assert planned().start == 3
    assert planned(a_unit(1)).start == 2
    assert planned(a_unit(1), a_unit(2), a_unit(3)).start == 0


@pytest.mark.parametrize(("idle", "started"), [(3, 0), (2, 0), (1, 2), (0, 3)])
def test_with_fewer_allowed_the_missing_are_started_together(idle: int, started: int) -> None:
    assert planned(*map(a_unit, range(idle)), minIdle=1).start == started


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"template": "another"}, id="made-of-something-else"),
        pytest.param({"is_over": True}, id="over"),
        pytest.param({"is_deleting": True}, id="being-deleted"),
        pytest.param({"is_disrupted": True}, id="its-node-is-drained"),
        pytest.param({"is_finished": True}, id="its-job-is-finished"),
    ],
)
def test_what_is_of_no_use_goes_and_is_replaced(values: dict[str, Any]) -> None:
    found = planned(a_unit(1), a_unit(2), a_unit(3, **values))
    assert (gone(found), found.start) == (["warm-3"], 1)


def test_who_is_too_old_serves_until_enough_others_wait() -> None:
    old = [a_unit(number, age=4000) for number in range(3)]
    found = planned(*old)
    assert (gone(found), found.start) == ([], 3)
    found = planned(*old, a_unit(4), a_unit(5), a_unit(6, pod=False))
    assert (gone(found), found.start) == ([], 0)
    found = planned(*old, a_unit(4), a_unit(5), a_unit(6))
    assert (gone(found), found.start) == (["warm-0", "warm-1", "warm-2"], 0)


def test_of_too_many_those_go_that_do_not_wait_yet() -> None:
    found = planned(a_unit(1, pod=False), a_unit(2), a_unit(3), a_unit(4))
    assert (gone(found), found.start) == (["warm-1"], 0)


def test_all_go_where_none_are_wanted() -> None:
    plan = warm.plan(None, "", [a_unit(1), a_unit(2)], before=warm.Before(), now=NOW)
    assert gone(plan) == ["warm-1", "warm-2"]


def test_it_looks_again_when_the_oldest_is_too_old() -> None:
    found = planned(a_unit(1, age=100), a_unit(2), a_unit(3), maxAgeSeconds=120)
    assert found.look_at == NOW + timedelta(seconds=20)


def test_nothing_is_started_in_the_moment_after_one_was_taken() -> None:
    found = planned(a_unit(1), before=warm.Before(taken_at=NOW))
    assert (found.start, found.look_at) == (0, NOW + warm.QUIET)
    then = warm.Before(taken_at=NOW - warm.QUIET)
    assert planned(a_unit(1), before=then).start == 2


def test_after_failures_the_pauses_grow_and_have_an_end() -> None:
    pauses = []
    for failures in (1, 2, 3, 20):
        until = planned(before=warm.Before(failed_at=NOW, failures=failures)).look_at
        assert until is not None
        pauses.append((until - NOW).total_seconds())
    assert pauses == [10, 20, 40, 300]


# --- a pod of a task, that waited ---


def claimed(**values: Any) -> v1alpha1.LongTask:
    """A task that has claimed the pod of `a_pod`, which waited for an hour."""
    attempt = an_attempt(
        start="Warm", pod_uid="pod-1", pod_name="report-pod", job_uid="job-1", claimed_at=NOW
    )
    return with_status(a_task(), attempts=[attempt.model_copy(update=values)], attempt=1)


def waited(**values: Any) -> pods.Pod:
    long_ago = NOW - timedelta(hours=1)
    return a_pod(**({"created_at": long_ago, "started_at": long_ago, "warm": "t"} | values))


def test_until_it_is_heard_of_its_program_has_not_started() -> None:
    seen = warm.as_own(waited(), claimed())
    assert (seen.started_at, seen.created_at) == (None, NOW)


def test_it_started_when_it_was_first_heard_of() -> None:
    heard = NOW + timedelta(seconds=2)
    task = with_status(claimed(), progress=v1alpha1.Progress(updated_at=heard))
    seen = warm.as_own(waited(), task)
    assert (seen.started_at, seen.running_seen_at) == (heard, heard)


def test_one_that_ended_had_it_from_the_claim_on() -> None:
    ended = an_ended_pod(warm="t")
    assert warm.as_own(ended, claimed()).started_at == NOW


def test_one_that_ended_without_a_task_has_not_ended_one() -> None:
    ended = an_ended_pod(75, "NoTask: it was told to end", warm="t")
    seen = warm.as_own(ended, claimed())
    assert (seen.end, seen.started_at) == (None, None)
    other = an_ended_pod(75, "TryAgain: later", warm="t")
    assert warm.as_own(other, claimed()).end == other.end


def test_one_that_was_killed_before_it_had_a_task_has_not_ended_one() -> None:
    killed = an_ended_pod(137, "NoTask: it waited for one", warm="t")
    seen = warm.as_own(killed, claimed())
    assert (seen.end, seen.started_at) == (None, None)
    said = warm.as_own(an_ended_pod(0, "NoTask: it is a result", warm="t"), claimed())
    assert said.end is not None
    # What was handed to a pod that was gone by then is noted as if it had it.
    noted = with_status(claimed(started_at=NOW), progress=v1alpha1.Progress(updated_at=NOW))
    seen = warm.as_own(killed, noted)
    assert (seen.end, seen.started_at) == (None, None)


def test_a_cold_pod_is_what_it_is() -> None:
    task = with_status(a_task(), attempts=[an_attempt(pod_uid="pod-1")])
    assert warm.as_own(waited(), task) == waited()


def test_its_deadline_is_set_when_it_is_known_since_when_it_runs() -> None:
    pod = waited(counts_from=NOW - timedelta(hours=1), deadline=3600 + 660)
    assert warm.deadline((claimed().status.attempts or [])[-1], pod, 60) is None
    (attempt,) = claimed(started_at=NOW + timedelta(seconds=10)).status.attempts or []
    assert warm.deadline(attempt, pod, 60) == 3600 + 10 + 60
    shorter = dataclasses.replace(pod, deadline=3670)
    assert warm.deadline(attempt, shorter, 60) is None


def test_what_takes_a_pod_tests_that_nobody_has_it() -> None:
    pod = waited(counts_from=NOW - timedelta(hours=1))
    patch = warm.taking(pod, {"longtask.dev/task": "report"}, LIMITS, now=NOW)
    assert [op["value"] for op in patch if op["op"] == "test"] == [
        "pod-1",
        "",
        "t",
        "Running",
    ]
    assert {op["path"]: op["value"] for op in patch if op["op"] == "add"} == {
        "/metadata/labels/longtask.dev~1task": "report",
        "/spec/activeDeadlineSeconds": 3600 + 600 + 60,
    }


# --- what is decided ---


OWN = v1alpha1.LongTaskSpec(type="t", resources=v1alpha1.Resources(limits={"cpu": "1"}))
PLAIN = v1alpha1.LongTaskSpec(type="t")
LOST = v1alpha1.Reason.DISRUPTED
#: All ways in which the attempt before may have begun and ended; None of the first.
BEFORE = [None, *itertools.product([None, *v1alpha1.Start], [LOST, v1alpha1.Reason.PROGRAM_FAILED])]


@pytest.mark.parametrize("is_input_known", [True, False])
@pytest.mark.parametrize("takes_files", [True, False])
@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("spec", [PLAIN, OWN], ids=["of-the-type", "of-its-own"])
def test_who_can_take_a_pod_that_waits(
    spec: v1alpha1.LongTaskSpec,
    before: tuple[v1alpha1.Start | None, v1alpha1.Reason] | None,
    takes_files: bool,
    is_input_known: bool,
) -> None:
    """The first of what stands in the way is told; nothing does without one of them."""
    start = v1alpha1.Start
    last = None if before is None else an_attempt(start=before[0], reason=before[1])
    in_the_way = [
        (spec is OWN, start.OWN_RESOURCES),
        (before == (start.WARM, LOST), start.WARM_LOST),
        (takes_files, start.TAKES_FILES),
        (not is_input_known, start.INPUT_AWAY),
    ]
    expected = next((why for is_so, why in in_the_way if is_so), None)
    found = warm.hindrance(spec, last, takes_files=takes_files, is_input_known=is_input_known)
    assert found is expected


def test_of_several_things_to_do_adoption_comes_last() -> None:
    adopt = decisions.OfRun(a_world(), decisions.AdoptJob(a_job()))
    for other in (decisions.CreateJob(1), decisions.DeleteJob(a_job())):
        assert decide._turn(decisions.OfRun(a_world(), other)) < decide._turn(adopt)


ITS_TYPES = a_job(owner_uid="the-type")
SOON = NOW + decide.ADOPTED_AFTER


@pytest.mark.parametrize(
    ("of_attempt", "of_pod", "at"),
    [
        pytest.param({}, {}, SOON, id="its-program-works"),
        pytest.param({"reason": "RunTimeout"}, {}, NOW, id="it-is-to-be-ended"),
        pytest.param({}, {"is_over": True}, NOW, id="its-pod-is-over"),
        pytest.param({}, {"is_deleting": True}, NOW, id="its-pod-is-deleted"),
        pytest.param({}, {"is_disrupted": True}, NOW, id="its-node-is-drained"),
        pytest.param({"claimed_at": None}, {}, NOW, id="nobody-knows-since-when"),
    ],
)
def test_its_job_becomes_the_tasks_as_soon_as_it_matters(
    of_attempt: dict[str, Any], of_pod: dict[str, Any], at: datetime
) -> None:
    task = claimed(**of_attempt)
    pod = warm.as_own(waited(**of_pod), task)
    world = a_world(task, job=ITS_TYPES, pod=pod)
    assert decide.decide(world, now=at) == decisions.AdoptJob(ITS_TYPES)
    before = decide.decide(world, now=at - timedelta(milliseconds=1))
    assert isinstance(before, decisions.Wait) == (at is SOON)
    if isinstance(before, decisions.Wait):
        assert before.until is not None
        assert before.until <= at


def test_its_job_becomes_the_tasks_at_once_where_its_pod_is_gone() -> None:
    world = a_world(claimed(), job=ITS_TYPES, pod=None)
    assert decide.decide(world, now=NOW) == decisions.AdoptJob(ITS_TYPES)


def test_another_job_is_never_given_to_the_task() -> None:
    task = claimed()
    other = dataclasses.replace(ITS_TYPES, uid="another")
    world = a_world(task, job=other, pod=warm.as_own(waited(), task))
    assert not isinstance(decide.decide(world, now=SOON), decisions.AdoptJob)


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param(None, id="gone"),
        pytest.param(waited(is_over=True, is_deleting=True), id="deleted"),
        pytest.param(an_ended_pod(75, "NoTask: told to end", warm="t"), id="ended-without"),
    ],
)
@pytest.mark.parametrize("exists", [True, False])
def test_one_that_is_lost_before_costs_nothing(pod: pods.Pod | None, exists: bool) -> None:
    task = claimed()
    job = a_job(is_finished=True, has_failed=True, exists=exists)
    seen = warm.as_own(pod, task) if pod else None
    decided = decide.decide(a_world(task, job=job, pod=seen), now=NOW)
    assert isinstance(decided, decisions.TryAgain)
    assert decided.following.is_free
    assert decided.outcome.reason is v1alpha1.Reason.DISRUPTED


def test_one_that_is_cancelled_before_it_began_is_cancelled() -> None:
    task = claimed()
    task = task.model_copy(update={"spec": task.spec.model_copy(update={"cancel": True})})
    world = a_world(task, job=a_job(), pod=warm.as_own(waited(), task))
    decided = decide.decide(world, now=NOW)
    assert isinstance(decided, decisions.Finish)
    assert decided.outcome.phase is v1alpha1.Phase.CANCELLED
