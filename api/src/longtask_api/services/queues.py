"""What the API shows of queues, and the one thing that it changes of them."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from longtask_adapters.kube import errors as kube
from longtask_adapters.kube.cache import key_of
from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.services import cursors, views
from longtask_api.stores import pages
from longtask_api.stores.lines import Lines
from longtask_api.stores.resources import Resources
from longtask_client import models
from longtask_crds import queueing, v1alpha1

_logger = logging.getLogger(__name__)


class QueueService:
    """Shows queues, which are there for everybody; admins pause and resume them."""

    def __init__(
        self,
        resources: Resources,
        lines: Lines,
        *,
        clock: Callable[[], datetime],
        path_prefix: str = "",
    ) -> None:
        """Serve what the resources hold.

        Args:
            resources: Where queues are.
            lines: Who waits in them.
            clock: Returns the time.
            path_prefix: The path under which the API is published: links begin with it.
        """
        self._resources = resources
        self._lines = lines
        self._clock = clock
        self._path_prefix = path_prefix

    def all(self, _: callers.Caller) -> models.QueueList:
        """Return all queues, by name."""
        found = sorted(self._resources.queues(), key=lambda queue: queue.metadata.name)
        return models.QueueList(items=[self._view(queue) for queue in found])

    async def get(
        self, caller: callers.Caller, name: str, *, limit: int, cursor: str | None
    ) -> models.QueueContent:
        """Return the queue and one page of the tasks that wait in it and the caller may see.

        A page begins where the cursor says and costs what it holds, however many wait. It looks at
        `pages.MOST_LOOKS` tasks at most, so of somebody who sees few of them it may be empty.

        Raises:
            Missing: There is none of that name.
            Malformed: The cursor is none of ours, or of another list.
        """
        queue = await self._find(name)
        mark = cursors.mark_of("queue", name)
        last = _rank(cursors.decode(cursor, mark, _is_rank)) if cursor is not None else None
        content: list[models.QueuedTask] = []
        more = None
        for looks, task in enumerate(self._lines.waiting(name, after=last)):
            if len(content) == limit or looks == pages.MOST_LOOKS:
                assert last is not None
                more = cursors.encode(last, mark)
                break
            last, place = self._lines.rank(task), self._lines.place(task)
            assert last is not None
            assert place is not None
            if caller.may_see(task.owner):
                content.append(
                    views.queued_task(
                        task,
                        position=place.position,
                        queued_at=datetime.fromtimestamp(last[1], UTC),
                        priority=self._lines.priority_of(task),
                        prefix=self._path_prefix,
                    )
                )
        return models.QueueContent(**dict(self._view(queue)), content=content, next_cursor=more)

    async def shares(self, caller: callers.Caller, name: str) -> dict[str, queueing.Counts]:
        """Return how many tasks of each owner run and wait in the queue, as far as one may see.

        Raises:
            Missing: There is none of that name.
        """
        found = self._lines.shares_of(await self._find(name))
        return {owner: counts for owner, counts in found.items() if caller.may_see(owner)}

    async def pause(self, caller: callers.Caller, name: str, *, paused: bool) -> models.QueueView:
        """Let the queue start no task from now on, or let it start them again.

        Raises:
            Forbidden: The caller is no admin.
            Missing: There is none of that name.
        """
        if not caller.may(callers.Act.MANAGE):
            raise errors.Forbidden("Only admins pause and resume queues.")
        queue = await self._find(name)
        try:
            # Whatever the cache says: somebody may have changed it a moment ago.
            queue = await self._resources.patch_queue(queue, {"spec": {"paused": paused}})
        except kube.NotFound as error:
            raise _missing() from error
        done = "Paused queue" if paused else "Resumed queue"
        _logger.info(done, extra={"queue": str(key_of(queue)), "by": caller.name})
        return self._view(queue)

    async def _find(self, name: str) -> v1alpha1.LongTaskQueue:
        found = await self._resources.find_queue(name)
        if found is None:
            raise _missing()
        return found

    def _view(self, queue: v1alpha1.LongTaskQueue) -> models.QueueView:
        line = self._lines.line_of(queue, now=self._clock())
        return views.queue_view(queue, line, prefix=self._path_prefix)


def _missing() -> errors.Missing:
    return errors.Missing("There is no such queue.")


def _is_rank(key: cursors.Key) -> bool:
    return [type(part) for part in key] == [int, int, str]


def _rank(key: cursors.Key) -> queueing.Rank:
    first, since, name = key
    return first, since, name
