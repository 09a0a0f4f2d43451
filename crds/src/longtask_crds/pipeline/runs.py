"""The programs of a task, one by one: its own, or those of its steps and of their items. Pure.

A program of a pipeline is looked at as if it were a task of its own (`as_task`): the rules that
hold for a plain task hold for it, and what they decide is put back in its place (`put_back`).
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

from longtask_crds import names, v1alpha1
from longtask_crds.v1alpha1 import ConditionStatus, ConditionType, Reason, StepPhase, conditions
from longtask_crds.v1alpha1.conditions import Change

#: The fields of an attempt that the status of a program holds under the same name.
_OF_ATTEMPT = (
    "job_name",
    "job_uid",
    "pod_name",
    "pod_uid",
    "node",
    "claimed_at",
    "started_at",
    "finished_at",
    "reported_at",
    "exit_code",
    "reason",
    "message",
    "start",
)
_SAME = ("attempt", "disruptions", "retry_at", "progress", "result", "report", "waiting")
_NO_SPEC = v1alpha1.LongTaskSpec()
_NO_STATUS = v1alpha1.RunStatus()


@dataclasses.dataclass(frozen=True)
class Run:
    """A program of a task that has begun."""

    name: str  #: empty for the program of a plain task; else `STEP`, or `STEP.INDEX` for an item
    status: v1alpha1.LongTaskStatus | v1alpha1.RunStatus  #: where it stands
    is_over: bool

    @functools.cached_property
    def attempts(self) -> tuple[v1alpha1.Attempt, ...]:
        """The attempts that are known, the last one last."""
        if isinstance(self.status, v1alpha1.LongTaskStatus):
            return tuple(self.status.attempts or ())
        attempt = attempt_of(self.status)
        return () if attempt is None else (attempt,)

    @property
    def last(self) -> v1alpha1.Attempt:
        """Return the last attempt."""
        return self.attempts[-1]

    @property
    def job_name(self) -> str:
        """Return the name of the last attempt's Job."""
        if isinstance(self.status, v1alpha1.RunStatus) and self.status.job_name is not None:
            return self.status.job_name
        return self.last.job_name

    @property
    def progress(self) -> v1alpha1.Progress | None:
        """Return what the program last said of itself."""
        return self.status.progress

    @property
    def result(self) -> v1alpha1.Result | None:
        """Return what it brought."""
        return self.status.result


def of(task: v1alpha1.LongTask) -> Iterator[Run]:
    """Yield the programs of a task that have begun."""
    status = task.status
    if status.attempts:
        yield Run("", status, task.is_finished)
    for name, run in statuses(status):
        if (found := _begun(name, run)) is not None:
            yield found


def named(task: v1alpha1.LongTask, name: str) -> Run | None:
    """Return the program of that name, or None if there is none that has begun."""
    if not name:
        return next(of(task), None) if task.status.attempts else None
    # Whoever asks may have the name from anywhere: it may be that of nothing.
    run = dict(statuses(task.status)).get(name)
    return None if run is None else _begun(name, run)


def names_pod(task: v1alpha1.LongTask, uid: str) -> bool:
    """Tell whether an attempt of one of the task's programs has that pod."""
    return any(attempt.pod_uid == uid for run in of(task) for attempt in run.attempts)


def statuses(status: v1alpha1.LongTaskStatus) -> Iterator[tuple[str, v1alpha1.RunStatus]]:
    """Yield name and status of each program of a pipeline that is listed, begun or not."""
    for step in status.steps or ():
        if step.items is None:
            yield step.name, step
        for child in step.children or ():
            yield name_of(step.name, child.index), child


def name_of(step: str, index: int | None = None) -> str:
    """Return the name of the program of a step, or of one of its items."""
    return step if index is None else f"{step}.{index}"


def split(name: str) -> tuple[str, int | None]:
    """Return step and item of a program's name."""
    step, dot, index = name.partition(".")
    return step, int(index) if dot else None


def attempt_of(run: v1alpha1.RunStatus) -> v1alpha1.Attempt | None:
    """Return the current attempt of a program, or None before the first."""
    if not run.attempt or run.job_name is None:
        return None
    # Checked already where it comes from.
    return v1alpha1.Attempt.model_construct(
        number=run.attempt, **{field: getattr(run, field) for field in _OF_ATTEMPT}
    )


def spec_of(task: v1alpha1.LongTaskSpec, step: v1alpha1.Step) -> v1alpha1.LongTaskSpec:
    """Return the spec of a step as that of a task of its own, its input as it is written.

    What the step does not say the pipeline says for all; how long a task waits, and may take in
    all, is no step's matter.
    """
    own = step.timeouts or task.timeouts
    if own is not None:
        total = own.total_seconds if step.timeouts else None
        own = own.model_copy(update={"queue_seconds": None, "total_seconds": total})
    return _NO_SPEC.model_copy(
        update={
            "type": step.type,
            "container": step.container,
            "input": step.input,
            "queue": task.queue,
            "priority": task.priority,
            "resources": step.resources or task.resources,
            "retry": step.retry or task.retry,
            "timeouts": own,
        }
    )


def step_named(spec: v1alpha1.LongTaskSpec, name: str) -> v1alpha1.Step:
    """Return the step of that name.

    Raises:
        KeyError: There is none.
    """
    for step in spec.steps or ():
        if step.name == name:
            return step
    raise KeyError(name)


def status_of(status: v1alpha1.LongTaskStatus, name: str) -> v1alpha1.RunStatus:
    """Return the status of the program of that name, as far as it has one."""
    step_name, index = split(name)
    for step in status.steps or ():
        if step.name == step_name:
            if index is None:
                return step
            return next((c for c in step.children or () if c.index == index), _NO_STATUS)
    return _NO_STATUS


def is_cut(task: v1alpha1.LongTask, step: v1alpha1.Step) -> bool:
    """Tell whether what still runs of a step is to be ended, for its pipeline is."""
    ending = task.status.outcome
    return not step.finally_ and ending is not None and ending.phase is not v1alpha1.Phase.SUCCEEDED


def is_to_end(task: v1alpha1.LongTask, name: str) -> bool:
    """Tell whether a program was asked to end; a step marked `finally` runs on, whatever is ended.

    Args:
        task: The task.
        name: The program's name; empty for that of a plain task.
    """
    if not name:
        return bool(task.spec.cancel)
    step = step_named(task.spec, split(name)[0])
    return (bool(task.spec.cancel) and not step.finally_) or is_cut(task, step)


def as_task(
    task: v1alpha1.LongTask, name: str, *, cut: bool = False, value: Any = None
) -> v1alpha1.LongTask:
    """Return a program of a pipeline as a task of its own, of the same name and uid.

    Args:
        task: The pipeline.
        name: The program's name.
        cut: It is to be ended whatever becomes of the pipeline: enough of its siblings failed.
        value: Its input, with all references filled in.
    """
    step = step_named(task.spec, split(name)[0])
    run = status_of(task.status, name)
    spec = spec_of(task.spec, step).model_copy(
        update={"input": value, "cancel": True if cut or is_cut(task, step) else None}
    )
    meta = task.metadata.model_copy(
        update={"creation_timestamp": run.begun_at or task.metadata.creation_timestamp}
    )
    return task.model_copy(update={"spec": spec, "status": _as_status(task, run), "metadata": meta})


def put_back(run: v1alpha1.RunStatus, after: v1alpha1.LongTaskStatus) -> dict[str, object]:
    """Return the fields of a program's status that its new status as a task of its own makes.

    Args:
        run: The program's status as it was.
        after: Its new one.
    """
    attempt = after.attempts[-1] if after.attempts else None
    values: dict[str, object] = {field: getattr(after, field) for field in _SAME}
    if attempt is not None:
        values |= {field: getattr(attempt, field) for field in _OF_ATTEMPT}
    values["phase"] = StepPhase(str(after.phase))
    succeeded = conditions.find(after.conditions, ConditionType.SUCCEEDED)
    if succeeded is not None and after.phase is not None and after.phase.is_terminal:
        values |= {"reason": succeeded.reason, "message": succeeded.message or None}
        values["finished_at"] = values.get("finished_at") or after.finished_at
    stalled = conditions.find(after.conditions, ConditionType.STALLED)
    is_stalled = stalled is not None and stalled.status is ConditionStatus.TRUE
    values["stalled"] = stalled.reason if stalled is not None and is_stalled else None
    values["begun_at"] = run.begun_at or (attempt.claimed_at if attempt else None)
    if after.phase is v1alpha1.Phase.SUCCEEDED and after.progress is not None:
        # Nobody goes on from there any more, and it is the largest thing in the status.
        values["progress"] = after.progress.model_copy(update={"checkpoint": None})
    if (
        isinstance(run, v1alpha1.ChildStatus)
        and after.phase is not None
        and after.phase.is_terminal
    ):
        # There may be a hundred of them: what nobody asks for any more goes.
        values |= dict.fromkeys(("job_uid", "node", "claimed_at"))
    message = values.get("message")
    values["message"] = message[: names.BRIEF_MAX] if isinstance(message, str) else None
    return values


def _begun(name: str, run: v1alpha1.RunStatus) -> Run | None:
    """Return a program of a pipeline if it has begun."""
    if not run.attempt or run.job_name is None:
        return None
    return Run(name, run, is_over=run.is_over)


def _as_status(task: v1alpha1.LongTask, run: v1alpha1.RunStatus) -> v1alpha1.LongTaskStatus:
    attempt = attempt_of(run)
    over = run.is_over
    phase = v1alpha1.Phase.PENDING
    if run.phase not in (None, StepPhase.SKIPPED):
        phase = v1alpha1.Phase(str(run.phase))
    verdict = ConditionStatus.UNKNOWN
    if over:
        is_good = run.phase is StepPhase.SUCCEEDED
        verdict = ConditionStatus.TRUE if is_good else ConditionStatus.FALSE
    reason = _reason(run.reason) or Reason.PENDING
    stalled = _reason(run.stalled)
    return v1alpha1.LongTaskStatus(
        observed_generation=task.metadata.generation,
        phase=phase,
        queue=task.status.queue,
        queued_at=task.status.queued_at,
        started_at=run.started_at,
        finished_at=run.finished_at if over else None,
        attempts=[attempt] if attempt is not None else None,
        conditions=conditions.changed(
            (),
            Change(
                ConditionType.FINISHED,
                ConditionStatus.TRUE if over else ConditionStatus.FALSE,
                reason,
            ),
            Change(ConditionType.SUCCEEDED, verdict, reason, run.message or ""),
            Change(
                ConditionType.STALLED,
                ConditionStatus.TRUE if stalled else ConditionStatus.FALSE,
                stalled or Reason.AS_EXPECTED,
            ),
            now=run.claimed_at or task.metadata.created_at,
        ),
        contradictions=task.status.contradictions,
        **{field: getattr(run, field) for field in _SAME},
    )


def _reason(word: str | None) -> Reason | None:
    """Return a recorded reason; one of a later version is none to this one."""
    return Reason(word) if word in set(Reason) else None
