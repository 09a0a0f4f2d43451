"""Hands tasks to pods that were started ahead: each gets the one whose status names it."""

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from longtask_adapters.kube import errors as kube
from longtask_adapters.kube.cache import key_of
from longtask_api import errors
from longtask_api.services import results
from longtask_api.services.pods import progress, reporters
from longtask_api.stores.resources import Resources, pods_of
from longtask_crds import effective, runner_contract, traces, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.pipeline import inputs, references, runs

#: After so many seconds it is recorded that a program has its task. Most have ended by then: that
#: is recorded anyway.
NOTED_AFTER = 1.5
_Work = runner_contract.Work


@dataclasses.dataclass
class _Waiting:
    """The requests of one pod that wait for its task."""

    named: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    requests: int = 0


@dataclasses.dataclass(frozen=True)
class _Named:
    """A program whose status names a pod."""

    task: v1alpha1.LongTask  #: whole
    run: str  #: its name; empty for that of a plain task

    def seen(self, value: Any = None) -> v1alpha1.LongTask:
        """Return it as if it were a task of its own, with that input if it is a step's."""
        return runs.as_task(self.task, self.run, value=value) if self.run else self.task


class Handovers:
    """Knows which pods wait, and hands out what the operator has claimed for them.

    Nothing is decided here: a task is handed to the pod that its status names, as Kubernetes has it
    at that moment, and to no other. So it does not matter which replica is asked, or how often.

    Args:
        resources: Where tasks are.
        reporting: Knows the pods behind the tokens.
        kept: Has the results of which steps take parts.
        written: Takes note that a program has its task: what is the first that is heard of it.
        clock: Tells the time, in UTC.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        resources: Resources,
        reporting: reporters.Reporters,
        kept: results.ResultService,
        written: progress.ProgressWriter,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._resources = resources
        self._reporting = reporting
        self._kept = kept
        self._written = written
        self._clock = clock
        self._sleep = sleep
        self._waiting: dict[str, _Waiting] = {}  #: by the pod's uid
        self._notes: dict[str, asyncio.Task[None]] = {}  #: likewise
        self._closed = False

    def task_changed(
        self, _before: v1alpha1.LongTask | None, after: v1alpha1.LongTask | None
    ) -> None:
        """Wake the pods that a task has just come to name."""
        if after is None or not self._waiting:
            return
        for uid in pods_of(after).keys() & self._waiting.keys():
            self._waiting[uid].named.set()

    async def next_task(self, token: str, *, within: float) -> dict[str, Any] | None:
        """Return the task of a pod, in the words of the contract; None if it has none in time.

        Raises:
            Unauthenticated: The token is no report token of a pod of the tasks' namespace.
            Clash: What its step takes from others is not there any more.
            DatabaseAway: It cannot be read for now.
        """
        uid = await self._reporting.pod_uid_of(token)
        until = asyncio.get_running_loop().time() + within
        while True:
            with self._counted(uid) as waiting:
                waiting.named.clear()
                named = await self._named(uid)
                if named is not None:
                    return self._handed(named, await self._input_of(named), uid, token)
                try:
                    async with asyncio.timeout_at(until):
                        await waiting.named.wait()
                except TimeoutError:
                    return None
                if self._closed:
                    return None

    async def close(self) -> None:
        """Let nobody wait any more, and note what was handed out."""
        self._closed = True
        for waiting in self._waiting.values():
            waiting.named.set()
        notes = list(self._notes.values())
        for note in notes:
            note.cancel()
        await asyncio.gather(*notes, return_exceptions=True)

    @contextlib.contextmanager
    def _counted(self, uid: str) -> Any:
        waiting = self._waiting.setdefault(uid, _Waiting())
        waiting.requests += 1
        try:
            yield waiting
        finally:
            waiting.requests -= 1
            if not waiting.requests:
                self._waiting.pop(uid, None)

    async def _named(self, uid: str) -> _Named | None:
        """Return the program that names the pod now: what is cached may be over by now."""
        found = self._resources.program_of_pod(uid)
        if found is None:
            return None
        task = await self._resources.look(key_of(found[0]))
        return _named(task, found[1], uid)

    async def _input_of(self, named: _Named) -> Any:
        """Return what a program gets: of a step with all that it takes from others."""
        parts: dict[inputs.PartKey, inputs.Part] = {}
        while named.run:
            try:
                return inputs.value_of(named.task, named.run, parts)
            except inputs.NotFetched as error:
                parts[error.key] = await self._part(error.key)
            except references.Missing as error:
                raise errors.Clash(f"The step has no input any more: {error}.") from error
        return named.task.spec.input

    async def _part(self, key: inputs.PartKey) -> inputs.Part:
        try:
            content = await self._kept.kept(key.task_uid, key.sha256)
            return inputs.Part(json.loads(await self._kept.part(content, key.pointer)))
        except (errors.Missing, errors.Invalid, errors.TooLarge) as error:
            return inputs.Part(flaw=str(error))

    def _handed(self, named: _Named, value: Any, uid: str, token: str) -> dict[str, Any]:
        task = named.seen(value)
        if uid not in self._notes:
            noted = self._see_off(key_of(task), named.run, uid, token)
            self._notes[uid] = asyncio.create_task(noted)
        limits = self._resources.limits_of(task)
        attempts = task.status.attempts
        known = task.status.progress
        ends = self._clock().astimezone(UTC) + timedelta(seconds=limits.run)
        work = {
            _Work.NAME: task.metadata.name,
            _Work.NAMESPACE: task.metadata.namespace,
            _Work.UID: task.metadata.uid,
            _Work.ATTEMPT: attempts[-1].number if attempts else 1,
            _Work.STEP: named.run,
            _Work.INPUT: effective.input_of(task.spec),
            _Work.CHECKPOINT: known.checkpoint if known else None,
            _Work.DEADLINE: ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
            _Work.HEARTBEAT_SECONDS: limits.heartbeat,
        }
        trace = traces.trace_of(task)
        if trace is not None:
            work[_Work.TRACEPARENT] = trace.parent
            if trace.state is not None:
                work[_Work.TRACESTATE] = trace.state
        return work

    async def _see_off(self, key: ObjectKey, run: str, uid: str, token: str) -> None:
        """Record that the pod's program has its task, unless it has ended or was heard by then."""
        try:
            with contextlib.suppress(
                asyncio.CancelledError, errors.Unauthenticated, kube.ClusterError
            ):
                # It reports in a moment; its token was looked at a while ago.
                await self._reporting.pod_uid_of(token)
            if not self._closed:
                with contextlib.suppress(asyncio.CancelledError):
                    await self._sleep(NOTED_AFTER)
            named = _named(self._resources.cached_task(key), run, uid)
            if named is None:
                return
            known = named.seen().status.progress
            if known is None or known.updated_at is None:
                self._written.report(named.task, {}, run=run)
        finally:
            self._notes.pop(uid, None)


def _named(task: v1alpha1.LongTask | None, run: str, uid: str) -> _Named | None:
    """Return a program if its attempt that goes on has that pod."""
    if task is None or task.is_finished or task.metadata.deletion_timestamp is not None:
        return None
    found = runs.named(task, run)
    if found is None or found.is_over or found.last.finished_at is not None:
        return None
    return _Named(task, run) if found.last.pod_uid == uid else None
