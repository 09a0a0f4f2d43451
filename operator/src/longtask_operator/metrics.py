"""What the operator counts. No label holds a task's name: there are too many."""

import prometheus_client
from prometheus_client import Counter, Gauge, platform_collector, process_collector


class Metrics:
    """The process's numbers, in a registry of their own."""

    def __init__(self) -> None:
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
            ["phase"],
            registry=registry,
        )
        self.retries = Counter(
            "longtask_attempts_retried_total",
            "Attempts that failed and are followed by another one",
            ["reason"],
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
        self.callbacks_exhausted = Counter(
            "longtask_callbacks_exhausted_total",
            "Callbacks that were given up",
            ["reason"],
            registry=registry,
        )
        self.callbacks_under_way = Gauge(
            "longtask_callbacks_under_way",
            "Callbacks that are being sent, or wait for their turn",
            registry=registry,
        )
        self.resyncs = Counter(
            "longtask_operator_resyncs_total", "Complete listings", ["outcome"], registry=registry
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
            "longtask_operator_keys_in_work", "Tasks that are being worked on", registry=registry
        )
