"""Commands about types of tasks."""

from typing import Annotated

import typer

from longtask_client.cli import options, output, session, terminal

app = typer.Typer(rich_markup_mode=None)


@app.command()
def types(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Only this one.", show_default=False)] = None,
    form: options.Output = options.Format.TABLE,
) -> None:
    """List the types of tasks, or show one of them."""
    with session.of(context).open() as connection:
        found = connection.types() if name is None else [connection.type(name)]
    if form is options.Format.JSON:
        terminal.show(output.as_json(*found, many=name is None))
    elif form is options.Format.NAME:
        for one in found:
            terminal.show(one.name)
    elif name is not None:
        terminal.show(output.type_details(found[0]))
    else:
        rows = ((one.name, one.description or "-") for one in found)
        terminal.show(output.columns(("NAME", "DESCRIPTION"), rows))
