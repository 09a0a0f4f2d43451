"""Commands about queues."""

from typing import Annotated

import typer

from longtask_client import models
from longtask_client.cli import completion, options, session
from longtask_client.cli.output import forms, lists, terminal
from longtask_client.cli.output import queues as shown

app = typer.Typer(rich_markup_mode=None)
queue = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="See who runs and who waits; pause and resume a queue.",
)
app.add_typer(queue, name="queue")

_Name = Annotated[
    str,
    typer.Argument(
        metavar="QUEUE", help="Its name.", show_default=False, autocompletion=completion.queues
    ),
]


@queue.command("list")
def list_(context: typer.Context, form: options.Output = forms.TABLE) -> None:
    """List the queues."""
    with session.of(context).open() as connection:
        found = connection.queues()
    lists.show(found, form, what="queues", name=lambda one: one.name, table=shown.QUEUES)


@queue.command()
def show(
    context: typer.Context,
    name: _Name,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many who wait.")] = 20,
    form: options.Output = forms.TABLE,
) -> None:
    """Look at a queue, and at those who wait in it."""
    with session.of(context).open() as connection:
        found = connection.queue(name, limit=limit)
    _print(found, form)
    if found.next_cursor and not form.is_data:
        terminal.say("And more: --limit shows up to 500.")


@queue.command()
def pause(context: typer.Context, name: _Name, form: options.Output = forms.NAME) -> None:
    """Let a queue start no task from now on; those that run go on."""
    with session.of(context).open() as connection:
        _print(connection.pause_queue(name), form)


@queue.command()
def resume(context: typer.Context, name: _Name, form: options.Output = forms.NAME) -> None:
    """Let a paused queue start tasks again."""
    with session.of(context).open() as connection:
        _print(connection.resume_queue(name), form)


def _print(found: models.QueueView, form: forms.Form) -> None:
    lists.show_one(found, form, name=found.name, text=shown.queue_details)
