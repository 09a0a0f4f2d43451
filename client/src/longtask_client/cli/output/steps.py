"""The steps of a pipeline as rows: what is seen of each, and which there is room for. Pure."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from datetime import datetime

from longtask_client import models, spans
from longtask_client.cli.output import phrases, tables, terminal
from longtask_crds import v1alpha1
from longtask_crds.pipeline import runs, standing
from longtask_crds.v1alpha1 import StepPhase

#: Of a step's items those that failed are shown and those at work, so many each: the step's own row
#: counts them all.
_ITEMS_SHOWN = 4
_SILENT = v1alpha1.Progress()
_AT_WORK = (StepPhase.STARTING, StepPhase.RUNNING, StepPhase.RETRYING)
_QUIET = (StepPhase.SUCCEEDED, StepPhase.SKIPPED, StepPhase.PENDING)


@dataclasses.dataclass(frozen=True)
class Row:
    """One program or step, or a line that stands for several."""

    name: str
    phase: StepPhase | None  #: None for a line that stands for several
    percent: int | None = None  #: None where there is nothing to measure
    seconds: float | None = None  #: since its first attempt was recorded
    attempt: int = 0
    text: str = ""  #: what it does, or why it stands so
    is_item: bool = False

    @property
    def label(self) -> str:
        """Return what it is called below what it belongs to."""
        return str(runs.split(self.name)[1]) if self.is_item else self.name

    @property
    def is_over(self) -> bool:
        """Tell whether it ran, and ended."""
        return self.phase is not None and self.phase.is_terminal and self.seconds is not None

    @property
    def is_quiet(self) -> bool:
        """Tell whether nobody needs to look at it now."""
        return self.phase in _QUIET and not self.is_item


def rows(task: models.TaskView, now: datetime) -> list[Row]:
    """Return a task's steps in their order, each before those of its items that are shown."""
    return [row for step in task.steps for row in (_of_step(step, now), *_of_items(step, now))]


def folded(found: Sequence[Row], height: int) -> list[Row]:
    """Return rows for so many lines: what is done and what is to come gives way first."""
    if len(found) <= height:
        return list(found)
    groups = [
        list(group)
        for _, group in itertools.groupby(
            found, lambda row: (row.phase is StepPhase.PENDING) if row.is_quiet else None
        )
    ]
    quiet = [group for group in groups if group[0].is_quiet]
    loud = sum(len(group) for group in groups if not group[0].is_quiet)
    share = max(0, height - loud - len(quiet)) // max(1, len(quiet))
    left = [row for group in groups for row in _few(group, share)]
    if len(left) > height:
        left = [row for row in left if not row.is_item]
    if len(left) > height:
        of_steps = [row for row in found if not row.is_item]
        kept = max(0, height - 1)
        left = [*of_steps[:kept], Row(f"{len(of_steps) - kept} more", None)]
    return left


def table(task: models.TaskView, now: datetime) -> str:
    """Return the steps as a table of plain text."""
    return tables.columns(
        ("STEP", "PHASE", "PROGRESS", "TIME", "ATTEMPT", "MESSAGE"),
        (
            (
                row.name,
                str(row.phase),
                phrases.percent(row.percent),
                "-" if row.seconds is None else spans.span(row.seconds),
                str(row.attempt or "-"),
                row.text,
            )
            for row in rows(task, now)
        ),
    )


def changes(before: models.TaskView | None, task: models.TaskView, now: datetime) -> Iterator[Row]:
    """Yield the steps and the failed items whose phase is another than before.

    Of one that is about to start nothing is said: it soon runs.
    """
    known = {row.name: row.phase for row in rows(before, now)} if before is not None else {}
    for row in rows(task, now):
        told = row.phase is StepPhase.FAILED or not row.is_item
        if told and row.phase not in (known.get(row.name), StepPhase.PENDING, StepPhase.STARTING):
            yield row


def _few(group: list[Row], share: int) -> list[Row]:
    """Return a group's rows, the quiet ones in one line but for those next to what happens."""
    hidden = len(group) - share
    if not group[0].is_quiet or hidden < 2:
        return group
    if group[0].phase is StepPhase.PENDING:
        return [*group[:share], Row(f"{hidden} to come", None)]
    return [Row(f"{hidden} over", None), *group[hidden:]]


def _of_step(step: v1alpha1.StepStatus, now: datetime) -> Row:
    row = _of_run(step.name, step, now)
    if step.items is None:
        return row
    at_work = sum(child.phase in _AT_WORK for child in step.children or ())
    counts = [f"{step.succeeded or 0}/{step.items} done"]
    counts += [f"{step.failed} failed"] if step.failed else []
    counts += [f"{at_work} at work"] if at_work else []
    return dataclasses.replace(
        row,
        percent=int(standing.percent_of(step)) if row.phase in _AT_WORK else row.percent,
        text=": ".join(filter(None, (", ".join(counts), row.text))),
    )


def _of_items(step: v1alpha1.StepStatus, now: datetime) -> Iterator[Row]:
    failed = [c for c in step.children or () if c.phase is StepPhase.FAILED]
    at_work = [c for c in step.children or () if c.phase in _AT_WORK]
    for child in (*failed[:_ITEMS_SHOWN], *at_work[:_ITEMS_SHOWN]):
        row = _of_run(runs.name_of(step.name, child.index), child, now)
        yield dataclasses.replace(row, is_item=True)


def _of_run(name: str, run: v1alpha1.RunStatus, now: datetime) -> Row:
    phase = run.phase or StepPhase.PENDING
    seconds = None
    if run.begun_at is not None and phase is not StepPhase.SKIPPED:
        end = run.finished_at if phase.is_terminal and run.finished_at else now
        seconds = (end - run.begun_at).total_seconds()
    said = run.progress or _SILENT
    return Row(
        name,
        phase,
        percent=100 if phase is StepPhase.SUCCEEDED else said.percent,
        seconds=seconds,
        attempt=run.attempt or 0,
        text=terminal.plain(_text(phase, run, now)),
    )


def _text(phase: StepPhase, run: v1alpha1.RunStatus, now: datetime) -> str:
    why = ": ".join(filter(None, (run.reason, run.message)))
    match phase:
        case StepPhase.SUCCEEDED:
            return "taken over" if isinstance(run, v1alpha1.StepStatus) and run.reused else ""
        case StepPhase.SKIPPED:
            return run.message or "not taken"
        case StepPhase.FAILED:
            return why
        case StepPhase.CANCELLED:
            return run.message or ""
        case StepPhase.RETRYING:
            again = "again" if run.retry_at is None else f"again {spans.until(run.retry_at, now)}"
            return f"{again}: {why}" if why else again
    said = run.progress or _SILENT
    return ": ".join(filter(None, (run.stalled, run.waiting or said.message)))
