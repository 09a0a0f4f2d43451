"""One queue: who waits, in order, and who holds a place; and the same by owners."""

import heapq
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

    def may_start(self, rank: Rank, owner: str) -> bool:
        """Tell whether somebody who waits may start now."""
        free = self._free
        if rank not in self._owners:
            return False
        if self.shares is None:
            ahead = self.waiting.bisect_left(rank) - self._held_back.bisect_left(rank)
            return free is None or ahead < free
        if free is None:
            return self.shares.may_start(rank, owner)
        return rank in self.shares.startable(free)

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

    An owner who holds that many is skipped and blocks nobody: `_heads` are the first ones of all
    others, so who is next is found without a look at those who may not start.
    """

    def __init__(
        self, cap: int, waiting: Iterable[tuple[Rank, str]], holders: Iterable[str]
    ) -> None:
        self.cap = cap
        self.running: Counter[str] = Counter(holders)
        self._lines: dict[str, SortedList[Rank]] = {}
        self._heads: SortedList[tuple[Rank, str]] = SortedList()
        for rank, owner in waiting:
            self.wait(rank, owner)

    def wait(self, rank: Rank, owner: str) -> None:
        """Let one of the owner's wait."""
        self._drop_head(owner)
        self._lines.setdefault(owner, SortedList()).add(rank)
        self._show_head(owner)

    def leave(self, rank: Rank, owner: str) -> None:
        """Let one of the owner's wait no longer."""
        self._drop_head(owner)
        self._lines[owner].remove(rank)
        if not self._lines[owner]:
            del self._lines[owner]
        self._show_head(owner)

    def hold(self, owner: str, places: int) -> None:
        """Give the owner so many more places, or fewer."""
        self._drop_head(owner)
        self.running[owner] += places
        if not self.running[owner]:
            del self.running[owner]
        self._show_head(owner)

    def is_kept_by(self, owner: str) -> bool:
        """Tell whether the owner holds no more places than may be."""
        return self.running[owner] <= self.cap

    def may_start(self, rank: Rank, owner: str) -> bool:
        """Tell whether it may start where only owners have a limit."""
        ahead: int = self._lines[owner].bisect_left(rank)
        return ahead < self.cap - self.running[owner]

    def startable(self, free: int | None) -> list[Rank]:
        """Return who may start, in order: each one that is taken counts against its owner."""
        heads = [(rank, owner, 0) for rank, owner in itertools.islice(self._heads, free)]
        found: list[Rank] = []
        while heads and (free is None or len(found) < free):
            rank, owner, nth = heapq.heappop(heads)
            found.append(rank)
            following = nth + 1
            line = self._lines[owner]
            if following < min(len(line), self.cap - self.running[owner]):
                heapq.heappush(heads, (line[following], owner, following))
        return found

    def _head(self, owner: str) -> tuple[Rank, str] | None:
        line = self._lines.get(owner)
        return (line[0], owner) if line and self.running[owner] < self.cap else None

    def _drop_head(self, owner: str) -> None:
        if (head := self._head(owner)) is not None:
            self._heads.remove(head)

    def _show_head(self, owner: str) -> None:
        if (head := self._head(owner)) is not None:
            self._heads.add(head)
