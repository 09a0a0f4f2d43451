"""What a pipeline takes over from the one that it does again from where that failed. Pure.

It travels in an annotation of the new task, for a status cannot be given when a task is made.
A step whose result is taken over stays as it was: what it does, what it did that with, and what
came before it. All else of the pipeline may be another.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from pydantic import Field, ValidationError

from longtask_crds import json_values, names, v1alpha1
from longtask_crds.pipeline import graph, references, runs
from longtask_crds.v1alpha1 import StepPhase

Flaw = tuple[references.Path, str]

#: The fields of a step that its result is made of, as the model and as users have them.
_MAKES_RESULT: Final = {
    "type": "type",
    "container": "container",
    "input": "input",
    "for_each": "forEach",
    "when": "when",
    "finally_": "finally",
}
_SPEAKS_OF_INPUT = re.compile(r"\binput\b")


class Reuse(v1alpha1.Model):
    """What is taken over."""

    results: dict[str, v1alpha1.Result] = Field(default_factory=dict)
    """What the steps brought that succeeded, by their names."""

    checkpoints: dict[str, v1alpha1.Json] = Field(default_factory=dict)
    """From where programs go on that did not succeed, by their names."""


def of(task: v1alpha1.LongTask) -> Reuse:
    """Return what a task takes over; nothing if its annotation cannot be read."""
    try:
        return Reuse.model_validate_json(task.metadata.annotations[names.REUSE_ANNOTATION])
    except (KeyError, ValidationError):
        return Reuse()


def flaws(origin: v1alpha1.LongTask, spec: v1alpha1.LongTaskSpec) -> Iterator[Flaw]:
    """Yield what cannot be so in a pipeline that goes on where another failed, and why.

    Args:
        origin: The one that failed.
        spec: The new one; the places that are yielded are in it.
    """
    if not spec.steps:
        yield ("steps",), "without steps there is nothing to go on from"
        return
    done = taken_over(origin)
    for index, step in enumerate(spec.steps):
        if step.name in done:
            yield from _differences(origin, spec, index)


def annotation(origin: v1alpha1.LongTask, spec: v1alpha1.LongTaskSpec) -> str:
    """Return the annotation of a pipeline that does another again from where that failed.

    Programs begin anew, without a checkpoint, where they are to do something else now.
    """
    done = taken_over(origin)
    index = {step.name: index for index, step in enumerate(spec.steps or ())}
    results = {name: _from(origin, result) for name, result in done.items() if name in index}
    checkpoints = {}
    for run in runs.of(origin):
        name, _ = runs.split(run.name)
        if name in done or name not in index or any(_differences(origin, spec, index[name])):
            continue
        if run.progress is not None and run.progress.checkpoint is not None:
            checkpoints[run.name] = run.progress.checkpoint
    return json_values.compact(Reuse(results=results, checkpoints=checkpoints).to_json())


def taken_over(origin: v1alpha1.LongTask) -> dict[str, v1alpha1.Result]:
    """Return what the steps brought that need not run again, by their names.

    Those that are marked `finally` run again: they come after whatever others do.
    """
    steps = {step.name: step for step in origin.spec.steps or ()}
    return {
        step.name: step.result or v1alpha1.Result()
        for step in origin.status.steps or ()
        if step.phase is StepPhase.SUCCEEDED and not steps[step.name].finally_
    }


def _differences(
    origin: v1alpha1.LongTask, spec: v1alpha1.LongTaskSpec, index: int
) -> Iterator[Flaw]:
    """Yield what keeps a step from being the one that it was: where, and why that matters."""
    old, new = origin.spec.steps or [], spec.steps or []
    after = new[index]
    before = next((step for step in old if step.name == after.name), None)
    if before is None:
        yield ("steps", index), "it was not there"
        return
    why = "cannot be changed: its result is taken over, and was made with what stood here"
    for field, name in _MAKES_RESULT.items():
        if getattr(before, field) != getattr(after, field):
            yield ("steps", index, name), why
    needed = graph.needs(old)[after.name]
    if needed != graph.needs(new)[after.name]:
        what = f"after {', '.join(needed)}" if needed else "before all others"
        yield ("steps", index, "needs"), f"cannot be changed: its result is taken over, made {what}"
    yield from _of_input(origin.spec.input, spec.input, after)


def _of_input(before: Any, after: Any, step: v1alpha1.Step) -> Iterator[Flaw]:
    """Yield the parts of the task's own input that a step takes and that are others now."""
    if before == after:
        return
    why = f"cannot be changed: the result of the step {step.name} is taken over, and was made of it"
    for _, looks in (*references.found(step.input), *references.found(step.for_each)):
        try:
            reference = references.parse(looks)
        except references.Malformed:
            continue  # it was refused, or will be
        if reference is None or reference.source != references.INPUT:
            continue
        if _part(before, reference) != _part(after, reference):
            yield (references.INPUT, *reference.path), why
    if step.when is not None and _SPEAKS_OF_INPUT.search(step.when):
        yield (
            (references.INPUT,),
            f"cannot be changed: the step {step.name} was taken because of it",
        )


def _part(value: Any, reference: references.Reference) -> tuple[Any, ...]:
    """Return the part that is meant, or nothing."""
    try:
        return (references.part(value, reference),)
    except references.Missing:
        return ()


def _from(origin: v1alpha1.LongTask, result: v1alpha1.Result) -> v1alpha1.Result:
    """Return a result that another task can find."""
    if result.ref is None:
        return result
    uid = result.ref.task_uid or origin.metadata.uid
    return result.model_copy(update={"ref": result.ref.model_copy(update={"task_uid": uid})})
