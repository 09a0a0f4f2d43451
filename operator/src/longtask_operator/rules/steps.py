"""What comes next in a pipeline: which steps begin, which are not taken, and how it ends. Pure.

Everything that follows from a change is part of the write that records the change: when a step
ends, those that waited for it are claimed with it. What a step takes from results that are kept
elsewhere has to be fetched first (`wanted`); until then the step just stays where it is.
"""

import dataclasses
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from longtask_crds import effective, json_values, names, runner_contract, v1alpha1
from longtask_crds.pipeline import conditions, graph, inputs, references, reuse, runs, standing
from longtask_crds.v1alpha1 import Phase, Reason, StepPhase
from longtask_operator.rules import outcome

#: How many steps, or items of one, run side by side where nothing is said.
DEFAULT_PARALLEL: Final = 4
#: So many bytes of results stand in the resource; the others are kept by the API.
INLINE_BUDGET: Final = 32 * 1024
#: So many items are listed; beyond that, of steps that are over only the counts stay.
_MOST_LISTED: Final = 100
#: A step does not begin while its items, with those of the steps that run, are more than this.
_MOST_OPEN_ITEMS: Final = 200


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A result that the API has to make, for the resource has no place for it."""

    run: str  #: the step or item that brings it; empty: the pipeline itself
    attempt: int
    is_list: bool
    parts: tuple[v1alpha1.Result, ...]


def wanted(task: v1alpha1.LongTask, parts: inputs.Parts) -> set[inputs.PartKey]:
    """Return what has to be fetched before the pipeline can go on, as far as is known by now."""
    found: set[inputs.PartKey] = set()

    def ask(question: Callable[[], object]) -> None:
        try:
            question()
        except inputs.NotFetched as error:
            found.add(error.key)
        except (references.Missing, references.Malformed, conditions.Unusable):
            pass  # that is told when the step begins

    for run in runs.of(task):
        if (
            run.name
            and not run.is_over
            and run.last.finished_at is None
            and run.last.job_uid is None
        ):
            ask(lambda run=run: inputs.value_of(task, run.name, parts))  # type: ignore[misc]
    for step in _ready(task):
        ask(lambda step=step: _is_taken(task, step, parts))  # type: ignore[misc]
        if step.for_each is not None:
            ask(lambda step=step: inputs.items_of(task, step, parts))  # type: ignore[misc]
    for status in task.status.steps or ():
        if status.items and status.phase is StepPhase.RUNNING:
            step = runs.step_named(task.spec, status.name)
            ask(lambda step=step: inputs.items_of(task, step, parts))  # type: ignore[misc]
    if task.status.outcome is not None:
        ask(lambda: _output(task, parts))
    return found


# --- what has no place in the resource ---


def overflows(task: v1alpha1.LongTask, result: v1alpha1.Result | None) -> bool:
    """Tell whether the resource has no place left for one more result of a step."""
    if result is None or result.ref is not None:
        return False
    return _inline(task.status) + json_values.size(result.value) > INLINE_BUDGET


def recipe(task: v1alpha1.LongTask, parts: inputs.Parts) -> Recipe | None:
    """Return a result that the API has to make before the pipeline can go on, or None."""
    for step, status in _pairs(task):
        if status.items and status.phase is StepPhase.RUNNING and _is_worked_through(status):
            results = _listed(status)
            if _succeeds(step, status) and _as_list(results) is None:
                return Recipe(status.name, 1, is_list=True, parts=results)
    if (
        task.status.outcome is None
        or not _all_over(task)
        or verdict(task).phase is not Phase.SUCCEEDED
    ):
        return None
    try:
        result = _output(task, parts)
    except (inputs.NotFetched, references.Missing):
        return None
    is_large = result.ref is None and not _is_small(result)
    return Recipe("", 1, is_list=False, parts=(result,)) if is_large else None


# --- where it goes ---


def begun(task: v1alpha1.LongTask, now: datetime) -> list[v1alpha1.StepStatus]:
    """Return where the steps of a pipeline stand when it gets its place."""
    taken_over = reuse.of(task).results
    made: list[v1alpha1.StepStatus] = []
    room = INLINE_BUDGET
    for step in task.spec.steps or ():
        status = v1alpha1.StepStatus(name=step.name, phase=StepPhase.PENDING)
        result = None if step.finally_ else taken_over.get(step.name)
        if result is not None:
            room -= json_values.size(result.value) if result.ref is None else 0
            if room >= 0:
                ended = _ended(StepPhase.SUCCEEDED, Reason.COMPLETED, None, now)
                update = {**ended, "result": result, "reused": True}
                status = status.model_copy(update=update)
        made.append(status)
    return made


def put(
    status: v1alpha1.LongTaskStatus, run: str, values: Mapping[str, object]
) -> v1alpha1.LongTaskStatus:
    """Return a status with some fields of a program's set."""
    name, index = runs.split(run)
    steps = []
    for step in status.steps or ():
        if step.name == name and index is None:
            step = step.model_copy(update=dict(values))
        elif step.name == name:
            children = [
                child.model_copy(update=dict(values)) if child.index == index else child
                for child in step.children or ()
            ]
            step = step.model_copy(update={"children": children})
        steps.append(step)
    return status.model_copy(update={"steps": steps})


def advanced(
    task: v1alpha1.LongTask, parts: inputs.Parts, *, now: datetime, overdue: bool = False
) -> v1alpha1.LongTaskStatus:
    """Return the status with all in it that follows from where the programs stand.

    Args:
        task: The pipeline, its status with the latest news.
        parts: What was fetched.
        now: The time that beginnings get.
        overdue: Its time is over.
    """
    while True:
        before = task.status
        for move in (_count_items, _end_early, _leave_out, _begin, _begin_items):
            task = _with(task, move(task, parts, now, overdue))
        if task.status == before:
            return before


def verdict(task: v1alpha1.LongTask) -> v1alpha1.Outcome:
    """Return how a pipeline ends whose steps are all over."""
    ending = task.status.outcome
    if ending is None:
        raise ValueError("it has not come to its end")
    failed = standing.failed_first(task.spec.steps or (), task.status.steps or (), last=True)
    if ending.phase is Phase.SUCCEEDED and failed is not None:
        return _failed(failed)
    return ending


def result_of(task: v1alpha1.LongTask, parts: inputs.Parts) -> v1alpha1.Result | None:
    """Return what a pipeline brought that succeeded; None if the API has to make it first.

    Raises:
        NotFetched: Something has to be fetched first.
        Missing: A part of its output is not there.
    """
    result = _output(task, parts)
    return result if result.ref is not None or _is_small(result) else None


def is_over(task: v1alpha1.LongTask) -> bool:
    """Tell whether nothing is left to be done of a pipeline but to say how it ended."""
    return task.status.outcome is not None and _all_over(task)


def is_given_up(task: v1alpha1.LongTask, run: str) -> bool:
    """Tell whether an item is to be ended since too many others of its step have failed."""
    name, index = runs.split(run)
    if index is None:
        return False
    for step, status in _pairs(task):
        if status.name == name:
            return not _can_succeed(step, status)
    return False


# --- the moves: each returns the status after it ---


def _count_items(
    task: v1alpha1.LongTask, parts: inputs.Parts, now: datetime, overdue: bool
) -> v1alpha1.LongTaskStatus:
    """End the steps whose items are all done, or will not be."""
    status = task.status
    for step, of_step in _pairs(task):
        if of_step.items is None or of_step.phase is not StepPhase.RUNNING:
            continue
        children = of_step.children or []
        good = sum(child.phase is StepPhase.SUCCEEDED for child in children)
        bad = sum(child.phase is StepPhase.FAILED for child in children)
        none_open = not any(map(_is_open, children))
        values: dict[str, object] = {"succeeded": good, "failed": bad}
        result = _as_list(_listed(of_step)) if _is_worked_through(of_step) else None
        if result is not None and _succeeds(step, of_step):
            values |= brought(of_step, result, now)
        elif runs.is_cut(task, step) and none_open:
            # Nobody waits for what its items brought.
            values |= _ended(StepPhase.CANCELLED, Reason.CANCELLED, "the pipeline was ended", now)
        elif not _can_succeed(step, of_step) and none_open:
            values |= _ended(StepPhase.FAILED, Reason.ITEMS_FAILED, _first_failure(of_step), now)
        status = put(status, of_step.name, values)
    return status


def brought(
    step: v1alpha1.StepStatus,
    result: v1alpha1.Result | None,
    now: datetime,
) -> dict[str, object]:
    """Return what the status of a step becomes whose items are all done."""
    # What they brought stands in the list.
    kept = [child.model_copy(update={"result": None}) for child in step.children or ()]
    ended = _ended(StepPhase.SUCCEEDED, Reason.COMPLETED, None, now)
    return {**ended, "result": result, "children": kept}


def folded(
    status: v1alpha1.LongTaskStatus, *, untidy: Container[str] = ()
) -> v1alpha1.LongTaskStatus:
    """Return the status without the items of steps that are over, if too many are listed.

    Args:
        status: The pipeline's.
        untidy: Steps of whose Jobs one is to be tidied up: nobody would know it any more.
    """
    for step in status.steps or ():
        listed = sum(len(one.children or ()) for one in status.steps or ())
        may_go = step.is_over and step.name not in untidy
        if listed > _MOST_LISTED and step.children and may_go:
            status = put(status, step.name, {"children": None})
    return status


def failed(ended: outcome.Outcome, now: datetime) -> dict[str, object]:
    """Return what the status of a step becomes that failed without its program's word."""
    return _ended(StepPhase.FAILED, ended.reason, ended.message, now)


def _end_early(
    task: v1alpha1.LongTask, parts: inputs.Parts, now: datetime, overdue: bool
) -> v1alpha1.LongTaskStatus:
    """Say how the steps end that are not marked `finally`, as soon as that is known: once."""
    if task.status.outcome is not None:
        return task.status
    steps, statuses = task.spec.steps or (), task.status.steps or ()
    failed = standing.failed_first(steps, statuses)
    if all(status.is_over for step, status in _pairs(task) if not step.finally_):
        ending = v1alpha1.Outcome(phase=Phase.SUCCEEDED, reason=Reason.COMPLETED)
        if failed is not None:
            ending = _failed(failed)
    elif task.spec.cancel:
        message = "cancelled while it ran"
        ending = v1alpha1.Outcome(phase=Phase.CANCELLED, reason=Reason.CANCELLED, message=message)
    elif overdue:
        seconds = task.spec.timeouts.total_seconds if task.spec.timeouts else None
        message = f"took longer than {seconds} s in all"
        ending = v1alpha1.Outcome(phase=Phase.FAILED, reason=Reason.TOTAL_TIMEOUT, message=message)
    elif failed is not None:
        ending = _failed(failed)
    else:
        return task.status
    return task.status.model_copy(update={"outcome": ending})


def _leave_out(
    task: v1alpha1.LongTask, parts: inputs.Parts, now: datetime, overdue: bool
) -> v1alpha1.LongTaskStatus:
    """Skip what was not begun when the end came."""
    status = task.status
    for step, of_step in _pairs(task):
        if of_step.phase is StepPhase.PENDING and runs.is_cut(task, step):
            values = _ended(StepPhase.SKIPPED, Reason.NOT_TAKEN, "the pipeline ended before", now)
            status = put(status, of_step.name, values)
    return status


def _begin(
    task: v1alpha1.LongTask, parts: inputs.Parts, now: datetime, overdue: bool
) -> v1alpha1.LongTaskStatus:
    """Begin the steps whose turn it is, as many as may run side by side."""
    status = task.status
    free = (task.spec.max_parallel or DEFAULT_PARALLEL) - sum(
        _is_open(step) for step in status.steps or ()
    )
    for step in _ready(task):
        if free <= 0:
            break
        values = _beginning(_with(task, status), step, parts, now)
        status = put(status, step.name, values)
        phase = values.get("phase")
        free -= isinstance(phase, StepPhase) and not phase.is_terminal
    return status


def _beginning(
    task: v1alpha1.LongTask, step: v1alpha1.Step, parts: inputs.Parts, now: datetime
) -> dict[str, object]:
    """Return what the status of a step becomes whose turn it is; nothing while that is unknown."""
    try:
        if not _is_taken(task, step, parts):
            message = "its condition is false"
            return _ended(StepPhase.SKIPPED, Reason.NOT_TAKEN, message, now)
        if step.for_each is None:
            return _claim(task, step.name, now)
        items = inputs.items_of(task, step, parts)
        if not _has_room(task.status, len(items)):
            return {}
    except inputs.NotFetched:
        return {}
    except conditions.Unusable as error:
        return _ended(StepPhase.FAILED, Reason.INVALID_STEPS, f"when: {error}", now)
    except references.Missing as error:
        return _ended(StepPhase.FAILED, Reason.INVALID_INPUT, f"forEach: {error}", now)
    return {"phase": StepPhase.RUNNING, "begun_at": now, "items": len(items)}


def _begin_items(
    task: v1alpha1.LongTask, parts: inputs.Parts, now: datetime, overdue: bool
) -> v1alpha1.LongTaskStatus:
    """Begin the next items of the steps that have some."""
    status = task.status
    for step, of_step in _pairs(task):
        if (
            of_step.items is None
            or of_step.phase is not StepPhase.RUNNING
            or runs.is_cut(task, step)
            or not _can_succeed(step, of_step)
        ):
            continue
        children = list(of_step.children or ())
        free = (step.max_parallel or DEFAULT_PARALLEL) - sum(map(_is_open, children))
        first = len(children)
        for index in range(first, min(of_step.items, first + max(free, 0))):
            values = _claim(task, runs.name_of(step.name, index), now)
            children.append(v1alpha1.ChildStatus(index=index).model_copy(update=values))
        if len(children) > first:
            status = put(status, step.name, {"children": children})
    return status


# --- what they ask ---


def _pairs(task: v1alpha1.LongTask) -> Iterator[tuple[v1alpha1.Step, v1alpha1.StepStatus]]:
    return zip(task.spec.steps or (), task.status.steps or (), strict=True)


def _with(task: v1alpha1.LongTask, status: v1alpha1.LongTaskStatus) -> v1alpha1.LongTask:
    return task if status is task.status else task.model_copy(update={"status": status})


def _ready(task: v1alpha1.LongTask) -> Iterator[v1alpha1.Step]:
    """Yield the steps whose turn it is and that have not begun."""
    if task.is_finished:
        return
    of = graph.needs(task.spec.steps or ())
    over = {status.name for status in task.status.steps or () if status.is_over}
    main_over = all(step.finally_ or step.name in over for step in task.spec.steps or ())
    for step, status in _pairs(task):
        may = main_over if step.finally_ else task.status.outcome is None
        if may and status.phase is StepPhase.PENDING and over.issuperset(of[step.name]):
            yield step


def _is_open(run: v1alpha1.RunStatus) -> bool:
    return run.phase in (StepPhase.STARTING, StepPhase.RUNNING, StepPhase.RETRYING)


def _has_room(status: v1alpha1.LongTaskStatus, more: int) -> bool:
    """Tell whether the resource can list the items of one more step."""
    of_open = sum(step.items or 0 for step in status.steps or () if _is_open(step))
    return not of_open or of_open + more <= _MOST_OPEN_ITEMS


def _all_over(task: v1alpha1.LongTask) -> bool:
    return all(s.is_over for s in task.status.steps or ())


def _is_taken(task: v1alpha1.LongTask, step: v1alpha1.Step, parts: inputs.Parts) -> bool:
    if step.when is None:
        return True
    known: dict[str, dict[str, Any]] = {}
    for name in conditions.steps_in(step.when):
        status = next((s for s in task.status.steps or () if s.name == name), None)
        if status is not None and status.is_over:
            known[name] = {"phase": str(status.phase)}
            if status.phase is StepPhase.SUCCEEDED:
                whole = references.Reference(f"steps.{name}")
                known[name]["result"] = inputs.look_up_in(task, parts, None)(whole)
    ending = task.status.outcome
    return conditions.holds(
        step.when,
        {
            "input": effective.input_of(task.spec),
            "steps": known,
            "outcome": ending.to_json() if ending is not None else None,
        },
    )


def _output(task: v1alpha1.LongTask, parts: inputs.Parts) -> v1alpha1.Result:
    if task.spec.output is not None:
        value = references.filled_in(task.spec.output, inputs.look_up_in(task, parts, None))
        if json_values.size(value) > runner_contract.PART_LIMIT:
            raise references.Missing(f"it is larger than {runner_contract.PART_LIMIT} bytes")
        return v1alpha1.Result(value=value)
    last = [status for step, status in _pairs(task) if not step.finally_][-1]
    return last.result or v1alpha1.Result()


def _is_small(result: v1alpha1.Result) -> bool:
    return json_values.size(result.value) <= runner_contract.INLINE_RESULT_LIMIT


def _inline(status: v1alpha1.LongTaskStatus) -> int:
    """Return how many bytes of results stand in the resource."""
    results = (
        run.result
        for step in status.steps or ()
        for run in (step, *(step.children or ()))
        if run.result is not None and run.result.ref is None
    )
    return sum(json_values.size(result.value) for result in results)


def _is_worked_through(status: v1alpha1.StepStatus) -> bool:
    children = status.children or ()
    return len(children) == status.items and not any(map(_is_open, children))


def _can_succeed(step: v1alpha1.Step, status: v1alpha1.StepStatus) -> bool:
    """Tell whether enough items of a step may still succeed."""
    bad = sum(
        child.phase in (StepPhase.FAILED, StepPhase.CANCELLED) for child in status.children or ()
    )
    items = status.items or 0
    return items - bad >= _least(step, items)


def _succeeds(step: v1alpha1.Step, status: v1alpha1.StepStatus) -> bool:
    good = sum(child.phase is StepPhase.SUCCEEDED for child in status.children or ())
    return good >= _least(step, status.items or 0)


def _least(step: v1alpha1.Step, items: int) -> int:
    return items if step.min_successful is None else step.min_successful


def _listed(status: v1alpha1.StepStatus) -> tuple[v1alpha1.Result, ...]:
    """Return what the items brought, in order; null for those that failed."""
    nothing = v1alpha1.Result()
    return tuple(
        (child.result or nothing) if child.phase is StepPhase.SUCCEEDED else nothing
        for child in status.children or ()
    )


def _as_list(results: Sequence[v1alpha1.Result]) -> v1alpha1.Result | None:
    """Return results as one, a list; None if the resource has no place for it."""
    if any(result.ref is not None for result in results):
        return None
    made = v1alpha1.Result(value=[result.value for result in results])
    # The items' own results go when the list comes.
    return made if _is_small(made) else None


def _first_failure(status: v1alpha1.StepStatus) -> str:
    for phase in (StepPhase.FAILED, StepPhase.CANCELLED):
        for child in status.children or ():
            if child.phase is phase:
                return f"item {child.index}: {child.reason}: {child.message or ''}".rstrip(": ")
    return f"there are {status.items} items, fewer than must succeed"


def _failed(step: v1alpha1.StepStatus) -> v1alpha1.Outcome:
    message = f"step {step.name}: {step.reason}: {step.message or ''}".rstrip(": ")
    return v1alpha1.Outcome(
        phase=Phase.FAILED, reason=Reason.STEP_FAILED, message=message, step=step.name
    )


def _ended(
    phase: StepPhase, reason: Reason, message: str | None, now: datetime
) -> dict[str, object]:
    told = message[: names.BRIEF_MAX] if message else None
    return {"phase": phase, "reason": reason, "message": told, "finished_at": now}


def _claim(task: v1alpha1.LongTask, run: str, now: datetime) -> dict[str, object]:
    """Return what the status of a program becomes that is claimed: its Job comes a pass later."""
    meta = task.metadata
    checkpoint = reuse.of(task).checkpoints.get(run)
    return {
        "phase": StepPhase.STARTING,
        "attempt": 1,
        "job_name": names.job_name(meta.name, meta.uid, attempt=1, step=run),
        "claimed_at": now,
        "begun_at": now,
        "progress": None if checkpoint is None else v1alpha1.Progress(checkpoint=checkpoint),
    }
