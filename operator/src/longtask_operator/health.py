"""What tells a working operator from one that only looks alive, and the server that says so."""

import asyncio
import dataclasses
import time
from collections.abc import Callable

import prometheus_client
from aiohttp import web

from longtask_operator import metrics

#: How old the last complete resync may be, in seconds: three of them were missed.
_RESYNC_AGE = 180
#: How long the event loop may stand still, in seconds.
_LAG = 30
#: How often the event loop's heart beats, in seconds.
_BEAT = 0.25


@dataclasses.dataclass
class Health:
    """How the operator is doing. Times are monotonic seconds."""

    resynced_at: float | None = None  #: the last complete resync
    began_at: float = dataclasses.field(default_factory=time.monotonic)
    deaf_since: float | None = None  #: since when the watches miss what the lists show
    beat_at: float = 0.0  #: the event loop's last heartbeat
    longest_lag: float = 0.0  #: for how long the event loop stood still at most, in seconds

    def resync_age(self, now: float) -> float:
        """Return how long ago everything was listed; since the start if it never was."""
        return now - (self.began_at if self.resynced_at is None else self.resynced_at)

    def why_not_ready(self) -> str | None:
        """Return why no task would be worked on, or None."""
        return "nothing was listed yet" if self.resynced_at is None else None

    def why_not_alive(self, now: float) -> str | None:
        """Return why a restart would help, or None."""
        if self.resynced_at is not None and now - self.resynced_at > _RESYNC_AGE:
            return f"the last complete resync is over {_RESYNC_AGE} s old"
        if self.deaf_since is not None:
            return "the watches have not brought what two resyncs found"
        if now - self.beat_at > _LAG:
            return f"the event loop lags more than {_LAG} s"
        return None

    async def beat(self) -> None:
        """Beat for ever, and measure by it how long the event loop stands still."""
        self.beat_at = time.monotonic()
        while True:
            await asyncio.sleep(_BEAT)
            before, self.beat_at = self.beat_at, time.monotonic()
            self.longest_lag = max(self.longest_lag, self.beat_at - before - _BEAT)


class HealthServer:
    """Serves /healthz and /readyz on one port, /metrics on another."""

    def __init__(self, health: Health, counted: metrics.Metrics, depth: Callable[[], int]) -> None:
        self._health = health
        self._metrics = counted
        self._depth = depth
        self._runners: list[web.AppRunner] = []

    async def start(self, *, health_port: int, metrics_port: int) -> None:
        """Listen on both ports."""
        probes = web.Application()
        probes.add_routes([web.get("/healthz", self._alive), web.get("/readyz", self._ready)])
        numbers = web.Application()
        numbers.add_routes([web.get("/metrics", self._numbers)])
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
        return _answer(self._health.why_not_alive(time.monotonic()))

    async def _ready(self, _: web.Request) -> web.Response:
        return _answer(self._health.why_not_ready())

    async def _numbers(self, _: web.Request) -> web.Response:
        self._metrics.working.set(self._depth())
        self._metrics.lag.set(self._health.longest_lag)
        self._metrics.resync_age.set(self._health.resync_age(time.monotonic()))
        self._metrics.is_deaf.set(self._health.deaf_since is not None)
        return web.Response(
            body=prometheus_client.generate_latest(self._metrics.registry),
            headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST},
        )


def _answer(problem: str | None) -> web.Response:
    return web.Response(text=problem or "ok", status=503 if problem else 200)
