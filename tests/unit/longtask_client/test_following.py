"""Tasks in sight until their end, over real connections."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

import client_support
from api_support import TOKEN, put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import settings
from longtask_client import aio, client, errors, models
from longtask_client.calls import following
from longtask_client.cli.output import top
from longtask_crds import names
from stream_support import Api, a_door, an_api, put_ended, put_started

MANY = ["a", "b", "c"]


@pytest.fixture
def kubernetes() -> MemoryKubernetes:
    made = MemoryKubernetes()
    made.put(names.LONGTASKQUEUES, "default", spec={"maxRunning": 2})
    return made


@pytest.fixture
def configured(tmp_path: Path) -> settings.Settings:
    (tmp_path / "token").write_text(TOKEN)
    return settings.Settings(token_file=tmp_path / "token", data_directory=tmp_path)


@pytest.fixture
async def api(kubernetes: MemoryKubernetes, configured: settings.Settings) -> AsyncIterator[Api]:
    async with asyncio.timeout(120), an_api(kubernetes, configured) as made:
        yield made


@contextlib.asynccontextmanager
async def connected(api: Api) -> AsyncIterator[tuple[aio.AsyncClient, list[str]]]:
    """Yield a client, and what it asks for."""
    asked: list[str] = []
    async with aio.AsyncClient(str(api.http.base_url), TOKEN) as client:

        async def note(request: object) -> None:
            asked.append(request.url.path.removeprefix("/api/v1/"))  # type: ignore[attr-defined]

        client._http.event_hooks["request"].append(note)
        yield client, asked


def when_asked(client: aio.AsyncClient, *, times: int) -> asyncio.Event:
    """Return what is set when the client has asked so often from now on."""
    event, left = asyncio.Event(), [None] * times

    async def note(_: object) -> None:
        left.pop()
        if not left:
            event.set()
            client._http.event_hooks["request"].remove(note)

    client._http.event_hooks["request"].append(note)
    return event


async def collected(
    seen: AsyncIterator[models.TaskView], then: Callable[[models.TaskView], None]
) -> list[str]:
    """Return what is shown; do something each time."""
    shown = []
    async for task in seen:
        shown.append(f"{task.id}: {task.phase} {task.percent} {task.message}")
        then(task)
    return shown


async def test_one_task_is_followed_by_its_stream(kubernetes: MemoryKubernetes, api: Api) -> None:
    put_task(kubernetes)
    await api.knows(kubernetes)

    def go_on(task: models.TaskView) -> None:
        match (task.phase, task.percent):
            case ("Pending", _):
                put_started(kubernetes)
            case ("Running", None):
                put_started(kubernetes, progress={"percent": 40, "message": "half of it"})
            case ("Running", 40):
                put_ended(kubernetes)

    async with connected(api) as (client, asked):
        shown = await collected(client.follow("a"), go_on)
    assert "a: Running 40 half of it" in shown
    assert shown[-1].startswith("a: Succeeded")
    assert asked == ["tasks/a/events"]


async def test_several_are_followed_by_one_stream_until_the_last_ends(
    kubernetes: MemoryKubernetes, api: Api
) -> None:
    for name in (*MANY, "another"):
        put_task(kubernetes, name)
    await api.knows(kubernetes)
    looked: list[str] = []

    def go_on(task: models.TaskView) -> None:
        if task.phase == "Pending":
            looked.append(task.id)
            if len(looked) == len(MANY):
                put_ended(kubernetes, "another")
                for name in MANY:
                    put_ended(kubernetes, name)

    async with connected(api) as (client, asked):
        shown = await collected(client.follow_all(MANY), go_on)
    assert [line.partition(" 1")[0] for line in shown[-3:]] == [f"{n}: Succeeded" for n in MANY]
    assert not any(line.startswith("another") for line in shown)
    assert asked == ["events", "tasks/a", "tasks/b", "tasks/c", "events"]


async def test_what_changes_while_one_looks_at_the_others_is_not_missed(
    kubernetes: MemoryKubernetes, api: Api
) -> None:
    for name in MANY:
        put_task(kubernetes, name)
    await api.knows(kubernetes)

    def go_on(task: models.TaskView) -> None:
        if task.phase == "Pending":
            put_ended(kubernetes, task.id)

    async with connected(api) as (client, _):
        shown = await collected(client.follow_all(MANY), go_on)
    assert sum("Succeeded" in line for line in shown) == len(MANY)


async def test_one_that_is_deleted_meanwhile_is_not_there(
    kubernetes: MemoryKubernetes, api: Api
) -> None:
    put_task(kubernetes)
    await api.knows(kubernetes)
    async with connected(api) as (client, _):
        with pytest.raises(errors.NotFound):
            await collected(client.follow("a"), lambda _: kubernetes.remove_task("a"))


@pytest.mark.parametrize("ids", [["a"], ["a", "b"]])
async def test_a_wait_has_an_end_though_nothing_happens(
    kubernetes: MemoryKubernetes, api: Api, ids: list[str]
) -> None:
    for name in ids:
        put_task(kubernetes, name)
    await api.knows(kubernetes)
    async with connected(api) as (client, asked):
        with pytest.raises(errors.WaitTimeout) as raised:
            await collected(client.follow_all(ids, timeout=2), lambda _: None)
    assert raised.value.state == models.TaskState(state="Pending", percent=None)
    assert asked[-1].endswith("events")


async def test_without_a_stream_it_looks_again_and_again(
    kubernetes: MemoryKubernetes, configured: settings.Settings
) -> None:
    few = configured.model_copy(update={"streams_per_caller": 1})
    async with asyncio.timeout(120), an_api(kubernetes, few) as api:
        put_task(kubernetes)
        await api.knows(kubernetes)
        async with api.http.stream("GET", "/api/v1/events"), connected(api) as (client, asked):
            seen = client.follow("a", interval=0.01)
            shown = await collected(seen, lambda _: put_ended(kubernetes))
    assert shown[-1].startswith("a: Succeeded")
    assert asked[0] == "tasks/a/events"
    assert set(asked[1:]) == {"tasks/a"}


async def test_what_a_schedule_starts_is_told_of_by_a_stream(
    kubernetes: MemoryKubernetes, api: Api
) -> None:
    put_task(kubernetes)
    await api.knows(kubernetes)
    async with connected(api) as (client, asked):
        listening = when_asked(client, times=3)
        run = asyncio.create_task(client.wait_for_run("s-1"))
        await listening.wait()
        put_started(kubernetes)
        put_task(kubernetes, "s-1")
        assert (await run).id == "s-1"
        # The stream; what was there already; what came; and the run itself.
        assert asked == ["events", "tasks/s-1", "events", "events", "tasks/s-1"]
        with pytest.raises(errors.NotFound):
            await client.wait_for_run("s-2", timeout=0.1)


async def test_who_waits_for_a_log_hears_of_the_start_by_a_stream(
    kubernetes: MemoryKubernetes, api: Api
) -> None:
    put_task(kubernetes)
    await api.knows(kubernetes)
    async with connected(api) as (client, asked):
        listening = when_asked(client, times=1)
        start = asyncio.create_task(client.run(following.begun("a")))
        await listening.wait()
        put_task(kubernetes, status={"phase": "Queued", "waiting": "there is no place"})
        put_started(kubernetes)
        await start
        assert asked == ["tasks/a/events"]


@pytest.mark.parametrize(
    ("step", "phase", "begins"),
    [
        pytest.param(None, "Queued", False, id="it-waits-in-its-queue"),
        pytest.param(None, "Retrying", False, id="it-waits-to-be-tried-again"),
        pytest.param(None, "Starting", True, id="its-pod-is-made"),
        pytest.param("one", "Running", True, id="the-step-has-begun"),
        pytest.param("one.3", "Running", True, id="so-have-its-items-or-soon-will"),
        pytest.param("two", "Running", False, id="another-step-has"),
        pytest.param("two", "Failed", True, id="it-never-will"),
    ],
)
def test_when_a_log_may_be_there(step: str | None, phase: str, begins: bool) -> None:
    steps = [{"name": "one", "phase": "Running"}, {"name": "two", "phase": "Pending"}]
    task = models.TaskView.model_validate(client_support.a_task("a", phase, steps=steps))
    assert following._has_begun(task, step) is begins


async def test_a_state_is_told_when_it_is_another(kubernetes: MemoryKubernetes, api: Api) -> None:
    put_task(kubernetes)
    await api.knows(kubernetes)
    seen = []
    async with connected(api) as (client, asked):
        async for state in client.watch("a"):
            seen.append(f"{state.state} {state.percent}")
            match seen[-1]:
                case "Pending None":
                    put_started(kubernetes, progress={"percent": 40, "message": "half of it"})
                case "Running 40":
                    put_started(kubernetes, progress={"percent": 40, "message": "and more"})
                    await api.knows(kubernetes)
                    put_ended(kubernetes)
    assert seen == ["Pending None", "Running 40", "Succeeded 100"]
    assert asked == ["tasks/a/events"]


# --- a list that stays in sight


def by_turns(client: aio.AsyncClient, url: str, **wanted: object) -> AsyncIterator[models.TaskView]:
    return client.changes(models.TaskFilter(**wanted))


async def in_a_thread(
    _: aio.AsyncClient, url: str, **wanted: object
) -> AsyncIterator[models.TaskView]:
    """Yield what the other client yields."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[models.TaskView]()

    def read(seen: Iterator[models.TaskView]) -> None:
        with contextlib.suppress(Exception):  # the test is over
            for task in seen:
                loop.call_soon_threadsafe(queue.put_nowait, task)

    with client.Client(url, TOKEN, sleep=lambda _: None) as other:
        seen = other.changes(models.TaskFilter(**wanted))
        threading.Thread(target=read, args=(seen,), daemon=True).start()
        while True:
            yield await queue.get()


BOTH = pytest.mark.parametrize("changes", [by_turns, in_a_thread])
Changes = Callable[..., AsyncIterator[models.TaskView]]


class Seen:
    """What is shown of a list that stays in sight."""

    def __init__(self, changes: AsyncIterator[models.TaskView]) -> None:
        self._changes = changes

    async def next(self, count: int = 1) -> list[str]:
        """Return what comes next, so many; they come in any order where they come together."""
        found = [await anext(self._changes) for _ in range(count)]
        return sorted(f"{task.id} {task.phase} {task.percent}" for task in found)


@BOTH
async def test_a_list_is_read_once_and_then_told_of(
    kubernetes: MemoryKubernetes, api: Api, changes: Changes
) -> None:
    for name in MANY:
        put_task(kubernetes, name)
    await api.knows(kubernetes)
    async with connected(api) as (client, asked):
        seen = Seen(changes(client, str(api.http.base_url)))
        assert await seen.next(3) == ["a Pending None", "b Pending None", "c Pending None"]
        put_started(kubernetes, "b")
        assert await seen.next() == ["b Running None"]
        put_started(kubernetes, "b", progress={"percent": 40})
        assert await seen.next() == ["b Running 40"]
        put_task(kubernetes, "d")
        assert await seen.next() == ["d Pending None"]
        kubernetes.remove_task("c")
        put_ended(kubernetes, "b")
        assert await seen.next() == ["b Succeeded 100"]
    if changes is by_turns:
        assert asked == ["events", "tasks", "events"]


@BOTH
async def test_one_that_leaves_the_list_comes_a_last_time(
    kubernetes: MemoryKubernetes, api: Api, changes: Changes
) -> None:
    put_task(kubernetes, "b")
    put_started(kubernetes, "a")
    await api.knows(kubernetes)
    async with connected(api) as (client, _):
        seen = Seen(changes(client, str(api.http.base_url), phases=("Running",)))
        assert await seen.next() == ["a Running None"]
        put_ended(kubernetes, "b")  # it never was in the list
        put_ended(kubernetes, "a")
        assert await seen.next() == ["a Succeeded 100"]


@BOTH
async def test_a_broken_connection_misses_and_doubles_nothing(
    kubernetes: MemoryKubernetes, api: Api, changes: Changes
) -> None:
    for name in MANY:
        put_task(kubernetes, name)
    await api.knows(kubernetes)
    async with a_door(api) as door, aio.AsyncClient(door.url, TOKEN, sleep=at_once) as client:
        seen = Seen(changes(client, door.url))
        assert len(await seen.next(3)) == 3
        for round_, name in enumerate(MANY):
            put_started(kubernetes, name)
            assert await seen.next() == [f"{name} Running None"]
            before = door.ways
            door.cut()
            # While nobody listens, one changes, one is made, and one that was told of does not.
            put_started(kubernetes, name, progress={"percent": 50})
            put_task(kubernetes, f"new-{round_}")
            assert await seen.next(2) == [f"{name} Running 50", f"new-{round_} Pending None"]
            assert door.ways > before
        put_ended(kubernetes, "a")
        assert await seen.next() == ["a Succeeded 100"]


async def test_what_a_list_is_too_short_for_is_shown_when_it_goes_on(
    kubernetes: MemoryKubernetes, api: Api
) -> None:
    put_started(kubernetes, "old")
    created = {"creationTimestamp": "2026-01-02T04:04:05Z"}
    put_task(kubernetes, "new", metadata=created)
    await api.knows(kubernetes)
    async with connected(api) as (client, asked):
        seen = Seen(client.changes(limit=1))
        assert await seen.next() == ["new Pending None"]
        put_started(kubernetes, "new")  # by now there is a stream
        assert await seen.next() == ["new Running None"]
        put_started(kubernetes, "old", progress={"percent": 7})
        assert await seen.next() == ["old Running 7"]
        put_started(kubernetes, "old", progress={"percent": 8})
        assert await seen.next() == ["old Running 8"]
    assert asked[:5] == ["events", "tasks", "events", "tasks/old", "events"]


async def test_without_a_stream_a_list_is_read_again_and_again(
    kubernetes: MemoryKubernetes, configured: settings.Settings
) -> None:
    few = configured.model_copy(update={"streams_per_caller": 1})
    async with asyncio.timeout(120), an_api(kubernetes, few) as api:
        put_task(kubernetes)
        await api.knows(kubernetes)
        async with api.http.stream("GET", "/api/v1/events"), connected(api) as (client, asked):
            seen = Seen(client.changes(interval=0.01))
            assert await seen.next() == ["a Pending None"]
            put_started(kubernetes)
            assert await seen.next() == ["a Running None"]
    assert set(asked[1:]) == {"tasks"}


async def test_what_is_at_work_is_looked_at_when_something_has_changed(
    kubernetes: MemoryKubernetes, api: Api
) -> None:
    asked: list[str] = []
    with client.Client(str(api.http.base_url), TOKEN) as connection:
        connection._http.event_hooks["request"].append(lambda one: asked.append(one.url.path))
        looks = top.looked(connection, interval=0)
        assert (await asyncio.to_thread(next, looks)).tasks == []
        for name in MANY:
            coming = asyncio.create_task(asyncio.to_thread(next, looks))
            put_started(kubernetes, name)
            assert [task.id for task in (await coming).tasks][:1] == [name]
    assert asked.count("/api/v1/tasks") == 1 + len(MANY)
    assert asked.count("/api/v1/events") == 2


async def test_what_ends_the_stream_ends_the_looks(api: Api) -> None:
    with client.Client(str(api.http.base_url), "another token") as connection:
        looks = top.looked(connection, interval=0)
        with pytest.raises(errors.Unauthorized):
            await asyncio.to_thread(next, looks)


async def at_once(_: float) -> None:
    """Let no time pass."""
