"""Commands that look at tasks, and change or end them."""

import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Annotated

import typer

from longtask_client import client, models, timeline, why
from longtask_client.cli import completion, options, outcomes, session
from longtask_client.cli.given import inputs, orders
from longtask_client.cli.output import callbacks, forms, lists, phrases, steps, terminal
from longtask_client.cli.output import tasks as shown
from longtask_crds import v1alpha1

app = typer.Typer(rich_markup_mode=None)


class Description(v1alpha1.Model):
    """All about a task."""

    task: models.TaskView
    """The task, as the API shows it."""

    callback: models.CallbackLog | None
    """Its callback, and each try; null if it has none."""

    events: list[timeline.Happening]
    """What happened to it, the first first."""

    why: why.Explanation
    """Why it stands where it stands."""


_MOST_WATCHED = 500
#: Before it is asked whether all of them are meant.
_MOST_COUNTED = 1_000


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
def describe(
    context: typer.Context, task_id: options.TaskId, form: options.Output = forms.TABLE
) -> None:
    """Tell all about a task, and why it stands so.

    Its attempts, its steps, its callback and its events are there, too.
    """
    with session.of(context).open() as connection:
        task = connection.get(task_id)
        callback = connection.callbacks(task_id) if task.callback is not None else None
    now = phrases.now()
    if form.is_data or form.kind is forms.Kind.NAME:
        every = Description(
            task=task, callback=callback, events=timeline.of(task), why=why.of(task, now)
        )
        lists.show_one(every, form, name=task.id, text=lambda _, __: "")
        return
    _show(task)
    if task.attempts and not task.steps:
        terminal.show("\n" + shown.ATTEMPTS.text(task.attempts, now))
    if callback is not None:
        terminal.show("\n" + callbacks.callback_details(callback, now))
    terminal.show("\n" + shown.EVENTS.text(timeline.of(task), now))
    terminal.show("\n" + _in_lines(why.of(task, now)))


@app.command("why")
def why_(
    context: typer.Context, task_id: options.TaskId, form: options.Output = forms.TABLE
) -> None:
    """Tell why a task waits or failed, and what to do next."""
    with session.of(context).open() as connection:
        task = connection.get(task_id)
    lists.show_one(
        why.of(task, phrases.now()), form, name=task.id, text=lambda one, _: _in_lines(one)
    )


def _in_lines(told: why.Explanation) -> str:
    """Return it for people; what a program has said breaks no line."""
    return "\n".join(map(terminal.plain, told.lines()))


@app.command()
def events(
    context: typer.Context,
    task_id: options.TaskId,
    since: options.Since = None,
    form: options.Output = forms.TABLE,
) -> None:
    """Tell what happened to a task, in its order."""
    first = None if since is None else inputs.moment(since, "--since", now=phrases.now())
    with session.of(context).open() as connection:
        found = timeline.of(connection.get(task_id), since=first)
    lists.show(found, form, what="events", name=lambda one: one.event, table=shown.EVENTS)


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
    """Print the link to the dashboard, or to a task's page, for a browser."""
    address = session.of(context).address().rstrip("/")
    if task_id is None:
        terminal.show(f"{address}/")
        return
    with session.of(context).open() as connection:
        task = connection.get(task_id)
    terminal.show(address + task.links.get("self", "").replace("/api/v1/", "/", 1))


@app.command("list")
def list_(
    context: typer.Context,
    phase: options.Phases = None,
    queue: options.InQueue = None,
    type_: options.OfType = None,
    owner: Annotated[str | None, typer.Option(help="Of this owner.")] = None,
    label: options.Labels = None,
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
    now = phrases.now()
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
    lists.show(tasks, form, what="tasks", name=_id, table=shown.TASKS)


@app.command(
    epilog="""\b
Examples:
  longtask cancel fibonacci-x4a2b3cd
  longtask cancel --queue gpu --phase queued
  longtask cancel --all --yes
"""
)
def cancel(
    context: typer.Context,
    task_id: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="The task's id, where no option says which ones.",
            show_default=False,
            autocompletion=completion.tasks,
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All of yours that have not ended.")
    ] = False,
    phase: options.Phases = None,
    queue: options.InQueue = None,
    type_: options.OfType = None,
    label: options.Labels = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    form: options.Output = forms.NAME,
) -> None:
    """Ask a task to end, or all that fit; their records stay.

    With several options only those end that fit all of them.
    """
    wanted = models.TaskFilter(
        phases=orders.phases(phase or []),
        queue=queue,
        type=type_,
        labels=dict(inputs.pairs(label or [], what="label")),
    )
    says_which = everything or wanted != models.EVERY
    if says_which == (task_id is not None) or (everything and wanted != models.EVERY):
        raise inputs.BadWord("give an ID, or options that say which ones, or --all: one of these")
    with session.of(context).open() as connection:
        if task_id is None:
            _cancel_all(connection, wanted, everything=everything, is_sure=yes, form=form)
            return
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


def _cancel_all(
    connection: client.Client,
    wanted: models.TaskFilter,
    *,
    everything: bool,
    is_sure: bool,
    form: forms.Form,
) -> None:
    """Ask all tasks to end that fit, once somebody is sure; print their ids."""
    if not is_sure:
        going_on = [phase for phase in wanted.phases or v1alpha1.Phase if not phase.is_terminal]
        fitting = wanted.model_copy(update={"phases": tuple(going_on), "archived": False})
        count = sum(1 for _ in connection.tasks(fitting, limit=_MOST_COUNTED)) if going_on else 0
        if not count:
            terminal.say("No tasks that go on are like that.")
            return
        many = f"{count}{' or more' if count == _MOST_COUNTED else ''}"
        if not sys.stdin.isatty():
            raise inputs.BadWord(f"{many} would be asked to end: say --yes if that is meant")
        if not typer.confirm(f"Ask {many} to end?", err=True):
            terminal.say("Nothing is cancelled.")
            return
    done = []
    for task_id in connection.cancel_many(wanted, everything=everything):
        done.append(task_id)
        if not form.is_data:
            terminal.show(task_id)
    if form.is_data:
        terminal.show(form.written({"items": done}))
    terminal.say(f"Asked {len(done)} to end.")


def _rows(tasks: Iterator[models.TaskView], form: forms.Form) -> models.TaskView:
    """Print tasks as they come, but for one that comes again the same; return the last."""
    known: dict[str, models.TaskView] = {}
    if form.kind in (forms.Kind.TABLE, forms.Kind.WIDE):
        terminal.show(shown.TASKS.head(is_wide=form.is_wide))
    for task in tasks:
        last = task
        if known.get(task.id) != task:
            known[task.id] = task
            lists.show_one(task, form, name=task.id, text=_row(form))
    return last


def _row(form: forms.Form) -> Callable[[models.TaskView, datetime], str]:
    return lambda task, now: shown.TASKS.row(task, now, is_wide=form.is_wide)


def _id(task: models.TaskView) -> str:
    return task.id


def _print(task: models.TaskView, form: forms.Form) -> None:
    if form.kind is forms.Kind.TABLE:
        _show(task)
    elif form.is_wide:
        lists.show([task], form, what="tasks", name=_id, table=shown.TASKS)
    else:
        lists.show_one(task, form, name=task.id, text=shown.details)


def _show(task: models.TaskView) -> None:
    """Show a task and where each of its steps stands: as a tree on a terminal, else as a table."""
    terminal.show(shown.details(task, phrases.now()))
    if not task.steps:
        return
    terminal.show("")
    if not sys.stdout.isatty():
        terminal.show(steps.table(task, phrases.now()))
        return
    from rich.console import Console  # slow to import, and not needed by those that pipe

    from longtask_client.cli.output import tree

    tree.draw(Console(), task)
