"""Who waits, who runs, who is next: the one index of all queues, for operator and API alike. Pure.

The truth is the live state of the tasks. An index is told each change of a task, a type or a queue
and can be built anew from a list at any time; it answers in O(log n) of the tasks that wait. Needs
the extra `rules` (sortedcontainers).
"""

import dataclasses
import enum
import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from datetime import datetime
from typing import Final

from sortedcontainers import SortedList

from longtask_crds import effective, names, v1alpha1
from longtask_crds.names import ObjectKey

#: One point of priority is worth this much waiting time, so that nobody waits for ever.
HEAD_START_SECONDS: Final = 60

#: The sorting key of a queue: queued since, less the head start; then age; then name.
Rank = tuple[int, int, str]


class Standing(enum.Enum):
    """What a task is to its queue."""

    WAITING = enum.auto()  #: it starts when there is a place
    HOLDING = enum.auto()  #: an attempt of it, or its steps, are claimed and have no outcome yet
    OUT = enum.auto()  #: it is over, or will be without another attempt


def standing(task: v1alpha1.LongTask) -> Standing:
    """Return what the task is to its queue."""
    if task.is_finished:
        return Standing.OUT
    last = task.status.attempts[-1] if task.status.attempts else None
    # A pipeline has one place, from its first step to its last.
    if task.status.steps or (last is not None and last.finished_at is None):
        return Standing.HOLDING
    if task.metadata.deletion_timestamp is not None or task.spec.cancel:
        return Standing.OUT
    return Standing.WAITING


def rests(task: v1alpha1.LongTask) -> bool:
    """Tell whether little happens to the task for long: it waits, or it is over."""
    return standing(task) is not Standing.HOLDING


def deferred_until(task: v1alpha1.LongTask) -> datetime | None:
    """Return when the task joins its queue; None if it does so when it is made."""
    asked = task.spec.not_before
    return asked if asked is not None and asked > task.metadata.created_at else None


def startable_at(task: v1alpha1.LongTask) -> datetime | None:
    """Return until when the task is no part of its queue; None if it is one at once."""
    return task.status.retry_at if task.status.attempts else deferred_until(task)


def joined_at(task: v1alpha1.LongTask) -> datetime:
    """Return since when the task is in its queue, or when it joins it."""
    return task.status.queued_at or deferred_until(task) or task.metadata.created_at


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """All that the queues need to know of a task."""

    standing: Standing
    since: int  #: in the queue since, in seconds of the epoch
    type: str | None
    queue: str | None  #: that it names itself; of one that holds a place, where it holds it
    priority: int | None  #: that it names itself
    owner: str
    not_before: int | None = None  #: until then it is no part of its queue

    @classmethod
    def of(cls, task: v1alpha1.LongTask) -> "Entry | None":
        """Return the task's entry; None if it neither waits nor holds a place."""
        stands = standing(task)
        if stands is Standing.OUT:
            return None
        holds = stands is Standing.HOLDING
        later = None if holds else startable_at(task)
        return cls(
            standing=stands,
            since=int(joined_at(task).timestamp()),
            type=task.spec.type,
            # Where it holds its place was settled when it got it, whatever the type says since.
            queue=(task.status.queue if holds else None) or task.spec.queue,
            priority=task.spec.priority,
            owner=task.metadata.labels.get(names.OWNER_LABEL, ""),
            not_before=int(later.timestamp()) if later else None,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A waiting task's place, and what its queue is doing."""

    position: int  #: 1 is next
    queue: str
    running: int
    max_running: int | None
    paused: bool = False
    exists: bool = True
    owner_running: int = 0
    max_running_per_owner: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Counts:
    """How many tasks of a queue hold a place, and how many wait."""

    running: int
    waiting: int


def postponed(queue: str, joins_at: datetime) -> str:
    """Say why a task does not wait yet."""
    return f"joins queue {queue} at {joins_at:%Y-%m-%dT%H:%M:%SZ}"


def sentence(place: Place) -> str:
    """Say why the task does not run yet."""
    if not place.exists:
        return f"there is no LongTaskQueue named {place.queue}"
    if place.paused:
        return f"queue {place.queue} is paused"
    most, share = place.max_running, place.max_running_per_owner
    told = (
        f"next in queue {place.queue}"
        if place.position == 1
        else f"{place.position - 1} ahead in queue {place.queue}"
    )
    if most is not None and place.running >= most:
        told += f", {place.running} of {most} running"
    if share is not None and place.owner_running >= share:
        told += f", your limit of {share} is reached"
    return told


class Index:
    """All queues at once.

    It has no clock: who joins a queue later does so when `due` is told that it is time.
    """

    def __init__(self) -> None:
        self._entries: dict[ObjectKey, Entry] = {}
        self._where: dict[ObjectKey, tuple[ObjectKey, Rank]] = {}  #: its queue, its rank there
        self._reserved: set[ObjectKey] = set()
        self._held_back: set[ObjectKey] = set()
        self._now = 0  #: the latest time that it was told
        self._later: SortedList[tuple[int, ObjectKey]] = SortedList()  #: who joins when
        self._lines: dict[ObjectKey, _Line] = {}
        self._defaults: dict[ObjectKey, v1alpha1.TypeDefaults] = {}
        self._of_type: dict[ObjectKey, set[ObjectKey]] = {}

    # --- what it is told

    def update(self, key: ObjectKey, entry: Entry | None) -> set[ObjectKey]:
        """Take note of a task as it is now; return the queues in which others may start by that."""
        before = self._entries.get(key)
        if entry == before:
            return set()
        if before is not None and before.type:
            self._of_type[key.sibling(before.type)].discard(key)
        made_room = self._leave(key)
        if entry is None:
            self._entries.pop(key, None)
            self._held_back.discard(key)
        else:
            self._entries[key] = entry
            if entry.type:
                self._of_type.setdefault(key.sibling(entry.type), set()).add(key)
            self._enter(key, entry)
        return made_room

    def set_queue(self, queue: ObjectKey, spec: v1alpha1.LongTaskQueueSpec | None) -> bool:
        """Take note of a queue as it is now, or that there is none; tell whether that is news."""
        line = self._lines.setdefault(queue, _Line())
        if line.spec == spec:
            return False
        line.use(spec)
        self._tidy(queue)
        return True

    def set_type(
        self, task_type: ObjectKey, defaults: v1alpha1.TypeDefaults | None
    ) -> dict[ObjectKey, ObjectKey]:
        """Take note of a type's defaults.

        Returns:
            The tasks that wait elsewhere by them now, each with the queue in which others may
            start by that: the one that it left, or where it stands further back.
        """
        before = self._defaults.get(task_type)
        if defaults is None:
            self._defaults.pop(task_type, None)
        else:
            self._defaults[task_type] = defaults
        if _order(before) == _order(defaults):
            return {}
        moved = {}
        for key in self._of_type.get(task_type, ()):
            where = self._where[key]
            self._leave(key)
            self._enter(key, self._entries[key])
            if self._where[key] != where:
                moved[key] = where[0]
        return moved

    def due(self, now: int) -> set[ObjectKey]:
        """Let those join whose time has come, in seconds of the epoch; return their queues."""
        self._now = max(self._now, now)
        joined = set()
        while self._later and self._later[0][0] <= self._now:
            _, key = self._later.pop(0)
            self._enter(key, self._entries[key])
            joined.add(self._where[key][0])
        return joined

    def reserve(self, key: ObjectKey) -> None:
        """Count a waiting task as one that holds a place: its claim is being written."""
        self._reserved.add(key)
        self._again(key)

    def hold_back(self, key: ObjectKey) -> set[ObjectKey]:
        """Pass a waiting task over: it cannot be started, and is to block nobody.

        It keeps its position. Returns the queues in which others may start by that.
        """
        if key not in self._entries:
            return set()
        self._held_back.add(key)
        return self._again(key)

    def release(self, key: ObjectKey) -> None:
        """Count a task that was reserved or held back as what it is again."""
        if key in self._reserved or key in self._held_back:
            self._reserved.discard(key)
            self._held_back.discard(key)
            self._again(key)

    # --- what it is asked

    def next_due(self) -> int | None:
        """Return when the next one joins its queue, in seconds of the epoch, or None."""
        return self._later[0][0] if self._later else None

    def may_start(self, key: ObjectKey) -> bool:
        """Tell whether the task may start now; of one that was reserved, whether it still may."""
        entry = self._entries.get(key)
        if entry is None or entry.standing is not Standing.WAITING or self.is_deferred(key):
            return False
        queue, rank = self._where[key]
        line = self._lines[queue]
        if key in self._reserved:
            return line.has_room_for_holders(entry.owner)
        return line.may_start(rank, entry.owner)

    def startable(self, queue: ObjectKey) -> list[ObjectKey]:
        """Return the tasks of the queue that may start now, the next one first."""
        line = self._lines.get(queue)
        return [queue.sibling(rank[2]) for rank in line.startable()] if line else []

    def waits(self, key: ObjectKey) -> bool:
        """Tell whether the task waits for a place."""
        entry = self._entries.get(key)
        return (
            entry is not None
            and entry.standing is Standing.WAITING
            and key not in self._reserved
            and not self.is_deferred(key)
        )

    def all_startable(self) -> list[ObjectKey]:
        """Return the tasks of all queues that may start now."""
        return [key for queue in list(self._lines) for key in self.startable(queue)]

    def is_deferred(self, key: ObjectKey) -> bool:
        """Tell whether the task joins its queue later."""
        entry = self._entries.get(key)
        if entry is None or entry.not_before is None:
            return False
        return (entry.not_before, key) in self._later

    def place(self, key: ObjectKey) -> Place | None:
        """Return the place of a task that waits, or None."""
        if not self.waits(key):
            return None
        queue, rank = self._where[key]
        line, owner = self._lines[queue], self._entries[key].owner
        spec = line.spec or v1alpha1.LongTaskQueueSpec()
        return Place(
            position=line.waiting.bisect_left(rank) + 1,
            queue=queue.name,
            running=len(line.holders),
            max_running=spec.max_running,
            paused=bool(spec.paused),
            exists=line.spec is not None,
            owner_running=line.shares.running[owner] if line.shares else 0,
            max_running_per_owner=spec.max_running_per_owner,
        )

    def counts(self, queue: ObjectKey) -> Counts:
        """Return how many tasks of the queue hold a place, and how many wait."""
        line = self._lines.get(queue)
        return Counts(len(line.holders), len(line.waiting)) if line else Counts(0, 0)

    def queues(self) -> list[ObjectKey]:
        """Return all queues that are there or that somebody waits or holds a place in."""
        return list(self._lines)

    def oldest(self, queue: ObjectKey) -> int | None:
        """Return since when the one waits who has waited longest, in seconds of the epoch.

        It takes a look at all who wait there (0.1 ms for 1,000): ask once for a queue, not for a
        task.
        """
        line = self._lines.get(queue)
        return min((since for _, since, _ in line.waiting), default=None) if line else None

    def waiting(self, *queues: ObjectKey, after: Rank | None = None) -> Iterator[ObjectKey]:
        """Yield the tasks that wait in these queues, the next one first.

        Args:
            queues: One queue, or several as if they were one.
            after: Begin behind this rank, at no cost for those before it.
        """
        lines = ((queue, self._lines[queue]) for queue in queues if queue in self._lines)
        ranks = (
            zip(line.waiting.irange(after, inclusive=(False, True)), itertools.repeat(queue))
            for queue, line in lines
        )
        return (queue.sibling(rank[2]) for rank, queue in heapq.merge(*ranks))

    def queue_of(self, key: ObjectKey) -> ObjectKey | None:
        """Return the queue that the task waits in, joins later or holds a place in, or None."""
        where = self._where.get(key)
        return where[0] if where else None

    def of_type(self, task_type: ObjectKey) -> Set[ObjectKey]:
        """Return the tasks of a type that wait or hold a place."""
        return self._of_type.get(task_type, set())

    def rank(self, key: ObjectKey) -> Rank | None:
        """Return the sorting key of a task that waits, joins later or holds a place, or None."""
        where = self._where.get(key)
        return where[1] if where else None

    # --- inside

    def _enter(self, key: ObjectKey, entry: Entry) -> None:
        defaults = self._defaults.get(key.sibling(entry.type)) if entry.type else None
        queue = key.sibling(effective.queue_of(entry, defaults))
        head_start = effective.priority_of(entry, defaults) * HEAD_START_SECONDS
        rank = (entry.since - head_start, entry.since, key.name)
        self._where[key] = (queue, rank)
        holds = entry.standing is Standing.HOLDING or key in self._reserved
        if not holds and entry.not_before is not None and entry.not_before > self._now:
            self._later.add((entry.not_before, key))
            return
        line = self._lines.setdefault(queue, _Line())
        if holds:
            line.hold(rank, entry.owner)
        elif key in self._held_back:
            line.hold_back(rank)
        else:
            line.wait(rank, entry.owner)

    def _leave(self, key: ObjectKey) -> set[ObjectKey]:
        where = self._where.pop(key, None)
        if where is None:
            return set()
        entry = self._entries[key]
        if self.is_deferred(key):
            self._later.remove((entry.not_before, key))
            return set()
        queue, rank = where
        line = self._lines[queue]
        line.leave(rank, entry.owner)
        limited = line.is_limited
        self._tidy(queue)
        return {queue} if limited else set()

    def _again(self, key: ObjectKey) -> set[ObjectKey]:
        entry = self._entries.get(key)
        if entry is None:
            return set()
        made_room = self._leave(key)
        self._enter(key, entry)
        return made_room

    def _tidy(self, queue: ObjectKey) -> None:
        line = self._lines[queue]
        if line.spec is None and not line.waiting and not line.holders:
            del self._lines[queue]


def _order(defaults: v1alpha1.TypeDefaults | None) -> tuple[str | None, int | None]:
    """Return the part of a type's defaults that decides where its tasks wait."""
    return (defaults.queue, defaults.priority) if defaults else (None, None)


class _Line:
    """One queue: who waits, in order, and who holds a place."""

    def __init__(self) -> None:
        self.spec: v1alpha1.LongTaskQueueSpec | None = None
        self.waiting: SortedList[Rank] = SortedList()
        self.holders: dict[Rank, str] = {}  #: and their owners
        self._held_back: SortedList[Rank] = SortedList()  #: those who wait and are passed over
        self._owners: dict[Rank, str] = {}  #: of all others who wait
        self.shares: _Shares | None = None  #: only where owners have a limit

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
            self.shares = _Shares(cap, self._owners.items(), self.holders.values())

    def wait(self, rank: Rank, owner: str) -> None:
        self.waiting.add(rank)
        self._owners[rank] = owner
        if self.shares:
            self.shares.wait(rank, owner)

    def hold_back(self, rank: Rank) -> None:
        self.waiting.add(rank)
        self._held_back.add(rank)

    def hold(self, rank: Rank, owner: str) -> None:
        self.holders[rank] = owner
        if self.shares:
            self.shares.hold(owner, 1)

    def leave(self, rank: Rank, owner: str) -> None:
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
        free = self._free
        if self.shares is not None:
            return self.shares.startable(free)
        passed_on = (rank for rank in self.waiting if rank in self._owners)
        return list(itertools.islice(passed_on, free))


class _Shares:
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
        self._drop_head(owner)
        self._lines.setdefault(owner, SortedList()).add(rank)
        self._show_head(owner)

    def leave(self, rank: Rank, owner: str) -> None:
        self._drop_head(owner)
        self._lines[owner].remove(rank)
        if not self._lines[owner]:
            del self._lines[owner]
        self._show_head(owner)

    def hold(self, owner: str, places: int) -> None:
        self._drop_head(owner)
        self.running[owner] += places
        if not self.running[owner]:
            del self.running[owner]
        self._show_head(owner)

    def is_kept_by(self, owner: str) -> bool:
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
