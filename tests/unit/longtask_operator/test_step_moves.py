"""What a step gets, and what follows from where the others stand, one case at a time."""

from datetime import timedelta
from typing import Any

import pytest

from longtask_crds import json_values, names, v1alpha1
from longtask_crds.pipeline import inputs, references
from longtask_crds.testing import FINISHED, NOW, TASK_UID, a_task, with_meta, with_status
from longtask_crds.v1alpha1 import Phase, Reason, StepPhase
from longtask_operator.rules import outcome, steps

IMAGE = {"container": {"image": "busybox"}}
SUM = "0" * 64
FAR = {"ref": {"size": 9, "sha256": SUM}}
ENDED = {"phase": "Succeeded", "reason": "Completed"}
LATER = NOW + timedelta(minutes=1)


def key(pointer: str = "", uid: str = TASK_UID) -> inputs.PartKey:
    return inputs.PartKey(uid, SUM, pointer)


def a_pipeline(*pairs: tuple[dict[str, Any], dict[str, Any]], **more: Any) -> v1alpha1.LongTask:
    """Return a pipeline of s1, s2, …: of each what it says, and where it stands."""
    named = [f"s{number}" for number in range(1, len(pairs) + 1)]
    status = {"outcome": more.pop("outcome", None)}
    made = [
        (IMAGE if "type" not in step else {}) | {"name": name} | step
        for name, (step, _) in zip(named, pairs, strict=True)
    ]
    states = [
        v1alpha1.StepStatus.model_validate({"name": name, "phase": "Pending"} | state)
        for name, (_, state) in zip(named, pairs, strict=True)
    ]
    return with_status(a_task(steps=made, **more), steps=states, attempt=1, **status)


def after(task: v1alpha1.LongTask, parts: Any = None, **more: Any) -> list[v1alpha1.StepStatus]:
    return steps.advanced(task, parts or {}, now=NOW, **more).steps or []


# --- what a step gets ---


def got(step: dict[str, Any], run: str = "s2", parts: Any = None, **first: Any) -> Any:
    state = ENDED | {"result": {"value": {"a": [1, 2]}}} | first
    task = a_pipeline(({}, state), (step, {}), input={"x": 5})
    return inputs.value_of(task, run, parts or {})


@pytest.mark.parametrize(
    ("step", "run", "value"),
    [
        pytest.param({}, "s2", None, id="nothing"),
        pytest.param({"input": {"n": {"$from": "steps.s1#/a/1"}}}, "s2", {"n": 2}, id="a-part"),
        pytest.param({"input": [{"$from": "input#/x"}]}, "s2", [5], id="of-the-pipelines-input"),
        pytest.param(
            {"input": {"$ref": "steps.s1"}}, "s2", "/longtask/files/s1", id="the-path-of-a-file"
        ),
        pytest.param({"forEach": [7, 8]}, "s2.1", {"item": 8}, id="an-item-alone"),
        pytest.param(
            {"forEach": [7, 8], "input": {"n": 1}}, "s2.0", {"n": 1, "item": 7}, id="beside-others"
        ),
        pytest.param(
            {"forEach": [7, {"k": 8}], "input": {"n": {"$from": "item#/k"}}},
            *("s2.1", {"n": 8}),
            id="where-it-is-asked-for",
        ),
        pytest.param(
            {"forEach": {"$from": "steps.s1#/a"}, "input": {"$from": "item#"}},
            *("s2.0", 1),
            id="as-the-whole-input",
        ),
        pytest.param({"forEach": [{"$from": 1}]}, "s2.0", {"item": {"$from": 1}}, id="as-it-is"),
    ],
)
def test_a_program_gets_what_it_asks_for(step: dict[str, Any], run: str, value: Any) -> None:
    assert got(step, run) == value


@pytest.mark.parametrize(
    ("step", "first", "told"),
    [
        pytest.param(
            {"input": {"$from": "steps.s1#/b"}}, {}, "steps.s1#/b: there is no b", id="no-such-part"
        ),
        pytest.param(
            {"input": {"$from": "steps.s1#"}},
            {"phase": "Skipped"},
            "steps.s1#: that step brought nothing, it is Skipped",
            id="nothing-at-all",
        ),
        pytest.param(
            {"input": {"$ref": "steps.s1"}},
            {"phase": "Failed"},
            "steps.s1#: that step brought nothing, it is Failed",
            id="no-file",
        ),
        pytest.param(
            {"input": {"$from": "steps.s9#"}},
            {},
            "steps.s9#: that step brought nothing, it is None",
            id="no-such-step",
        ),
        pytest.param(
            {"input": {"$from": "outcome#/phase"}},
            {},
            "outcome#/phase: there is no phase",
            id="no-end",
        ),
        pytest.param(
            {"input": ["x" * 65_533]},
            {},
            "the input with all that it takes is larger than 65536 bytes: "
            'take a smaller part, or a file by {"$ref": …}',
            id="too-much",
        ),
    ],
)
def test_why_it_cannot_is_told(step: dict[str, Any], first: Any, told: str) -> None:
    with pytest.raises(references.Missing) as raised:
        got(step, **first)
    assert str(raised.value) == told


def test_as_much_as_may_be_is_given() -> None:
    assert json_values.size(got({"input": ["x" * 65_532]})) == names.INPUT_MAX_BYTES


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (
            {"forEach": [1], "input": [1]},
            "an input with an item is an object, or takes it by item#",
        ),
        ({"forEach": {"$from": "input#/x"}}, "what is named is no list"),
        ({"forEach": {"$from": "steps.s1#"}}, "101 items are more than 100"),
    ],
)
def test_why_there_are_no_items_is_told(step: dict[str, Any], told: str) -> None:
    with pytest.raises(references.Missing) as raised:
        got(step, "s2.0", result={"value": [0] * 101})
    assert str(raised.value) == told


def test_a_step_without_a_result_brought_null() -> None:
    assert got({"input": [{"$from": "steps.s1#"}]}, result=None) == [None]


def test_what_is_kept_elsewhere_has_to_be_fetched() -> None:
    step = {"input": {"$from": "steps.s1#/a"}}
    with pytest.raises(inputs.NotFetched) as raised:
        got(step, result=FAR)
    assert raised.value.key == key("/a")
    assert got(step, parts={key("/a"): inputs.Part([3])}, result=FAR) == [3]
    with pytest.raises(references.Missing, match=r"^steps\.s1#/a: too large$"):
        got(step, parts={key("/a"): inputs.Part(flaw="too large")}, result=FAR)
    another = {"ref": FAR["ref"] | {"taskUid": "other"}}
    assert got(step, parts={key("/a", "other"): inputs.Part(4)}, result=another) == 4


def test_the_files_of_a_program_are_named_once() -> None:
    one, two = {"$ref": "steps.s1"}, {"$ref": "steps.s2"}
    task = a_pipeline(({}, {}), ({}, {}), ({"input": [two, one, two, {"$from": "steps.s1#"}]}, {}))
    assert inputs.files_of(task, "s3") == ("s2", "s1")
    assert inputs.files_of(task, "s3.4") == ("s2", "s1")
    assert inputs.files_of(task, "s1") == ()


CLAIMED = {"phase": "Starting", "attempt": 1, "jobName": "j"}


@pytest.mark.parametrize(
    ("step", "state", "more", "expected"),
    [
        pytest.param({"input": {"$from": "steps.s1#/a"}}, {}, {}, set(), id="not-before-it-begins"),
        pytest.param({"input": {"$from": "steps.s1#/a"}}, CLAIMED, {}, {"/a"}, id="for-its-input"),
        pytest.param(
            {"input": {"$from": "steps.s1#/a"}},
            {**CLAIMED, "jobUid": "j"},
            {},
            set(),
            id="not-once-its-job-is-there",
        ),
        pytest.param(
            {"input": {"$from": "steps.s1#/a"}},
            {**CLAIMED, "finishedAt": NOW},
            {},
            set(),
            id="not-once-it-is-over",
        ),
        pytest.param({"when": "steps.s1.result == 1"}, {}, {}, {""}, id="for-its-condition"),
        pytest.param({"forEach": {"$from": "steps.s1#/b"}}, {}, {}, {"/b"}, id="for-its-items"),
        pytest.param(
            {"forEach": {"$from": "steps.s1#/b"}},
            {"phase": "Running", "items": 2},
            {},
            {"/b"},
            id="for-its-next-items",
        ),
        pytest.param(
            {"forEach": {"$from": "steps.s1#/b"}},
            {"phase": "Succeeded", "items": 2},
            {},
            set(),
            id="for-no-more-items",
        ),
        pytest.param(
            {},
            ENDED,
            {
                "output": {"$from": "steps.s1#/c"},
                "outcome": v1alpha1.Outcome(phase="Succeeded", reason="x"),
            },
            {"/c"},
            id="for-the-output",
        ),
        pytest.param(
            {}, ENDED, {"output": {"$from": "steps.s1#/c"}}, set(), id="not-before-the-end"
        ),
        pytest.param({"when": "1 +"}, {}, {}, set(), id="not-for-what-cannot-be"),
        pytest.param({"input": {"$from": "steps.s2#"}}, CLAIMED, {}, set(), id="nor-is-there"),
        pytest.param({"input": {"$from": 1}}, CLAIMED, {}, set(), id="nor-is-a-reference"),
    ],
)
def test_what_has_to_be_fetched(step: Any, state: Any, more: Any, expected: set[str]) -> None:
    task = a_pipeline(({}, ENDED | {"result": FAR}), (step, state), **more)
    assert steps.wanted(task, {}) == {key(pointer) for pointer in expected}
    assert not steps.wanted(task, {key(pointer): inputs.Part(flaw="x") for pointer in expected})


# --- what has no place in the resource ---


def test_the_resource_has_so_much_place() -> None:
    inline = {"result": {"value": "x" * 4000}}
    child = {"index": 0, **inline}
    task = a_pipeline(
        *[({}, ENDED | inline)] * 4,
        ({}, {"items": 9, "children": [child, {"index": 1}, {"index": 2, "result": FAR}]}),
        ({}, ENDED | {"result": FAR}),
    )
    left = 32 * 1024 - 5 * 4002 - 2
    assert not steps.overflows(task, v1alpha1.Result(value="x" * left))
    assert steps.overflows(task, v1alpha1.Result(value="x" * (left + 1)))
    assert not steps.overflows(task, None)
    assert not steps.overflows(task, v1alpha1.Result.model_validate(FAR))


def items(*phases: str, result: Any = None, **more: Any) -> dict[str, Any]:
    """Return where a step stands that has as many items, all of them begun."""
    children = [
        {"index": index, "phase": phase, "result": result} for index, phase in enumerate(phases)
    ]
    return {"phase": "Running", "items": len(phases), "children": children, **more}


LARGE = {"value": "x" * 4000}
GOOD = v1alpha1.Outcome(phase=Phase.SUCCEEDED, reason=Reason.COMPLETED)


@pytest.mark.parametrize(
    ("step", "state", "parts"),
    [
        pytest.param({}, items("Succeeded", "Succeeded", result={"value": 1}), None, id="small"),
        pytest.param(
            {}, items("Succeeded", "Succeeded", result=LARGE), [LARGE, LARGE], id="too-large"
        ),
        pytest.param({}, items("Succeeded", "Running", result=LARGE), None, id="not-done"),
        pytest.param({}, items("Succeeded", "Failed", result=LARGE), None, id="failed"),
        pytest.param(
            {"minSuccessful": 2},
            items("Succeeded", "Failed", "Succeeded", result=LARGE),
            [LARGE, {}, LARGE],
            id="null-for-those-that-failed",
        ),
        pytest.param({}, items("Succeeded", result=FAR), [FAR], id="kept-elsewhere"),
        pytest.param(
            {}, items("Succeeded", result=FAR, phase="Succeeded"), None, id="it-has-been-made"
        ),
    ],
)
def test_which_lists_the_api_has_to_make(step: Any, state: Any, parts: Any) -> None:
    task = a_pipeline(({}, ENDED), ({"forEach": [0] * 3} | step, state))
    expected = parts and steps.Recipe(
        "s2", 1, True, tuple(map(v1alpha1.Result.model_validate, parts))
    )
    assert steps.recipe(task, {}) == expected


BIG = [{"$from": "steps.s1#"}, {"$from": "steps.s1#"}]


@pytest.mark.parametrize(
    ("output", "state", "ending", "is_made"),
    [
        pytest.param(BIG, ENDED, GOOD, True, id="too-large"),
        pytest.param(BIG[:1], {}, GOOD, False, id="not-all-over"),
        pytest.param(1, ENDED, GOOD, False, id="small"),
        pytest.param(BIG, ENDED, None, False, id="no-end-yet"),
        pytest.param(
            *(BIG, ENDED, GOOD.model_copy(update={"phase": Phase.FAILED}), False), id="it-failed"
        ),
        pytest.param([{"$from": "steps.s3#"}], ENDED, GOOD, False, id="nothing-there"),
        pytest.param(["x" * 65_600], ENDED, GOOD, False, id="more-than-is-kept"),
        pytest.param(None, ENDED, GOOD, False, id="of-the-last-step"),
    ],
)
def test_which_output_the_api_has_to_make(
    output: Any, state: Any, ending: Any, is_made: bool
) -> None:
    first = ENDED | {"result": {"value": "x" * 3000}}
    task = a_pipeline(({}, first), ({}, state), output=output, outcome=ending)
    value = v1alpha1.Result(value=["x" * 3000, "x" * 3000])
    expected = steps.Recipe("", 1, False, (value,)) if is_made else None
    assert steps.recipe(task, {}) == expected
    if is_made:
        assert steps.result_of(task, {}) is None


def test_what_a_pipeline_brings_is_its_output_or_its_last_steps_result() -> None:
    first, second = ({}, ENDED | {"result": {"value": 1}}), ({}, ENDED | {"result": {"value": 2}})
    last = ({"finally": True}, ENDED | {"result": {"value": 3}})
    assert steps.result_of(a_pipeline(first, second, last), {}) == v1alpha1.Result(value=2)
    asked = a_pipeline(first, second, last, output={"a": {"$from": "steps.s1#"}})
    assert steps.result_of(asked, {}) == v1alpha1.Result(value={"a": 1})
    assert steps.result_of(a_pipeline(first, ({}, ENDED)), {}) == v1alpha1.Result()
    far = v1alpha1.Result.model_validate(FAR)
    assert steps.result_of(a_pipeline(({}, ENDED | {"result": FAR})), {}) == far
    with pytest.raises(references.Missing, match=r"^it is larger than 65536 bytes$"):
        steps.result_of(a_pipeline(first, output="x" * 65_535), {})


# --- where it goes ---


def said(step: v1alpha1.StepStatus) -> tuple[Any, ...]:
    return step.phase, step.reason, step.message, step.finished_at


def test_a_step_begins_with_its_claim() -> None:
    (step,) = after(a_pipeline(({}, {})))
    assert step == v1alpha1.StepStatus(
        name="s1",
        phase=StepPhase.STARTING,
        attempt=1,
        job_name=names.job_name("report", TASK_UID, attempt=1, step="s1"),
        claimed_at=NOW,
        begun_at=NOW,
    )


def test_items_begin_as_many_as_may_run_side_by_side() -> None:
    for step, begun in (({}, 4), ({"maxParallel": 2}, 2), ({"maxParallel": 9}, 6)):
        (found,) = after(a_pipeline(({"forEach": [0] * 6, **step}, {})))
        assert (found.phase, found.begun_at, found.items) == (StepPhase.RUNNING, NOW, 6)
        children = found.children or []
        assert [child.index for child in children] == [*range(begun)]
        job = names.job_name("report", TASK_UID, attempt=1, step="s1.1")
        assert (children[1].job_name, children[1].phase) == (job, StepPhase.STARTING)


def test_steps_begin_as_many_as_may_run_side_by_side() -> None:
    beside: dict[str, Any] = {"needs": []}
    for more, begun in (({}, 4), ({"maxParallel": 2}, 2)):
        found = after(a_pipeline(*[(beside, {})] * 6, **more))
        assert [s.phase for s in found].count(StepPhase.STARTING) == begun
    skipped = {"needs": [], "when": "false"}
    found = after(a_pipeline((skipped, {}), (beside, {}), (beside, {}), maxParallel=1))
    phases = [StepPhase.SKIPPED, StepPhase.STARTING, StepPhase.PENDING]
    assert [s.phase for s in found] == phases, "what is not taken takes no place"


@pytest.mark.parametrize(
    ("step", "first", "expected"),
    [
        pytest.param(
            {"when": "steps.s1.result == 1"},
            {},
            ("Skipped", "NotTaken", "its condition is false", NOW),
            id="not-taken",
        ),
        pytest.param(
            {"when": "steps.s1.result == 2"}, {}, ("Starting", None, None, None), id="taken"
        ),
        pytest.param(
            {"when": "steps.s1.phase == 'Succeeded' && input.x == 5 && outcome == null"},
            {},
            ("Starting", None, None, None),
            id="by-all-that-is-known",
        ),
        pytest.param(
            {"when": "!has(steps.s1.result) && steps.s1.phase == 'Skipped'"},
            {"phase": "Skipped"},
            ("Starting", None, None, None),
            id="of-what-brought-nothing",
        ),
        pytest.param(
            {"when": "steps.s1.result.y == 2"},
            {"result": {"value": {}}},
            ("Failed", "InvalidSteps", 'when: Key not found in map : "y"', NOW),
            id="no-answer",
        ),
        pytest.param(
            {"when": "steps.s1.result == 1"},
            {"result": FAR},
            ("Pending", None, None, None),
            id="not-known-yet",
        ),
        pytest.param(
            {"forEach": {"$from": "steps.s1#"}},
            {},
            ("Failed", "InvalidInput", "forEach: what is named is no list", NOW),
            id="no-list",
        ),
    ],
)
def test_what_becomes_of_a_step_whose_turn_it_is(step: Any, first: Any, expected: Any) -> None:
    state = ENDED | {"result": {"value": 2}} | first
    found = after(a_pipeline(({}, state), (step, {}), ({"needs": []}, CLAIMED), input={"x": 5}))
    assert said(found[1]) == expected


def test_what_is_taken_over_is_not_done_again() -> None:
    text = json_values.compact(
        {"results": {"s1": {"value": 3}, "s3": {"value": 4}}, "checkpoints": {"s2": [9]}}
    )
    task = a_pipeline(({}, {}), ({}, {}), ({"finally": True}, {}))
    task = with_meta(task, annotations={names.REUSE_ANNOTATION: text})
    first, *others = steps.begun(task, NOW)
    assert (said(first), first.result, first.reused) == (
        ("Succeeded", "Completed", None, NOW),
        v1alpha1.Result(value=3),
        True,
    )
    assert others == [
        v1alpha1.StepStatus(name=name, phase=StepPhase.PENDING) for name in ("s2", "s3")
    ], "what comes after all is always done"
    found = after(with_status(task, steps=[first, *others]))
    assert found[1].progress == v1alpha1.Progress(checkpoint=[9])


def test_as_much_is_taken_over_as_the_resource_has_place_for() -> None:
    small, far = {"value": "x" * 16_382}, FAR
    results = {"s1": small, "s2": far, "s3": small, "s4": {"value": 1}}
    text = json_values.compact({"results": results, "checkpoints": {}})
    task = with_meta(a_pipeline(*[({}, {})] * 4), annotations={names.REUSE_ANNOTATION: text})
    phases = [StepPhase.SUCCEEDED] * 3 + [StepPhase.PENDING]
    assert [step.phase for step in steps.begun(task, NOW)] == phases


def test_a_step_waits_while_too_many_items_are_listed() -> None:
    beside: dict[str, Any] = {"needs": [], "maxParallel": 1}
    runs = [({"forEach": [0], **beside}, {"phase": "Running", "items": n}) for n in (100, 50)]
    for more, phase in ((50, StepPhase.RUNNING), (51, StepPhase.PENDING)):
        task = a_pipeline(*runs, ({"forEach": [0] * more, **beside}, {}))
        assert after(task)[2].phase is phase
    (alone,) = after(a_pipeline(({"forEach": [0] * 100, **beside}, {})))
    assert alone.phase is StepPhase.RUNNING


@pytest.mark.parametrize(
    ("counts", "listed"),
    [
        pytest.param([(60, "Succeeded"), (40, "Succeeded")], [60, 40], id="as-many-as-may-be"),
        pytest.param([(60, "Succeeded"), (41, "Succeeded")], [0, 41], id="the-first-goes-first"),
        pytest.param([(60, "Running"), (41, "Failed")], [60, 0], id="of-what-is-over-alone"),
        pytest.param([(90, "Running"), (90, "Running")], [90, 90], id="never-of-what-runs"),
    ],
)
def test_only_so_many_items_are_listed(counts: list[Any], listed: list[int]) -> None:
    states = [items(*["Succeeded"] * count, phase=phase) for count, phase in counts]
    status = steps.folded(a_pipeline(*[({}, state) for state in states]).status)
    assert [len(step.children or ()) for step in status.steps or ()] == listed


BAD = {"phase": "Failed", "reason": "ProgramFailed", "message": "boom"}


@pytest.mark.parametrize(
    ("step", "state", "expected", "counts"),
    [
        pytest.param(
            {},
            items("Succeeded", "Succeeded", result={"value": 1}),
            ("Succeeded", "Completed", None, NOW),
            (2, 0),
            id="all-well",
        ),
        pytest.param(
            {}, items("Succeeded", "Running"), ("Running", None, None, None), (1, 0), id="not-done"
        ),
        pytest.param(
            {},
            {"phase": "Running", "items": 3, "children": [{"index": 0, **BAD}, {"index": 1}]},
            ("Failed", "ItemsFailed", "item 0: ProgramFailed: boom", NOW),
            (0, 1),
            id="one-too-many-failed",
        ),
        pytest.param(
            {},
            items("Failed", "Running"),
            ("Running", None, None, None),
            (0, 1),
            id="one-still-runs",
        ),
        pytest.param(
            {},
            items("Cancelled", "Succeeded"),
            ("Failed", "ItemsFailed", "item 0: None", NOW),
            (1, 0),
            id="one-was-cancelled",
        ),
        pytest.param(
            {"minSuccessful": 1},
            items("Failed", "Succeeded", result={"value": 1}),
            ("Succeeded", "Completed", None, NOW),
            (1, 1),
            id="enough-succeeded",
        ),
        pytest.param(
            {"minSuccessful": 1},
            {"phase": "Running", "items": 0},
            ("Failed", "ItemsFailed", "there are 0 items, fewer than must succeed", NOW),
            (0, 0),
            id="there-are-none",
        ),
        pytest.param(
            {},
            items("Succeeded", result=FAR),
            ("Running", None, None, None),
            (1, 0),
            id="the-api-makes-the-list",
        ),
    ],
)
def test_how_a_step_with_items_ends(step: Any, state: Any, expected: Any, counts: Any) -> None:
    found = after(a_pipeline(({"forEach": [0] * 3} | step, state), ({"needs": []}, CLAIMED)))[0]
    assert said(found) == expected
    assert (found.succeeded, found.failed) == counts


def test_items_that_are_cut_are_cancelled_with_their_step() -> None:
    state = {"phase": "Running", "items": 3, "children": [{"index": 0, "phase": "Cancelled"}]}
    ending = v1alpha1.Outcome(phase=Phase.CANCELLED, reason=Reason.CANCELLED)
    task = a_pipeline(({"forEach": [0] * 3}, state), ({"needs": []}, {}), outcome=ending)
    first, second = after(task)
    assert said(first) == ("Cancelled", "Cancelled", "the pipeline was ended", NOW)
    assert said(second) == ("Skipped", "NotTaken", "the pipeline ended before", NOW)
    assert len(first.children or ()) == 1, "no other item begins"


def test_what_the_items_brought_stands_in_the_list() -> None:
    (step,) = a_pipeline(({}, items("Succeeded", "Failed", result={"value": 1}))).status.steps or []
    result = v1alpha1.Result(value=[1, None])
    assert steps.brought(step, result, NOW) == {
        "phase": StepPhase.SUCCEEDED,
        "reason": Reason.COMPLETED,
        "message": None,
        "finished_at": NOW,
        "result": result,
        "children": [
            v1alpha1.ChildStatus(index=0, phase=StepPhase.SUCCEEDED),
            v1alpha1.ChildStatus(index=1, phase=StepPhase.FAILED),
        ],
    }


def test_a_failure_without_the_programs_word_is_cut() -> None:
    ended = outcome.failed(Reason.INVALID_INPUT, "m" * names.MESSAGE_MAX)
    assert steps.failed(ended, LATER) == {
        "phase": StepPhase.FAILED,
        "reason": Reason.INVALID_INPUT,
        "message": "m" * names.BRIEF_MAX,
        "finished_at": LATER,
    }


@pytest.mark.parametrize(
    ("first", "second", "more", "expected"),
    [
        pytest.param((({}), CLAIMED), ({}, {}), {}, None, id="it-goes-on"),
        pytest.param(
            ({}, ENDED), ({}, ENDED), {}, ("Succeeded", "Completed", None, None), id="all-is-well"
        ),
        pytest.param(
            ({}, BAD),
            ({"needs": []}, CLAIMED),
            {},
            ("Failed", "StepFailed", "step s1: ProgramFailed: boom", "s1"),
            id="one-failed",
        ),
        pytest.param(
            ({}, {"phase": "Failed", "reason": "Evicted"}),
            ({}, ENDED),
            {},
            ("Failed", "StepFailed", "step s1: Evicted", "s1"),
            id="one-failed-without-a-word",
        ),
        pytest.param(
            ({"continueOnFailure": True}, BAD),
            ({"needs": []}, ENDED),
            {},
            ("Succeeded", "Completed", None, None),
            id="one-that-does-not-matter",
        ),
        pytest.param(
            ({}, CLAIMED),
            ({}, {}),
            {"cancel": True},
            ("Cancelled", "Cancelled", "cancelled while it ran", None),
            id="cancelled",
        ),
        pytest.param(
            ({}, CLAIMED),
            ({}, {}),
            {"timeouts": {"totalSeconds": 9}, "overdue": True},
            ("Failed", "TotalTimeout", "took longer than 9 s in all", None),
            id="overdue",
        ),
        pytest.param(
            ({}, CLAIMED),
            ({"finally": True}, BAD),
            {},
            None,
            id="not-by-what-comes-after-all",
        ),
        pytest.param(
            ({}, ENDED),
            ({"finally": True}, {}),
            {"cancel": True},
            ("Succeeded", "Completed", None, None),
            id="cancelled-when-it-was-done",
        ),
    ],
)
def test_how_a_pipeline_ends(first: Any, second: Any, more: dict[str, Any], expected: Any) -> None:
    overdue = more.pop("overdue", False)
    task = a_pipeline(first, second, **more)
    ending = steps.advanced(task, {}, now=NOW, overdue=overdue).outcome
    told = ending and (ending.phase, ending.reason, ending.message, ending.step)
    assert told == expected


def test_how_it_ended_is_said_once() -> None:
    ending = v1alpha1.Outcome(phase=Phase.FAILED, reason=Reason.TOTAL_TIMEOUT)
    task = a_pipeline(({}, ENDED), outcome=ending)
    assert steps.advanced(task, {}, now=NOW).outcome is ending
    assert steps.verdict(task) is ending
    with pytest.raises(ValueError, match=r"^it has not come to its end$"):
        steps.verdict(a_pipeline(({}, ENDED)))


def test_what_comes_after_all_can_fail_what_succeeded() -> None:
    last = ({"finally": True}, BAD)
    failed = v1alpha1.Outcome(
        phase=Phase.FAILED,
        reason=Reason.STEP_FAILED,
        message="step s2: ProgramFailed: boom",
        step="s2",
    )
    assert steps.verdict(a_pipeline(({}, ENDED), last, outcome=GOOD)) == failed
    cancelled = GOOD.model_copy(update={"phase": Phase.CANCELLED})
    assert steps.verdict(a_pipeline(({}, ENDED), last, outcome=cancelled)) == cancelled


@pytest.mark.parametrize(
    ("state", "ending", "is_over"),
    [
        (ENDED, GOOD, True),
        (ENDED, None, False),
        (CLAIMED, GOOD, False),
        ({"phase": None}, GOOD, False),
    ],
)
def test_it_is_over_when_all_of_it_is(state: Any, ending: Any, is_over: bool) -> None:
    assert steps.is_over(a_pipeline(({}, ENDED), ({}, state), outcome=ending)) is is_over


def test_nothing_begins_of_what_is_finished() -> None:
    task = with_status(a_pipeline(({"forEach": {"$from": "input#"}}, {})), conditions=[FINISHED])
    assert steps.advanced(task, {}, now=NOW) == task.status


def test_an_item_is_given_up_when_too_many_others_failed() -> None:
    task = a_pipeline(
        ({}, ENDED),
        ({"forEach": [0] * 3, "minSuccessful": 2}, items("Failed", "Running", "Running")),
    )
    assert not steps.is_given_up(task, "s2.1")
    worse = a_pipeline(({}, ENDED), ({"forEach": [0] * 3}, items("Failed", "Running", "Running")))
    assert steps.is_given_up(worse, "s2.1")
    for name in ("s1", "s2", "s1.0", "s9.0"):
        assert not steps.is_given_up(worse, name), name


def test_fields_are_put_where_the_program_stands() -> None:
    task = a_pipeline(({}, {}), ({}, items("Running", "Running")))
    whole = steps.put(task.status, "s1", {"message": "x"})
    assert [step.message for step in whole.steps or ()] == ["x", None]
    item = steps.put(task.status, "s2.1", {"message": "x"})
    first, second = item.steps or []
    assert (first.message, second.message) == (None, None)
    assert [child.message for child in second.children or ()] == [None, "x"]
