"""Keep the counts in the status of queues, for `kubectl get ltq`. No decision is based on them."""

import asyncio
from collections.abc import Awaitable, Callable

from longtask_adapters.kube import errors
from longtask_adapters.kube.cache import key_of
from longtask_operator import cluster, mirror, repeat


class Recorder:
    """Writes the counts that have changed; while all is calm it asks nothing of anybody.

    Args:
        seen: Where the queues and their counts are.
        kubernetes: Where they are written.
        is_writer: Tells whether this operator is the one that writes them now.
        sleep: Lets so many seconds pass.
    """

    def __init__(
        self,
        seen: mirror.Mirror,
        kubernetes: cluster.Cluster,
        is_writer: Callable[[], bool] = lambda: True,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._mirror = seen
        self._cluster = kubernetes
        self._is_writer = is_writer
        self._sleep = sleep

    async def run(self) -> None:
        """Write for ever; failures are logged and tried again, ever more slowly."""
        await repeat.for_ever(self.once, "Could not write counts", sleep=self._sleep)

    async def once(self) -> None:
        """Write the counts of each queue whose status says something else.

        Raises:
            ClusterError: Those of one queue were not written; all others were tried.
        """
        failure: errors.ClusterError | None = None
        for queue in self._mirror.queues.values():
            if key_of(queue) in self._mirror.queues.unreadable:
                continue  # what is known of it is old, and so is what its status would be
            counts, status = self._mirror.index.counts(key_of(queue)), queue.status
            now = (counts.running, counts.waiting, queue.metadata.generation)
            if now == (status.running, status.waiting, status.observed_generation):
                continue
            if not self._is_writer():
                return
            try:
                self._mirror.queues.put(await self._cluster.write_counts(queue, counts))
            except (errors.NotFound, errors.Conflict):
                continue  # deleted or made anew: the watch tells
            except errors.ClusterError as error:
                failure = error
        if failure is not None:
            raise failure
