"""How far a pipeline is: one percentage, one word, and how it ended. Pure."""

from collections.abc import Sequence

from longtask_crds import v1alpha1
from longtask_crds.v1alpha1 import StepPhase


def percent(
    steps: Sequence[v1alpha1.Step], statuses: Sequence[v1alpha1.StepStatus], *, least: int = 0
) -> int:
    """Return how much of a pipeline is done, each step counted by its weight.

    Args:
        steps: The steps.
        statuses: Where they stand, in the same order.
        least: What was told before: it never falls.
    """
    total = sum(step.weight or 1 for step in steps) or 1
    done = sum(
        (step.weight or 1) * percent_of(status)
        for step, status in zip(steps, statuses, strict=True)
    )
    # A hundred is said when all is over, and not before.
    return max(least, min(int(done / total), 99))


def percent_of(step: v1alpha1.StepStatus) -> float:
    """Return how much of a step is done, of 100."""
    if step.is_over:
        return 100
    if step.items is None:
        return _percent(step)
    if step.items == 0:
        return 0
    listed = sum(_percent(child) for child in step.children or ())
    return listed / step.items


def _percent(run: v1alpha1.RunStatus) -> int:
    if run.is_over:
        return 100
    return (run.progress.percent or 0) if run.progress is not None else 0


def told(
    spec: v1alpha1.LongTaskSpec,
    statuses: Sequence[v1alpha1.StepStatus],
    before: v1alpha1.Progress | None,
    ending: v1alpha1.Outcome | None = None,
) -> v1alpha1.Progress:
    """Return what a pipeline says of its progress.

    Args:
        spec: The pipeline.
        statuses: Where its steps stand.
        before: What it said last.
        ending: How it ends; where that is no success, what is left undone is not done by that.
    """
    before = before or v1alpha1.Progress()
    newest = max(
        (
            (run.progress.updated_at, name, run.progress.message)
            for step in statuses
            for name, run in ((step.name, step), *((step.name, c) for c in step.children or ()))
            if run.progress is not None and run.progress.updated_at is not None
        ),
        default=None,
    )
    done = before.percent or 0
    if ending is None or ending.phase is v1alpha1.Phase.SUCCEEDED:
        done = percent(spec.steps or (), statuses, least=done)
    values: dict[str, object] = {"percent": done}
    if newest is not None:
        updated_at, name, message = newest
        values["updated_at"] = max(filter(None, (updated_at, before.updated_at)))
        values["message"] = f"{name}: {message}" if message else None
    return before.model_copy(update=values)


def word(statuses: Sequence[v1alpha1.StepStatus]) -> str:
    """Return how far it is in a word: `3/6 convert` is the third of six, which is being done."""
    begun = [s for s in statuses if s.phase not in (None, StepPhase.PENDING)]
    open_ones = [s for s in begun if not s.is_over]
    over = len(begun) - len(open_ones)
    place = f"{min(over + 1, len(statuses)) if open_ones else over}/{len(statuses)}"
    return f"{place} {open_ones[0].name}" if open_ones else place


def failed_first(
    steps: Sequence[v1alpha1.Step], statuses: Sequence[v1alpha1.StepStatus], *, last: bool = False
) -> v1alpha1.StepStatus | None:
    """Return the step whose failure fails the pipeline, or None.

    Args:
        steps: The steps.
        statuses: Where they stand, in the same order.
        last: Speak of those marked `finally`, not of the others.
    """
    return next(
        (
            status
            for step, status in zip(steps, statuses, strict=True)
            if bool(step.finally_) is last
            and status.phase is StepPhase.FAILED
            and not step.continue_on_failure
        ),
        None,
    )
