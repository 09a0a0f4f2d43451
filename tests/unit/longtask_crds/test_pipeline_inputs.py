"""What the programs of a pipeline get, with all that they take from others."""

from typing import Any

import pytest

from longtask_crds import names, v1alpha1
from longtask_crds.pipeline import inputs, references
from longtask_crds.pipeline.inputs import NotFetched, Part, PartKey
from longtask_crds.pipeline.references import Missing
from longtask_crds.testing import TASK_UID, a_task, with_status
from longtask_crds.v1alpha1 import Phase

IMAGE = {"container": {"image": "busybox"}}
SUM, OTHER_SUM = "0" * 64, "1" * 64
KEPT = {"ref": {"size": 9, "sha256": SUM}}
KEPT_ELSEWHERE = {"ref": {"size": 9, "sha256": OTHER_SUM, "taskUid": "earlier"}}
#: What the steps before have brought.
BROUGHT: dict[str, dict[str, Any]] = {
    "small": {"phase": "Succeeded", "result": {"value": {"rows": [7, 8], "a/b": None}}},
    "kept": {"phase": "Succeeded", "result": KEPT},
    "reused": {"phase": "Succeeded", "result": KEPT_ELSEWHERE},
    "silent": {"phase": "Succeeded"},
    "failed": {"phase": "Failed"},
    "busy": {"phase": "Running"},
}


def a_pipeline(step: dict[str, Any], **spec: Any) -> v1alpha1.LongTask:
    before = [{"name": name, **IMAGE} for name in BROUGHT]
    task = a_task(steps=[*before, {"name": "it", **IMAGE, **step}], **spec)
    told = [{"name": name, **status} for name, status in BROUGHT.items()]
    return with_status(task, steps=[v1alpha1.StepStatus.model_validate(one) for one in told])


def taking(value: Any, **spec: Any) -> v1alpha1.LongTask:
    return a_pipeline({"input": value}, **spec)


def fanned_out(over: Any, value: Any = None) -> v1alpha1.LongTask:
    return a_pipeline({"forEach": over} | ({} if value is None else {"input": value}))


def from_(source: str, **more: Any) -> dict[str, Any]:
    return {"$from": source, **more}


def items(task: v1alpha1.LongTask, parts: inputs.Parts) -> list[Any]:
    assert task.spec.steps is not None
    return inputs.items_of(task, task.spec.steps[-1], parts)


@pytest.mark.parametrize(
    ("value", "got"),
    [
        pytest.param({"a": [1]}, {"a": [1]}, id="what-is-plain"),
        pytest.param({"a": from_("input#/x")}, {"a": 5}, id="of-the-tasks-own-input"),
        pytest.param(from_("steps.small#/rows/1"), 8, id="a-part-of-a-result"),
        pytest.param(from_("steps.small#/a~1b"), None, id="null-is-a-value"),
        pytest.param(from_("steps.silent"), None, id="of-one-that-said-nothing"),
        pytest.param(from_("steps.failed", default=3), 3, id="else-what-was-given-for-it"),
        pytest.param(from_("outcome", default=3), {}, id="of-an-end-that-is-to-come"),
        pytest.param(
            {"f": {"$ref": "steps.kept"}}, {"f": "/longtask/files/kept"}, id="the-path-of-a-file"
        ),
    ],
)
def test_what_a_program_takes_is_filled_in(value: Any, got: Any) -> None:
    assert inputs.value_of(taking(value, input={"x": 5}), "it", {}) == got


def test_a_task_without_input_has_an_empty_one() -> None:
    assert inputs.value_of(taking(from_("input")), "it", {}) == {}


def test_what_runs_last_is_told_how_the_others_ended() -> None:
    task = taking({"end": from_("outcome#/phase"), "of": from_("outcome#/step")})
    ending = v1alpha1.Outcome(phase=Phase.FAILED, reason="ProgramFailed", step="failed")
    ended = with_status(task, outcome=ending)
    assert inputs.value_of(ended, "it", {}) == {"end": "Failed", "of": "failed"}


@pytest.mark.parametrize("way", ["$from", "$ref"])
@pytest.mark.parametrize(("step", "phase"), [("failed", "Failed"), ("busy", "Running")])
def test_a_step_that_did_not_succeed_brings_nothing(way: str, step: str, phase: str) -> None:
    with pytest.raises(Missing) as caught:
        inputs.value_of(taking({"a": {way: f"steps.{step}"}}), "it", {})
    assert str(caught.value) == f"steps.{step}#: that step brought nothing, it is {phase}"


def test_a_step_of_which_nothing_is_known_brings_nothing() -> None:
    task = with_status(taking(from_("steps.small")), steps=None)
    with pytest.raises(Missing, match=r"steps.small#: that step brought nothing, it is None"):
        inputs.value_of(task, "it", {})


@pytest.mark.parametrize(
    ("source", "key"),
    [
        pytest.param("steps.kept#/a/0", PartKey(TASK_UID, SUM, "/a/0"), id="of-this-task"),
        pytest.param("steps.reused", PartKey("earlier", OTHER_SUM, ""), id="of-an-earlier-task"),
    ],
)
def test_what_is_kept_elsewhere_is_fetched_first(source: str, key: PartKey) -> None:
    task = taking({"a": from_(source)})
    with pytest.raises(NotFetched) as caught:
        inputs.value_of(task, "it", {})
    assert caught.value.key == key
    assert str(key) in str(caught.value)
    assert inputs.value_of(task, "it", {key: Part([1, 2])}) == {"a": [1, 2]}


def test_what_could_not_be_fetched_is_missing_and_says_why() -> None:
    parts = {PartKey(TASK_UID, SUM, "/a"): Part(flaw="it is gone")}
    with pytest.raises(Missing, match=r"^steps\.kept#/a: it is gone$"):
        inputs.value_of(taking(from_("steps.kept#/a")), "it", parts)
    assert inputs.value_of(taking(from_("steps.kept#/a", default=0)), "it", parts) == 0


@pytest.mark.parametrize(
    ("value", "got"),
    [
        pytest.param(None, {"item": "b"}, id="by-its-name"),
        pytest.param({"x": 1}, {"x": 1, "item": "b"}, id="beside-what-is-the-same-for-all"),
        pytest.param({"x": from_("input#/y")}, {"x": 2, "item": "b"}, id="or-is-taken"),
        pytest.param({"mine": from_("item")}, {"mine": "b"}, id="where-it-is-asked-for"),
        pytest.param(from_("item"), "b", id="alone"),
    ],
)
def test_each_of_many_gets_its_item(value: Any, got: Any) -> None:
    step = {"forEach": ["a", "b"]} | ({} if value is None else {"input": value})
    task = a_pipeline(step, input={"y": 2})
    assert inputs.value_of(task, "it.1", {}) == got


@pytest.mark.parametrize("value", [[1], "text", 0, from_("steps.small#/rows")], ids=str)
def test_an_item_has_no_place_beside_what_is_no_object(value: Any) -> None:
    with pytest.raises(Missing) as caught:
        inputs.value_of(fanned_out(["a"], value), "it.0", {})
    assert str(caught.value) == "an input with an item is an object, or takes it by item#"


def test_a_step_without_items_has_none_in_its_input() -> None:
    assert inputs.value_of(taking({"x": 1}), "it", {}) == {"x": 1}


def test_an_item_that_looks_like_a_reference_is_none() -> None:
    looks = from_("steps.failed")
    assert inputs.value_of(fanned_out([looks]), "it.0", {}) == {"item": looks}


def test_an_input_has_its_limit_with_all_that_it_takes() -> None:
    key, task = PartKey(TASK_UID, SUM, ""), taking(from_("steps.kept"))
    longest = "x" * (names.INPUT_MAX_BYTES - 2)
    assert inputs.value_of(task, "it", {key: Part(longest)}) == longest
    with pytest.raises(Missing) as caught:
        inputs.value_of(task, "it", {key: Part(longest + "x")})
    assert str(caught.value) == (
        f"the input with all that it takes is larger than {names.INPUT_MAX_BYTES} bytes: "
        'take a smaller part, or a file by {"$ref": …}'
    )


def test_files_are_told_once_each_in_their_order() -> None:
    value = [{"$ref": f"steps.{name}"} for name in ("kept", "small", "kept")]
    task = taking({"a": value, "b": from_("steps.silent"), "c": from_("input")})
    assert inputs.files_of(task, "it") == ("kept", "small")
    assert inputs.files_of(fanned_out([1], {"a": value[0]}), "it.0") == ("kept",)
    assert inputs.files_of(taking({"a": 1}), "it") == ()


def test_a_step_fans_out_over_a_list_that_another_brought() -> None:
    assert items(fanned_out(from_("steps.small#/rows")), {}) == [7, 8]
    task, key = fanned_out(from_("steps.kept")), PartKey(TASK_UID, SUM, "")
    with pytest.raises(NotFetched):
        items(task, {})
    most = list(range(inputs.MOST_ITEMS))
    assert items(task, {key: Part(most)}) == most
    assert inputs.value_of(task, "it.3", {key: Part(most)}) == {"item": 3}
    with pytest.raises(Missing, match=r"^101 items are more than 100$"):
        items(task, {key: Part([*most, 0])})


def test_over_what_is_no_list_nothing_fans_out() -> None:
    with pytest.raises(Missing, match=r"^what is named is no list$"):
        items(fanned_out(from_("steps.small")), {})


def test_where_nothing_fans_out_an_item_is_null() -> None:
    reference = references.Reference(references.ITEM)
    assert inputs.look_up_in(taking({}), {}, None)(reference) is None
    assert inputs.look_up_in(taking({}), {}, {"a": 1})(reference) == {"a": 1}
