"""Commands about queues."""

from typing import Annotated

import typer

from longtask_client import models
from longtask_client.cli import lists, options, output, session, terminal

app = typer.Typer(rich_markup_mode=None)
queue = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="See who runs and who waits; pause and resume a queue.",
)
app.add_typer(queue, name="queue")

_Name = Annotated[str, typer.Argument(metavar="QUEUE", help="Its name.", show_default=False)]


@queue.command("list")
def list_(context: typer.Context, form: options.Output = options.Format.TABLE) -> None:
    """List the queues."""
    with session.of(context).open() as connection:
        found = connection.queues()
    lists.show(
        found,
        form,
        what="queues",
        name=lambda one: one.name,
        head=output.QUEUE_HEAD,
        row=output.queue_row,
    )


@queue.command()
def show(
    context: typer.Context,
    name: _Name,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many who wait.")] = 20,
    form: options.Output = options.Format.TABLE,
) -> None:
    """Look at a queue, and at those who wait in it."""
    with session.of(context).open() as connection:
        found = connection.queue(name, limit=limit)
    if form is options.Format.TABLE:
        terminal.show(output.queue_details(found, output.now()))
        if found.content:
            rows = (output.queued_row(task, output.now()) for task in found.content)
            terminal.show("\n" + output.columns(output.QUEUED_HEAD, rows))
        if found.next_cursor:
            terminal.say("And more: --limit shows up to 500.")
    else:
        _print(found, form)


@queue.command()
def pause(context: typer.Context, name: _Name, form: options.Output = options.Format.NAME) -> None:
    """Let a queue start no task from now on; those that run go on."""
    with session.of(context).open() as connection:
        _print(connection.pause_queue(name), form)


@queue.command()
def resume(context: typer.Context, name: _Name, form: options.Output = options.Format.NAME) -> None:
    """Let a paused queue start tasks again."""
    with session.of(context).open() as connection:
        _print(connection.resume_queue(name), form)


def _print(found: models.QueueView, form: options.Format) -> None:
    match form:
        case options.Format.JSON:
            terminal.show(output.as_json(found))
        case options.Format.NAME:
            terminal.show(found.name)
        case options.Format.TABLE:
            terminal.show(output.queue_details(found, output.now()))
