"""Measure what a write records: how long it waited, took to start, ran, and how it ended."""

from collections.abc import Iterator
from datetime import datetime

from longtask_adapters.kube.cache import key_of
from longtask_crds import queueing, v1alpha1
from longtask_crds.pipeline import runs
from longtask_operator import metrics, mirror
from longtask_operator.tasks import news


class Meter:
    """Takes the numbers from what a write brought."""

    def __init__(self, counted: metrics.Metrics, seen: mirror.Mirror) -> None:
        self._metrics = counted
        self._mirror = seen

    def measure(self, found: news.News, *, now: datetime) -> None:
        """Count what is new."""
        task = found.after
        if (since := _waited_since(found.before, task)) is not None:
            labels = self._labels(task, task.spec.type)
            self._metrics.queue_wait.labels(*labels).observe(_seconds(since, now))
        for one in found.attempts:
            self._measure_attempt(task, one)
        if found.is_end:
            labels = self._labels(task, task.spec.type)
            self._metrics.finished.labels(*labels, str(task.status.phase)).inc()
        if found.tried is not None:
            self._measure_try(task, found.tried)

    def _measure_attempt(self, task: v1alpha1.LongTask, one: news.AttemptNews) -> None:
        start = one.attempt.start if one.is_claimed else None
        if start is not None and start is not v1alpha1.Start.WARM:
            self._metrics.warm_misses.labels(str(start)).inc()
        if not (one.is_started or one.is_ended):
            return
        attempt, labels = one.attempt, self._labels(task, _type_of(task, one.run))
        if one.is_started and attempt.started_at and one.claimed_at:
            waited = _seconds(one.claimed_at, attempt.started_at)
            self._metrics.start_latency.labels(*labels).observe(waited)
        if one.is_ended and attempt.finished_at:
            self._metrics.attempts.labels(*labels, attempt.reason or "").inc()
            if attempt.started_at:
                ran = _seconds(attempt.started_at, attempt.finished_at)
                self._metrics.run_time.labels(*labels).observe(ran)

    def _measure_try(self, task: v1alpha1.LongTask, entry: v1alpha1.CallbackStatus) -> None:
        if entry.deliveries:
            self._metrics.callback_answer.observe(entry.deliveries[-1].seconds)
        happened_at = entry.facts.at if entry.facts else task.status.finished_at
        # What was asked for again is late because somebody asked late.
        if entry.delivered_at and happened_at and entry.redelivery is None:
            delay = _seconds(happened_at, entry.delivered_at)
            self._metrics.callback_delay.labels(str(entry.event)).observe(delay)

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


def _seconds(since: datetime, until: datetime) -> float:
    """Return the seconds between two clocks' times: never less than none."""
    return max(0.0, (until - since).total_seconds())
