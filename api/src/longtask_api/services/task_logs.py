"""A task's log: from the pod of one of its attempts, or what is kept of it when that is gone."""

import contextlib
import time
from collections.abc import AsyncIterator

from longtask_adapters.kube import errors as kube
from longtask_adapters.kube.cache import key_of, version_of
from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.cluster import Cluster, LogPart
from longtask_api.stores import log_tails
from longtask_api.stores.log_tails import LogTails
from longtask_api.stores.resources import Resources
from longtask_crds import names, v1alpha1

#: How long a follower waits for the container to start before it is told to come back.
START_PATIENCE = 60.0
_LOOK_AGAIN = 0.5


class NotStarted(errors.Clash):
    """The task has no log yet."""

    kind = "not-started"
    retry_after = 2


class LogService:
    """Opens logs: whole as long as the pod is there, then their ends."""

    def __init__(
        self,
        resources: Resources,
        cluster: Cluster,
        tails: LogTails,
        *,
        start_patience: float = START_PATIENCE,
    ) -> None:
        self._resources = resources
        self._cluster = cluster
        self._tails = tails
        self._start_patience = start_patience

    @contextlib.asynccontextmanager
    async def opened(
        self, caller: callers.Caller, name: str, *, attempt: int | None, part: LogPart
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open the log of an attempt, by default of the last one.

        Raises:
            Missing: There is no such task or attempt, or its pod is gone and nothing is kept.
            NotStarted: The container has not started (yet, if it is to be followed).
            DatabaseAway: The pod is gone, and what is kept cannot be read for now.
        """
        until = time.monotonic() + (self._start_patience if part.follow else 0.0)
        async with contextlib.AsyncExitStack() as stack:
            while True:
                task = await self._resources.seen_task(caller, name)
                key = key_of(task)
                pod = await self._pod_of(task, attempt)
                if pod is not None:
                    opening = self._cluster.pod_log(
                        key.sibling(pod), container=names.RUNNER_CONTAINER, part=part
                    )
                    try:
                        chunks = await stack.enter_async_context(opening)
                    except kube.NotFound:
                        yield _at_once(await self._kept(task, attempt, part))
                        return
                    except kube.Rejected:
                        pass  # the API server says so while the container waits to start
                    else:
                        yield chunks
                        return
                if task.is_finished:
                    yield _at_once(await self._kept(task, attempt, part))
                    return
                if time.monotonic() >= until:
                    raise NotStarted("The program has not started yet.")
                # The container's start may be told by no change of the task: so look again, too.
                version = version_of(task)
                await self._resources.wait_for(
                    key,
                    lambda now, seen=version: now is None or version_of(now) > seen,  # type: ignore[misc]
                    within=min(_LOOK_AGAIN, until - time.monotonic()),
                )

    async def _kept(self, task: v1alpha1.LongTask, number: int | None, part: LogPart) -> bytes:
        """Return what is wanted of the end of a log whose pod is gone."""
        number = number or task.status.attempt or 0
        log = await self._tails.get(task.metadata.uid, number)
        if log is None:
            raise errors.Missing("The attempt's pod is gone, or it never started.")
        return log_tails.part(log, tail=part.tail, since=part.since, timestamps=part.timestamps)

    async def _pod_of(self, task: v1alpha1.LongTask, number: int | None) -> str | None:
        """Return the name of the attempt's pod, or None while there is none."""
        last = task.status.attempt or 0
        if number is not None and number > max(last, 1):
            raise errors.Missing(f"The task has no attempt {number}.")
        number = number or last
        if number == 0:
            return None
        recorded = next((a for a in task.status.attempts or [] if a.number == number), None)
        if recorded is None:
            return None
        if recorded.pod_name is not None:
            return recorded.pod_name
        # The operator records the pod a moment after it starts; whoever follows is there before.
        # Labels may be those of a deleted task of the same name, but not the Job's name.
        labels = {names.TASK_LABEL: task.metadata.name, names.ATTEMPT_LABEL: str(number)}
        return next(
            (
                pod.name
                for pod in await self._cluster.find_pods(task.metadata.namespace, labels)
                if any(
                    o.kind == "Job" and o.name == recorded.job_name for o in pod.owner_references
                )
            ),
            None,
        )


async def _at_once(log: bytes) -> AsyncIterator[bytes]:
    yield log


async def streamed(
    stack: contextlib.AsyncExitStack, chunks: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """Yield the log, and close it with the answer; a broken one just ends."""
    async with stack:
        with contextlib.suppress(kube.Unavailable):
            async for chunk in chunks:
                yield chunk
