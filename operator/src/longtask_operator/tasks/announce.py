"""Tell those who are concerned of what was just recorded: the log, the metrics, people in need."""

import logging
from datetime import datetime

from longtask_adapters.kube import errors
from longtask_adapters.kube.cache import key_of
from longtask_crds import v1alpha1
from longtask_crds.v1alpha1 import ConditionType, Reason, conditions
from longtask_operator import cluster, metrics

_logger = logging.getLogger(__name__)

#: The conditions that tell of a need, the value that does, and the Event's reason.
_NEEDS = (
    (ConditionType.STALLED, v1alpha1.ConditionStatus.TRUE, v1alpha1.EventReason.STALLED),
    (
        ConditionType.CALLBACK_DELIVERED,
        v1alpha1.ConditionStatus.FALSE,
        v1alpha1.EventReason.CALLBACK_FAILED,
    ),
)


class Announcer:
    """Tells of what a write changed. Nothing depends on whether it was heard."""

    def __init__(self, kubernetes: cluster.Cluster, counted: metrics.Metrics) -> None:
        self._cluster = kubernetes
        self._metrics = counted

    async def announce(
        self, before: v1alpha1.LongTask, after: v1alpha1.LongTask, *, now: datetime
    ) -> None:
        """Tell what is news between the two."""
        if after.is_finished and not before.is_finished:
            phase = after.status.phase
            self._metrics.finished.labels(str(phase)).inc()
            _logger.info("Finished", extra={"task": str(key_of(after)), "phase": phase})
        if _ended(after) > _ended(before) and not after.is_finished:
            waiting = after.status.waiting or ""
            last = (after.status.attempts or [])[-1]
            self._metrics.retries.labels(str(last.reason)).inc()
            await self._warn(after, v1alpha1.EventReason.RETRYING, waiting, now)
        if _is_given_up(after) and not _is_given_up(before):
            told = conditions.find(after.status.conditions, ConditionType.CALLBACK_DELIVERED)
            self._metrics.callbacks_exhausted.labels(told.reason if told else "").inc()
        for kind, bad, reason in _NEEDS:
            old = conditions.find(before.status.conditions, kind)
            new = conditions.find(after.status.conditions, kind)
            if new is None or new.status is not bad or new.reason == Reason.DELIVERING:
                continue
            if old is None or (old.status, old.reason) != (new.status, new.reason):
                await self._warn(after, reason, f"{new.reason}: {new.message}", now)

    async def _warn(
        self, task: v1alpha1.LongTask, reason: str, message: str, now: datetime
    ) -> None:
        try:
            await self._cluster.warn(task, reason, message, now=now)
        except errors.ClusterError as error:
            told = {"task": str(key_of(task)), "cause": str(error)}
            _logger.warning("Could not post an Event", extra=told)


def _ended(task: v1alpha1.LongTask) -> int:
    """Return the number of the last attempt that has ended."""
    last = task.status.attempts[-1] if task.status.attempts else None
    return last.number if last is not None and last.finished_at is not None else 0


def _is_given_up(task: v1alpha1.LongTask) -> bool:
    entry = task.status.callback
    return entry is not None and entry.state is v1alpha1.CallbackState.EXHAUSTED
