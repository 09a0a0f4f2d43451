"""The life of a task, drawn to scale: lanes of bars, as parts of a hundred. Pure.

A wait is hatched and a try that failed stays in its lane. Of a step's tries Kubernetes keeps the
last one; those before it are one bar.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from longtask_api.ui import groups, words
from longtask_api.ui.groups import Group
from longtask_client import models
from longtask_crds import v1alpha1

#: What may lie between two marks of the axis, in seconds.
_STEPS: Final = (
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200),
    *(86_400, 172_800, 604_800),
)
_MOST_MARKS: Final = 6
#: What takes no time is seen all the same.
_LEAST: Final = 0.3


@dataclasses.dataclass(frozen=True)
class Bar:
    """A part of a lane, from left to right, in hundredths of its width."""

    left: float
    width: float
    group: Group
    is_hatched: bool
    says: str


@dataclasses.dataclass(frozen=True)
class Lane:
    """What happened to a task, or to one of its steps."""

    name: str
    group: Group
    bars: tuple[Bar, ...]
    note: str
    run: str = ""  #: the step, whose log one may look at


@dataclasses.dataclass(frozen=True)
class Mark:
    """A mark of the axis."""

    left: float
    says: str


@dataclasses.dataclass(frozen=True)
class Timeline:
    """The picture."""

    lanes: tuple[Lane, ...]
    marks: tuple[Mark, ...]


@dataclasses.dataclass(frozen=True)
class _Stretch:
    """Something that took time."""

    start: datetime
    end: datetime
    group: Group
    says: str
    is_hatched: bool = False


def of(task: models.TaskView, now: datetime) -> Timeline:
    """Return the picture of a task's life as far as it has come."""
    start, end = task.created_at, max(task.finished_at or now, task.created_at)
    between = _between((end - start).total_seconds())
    scale = _Scale(
        start, max(between, math.ceil((end - start).total_seconds() / between) * between)
    )
    if task.steps:
        lanes = tuple(_lane_of_step(step, scale, end) for step in task.steps)
    else:
        lanes = (_lane_of_task(task, scale, end),)
    marks = range(0, int(scale.seconds) + 1, between)
    return Timeline(lanes, tuple(Mark(scale.part(n), _short(n)) for n in marks))


@dataclasses.dataclass(frozen=True)
class _Scale:
    start: datetime
    seconds: float

    def part(self, seconds: float) -> float:
        return round(max(0.0, min(100.0, seconds / self.seconds * 100)), 2)

    def bars(self, stretches: Iterator[_Stretch]) -> tuple[Bar, ...]:
        return tuple(self._bar(one) for one in stretches if one.end >= one.start)

    def _bar(self, one: _Stretch) -> Bar:
        left = self.part((one.start - self.start).total_seconds())
        right = self.part((one.end - self.start).total_seconds())
        took = words.took((one.end - one.start).total_seconds())
        width = max(_LEAST, round(right - left, 2))
        return Bar(min(left, 100 - width), width, one.group, one.is_hatched, f"{one.says}: {took}")


def _lane_of_task(task: models.TaskView, scale: _Scale, end: datetime) -> Lane:
    group = groups.of_phase(task.phase)
    begun = task.started_at or task.queued_at or task.created_at
    note = words.took(((task.finished_at or end) - begun).total_seconds())
    return Lane("the task", group, scale.bars(_of_attempts(task, end)), note)


def _of_attempts(task: models.TaskView, end: datetime) -> Iterator[_Stretch]:
    after, wait = task.created_at, Group.WAITING
    for attempt in task.attempts:
        started = attempt.started_at or attempt.claimed_at
        if started is None:
            continue
        if started > after:
            says = "waited" if wait is Group.WAITING else "waited to try again"
            yield _Stretch(after, started, wait, says, is_hatched=True)
        group = Group.FAILED
        if attempt.number == task.attempt and not (attempt.finished_at and task.retry_at):
            group = groups.of_phase(task.phase)
        after, wait = attempt.finished_at or end, Group.RETRYING
        yield _Stretch(started, after, group, _ending(attempt))
    if after < end and task.finished_at is None:
        yield _Stretch(after, end, wait, "waits", is_hatched=True)
    elif not task.attempts:
        yield _Stretch(after, end, wait, "waited", is_hatched=True)


def _ending(attempt: v1alpha1.Attempt) -> str:
    return f"attempt {attempt.number}" + (f", {attempt.reason}" if attempt.reason else "")


def _lane_of_step(step: v1alpha1.StepStatus, scale: _Scale, end: datetime) -> Lane:
    group = groups.of_step(step.phase)
    bars = scale.bars(_of_step(step, group, end))
    return Lane(step.name, group, bars, _note(step, end), run=step.name)


def _of_step(step: v1alpha1.StepStatus, group: Group, end: datetime) -> Iterator[_Stretch]:
    if step.items is not None:
        times = _of_items(step.children or ())
        if times is not None:
            start, last = times
            yield _Stretch(start, last if group.is_over and last else end, group, "items")
        return
    started = step.started_at or step.claimed_at
    if started is None or step.reused:
        return
    if (step.attempt or 1) > 1 and step.begun_at is not None and step.claimed_at is not None:
        yield _Stretch(step.begun_at, step.claimed_at, Group.FAILED, "tries before")
        yield _Stretch(step.claimed_at, started, Group.RETRYING, "starting", is_hatched=True)
    elif step.begun_at is not None:
        yield _Stretch(step.begun_at, started, Group.WAITING, "starting", is_hatched=True)
    over = step.finished_at
    if group is Group.RETRYING and over is not None:
        yield _Stretch(started, over, Group.FAILED, f"attempt {step.attempt}")
        yield _Stretch(over, end, Group.RETRYING, "waits to try again", is_hatched=True)
    else:
        yield _Stretch(started, over or end, group, f"attempt {step.attempt or 1}")


def _of_items(
    children: Sequence[v1alpha1.ChildStatus],
) -> tuple[datetime, datetime | None] | None:
    starts = [at for one in children if (at := one.begun_at or one.started_at) is not None]
    ends = [one.finished_at for one in children if one.finished_at is not None]
    return (min(starts), max(ends, default=None)) if starts else None


def _note(step: v1alpha1.StepStatus, end: datetime) -> str:
    if step.items is not None:
        return f"{step.succeeded or 0} of {step.items}"
    if step.reused:
        return "taken over"
    if step.phase is v1alpha1.StepPhase.SKIPPED:
        return "skipped"
    if step.started_at is None:
        return ""
    return words.took(((step.finished_at or end) - step.started_at).total_seconds())


def _between(seconds: float) -> int:
    """Return how much time lies between two marks of the axis."""
    return next((step for step in _STEPS if seconds / step <= _MOST_MARKS), _STEPS[-1])


def _short(seconds: int) -> str:
    left = timedelta(seconds=seconds)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size and seconds % size == 0:
            return f"{left // timedelta(seconds=size)} {unit}"
    return "0" if seconds == 0 else words.took(seconds)
