"""The JSON Patches by which the API writes into a task's status. Pure.

Progress, `result.ref`, and how a program says that it ends.

A report's patch names no version, or the operator's writes and these would refuse each other. So it
tests that what it speaks of is still there: the task, the attempt, and in a pipeline the places of
its programs.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from longtask_crds import v1alpha1
from longtask_crds.pipeline import runs, standing

Patch = list[dict[str, Any]]
P = TypeVar("P", bound=v1alpha1.RunStatus)


def of_progress(uid: str, attempt: int, progress: Mapping[str, Any]) -> Patch:
    """Return what sets the progress of a plain task's attempt.

    Args:
        uid: The task's.
        attempt: The attempt's number.
        progress: What it says of itself.
    """
    return [
        # A merge patch of a status may name any uid: the API server takes no notice.
        _test("/metadata/uid", uid),
        _test("/status/attempt", attempt),
        {"op": "add", "path": "/status/progress", "value": dict(progress)},
    ]


def of_steps(task: v1alpha1.LongTask, told: Mapping[str, Mapping[str, Any]]) -> Patch:
    """Return what sets the progress of programs of a pipeline, and with them that of the whole.

    Args:
        task: The pipeline as it is known.
        told: What each program says of itself, by its name; all of them have begun.
    """
    patch = [_test("/metadata/uid", task.metadata.uid)]
    for run, progress in told.items():
        way = _way(task.status, run)
        patch += (_test(f"{path}/{key}", value) for path, key, value in way)
        at = way[-1][0]
        patch.append(_test(f"{at}/attempt", runs.status_of(task.status, run).attempt))
        patch.append({"op": "add", "path": f"{at}/progress", "value": dict(progress)})
    before = task.status.progress
    if before is not None and before.percent is not None:
        # Who wrote meanwhile may have told of more, and it never falls.
        patch.append(_test("/status/progress/percent", before.percent))
    whole = standing.told(task.spec, _steps_with(task.status, told), before, task.status.outcome)
    patch.append({"op": "add", "path": "/status/progress", "value": whole.to_json()})
    return patch


def of_result(task: v1alpha1.LongTask, run: str, result: v1alpha1.Result) -> Patch:
    """Return what sets the result of a program, while the task is as it is known.

    Args:
        task: The task.
        run: The program's name; empty for that of a plain task.
        result: The result.
    """
    return _guarded(task, run, "result", result.to_json())


def of_outcome(task: v1alpha1.LongTask, run: str, report: v1alpha1.Report) -> Patch:
    """Return what records how a program says that it ends, while the task is as it is known.

    So whoever asked for its end before has done so first.

    Args:
        task: The task.
        run: The program's name; empty for that of a plain task.
        report: What it says.
    """
    return _guarded(task, run, "report", report.to_json())


def _guarded(task: v1alpha1.LongTask, run: str, field: str, value: dict[str, Any]) -> Patch:
    meta = task.metadata
    at = _way(task.status, run)[-1][0] if run else "/status"
    return [
        _test("/metadata/uid", meta.uid),
        {"op": "replace", "path": "/metadata/resourceVersion", "value": meta.resource_version},
        {"op": "add", "path": f"{at}/{field}", "value": value},
    ]


def _test(path: str, value: object) -> dict[str, Any]:
    return {"op": "test", "path": path, "value": value}


def _way(status: v1alpha1.LongTaskStatus, run: str) -> list[tuple[str, str, Any]]:
    """Return the places on the way to a program's status: a path, and the key that tells it."""
    name, item = runs.split(run)
    steps = status.steps or []
    at = next(at for at, step in enumerate(steps) if step.name == name)
    way: list[tuple[str, str, Any]] = [(f"/status/steps/{at}", "name", name)]
    if item is not None:
        children = enumerate(steps[at].children or ())
        child = next(place for place, child in children if child.index == item)
        way.append((f"{way[0][0]}/children/{child}", "index", item))
    return way


def _steps_with(
    status: v1alpha1.LongTaskStatus, told: Mapping[str, Mapping[str, Any]]
) -> list[v1alpha1.StepStatus]:
    """Return the steps with what their programs say now."""
    said = {run: v1alpha1.Progress.model_validate(progress) for run, progress in told.items()}

    def after(run: str, part: P) -> P:
        return part.model_copy(update={"progress": said[run]}) if run in said else part

    return [
        after(step.name, step).model_copy(
            update={
                "children": step.children
                and [after(runs.name_of(step.name, c.index), c) for c in step.children]
            }
        )
        for step in status.steps or ()
    ]
