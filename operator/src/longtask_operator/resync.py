"""List everything, at the start and every minute: what no watch brought is found here."""

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterable
from datetime import datetime

from longtask_adapters.kube import errors, informer, kinds, listing
from longtask_adapters.kube.connection import Connection
from longtask_crds import v1alpha1
from longtask_crds.names import ObjectKey
from longtask_operator import election, health, metrics, mirror, pod_watch
from longtask_operator.rules import pods
from longtask_operator.warm import pool

_logger = logging.getLogger(__name__)


class Hearing:
    """Finds out whether the watches bring what the lists show.

    An object that one resync found and that no watch has brought by the next one, a minute later,
    was not late but missed.
    """

    def __init__(self) -> None:
        self._heard: dict[str, int] = {}  #: by uid: the last version that a watch brought
        self._missed: dict[str, int] = {}

    def heard(self, uid: str, version: int) -> None:
        """Take note of what a watch brought."""
        self._heard[uid] = version

    def is_deaf(self, present: dict[str, int], oldest: int) -> bool:
        """Tell whether something was missed.

        Args:
            present: The version of each object that is there, by uid.
            oldest: The version of the oldest of the lists that say so.
        """
        heard = self._heard
        still = {uid for uid, seen in self._missed.items() if heard.get(uid, 0) < seen}
        self._missed = {uid: seen for uid, seen in present.items() if heard.get(uid, 0) < seen}
        for uid in heard.keys() - present.keys():
            # What was made since the list is not in it, and was heard all the same.
            if heard[uid] <= oldest:
                del heard[uid]
        return not still.isdisjoint(present)


class Resync:
    """Lists all kinds and hands what changed, or is due, to the work queue."""

    def __init__(
        self,
        seen: mirror.Mirror,
        connection: Connection,
        namespace: str,
        *,
        state: health.Health,
        hearing: Hearing,
        tasks: informer.Informer[v1alpha1.LongTask],
        schedules: informer.Informer[v1alpha1.LongTaskSchedule],
        watched_pods: pod_watch.PodWatch,
        admission: election.Admission,
        counted: metrics.Metrics,
        add: Callable[[ObjectKey], None],
        look_at_schedules: Callable[[], None],
        clock: Callable[[], datetime],
        ahead: pool.Pool,
    ) -> None:
        self._ahead = ahead
        self._tasks = tasks
        self._schedules = schedules
        self._pods = watched_pods
        self._look_at_schedules = look_at_schedules
        self._mirror = seen
        self._connection = connection
        self._namespace = namespace
        self._health = state
        self._hearing = hearing
        self._admission = admission
        self._metrics = counted
        self._add = add
        self._clock = clock

    async def run(self, every: float) -> None:
        """Resync for ever, each so many seconds, and at once when the lease was got.

        Failures are logged and tried again soon.
        """
        while True:
            try:
                await self.once()
                pause = every
            except Exception as error:
                # Whatever is wrong with one object must not end the resyncs of all.
                self._metrics.resyncs.labels("failed").inc()
                unknown = not isinstance(error, errors.ClusterError)
                _logger.warning("Could not list", extra={"cause": str(error)}, exc_info=unknown)
                pause = min(every, 2.0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._admission.gained.wait()

    async def once(self) -> None:
        """List everything once, and queue each task for which there may be something to do."""
        with self._admission.catching_up():
            await self.absorb()
        self._metrics.resyncs.labels("done").inc()
        self._metrics.tasks.set(len(self._mirror.tasks))
        self._metrics.schedules.set(len(self._mirror.schedules))
        self._health.resynced_at = time.monotonic()
        self._mirror.tell_time(self._clock())
        for key in self._mirror.to_look_at():
            self._add(key)
        self._look_at_schedules()
        self._ahead.look()
        await self._ahead.recycle_strays()

    async def absorb(self) -> None:
        """Bring the mirror up to what there is."""
        namespace, asked_at = self._namespace, self._clock()
        # Before the tasks: where these wait, and who is next, is right from the first one on.
        await informer.relist(self._connection, kinds.QUEUES, namespace, self._mirror.queues)
        await informer.relist(self._connection, kinds.TYPES, namespace, self._mirror.types)
        oldest = await self._list(self._tasks)
        # After the tasks: a run that a schedule's status speaks of is known by then, or is gone.
        oldest = min(oldest, await self._list(self._schedules))
        version, found = await self._pods.list()
        self._mirror.absorb_pods((pod for pod in found if not pod.is_nobodys), version)
        self._check_hearing(found, min(oldest, version))
        _, jobs = await listing.listed(
            self._connection,
            kinds.JOBS.collection(namespace),
            pod_watch.LABELLED,
            functools.partial(pods.Job.parse, now=asked_at),
        )
        self._mirror.absorb_jobs((job for job in jobs if job.task_name), asked_at)
        ahead = (
            (job for job in jobs if job.warm),
            (pod for pod in found if pod.warm or pod.is_nobodys),
        )
        self._ahead.absorb(*ahead, asked_at)

    async def _list(self, watched: informer.Informer[kinds.R]) -> int:
        """List what we watch ourselves; return the version of the list."""
        if not watched.synced.is_set():
            # The first list is the one that the watch goes on from: there is no second one.
            return (await watched.begin()).version
        # Any other is there to find out what the watch has missed.
        listing = await informer.relist(
            self._connection, watched.kind, self._namespace, watched.cache
        )
        return listing.version

    def _check_hearing(self, found: Iterable[pods.Pod], oldest: int) -> None:
        present = {pod.uid: pod.version for pod in found}
        # What we wrote ourselves is newer than the list; the watch brings it within the minute.
        present.update(self._mirror.tasks.versions())
        present.update(self._mirror.schedules.versions())
        deaf = self._hearing.is_deaf(present, oldest)
        now = time.monotonic()
        self._health.deaf_since = (self._health.deaf_since or now) if deaf else None
