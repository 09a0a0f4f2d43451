"""One item or a list of them on standard output, in the form that was asked for."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel

from longtask_client.cli.output import forms, phrases, tables, terminal

_M = TypeVar("_M", bound=BaseModel)


def show(
    items: Sequence[_M],
    form: forms.Form,
    *,
    what: str,
    name: Callable[[_M], str],
    table: tables.Table[_M],
) -> None:
    """Show items of one kind, and say so if there are none.

    Args:
        items: The items, in their order.
        form: How they are shown.
        what: What they are called, in the plural.
        name: Returns what other commands know an item by.
        table: How they look as a table.
    """
    if form.is_data:
        terminal.show(form.written({"items": [_data(item) for item in items]}))
    elif form.kind is forms.Kind.NAME:
        for item in items:
            terminal.show(name(item))
    elif items:
        terminal.show(table.text(items, phrases.now(), is_wide=form.is_wide))
    else:
        terminal.say(f"No {what}.")


def show_one(
    item: _M, form: forms.Form, *, name: str | None, text: Callable[[_M, datetime], str]
) -> None:
    """Show one item.

    Args:
        item: The item.
        form: How it is shown.
        name: What other commands know it by; None if nothing.
        text: Returns it for people, as of a moment.
    """
    if form.is_data:
        terminal.show(form.written(_data(item)))
    elif form.kind is not forms.Kind.NAME:
        terminal.show(text(item, phrases.now()))
    elif name is not None:
        terminal.show(name)


def _data(item: BaseModel) -> Any:
    """Return a model as the API says it."""
    return item.model_dump(mode="json", by_alias=True)
