"""Commands about types of tasks."""

from typing import Annotated

import typer

from longtask_client.cli import completion, forms, lists, options, output, session

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
            lists.show(found, form, what="types", name=lambda one: one.name, table=output.TYPES)
        else:
            lists.show_one(connection.type(name), form, name=name, text=output.type_details)
