"""What a pipeline takes over from the one that it does again from where that failed. Pure.

It travels in an annotation of the new task, for a status cannot be given when a task is made.
"""

from pydantic import Field, ValidationError

from longtask_crds import json_values, names, v1alpha1
from longtask_crds.pipeline import runs
from longtask_crds.v1alpha1 import StepPhase


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


def annotation(origin: v1alpha1.LongTask) -> str:
    """Return the annotation of a task that does a pipeline again from where it failed."""
    results, checkpoints = {}, {}
    steps = {step.name: step for step in origin.spec.steps or ()}
    for step in origin.status.steps or ():
        if step.phase is StepPhase.SUCCEEDED and not steps[step.name].finally_:
            results[step.name] = _from(origin, step.result or v1alpha1.Result())
    for run in runs.of(origin):
        name, _ = runs.split(run.name)
        if name not in results and run.progress is not None and run.progress.checkpoint is not None:
            checkpoints[run.name] = run.progress.checkpoint
    return json_values.compact(Reuse(results=results, checkpoints=checkpoints).to_json())


def _from(origin: v1alpha1.LongTask, result: v1alpha1.Result) -> v1alpha1.Result:
    """Return a result that another task can find."""
    if result.ref is None:
        return result
    uid = result.ref.task_uid or origin.metadata.uid
    return result.model_copy(update={"ref": result.ref.model_copy(update={"task_uid": uid})})
