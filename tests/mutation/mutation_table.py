"""The table of mutants in docs/reliability.md, from what became of each."""

import collections
import dataclasses
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

#: A mutant that loops is noticed, too.
NOTICED: Final = frozenset({"killed", "timeout", "segfault"})
#: Of a mutant that the sample left out.
UNTRIED: Final = "not checked"
#: A module's row, but for what is computed of it.
_ROW: Final = re.compile(r"^\| (\S+) \| (\d+) \| (\d+) \| (\d+) \|", re.MULTILINE)
#: Of a hundred mutants, so many are noticed.
ENOUGH: Final = 90


@dataclasses.dataclass(frozen=True)
class Count:
    """How many mutants of a module there are, were tried, and were noticed."""

    module: str
    mutants: int
    tried: int
    noticed: int

    @classmethod
    def of(cls, module: str, ends: Mapping[str, str]) -> "Count":
        """Count what became of a module's mutants."""
        told = collections.Counter(ends.values())
        noticed = sum(told[end] for end in NOTICED)
        return cls(module, len(ends), len(ends) - told[UNTRIED], noticed)

    @property
    def percent(self) -> float:
        """Return how many of a hundred were noticed."""
        return 100 * self.noticed / self.tried if self.tried else 100.0

    @property
    def is_enough(self) -> bool:
        """Tell whether that is as many as it should be."""
        return self.percent >= ENOUGH


def read(table: str) -> dict[str, Count]:
    """Return what a table says already, by module."""
    rows = (row.groups() for row in _ROW.finditer(table))
    return {name: Count(name, *map(int, numbers)) for name, *numbers in rows}


def rendered(counts: Sequence[Count], *, seed: int, day: date) -> str:
    """Return the table, and its sum."""
    keys = ("mutants", "tried", "noticed")
    total = Count("", *(sum(getattr(count, key) for count in counts) for key in keys))
    return "\n".join(
        [
            f"Last run on {day}; where not all were tried, a sample by seed {seed}.",
            "",
            "| module | mutants | tried | noticed | survived | % |",
            "|--|--|--|--|--|--|",
            *map(_row, [*counts, total]),
        ]
    )


def _row(count: Count) -> str:
    survived, percent = count.tried - count.noticed, f"{count.percent:.1f}"
    cells = (count.module, count.mutants, count.tried, count.noticed, survived, percent)
    return "| " + " | ".join(map(str, cells)) + " |"
