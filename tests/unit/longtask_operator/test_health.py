"""Whether the operator works or only looks alive: the probes, and what the watches must bring."""

import asyncio

import aiohttp
import pytest
from aiohttp import test_utils

from longtask_adapters.kube import errors
from longtask_crds.testing import NOW, a_queue, a_task
from longtask_operator import handlers, mirror, resync, testing, work_queue
from longtask_operator.testing import MemoryCluster

NEVER = resync.Health(beat_at=1000)


@pytest.mark.parametrize(
    ("health", "now", "why"),
    [
        pytest.param(NEVER, 1000, None, id="at-the-start-nothing-is-overdue"),
        pytest.param(resync.Health(1000, beat_at=1180), 1180, None, id="180-s-are-not-too-long"),
        pytest.param(
            resync.Health(1000, beat_at=1181),
            1181,
            "the last complete resync is over 180 s old",
            id="a-stuck-resync-is-told",
        ),
        pytest.param(
            resync.Health(1000, deaf_since=0.0, beat_at=1000),
            1000,
            "the watches have not brought what two resyncs found",
            id="a-deaf-watch-is-told-whenever-it-began",
        ),
        pytest.param(resync.Health(1000, beat_at=970), 1000, None, id="a-lag-of-30-s-is-borne"),
        pytest.param(
            resync.Health(1000, beat_at=969),
            1000,
            "the event loop lags more than 30 s",
            id="a-longer-lag-is-told",
        ),
    ],
)
def test_why_not_alive(health: resync.Health, now: float, why: str | None) -> None:
    assert health.why_not_alive(now) == why


@pytest.mark.parametrize(
    ("health", "why"),
    [
        pytest.param(NEVER, "nothing was listed yet", id="before-the-first-resync"),
        pytest.param(resync.Health(1000), None, id="after-the-first-resync"),
        pytest.param(resync.Health(1000, deaf_since=1.0), None, id="deafness-is-no-unreadiness"),
    ],
)
def test_why_not_ready(health: resync.Health, why: str | None) -> None:
    assert health.why_not_ready() == why


# --- the resync ----------------------------------------------------------------------------------


class Bench:
    """A resync over a cluster in memory, and watches that bring what a test wants."""

    def __init__(self, cluster: MemoryCluster | None = None) -> None:
        self.cluster = cluster or MemoryCluster()
        self.mirror = mirror.Mirror()
        self.health = resync.Health()
        self.added: list[str] = []
        self.resync = resync.Resync(
            self.mirror, self.cluster, self.health, self.added.append, lambda: self.cluster.now
        )
        self._memo = handlers.Memo(mirror=self.mirror, add=lambda _name: None)

    async def once(self) -> list[str]:
        """Resync; return the names of the tasks that were queued."""
        self.added.clear()
        await self.resync.once()
        return sorted(self.added)

    async def watch_brings(self, *names: str) -> None:
        """Let the watch bring these tasks as they are now."""
        for name in names:
            event = {"type": "MODIFIED", "object": self.cluster.tasks[name]}
            await handlers.on_task(event=event, memo=self._memo)

    @property
    def is_deaf(self) -> bool:
        return self.health.deaf_since is not None


async def test_the_first_resync_makes_the_operator_ready_and_queues_what_there_is() -> None:
    bench = Bench()
    bench.cluster.add(a_task())
    bench.cluster.add(a_queue())
    assert await bench.once() == ["report"]
    assert bench.health.why_not_ready() is None
    assert set(bench.mirror.queues) == {"default"}


async def test_the_watches_are_deaf_since_the_first_time_it_was_seen() -> None:
    bench = Bench()
    bench.cluster.add(a_task())
    for _ in range(2):
        await bench.once()
    since = bench.health.deaf_since
    await bench.once()
    assert bench.health.deaf_since == since


class BusyCluster(MemoryCluster):
    """Things go on while everything is listed: `meanwhile` runs after the tasks' list was made."""

    meanwhile = None

    async def list_ours(self, plural: str) -> tuple[int, list[testing.Raw]]:
        answer = await super().list_ours(plural)
        if plural == "longtasks" and self.meanwhile is not None:
            begun, self.meanwhile = self.meanwhile, None
            await begun()
        return answer


async def test_what_a_watch_brings_while_lists_are_made_counts_as_heard() -> None:
    cluster = BusyCluster()
    bench = Bench(cluster)

    async def submit() -> None:
        cluster.add(a_task())
        await bench.watch_brings("report")

    cluster.meanwhile = submit
    await bench.once()
    for _ in range(3):  # it waits in its queue, and nothing changes
        await bench.once()
    assert not bench.is_deaf


async def test_a_deleted_task_is_forgotten() -> None:
    bench = Bench()
    bench.cluster.add(a_task())
    await bench.once()
    bench.cluster.remove_task("report")
    await bench.once()
    assert bench.mirror.tasks == {}
    assert await bench.once() == []


class AwayCluster(MemoryCluster):
    """An API server that fails a number of times before it answers."""

    failures: int = 0

    async def list_ours(self, plural: str) -> tuple[int, list[testing.Raw]]:
        if self.failures:
            self.failures -= 1
            raise errors.Unavailable("away")
        return await super().list_ours(plural)


async def test_a_resync_that_fails_is_tried_again_and_harms_no_health() -> None:
    cluster = AwayCluster()
    cluster.failures = 2
    cluster.add(a_task())
    seen, health, listed = mirror.Mirror(), resync.Health(), asyncio.Event()
    lister = resync.Resync(seen, cluster, health, lambda _name: listed.set(), lambda: NOW)
    running = asyncio.create_task(lister.run(0.001))
    await asyncio.wait_for(listed.wait(), 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert cluster.failures == 0
    assert health.why_not_ready() is None


# --- the probes ----------------------------------------------------------------------------------


async def _nothing(_key: str) -> None:
    return None


async def test_the_probes_tell_what_health_tells() -> None:
    health = resync.Health(beat_at=asyncio.get_running_loop().time())
    server = health_server.HealthServer(health, work_queue.WorkQueue(_nothing))
    ports = test_utils.unused_port(), test_utils.unused_port()
    await server.start(health_port=ports[0], metrics_port=ports[1])
    probes, numbers = (f"http://127.0.0.1:{port}" for port in ports)

    async def ask(url: str) -> tuple[int, str]:
        async with session.get(url) as answer:
            return answer.status, await answer.text()

    try:
        async with aiohttp.ClientSession() as session:
            assert await ask(f"{probes}/healthz") == (200, "ok")
            assert await ask(f"{probes}/readyz") == (503, "nothing was listed yet")
            health.resynced_at = health.beat_at
            assert await ask(f"{probes}/readyz") == (200, "ok")
            health.deaf_since = 0.0
            assert (await ask(f"{probes}/healthz"))[0] == 503
            status, text = await ask(f"{numbers}/metrics")
            assert status == 200
            assert "longtask_operator_keys_in_work 0.0" in text
            assert (await ask(f"{probes}/metrics"))[0] == 404
    finally:
        await server.stop()
