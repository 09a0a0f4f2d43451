"""Commands that look at tasks, and change or end them."""

import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Annotated

import typer

from longtask_client import models
from longtask_client.cli import (
    completion,
    forms,
    inputs,
    lists,
    options,
    orders,
    outcomes,
    output,
    session,
    steps,
    terminal,
    timeline,
    why,
)

app = typer.Typer(rich_markup_mode=None)
_MOST_WATCHED = 500


@app.command()
def get(
    context: typer.Context,
    task_id: options.TaskId,
    watch: options.Watch = False,
    form: options.Output = forms.TABLE,
) -> None:
    """Look at a task."""
    with session.of(context).open() as connection:
        if watch:
            raise typer.Exit(outcomes.of_phase(_rows(connection.follow(task_id), form).phase))
        _print(connection.get(task_id), form)


@app.command()
def describe(context: typer.Context, task_id: options.TaskId) -> None:
    """Tell all about a task, and why it stands so.

    Its attempts, its steps, its callback and its events are there, too.
    """
    with session.of(context).open() as connection:
        task = connection.get(task_id)
        callback = connection.callbacks(task_id) if task.callback is not None else None
    now = output.now()
    _show(task)
    if task.attempts and not task.steps:
        terminal.show("\n" + output.ATTEMPTS.text(task.attempts, now))
    if callback is not None:
        terminal.show("\n" + output.callback_details(callback, now))
    terminal.show("\n" + output.EVENTS.text(timeline.of(task), now))
    terminal.show("\n" + "\n".join(why.explain(task, now)))


@app.command("why")
def why_(context: typer.Context, task_id: options.TaskId) -> None:
    """Tell why a task waits or failed, and what to do next."""
    with session.of(context).open() as connection:
        task = connection.get(task_id)
    for line in why.explain(task, output.now()):
        terminal.show(terminal.plain(line))


@app.command()
def events(
    context: typer.Context, task_id: options.TaskId, form: options.Output = forms.TABLE
) -> None:
    """Tell what happened to a task, in its order."""
    with session.of(context).open() as connection:
        found = timeline.of(connection.get(task_id))
    lists.show(found, form, what="events", name=lambda one: one.event, table=output.EVENTS)


@app.command("open")
def open_(
    context: typer.Context,
    task_id: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="Of this task.",
            show_default=False,
            autocompletion=completion.tasks,
        ),
    ] = None,
) -> None:
    """Print the link to LongTask, or to a task, for a browser."""
    address = session.of(context).address().rstrip("/")
    if task_id is None:
        terminal.show(f"{address}/")
        return
    with session.of(context).open() as connection:
        task = connection.get(task_id)
    terminal.show(address + task.links.get("self", ""))


@app.command("list")
def list_(
    context: typer.Context,
    phase: Annotated[
        list[str] | None, typer.Option(metavar="PHASE", help="In this phase; may be repeated.")
    ] = None,
    queue: Annotated[
        str | None, typer.Option(help="In this queue.", autocompletion=completion.queues)
    ] = None,
    type_: Annotated[
        str | None,
        typer.Option("--type", help="Of this type.", autocompletion=completion.types),
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Of this owner.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", metavar="KEY=VALUE", help="With this label."),
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="With this text in the name or the message."),
    ] = None,
    since: options.Since = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Made before then; as --since.")
    ] = None,
    archived: Annotated[
        bool | None,
        typer.Option(
            "--archived/--live",
            help="Only those whose resources are gone, or only the others.",
            show_default="both",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0 for all.")] = 100,
    watch: options.Watch = False,
    form: options.Output = forms.TABLE,
) -> None:
    """List tasks, live and archived, the newest first."""
    now = output.now()
    wanted = models.TaskFilter(
        phases=orders.phases(phase or []),
        queue=queue,
        type=type_,
        owner=owner,
        labels=dict(inputs.pairs(label or [], what="label")),
        search=search or None,
        since=None if since is None else inputs.moment(since, "--since", now=now),
        until=None if until is None else inputs.moment(until, "--until", now=now),
        archived=archived,
    )
    with session.of(context).open() as connection:
        if watch:
            _rows(
                connection.changes(wanted, limit=min(limit or _MOST_WATCHED, _MOST_WATCHED)), form
            )
            return
        tasks = list(connection.tasks(wanted, limit=limit or None, notice=terminal.say))
    lists.show(tasks, form, what="tasks", name=_id, table=output.TASKS)


@app.command()
def cancel(
    context: typer.Context, task_id: options.TaskId, form: options.Output = forms.NAME
) -> None:
    """Ask a task to end; its record stays."""
    with session.of(context).open() as connection:
        task = connection.cancel(task_id)
    if task.phase.is_terminal:
        terminal.say(f"{task.id} has {task.phase.lower()} already: there is nothing to cancel.")
    else:
        terminal.say(f"{task.id} is asked to end; longtask wait {task.id} sees it through.")
    _print(task, form)


@app.command()
def priority(
    context: typer.Context,
    task_id: options.TaskId,
    points: Annotated[
        int,
        typer.Argument(
            metavar="POINTS", min=0, max=100, help="Minutes of head start.", show_default=False
        ),
    ],
    form: options.Output = forms.NAME,
) -> None:
    """Change the priority of a task that waits."""
    with session.of(context).open() as connection:
        task = connection.set_priority(task_id, points)
    if task.waiting:
        terminal.say(f"{task.id}: {task.waiting}")
    _print(task, form)


@app.command()
def delete(context: typer.Context, task_id: options.TaskId) -> None:
    """Remove a task and everything of it; one that runs is ended."""
    with session.of(context).open() as connection:
        connection.delete(task_id)
    terminal.show(task_id)


def _rows(tasks: Iterator[models.TaskView], form: forms.Form) -> models.TaskView:
    """Print tasks as they come, but for one that comes again the same; return the last."""
    known: dict[str, models.TaskView] = {}
    if form.kind in (forms.Kind.TABLE, forms.Kind.WIDE):
        terminal.show(output.TASKS.head(is_wide=form.is_wide))
    for task in tasks:
        last = task
        if known.get(task.id) != task:
            known[task.id] = task
            lists.show_one(task, form, name=task.id, text=_row(form))
    return last


def _row(form: forms.Form) -> Callable[[models.TaskView, datetime], str]:
    return lambda task, now: output.TASKS.row(task, now, is_wide=form.is_wide)


def _id(task: models.TaskView) -> str:
    return task.id


def _print(task: models.TaskView, form: forms.Form) -> None:
    if form.kind is forms.Kind.TABLE:
        _show(task)
    elif form.is_wide:
        lists.show([task], form, what="tasks", name=_id, table=output.TASKS)
    else:
        lists.show_one(task, form, name=task.id, text=output.details)


def _show(task: models.TaskView) -> None:
    """Show a task and where each of its steps stands: as a tree on a terminal, else as a table."""
    terminal.show(output.details(task, output.now()))
    if not task.steps:
        return
    terminal.show("")
    if not sys.stdout.isatty():
        terminal.show(steps.table(task, output.now()))
        return
    from rich.console import Console  # slow to import, and not needed by those that pipe

    from longtask_client.cli import tree

    tree.draw(Console(), task)
