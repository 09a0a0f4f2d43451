"""Commands about types of tasks."""

from typing import Annotated

import typer

from longtask_client.cli import completion, options, session
from longtask_client.cli.output import forms, lists
from longtask_client.cli.output import types as shown

app = typer.Typer(rich_markup_mode=None)


@app.command()
def types(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(help="Only this one.", show_default=False, autocompletion=completion.types),
    ] = None,
    form: options.Output = forms.TABLE,
) -> None:
    """List the types of tasks, or show one of them."""
    with session.of(context).open() as connection:
        if name is None:
            found = connection.types()
            lists.show(found, form, what="types", name=lambda one: one.name, table=shown.TYPES)
        else:
            lists.show_one(connection.type(name), form, name=name, text=shown.type_details)
