"""How many tasks and schedules somebody may have at once.

Each replica of the API counts what it has seen: those that are made at the same moment through
several of them may be a few more.
"""

import collections
import contextlib
from collections.abc import Callable, Iterator

from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.stores.catalogue import Catalogue
from longtask_crds.names import ObjectKey


class _UnderWay:
    """What is being made, by owner: the watch may tell of it before the answer does, or after."""

    def __init__(self) -> None:
        self._keys: collections.defaultdict[str, set[ObjectKey]] = collections.defaultdict(set)

    def beside(self, owner: str, key: ObjectKey) -> set[ObjectKey]:
        """Return what else of the owner's is being made: a request may come more than once."""
        return self._keys.get(owner, set()) - {key}

    @contextlib.contextmanager
    def making(self, owner: str, key: ObjectKey) -> Iterator[None]:
        """Count something while it is made."""
        under_way = self._keys[owner]
        under_way.add(key)
        try:
            yield
        finally:
            under_way.discard(key)
            if not under_way:
                self._keys.pop(owner, None)


class Allowances:
    """Lets everybody have so many tasks; the installation itself has as many as it likes."""

    def __init__(self, catalogue: Catalogue, *, active: int, stored: int) -> None:
        """Count in the catalogue.

        Args:
            catalogue: Knows all tasks that Kubernetes has.
            active: How many may not have ended; 0 for any number.
            stored: How many may be there, ended or not; 0 for any number.
        """
        self._catalogue = catalogue
        self._active = active
        self._stored = stored
        self._under_way = _UnderWay()

    @contextlib.contextmanager
    def one_more(self, caller: callers.Caller, key: ObjectKey) -> Iterator[None]:
        """Keep a place for a task while it is made.

        Raises:
            TooManyRequests: The caller has as many tasks as they may.
        """
        owner = caller.subject
        if not owner or not (self._active or self._stored):
            yield
            return
        self._check(owner, key)
        with self._under_way.making(owner, key):
            yield

    def _check(self, owner: str, key: ObjectKey) -> None:
        active, stored = self._catalogue.count_of(owner)
        others = self._under_way.beside(owner, key)
        coming = sum(other not in self._catalogue for other in others)
        if self._active and active + coming >= self._active:
            raise errors.TooManyRequests(
                f"You have {active + coming} tasks that have not ended; {self._active} are allowed."
                " Wait until some have ended, or cancel some."
            )
        if self._stored and stored + coming >= self._stored:
            raise errors.TooManyRequests(
                f"You have {stored + coming} tasks; {self._stored} are allowed. Delete some, or"
                " wait until those that have ended are archived."
            )


class ScheduleAllowance:
    """Lets everybody have so many schedules; the installation itself has as many as it likes."""

    def __init__(self, there: Callable[[str], set[ObjectKey]], *, most: int) -> None:
        """Count.

        Args:
            there: Returns the keys of an owner's schedules.
            most: How many there may be; 0 for any number.
        """
        self._there = there
        self._most = most
        self._under_way = _UnderWay()

    @contextlib.contextmanager
    def one_more(self, caller: callers.Caller, key: ObjectKey) -> Iterator[None]:
        """Keep a place for a schedule while it is made.

        Raises:
            TooManyRequests: The caller has as many schedules as they may.
        """
        owner = caller.subject
        if not owner or not self._most:
            yield
            return
        count = len(self._there(owner) | self._under_way.beside(owner, key))
        if count >= self._most:
            raise errors.TooManyRequests(
                f"You have {count} schedules; {self._most} are allowed. Delete some."
            )
        with self._under_way.making(owner, key):
            yield
