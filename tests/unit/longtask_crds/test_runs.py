"""The programs of a pipeline as tasks of their own, and back; how far they are, in all."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from longtask_crds import names, v1alpha1
from longtask_crds.pipeline import runs, standing
from longtask_crds.testing import FINISHED, NOW, a_condition, a_task, an_attempt, with_status
from longtask_crds.v1alpha1 import ConditionStatus, ConditionType, Phase, Reason, StepPhase

IMAGE = {"container": {"image": "busybox"}}
LATER = NOW + timedelta(minutes=1)


def a_pipeline(*steps: dict[str, Any], **spec: Any) -> v1alpha1.LongTask:
    return a_task(steps=[{**IMAGE, **step} for step in steps], **spec)


def standing_at(task: v1alpha1.LongTask, *states: dict[str, Any]) -> v1alpha1.LongTask:
    return with_status(task, steps=[v1alpha1.StepStatus.model_validate(s) for s in states])


#: All that the status of a program and an attempt say alike.
ATTEMPT: dict[str, Any] = {
    "job_name": "job",
    "job_uid": "job-uid",
    "pod_name": "pod",
    "pod_uid": "pod-uid",
    "node": "node",
    "claimed_at": NOW,
    "started_at": NOW + timedelta(seconds=1),
    "finished_at": NOW + timedelta(seconds=2),
    "reported_at": NOW + timedelta(seconds=2),
    "exit_code": 3,
    "reason": "ProgramFailed",
    "message": "boom",
}
#: All that the status of a program and that of a task say alike.
SAME: dict[str, Any] = {
    "attempt": 2,
    "disruptions": 1,
    "retry_at": LATER,
    "progress": v1alpha1.Progress(percent=5, checkpoint=[1]),
    "result": v1alpha1.Result(value=7),
    "report": v1alpha1.Report(
        attempt=2, pod_name="pod", pod_uid="pod-uid", exit_code=0, reported_at=NOW
    ),
    "waiting": "why",
}


# --- which there are ---


def test_the_program_of_a_plain_task_has_no_name() -> None:
    attempts = [an_attempt(1), an_attempt(2)]
    progress, result = v1alpha1.Progress(percent=3), v1alpha1.Result(value=1)
    task = with_status(a_task(), attempts=attempts, progress=progress, result=result)
    expected = runs.Run("", task.status, False)
    assert list(runs.of(task)) == [expected]
    assert runs.named(task, "") == expected
    assert (expected.attempts, expected.last) == (tuple(attempts), attempts[1])
    assert (expected.progress, expected.result) == (progress, result)
    assert expected.job_name == attempts[1].job_name
    over = with_status(task, conditions=[FINISHED])
    assert runs.named(over, "") == runs.Run("", over.status, True)


def test_a_name_of_nothing_is_none() -> None:
    task = standing_at(
        a_pipeline({"name": "a"}, {"name": "b"}),
        {"name": "a", "items": 2, "attempt": 1, "jobName": "j", "children": [{"index": 1}]},
        {"name": "b", "phase": "Running", "attempt": 1, "jobName": "j"},
    )
    for name in ("", "a", "a.0", "a.1", "b.0", "c"):
        assert runs.named(task, name) is None, name
    found = runs.named(task, "b")
    assert found is not None
    assert not found.is_over


def test_all_that_are_listed_have_names() -> None:
    task = standing_at(
        a_pipeline({"name": "a"}, {"name": "b"}),
        {"name": "a"},
        {"name": "b", "items": 3, "children": [{"index": 0}, {"index": 2, "message": "x"}]},
    )
    listed = dict(runs.statuses(task.status))
    assert list(listed) == ["a", "b.0", "b.2"]
    for name, status in listed.items():
        assert runs.status_of(task.status, name) is status
    for name in ("a.0", "b.1", "c", "c.0"):
        assert runs.status_of(task.status, name) == v1alpha1.RunStatus(), name


@pytest.mark.parametrize(("step", "index", "name"), [("a", None, "a"), ("a-b", 12, "a-b.12")])
def test_a_name_says_step_and_item(step: str, index: int | None, name: str) -> None:
    assert runs.name_of(step, index) == name
    assert runs.split(name) == (step, index)


def test_a_step_is_found_by_its_name() -> None:
    spec = a_pipeline({"name": "a"}, {"name": "b"}).spec
    assert runs.step_named(spec, "b") is (spec.steps or [])[1]
    with pytest.raises(KeyError, match="c"):
        runs.step_named(spec, "c")


@pytest.mark.parametrize("missing", ["attempt", "job_name"])
def test_what_has_no_job_has_not_begun(missing: str) -> None:
    run = v1alpha1.RunStatus(**SAME, **ATTEMPT)
    assert runs.attempt_of(run) == v1alpha1.Attempt(number=2, **ATTEMPT)
    assert runs.attempt_of(run.model_copy(update={missing: None})) is None


# --- as a task ---


def test_what_a_step_does_not_say_its_pipeline_says() -> None:
    common = {
        "queue": "slow",
        "priority": 7,
        "resources": {"requests": {"cpu": "1"}},
        "retry": {"maxAttempts": 2},
        "timeouts": {"runSeconds": 5, "queueSeconds": 6, "totalSeconds": 7},
    }
    own = {
        "resources": {"requests": {"cpu": "2"}},
        "retry": {"maxAttempts": 3},
        "timeouts": {"runSeconds": 8, "queueSeconds": 9, "totalSeconds": 10},
    }
    spec = a_pipeline(
        {"name": "a", "input": [1]},
        {"name": "b", **own},
        {"name": "c", "type": "t", "container": None},
        **common,
    ).spec
    a, b, c = spec.steps or []
    whose = {"queue": "slow", "priority": 7}
    assert runs.spec_of(spec, a) == v1alpha1.LongTaskSpec.model_validate(
        {**common, **IMAGE, "input": [1], "timeouts": {"runSeconds": 5}}
    )
    assert runs.spec_of(spec, b) == v1alpha1.LongTaskSpec.model_validate(
        {**whose, **IMAGE, **own, "timeouts": {"runSeconds": 8, "totalSeconds": 10}}
    )
    assert runs.spec_of(spec, c).type == "t"
    assert runs.spec_of(spec, c).container is None
    assert runs.spec_of(a_pipeline({"name": "a"}).spec, a).timeouts is None


FAILING = v1alpha1.Outcome(phase=Phase.FAILED, reason="ProgramFailed")


@pytest.mark.parametrize(
    ("step", "outcome", "expected"),
    [
        pytest.param({}, None, False, id="while-all-goes-well"),
        pytest.param({}, FAILING, True, id="when-its-pipeline-fails"),
        pytest.param(
            {}, FAILING.model_copy(update={"phase": Phase.SUCCEEDED}), False, id="not-at-the-end"
        ),
        pytest.param({"finally": True}, FAILING, False, id="never-what-comes-after-all"),
    ],
)
def test_what_still_runs_is_ended(step: Any, outcome: Any, expected: bool) -> None:
    task = with_status(a_pipeline({"name": "a", **step}), outcome=outcome)
    assert runs.is_cut(task, (task.spec.steps or [])[0]) is expected
    assert runs.as_task(task, "a").spec.cancel is (True if expected else None)
    assert runs.as_task(task, "a", cut=True).spec.cancel is True


def test_it_is_as_old_as_its_first_attempt() -> None:
    task = a_pipeline({"name": "a"})
    assert runs.as_task(task, "a").metadata.creation_timestamp == NOW
    begun = standing_at(task, {"name": "a", "begunAt": LATER})
    assert runs.as_task(begun, "a").metadata.creation_timestamp == LATER


@pytest.mark.parametrize(
    ("phase", "expected", "finished", "succeeded"),
    [
        (None, Phase.PENDING, ConditionStatus.FALSE, ConditionStatus.UNKNOWN),
        ("Pending", Phase.PENDING, ConditionStatus.FALSE, ConditionStatus.UNKNOWN),
        ("Starting", Phase.STARTING, ConditionStatus.FALSE, ConditionStatus.UNKNOWN),
        ("Running", Phase.RUNNING, ConditionStatus.FALSE, ConditionStatus.UNKNOWN),
        ("Succeeded", Phase.SUCCEEDED, ConditionStatus.TRUE, ConditionStatus.TRUE),
        ("Failed", Phase.FAILED, ConditionStatus.TRUE, ConditionStatus.FALSE),
        ("Cancelled", Phase.CANCELLED, ConditionStatus.TRUE, ConditionStatus.FALSE),
        ("Skipped", Phase.PENDING, ConditionStatus.TRUE, ConditionStatus.FALSE),
    ],
)
def test_where_it_stands_is_said_as_a_task_says_it(
    phase: Any, expected: Phase, finished: ConditionStatus, succeeded: ConditionStatus
) -> None:
    run = {"name": "a", "phase": phase, **ATTEMPT, **SAME}
    task = standing_at(a_pipeline({"name": "a"}), {"name": "a"})
    steps = [v1alpha1.StepStatus.model_validate(run)]
    task = with_status(task, steps=steps, queue="slow", queued_at=LATER)
    seen = runs.as_task(task, "a").status
    is_over = finished is ConditionStatus.TRUE
    why = Reason.PROGRAM_FAILED
    assert seen == v1alpha1.LongTaskStatus(
        observed_generation=1,
        phase=expected,
        queue="slow",
        queued_at=LATER,
        started_at=ATTEMPT["started_at"],
        finished_at=ATTEMPT["finished_at"] if is_over else None,
        attempts=[v1alpha1.Attempt(number=2, **ATTEMPT)],
        conditions=[
            a_condition(ConditionType.FINISHED, finished, why),
            a_condition(ConditionType.SUCCEEDED, succeeded, why, "boom"),
            a_condition(ConditionType.STALLED, ConditionStatus.FALSE, Reason.AS_EXPECTED),
        ],
        **SAME,
    )


def test_what_has_not_begun_waits_since_its_pipeline_was_made() -> None:
    seen = runs.as_task(standing_at(a_pipeline({"name": "a"}), {"name": "a"}), "a").status
    assert seen.attempts is None
    assert [(c.reason, c.message, c.last_transition_time) for c in seen.conditions] == [
        (Reason.PENDING, "", NOW),
        (Reason.PENDING, "", NOW),
        (Reason.AS_EXPECTED, "", NOW),
    ]


def test_a_reason_of_a_later_version_is_none() -> None:
    run = {"name": "a", "stalled": "NodeLost", "reason": "NotYetInvented"}
    seen = runs.as_task(standing_at(a_pipeline({"name": "a"}), run), "a").status
    assert {c.type: (c.status, c.reason) for c in seen.conditions} == {
        ConditionType.FINISHED: (ConditionStatus.FALSE, Reason.PENDING),
        ConditionType.SUCCEEDED: (ConditionStatus.UNKNOWN, Reason.PENDING),
        ConditionType.STALLED: (ConditionStatus.TRUE, Reason.NODE_LOST),
    }


# --- put back ---


def put_back(before: v1alpha1.RunStatus | None = None, **after: Any) -> v1alpha1.RunStatus:
    """Return the status that a program gets from its new one as a task."""
    values = {"phase": Phase.RUNNING} | after
    made = runs.put_back(before or v1alpha1.RunStatus(), v1alpha1.LongTaskStatus(**values))
    return v1alpha1.RunStatus(**made)


def test_what_both_say_is_kept_as_it_is() -> None:
    attempts = [an_attempt(1), v1alpha1.Attempt(number=2, **ATTEMPT)]
    assert put_back(attempts=attempts, **SAME) == v1alpha1.RunStatus(
        phase=StepPhase.RUNNING, begun_at=NOW, **ATTEMPT, **SAME
    )


def test_it_began_with_its_first_attempt() -> None:
    later = an_attempt(2).model_copy(update={"claimed_at": LATER})
    assert put_back().begun_at is None
    assert put_back(attempts=[later]).begun_at == LATER
    assert put_back(v1alpha1.RunStatus(begun_at=NOW), attempts=[later]).begun_at == NOW


@pytest.mark.parametrize(
    ("phase", "is_over"),
    [
        (Phase.RUNNING, False),
        (Phase.SUCCEEDED, True),
        (Phase.FAILED, True),
        (Phase.CANCELLED, True),
    ],
)
def test_only_once_it_is_over_its_end_is_why_it_stands_so(phase: Phase, is_over: bool) -> None:
    verdict = a_condition(
        ConditionType.SUCCEEDED, ConditionStatus.FALSE, Reason.JOB_LOST, "its Job is gone"
    )
    attempt = an_attempt(finished_at=None, reason="Evicted", message="evicted")
    found = put_back(phase=phase, attempts=[attempt], conditions=[verdict], finished_at=LATER)
    assert (found.phase, found.reason, found.message, found.finished_at) == (
        (StepPhase(str(phase)), "JobLost", "its Job is gone", LATER)
        if is_over
        else (StepPhase.RUNNING, "Evicted", "evicted", None)
    )
    ended = attempt.model_copy(update={"finished_at": NOW})
    found = put_back(phase=phase, attempts=[ended], conditions=[verdict], finished_at=LATER)
    assert found.finished_at == NOW, "the attempt's own end comes first"
    silent = verdict.model_copy(update={"message": ""})
    found = put_back(phase=phase, attempts=[attempt], conditions=[silent])
    assert found.message == (None if is_over else "evicted")


def test_what_never_began_can_be_over() -> None:
    verdict = a_condition(ConditionType.SUCCEEDED, ConditionStatus.FALSE, Reason.CANCELLED, "no")
    found = put_back(phase=Phase.CANCELLED, conditions=[verdict], finished_at=LATER)
    assert found == v1alpha1.RunStatus(
        phase=StepPhase.CANCELLED, reason="Cancelled", message="no", finished_at=LATER
    )


@pytest.mark.parametrize(
    ("status", "word"), [(ConditionStatus.TRUE, "NodeLost"), (ConditionStatus.FALSE, None)]
)
def test_why_it_cannot_go_on_is_one_word(status: ConditionStatus, word: str | None) -> None:
    stalled = a_condition(ConditionType.STALLED, status, Reason.NODE_LOST)
    assert put_back(conditions=[stalled]).stalled == word


@pytest.mark.parametrize(
    ("phase", "kept"), [(Phase.RUNNING, [1]), (Phase.FAILED, [1]), (Phase.SUCCEEDED, None)]
)
def test_nobody_goes_on_from_what_succeeded(phase: Phase, kept: Any) -> None:
    progress = put_back(phase=phase, progress=v1alpha1.Progress(percent=5, checkpoint=[1])).progress
    assert progress == v1alpha1.Progress(percent=5, checkpoint=kept)


@pytest.mark.parametrize(
    ("child", "phase", "is_kept"),
    [(True, Phase.FAILED, False), (True, Phase.RUNNING, True), (False, Phase.FAILED, True)],
)
def test_of_an_item_that_is_over_goes_what_nobody_asks_for(
    child: bool, phase: Phase, is_kept: bool
) -> None:
    before = v1alpha1.ChildStatus(index=0) if child else v1alpha1.RunStatus()
    found = put_back(before, phase=phase, attempts=[v1alpha1.Attempt(number=2, **ATTEMPT)])
    gone = (found.job_uid, found.node, found.claimed_at)
    assert gone == (("job-uid", "node", NOW) if is_kept else (None,) * 3)
    assert (found.pod_uid, found.job_name) == ("pod-uid", "job"), "which the logs are found by"


def test_a_long_message_is_cut() -> None:
    long = an_attempt(message="m" * names.MESSAGE_MAX)
    assert put_back(attempts=[long]).message == "m" * names.BRIEF_MAX


# --- how far it is ---


def parts(*states: dict[str, Any]) -> list[v1alpha1.StepStatus]:
    return [
        v1alpha1.StepStatus.model_validate({"name": f"s{number}", **state})
        for number, state in enumerate(states, start=1)
    ]


SAID = {"progress": {"percent": 40}}


@pytest.mark.parametrize(
    ("state", "percent"),
    [
        pytest.param({}, 0, id="not-begun"),
        pytest.param({"phase": "Running"}, 0, id="silent"),
        pytest.param({"phase": "Running", "progress": {"message": "x"}}, 0, id="without-a-number"),
        pytest.param({"phase": "Running", **SAID}, 40, id="as-it-says"),
        pytest.param({"phase": "Skipped", **SAID}, 100, id="over"),
        pytest.param({"phase": "Running", "items": 0}, 0, id="no-items"),
        pytest.param({"phase": "Succeeded", "items": 0}, 100, id="no-items-and-over"),
        pytest.param({"phase": "Running", "items": 4}, 0, id="no-item-begun"),
        pytest.param(
            {
                "phase": "Running",
                "items": 4,
                "children": [{"index": 0, "phase": "Failed"}, {"index": 1, **SAID}, {"index": 2}],
            },
            35,
            id="of-items-their-mean",
        ),
    ],
)
def test_how_much_of_a_step_is_done(state: dict[str, Any], percent: float) -> None:
    assert standing.percent_of(*parts(state)) == percent


def test_a_hundred_is_not_said_before_all_is_over() -> None:
    steps = a_pipeline({"name": "s1"}, {"name": "s2", "weight": 2}).spec.steps or []
    assert standing.percent(steps, parts({"phase": "Failed"}, {"phase": "Succeeded"})) == 99
    assert standing.percent(steps, parts({"phase": "Failed"}, {"phase": "Running"})) == 33
    assert standing.percent([], []) == 0


@pytest.mark.parametrize(
    ("phases", "word"),
    [
        ((None, None), "0/2"),
        (("Pending", None), "0/2"),
        (("Running", None), "1/2 s1"),
        (("Succeeded", "Pending"), "1/2"),
        (("Succeeded", "Running"), "2/2 s2"),
        (("Running", "Skipped"), "2/2 s1"),
        (("Running", "Running"), "1/2 s1"),
        (("Succeeded", "Failed"), "2/2"),
    ],
)
def test_how_far_it_is_in_a_word(phases: tuple[str | None, ...], word: str) -> None:
    assert standing.word(parts(*({"phase": phase} for phase in phases))) == word


def said(message: str | None, at: datetime | None) -> dict[str, Any]:
    return {"progress": {"message": message, "updatedAt": at, "percent": 40}}


@pytest.mark.parametrize(
    ("states", "before", "expected"),
    [
        pytest.param([{}, {}], None, {"percent": 0}, id="nothing-was-said"),
        pytest.param(
            [said("one", NOW), said("two", LATER)],
            None,
            {"percent": 40, "updated_at": LATER, "message": "s2: two"},
            id="the-newest-is-told",
        ),
        pytest.param(
            [{"items": 2, "children": [{"index": 1, **said("one", LATER)}]}, said("two", NOW)],
            None,
            {"percent": 30, "updated_at": LATER, "message": "s1: one"},
            id="of-an-item-with-its-step",
        ),
        pytest.param(
            [said("one", None), {}],
            {"percent": 10, "message": "s1: x", "updated_at": NOW},
            {"percent": 20, "message": "s1: x", "updated_at": NOW},
            id="what-has-no-time-is-no-news",
        ),
        pytest.param(
            [said(None, NOW), {}],
            {"percent": 70, "message": "s1: x", "updated_at": LATER, "checkpoint": [1]},
            {"percent": 70, "message": None, "updated_at": LATER, "checkpoint": [1]},
            id="neither-percent-nor-time-falls",
        ),
    ],
)
def test_what_a_pipeline_says(states: list[Any], before: Any, expected: dict[str, Any]) -> None:
    spec = a_pipeline({"name": "s1"}, {"name": "s2"}).spec
    earlier = v1alpha1.Progress(**before) if before else None
    assert standing.told(spec, parts(*states), earlier) == v1alpha1.Progress(**expected)


@pytest.mark.parametrize(
    ("phase", "percent"), [(Phase.SUCCEEDED, 50), (Phase.FAILED, 10), (Phase.CANCELLED, 10)]
)
def test_what_is_left_undone_is_not_done_by_that(phase: Phase, percent: int) -> None:
    spec = a_pipeline({"name": "s1"}, {"name": "s2"}).spec
    states, before = parts({"phase": "Skipped"}, {}), v1alpha1.Progress(percent=10)
    ending = v1alpha1.Outcome(phase=phase, reason="x")
    assert standing.told(spec, states, before, ending).percent == percent


@pytest.mark.parametrize(
    ("steps", "phases", "last", "expected"),
    [
        pytest.param([{}, {}], ["Failed", "Failed"], False, "s1", id="the-first"),
        pytest.param([{}, {}], ["Succeeded", "Cancelled"], False, None, id="none-failed"),
        pytest.param(
            [{"continueOnFailure": True}, {}], ["Failed", "Failed"], False, "s2", id="which-matters"
        ),
        pytest.param([{"finally": True}, {}], ["Failed", "Running"], False, None, id="not-the-end"),
        pytest.param([{}, {"finally": True}], ["Failed", "Failed"], True, "s2", id="the-end-alone"),
    ],
)
def test_which_failure_fails_it(
    steps: list[Any], phases: list[str], last: bool, expected: str | None
) -> None:
    spec = a_pipeline(*({"name": f"s{n}", **step} for n, step in enumerate(steps, start=1))).spec
    states = parts(*({"phase": phase} for phase in phases))
    found = standing.failed_first(spec.steps or (), states, last=last)
    assert (found and found.name) == expected
    if not last:
        assert standing.failed_first(spec.steps or (), states) is found
