"""Who did what."""

from typing import Annotated

import typer

from longtask_client.cli import options, session
from longtask_client.cli.given import inputs
from longtask_client.cli.output import audit as shown
from longtask_client.cli.output import forms, lists, phrases

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog="""\b
Examples:
  longtask audit --by ada --since 1d
  longtask audit --target nightly-report
"""
)
def audit(
    context: typer.Context,
    actor: Annotated[
        str | None, typer.Option("--by", metavar="WHO", help="By whom: a name, or an owner.")
    ] = None,
    act: Annotated[
        str | None, typer.Option(metavar="ACT", help="What was asked for, such as deleteTask.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="NAME", help="To which task, queue, user, …")
    ] = None,
    since: options.Since = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Before then; written like --since.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    form: options.Output = forms.TABLE,
) -> None:
    """Tell who did what, the newest first; for admins."""
    now = phrases.now()
    with session.of(context).open() as connection:
        found = connection.audit(
            actor=actor,
            act=act,
            target=target,
            since=None if since is None else inputs.moment(since, option="--since", now=now),
            until=None if until is None else inputs.moment(until, option="--until", now=now),
            limit=limit,
        )
        entries = list(found)
    lists.show(entries, form, what="acts", name=lambda one: one.id, table=shown.AUDIT)
