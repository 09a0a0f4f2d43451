"""The work queue, on a loop whose clock jumps to whatever comes next: nothing is waited for."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from longtask_operator import work_queue


class JumpingSelector(selectors.DefaultSelector):
    """Where others would wait, time passes at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += timeout or 0.0
        return super().select(0)


class JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.jumping = JumpingSelector()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now


@pytest.fixture
def loop() -> Iterator[JumpingLoop]:
    loop = JumpingLoop()
    yield loop
    loop.close()


def run(loop: JumpingLoop, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    loop.run_until_complete(main())


class Work:
    """Notes when it was done, and does what the script says next: a pause, nothing, an error."""

    def __init__(self, *script: float | Exception | None) -> None:
        self.script = list(script)
        self.at: list[float] = []
        self.gate: asyncio.Event | None = None
        self.busy: set[str] = set()

    async def __call__(self, key: str) -> float | None:
        assert key not in self.busy, "one pass at a time"
        self.busy.add(key)
        self.at.append(asyncio.get_running_loop().time())
        if self.gate is not None:
            await self.gate.wait()
        self.busy.discard(key)
        step = self.script.pop(0) if self.script else None
        if isinstance(step, Exception):
            raise step
        return step


def failures(number: int) -> list[Exception]:
    return [RuntimeError("no") for _ in range(number)]


#: On this loop it takes no time: the clock jumps.
time_passes = asyncio.sleep


async def settle() -> None:
    """Let everything happen that needs no time."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_key_is_worked_on(loop: JumpingLoop) -> None:
    async def main() -> None:
        work = Work()
        queue = work_queue.WorkQueue(work)
        queue.add("a")
        await settle()
        assert work.at == [0.0]
        assert queue.depth() == 0

    run(loop, main)


def test_what_comes_meanwhile_is_one_more_pass(loop: JumpingLoop) -> None:
    async def main() -> None:
        work = Work()
        work.gate = asyncio.Event()
        queue = work_queue.WorkQueue(work)
        queue.add("a")
        await settle()
        for _ in range(5):
            queue.add("a")
        assert queue.depth() == 1
        work.gate.set()
        await settle()
        assert len(work.at) == 2

    run(loop, main)


def test_a_slow_key_holds_up_no_other(loop: JumpingLoop) -> None:
    async def main() -> None:
        done: list[str] = []
        gate = asyncio.Event()

        async def work(key: str) -> None:
            if key == "slow":
                await gate.wait()
            done.append(key)

        queue = work_queue.WorkQueue(work)
        queue.add("slow")
        for number in range(100):
            queue.add(str(number))
        await settle()
        assert len(done) == 100
        gate.set()
        await settle()
        assert done[-1] == "slow"

    run(loop, main)


def test_a_pass_says_when_the_next_is_due(loop: JumpingLoop) -> None:
    async def main() -> None:
        work = Work(5.0, 0.0, None)
        work_queue.WorkQueue(work).add("a")
        await time_passes(100)
        assert work.at == pytest.approx([0, 5, 5])

    run(loop, main)


@pytest.mark.parametrize(
    ("pauses", "at"),
    [
        pytest.param([10, 4], [4], id="the-sooner-look-wins"),
        pytest.param([4, 10], [4], id="a-later-look-does-not-put-off-the-sooner"),
        pytest.param([-3], [0], id="what-was-due-is-due-now"),
    ],
)
def test_a_key_has_one_timer(loop: JumpingLoop, pauses: list[float], at: list[float]) -> None:
    async def main() -> None:
        work = Work()
        queue = work_queue.WorkQueue(work)
        for pause in pauses:
            queue.add_after("a", pause)
        await time_passes(100)
        assert work.at == pytest.approx(at)

    run(loop, main)


def test_a_look_now_replaces_the_timer(loop: JumpingLoop) -> None:
    async def main() -> None:
        work = Work()
        queue = work_queue.WorkQueue(work)
        queue.add_after("a", 10)
        queue.add("a")
        await time_passes(100)
        assert work.at == [0.0]

    run(loop, main)


def test_failures_come_ever_more_slowly(loop: JumpingLoop) -> None:
    async def main() -> None:
        work = Work(*failures(12), None)
        work_queue.WorkQueue(work).add("a")
        await time_passes(3600)
        pauses = [later - sooner for sooner, later in zip(work.at, work.at[1:], strict=False)]
        assert len(work.at) == 13
        for number, pause in enumerate(pauses, start=1):
            asked = min(30.0, 0.05 * 2**number)
            assert asked * 0.8 <= pause <= asked * 1.2 + 0.001

    run(loop, main)


def test_after_hours_of_failures_it_still_goes_on(loop: JumpingLoop) -> None:
    async def main() -> None:
        work = Work(*failures(1100), None)
        work_queue.WorkQueue(work).add("a")
        await time_passes(1200 * 40)
        assert len(work.at) == 1101

    run(loop, main)


def test_a_success_ends_the_back_off(loop: JumpingLoop) -> None:
    async def main() -> None:
        work = Work(*failures(8), 1.0, RuntimeError("no"), None)
        work_queue.WorkQueue(work).add("a")
        await time_passes(3600)
        assert work.at[-1] - work.at[-2] <= 0.1 * 1.2 + 0.001

    run(loop, main)


def test_a_failing_key_stops_no_other(loop: JumpingLoop) -> None:
    async def main() -> None:
        done: list[str] = []

        async def work(key: str) -> None:
            if key == "bad":
                raise ValueError("poison")
            done.append(key)

        queue: work_queue.WorkQueue[str] = work_queue.WorkQueue(work)
        for key in ("bad", "good", "bad", "better"):
            queue.add(key)
        await settle()
        assert done == ["good", "better"]

    run(loop, main)


def test_closing_waits_for_the_present_pass_and_takes_nothing_more(loop: JumpingLoop) -> None:
    async def main() -> None:
        work = Work(0.0, 0.0)
        work.gate = asyncio.Event()
        queue = work_queue.WorkQueue(work)
        queue.add("a")
        queue.add_after("b", 1)
        await settle()
        queue.add("a")
        closing = asyncio.ensure_future(queue.close())
        await settle()
        assert not closing.done()
        work.gate.set()
        await closing
        queue.add("c")
        queue.add_after("c", 0)
        await time_passes(100)
        assert work.at == [0.0]

    run(loop, main)


def test_closing_an_idle_queue_is_easy(loop: JumpingLoop) -> None:
    run(loop, work_queue.WorkQueue(Work()).close)


# --- lanes ---


def test_many_of_one_lane_hold_up_each_other_and_nobody_else(loop: JumpingLoop) -> None:
    async def main() -> None:
        gate, begun = asyncio.Event(), []

        async def work(key: str) -> None:
            begun.append(key)
            if key.startswith("slow"):
                await gate.wait()

        queue = work_queue.WorkQueue(work, lambda key: key.partition("-")[0])
        for number in range(1000):
            queue.add(f"slow-{number}")
        queue.add("other-1")
        await settle()
        assert sorted(begun) == ["other-1", *(f"slow-{n}" for n in range(8))]
        assert queue.depth() == 1000
        gate.set()
        while queue.depth():
            await settle()
        assert sorted(begun) == sorted({*begun}), "once each"
        assert len(begun) == 1001

    run(loop, main)


def test_the_loop_has_its_turn_while_very_many_begin(loop: JumpingLoop) -> None:
    async def main() -> None:
        done: list[str] = []

        async def work(key: str) -> None:
            done.append(key)

        queue = work_queue.WorkQueue(work)
        for number in range(1000):
            queue.add(str(number))
        turns = []
        while queue.depth():
            before = len(done)
            await asyncio.sleep(0)
            turns.append(len(done) - before)
        assert max(turns) <= 21
        assert done == [str(number) for number in range(1000)]

    run(loop, main)


def test_a_key_that_gets_another_lane_takes_it_at_once(loop: JumpingLoop) -> None:
    async def main() -> None:
        gate, begun = asyncio.Event(), []
        lanes: dict[str, str | None] = {}

        async def work(key: str) -> None:
            begun.append(key)
            await gate.wait()

        queue = work_queue.WorkQueue(work, lambda key: lanes.get(key, "full"))
        for number in range(20):
            queue.add(str(number))
        await settle()
        assert "19" not in begun
        lanes["19"] = None
        queue.add("19")
        await settle()
        assert begun[-1] == "19"
        assert len(begun) == 9
        gate.set()
        while queue.depth():
            await settle()
        assert len(begun) == 20

    run(loop, main)


def test_a_lane_goes_on_after_a_failure(loop: JumpingLoop) -> None:
    async def main() -> None:
        work = Work(*failures(8))
        queue = work_queue.WorkQueue(work, lambda _: "lane")
        for number in range(9):
            queue.add(str(number))
        await settle()
        assert len(work.at) == 9

    run(loop, main)
