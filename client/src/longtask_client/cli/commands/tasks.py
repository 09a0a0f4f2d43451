"""Commands about tasks."""

import itertools
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from longtask_client import client, models
from longtask_client.cli import (
    files,
    inputs,
    lists,
    options,
    orders,
    outcomes,
    output,
    progress,
    session,
    steps,
    terminal,
)
from longtask_crds import v1alpha1

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog="""\b
Examples:
  longtask submit fibonacci n=100
  longtask submit http-fetch --input '{"url": "https://example.com"}' --wait
  longtask submit --image docker.io/library/busybox:1.37 -- sh -c 'echo hello'
  longtask submit -f pipeline.yaml day=2026-01-02 --wait
"""
)
def submit(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORD",
            help="A type and its input; with -f an input; after -- a program and its arguments.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file", "-f", metavar="FILE|-", help="What to run: a LongTask or its spec, in YAML."
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--input", metavar="JSON|FILE|-", help="The whole input, instead of KEY=VALUE."
        ),
    ] = None,
    image: Annotated[str | None, typer.Option(help="Run PROGRAM in this image.")] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", "-e", metavar="KEY=VALUE", help="With --image.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The task's id; made up when absent.")] = None,
    queue: Annotated[str | None, typer.Option(help="The queue it waits in.")] = None,
    priority: Annotated[
        int | None, typer.Option(min=0, max=100, help="Minutes of head start in the queue.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="For finding it.")
    ] = None,
    callback: Annotated[
        str | None, typer.Option(metavar="URL", help="Where to send what becomes of it.")
    ] = None,
    attempts: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="How often it may be started, if it fails."),
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Begin then: 2026-01-02T03:04:05Z.")
    ] = None,
    delay: Annotated[
        str | None, typer.Option("--in", metavar="DELAY", help="Begin after 90s, 5m, 1h30m or 2d.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key and order again: the same task.")
    ] = None,
    wait: options.Wait = False,
    timeout: options.Timeout = None,
    form: options.Output = options.Format.TABLE,
) -> None:
    """Hand over a task; print its id."""
    order = orders.order(
        words or [],
        file=file,
        source=source,
        image=image,
        env=env or [],
        name=name,
        queue=queue,
        priority=priority,
        labels=label or [],
        callback=callback,
        attempts=attempts,
        not_before=inputs.start(at, delay, now=output.now()),
    )
    with session.of(context).open() as connection:
        task: models.TaskView = connection.submit(order, idempotency_key=idempotency_key)
        if wait:
            _see_through(connection, task, timeout, form)
    _print_new(task, form)


@app.command(
    epilog="""\b
Examples:
  longtask retry fibonacci-x4a2b3cd
  longtask retry fibonacci-x4a2b3cd n=50 --wait
  longtask retry import-x4a2b3cd --from-failed
"""
)
def retry(
    context: typer.Context,
    task_id: options.TaskId,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Another input, in place of the whole one.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--input", metavar="JSON|FILE|-", help="Another input, all of it."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The new id; made up when absent.")] = None,
    queue: Annotated[str | None, typer.Option(help="Another queue.")] = None,
    priority: Annotated[
        int | None, typer.Option(min=0, max=100, help="Other minutes of head start.")
    ] = None,
    from_failed: Annotated[
        bool,
        typer.Option("--from-failed", help="Of a pipeline: go on where it failed."),
    ] = False,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key and changes again: the same task.")
    ] = None,
    wait: options.Wait = False,
    timeout: options.Timeout = None,
    form: options.Output = options.Format.TABLE,
) -> None:
    """Make a new task of one that has ended; print its id."""
    changes = orders.changes(words or [], source=source, name=name, queue=queue, priority=priority)
    with session.of(context).open() as connection:
        task = connection.retry(
            task_id, changes, from_failed=from_failed, idempotency_key=idempotency_key
        )
        if wait:
            _see_through(connection, task, timeout, form)
    _print_new(task, form)


@app.command()
def wait(
    context: typer.Context,
    task_id: options.TaskId,
    timeout: options.Timeout = None,
    form: options.Output = options.Format.NAME,
) -> None:
    """Wait for the end of a task, in sight of its progress.

    Ctrl-C leaves it running.
    """
    with session.of(context).open() as connection:
        task = _await(connection, task_id, timeout)
    _print_task(task, form)
    raise typer.Exit(outcomes.of_phase(task.phase))


@app.command()
def get(
    context: typer.Context, task_id: options.TaskId, form: options.Output = options.Format.TABLE
) -> None:
    """Look at a task."""
    with session.of(context).open() as connection:
        _print_task(connection.get(task_id), form)


@app.command("list")
def list_(
    context: typer.Context,
    phase: Annotated[
        list[str] | None, typer.Option(metavar="PHASE", help="In this phase; may be repeated.")
    ] = None,
    queue: Annotated[str | None, typer.Option(help="In this queue.")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Of this type.")] = None,
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
    form: options.Output = options.Format.TABLE,
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
        tasks = list(connection.tasks(wanted, limit=limit or None, notice=terminal.say))
    lists.show(
        tasks,
        form,
        what="tasks",
        name=lambda task: task.id,
        head=output.TASK_HEAD,
        row=output.task_row,
    )


@app.command()
def logs(
    context: typer.Context,
    task_id: options.TaskId,
    step: options.Program = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
    attempt: Annotated[int | None, typer.Option(min=1, help="Of this attempt; the last.")] = None,
    tail: Annotated[int | None, typer.Option(min=0, help="The last lines, so many.")] = None,
    since: options.Since = None,
    timestamps: Annotated[
        bool, typer.Option("--timestamps", help="Begin each line with the time.")
    ] = False,
) -> None:
    """Print the log of a task, or the end of it when its pod is gone.

    Ctrl-C leaves it running.
    """
    first = None if since is None else inputs.moment(since, "--since", now=output.now())
    with session.of(context).open() as connection:
        for piece in connection.logs(
            task_id,
            step=step,
            follow=follow,
            attempt=attempt,
            tail=tail,
            since=first,
            timestamps=timestamps,
        ):
            terminal.show(piece, end="")


@app.command()
def result(
    context: typer.Context,
    task_id: options.TaskId,
    step: options.Step = None,
    file: Annotated[
        Path | None, typer.Option("--output-file", "-o", metavar="FILE", help="Write it there.")
    ] = None,
) -> None:
    """Print what a finished task brought, as it is: JSON mostly."""
    with session.of(context).open() as connection:
        pieces = connection.result_content(task_id, step=step)
        first = next(pieces, b"")
        # Null is also what a task without success has.
        is_open = step is None and first == b"null"
        task = connection.get(task_id) if is_open else None
        if task is not None and task.phase is not v1alpha1.Phase.SUCCEEDED:
            terminal.say(output.ending(task))
            raise typer.Exit(outcomes.of_phase(task.phase))
        whole = itertools.chain([first], pieces)
        if file is None or file == Path("-"):
            terminal.pour(whole)
        else:
            terminal.say(f"{file}: {files.write(file, whole)} bytes")


@app.command()
def cancel(
    context: typer.Context, task_id: options.TaskId, form: options.Output = options.Format.NAME
) -> None:
    """Ask a task to end; its record stays."""
    with session.of(context).open() as connection:
        _print_task(connection.cancel(task_id), form)


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
    form: options.Output = options.Format.NAME,
) -> None:
    """Change the priority of a task that waits."""
    with session.of(context).open() as connection:
        task = connection.set_priority(task_id, points)
    if task.waiting:
        terminal.say(f"{task.id}: {task.waiting}")
    _print_task(task, form)


@app.command()
def delete(context: typer.Context, task_id: options.TaskId) -> None:
    """Remove a task and everything of it; one that runs is ended."""
    with session.of(context).open() as connection:
        connection.delete(task_id)
    terminal.show(task_id)


def _print_new(task: models.TaskView, form: options.Format) -> None:
    """Print a task that was just made."""
    place = f", place {task.queue_position}" if task.queue_position else ""
    terminal.say(f"{task.id} is {task.phase} (queue {task.queue or 'default'}{place})")
    if task.phase is v1alpha1.Phase.PENDING and task.waiting and task.queue_position is None:
        terminal.say(f"It {task.waiting}.")
    terminal.show(output.as_json(task) if form is options.Format.JSON else task.id)


def _see_through(
    connection: client.Client,
    task: models.TaskView,
    timeout: float | None,
    form: options.Format,
) -> NoReturn:
    """Wait for the end of a task that was just made; print what it brought."""
    terminal.say(f"{task.id} is handed over")
    task = _await(connection, task.id, timeout)
    if form is options.Format.TABLE:
        if task.phase is v1alpha1.Phase.SUCCEEDED:
            terminal.pour(connection.result_content(task.id))
    else:
        terminal.show(output.as_json(task) if form is options.Format.JSON else task.id)
    raise typer.Exit(outcomes.of_phase(task.phase))


def _await(connection: client.Client, task_id: str, timeout: float | None) -> models.TaskView:
    """Wait with the progress in sight; tell how it ended."""
    task = progress.show(connection.follow(task_id, timeout=timeout))
    terminal.say(output.ending(task))
    return task


def _print_task(task: models.TaskView, form: options.Format) -> None:
    match form:
        case options.Format.JSON:
            terminal.show(output.as_json(task))
        case options.Format.NAME:
            terminal.show(task.id)
        case options.Format.TABLE:
            terminal.show(output.details(task, output.now()))
            if task.steps:
                _show_steps(task)


def _show_steps(task: models.TaskView) -> None:
    """Show where each step stands: as a tree on a terminal, else as a table."""
    terminal.show("")
    if not sys.stdout.isatty():
        terminal.show(steps.table(task, output.now()))
        return
    from rich.console import Console  # slow to import, and not needed by those that pipe

    from longtask_client.cli import tree

    tree.draw(Console(), task)
