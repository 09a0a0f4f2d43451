"""An `async def` task: run in a loop of its own, cancelled once, with time to clean up."""

import asyncio
import threading

import pytest

from longtask_runner import TaskCancelled, cancellation, event_loop


@pytest.fixture
def cancel() -> cancellation.Cancellation:
    return cancellation.Cancellation()


def test_what_it_returns_comes_out(cancel) -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert event_loop.run(work(), cancel) == 7


def test_what_it_raises_comes_out_with_its_own_frames(cancel) -> None:
    async def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        event_loop.run(work(), cancel)


@pytest.mark.parametrize(
    "wish",
    [
        pytest.param("request", id="by-the-answer-to-a-report"),
        pytest.param("note", id="by-sigterm"),
    ],
)
def test_the_wish_cancels_it_and_it_may_clean_up(cancel, wish: str) -> None:
    steps: list[str] = []

    async def work() -> None:
        threading.Thread(target=getattr(cancel, wish)).start()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            steps.append("cancelled")
            getattr(cancel, wish)()  # the second time it is left in peace
            await asyncio.sleep(0.001)
            steps.append("cleaned up")
            raise

    with pytest.raises(TaskCancelled):
        event_loop.run(work(), cancel)
    assert steps == ["cancelled", "cleaned up"]


def test_a_wish_from_before_cancels_it_at_its_first_pause(cancel) -> None:
    cancel.note()

    async def work() -> None:
        await asyncio.Event().wait()

    with pytest.raises(TaskCancelled):
        event_loop.run(work(), cancel)


def test_who_ends_well_all_the_same_has_a_result(cancel) -> None:
    async def work() -> str:
        cancel.request()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "what there was"

    assert event_loop.run(work(), cancel) == "what there was"


def test_one_that_cancels_itself_was_not_told_to(cancel) -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        event_loop.run(work(), cancel)


def test_what_it_leaves_running_is_cancelled_and_heard_out(cancel) -> None:
    ended: list[str] = []

    async def behind() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.001)
            ended.append("behind")

    async def items():
        try:
            yield 1
        finally:
            ended.append("generator")

    async def work() -> int:
        kept.append(asyncio.create_task(behind()))
        kept.append(items())
        await anext(kept[-1])
        return 7

    kept: list[object] = []
    assert event_loop.run(work(), cancel) == 7
    assert ended == ["behind", "generator"]


def test_what_does_not_end_is_named_and_left(cancel, capsys, monkeypatch) -> None:
    monkeypatch.setattr(event_loop, "LEFTOVER_SECONDS", 0.01)
    stubborn = True

    async def behind() -> None:
        while stubborn:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    async def work() -> int:
        kept.append(asyncio.create_task(behind(), name="stubborn"))
        await asyncio.sleep(0)
        return 7

    kept: list[asyncio.Task] = []
    assert event_loop.run(work(), cancel) == 7
    stubborn = False
    kept[0]._log_destroy_pending = False
    kept[0].get_coro().close()
    assert "left behind after waiting 0.01 s: stubborn" in capsys.readouterr().err


def test_a_thread_of_the_loops_is_not_waited_for(cancel) -> None:
    end = threading.Event()

    async def work() -> None:
        asyncio.get_running_loop().run_in_executor(None, end.wait)
        cancel.request()
        await asyncio.Event().wait()

    with pytest.raises(TaskCancelled):
        event_loop.run(work(), cancel)
    end.set()


def test_a_wish_after_its_end_reaches_nobody(cancel) -> None:
    async def work() -> None: ...

    event_loop.run(work(), cancel)
    cancel.request()
