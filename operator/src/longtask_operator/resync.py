"""List everything, at the start and every minute: what no watch brought is found here."""

import asyncio
import dataclasses
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from longtask_crds import names, v1alpha1
from longtask_operator import cluster, errors, metrics, mirror

_logger = logging.getLogger(__name__)
_OURS = (names.LONGTASKS, names.LONGTASKTYPES, names.LONGTASKQUEUES)
_LABELLED = ("pods", "jobs")


@dataclasses.dataclass
class Health:
    """What tells a working operator from one that only looks alive. Times are monotonic seconds."""

    resynced_at: float | None = None  #: the last complete resync
    deaf_since: float | None = None  #: since when the watches miss what the lists show
    beat_at: float = 0.0  #: the event loop's last heartbeat

    def why_not_ready(self) -> str | None:
        """Return why no task would be worked on, or None."""
        return "nothing was listed yet" if self.resynced_at is None else None

    def why_not_alive(self, now: float) -> str | None:
        """Return why a restart would help, or None."""
        if self.resynced_at is not None and now - self.resynced_at > 180:
            return "the last complete resync is over 180 s old"
        if self.deaf_since is not None:
            return "the watches have not brought what two resyncs found"
        if now - self.beat_at > 30:
            return "the event loop lags more than 30 s"
        return None


class Resync:
    """Lists all kinds and hands what changed to the work queue."""

    def __init__(
        self,
        seen: mirror.Mirror,
        kubernetes: cluster.KubernetesCluster,
        health: Health,
        add: Callable[[str], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._mirror = seen
        self._cluster = kubernetes
        self._health = health
        self._add = add
        self._clock = clock
        self._missed: dict[str, int] = {}

    async def run(self, every: float) -> None:
        """Resync for ever; failures are logged and tried again soon."""
        while True:
            try:
                await self.once()
                pause = every
            except Exception as error:
                # Whatever is wrong with one object must not end the resyncs of all.
                metrics.RESYNCS.labels("failed").inc()
                unknown = not isinstance(error, errors.ClusterError)
                _logger.warning("Could not list", extra={"cause": str(error)}, exc_info=unknown)
                pause = min(every, 2.0)
            await asyncio.sleep(pause)

    async def once(self) -> None:
        """List everything once, and queue each task that changed, is unfinished or has dues."""
        started = self._clock()
        lists = {}
        for kind in _OURS:
            lists[kind] = await self._cluster.list_ours(kind)
        for kind in _LABELLED:
            lists[kind] = await self._cluster.list_labelled(kind)
        self._check_hearing(lists)
        touched = self._mirror.absorb_lists(lists, now=started)
        metrics.RESYNCS.labels("done").inc()
        metrics.TASKS.set(len(self._mirror.tasks))
        self._health.resynced_at = asyncio.get_running_loop().time()
        for name, task in list(self._mirror.tasks.items()):
            if name in touched or not task.is_finished or self._has_dues(task):
                self._add(name)

    def _has_dues(self, task: v1alpha1.LongTask) -> bool:
        """Tell whether a finished task has a callback to send or a Job to release."""
        entry = task.status.callback
        if entry is not None and entry.state is v1alpha1.CallbackState.PENDING:
            return True
        attempts = task.status.attempts or ()
        jobs = (self._mirror.jobs.get(attempt.job_name) for attempt in attempts)
        return any(job is not None and job.exists and not job.is_released for job in jobs)

    def _check_hearing(self, lists: dict[str, tuple[int, list[dict[str, Any]]]]) -> None:
        """Find out whether the watches bring what the lists show.

        An object that one resync found and that no watch has brought by the next one, a minute
        later, was not late but missed.
        """
        watched = self._mirror.watched
        still = {uid: seen for uid, seen in self._missed.items() if watched.get(uid, 0) < seen}
        present: dict[str, int] = {}
        for kind in (names.LONGTASKS, "pods"):
            for raw in lists[kind][1]:
                meta = raw["metadata"]
                present[meta["uid"]] = int(meta["resourceVersion"])
        deaf = any(uid in present for uid in still)
        now = asyncio.get_running_loop().time()
        self._health.deaf_since = (self._health.deaf_since or now) if deaf else None
        self._missed = {uid: seen for uid, seen in present.items() if watched.get(uid, 0) < seen}
        oldest = min(lists[kind][0] for kind in (names.LONGTASKS, "pods"))
        for uid in watched.keys() - present.keys():
            # What was made since the list is not in it, and was heard all the same.
            if watched[uid] <= oldest:
                del watched[uid]
