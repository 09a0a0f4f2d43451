"""What counts of how a program says that it ends."""

from datetime import timedelta
from typing import Any

import pytest

from longtask_crds import last_words, names, v1alpha1
from longtask_crds.testing import NOW, a_task, an_attempt, with_status
from longtask_crds.v1alpha1 import Phase

REPORT = v1alpha1.Report(attempt=2, pod_name="p", pod_uid="u", exit_code=0, reported_at=NOW)
IMAGE = {"container": {"image": "busybox"}}


def reported(*attempts: v1alpha1.Attempt, **status: Any) -> v1alpha1.LongTask:
    given = {"attempts": list(attempts), "attempt": len(attempts), "report": REPORT}
    return with_status(a_task(**IMAGE), **(given | status))


@pytest.mark.parametrize(
    ("attempt", "counts"),
    [
        pytest.param(an_attempt(2), True, id="before-its-pod-is-on-record"),
        pytest.param(an_attempt(2, pod_uid="u"), True, id="of-the-recorded-pod"),
        pytest.param(an_attempt(2, pod_uid="v"), False, id="of-another-pod"),
        pytest.param(an_attempt(3), False, id="of-an-attempt-before"),
        pytest.param(an_attempt(2, finished_at=NOW), False, id="after-its-end"),
    ],
)
def test_which_report_counts(attempt: v1alpha1.Attempt, counts: bool) -> None:
    assert last_words.taken(reported(attempt)) == (REPORT if counts else None)
    assert last_words.taken(reported(attempt, report=None)) is None


def test_before_there_is_an_attempt_nothing_counts() -> None:
    assert last_words.taken(reported(attempts=None)) is None


def of_steps(**ending: Any) -> v1alpha1.LongTask:
    steps = [{"name": "a", **IMAGE}, {"name": "z", "finally": True, **IMAGE}]
    running = {"phase": "Running", "attempt": 1, "jobName": "j"}
    task = a_task(steps=steps, **ending)
    told = [v1alpha1.StepStatus.model_validate({"name": n} | running) for n in ("a", "z")]
    return with_status(task, steps=told)


ASKED_TO_END = "The program was asked to end before it said how it does."


@pytest.mark.parametrize(
    ("task", "run", "words"),
    [
        pytest.param(reported(an_attempt(2)), "", None, id="in-time"),
        pytest.param(
            reported(an_attempt(2, reason="RunTimeout")),
            "",
            "The attempt is being ended: RunTimeout.",
            id="too-late",
        ),
        pytest.param(
            with_status(a_task(cancel=True, **IMAGE), attempts=[an_attempt()]),
            "",
            ASKED_TO_END,
            id="cancelled",
        ),
        pytest.param(of_steps(), "a", None, id="a-step"),
        pytest.param(of_steps(cancel=True), "a", ASKED_TO_END, id="a-step-that-is-cancelled"),
        pytest.param(of_steps(cancel=True), "z", None, id="one-that-runs-whatever-is-ended"),
        pytest.param(
            with_status(of_steps(), outcome=v1alpha1.Outcome(phase=Phase.FAILED, reason="x")),
            "a",
            ASKED_TO_END,
            id="a-step-whose-pipeline-failed",
        ),
    ],
)
def test_who_asked_first_is_first(task: v1alpha1.LongTask, run: str, words: str | None) -> None:
    assert last_words.refusal(task, run) == words


ENDED: dict[str, Any] = {"pod_uid": "u", "finished_at": NOW, "exit_code": 0, "reported_at": NOW}


@pytest.mark.parametrize(
    ("attempt", "result", "is_same"),
    [
        pytest.param(ENDED, {"value": 7}, True, id="the-same"),
        pytest.param(ENDED, {"value": 8}, False, id="another-result"),
        pytest.param(ENDED, {"ref": {"size": 1, "sha256": "0" * 64}}, True, id="kept-elsewhere"),
        pytest.param(ENDED | {"exit_code": 1}, {"value": 7}, False, id="another-exit-code"),
        pytest.param(ENDED | {"pod_uid": "v"}, {"value": 7}, False, id="another-pod"),
        pytest.param(ENDED | {"reported_at": None}, {"value": 7}, False, id="its-containers-end"),
    ],
)
def test_what_is_the_same_as_what_was_taken(
    attempt: dict[str, Any], result: dict[str, Any], is_same: bool
) -> None:
    task = reported(
        an_attempt(1),
        an_attempt(2, **attempt),
        report=None,
        result=v1alpha1.Result.model_validate(result),
    )
    taken = REPORT.model_copy(update={"result": v1alpha1.Result(value=7)})
    again = taken.model_copy(update={"reported_at": NOW + timedelta(seconds=9)})
    assert last_words.ended_by(task, again) == (taken if is_same else None)


def test_a_contradiction_is_told_at_its_attempt() -> None:
    found = [
        v1alpha1.Contradiction(attempt=1, exit_code=137, reason="OOMKilled"),
        v1alpha1.Contradiction(step="a", attempt=1, exit_code=3),
        v1alpha1.Contradiction(step="b.4", attempt=2, exit_code=1, reason="Error"),
    ]
    steps = [
        v1alpha1.StepStatus.model_validate({"name": "a", "attempt": 1, "message": "boom"}),
        v1alpha1.StepStatus.model_validate(
            {"name": "b", "children": [{"index": 4, "attempt": 2}, {"index": 5, "attempt": 2}]}
        ),
    ]
    attempts = [an_attempt(1), an_attempt(2)]
    status = v1alpha1.LongTaskStatus(attempts=attempts, steps=steps, contradictions=found)
    told = last_words.with_contradictions(status)
    said = "so it reported; its container then ended with exit code"
    assert [a.message for a in told.attempts or ()] == [f"{said} 137 (OOMKilled)", None]
    first, second = told.steps or ()
    assert (first.message, second.message) == (f"boom; {said} 3", None)
    assert [c.message for c in second.children or ()] == [f"{said} 1 (Error)", None]
    plain = status.model_copy(update={"contradictions": None})
    assert last_words.with_contradictions(plain) is plain


def test_words_stay_within_their_limit() -> None:
    found = [v1alpha1.Contradiction(attempt=1, exit_code=1)]
    attempt = an_attempt(1, message="x" * names.MESSAGE_MAX)
    status = v1alpha1.LongTaskStatus(attempts=[attempt], contradictions=found)
    (told,) = last_words.with_contradictions(status).attempts or ()
    assert told.message is not None
    assert len(told.message) == names.MESSAGE_MAX
    assert told.message.endswith("exit code 1")
