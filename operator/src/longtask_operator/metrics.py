"""What the operator counts. No label holds a task's name: there are too many.

Each one stands in docs/metrics.md too. Types and queues are labels, for administrators alone make
them; of a task that names others, they stay empty.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

import prometheus_client
from prometheus_client import Counter, Gauge, Histogram, platform_collector, process_collector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from longtask_crds.v1alpha1 import Reason, Start

_MINUTE, _HOUR = 60.0, 3600.0
_OF_TASKS: Final = ("type", "queue")
#: Buckets, in seconds. The times in a status are whole ones.
_WAITING: Final = (1, 2, 5, 10, 30, 60, 300, 600, 1800, _HOUR, 3 * _HOUR, 12 * _HOUR, 24 * _HOUR)
_STARTING: Final = (1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600)
_RUNNING: Final = (1, 5, 15, 60, 300, 900, _HOUR, 4 * _HOUR, 12 * _HOUR, 24 * _HOUR, 72 * _HOUR)
_DELIVERING: Final = (1, 2, 5, 15, 60, 300, 1800, 2 * _HOUR, 12 * _HOUR, 24 * _HOUR, 72 * _HOUR)
_ANSWERING: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)
_DELAYED: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300, _HOUR, 24 * _HOUR)
_PASSING: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Line(NamedTuple):
    """A queue, as it stands now."""

    queue: str
    waiting: int
    running: int
    oldest_wait: float  #: in seconds; 0 if nobody waits
    is_paused: bool


class Metrics:
    """The process's numbers, in a registry of their own."""

    def __init__(self) -> None:
        # When each number began is of use to nobody here, and would be a series for each.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = prometheus_client.CollectorRegistry()
        process_collector.ProcessCollector(registry=registry)
        platform_collector.PlatformCollector(registry=registry)
        self.steps = Counter(
            "longtask_operator_steps_total",
            "Decisions carried out",
            ["decision"],
            registry=registry,
        )
        self.finished = Counter(
            "longtask_tasks_finished_total",
            "Tasks that reached their end",
            [*_OF_TASKS, "phase"],
            registry=registry,
        )
        self.attempts = Counter(
            "longtask_attempts_finished_total",
            "Attempts that ended, by how",
            [*_OF_TASKS, "reason"],
            registry=registry,
        )
        self.retries = Counter(
            "longtask_attempts_retried_total",
            "Attempts that failed and are followed by another one",
            ["reason"],
            registry=registry,
        )
        self.contradictions = Counter(
            "longtask_reports_contradicted_total",
            "Programs that said how they end, and whose containers then ended otherwise",
            registry=registry,
        )
        self.queue_wait = Histogram(
            "longtask_queue_wait_seconds",
            "How long tasks waited in their queue for a place",
            _OF_TASKS,
            buckets=_WAITING,
            registry=registry,
        )
        self.start_latency = Histogram(
            "longtask_attempt_start_seconds",
            "How long attempts took from their place to a program that runs",
            _OF_TASKS,
            buckets=_STARTING,
            registry=registry,
        )
        self.run_time = Histogram(
            "longtask_attempt_run_seconds",
            "How long the programs of attempts ran",
            _OF_TASKS,
            buckets=_RUNNING,
            registry=registry,
        )
        self.conflicts = Counter(
            "longtask_operator_conflicts_total",
            "Writes that somebody forestalled",
            registry=registry,
        )
        self.callback_tries = Counter(
            "longtask_callback_tries_total", "Callbacks sent", ["outcome"], registry=registry
        )
        self.callback_answer = Histogram(
            "longtask_callback_answer_seconds",
            "How long receivers took to answer, or were waited for",
            buckets=_ANSWERING,
            registry=registry,
        )
        self.callback_delay = Histogram(
            "longtask_callback_delay_seconds",
            "How long it took from an event until its receiver had accepted it",
            ["event"],
            buckets=_DELIVERING,
            registry=registry,
        )
        self.callbacks_exhausted = Counter(
            "longtask_callbacks_exhausted_total",
            "Callbacks that were given up",
            ["reason"],
            registry=registry,
        )
        for reason in (Reason.EXHAUSTED, Reason.GONE, Reason.ADDRESS_REFUSED):
            # Of a number that begins with one, Prometheus sees no increase.
            self.callbacks_exhausted.labels(str(reason))
        self.callbacks_under_way = Gauge(
            "longtask_callbacks_under_way",
            "Callbacks that are being sent, or wait for their turn",
            registry=registry,
        )
        self.resyncs = Counter(
            "longtask_operator_resyncs_total", "Complete listings", ["outcome"], registry=registry
        )
        self.resync_age = Gauge(
            "longtask_operator_resync_age_seconds",
            "How long ago everything was listed; since the start if it never was",
            registry=registry,
        )
        self.watch_silence = Gauge(
            "longtask_operator_watch_silence_seconds",
            "How long the API server has said nothing about tasks",
            registry=registry,
        )
        self.is_deaf = Gauge(
            "longtask_operator_is_deaf",
            "1 while the watches do not bring what the lists show",
            registry=registry,
        )
        self.is_admitting = Gauge(
            "longtask_operator_is_admitting",
            "1 while this process, and no other, lets tasks start",
            registry=registry,
        )
        self.terms = Counter(
            "longtask_operator_admission_terms_total",
            "How often this process became the one that lets tasks start",
            registry=registry,
        )
        self.tasks = Gauge(
            "longtask_operator_tasks", "Tasks in the operator's picture", registry=registry
        )
        self.lag = Gauge(
            "longtask_operator_loop_lag_seconds",
            "For how long the event loop stood still at most",
            registry=registry,
        )
        self.working = Gauge(
            "longtask_operator_keys_in_work",
            "Tasks that are due in the work queue, or being worked on",
            registry=registry,
        )
        self.pass_time = Histogram(
            "longtask_operator_reconcile_seconds",
            "How long a pass of a task took",
            buckets=_PASSING,
            registry=registry,
        )
        self.pass_errors = Counter(
            "longtask_operator_reconcile_errors_total",
            "Passes of tasks that failed, and are made again",
            ["error"],
            registry=registry,
        )
        self.schedules = Gauge(
            "longtask_operator_schedules", "Schedules in the operator's picture", registry=registry
        )
        self.runs = Counter(
            "longtask_schedule_runs_started_total",
            "Runs that schedules started, by why: due or asked for",
            ["cause"],
            registry=registry,
        )
        self.skipped = Counter(
            "longtask_schedule_times_skipped_total",
            "Times of schedules that were passed over",
            registry=registry,
        )
        self.run_delay = Histogram(
            "longtask_schedule_start_delay_seconds",
            "How long after its time a run that was due was started",
            buckets=_DELAYED,
            registry=registry,
        )
        self.suspended = Counter(
            "longtask_schedules_suspended_total",
            "Schedules that were suspended because too many runs had failed",
            registry=registry,
        )
        self.schedule_errors = Counter(
            "longtask_schedule_pass_errors_total",
            "Passes of schedules that failed, and are made again",
            ["error"],
            registry=registry,
        )
        self.warm_misses = Counter(
            "longtask_warm_misses_total",
            "Cold starts of types that keep pods waiting, by why",
            ["reason"],
            registry=registry,
        )
        for start in Start:
            if start is not Start.WARM:
                self.warm_misses.labels(str(start))
        self.warm_idle = Gauge(
            "longtask_warm_idle", "Pods that wait for a task", ["type"], registry=registry
        )
        self._lines = _Lines()
        registry.register(self._lines)

    def watch_queues(self, read: Callable[[], Iterable[Line]]) -> None:
        """Show how the queues stand whenever somebody asks."""
        self._lines.read = read


class _Lines(Collector):
    """Numbers of the queues that are there now: of one that was deleted nothing is left."""

    def __init__(self) -> None:
        self.read: Callable[[], Iterable[Line]] = tuple

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the numbers of each queue."""
        lines = list(self.read())
        shown: tuple[tuple[str, str, Callable[[Line], float]], ...] = (
            ("waiting_tasks", "Tasks that wait in the queue", lambda line: line.waiting),
            ("running_tasks", "Tasks that hold a place of it", lambda line: line.running),
            (
                "oldest_wait_seconds",
                "How long the one has waited that has waited longest",
                lambda line: line.oldest_wait,
            ),
            ("is_paused", "1 while nobody may start from it", lambda line: line.is_paused),
        )
        for name, told, value in shown:
            family = GaugeMetricFamily(f"longtask_queue_{name}", told, labels=["queue"])
            for line in lines:
                family.add_metric([line.queue], value(line))
            yield family
