"""Commands for administrators: users and invitations."""

from typing import Annotated

import typer

from longtask_client import models
from longtask_client.cli import options, session
from longtask_client.cli.given import inputs
from longtask_client.cli.output import accounts as shown
from longtask_client.cli.output import forms, lists, terminal

app = typer.Typer(rich_markup_mode=None)
admin = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Make users, and manage them; for admins."
)
app.add_typer(admin, name="admin")

_Username = Annotated[str, typer.Argument(metavar="USERNAME", help="The user.", show_default=False)]


@admin.command()
def create(
    context: typer.Context,
    username: _Username,
    email: Annotated[str | None, typer.Option(help="Where they are reached.")] = None,
    role: Annotated[models.Role, typer.Option(help="What they may.")] = models.Role.ADMIN,
    form: options.Output = forms.TABLE,
) -> None:
    """Make an administrator, or with --role another user; print their first password.

    It is shown once. The installation's token is an administrator's: with it the first one is made.
    """
    order = inputs.checked(models.UserOrder, username=username, email=email, role=role)
    with session.of(context).open() as connection:
        made = connection.create_user(order)
    terminal.say(f"{made.username} is made, as {made.role}.")
    _say_once()
    lists.show_one(made, form, name=made.username, text=lambda one, _: one.password)


@admin.command("list")
def list_(context: typer.Context, form: options.Output = forms.TABLE) -> None:
    """List the users."""
    with session.of(context).open() as connection:
        found = list(connection.users())
    lists.show(found, form, what="users", name=lambda one: one.username, table=shown.USERS)


@admin.command("set")
def set_(
    context: typer.Context,
    username: _Username,
    role: Annotated[models.Role | None, typer.Option(help="What they may.")] = None,
    disabled: Annotated[
        bool | None,
        typer.Option("--disable/--enable", help="Keep them out, or let them in again."),
    ] = None,
    form: options.Output = forms.NAME,
) -> None:
    """Give a user another role, or keep them out."""
    if role is None and disabled is None:
        raise inputs.BadWord("give --role, --disable or --enable")
    with session.of(context).open() as connection:
        found = connection.change_user(username, role=role, disabled=disabled)
    lists.show_one(found, form, name=username, text=lambda one, now: shown.USERS.text([one], now))


@admin.command("reset-password")
def reset_password(context: typer.Context, username: _Username) -> None:
    """Give a user a password that is made up; print it. It is shown once."""
    with session.of(context).open() as connection:
        made = connection.reset_password(username)
    _say_once()
    terminal.show(made)


@admin.command()
def delete(context: typer.Context, username: _Username) -> None:
    """Remove a user with their tokens; their tasks stay."""
    with session.of(context).open() as connection:
        connection.delete_user(username)
    terminal.show(username)


@admin.command()
def invite(
    context: typer.Context,
    note: Annotated[str | None, typer.Option("--for", help="Whom it is for.")] = None,
    role: Annotated[models.Role, typer.Option(help="What they may.")] = models.Role.USER,
    days: Annotated[int, typer.Option(min=1, max=365, help="How long it is good.")] = 7,
    form: options.Output = forms.TABLE,
) -> None:
    """Make an invitation, with which somebody may register once; print it. It is shown once."""
    order = inputs.checked(models.InviteOrder, note=note, role=role, expires_in_days=days)
    with session.of(context).open() as connection:
        made = connection.create_invite(order)
    terminal.say(
        f"They run: longtask register --username NAME --email ADDRESS --invite {made.invite}"
    )
    lists.show_one(made, form, name=made.id, text=lambda one, _: one.invite)


@admin.command()
def invites(context: typer.Context, form: options.Output = forms.TABLE) -> None:
    """List the invitations that nobody has taken yet."""
    with session.of(context).open() as connection:
        found = connection.invites()
    lists.show(found, form, what="invitations", name=lambda one: one.id, table=shown.INVITES)


@admin.command("delete-invite")
def delete_invite(
    context: typer.Context,
    invite_id: Annotated[
        str, typer.Argument(metavar="ID", help="The invitation's id.", show_default=False)
    ],
) -> None:
    """Take an invitation back."""
    with session.of(context).open() as connection:
        connection.delete_invite(invite_id)
    terminal.show(invite_id)


def _say_once() -> None:
    terminal.say(
        "Give them this password; it is not shown again. They log in, then: longtask password"
    )
