"""Commands about who asks."""

from typing import Annotated

import typer

from longtask_client.cli import session, terminal

app = typer.Typer(rich_markup_mode=None)


@app.command("callback-key")
def callback_key(
    context: typer.Context,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Make a new one; the one before signs for a day.")
    ] = False,
) -> None:
    """Print the key that signs your callbacks.

    It is for any Standard Webhooks library.
    """
    with session.of(context).open() as connection:
        if not rotate:
            terminal.show(connection.callback_key())
            return
        made = connection.rotate_callback_key()
    if made.previous_until is not None:
        terminal.say(
            f"The one before signs as well until {made.previous_until:%Y-%m-%d %H:%M} UTC."
        )
    terminal.show(made.key)
