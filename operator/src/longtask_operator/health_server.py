"""The operator's own small HTTP server: liveness, readiness, metrics."""

import asyncio

import prometheus_client
from aiohttp import web

from longtask_operator import metrics, resync, work_queue


class HealthServer:
    """Serves /healthz and /readyz on one port, /metrics on another."""

    def __init__(self, health: resync.Health, queue: work_queue.WorkQueue[str]) -> None:
        self._health = health
        self._queue = queue
        self._runners: list[web.AppRunner] = []

    async def start(self, *, health_port: int, metrics_port: int) -> None:
        """Listen on both ports."""
        probes = web.Application()
        probes.add_routes([web.get("/healthz", self._alive), web.get("/readyz", self._ready)])
        numbers = web.Application()
        numbers.add_routes([web.get("/metrics", self._metrics)])
        for app, port in ((probes, health_port), (numbers, metrics_port)):
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            self._runners.append(runner)
            await web.TCPSite(runner, port=port).start()

    async def stop(self) -> None:
        """Stop listening."""
        for runner in self._runners:
            await runner.cleanup()

    async def _alive(self, _: web.Request) -> web.Response:
        return _answer(self._health.why_not_alive(asyncio.get_running_loop().time()))

    async def _ready(self, _: web.Request) -> web.Response:
        return _answer(self._health.why_not_ready())

    async def _metrics(self, _: web.Request) -> web.Response:
        metrics.WORKING.set(self._queue.depth())
        return web.Response(
            body=prometheus_client.generate_latest(),
            headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST},
        )


def _answer(problem: str | None) -> web.Response:
    return web.Response(text=problem or "ok", status=503 if problem else 200)
