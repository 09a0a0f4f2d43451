"""What the fault runs judge by: each invariant can fail."""

import dataclasses
from typing import Any

import pytest

from fault_checker import Evidence, Expected, verdict
from fault_proxy import Call, Entry
from longtask_crds import v1alpha1
from longtask_crds.testing import FINISHED, NOW, a_task, an_attempt, with_status
from longtask_crds.v1alpha1 import Phase

DONE = an_attempt(finished_at=NOW, exit_code=0, reason="Completed", pod_uid="p")


def version(number: int, phase: Phase, **status: Any) -> v1alpha1.LongTask:
    task = with_status(a_task(), **({"phase": phase, "attempt": 1} | status))
    metadata = task.metadata.model_copy(update={"resource_version": str(number)})
    return task.model_copy(update={"metadata": metadata})


RUNNING = version(2, Phase.RUNNING, attempts=[an_attempt()])
ENDED = version(3, Phase.SUCCEEDED, attempts=[DONE], conditions=[FINISHED])
NAME, UID = ENDED.metadata.name, ENDED.metadata.uid or ""
HISTORY = (("ADDED", version(1, Phase.PENDING, attempt=None)), ("MODIFIED", RUNNING))
WRITE = Entry(10.5, 11.0, Call("patch", "longtasks/status", NAME, "W4"), 200)

WELL = Evidence(
    acknowledged=[NAME],
    deleted=frozenset(),
    final={NAME: ENDED},
    expected={NAME: Expected()},
    history=[*HISTORY, ("MODIFIED", ENDED)],
    starts={(UID, 1): frozenset({"p"})},
    webhook_ids={},
    jobs_made={"j": 1},
    left=[],
    calls=[WRITE],
    marks=[10.0],
    faults=1,
    max_running=1,
)


def test_what_is_well_is_well() -> None:
    judged = verdict(WELL)
    assert judged.findings == ()
    assert (judged.tasks, judged.as_expected, judged.recovery) == (1, 1, (1.0,))


def ended(**changed: Any) -> list[tuple[str, v1alpha1.LongTask]]:
    changed = {"attempts": [DONE], "conditions": [FINISHED]} | changed
    return [*WELL.history, ("MODIFIED", version(4, Phase.SUCCEEDED, **changed))]


OTHER = an_attempt(finished_at=NOW, exit_code=1, reason="ProgramFailed", pod_uid="q")
OTHERS = a_task(name="another")


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        pytest.param({"final": {}}, "I1", id="gone"),
        pytest.param({"final": {NAME: RUNNING}}, "I1", id="never-ended"),
        pytest.param({"deleted": frozenset({NAME})}, "I1", id="deleted-and-still-there"),
        pytest.param({"expected": {NAME: Expected(Phase.FAILED)}}, "end", id="another-end"),
        pytest.param({"expected": {NAME: Expected(attempts=range(2, 3))}}, "end", id="attempts"),
        pytest.param({"jobs_made": {"j": 2}}, "I2", id="a-job-made-twice"),
        pytest.param({"starts": {}}, "I2", id="a-program-that-nobody-heard"),
        pytest.param({"starts": {(UID, 1): frozenset("pq")}}, "I2", id="a-program-started-twice"),
        pytest.param({"history": ended(attempts=[OTHER])}, "I3", id="two-outcomes"),
        pytest.param(
            {"history": ended(result=v1alpha1.Result(value=1))}, "I4", id="a-result-that-changes"
        ),
        pytest.param(
            {"history": [*HISTORY, ("MODIFIED", version(3, Phase.PENDING))]}, "I5", id="backwards"
        ),
        pytest.param({"history": ended(attempt=0)}, "I5", id="an-attempt-that-falls"),
        pytest.param({"left": ["pod/p"]}, "I7", id="an-orphan"),
        pytest.param({"max_running": 0}, "I8", id="too-many-at-once"),
        pytest.param({"calls": [WRITE] * 20}, "I9", id="many-writes"),
        pytest.param(
            {"final": {NAME: version(3, Phase.SUCCEEDED, conditions=[FINISHED], attempt=5)}},
            "I10",
            id="many-attempts",
        ),
    ],
)
def test_what_is_broken_is_told(changed: dict[str, Any], rule: str) -> None:
    assert rule in {one.rule for one in verdict(dataclasses.replace(WELL, **changed)).findings}


@pytest.mark.parametrize("ids", [frozenset(), frozenset({"x", "y"})], ids=["none", "two"])
def test_an_end_is_called_back_with_one_id(ids: frozenset[str]) -> None:
    callback = v1alpha1.Callback(url="https://example.com/")
    spec = ENDED.spec.model_copy(update={"callback": callback})
    task = ENDED.model_copy(update={"spec": spec})
    seen = dataclasses.replace(WELL, final={NAME: task}, webhook_ids={NAME: ids})
    assert [one.rule for one in verdict(seen).findings] == ["I6", "I6"]
    hopeless = dataclasses.replace(seen, expected={NAME: Expected(delivered=False)})
    assert [one.rule for one in verdict(hopeless).findings] == ["I6"] * (len(ids) > 1)
