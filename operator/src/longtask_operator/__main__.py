"""Start the operator: read the settings, wire the parts, let kopf watch."""

import asyncio
import logging
import sys
from datetime import UTC, datetime

import kopf
import structlog

from longtask_crds import names
from longtask_operator import (
    apply,
    callbacks,
    cluster,
    handlers,
    health_server,
    keys,
    mirror,
    observe,
    reconcile,
    resync,
    work_queue,
)
from longtask_operator.settings import Settings


class Operator:
    """All parts of one operator, wired."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._mirror = mirror.Mirror()
        self._health = resync.Health()
        self._tasks: list[asyncio.Task[None]] = []

    def memo(self) -> handlers.Memo:
        """Return what kopf's handlers share."""
        return handlers.Memo(mirror=self._mirror, add=self._add, start=self.start, stop=self.stop)

    async def start(self) -> None:
        """Connect, and begin to work once everything was listed."""
        settings = self._settings
        self._cluster = await cluster.connect(settings.namespace)
        self._sender = callbacks.HttpSender(settings.guard)
        key_ring = keys.KeyRing(self._cluster, settings.secrets_namespace)
        reconciler = reconcile.Reconciler(
            self._mirror,
            self._cluster,
            observe.Observer(self._mirror, self._cluster, settings.installation, settings.guard),
            apply.Applier(
                self._mirror,
                self._cluster,
                self._sender,
                key_ring,
                settings.surroundings,
                settings.callback_schedule,
            ),
            _now,
        )
        reconciler.wake = self._add
        self._queue = work_queue.WorkQueue(reconciler.reconcile)
        self._server = health_server.HealthServer(self._health, self._queue)
        lister = resync.Resync(self._mirror, self._cluster, self._health, self._add, _now)
        self._tasks = [
            asyncio.create_task(self._beat()),
            asyncio.create_task(lister.run(settings.resync_seconds)),
        ]
        await self._server.start(
            health_port=settings.health_port, metrics_port=settings.metrics_port
        )

    async def stop(self) -> None:
        """Finish what is being worked on, then let go of everything."""
        for task in self._tasks:
            task.cancel()
        await self._queue.close()
        await self._server.stop()
        await self._sender.close()
        await self._cluster.close()

    def _add(self, name: str) -> None:
        # Before everything was listed, a Job or a pod may be there that we do not see.
        if self._health.resynced_at is not None:
            self._queue.add(name)

    async def _beat(self) -> None:
        while True:
            self._health.beat_at = asyncio.get_running_loop().time()
            await asyncio.sleep(1)


def _now() -> datetime:
    return datetime.now(UTC)


def _configure_logging(level: str) -> None:
    """Log one JSON object a line, kopf's and the libraries' records too."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.EventRenamer("message"),
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # One record for each event of each object says nothing that ours do not.
    logging.getLogger("kopf").setLevel(logging.WARNING)


def main() -> None:
    """Run until the process is told to stop."""
    settings = Settings()
    _configure_logging(settings.log_level)
    sys.setrecursionlimit(names.RECURSION_LIMIT)
    kopf.run(
        registry=handlers.registry,
        memo=Operator(settings).memo(),
        standalone=True,
        namespaces=[settings.namespace],
    )


if __name__ == "__main__":
    main()
