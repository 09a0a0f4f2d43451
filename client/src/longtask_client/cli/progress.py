"""A task's progress while somebody waits: alive on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator

from longtask_client import models
from longtask_client.cli import output, steps, terminal

#: Without a terminal, a line for each so many points is enough.
_STEP = 10


def show(tasks: Iterator[models.TaskView]) -> models.TaskView:
    """Show a task again and again, as it comes; return it as it came last."""
    return _live(tasks) if sys.stderr.isatty() else _lines(tasks)


def _lines(tasks: Iterator[models.TaskView]) -> models.TaskView:
    before: models.TaskView | None = None
    told_phase, told_percent = None, 0
    for task in tasks:
        now = output.now()
        for row in steps.changes(before, task, now):
            took = f" after {output.span(row.seconds or 0)}" if row.is_over else ""
            terminal.say(
                f"{task.id}: {row.name} {row.phase}{took}" + (row.text and f": {row.text}")
            )
        percent = task.percent or 0
        if task.phase is not told_phase or abs(percent - told_percent) >= _STEP:
            shown = f" {output.percent(task.percent)}" if task.percent is not None else ""
            terminal.say(f"{task.id}: {task.phase}{shown}")
            told_phase, told_percent = task.phase, percent
        before = task
    return task


def _live(tasks: Iterator[models.TaskView]) -> models.TaskView:
    # Rich is slow to import, and few commands need it.
    from rich.console import Console
    from rich.live import Live

    from longtask_client.cli import tree

    console = Console(stderr=True)
    shown = tree.Tree(next(tasks), is_live=True)
    with Live(shown, console=console, refresh_per_second=8, transient=True):
        for task in tasks:
            shown.task = task
    if shown.task.steps:
        tree.draw(console, shown.task)
    return shown.task
