"""Rows under their heads."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Generic, TypeVar

from longtask_client.cli.output import terminal

_M = TypeVar("_M")


@dataclasses.dataclass(frozen=True)
class Column(Generic[_M]):
    """One column of a table."""

    head: str
    cell: Callable[[_M, datetime], str]
    width: int = 0  #: the least, where rows come one by one
    is_wide: bool = False  #: only where there is room


@dataclasses.dataclass(frozen=True)
class Table(Generic[_M]):
    """How items of one kind look as a table."""

    columns: tuple[Column[_M], ...]

    def text(self, items: Iterable[_M], now: datetime, *, is_wide: bool = False) -> str:
        """Return items under their heads, each column as wide as it must be."""
        shown = self._shown(is_wide)
        rows = ([column.cell(item, now) for column in shown] for item in items)
        return columns([column.head for column in shown], rows)

    def head(self, *, is_wide: bool = False) -> str:
        """Return the heads for rows that come one by one."""
        return self._line((column.head for column in self._shown(is_wide)), is_wide)

    def row(self, item: _M, now: datetime, *, is_wide: bool = False) -> str:
        """Return an item under such heads."""
        return self._line((column.cell(item, now) for column in self._shown(is_wide)), is_wide)

    def _shown(self, is_wide: bool) -> list[Column[_M]]:
        return [column for column in self.columns if is_wide or not column.is_wide]

    def _line(self, cells: Iterable[str], is_wide: bool) -> str:
        padded = (
            terminal.plain(cell).ljust(column.width)
            for cell, column in zip(cells, self._shown(is_wide), strict=True)
        )
        return "   ".join(padded).rstrip()


def columns(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows under their heads, each column as wide as it must be."""
    lines = [tuple(head), *(tuple(terminal.plain(cell) for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
