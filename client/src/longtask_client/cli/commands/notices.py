"""Commands about mails."""

import itertools
from typing import Annotated

import typer

from longtask_client import models
from longtask_client.cli import completion, options, session
from longtask_client.cli.output import forms, lists, terminal
from longtask_client.cli.output import notices as shown
from longtask_crds import v1alpha1

app = typer.Typer(rich_markup_mode=None)
mail = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Say of what you want mails, and where."
)
app.add_typer(mail, name="mail")


@app.command()
def notices(
    context: typer.Context,
    task_id: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="Of this task alone.",
            show_default=False,
            autocompletion=completion.tasks,
        ),
    ] = None,
    state: Annotated[
        models.NoticeState | None, typer.Option(help="Only those that stand so.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    form: options.Output = forms.TABLE,
) -> None:
    """List what was told by mail, or is about to be, the newest first.

    The texts of the mails are in -o json and -o yaml. It is all kept for seven days.
    """
    with session.of(context).open() as connection:
        asked = connection.notices(task_id, state=state, page_size=min(limit, 500))
        found = list(itertools.islice(asked, limit))
    lists.show(found, form, what="notices", name=lambda one: one.id, table=shown.NOTICES)


@mail.command()
def show(context: typer.Context, form: options.Output = forms.TABLE) -> None:
    """Tell of what you get mails, and where."""
    with session.of(context).open() as connection:
        _print(connection.notice_wish(), form)


@mail.command(
    epilog="""\b
Examples:
  longtask mail events failed succeeded
  longtask mail events
"""
)
def events(
    context: typer.Context,
    wanted: Annotated[
        list[v1alpha1.TaskEvent] | None,
        typer.Argument(metavar="[EVENT]...", help="The events; none at all when absent."),
    ] = None,
    form: options.Output = forms.TABLE,
) -> None:
    """Say of which events of your tasks you want mails."""
    with session.of(context).open() as connection:
        _print(connection.set_notice_wish(wanted or []), form)


@mail.command()
def verify(
    context: typer.Context,
    address: Annotated[
        str | None,
        typer.Argument(
            metavar="ADDRESS", help="The address; your account's when absent.", show_default=False
        ),
    ] = None,
) -> None:
    """Have a code sent to an address of yours; mails go to no other."""
    with session.of(context).open() as connection:
        connection.verify_email(address)
    terminal.say("A code is on its way. Then: longtask mail confirm CODE")


@mail.command()
def confirm(
    context: typer.Context,
    code: Annotated[str, typer.Argument(metavar="CODE", help="What stands in the mail.")],
    form: options.Output = forms.TABLE,
) -> None:
    """Show, by the code of a mail, that its address is yours."""
    with session.of(context).open() as connection:
        _print(connection.confirm_email(code), form)


def _print(found: models.NoticeWishView, form: forms.Form) -> None:
    lists.show_one(found, form, name=found.email, text=shown.notice_wish)
