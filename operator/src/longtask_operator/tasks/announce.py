"""Tell those who are concerned of what was just recorded: the log, the metrics, people in need."""

import logging
from datetime import datetime

from longtask_adapters.kube import errors
from longtask_adapters.kube.cache import key_of
from longtask_crds import events, v1alpha1
from longtask_crds.pipeline import runs
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
        for again in _retried(before, after):
            name = again.step
            known = runs.status_of(after.status, name) if name else after.status
            told = f"step {name}: {known.waiting}" if name else known.waiting or ""
            self._metrics.retries.labels(str(again.reason)).inc()
            await self._warn(after, v1alpha1.EventReason.RETRYING, told, now)
        if _is_given_up(after) and not _is_given_up(before):
            end = conditions.find(after.status.conditions, ConditionType.CALLBACK_DELIVERED)
            self._metrics.callbacks_exhausted.labels(end.reason if end else "").inc()
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


def _retried(before: v1alpha1.LongTask, after: v1alpha1.LongTask) -> list[events.Event]:
    """Return the attempts of programs that have ended since, and get another one."""
    known = {event.id for event in events.of(before)}
    return [
        event
        for event in events.of(after)
        if event.type is v1alpha1.TaskEvent.RETRYING and event.id not in known
    ]


def _is_given_up(task: v1alpha1.LongTask) -> bool:
    entry = task.status.callback
    return entry is not None and entry.state is v1alpha1.CallbackState.EXHAUSTED
