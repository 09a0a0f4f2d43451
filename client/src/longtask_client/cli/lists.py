"""A list on standard output: as a table, as JSON, or by names alone."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from pydantic import BaseModel

from longtask_client.cli import options, output, terminal

_M = TypeVar("_M", bound=BaseModel)


def show(
    items: Sequence[_M],
    form: options.Format,
    *,
    what: str,
    name: Callable[[_M], str],
    head: Sequence[str],
    row: Callable[[_M, datetime], Sequence[str]],
) -> None:
    """Show items of one kind, and say so if there are none.

    Args:
        items: The items, in their order.
        form: How they are shown.
        what: What they are called, in the plural.
        name: Returns what other commands know an item by.
        head: The table's head.
        row: Returns an item's cells, as of a moment.
    """
    if form is options.Format.JSON:
        terminal.show(output.as_json(*items, many=True))
    elif form is options.Format.NAME:
        for item in items:
            terminal.show(name(item))
    elif items:
        terminal.show(output.columns(head, (row(item, output.now()) for item in items)))
    else:
        terminal.say(f"No {what}.")
