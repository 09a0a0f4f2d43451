"""Commands that stay and watch."""

from typing import Annotated

import typer

from longtask_client.cli import completion, options, outcomes, session
from longtask_client.cli.output import forms, lists, progress, terminal, top
from longtask_client.cli.output import tasks as shown

app = typer.Typer(rich_markup_mode=None)


@app.command()
def wait(
    context: typer.Context,
    task_ids: Annotated[
        list[str],
        typer.Argument(
            metavar="ID...",
            help="The ids of the tasks.",
            show_default=False,
            autocompletion=completion.tasks,
        ),
    ],
    timeout: options.Timeout = None,
    form: options.Output = forms.NAME,
) -> None:
    """Wait for the end of tasks, in sight of their progress.

    Ctrl-C leaves them running. Of several the exit code is 1 if one of them failed, else 3 if one
    was cancelled.
    """
    ids = list(dict.fromkeys(task_ids))
    with session.of(context).open() as connection:
        ended = progress.show(connection.follow_all(ids, timeout=timeout), ids)
    for task in ended:
        terminal.say(shown.ending(task))
    if len(ended) > 1:
        lists.show(ended, form, what="tasks", name=lambda task: task.id, table=shown.TASKS)
    else:
        lists.show_one(ended[0], form, name=ended[0].id, text=shown.details)
    raise typer.Exit(outcomes.of_phases(task.phase for task in ended))


@app.command("top")
def top_(
    context: typer.Context,
    interval: Annotated[
        float, typer.Option(min=0.5, help="Seconds between two looks at least.")
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
) -> None:
    """Show what runs and what waits, and again when something has changed.

    Ctrl-C ends it. Where there is no terminal it looks once.
    """
    with session.of(context).open() as connection:
        top.show(connection, interval=interval, once=once)
