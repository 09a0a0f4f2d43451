"""What the programs of a pipeline get: their inputs, with all that they take from others. Pure.

What they take from results that are kept elsewhere has to be fetched first.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from longtask_crds import effective, json_values, names, v1alpha1
from longtask_crds.pipeline import references, runs
from longtask_crds.v1alpha1 import StepPhase

#: A step fans out over so many at most.
MOST_ITEMS: Final = 100


class PartKey(NamedTuple):
    """A part of a result that is kept elsewhere."""

    task_uid: str
    sha256: str
    pointer: str


@dataclasses.dataclass(frozen=True)
class Part:
    """What was fetched of a result, or why there is nothing."""

    value: Any = None
    flaw: str | None = None


Parts = Mapping[PartKey, Part]


class NotFetched(Exception):
    """A part has to be fetched first."""

    def __init__(self, key: PartKey) -> None:
        super().__init__(key)
        self.key = key


def value_of(task: v1alpha1.LongTask, run: str, parts: Parts) -> Any:
    """Return the input of a program, with all references filled in.

    Args:
        task: The pipeline, whole.
        run: The program's name.
        parts: What was fetched.

    Raises:
        NotFetched: Something has to be fetched first.
        Missing: Something is not there, or all of it is too large.
    """
    name, index = runs.split(run)
    step = runs.step_named(task.spec, name)
    item = None if index is None else items_of(task, step, parts)[index]
    for reference in references.all_of(step.input):
        if reference.as_file:
            _result(task, reference)  # it has to be there
    value = references.filled_in(step.input, look_up_in(task, parts, item))
    if index is not None and not any(
        reference.source == references.ITEM for reference in references.all_of(step.input)
    ):
        if not isinstance(value, dict | None):
            raise references.Missing("an input with an item is an object, or takes it by item#")
        value = (value or {}) | {references.ITEM: item}
    if json_values.size(value) > names.INPUT_MAX_BYTES:
        raise references.Missing(
            f"the input with all that it takes is larger than {names.INPUT_MAX_BYTES} bytes: "
            'take a smaller part, or a file by {"$ref": …}'
        )
    return value


def files_of(task: v1alpha1.LongTask, run: str) -> tuple[str, ...]:
    """Return the steps whose results a program finds as files."""
    step = runs.step_named(task.spec, runs.split(run)[0])
    found = (r.step for r in references.all_of(step.input) if r.as_file and r.step is not None)
    return tuple(dict.fromkeys(found))


def items_of(task: v1alpha1.LongTask, step: v1alpha1.Step, parts: Parts) -> list[Any]:
    """Return the list over which a step fans out.

    Raises:
        NotFetched: It has to be fetched first.
        Missing: There is none, or it is too long.
    """
    value = step.for_each
    if isinstance(value, list):
        # Its items are values: a reference in one is none.
        return value
    found = references.filled_in(value, look_up_in(task, parts, None))
    if not isinstance(found, list):
        raise references.Missing("what is named is no list")
    if len(found) > MOST_ITEMS:
        raise references.Missing(f"{len(found)} items are more than {MOST_ITEMS}")
    return found


def look_up_in(task: v1alpha1.LongTask, parts: Parts, item: Any) -> references.LookUp:
    """Return what stands for the references of a pipeline.

    Args:
        task: The pipeline, whole.
        parts: What was fetched.
        item: What is worked on, where a step fans out.
    """

    def look_up(reference: references.Reference) -> Any:
        if reference.source == references.INPUT:
            return references.part(effective.input_of(task.spec), reference)
        if reference.source == references.ITEM:
            return references.part(item, reference)
        if reference.source == references.OUTCOME:
            ending = task.status.outcome
            return references.part(ending.to_json() if ending else {}, reference)
        result = _result(task, reference)
        if result.ref is None:
            return references.part(result.value, reference)
        uid = result.ref.task_uid or task.metadata.uid
        key = PartKey(uid, result.ref.sha256, reference.pointer)
        if key not in parts:
            raise NotFetched(key)
        if (flaw := parts[key].flaw) is not None:
            raise references.Missing(f"{reference}: {flaw}")
        return parts[key].value

    return look_up


def _result(task: v1alpha1.LongTask, reference: references.Reference) -> v1alpha1.Result:
    status = next((s for s in task.status.steps or () if s.name == reference.step), None)
    if status is None or status.phase is not StepPhase.SUCCEEDED:
        phase = status.phase if status is not None else None
        raise references.Missing(f"{reference}: that step brought nothing, it is {phase}")
    return status.result or v1alpha1.Result()
