"""One queue: who waits, in order, and who holds a place; and the same by owners."""

import itertools
from collections import Counter
from collections.abc import Iterable

from sortedcontainers import SortedList

from longtask_crds import v1alpha1
from longtask_crds.queueing.entries import Rank


class Line:
    """One queue: who waits, in order, and who holds a place."""

    def __init__(self) -> None:
        self.spec: v1alpha1.LongTaskQueueSpec | None = None
        self.waiting: SortedList[Rank] = SortedList()
        self.holders: dict[Rank, str] = {}  #: and their owners
        self._held_back: SortedList[Rank] = SortedList()  #: those who wait and are passed over
        self._owners: dict[Rank, str] = {}  #: of all others who wait
        self.shares: Shares | None = None  #: only where owners have a limit

    @property
    def is_limited(self) -> bool:
        """Tell whether one who leaves makes room for another."""
        return self.spec is not None and (self.spec.max_running, self.shares) != (None, None)

    def use(self, spec: v1alpha1.LongTaskQueueSpec | None) -> None:
        """Take other limits."""
        self.spec = spec
        cap = spec.max_running_per_owner if spec else None
        if cap is None:
            self.shares = None
        elif self.shares is None or self.shares.cap != cap:
            self.shares = Shares(cap, self._owners.items(), self.holders.values())

    def wait(self, rank: Rank, owner: str) -> None:
        """Let somebody wait."""
        self.waiting.add(rank)
        self._owners[rank] = owner
        if self.shares:
            self.shares.wait(rank, owner)

    def hold_back(self, rank: Rank) -> None:
        """Let somebody wait who is passed over."""
        self.waiting.add(rank)
        self._held_back.add(rank)

    def hold(self, rank: Rank, owner: str) -> None:
        """Give somebody a place."""
        self.holders[rank] = owner
        if self.shares:
            self.shares.hold(owner, 1)

    def leave(self, rank: Rank, owner: str) -> None:
        """Let somebody go, from a place or from among those who wait."""
        if rank in self.holders:
            del self.holders[rank]
            if self.shares:
                self.shares.hold(owner, -1)
        else:
            self.waiting.remove(rank)
            if self._owners.pop(rank, None) is None:
                self._held_back.remove(rank)
            elif self.shares:
                self.shares.leave(rank, owner)

    @property
    def _free(self) -> int | None:
        """Return how many places are free; None is no limit."""
        if self.spec is None or self.spec.paused:
            return 0
        most = self.spec.max_running
        return None if most is None else max(0, most - len(self.holders))

    def may_start(self, rank: Rank) -> bool:
        """Tell whether somebody who waits may start now."""
        free = self._free
        if rank not in self._owners:
            return False
        if self.shares is not None:
            return self.shares.may_start(rank, free)
        ahead = self.waiting.bisect_left(rank) - self._held_back.bisect_left(rank)
        return free is None or ahead < free

    def has_room_for_holders(self, owner: str) -> bool:
        """Tell whether no more hold places than may."""
        if self.spec is None or self.spec.paused:
            return False
        most = self.spec.max_running
        in_queue = most is None or len(self.holders) <= most
        return in_queue and (self.shares is None or self.shares.is_kept_by(owner))

    def startable(self) -> list[Rank]:
        """Return all who may start now, in order."""
        free = self._free
        if self.shares is not None:
            return self.shares.startable(free)
        passed_on = (rank for rank in self.waiting if rank in self._owners)
        return list(itertools.islice(passed_on, free))


class Shares:
    """The same queue by owners, none of whom may hold more than so many places.

    Of each owner so many are runnable as the owner has places left, the first ones. All owners'
    stand in one order, so who is next is found without a look at those who may not start: an owner
    who holds every place is skipped and blocks nobody.
    """

    def __init__(
        self, cap: int, waiting: Iterable[tuple[Rank, str]], holders: Iterable[str]
    ) -> None:
        self.cap = cap
        self.running: Counter[str] = Counter(holders)
        self._lines: dict[str, SortedList[Rank]] = {}
        self._runnable: SortedList[Rank] = SortedList()
        for rank, owner in waiting:
            self.wait(rank, owner)

    def wait(self, rank: Rank, owner: str) -> None:
        """Let one of the owner's wait."""
        line, room = self._lines.setdefault(owner, SortedList()), self._room(owner)
        if line.bisect_left(rank) < room:
            # It takes the turn of the last one that had one.
            if len(line) >= room:
                self._runnable.remove(line[room - 1])
            self._runnable.add(rank)
        line.add(rank)

    def leave(self, rank: Rank, owner: str) -> None:
        """Let one of the owner's wait no longer."""
        line, room = self._lines[owner], self._room(owner)
        if line.bisect_left(rank) < room:
            self._runnable.remove(rank)
            if len(line) > room:
                self._runnable.add(line[room])
        line.remove(rank)
        if not line:
            del self._lines[owner]

    def hold(self, owner: str, places: int) -> None:
        """Give the owner so many more places, or fewer."""
        line, before = self._lines.get(owner, ()), self._room(owner)
        self.running[owner] += places
        after = self._room(owner)
        if not self.running[owner]:
            del self.running[owner]
        for rank in line[after:before]:
            self._runnable.remove(rank)
        self._runnable.update(line[before:after])

    def is_kept_by(self, owner: str) -> bool:
        """Tell whether the owner holds no more places than may be."""
        return self.running[owner] <= self.cap

    def may_start(self, rank: Rank, free: int | None) -> bool:
        """Tell whether it may start where so many places are free; None is no limit."""
        return rank in self._runnable and (free is None or self._runnable.bisect_left(rank) < free)

    def startable(self, free: int | None) -> list[Rank]:
        """Return who may start, in order."""
        return list(itertools.islice(self._runnable, free))

    def _room(self, owner: str) -> int:
        """Return how many more places the owner may get."""
        return max(0, self.cap - self.running[owner])
