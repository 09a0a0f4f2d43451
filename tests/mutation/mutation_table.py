"""The table of docs/mutation.md, from what became of each mutant."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

BEGIN: Final = "<!-- mutants: begin -->"
END: Final = "<!-- mutants: end -->"
#: A mutant that loops is noticed, too.
NOTICED: Final = frozenset({"killed", "timeout", "segfault"})
#: Of a hundred mutants, so many are noticed.
ENOUGH: Final = 90


@dataclasses.dataclass(frozen=True)
class Count:
    """How many mutants of a module there were, and how many were noticed."""

    module: str
    mutants: int
    noticed: int
    untested: int  #: no test comes past them

    @classmethod
    def of(cls, module: str, ends: Mapping[str, str]) -> "Count":
        """Count what became of a module's mutants."""
        told = collections.Counter(ends.values())
        noticed = sum(told[end] for end in NOTICED)
        return cls(module, len(ends), noticed, told["no tests"])

    @property
    def percent(self) -> float:
        """Return how many of a hundred were noticed."""
        return 100 * self.noticed / self.mutants if self.mutants else 100.0

    @property
    def is_enough(self) -> bool:
        """Tell whether that is as many as it should be."""
        return self.percent >= ENOUGH


def rendered(counts: Sequence[Count], *, day: date) -> str:
    """Return the table, and its sum."""
    total = Count(
        "all",
        *(
            sum(getattr(count, key) for count in counts)
            for key in ("mutants", "noticed", "untested")
        ),
    )
    return "\n".join(
        [
            f"Run on {day}.",
            "",
            "| module | mutants | noticed | survived | no test comes past | % |",
            "|--|--|--|--|--|--|",
            *map(_row, [*counts, total]),
        ]
    )


def _row(count: Count) -> str:
    survived = count.mutants - count.noticed - count.untested
    percent = f"{count.percent:.1f}"
    cells = (count.module, count.mutants, count.noticed, survived, count.untested, percent)
    return "| " + " | ".join(map(str, cells)) + " |"
