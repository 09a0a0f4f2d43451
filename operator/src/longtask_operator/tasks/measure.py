"""Measure what a write records: how long it waited, took to start, ran, and how it ended."""

from collections.abc import Iterator
from datetime import datetime

from longtask_adapters.kube.cache import key_of
from longtask_crds import queueing, v1alpha1
from longtask_crds.pipeline import runs
from longtask_operator import metrics, mirror


class Meter:
    """Takes the numbers from what tasks were before a write, and after it."""

    def __init__(self, counted: metrics.Metrics, seen: mirror.Mirror) -> None:
        self._metrics = counted
        self._mirror = seen

    def measure(
        self, before: v1alpha1.LongTask, after: v1alpha1.LongTask, *, now: datetime
    ) -> None:
        """Count what is news between the two."""
        if (since := _waited_since(before, after)) is not None:
            labels = self._labels(after, after.spec.type)
            self._metrics.queue_wait.labels(*labels).observe(_seconds(since, now))
        known = {run.name: run.last for run in runs.of(before)}
        for run in runs.of(after):
            self._measure_attempt(after, run, known.get(run.name))
        if after.is_finished and not before.is_finished:
            labels = self._labels(after, after.spec.type)
            self._metrics.finished.labels(*labels, str(after.status.phase)).inc()
        self._measure_callback(before.status.callback, after)

    def _measure_attempt(
        self, task: v1alpha1.LongTask, run: runs.Run, before: v1alpha1.Attempt | None
    ) -> None:
        attempt = run.last
        if before is not None and before.number != attempt.number:
            before = None
        # Of an item that is over, its status keeps less.
        claimed_at = attempt.claimed_at or (before.claimed_at if before else None)
        has_started = attempt.started_at and not (before and before.started_at)
        has_ended = attempt.finished_at and not (before and before.finished_at)
        if not (has_started or has_ended):
            return
        labels = self._labels(task, _type_of(task, run.name))
        if has_started and attempt.started_at and claimed_at:
            waited = _seconds(claimed_at, attempt.started_at)
            self._metrics.start_latency.labels(*labels).observe(waited)
        if has_ended and attempt.finished_at:
            self._metrics.attempts.labels(*labels, attempt.reason or "").inc()
            if attempt.started_at:
                ran = _seconds(attempt.started_at, attempt.finished_at)
                self._metrics.run_time.labels(*labels).observe(ran)

    def _measure_callback(
        self, before: v1alpha1.CallbackStatus | None, task: v1alpha1.LongTask
    ) -> None:
        after = task.status.callback
        if after is None:
            return
        if _tries_of(before, after.id) < after.tries and after.deliveries:
            self._metrics.callback_answer.observe(after.deliveries[-1].seconds)
        # What was asked for again is late because somebody asked late.
        if after.delivered_at and after.redelivery is None and before != after:
            was_there = before is not None and (before.id, before.delivered_at) == (
                after.id,
                after.delivered_at,
            )
            happened_at = after.facts.at if after.facts else task.status.finished_at
            if happened_at and not was_there:
                delay = _seconds(happened_at, after.delivered_at)
                self._metrics.callback_delay.labels(str(after.event)).observe(delay)

    def _labels(self, task: v1alpha1.LongTask, of_type: str | None) -> tuple[str, str]:
        """Return type and queue, as far as an administrator made them: anybody names others."""
        key, queue = key_of(task), task.status.queue
        is_type = of_type is not None and key.sibling(of_type) in self._mirror.types
        is_queue = queue is not None and key.sibling(queue) in self._mirror.queues
        return (of_type or "") if is_type else "", (queue or "") if is_queue else ""


def lines(seen: mirror.Mirror, now: datetime) -> Iterator[metrics.Line]:
    """Yield how each queue stands."""
    for queue in seen.queues.values():
        key = key_of(queue)
        counts, oldest = seen.index.counts(key), seen.index.oldest(key)
        yield metrics.Line(
            queue=key.name,
            waiting=counts.waiting,
            running=counts.running,
            oldest_wait=max(0.0, now.timestamp() - oldest) if oldest is not None else 0.0,
            is_paused=bool(queue.spec.paused),
        )


def _waited_since(before: v1alpha1.LongTask, after: v1alpha1.LongTask) -> datetime | None:
    """Return since when the task waited that has its place now; None of any other."""
    holds = queueing.Standing.HOLDING
    if queueing.standing(after) is not holds or queueing.standing(before) is holds:
        return None
    if before.status.attempts:
        # Queued is a task once only: before another attempt it waits from when that may be.
        return queueing.startable_at(before) or before.status.attempts[-1].finished_at
    return queueing.joined_at(before)


def _type_of(task: v1alpha1.LongTask, run: str) -> str | None:
    if not run:
        return task.spec.type
    return runs.step_named(task.spec, runs.split(run)[0]).type


def _tries_of(entry: v1alpha1.CallbackStatus | None, webhook_id: str) -> int:
    return entry.tries if entry is not None and entry.id == webhook_id else 0


def _seconds(since: datetime, until: datetime) -> float:
    """Return the seconds between two clocks' times: never less than none."""
    return max(0.0, (until - since).total_seconds())
