"""A task's progress while somebody waits: a live bar on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator

from longtask_client import models
from longtask_client.cli import output, terminal

#: Without a terminal, a line for each so many points is enough.
_STEP = 10


def show(task_id: str, states: Iterator[models.TaskState]) -> None:
    """Show the states until there is none left."""
    if sys.stderr.isatty():
        _bar(task_id, states)
    else:
        _lines(task_id, states)


def _lines(task_id: str, states: Iterator[models.TaskState]) -> None:
    last_state, last_percent = None, 0
    for state in states:
        percent = state.percent or 0
        if state.state is not last_state or abs(percent - last_percent) >= _STEP:
            shown = f" {output.percent(state.percent)}" if state.percent is not None else ""
            terminal.say(f"{task_id}: {state.state}{shown}")
            last_state, last_percent = state.state, percent


def _bar(task_id: str, states: Iterator[models.TaskState]) -> None:
    # Rich is slow to import, and no other command needs it.
    from rich import progress
    from rich.console import Console
    from rich.markup import escape

    with progress.Progress(
        progress.SpinnerColumn(),
        progress.TextColumn(escape(task_id)),
        progress.BarColumn(bar_width=30),
        progress.TextColumn("{task.fields[percent]:>4}"),
        progress.TextColumn("{task.description}"),
        progress.TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        # Without a total the bar moves to and fro: nobody knows how far it is.
        row = bar.add_task("…", total=None, percent="")
        for state in states:
            known = state.percent is not None
            bar.update(
                row,
                total=100 if known else None,
                completed=state.percent or 0,
                percent=output.percent(state.percent) if known else "",
                description=str(state.state),
            )
