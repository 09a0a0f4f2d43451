"""Commands about who asks."""

import typer

from longtask_client.cli import session, terminal

app = typer.Typer(rich_markup_mode=None)


@app.command("callback-key")
def callback_key(context: typer.Context) -> None:
    """Print the key that signs your callbacks.

    It is for any Standard Webhooks library.
    """
    with session.of(context).open() as connection:
        terminal.show(connection.callback_key())
