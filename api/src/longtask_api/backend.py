"""Everything behind the endpoints, wired once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

from longtask_api import errors, informer, metrics, ports, settings
from longtask_api.services import callback_keys, progress, reporters, task_logs, tasks

#: For so long the API server may be away before this replica calls itself not ready.
_PATIENCE = 15.0


class Backend:
    """The caches and the services on them."""

    def __init__(
        self,
        cluster: ports.Cluster,
        configured: settings.Settings,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        start_patience: float = task_logs.START_PATIENCE,
    ) -> None:
        self.settings = configured
        self.token = configured.token()
        self.metrics = metrics.Metrics()
        task_informer = informer.Informer(cluster, ports.TASKS)
        type_informer = informer.Informer(cluster, ports.TYPES)
        queue_informer = informer.Informer(cluster, ports.QUEUES)
        self._informers: tuple[informer.Informer[Any], ...] = (
            task_informer,
            type_informer,
            queue_informer,
        )
        for one in self._informers:
            self.metrics.watch_cache(
                one.kind.plural,
                objects=one.cache.__len__,
                silence=one.silent_for,
            )
        self.tasks = tasks.TaskService(
            cluster,
            tasks=task_informer.cache,
            types=type_informer.cache,
            queues=queue_informer.cache,
            rules=tasks.Rules(
                installation=configured.installation,
                guard=configured.guard,
                path_prefix=configured.path_prefix,
            ),
        )
        self.logs = task_logs.LogService(cluster, self.tasks, start_patience=start_patience)
        self.keys = callback_keys.CallbackKeys(cluster, clock=clock)
        self.reporters = reporters.Reporters(cluster, self.tasks, namespace=configured.namespace)
        self.progress = progress.ProgressWriter(
            cluster, task_informer.cache, self.metrics, clock=clock
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the caches fresh meanwhile; at the end write what is still to be written."""
        running = [asyncio.create_task(one.run()) for one in self._informers]
        try:
            yield
        finally:
            for one in running:
                one.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await self.progress.close()

    async def synced(self) -> None:
        """Return once every cache has been filled."""
        await asyncio.gather(*(one.synced.wait() for one in self._informers))

    def check_synced(self) -> None:
        """Refuse to answer from caches that were never filled.

        Raises:
            Unavailable: They were not.
        """
        if not all(one.synced.is_set() for one in self._informers):
            raise errors.Unavailable("The resources are still being read.")

    def unready(self) -> list[str]:
        """Return what keeps this replica from serving; nothing if it is ready."""
        missing = [one for one in self._informers if not one.synced.is_set()]
        deaf = [one for one in self._informers if one.failing_for() > _PATIENCE]
        return [f"{one.kind.plural} are not read yet" for one in missing] + [
            f"Kubernetes tells nothing of {one.kind.plural}" for one in deaf
        ]
