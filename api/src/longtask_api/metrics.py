"""What is counted. No task's name ever is a label. Each one stands in docs/metrics.md too."""

from collections.abc import Callable
from typing import Any, Final

import prometheus_client
from fastapi import FastAPI
from prometheus_client import Counter, Gauge, Histogram, platform_collector, process_collector
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from longtask_adapters.kube.informer import Informer

#: Buckets, in seconds.
_TRANSACTIONS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 10, 30)


class Metrics:
    """The process's numbers, in a registry of their own."""

    def __init__(self) -> None:
        # When each number began is of use to nobody here, and would be a series for each.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = prometheus_client.CollectorRegistry()
        process_collector.ProcessCollector(registry=self.registry)
        platform_collector.PlatformCollector(registry=self.registry)
        self.reports = Counter(
            "longtask_api_progress_reports",
            "Progress reports taken from tasks' pods.",
            registry=self.registry,
        )
        self.patches = Counter(
            "longtask_api_progress_patches",
            "What became of progress to write: written, retried or dropped.",
            ["outcome"],
            registry=self.registry,
        )
        self.archived = Counter(
            "longtask_api_archived_tasks",
            "Tasks that were archived and deleted when their time was over.",
            registry=self.registry,
        )
        self.swept = Counter(
            "longtask_api_swept_tasks",
            "Tasks that were forgotten: their time in the archive was over.",
            registry=self.registry,
        )
        self.logs = Counter(
            "longtask_api_log_tails",
            "What became of the ends of attempts' logs: kept, absent or failed.",
            ["outcome"],
            registry=self.registry,
        )
        self.webhooks = Counter(
            "longtask_api_webhook_tries",
            "Tries to tell subscriptions, by what became of them: 2xx and the like, or a problem.",
            ["outcome"],
            registry=self.registry,
        )
        self.audit_lost = Counter(
            "longtask_api_audit_entries_lost",
            "Acts that stand in the log alone: the database was away for too long.",
            registry=self.registry,
        )
        self.mails = Counter(
            "longtask_api_mails",
            "What became of mails: sent, logged, again, given_up or dropped.",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in ("sent", "logged", "again", "given_up", "dropped"):
            self.mails.labels(outcome)
        self.outcomes = Counter(
            "longtask_api_outcome_reports",
            "What became of programs' reports of their own ends: taken, repeated or refused.",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in ("taken", "repeated", "refused"):
            self.outcomes.labels(outcome)
        self._overdue = Gauge(
            "longtask_api_overdue_tasks",
            "Tasks whose time is over and that are not archived and deleted yet.",
            registry=self.registry,
        )
        self._archive_away = Gauge(
            "longtask_api_archive_away",
            "1 while the archive does not answer, and so no task is deleted.",
            registry=self.registry,
        )
        self._objects = Gauge(
            "longtask_api_cache_objects",
            "Resources in the cache.",
            ["kind"],
            registry=self.registry,
        )
        self._silence = Gauge(
            "longtask_api_cache_silence_seconds",
            "Seconds since the API server last said anything about the kind.",
            ["kind"],
            registry=self.registry,
        )
        self._unforeseen = Gauge(
            "longtask_api_cache_unforeseen_failures",
            "Failures of the watch since the start that no error of Kubernetes explains.",
            ["kind"],
            registry=self.registry,
        )

        self._transactions = Histogram(
            "longtask_api_database_transaction_seconds",
            "How long transactions took, from the wait for a connection to their end.",
            ["kind"],
            buckets=_TRANSACTIONS,
            registry=self.registry,
        )
        self._database_errors = Counter(
            "longtask_api_database_errors",
            "Transactions that failed because the database did not answer.",
            ["kind"],
            registry=self.registry,
        )
        for kind in ("read", "write"):
            # Of a number that begins with one, Prometheus sees no increase.
            self._transactions.labels(kind)
            self._database_errors.labels(kind)
        self._connections = Gauge(
            "longtask_api_database_connections",
            "Connections of the pool: in use, or idle.",
            ["state"],
            registry=self.registry,
        )

    def note_transaction(self, kind: str, seconds: float, is_away: bool) -> None:
        """Count a transaction of the database.

        Args:
            kind: What it does: `read` or `write`.
            seconds: How long it took.
            is_away: It failed because the database does not answer.
        """
        self._transactions.labels(kind).observe(seconds)
        if is_away:
            self._database_errors.labels(kind).inc()

    def watch_connections(self, *, in_use: Callable[[], int], idle: Callable[[], int]) -> None:
        """Show how the pool of the database's connections is doing whenever somebody asks."""
        self._connections.labels("in_use").set_function(in_use)
        self._connections.labels("idle").set_function(idle)

    def instrument(self, app: FastAPI) -> None:
        """Count what an application answers, by method, route and status."""
        Instrumentator(registry=self.registry).instrument(app)

    def watch_cache(self, informer: Informer[Any]) -> None:
        """Show how a cache is doing whenever somebody asks."""
        kind = informer.kind.plural
        self._objects.labels(kind).set_function(informer.cache.__len__)
        self._silence.labels(kind).set_function(informer.silent_for)
        self._unforeseen.labels(kind).set_function(lambda: informer.unforeseen)

    def watch_archive(self, *, overdue: Callable[[], int], is_away: Callable[[], bool]) -> None:
        """Show how the archive is doing whenever somebody asks."""
        self._overdue.set_function(overdue)
        self._archive_away.set_function(is_away)

    def app(self) -> Starlette:
        """Return the application of the metrics port."""

        async def show(_: Request) -> Response:
            text = prometheus_client.generate_latest(self.registry)
            return Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)

        return Starlette(routes=[Route("/metrics", show)])
