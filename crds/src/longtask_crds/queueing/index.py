"""All queues at once."""

import heapq
import itertools
from collections import Counter
from collections.abc import Iterator, Set
from typing import Final

from sortedcontainers import SortedList

from longtask_crds import effective, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.queueing.entries import Entry, Rank, Standing
from longtask_crds.queueing.lines import Line
from longtask_crds.queueing.places import Counts, Place

#: One point of priority is worth this much waiting time, so that nobody waits for ever.
HEAD_START_SECONDS: Final = 60


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
        self._lines: dict[ObjectKey, Line] = {}
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
        stood_in = self.queue_of(key)
        made_room = self._leave(key)
        if entry is None:
            self._entries.pop(key, None)
            self._held_back.discard(key)
        else:
            self._entries[key] = entry
            if entry.type:
                self._of_type.setdefault(key.sibling(entry.type), set()).add(key)
            self._enter(key, entry)
            is_same = before is not None and before.owner == entry.owner
            if is_same and entry.standing is Standing.HOLDING and stood_in == self.queue_of(key):
                # Who starts makes no room: of a thousand that start, none wakes all others.
                return set()
        return made_room

    def set_queue(self, queue: ObjectKey, spec: v1alpha1.LongTaskQueueSpec | None) -> bool:
        """Take note of a queue as it is now, or that there is none; tell whether that is news."""
        line = self._lines.setdefault(queue, Line())
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

    def release(self, key: ObjectKey) -> set[ObjectKey]:
        """Count a task that was reserved or held back as what it is again.

        Returns the queues in which others may start by that.
        """
        if key not in self._reserved and key not in self._held_back:
            return set()
        gave_up = key in self._reserved and not self._holds(key)
        self._reserved.discard(key)
        self._held_back.discard(key)
        made_room = self._again(key)
        return made_room if gave_up else set()

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
        return line.may_start(rank)

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

    def shares(self, queue: ObjectKey) -> dict[str, Counts]:
        """Return the same by owner; it takes a look at each of the queue's tasks."""
        line = self._lines.get(queue)
        if line is None:
            return {}
        holding = Counter(line.holders.values())
        waiting = Counter(self._entries[queue.sibling(name)].owner for _, _, name in line.waiting)
        return {owner: Counts(holding[owner], waiting[owner]) for owner in holding | waiting}

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

    def _holds(self, key: ObjectKey) -> bool:
        entry = self._entries.get(key)
        return entry is not None and entry.standing is Standing.HOLDING

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
        line = self._lines.setdefault(queue, Line())
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
