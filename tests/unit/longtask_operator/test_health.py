"""Whether the operator works or only looks alive, and the probes that say so."""

import asyncio

import aiohttp
import pytest

from longtask_operator import metrics
from longtask_operator.health import Health, HealthServer


@pytest.mark.parametrize(
    ("health", "now", "why"),
    [
        pytest.param(Health(beat_at=1000), 1000, None, id="at-the-start-nothing-is-overdue"),
        pytest.param(Health(1000, beat_at=1180), 1180, None, id="180-s-are-not-too-long"),
        pytest.param(
            Health(1000, beat_at=1181),
            1181,
            "the last complete resync is over 180 s old",
            id="a-stuck-resync-is-told",
        ),
        pytest.param(
            Health(1000, deaf_since=0.0, beat_at=1000),
            1000,
            "the watches have not brought what two resyncs found",
            id="a-deaf-watch-is-told-whenever-it-began",
        ),
        pytest.param(Health(1000, beat_at=970), 1000, None, id="a-lag-of-30-s-is-borne"),
        pytest.param(
            Health(1000, beat_at=969),
            1000,
            "the event loop lags more than 30 s",
            id="a-longer-lag-is-told",
        ),
    ],
)
def test_why_not_alive(health: Health, now: float, why: str | None) -> None:
    assert health.why_not_alive(now) == why


@pytest.mark.parametrize(
    ("health", "why"),
    [
        pytest.param(Health(), "nothing was listed yet", id="before-the-first-resync"),
        pytest.param(Health(1000), None, id="after-the-first-resync"),
        pytest.param(Health(1000, deaf_since=1.0), None, id="deafness-is-no-unreadiness"),
    ],
)
def test_why_not_ready(health: Health, why: str | None) -> None:
    assert health.why_not_ready() == why


async def test_the_probes_tell_what_health_tells() -> None:
    health = Health(beat_at=asyncio.get_running_loop().time())
    server = HealthServer(health, metrics.Metrics(), lambda: 3)
    await server.start(health_port=0, metrics_port=0)
    # It listens by IPv4 and by IPv6, at ports of their own.
    probes, numbers = (
        f"http://127.0.0.1:{address[1]}"
        for runner in server._runners
        for address in runner.addresses
        if len(address) == 2
    )

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
            assert "longtask_operator_keys_in_work 3.0" in text
            assert (await ask(f"{probes}/metrics"))[0] == 404
    finally:
        await server.stop()
