"""What many look at: made once for all of them, as often as needed and no more."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from api_support import CALLER, eventually, put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import errors, wiring
from longtask_api.services import boards, streams
from longtask_api.stores.filters import Filter
from stream_support import knows, put_started

PACE = boards.Pace(made=0.01, told=0.005, moved=30, rest=0)


class Maker:
    """Makes a board, and counts."""

    def __init__(self, services: wiring.Services) -> None:
        self._services = services
        self.made = 0
        self.fails = 0
        self.text: str | None = None

    async def make(self) -> str:
        self.made += 1
        if self.fails:
            self.fails -= 1
            raise errors.DatabaseAway
        tasks = self._services.resources.catalogue.by_age(newest_first=False)
        shown = ",".join(task.key.name for task in tasks)
        return shown if self.text is None else self.text


class Viewer:
    """Looks at it, and keeps what came."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self.got = b""
        self.task = asyncio.create_task(self._read(chunks))

    async def _read(self, chunks: AsyncIterator[bytes]) -> None:
        async for chunk in chunks:
            self.got += chunk

    async def sees(self, text: str) -> bool:
        return f"data: {text}\n\n".encode() in self.got


async def check() -> None:
    """Let everybody stay."""


class Room:
    """Boards, and who looks at them."""

    def __init__(self, services: wiring.Services, stack: contextlib.AsyncExitStack) -> None:
        self.boards = boards.Boards(
            services.hub, services.streams, pace=PACE, stream_pace=streams.Pace(ping=30)
        )
        self.maker = Maker(services)
        self._stack = stack

    async def looks(self, key: str = "all") -> Viewer:
        opening = self.boards.looking(CALLER, Filter(), key, self.maker.make, check=check)
        viewer = Viewer(await self._stack.enter_async_context(opening))
        self._stack.callback(viewer.task.cancel)
        return viewer


@pytest.fixture
async def room(services: wiring.Services) -> AsyncIterator[Room]:
    async with contextlib.AsyncExitStack() as stack:
        yield Room(services, stack)


async def test_it_is_made_once_however_many_look(
    kubernetes: MemoryKubernetes, services: wiring.Services, room: Room
) -> None:
    put_task(kubernetes, "a")
    await knows(services, kubernetes)
    viewers = [await room.looks() for _ in range(20)]
    for viewer in viewers:
        await eventually(lambda viewer=viewer: viewer.sees("a"))
    assert room.maker.made == 1
    put_task(kubernetes, "b")
    for viewer in viewers:
        await eventually(lambda viewer=viewer: viewer.sees("a,b"))
    assert room.maker.made <= 3  # the watch may bring it while it is made
    assert all(viewer.got.count(b"event: page") == 2 for viewer in viewers)


async def test_who_comes_later_sees_what_is_there_at_once(
    kubernetes: MemoryKubernetes, services: wiring.Services, room: Room
) -> None:
    put_task(kubernetes, "a")
    await knows(services, kubernetes)
    first = await room.looks()
    await eventually(lambda: first.sees("a"))
    second = await room.looks()
    await eventually(lambda: second.sees("a"))
    assert room.maker.made == 1
    other = await room.looks("another board")
    await eventually(lambda: other.sees("a"))
    assert room.maker.made == 2


async def test_progress_alone_makes_no_board(
    kubernetes: MemoryKubernetes, services: wiring.Services, room: Room
) -> None:
    put_started(kubernetes, "a")
    await knows(services, kubernetes)
    viewer = await room.looks()
    await eventually(lambda: viewer.sees("a"))
    put_task(kubernetes, "a", status={"progress": {"percent": 40, "message": "so far"}})

    async def is_told() -> bool:
        return b"event: progress" in viewer.got and b'"percent":40' in viewer.got

    await eventually(is_told)
    assert room.maker.made == 1


async def test_while_something_is_away_it_is_tried_again(
    kubernetes: MemoryKubernetes, services: wiring.Services, room: Room
) -> None:
    put_task(kubernetes, "a")
    await knows(services, kubernetes)
    room.maker.fails = 3
    viewer = await room.looks()
    await eventually(lambda: viewer.sees("a"))
    assert room.maker.made == 4


async def test_what_looks_the_same_is_not_sent_again(
    kubernetes: MemoryKubernetes, services: wiring.Services, room: Room
) -> None:
    room.maker.text = "the same"
    viewer = await room.looks()
    await eventually(lambda: viewer.sees("the same"))
    put_task(kubernetes, "b")

    async def is_made_again() -> bool:
        return room.maker.made > 1

    await eventually(is_made_again)
    room.maker.text = "another"
    put_task(kubernetes, "c")
    await eventually(lambda: viewer.sees("another"))
    assert viewer.got.count(b"event: page") == 2


async def test_nothing_is_left_of_a_board_that_nobody_looks_at(services: wiring.Services) -> None:
    async with contextlib.AsyncExitStack() as stack:
        room = Room(services, stack)
        viewer = await room.looks()
        await eventually(lambda: viewer.sees(""))
        assert len(services.hub) == 1

    async def is_gone() -> bool:
        return len(services.hub) == 0 and not services.hub._of_many

    await eventually(is_gone)
    assert room.boards._boards == {}


async def test_they_end_with_the_replica(services: wiring.Services, room: Room) -> None:
    viewer = await room.looks()
    await eventually(lambda: viewer.sees(""))
    services.hub.close()
    await asyncio.wait_for(viewer.task, 60)


async def test_a_board_that_breaks_sends_everybody_home(
    services: wiring.Services, room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> str:
        raise ZeroDivisionError

    room.maker.make = broken  # type: ignore[method-assign]
    viewer = await room.looks()
    await asyncio.wait_for(viewer.task, 60)
    assert "Failed to keep a board" in caplog.text
