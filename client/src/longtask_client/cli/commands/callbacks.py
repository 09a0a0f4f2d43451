"""Commands about callbacks."""

from typing import Annotated

import typer

from longtask_client.cli import exit_codes, options, session
from longtask_client.cli.given import inputs, orders
from longtask_client.cli.output import callbacks as shown
from longtask_client.cli.output import forms, lists, phrases, terminal

app = typer.Typer(rich_markup_mode=None)


@app.command()
def callbacks(
    context: typer.Context, task_id: options.TaskId, form: options.Output = forms.TABLE
) -> None:
    """Show how a task's callback is delivered, and each try."""
    with session.of(context).open() as connection:
        found = connection.callbacks(task_id)
    if found.id is None and not form.is_data:
        terminal.say("There was no callback of it yet.")
    else:
        lists.show_one(found, form, name=found.id, text=shown.callback_details)


@app.command(
    epilog="""\b
Examples:
  longtask redeliver nightly-report
  longtask redeliver --since 2h --state exhausted
"""
)
def redeliver(
    context: typer.Context,
    task_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="The task's id.", show_default=False)
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Of what happened since 2026-01-02T03:04:05Z, or for 2h."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="And before that; now when absent.")
    ] = None,
    state: Annotated[
        str | None, typer.Option(help="Only those that are delivered, exhausted or pending.")
    ] = None,
) -> None:
    """Have a callback delivered again, or all of a range of time.

    It has the same id and body as before.
    """
    if (task_id is None) == (since is None) or (since is None and (until or state)):
        raise inputs.BadWord("give an ID, or --since and what else it needs")
    with session.of(context).open() as connection:
        if since is None:
            connection.redeliver(str(task_id))
            terminal.show(str(task_id))
            return
        now = phrases.now()
        begin = inputs.moment(since, option="--since", now=now)
        end = now if until is None else inputs.moment(until, option="--until", now=now)
        found = connection.redeliver_all(begin, end, state=orders.callback_state(state))
        for done in found:
            terminal.show(done)


@app.command("callback-test")
def callback_test(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where it is.", show_default=False)],
    form: options.Output = forms.TABLE,
) -> None:
    """Send a receiver a signed test; see what it answers."""
    with session.of(context).open() as connection:
        made = connection.test_callback(url)
    lists.show_one(made, form, name=made.id, text=shown.trial)
    if not made.delivered:
        raise typer.Exit(exit_codes.ExitCode.FAILED)
