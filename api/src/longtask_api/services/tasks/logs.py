"""The log of a task, or of a step: from an attempt's pod, or what is kept of it later."""

import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from longtask_adapters.kube import errors as kube
from longtask_adapters.kube.cache import key_of, version_of
from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.cluster import Cluster, LogPart
from longtask_api.openings import Openings
from longtask_api.stores import log_tails
from longtask_api.stores.log_tails import LogTails
from longtask_api.stores.resources import Resources
from longtask_crds import names, v1alpha1
from longtask_crds.pipeline import runs

#: How long a follower waits for the container to start before it is told to come back.
START_PATIENCE = 60.0
#: So many may be open at once: each holds a connection to Kubernetes for as long as somebody reads.
MOST_OPEN: Final = 800
_LOOK_AGAIN = 0.5


class NotStarted(errors.Clash):
    """The task has no log yet."""

    kind = "not-started"
    retry_after = 2


class Opened(NamedTuple):
    """A log that is open."""

    run: str  #: the name of the program; empty for that of a plain task
    chunks: AsyncIterator[bytes]


class LogService:
    """Opens logs: whole as long as the pod is there, then their ends."""

    def __init__(
        self,
        resources: Resources,
        cluster: Cluster,
        tails: LogTails,
        openings: Openings,
        *,
        start_patience: float = START_PATIENCE,
    ) -> None:
        self._resources = resources
        self._cluster = cluster
        self._tails = tails
        self._openings = openings
        self._start_patience = start_patience

    @contextlib.asynccontextmanager
    async def opened(
        self,
        caller: callers.Caller,
        name: str,
        *,
        step: str | None,
        attempt: int | None,
        part: LogPart,
    ) -> AsyncIterator[Opened]:
        """Open the log of an attempt, by default of the last one.

        Args:
            caller: Who asks.
            name: The task's name.
            step: Of a pipeline: the step, or `STEP.INDEX` for one of its items. When absent, or if
                the step has items, the one to show is chosen by `chosen`.
            attempt: The attempt's number.
            part: What of the log is wanted.

        Raises:
            Missing: There is no such task, step or attempt, or its pod is gone and nothing is kept.
            NotStarted: The container has not started (yet, if it is to be followed).
            TooManyRequests: Too many logs are open.
            DatabaseAway: The pod is gone, and what is kept cannot be read for now.
        """
        until = time.monotonic() + (self._start_patience if part.follow else 0.0)
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(self._openings.one_more(caller))
            while True:
                task = await self._resources.seen_task(caller, name)
                key = key_of(task)
                run = chosen(task, step)
                if run is None and attempt is not None and attempt > 1:
                    raise errors.Missing(f"The task has no attempt {attempt}.")
                pod = await self._pod_of(task, run, attempt) if run is not None else None
                if run is not None and pod is not None:
                    opening = self._cluster.pod_log(
                        key.sibling(pod), container=names.RUNNER_CONTAINER, part=part
                    )
                    try:
                        chunks = await stack.enter_async_context(opening)
                    except kube.NotFound:
                        yield await self._kept(task, run, attempt, part)
                        return
                    except kube.Rejected:
                        pass  # the API server says so while the container waits to start
                    else:
                        yield Opened(run.name, chunks)
                        return
                if task.is_finished or (run is not None and _is_over(run, attempt)):
                    yield await self._kept(task, run, attempt, part)
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

    async def _kept(
        self, task: v1alpha1.LongTask, run: runs.Run | None, number: int | None, part: LogPart
    ) -> Opened:
        """Return what is wanted of the end of a log whose pod is gone."""
        log = None
        if run is not None:
            number = number or run.last.number
            log = await self._tails.get(task.metadata.uid, number, run=run.name)
        if run is None or log is None:
            raise errors.Missing("The attempt's pod is gone, or it never started.")
        wanted = log_tails.part(log, tail=part.tail, since=part.since, timestamps=part.timestamps)
        return Opened(run.name, _at_once(wanted))

    async def _pod_of(
        self, task: v1alpha1.LongTask, run: runs.Run, number: int | None
    ) -> str | None:
        """Return the name of the attempt's pod, or None while there is none."""
        number = number or run.last.number
        if number > run.last.number:
            raise errors.Missing(f"The task has no attempt {number}.")
        recorded = next((a for a in run.attempts if a.number == number), None)
        if recorded is None and not run.name:
            return None
        if recorded is not None and recorded.pod_name is not None:
            return recorded.pod_name
        # The operator records the pod a moment after it starts; whoever follows is there before.
        # Labels may be those of a deleted task of the same name, but not the Job's name.
        labels = {names.TASK_LABEL: task.metadata.name, names.ATTEMPT_LABEL: str(number)}
        if run.name:
            labels[names.STEP_LABEL] = run.name
        # Of a pipeline's programs only the last attempts are recorded, but the names are known.
        uid = task.metadata.uid
        job = names.job_name(task.metadata.name, uid, attempt=number, step=run.name)
        job = job if recorded is None else recorded.job_name
        return next(
            (
                pod.name
                for pod in await self._cluster.find_pods(task.metadata.namespace, labels)
                if any(o.kind == "Job" and o.name == job for o in pod.owner_references)
            ),
            None,
        )


def chosen(task: v1alpha1.LongTask, step: str | None) -> runs.Run | None:
    """Return the program whose log is shown; None if none of them has begun.

    Where several are meant, because no step is named or the step has items, it is the first that
    goes on; if none does, the first that failed; if none did, the one that began last.

    Raises:
        Missing: There is no such step, or it was not taken.
    """
    begun = list(runs.of(task))
    if step is not None:
        name, dot, _ = step.partition(".")
        status = next((one for one in task.status.steps or () if one.name == name), None)
        if all(one.name != name for one in task.spec.steps or ()):
            raise errors.Missing(f"The task has no step {name}.")
        begun = [r for r in begun if (r.name if dot else runs.split(r.name)[0]) == step]
        if not begun and status is not None and status.phase is v1alpha1.StepPhase.SKIPPED:
            raise errors.Missing(f"The step {name} was not taken.")
    goes_on = next((run for run in begun if not run.is_over), None)
    failed = next((run for run in begun if _has_failed(task, run)), None)
    return goes_on or failed or max(begun, key=_begun_at, default=None)


def _has_failed(task: v1alpha1.LongTask, run: runs.Run) -> bool:
    phase = runs.status_of(task.status, run.name).phase
    return phase is v1alpha1.StepPhase.FAILED


def _begun_at(run: runs.Run) -> float:
    return run.last.claimed_at.timestamp() if run.last.claimed_at else 0.0


def _is_over(run: runs.Run, number: int | None) -> bool:
    """Tell whether an attempt of a program is over, by default the last one."""
    return run.is_over or (number is not None and number < run.last.number)


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
