"""How many tasks somebody may have at once.

Each replica of the API counts what it has seen: those that are made at the same moment through
several of them may be a few more.
"""

import collections
import contextlib
from collections.abc import Iterator

from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.stores.catalogue import Catalogue
from longtask_crds.names import ObjectKey


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
        self._under_way: collections.defaultdict[str, set[ObjectKey]] = collections.defaultdict(set)

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
        under_way = self._under_way[owner]
        under_way.add(key)
        try:
            yield
        finally:
            under_way.discard(key)
            if not under_way:
                self._under_way.pop(owner, None)

    def _check(self, owner: str, key: ObjectKey) -> None:
        active, stored = self._catalogue.count_of(owner)
        # The watch may tell of a task before the answer to its making does; and the same request
        # may be on its way more than once.
        others = self._under_way.get(owner, set()) - {key}
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
