"""Whatever programs, kubelets and Events say: a task ends, and no pass goes in circles."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtask_crds import events, names, v1alpha1
from longtask_crds.testing import NOW, a_task, an_attempt, with_status
from longtask_crds.v1alpha1 import Reason
from longtask_operator import cluster
from longtask_operator.rules import decide, decisions, outcome, pods, status
from longtask_operator.testing import a_job, a_pod, a_world, an_ended_pod

#: Halves of surrogate pairs too: `"\\ud800"` is what a program may write, and Python reads it.
TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
CLAIMED = with_status(
    a_task(type="sleep", callback={"url": "https://a.example"}),
    phase=v1alpha1.Phase.STARTING,
    attempt=1,
    attempts=[an_attempt()],
)


def stored(task: v1alpha1.LongTask, decided: decisions.Write) -> v1alpha1.LongTask:
    """Return the task as it comes back from the API server, which takes Unicode only."""
    after = status.next_status(task, decided, queue="default", now=NOW)
    patch = json.dumps(cluster.status_patch(task, after), ensure_ascii=False, allow_nan=False)
    told = {change["path"]: change.get("value") for change in json.loads(patch.encode())}
    raw = task.status.to_json() | {
        path.removeprefix("/status/"): value
        for path, value in told.items()
        if path.startswith("/status/") and value is not None
    }
    gone = {c["path"] for c in json.loads(patch) if c["op"] == "remove"}
    kept = {key: value for key, value in raw.items() if f"/status/{key}" not in gone}
    return task.model_copy(update={"status": v1alpha1.LongTaskStatus.model_validate(kept)})


def finish(exit_code: int, message: str) -> v1alpha1.LongTask:
    pod = an_ended_pod(exit_code, message)
    decided = decide.decide(a_world(CLAIMED, pod=pod), now=NOW)
    assert isinstance(decided, decisions.Finish)
    return stored(CLAIMED, decided)


@given(value=JSON)
def test_a_result_is_stored_as_it_is_or_fails_the_task(value: Any) -> None:
    task = finish(0, json.dumps(value))
    assert task.is_finished
    if task.status.phase is v1alpha1.Phase.SUCCEEDED:
        assert task.status.result is not None
        is_text = task.status.result.media_type is v1alpha1.MediaType.TEXT
        # What Python writes of a number that is not finite is no JSON.
        kept = json.dumps(value) if is_text else value
        assert task.status.result.value == kept
        body = json.loads(events.body(task, v1alpha1.TaskEvent.SUCCEEDED))
        assert body["data"]["result"] == kept
    else:
        assert task.status.attempts is not None
        assert task.status.attempts[-1].reason == Reason.INVALID_RESULT


@given(exit_code=st.integers(0, 255), message=st.text(max_size=60) | st.text(min_size=1500))
def test_any_last_words_are_an_end(exit_code: int, message: str) -> None:
    task = finish(exit_code, message)
    assert task.is_finished
    assert task.status.callback is not None
    events.body(task, task.status.callback.event)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(r'"\ud800"', id="as-a-value"),
        pytest.param(r'{"\ud800": 1}', id="as-a-key"),
        pytest.param(r'[{"a": ["\udfff"]}]', id="deep-inside"),
    ],
)
def test_half_of_a_surrogate_pair_is_no_result(text: str) -> None:
    found = outcome.of_pod(an_ended_pod(0, text), cancel_requested=False, run_seconds=60)
    assert (found.phase, found.reason) == (v1alpha1.Phase.FAILED, Reason.INVALID_RESULT)
    assert found.exit_code == 0


def test_a_whole_surrogate_pair_is_a_character() -> None:
    found = outcome.of_pod(
        an_ended_pod(0, r'{"\ud83d\ude00": "\ud83d\ude00"}'), cancel_requested=False, run_seconds=60
    )
    assert found.result == v1alpha1.Result(value={"😀": "😀"})


CAUSE = st.text(max_size=20) | st.text(min_size=1000, max_size=1100)


def repeats(world: decisions.World, decided: decisions.Decision) -> bool:
    """Tell whether the decision comes again once it is recorded: it would for ever."""
    if not isinstance(decided, decisions.Write):
        return False
    task = stored(world.task, decided)
    again = a_world(task, pod=world.pod, job=world.job, queue_exists=world.queue_exists)
    return decide.decide(again, now=NOW) == decided


@given(reason=CAUSE, message=CAUSE)
def test_whatever_keeps_a_pod_from_starting_is_told_once(reason: str, message: str) -> None:
    raw = {
        "metadata": {
            "name": "p",
            "namespace": "longtasks",
            "uid": "pod-1",
            "creationTimestamp": "2026-01-02T03:04:05Z",
        },
        "status": {
            "phase": "Pending",
            "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
            ],
        },
    }
    world = a_world(CLAIMED, pod=pods.Pod.parse(raw))
    assert not repeats(world, decide.decide(world, now=NOW))


@given(refusal=CAUSE)
def test_whatever_an_event_says_of_a_job_is_told_once(refusal: str) -> None:
    world = a_world(CLAIMED, job=a_job(refusal=refusal[: names.MESSAGE_MAX]))
    assert not repeats(world, decide.decide(world, now=NOW))


@given(refusal=CAUSE)
def test_whatever_the_api_server_says_of_a_job_is_told_once(refusal: str) -> None:
    # An answer without words is no refusal to speak of: `apply` puts words of its own before it.
    text = f"the Job was refused: {refusal}"[: names.MESSAGE_MAX]
    world = a_world(CLAIMED, job=a_job(exists=False, uid="", owner_uid="", refusal=text))
    assert not repeats(world, decide.decide(world, now=NOW))


@pytest.mark.parametrize(
    "world",
    [
        pytest.param(a_world(CLAIMED, pod=a_pod(cannot_start="")), id="of-a-pod"),
        pytest.param(a_world(CLAIMED, job=a_job(refusal="")), id="of-a-job"),
        pytest.param(a_world(a_task(), queue_exists=False), id="of-a-queue-is-told-once"),
    ],
)
def test_a_cause_without_words_sends_nobody_in_circles(world: decisions.World) -> None:
    assert not repeats(world, decide.decide(world, now=NOW))
