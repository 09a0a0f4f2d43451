"""How much of one thing is held open for callers at once: by each of them, and in all.

Each replica counts its own.
"""

import collections
import contextlib
from collections.abc import Iterator

from longtask_api import errors
from longtask_api.auth import callers


class Openings:
    """Counts what is open, and lets nobody have more than their share.

    Args:
        what: What it is, as people call several of them.
        of_caller: So many one caller may have.
        in_all: So many there may be; None for any number.
    """

    def __init__(self, what: str, *, of_caller: int, in_all: int | None = None) -> None:
        self._what = what
        self._of_caller = of_caller
        self._in_all = in_all
        self._open: collections.Counter[tuple[str, str]] = collections.Counter()

    def __len__(self) -> int:
        return self._open.total()

    @contextlib.contextmanager
    def one_more(self, caller: callers.Caller) -> Iterator[None]:
        """Count one that is open for the caller.

        Raises:
            TooManyRequests: They have too many, or all together have.
        """
        whose = (caller.subject, caller.name)
        if self._open[whose] >= self._of_caller:
            most = f"{self._of_caller} {self._what}"
            raise errors.TooManyRequests(f"You have {most} open: that is the most.")
        if self._in_all is not None and len(self) >= self._in_all:
            raise errors.TooManyRequests(f"Too many {self._what} are open here for now.")
        self._open[whose] += 1
        try:
            yield
        finally:
            self._open[whose] -= 1
            if not self._open[whose]:
                del self._open[whose]
