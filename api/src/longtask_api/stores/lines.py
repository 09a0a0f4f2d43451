"""The lines of all queues: who waits where, behind how many, and how fast it moves.

They follow from all tasks, types and queues together, and change with each of them.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from longtask_adapters.kube.cache import Cache, key_of
from longtask_api.stores.catalogue import Record
from longtask_api.stores.pace import Pace
from longtask_api.stores.resources import Resources, last_attempt
from longtask_crds import effective, queueing, v1alpha1
from longtask_crds.queueing import forecast


@dataclasses.dataclass(frozen=True)
class Line:
    """How a queue does."""

    running: int
    waiting: int
    oldest_queued_at: datetime | None
    starts_per_minute: float


class Lines:
    """Where every task stands that waits, runs or has come through."""

    def __init__(
        self,
        resources: Resources,
        *,
        tasks: Cache[v1alpha1.LongTask],
        types: Cache[v1alpha1.LongTaskType],
        queues: Cache[v1alpha1.LongTaskQueue],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Follow the caches of the resources, which are empty yet."""
        self._resources = resources
        self._clock = clock
        self._index = queueing.Index()
        self._pace = Pace()
        # After the resources, whose catalogue has each task by then.
        tasks.on_change(self._task_changed)
        types.on_change(self._type_changed)
        queues.on_change(self._queue_changed)

    def catch_up(self) -> None:
        """Let those join their queues whose time has come: once a request, which sees one state.

        It costs nothing while there are none.
        """
        self._index.due(int(self._clock().timestamp()))

    # --- of a queue

    def line_of(self, queue: v1alpha1.LongTaskQueue, *, now: datetime) -> Line:
        """Return how many run and wait in the queue, since when, and how fast it moves."""
        key = key_of(queue)
        counts, oldest = self._index.counts(key), self._index.oldest(key)
        return Line(
            running=counts.running,
            waiting=counts.waiting,
            oldest_queued_at=None if oldest is None else datetime.fromtimestamp(oldest, UTC),
            starts_per_minute=self._pace.starts_per_minute(key, now),
        )

    def shares_of(self, queue: v1alpha1.LongTaskQueue) -> dict[str, queueing.Counts]:
        """Return how many tasks of each owner run and wait in the queue."""
        return self._index.shares(key_of(queue))

    def waiting(self, queue: str | None, *, after: queueing.Rank | None = None) -> Iterator[Record]:
        """Yield the tasks that wait in the queue, or in any, the next one first; none is read.

        Args:
            queue: The queue's name; None for all of them, as if they were one.
            after: Begin behind this rank, at no cost for those before it.
        """
        queues = self._index.queues() if queue is None else [self._resources.key(queue)]
        catalogue = self._resources.catalogue
        return (catalogue[key] for key in self._index.waiting(*queues, after=after))

    # --- of a task

    def place(self, task: Record) -> queueing.Place | None:
        """Return the task's place in its queue, or None if it does not wait."""
        return None if task.phase.is_terminal else self._index.place(task.key)

    def estimated_start(self, place: queueing.Place) -> tuple[datetime, datetime] | None:
        """Return when the task at this place starts, at the earliest and at the latest.

        The two stay as they are until somebody takes or leaves a place in the queue.

        Returns:
            None where `forecast.estimate` knows nothing.
        """
        queue = self._resources.key(place.queue)
        seconds = forecast.estimate(place, self._pace.spread(queue))
        since = self._pace.moved_at(queue)
        if seconds is None or since is None:
            return None
        earliest, latest = math.floor(seconds[0]), math.ceil(seconds[1])
        return since + timedelta(seconds=earliest), since + timedelta(seconds=latest)

    def rank(self, task: Record) -> queueing.Rank | None:
        """Return what sorts the tasks that wait, or None if it does not wait."""
        return self._index.rank(task.key) if self._index.waits(task.key) else None

    def queue_of(self, task: Record) -> str:
        """Return the queue that the task waits in, holds a place in, or came through."""
        # Of one that is over, another may have the name by now.
        if not task.phase.is_terminal and (queue := self._index.queue_of(task.key)) is not None:
            return queue.name
        return task.came_through or effective.queue_of(task, self._resources.defaults_of(task))

    def priority_of(self, task: Record) -> int:
        """Return the task's minutes of head start."""
        return effective.priority_of(task, self._resources.defaults_of(task))

    # --- inside

    def _task_changed(
        self, before: v1alpha1.LongTask | None, after: v1alpha1.LongTask | None
    ) -> None:
        if after is not None:
            self._index.update(key_of(after), queueing.Entry.of(after))
            self._note_pace(before, after)
        elif before is not None:
            self._index.update(key_of(before), None)

    def _note_pace(self, before: v1alpha1.LongTask | None, after: v1alpha1.LongTask) -> None:
        if (last := last_attempt(after)) is not None:
            queue = key_of(after).sibling(self.queue_of(Record.of(after)))
            self._pace.note(queue, last_attempt(before) if before else None, last)

    def _type_changed(
        self, before: v1alpha1.LongTaskType | None, after: v1alpha1.LongTaskType | None
    ) -> None:
        if after is not None:
            self._index.set_type(key_of(after), after.spec.defaults)
        elif before is not None:
            self._index.set_type(key_of(before), None)

    def _queue_changed(
        self, before: v1alpha1.LongTaskQueue | None, after: v1alpha1.LongTaskQueue | None
    ) -> None:
        if after is not None:
            self._index.set_queue(key_of(after), after.spec)
        elif before is not None:
            self._index.set_queue(key_of(before), None)
            self._pace.forget(key_of(before))
