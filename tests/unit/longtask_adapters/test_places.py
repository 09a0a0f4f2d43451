"""In which order, and how many at once."""

import asyncio

import pytest

from clock_support import Seconds
from longtask_adapters import places


class Walk:
    """Takes turns, each held until the test lets it go."""

    def __init__(self, turns: places.Turns) -> None:
        self._turns = turns
        self._gates: dict[str, asyncio.Event] = {}
        self.begun: list[str] = []
        self.news = asyncio.Event()
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def enter(self, owner: str, number: int = 1) -> None:
        for _ in range(number):
            name = f"{owner}{len([n for n in self.tasks if n[0] == owner[0]]) + 1}"
            self._gates[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._run(owner, name))
        await quiet()

    async def leave(self, name: str) -> None:
        self._gates[name].set()
        await self.tasks[name]
        await quiet()

    async def end(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    async def _run(self, owner: str, name: str) -> None:
        async with self._turns.turn(owner):
            self.begun.append(name)
            self.news.set()
            await self._gates[name].wait()


async def quiet() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_owner_gets_half_of_what_the_others_leave() -> None:
    walk = Walk(places.Turns(8))
    await walk.enter("a", 8)
    assert walk.begun == ["a1", "a2", "a3", "a4"]
    await walk.enter("b", 8)
    assert walk.begun[4:] == ["b1", "b2"]
    await walk.enter("c", 8)
    assert walk.begun[6:] == ["c1"]
    await walk.enter("d", 8)
    assert walk.begun[7:] == ["d1"]
    await walk.end()


async def test_owners_who_wait_go_one_after_the_other() -> None:
    walk = Walk(places.Turns(2))
    await walk.enter("a")
    await walk.enter("b")
    await walk.enter("a", 2)
    await walk.enter("c")
    assert walk.begun == ["a1", "b1"]
    await walk.leave("b1")
    assert walk.begun[2:] == ["c1"], "a has its share already"
    await walk.leave("a1")
    assert walk.begun[3:] == ["a2"]
    await walk.end()


async def test_turns_that_are_not_young_any_more_hold_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(places, "_YOUNG_SECONDS", 1.0)
    walk = Walk(places.Turns(100, young=2))
    await walk.enter("a", 5)
    assert walk.begun == ["a1", "a2"]
    async with asyncio.timeout(60):
        while len(walk.begun) < 5:
            walk.news.clear()
            await walk.news.wait()
    await walk.end()


async def test_who_gives_up_waiting_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_YOUNG_SECONDS", 3600.0)
    turns = places.Turns(2, young=1)
    walk = Walk(turns)
    await walk.enter("a", 3)
    walk.tasks["a2"].cancel()
    await quiet()
    await walk.leave("a1")
    assert walk.begun == ["a1", "a3"]
    await walk.leave("a3")
    # And who gives up in the very moment gives back what they got.
    await walk.enter("b")
    await walk.enter("b")
    walk._gates["b1"].set()
    await asyncio.sleep(0)
    walk.tasks["b2"].cancel()
    await quiet()
    await walk.enter("c")
    assert walk.begun[-1] == "c1"
    await walk.end()


@pytest.fixture
def clock() -> Seconds:
    return Seconds(100.0)


@pytest.fixture
def hosts(clock: Seconds) -> places.Hosts:
    return places.Hosts(at_once=2, failures=3, pause=60, clock=clock)


async def call(hosts: places.Hosts, *, failed: bool, owner: str = "a") -> None:
    async with asyncio.timeout(0.05), hosts.turn(owner, "h:443") as host:
        hosts.note(host, failed=failed)


async def test_a_host_is_left_alone_after_failures_in_a_row(
    hosts: places.Hosts, clock: Seconds
) -> None:
    for failed in (True, True, False, True, True, True):
        await call(hosts, failed=failed)
    with pytest.raises(TimeoutError):
        await call(hosts, failed=False)
    await call(hosts, failed=True, owner="b")
    clock.now += 59
    with pytest.raises(TimeoutError):
        await call(hosts, failed=False)
    clock.now += 1
    await call(hosts, failed=True)
    with pytest.raises(TimeoutError):  # it was not well yet
        await call(hosts, failed=False)
    clock.now += 60
    for _ in range(10):
        await call(hosts, failed=False)


async def test_who_waits_for_a_host_goes_when_its_pause_is_over(clock: Seconds) -> None:
    hosts = places.Hosts(at_once=2, failures=1, pause=0.05, clock=clock)
    await call(hosts, failed=True)
    waiting = asyncio.create_task(call(hosts, failed=False))
    await quiet()
    assert not waiting.done()
    clock.now += 1
    async with asyncio.timeout(60):
        await asyncio.gather(waiting, return_exceptions=True)
    await call(hosts, failed=False)


async def test_only_hosts_that_failed_are_remembered_and_not_for_ever(hosts: places.Hosts) -> None:
    await call(hosts, failed=False)
    assert not hosts._hosts
    for number in range(hosts._REMEMBERED + 10):
        async with hosts.turn("a", str(number)) as host:
            hosts.note(host, failed=True)
    assert len(hosts._hosts) == hosts._REMEMBERED
