"""Say in the status of each type and queue whether tasks can use it. No task is decided by that.

A type is judged once in each generation, by what refuses its tasks: the same look at its schema,
and the API server's word on a Job of it, which is tried and not stored.
"""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

from longtask_adapters.kube import errors, informer, kinds
from longtask_adapters.kube.cache import Cache, key_of
from longtask_crds import effective, v1alpha1
from longtask_operator import cluster, mirror, repeat
from longtask_operator.rules import pod_spec, readiness, warm
from longtask_operator.rules.readiness import VALID, Verdict

_logger = logging.getLogger(__name__)

#: So long nobody asks again, while the object stays the same, whether the cluster takes by now what
#: it refused: a Job of a type, or what a status is to say.
_AGAIN_AFTER = timedelta(minutes=10)

#: After so many failures a round is over: it is not the objects' fault.
_ENOUGH = 3

R = TypeVar("R", v1alpha1.LongTaskType, v1alpha1.LongTaskQueue)


class _Subject(NamedTuple):
    """What something is to be said of."""

    meta: v1alpha1.ObjectMeta
    conditions: list[v1alpha1.Condition]
    judge: Callable[[], Awaitable[Verdict]]


class _Judged(NamedTuple):
    """A verdict on a type, and when it was given."""

    generation: int
    verdict: Verdict
    at: datetime
    is_final: bool  #: as long as the spec is the same


class _Refused(NamedTuple):
    """What of an object could not be written to its status, and when."""

    generation: int
    conditions: list[v1alpha1.Condition]
    at: datetime


class Verdicts:
    """Writes what is news of types and queues; while all is calm it asks nothing of anybody.

    Args:
        seen: Where they are.
        kubernetes: Where it is written, and where Jobs are tried.
        installation: What the installation gives to tasks.
        surroundings: What each Job gets alike.
        is_writer: Tells whether this operator is the one that writes now.
        clock: Tells the time, in UTC.
        sleep: Lets so many seconds pass.
    """

    def __init__(
        self,
        seen: mirror.Mirror,
        kubernetes: cluster.Cluster,
        installation: effective.Installation,
        surroundings: pod_spec.Surroundings,
        is_writer: Callable[[], bool],
        clock: Callable[[], datetime],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._mirror = seen
        self._cluster = kubernetes
        self._installation = installation
        self._surroundings = surroundings
        self._is_writer = is_writer
        self._clock = clock
        self._sleep = sleep
        self._judged: dict[str, _Judged] = {}  #: by uid
        self._refused: dict[str, _Refused] = {}  #: by uid

    async def run(self) -> None:
        """Write for ever; failures are logged and tried again, ever more slowly."""
        await repeat.for_ever(self.once, "Could not write verdicts", sleep=self._sleep)

    async def once(self) -> None:
        """Write of each type and queue what its status does not say yet.

        Raises:
            Exception: What one of them raised; all others had their turn.
        """
        self._forget()
        failures = [
            *await self._go_through(kinds.TYPES, self._mirror.types, self._judge),
            *await self._go_through(kinds.QUEUES, self._mirror.queues, _valid),
        ]
        if failures:
            raise failures[0]

    def _forget(self) -> None:
        """Forget what is gone, and what is to be asked again."""
        recent = self._clock() - _AGAIN_AFTER
        there = {uid for uid, _ in self._mirror.types.versions()}
        self._judged = {
            uid: judged
            for uid, judged in self._judged.items()
            if uid in there and (judged.is_final or judged.at > recent)
        }
        self._refused = {uid: one for uid, one in self._refused.items() if one.at > recent}

    async def _go_through(
        self, kind: kinds.Kind[R], cache: Cache[R], judge: Callable[[R], Awaitable[Verdict]]
    ) -> list[Exception]:
        failures: list[Exception] = []
        for one in _subjects(cache, judge):
            if not self._is_writer() or len(failures) == _ENOUGH:
                break
            try:
                await self._tell(kind, cache, one, await one.judge())
            except Exception as error:
                # Whatever is strange about one must not silence the others.
                failures.append(error)
            # A schema may have taken half a second.
            await asyncio.sleep(0)
        return failures

    async def _tell(
        self, kind: kinds.Kind[R], cache: Cache[R], one: _Subject, verdict: Verdict
    ) -> None:
        """Write a verdict unless it stands there."""
        meta, now = one.meta, self._clock()
        after = readiness.told(one.conditions, verdict, meta.generation, now=now)
        refused = self._refused.get(meta.uid)
        is_refused = refused is not None and refused[:2] == (meta.generation, one.conditions)
        if after == one.conditions or is_refused:
            return
        try:
            written = await self._cluster.write_conditions(kind, meta, after)
        except (errors.NotFound, errors.Conflict):
            return  # the watch tells what is there now
        except errors.NoRight:
            raise
        except (errors.Rejected, errors.Forbidden) as error:
            self._refused[meta.uid] = _Refused(meta.generation, one.conditions, now)
            told = {"plural": kind.plural, "object": meta.name, "cause": str(error)}
            _logger.warning("Could not write a verdict", extra=told)
            return
        informer.take(kind, written, cache)

    async def _judge(self, one: v1alpha1.LongTaskType) -> Verdict:
        meta = one.metadata
        known = self._judged.get(meta.uid)
        if known is None or known.generation != meta.generation:
            verdict: Verdict | None = readiness.of_type(one.spec)
            if verdict == VALID:
                verdict = await self._tried(one)
            known = self._judged[meta.uid] = _Judged(
                meta.generation, verdict or VALID, self._clock(), is_final=verdict == VALID
            )
        return known.verdict

    async def _tried(self, one: v1alpha1.LongTaskType) -> Verdict | None:
        """Return what the API server says of a Job of the type; None if that is of no Job's."""
        # One that waits for a task has all that the type says, and needs no task.
        made = warm.manifest(one, self._installation, self._surroundings)
        meta = made["metadata"] | {"generateName": f"{one.metadata.name[:41]}-"}
        try:
            await self._cluster.try_job({**made, "metadata": meta})
        except errors.Rejected as error:
            # Without a field it is a webhook that takes no trials, or one that says little.
            causes = [cause for cause in error.causes if cause.field]
            return readiness.refused(causes) if causes else None
        except errors.NoRight:
            raise
        except errors.Forbidden:
            return None  # a quota or a policy: who comes later may pass, and who cannot is told so
        return VALID


def _subjects(cache: Cache[R], judge: Callable[[R], Awaitable[Verdict]]) -> Iterator[_Subject]:
    for bad in list(cache.unreadable.values()):
        verdict = readiness.unreadable(bad.cause)
        yield _Subject(bad.metadata, bad.conditions, functools.partial(_given, verdict))
    for one in cache.values():
        if key_of(one) not in cache.unreadable:
            yield _Subject(one.metadata, one.status.conditions, functools.partial(judge, one))


async def _given(verdict: Verdict) -> Verdict:
    return verdict


async def _valid(_: v1alpha1.LongTaskQueue) -> Verdict:
    return VALID
