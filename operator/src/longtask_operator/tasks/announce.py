"""Tell those who are concerned of what was just recorded: the log, the metrics, people in need."""

import logging
from collections.abc import Iterator
from datetime import datetime

from longtask_adapters import logs, tracing
from longtask_adapters.kube import errors
from longtask_crds import events, names, v1alpha1
from longtask_crds.pipeline import runs
from longtask_crds.v1alpha1 import ConditionType, Reason, conditions
from longtask_operator import cluster, metrics, mirror
from longtask_operator.tasks import measure, news, spans

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

    def __init__(
        self,
        kubernetes: cluster.Cluster,
        counted: metrics.Metrics,
        seen: mirror.Mirror,
        tracer: tracing.Tracer,
    ) -> None:
        self._cluster = kubernetes
        self._metrics = counted
        self._tracer = tracer
        self._meter = measure.Meter(counted, seen)

    async def announce(
        self, before: v1alpha1.LongTask, after: v1alpha1.LongTask, *, now: datetime
    ) -> None:
        """Tell what is news between the two."""
        found = news.of(before, after)
        self._meter.measure(found, now=now)
        for span in spans.of(found):
            self._tracer.record(span)
        for message, data in _steps(found):
            _logger.info(message, extra=logs.of_task(after) | data)
        told = before.status.contradictions or ()
        for one in after.status.contradictions or ():
            if one not in told:
                self._metrics.contradictions.inc()
                _logger.warning(
                    "A container ended otherwise than its program had reported",
                    extra=logs.of_task(after) | one.model_dump(exclude_none=True),
                )
        for event in _since(before, after) if found.has_ended else ():
            if event.type is v1alpha1.TaskEvent.RETRYING:
                self._metrics.retries.labels(str(event.reason)).inc()
                said = _of_another(event, after.status)
                await self._warn(after, v1alpha1.EventReason.RETRYING, said, now, event)
            if event.type is v1alpha1.TaskEvent.FAILED:
                said = f"{event.reason}: {event.message or ''}"
                await self._warn(after, v1alpha1.EventReason.FAILED, said, now, event)
        if _is_given_up(after) and not _is_given_up(before):
            end = conditions.find(after.status.conditions, ConditionType.CALLBACK_DELIVERED)
            self._metrics.callbacks_exhausted.labels(end.reason if end else "").inc()
        for kind, bad, reason in _NEEDS:
            old = conditions.find(before.status.conditions, kind)
            new = conditions.find(after.status.conditions, kind)
            if new is None or new.status is not bad or new.reason == Reason.DELIVERING:
                continue
            if old is None or (old.status, old.reason) != (new.status, new.reason):
                undelivered = None
                if kind is ConditionType.CALLBACK_DELIVERED:
                    undelivered = _undelivered(after)
                await self._warn(after, reason, f"{new.reason}: {new.message}", now, undelivered)

    async def _warn(
        self,
        task: v1alpha1.LongTask,
        reason: str,
        message: str,
        now: datetime,
        event: events.Event | None = None,
    ) -> None:
        told = None
        if event is not None:
            told = {
                names.EVENT_ANNOTATION: event.id,
                names.SEQUENCE_ANNOTATION: str(event.sequence),
            }
        try:
            await self._cluster.warn(task, reason, message, now=now, told=told)
        except errors.ClusterError as error:
            cause = logs.of_task(task) | {"cause": str(error)}
            _logger.warning("Could not post an Event", extra=cause)


def _steps(found: news.News) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the steps of a task's life that a write records, each as a message and its data."""
    before, after = found.before.status, found.after.status
    if after.queued_at and not before.queued_at:
        yield "Queued", {"queue": after.queue}
    for one in found.attempts:
        attempt = one.attempt
        about: dict[str, object] = {"attempt": attempt.number}
        if one.run:
            about["step"] = one.run
        if one.is_claimed:
            yield "Claimed", about | {"job": attempt.job_name}
        if one.is_started:
            yield "Started", about | {"pod": attempt.pod_name, "node": attempt.node}
        if one.is_ended:
            ended = {"reason": attempt.reason, "exit_code": attempt.exit_code}
            yield "Ended attempt", about | ended
    if found.is_end:
        yield "Finished", {"phase": after.phase}
    if (entry := found.tried) is not None:
        about = {"reported": entry.event, "webhook_id": entry.id, "tries": entry.tries}
        answer = {"code": entry.last_code, "error": entry.last_error, "state": entry.state}
        yield "Called back", about | answer


def _since(before: v1alpha1.LongTask, after: v1alpha1.LongTask) -> list[events.Event]:
    """Return what has happened between the two."""
    known = {event.id for event in events.of(before)}
    return [event for event in events.of(after) if event.id not in known]


def _of_another(event: events.Event, status: v1alpha1.LongTaskStatus) -> str:
    """Return what is said of an attempt that has ended, and of the one that follows."""
    if event.step is None:
        return status.waiting or ""
    return f"step {event.step}: {runs.status_of(status, event.step).waiting}"


def _undelivered(task: v1alpha1.LongTask) -> events.Event | None:
    """Return what the receiver does not take; None if it is not among what is known any more."""
    entry = task.status.callback
    said = [*events.of(task), events.progress(task)]
    return next((one for one in said if one and entry and one.id == entry.id), None)


def _is_given_up(task: v1alpha1.LongTask) -> bool:
    entry = task.status.callback
    return entry is not None and entry.state is v1alpha1.CallbackState.EXHAUSTED
