import asyncio

import pytest

from longtask_api.workers.supervisor import Supervisor


async def for_ever() -> None:
    await asyncio.Event().wait()


async def at_once() -> None:
    pass


async def fails() -> None:
    raise KeyError("nobody foresaw it")


async def cancelled() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("loop", [at_once, fails, cancelled])
async def test_a_loop_that_ends_unasked_is_news(
    loop: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(60), Supervisor() as supervisor:
        supervisor.start("good", for_ever())
        supervisor.start("bad", loop())  # type: ignore[operator]
        while not supervisor.ended():  # noqa: ASYNC110 - nothing tells of it but this
            await asyncio.sleep(0)
        assert supervisor.ended() == ["bad"]
    assert [(r.message, r.loop) for r in caplog.records] == [("A loop ended", "bad")]


async def test_loops_end_with_their_owner_and_that_is_no_news() -> None:
    ended = asyncio.Event()

    async def loop() -> None:
        try:
            await for_ever()
        finally:
            ended.set()

    async with Supervisor() as supervisor:
        supervisor.start("one", loop())
        await asyncio.sleep(0)
    assert ended.is_set()
    assert supervisor.ended() == []
