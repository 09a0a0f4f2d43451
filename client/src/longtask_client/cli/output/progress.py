"""A task's progress while somebody waits: alive on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator, Sequence

from longtask_client import models, spans
from longtask_client.cli.output import phrases, steps, terminal

#: Without a terminal, a line for each so many points is enough.
_STEP = 10


def show(tasks: Iterator[models.TaskView], ids: Sequence[str]) -> list[models.TaskView]:
    """Show tasks again and again, as they come; return each as it came last, as `ids` go."""
    seen = _live(tasks, ids) if sys.stderr.isatty() else _lines(tasks)
    return [seen[task_id] for task_id in ids]


def _lines(tasks: Iterator[models.TaskView]) -> dict[str, models.TaskView]:
    seen: dict[str, models.TaskView] = {}
    told: dict[str, int] = {}
    for task in tasks:
        before, now = seen.get(task.id), phrases.now()
        for row in steps.changes(before, task, now):
            took = f" after {spans.span(row.seconds or 0)}" if row.is_over else ""
            terminal.say(
                f"{task.id}: {row.name} {row.phase}{took}" + (row.text and f": {row.text}")
            )
        percent = task.percent or 0
        is_news = before is None or before.phase is not task.phase
        if is_news or abs(percent - told.get(task.id, 0)) >= _STEP:
            shown = f" {phrases.percent(task.percent)}" if task.percent is not None else ""
            terminal.say(f"{task.id}: {task.phase}{shown}")
            told[task.id] = percent
        seen[task.id] = task
    return seen


def _live(tasks: Iterator[models.TaskView], ids: Sequence[str]) -> dict[str, models.TaskView]:
    # Rich is slow to import, and few commands need it.
    from rich.console import Console, Group
    from rich.live import Live

    from longtask_client.cli.output import tree

    console = Console(stderr=True)
    shown: dict[str, tree.Tree] = {}
    least = max(map(len, ids)) + 2  # and a mark
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        for task in tasks:
            if task.id in shown:
                shown[task.id].task = task
            else:
                shown[task.id] = tree.Tree(task, is_live=True, least=least)
                live.update(Group(*shown.values()))
    seen = {task_id: one.task for task_id, one in shown.items()}
    for task in seen.values():
        if task.steps:
            tree.draw(console, task)
    return seen
