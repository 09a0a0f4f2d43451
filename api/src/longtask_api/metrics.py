"""What is counted. No task's name ever is a label."""

from collections.abc import Callable
from typing import Any

import prometheus_client
from prometheus_client import Counter, Gauge, platform_collector, process_collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from longtask_adapters.kube.informer import Informer


class Metrics:
    """The process's numbers, in a registry of their own."""

    def __init__(self) -> None:
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
