"""How a program says that it ends, just before it does: what of that counts. Pure.

The API takes it, and the operator takes it for the end of the attempt. A program of a pipeline is
looked at as if it were a task of its own (`pipeline.runs.as_task`).
"""

from typing import TypeVar

from longtask_crds import names, v1alpha1
from longtask_crds.pipeline import runs

P = TypeVar("P", v1alpha1.Attempt, v1alpha1.StepStatus, v1alpha1.ChildStatus)


def taken(task: v1alpha1.LongTask) -> v1alpha1.Report | None:
    """Return the report that tells how the open attempt of a task ends, or None."""
    report, last = task.status.report, _last(task)
    if report is None or last is None or last.finished_at is not None:
        return None
    is_its_own = report.attempt == last.number and last.pod_uid in (None, report.pod_uid)
    return report if is_its_own else None


def refusal(task: v1alpha1.LongTask, run: str) -> str | None:
    """Return why it is too late for a program that runs to say how it ends, or None.

    Whoever asked for its end did so first. What is stored is older than any later wish, and stands.

    Args:
        task: The task as it is.
        run: The program's name; empty for that of a plain task.
    """
    if runs.is_to_end(task, run):
        return "The program was asked to end before it said how it does."
    found = runs.named(task, run)
    if found is not None and found.last.reason is not None:
        return f"The attempt is being ended: {found.last.reason}."
    return None


def is_same(report: v1alpha1.Report, other: v1alpha1.Report) -> bool:
    """Tell whether two reports say the same, whenever they did."""
    return report == other.model_copy(update={"reported_at": report.reported_at})


def ended_by(task: v1alpha1.LongTask, report: v1alpha1.Report) -> v1alpha1.Report | None:
    """Return the report as it was taken for the end of a task's last attempt, or None.

    The words of a failure are not compared: of those only the end is kept.
    """
    last = _last(task)
    if last is None or last.reported_at is None or last.finished_at is None:
        return None
    said = (report.attempt, report.pod_uid, report.exit_code)
    if (last.number, last.pod_uid, last.exit_code) != said:
        return None
    result, known = report.result or v1alpha1.Result(), task.status.result
    if known is not None and known.ref is None and known.value != result.value:
        return None
    return report.model_copy(update={"reported_at": last.reported_at})


def with_contradictions(status: v1alpha1.LongTaskStatus) -> v1alpha1.LongTaskStatus:
    """Return a status in which each attempt says so whose container ended otherwise than it said.

    The end of a finished task never changes, so it stands beside that.
    """
    words = {(one.step, one.attempt): _words(one) for one in status.contradictions or ()}
    if not words:
        return status
    attempts = [_saying(one, words.get((None, one.number))) for one in status.attempts or ()]
    steps = [
        _saying(step, words.get((step.name, step.attempt or 0))).model_copy(
            update={
                "children": step.children
                and [
                    _saying(c, words.get((runs.name_of(step.name, c.index), c.attempt or 0)))
                    for c in step.children
                ]
            }
        )
        for step in status.steps or ()
    ]
    return status.model_copy(
        update={"attempts": status.attempts and attempts, "steps": status.steps and steps}
    )


def _words(found: v1alpha1.Contradiction) -> str:
    cause = f" ({found.reason})" if found.reason else ""
    return f"so it reported; its container then ended with exit code {found.exit_code}{cause}"


def _saying(one: P, words: str | None) -> P:
    if words is None:
        return one
    message = f"{one.message}; {words}" if one.message else words
    return one.model_copy(update={"message": message[-names.MESSAGE_MAX :]})


def _last(task: v1alpha1.LongTask) -> v1alpha1.Attempt | None:
    return task.status.attempts[-1] if task.status.attempts else None
