"""Send callbacks beside the passes: a slow receiver keeps no pass of its task, nor anybody else."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime
from typing import Any

from longtask_adapters import webhooks
from longtask_adapters.kube import errors
from longtask_adapters.kube.cache import Cache, key_of
from longtask_crds import delivery, events, signing_keys, traces, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_operator import keys
from longtask_operator.rules import status
from longtask_operator.tasks import bodies

#: For how long a try that is under way may still be answered when the process ends.
_ANSWERING_SECONDS = 5.0
#: And for how long the answer may then be recorded.
_RECORDING_SECONDS = 2.0

#: Has a coroutine run to its end, sooner or later; returns what cancels it.
Launch = Callable[[Coroutine[Any, Any, None]], Callable[[], object]]


def beside(errand: Coroutine[Any, Any, None]) -> Callable[[], object]:
    """Have a coroutine run beside the pass that launches it."""
    return asyncio.create_task(errand).cancel


@dataclasses.dataclass(eq=False)
class _Errand:
    """A try that is under way. The task itself is not kept: thousands may wait for their turn."""

    key: ObjectKey  #: the task's
    uid: str
    entry: v1alpha1.CallbackStatus
    trace: dict[str, str]  #: the header that says which trace the task belongs to
    cancel: Callable[[], object] | None = None  #: there once the pass has gone on
    is_written: bool = False  #: it waits for nothing any more but its answer


class Courier:
    """Sends what passes hand over, and has a task looked at when it is known what became of it.

    Args:
        sender: Sends.
        key_ring: Has the keys that sign.
        written: Writes what is sent.
        tasks: The tasks that there are: nothing is kept of those that go.
        schedule: The pause before each try, in seconds.
        wake: Has tasks looked at.
        launch: Has a try run.
        clock: Tells the time, in UTC.
    """

    def __init__(
        self,
        sender: webhooks.Sender,
        key_ring: keys.KeyRing,
        written: bodies.Bodies,
        tasks: Cache[v1alpha1.LongTask],
        *,
        schedule: tuple[int, ...],
        wake: Callable[[Iterable[ObjectKey]], None],
        launch: Launch,
        clock: Callable[[], datetime],
    ) -> None:
        self._sender = sender
        self._keys = key_ring
        self._bodies = written
        self._tasks = tasks
        self._schedule = schedule
        self._wake = wake
        self._launch = launch
        self._clock = clock
        self._under_way: dict[str, _Errand] = {}  #: by the task's uid
        self._failed: dict[str, Exception] = {}  #: likewise: why it could not be sent
        self._unwritten: dict[str, status.Delivered] = {}  #: likewise: sent, and not yet recorded
        self._news = asyncio.Event()
        self._closed = False
        tasks.on_change(self._task_changed)

    def is_sending(self, task: v1alpha1.LongTask) -> bool:
        """Tell whether what the task has to deliver is under way, or will not be any more."""
        uid = task.metadata.uid
        errand = self._under_way.get(uid)
        is_under_way = errand is not None and errand.entry == task.status.callback
        return is_under_way or (self._closed and uid not in self._unwritten)

    def deliver(
        self, task: v1alpha1.LongTask, entry: v1alpha1.CallbackStatus
    ) -> status.Delivered | None:
        """Return what became of the try that is due; if it was not begun yet, begin it.

        Returns:
            None while it is under way.

        Raises:
            ClusterError: The keys could not be read: that uses up no try.
        """
        outcome = self._outcome(task, entry)
        if outcome is None and not self.is_sending(task):
            uid = task.metadata.uid
            self._give_up(uid)
            errand = self._under_way[uid] = _Errand(key_of(task), uid, entry, _trace_of(task))
            errand.cancel = self._launch(self._run(errand, _callback_of(task), _owner_of(task)))
            outcome = self._outcome(task, entry)  # it may have come to its end at once
        return outcome

    def under_way(self) -> int:
        """Return how many are being sent, or wait for their turn."""
        return len(self._under_way)

    async def close(self) -> None:
        """Begin nothing more; what waits for nothing but its answer may still get it recorded."""
        self._closed = True
        for uid in [uid for uid, errand in self._under_way.items() if not errand.is_written]:
            self._give_up(uid)
        await self._until(lambda: not self._under_way, within=_ANSWERING_SECONDS)
        for uid in list(self._under_way):
            self._give_up(uid)
        await self._until(lambda: not self._unwritten, within=_RECORDING_SECONDS)

    def _outcome(
        self, task: v1alpha1.LongTask, entry: v1alpha1.CallbackStatus
    ) -> status.Delivered | None:
        uid = task.metadata.uid
        if (error := self._failed.pop(uid, None)) is not None:
            raise error
        known = self._unwritten.get(uid)
        is_of_it = known is not None and (known.entry.id, known.entry.tries) == (
            entry.id,
            entry.tries + 1,
        )
        return known if is_of_it else None

    async def _run(self, errand: _Errand, to: v1alpha1.Callback, owner: str) -> None:
        try:
            delivered = await self._send(errand, to, owner)
            if self._task_of(errand) is not None:
                self._unwritten[errand.uid] = delivered
        except Exception as error:
            # The next pass raises it, and the work queue has that tried again, ever more slowly.
            if self._task_of(errand) is not None:
                self._failed[errand.uid] = error
        finally:
            if self._under_way.get(errand.uid) is errand:
                del self._under_way[errand.uid]
            self._news.set()
        if errand.cancel is not None:
            self._wake([errand.key])

    async def _send(self, errand: _Errand, to: v1alpha1.Callback, owner: str) -> status.Delivered:
        async def write() -> webhooks.Letter:
            errand.is_written = True
            return await self._write(errand)

        entry = errand.entry
        try:
            made = await self._sender.send(
                to.url,
                owner=owner,
                webhook_id=entry.id,
                headers=errand.trace | (to.headers or {}),
                write=write,
            )
        except keys.KeyUnavailable as unusable:
            made = delivery.Try(at=self._clock(), problem=delivery.Problem.SECRET_UNUSABLE)
            after, _ = delivery.after(entry, made, schedule=self._schedule)
            # People can help, and are told at once, not after the last try.
            return status.Delivered(after, v1alpha1.Reason.SECRET_UNUSABLE, str(unusable))
        after, reason = delivery.after(entry, made, schedule=self._schedule)
        return status.Delivered(after, reason)

    async def _write(self, errand: _Errand) -> webhooks.Letter:
        task = self._task_of(errand)
        if task is None:
            raise errors.NotFound(f"{errand.key} was deleted")
        # It may have gone on: what was handed over is told, not what came after it.
        known = task.status.model_copy(update={"callback": errand.entry})
        task = task.model_copy(update={"status": known})
        signing = await self._keys.keys_for(task, now=self._clock())
        body = await self._bodies.write(task, errand.entry.event)
        return webhooks.Letter(body, signing, events.media_type(bodies.form_of(task)))

    def _task_changed(
        self, before: v1alpha1.LongTask | None, after: v1alpha1.LongTask | None
    ) -> None:
        if before is None:
            return
        uid = before.metadata.uid
        is_gone = after is None or after.metadata.uid != uid
        if is_gone:
            self._give_up(uid)
        if is_gone or (after is not None and after.status.callback != before.status.callback):
            self._unwritten.pop(uid, None)
            self._failed.pop(uid, None)
            self._news.set()

    def _give_up(self, uid: str) -> None:
        errand = self._under_way.pop(uid, None)
        if errand is not None and errand.cancel is not None:
            errand.cancel()

    def _task_of(self, errand: _Errand) -> v1alpha1.LongTask | None:
        """Return the task, unless it was deleted meanwhile: nobody would tell us so again."""
        task = self._tasks.get(errand.key)
        return task if task is not None and task.metadata.uid == errand.uid else None

    async def _until(self, is_so: Callable[[], bool], *, within: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not is_so():
                    self._news.clear()
                    await self._news.wait()


def _callback_of(task: v1alpha1.LongTask) -> v1alpha1.Callback:
    if task.spec.callback is None:
        raise ValueError("an outbox entry without a callback")
    return task.spec.callback


def _trace_of(task: v1alpha1.LongTask) -> dict[str, str]:
    """Return the headers with the task's trace, unless the task says it as a header of its own."""
    trace = traces.trace_of(task)
    given = {name.lower() for name in _callback_of(task).headers or {}}
    if trace is None or traces.HEADER in given:
        return {}
    told = {traces.HEADER: trace.parent}
    if trace.state is not None and traces.STATE_HEADER not in given:
        told[traces.STATE_HEADER] = trace.state
    return told


def _owner_of(task: v1alpha1.LongTask) -> str:
    return signing_keys.owner_of(task.metadata.labels)
