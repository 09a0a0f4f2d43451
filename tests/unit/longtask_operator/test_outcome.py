"""What the end of a pod means."""

import json

import pytest

from longtask_crds import json_values, v1alpha1
from longtask_crds.testing import NOW
from longtask_crds.v1alpha1 import Reason
from longtask_operator.rules import outcome, pods
from longtask_operator.testing import a_pod, an_ended_pod


def of(pod: pods.Pod, *, cancel: bool = False) -> outcome.Outcome:
    return outcome.of_pod(pod, cancel_requested=cancel, run_seconds=60)


def killed(reason: str | None, *, code: int = 137, word: str = "Error", **more: object) -> pods.Pod:
    return an_ended_pod(code, reason=reason, end=pods.End(code, word, "", NOW), **more)


@pytest.mark.parametrize(
    ("pod", "cancel", "reason", "message"),
    [
        pytest.param(an_ended_pod(0, "7"), False, Reason.COMPLETED, "", id="zero-is-success"),
        pytest.param(
            an_ended_pod(1, "  boom\n"), False, Reason.PROGRAM_FAILED, "boom", id="its-own-words"
        ),
        pytest.param(
            an_ended_pod(3), False, Reason.PROGRAM_FAILED, "exit code 3", id="no-words-of-its-own"
        ),
        pytest.param(
            an_ended_pod(75, "later"), False, Reason.TRY_AGAIN, "later", id="75-asks-for-more"
        ),
        pytest.param(
            an_ended_pod(64), False, Reason.PERMANENT_FAILURE, "exit code 64", id="64-is-permanent"
        ),
        pytest.param(
            an_ended_pod(65, "InvalidInput: n: too large"),
            False,
            Reason.INVALID_INPUT,
            "InvalidInput: n: too large",
            id="the-runner-names-its-reason",
        ),
        pytest.param(
            an_ended_pod(1, "InvalidInput: not with this code"),
            False,
            Reason.PROGRAM_FAILED,
            "InvalidInput: not with this code",
            id="a-reason-with-another-exit-code-is-only-text",
        ),
        pytest.param(
            a_pod(is_over=True, not_fetched="steps.a: not kept"),
            False,
            Reason.FILES_NOT_FETCHED,
            "steps.a: not kept",
            id="what-it-takes-from-others-did-not-come",
        ),
        pytest.param(
            an_ended_pod(143, "Cancelled: SIGTERM"),
            False,
            Reason.PROGRAM_FAILED,
            "Cancelled: SIGTERM",
            id="a-program-cannot-call-itself-cancelled",
        ),
        pytest.param(
            an_ended_pod(1, "OOMKilled: I say"),
            False,
            Reason.PROGRAM_FAILED,
            "OOMKilled: I say",
            id="a-program-cannot-name-our-reasons",
        ),
        pytest.param(
            killed(None, word="OOMKilled"),
            False,
            Reason.OOM_KILLED,
            "the container used more memory than its limit",
            id="too-much-memory",
        ),
        pytest.param(
            killed("DeadlineExceeded"), False, Reason.RUN_TIMEOUT, "ran longer than 60 s", id="long"
        ),
        pytest.param(
            killed("DeadlineExceeded", code=143),
            True,
            Reason.CANCELLED,
            "cancelled while it ran",
            id="stopped-on-request",
        ),
        pytest.param(
            killed("DeadlineExceeded", started_at=None, cannot_start="ErrImagePull: no"),
            False,
            Reason.START_TIMEOUT,
            "ErrImagePull: no",
            id="the-time-was-up-before-the-start",
        ),
        pytest.param(
            killed("DeadlineExceeded", started_at=None),
            True,
            Reason.CANCELLED,
            "cancelled before the program started",
            id="stopped-before-the-start",
        ),
        pytest.param(
            killed(None, is_disrupted=True),
            False,
            Reason.DISRUPTED,
            "the pod was preempted, drained or lost with its node",
            id="disrupted",
        ),
        pytest.param(
            killed(None, is_disrupted=True),
            True,
            Reason.CANCELLED,
            "cancelled while it ran",
            id="disrupted-and-cancelled",
        ),
        pytest.param(
            killed("Evicted"),
            False,
            Reason.EVICTED,
            "the pod used more than its share of the node",
            id="evicted-without-a-disruption",
        ),
        pytest.param(
            killed(None, is_deleting=True),
            False,
            Reason.DISRUPTED,
            "the pod was deleted while it ran",
            id="deleted-by-hand",
        ),
        pytest.param(
            killed(None, is_deleting=True),
            True,
            Reason.CANCELLED,
            "cancelled while it ran",
            id="deleted-by-hand-and-cancelled",
        ),
        pytest.param(
            an_ended_pod(end=None),
            False,
            Reason.JOB_LOST,
            "the pod ended without a word of its container",
            id="no-word",
        ),
        pytest.param(
            an_ended_pod(137, started_at=None),
            False,
            Reason.JOB_LOST,
            "the pod ended without a word of its container",
            id="an-end-without-a-start-was-no-run",
        ),
    ],
)
def test_of_pod(pod: pods.Pod, cancel: bool, reason: Reason, message: str) -> None:
    found = of(pod, cancel=cancel)
    assert (found.reason, found.message) == (reason, message)
    assert (found.phase is v1alpha1.Phase.SUCCEEDED) == (reason is Reason.COMPLETED)
    assert (found.phase is v1alpha1.Phase.CANCELLED) == (reason is Reason.CANCELLED)


@pytest.mark.parametrize(
    ("pod", "code"),
    [
        pytest.param(an_ended_pod(3), 3, id="of-a-program-that-ended"),
        pytest.param(killed("DeadlineExceeded"), 137, id="of-one-that-was-stopped"),
        pytest.param(killed(None, started_at=None), None, id="of-none-that-never-ran"),
        pytest.param(a_pod(is_over=True), None, id="of-none-that-said-nothing"),
    ],
)
def test_the_exit_code_is_told(pod: pods.Pod, code: int | None) -> None:
    assert of(pod).exit_code == code


@pytest.mark.parametrize("code", [0, 1])
def test_the_end_is_the_containers_end(code: int) -> None:
    pod = an_ended_pod(code)
    assert pod.end is not None
    assert pod.end.finished_at is not None
    assert of(pod).finished_at == pod.end.finished_at


def test_what_is_unusable_about_a_result_is_told() -> None:
    told = {text: of(an_ended_pod(0, text)).message for text in ("1e999", "[" * 2047 + "]" * 2047)}
    assert all(one.startswith("the result is not usable JSON: ") for one in told.values())
    infinite, deep = (one.partition(": ")[2] for one in told.values())
    assert infinite == json_values.NOT_FINITE
    assert deep == json_values.TOO_DEEP


def test_what_ended_without_its_program_says_how() -> None:
    lost = outcome.of_pod(
        a_pod(is_over=True, is_deleting=True),
        cancel_requested=False,
        run_seconds=60,
        job_stands=False,
    )
    assert (lost.reason, lost.message) == (Reason.JOB_LOST, "the Job was deleted")
    late = of(a_pod(is_over=True, reason="DeadlineExceeded"))
    assert (late.reason, late.message) == (
        Reason.START_TIMEOUT,
        "the container did not start",
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("", None, id="nothing"),
        pytest.param(" \n", None, id="white-space"),
        pytest.param("null", None, id="null"),
        pytest.param('{"a": null, "b": [null]}', {"a": None, "b": [None]}, id="nulls-inside"),
        pytest.param("true", True, id="a-truth"),
        pytest.param(str(2**63 - 1), 2**63 - 1, id="the-largest-integer"),
        pytest.param(str(-(2**63)), -(2**63), id="the-smallest-integer"),
        pytest.param('"é"', "é", id="a-text"),
        pytest.param("[" * 100 + "]" * 100, ..., id="nested-a-hundred-times"),
        pytest.param(json.dumps("x" * 4093), "x" * 4093, id="of-4095-bytes"),
    ],
)
def test_a_result_is_kept(text: str, value: object) -> None:
    found = of(an_ended_pod(0, text))
    assert found.reason is Reason.COMPLETED
    assert found.result is not None
    assert value is ... or found.result.value == value
    # It can be written into a status, nulls and all.
    assert found.result.to_json().get("value") == found.result.value


@pytest.mark.parametrize("text", ["not json\n", "1 2", "NaN", "[1, -Infinity]", "[1", "'a'"])
def test_what_is_no_json_is_kept_as_text_and_says_so(text: str) -> None:
    found = of(an_ended_pod(0, text))
    assert found.reason is Reason.COMPLETED
    assert found.result is not None
    assert found.result.to_json() == {"value": text, "mediaType": "text/plain"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("1e999", Reason.INVALID_RESULT, id="a-float-that-is-infinite"),
        pytest.param(str(2**63), Reason.INVALID_RESULT, id="an-integer-too-large"),
        pytest.param(
            json.dumps({"a": [{"b": -(2**63) - 1}]}), Reason.INVALID_RESULT, id="deep-inside"
        ),
        pytest.param("9" * 4095, Reason.INVALID_RESULT, id="digits-that-python-refuses"),
        pytest.param("[" * 102 + "]" * 102, Reason.INVALID_RESULT, id="nested-too-deeply"),
        pytest.param("[" * 2047 + "]" * 2047, Reason.INVALID_RESULT, id="nested-absurdly-deeply"),
        pytest.param("7" * 4096, Reason.RESULT_TOO_LARGE, id="of-4096-bytes-it-may-be-cut"),
        pytest.param(
            '"' + "é" * 2047 + '"', Reason.RESULT_TOO_LARGE, id="bytes-count-not-characters"
        ),
    ],
)
def test_an_unusable_result_fails_the_task(text: str, reason: Reason) -> None:
    found = of(an_ended_pod(0, text))
    assert (found.phase, found.reason) == (v1alpha1.Phase.FAILED, reason)
    assert found.exit_code == 0
    assert len(found.message) <= 1024


def test_a_failure_of_ours_fits_a_status() -> None:
    assert len(outcome.failed(Reason.JOB_LOST, "x" * 5000).message) == 1024


@pytest.mark.parametrize(
    ("said", "told"),
    [
        pytest.param("a short one\n", "a short one", id="a-short-one-whole"),
        pytest.param(
            "INFO 23 done\n" * 100 + "Traceback\nValueError: no such file\n",
            "INFO 23 done\n" * 76 + "Traceback\nValueError: no such file",
            id="of-a-long-one-the-end-from-a-lines-start",
        ),
        pytest.param("x" * 1500, "x" * 1024, id="of-one-endless-line-its-end"),
        pytest.param("a\n" + "x" * 1022, "a\n" + "x" * 1022, id="as-long-as-may-be-whole"),
    ],
)
def test_a_failures_message_keeps_its_cause(said: str, told: str) -> None:
    assert of(an_ended_pod(1, said)).message == told
