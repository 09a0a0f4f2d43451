import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from longtask_adapters import testing
from longtask_adapters.kube import cache, connection, errors, informer, kinds, watching
from longtask_crds import names, v1alpha1

Tasks = informer.Informer[v1alpha1.LongTask]
LIST, WATCH = "list longtasks", "watch longtasks"


def key(name: str) -> names.ObjectKey:
    return names.ObjectKey("longtasks", name)


def is_there(task: v1alpha1.LongTask | None) -> bool:
    return task is not None


@contextlib.asynccontextmanager
async def running(connected: connection.Connection, **arguments: Any) -> AsyncIterator[Tasks]:
    """Run an informer of tasks until the test has seen enough."""
    one = informer.Informer(connected, kinds.TASKS, "longtasks", **arguments)
    task = asyncio.create_task(one.run())
    try:
        async with asyncio.timeout(60):
            yield one
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_changes_arrive(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    kubernetes.put("longtasks", "before")
    async with running(connected) as one:
        await one.synced.wait()
        assert one.cache.get(key("before")) is not None
        kubernetes.put("longtasks", "later")
        assert await one.cache.wait_for(key("later"), is_there, within=60)
        kubernetes.remove("longtasks", "before")
        assert not await one.cache.wait_for(key("before"), lambda task: task is None, within=60)
        assert kubernetes.calls == [LIST, WATCH]


async def test_a_watch_that_ended_goes_on_where_the_bookmark_was(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    async with running(connected) as one:
        await one.synced.wait()
        kubernetes.put("longtasks", "a")
        await one.cache.wait_for(key("a"), is_there, within=60)
        kubernetes.put("longtaskqueues", "q")
        kubernetes.bookmark()
        kubernetes.end_watches()
        marked = kubernetes.version
        while kubernetes.calls.count(WATCH) < 2:  # noqa: ASYNC110 - asking is all we can do
            await asyncio.sleep(0)
        kubernetes.put("longtasks", "b")
        assert await one.cache.wait_for(key("b"), is_there, within=60)
        assert kubernetes.calls == [LIST, WATCH, WATCH]
        assert kubernetes.requests[-1].query["resourceVersion"] == str(marked)


class Naps:
    """Stands in for sleeping; a nap may end the outage."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.taken: list[float] = []
        self._then = then

    async def sleep(self, seconds: float) -> None:
        self.taken.append(seconds)
        await asyncio.sleep(0)
        self._then()


@pytest.mark.parametrize(
    ("failure", "lists", "unforeseen"),
    [
        pytest.param(errors.Unavailable("away"), 1, 0, id="after-an-outage-it-goes-on"),
        pytest.param(
            testing.Refusal(410, "Expired", "old"), 2, 0, id="when-its-place-is-lost-it-lists-again"
        ),
        pytest.param(KeyError("a mistake"), 2, 1, id="after-a-mistake-of-ours-it-begins-anew"),
        pytest.param(RecursionError(), 2, 1, id="after-something-too-deep-it-begins-anew"),
    ],
)
async def test_a_broken_watch(
    kubernetes: testing.MemoryKubernetes,
    connected: connection.Connection,
    failure: Exception,
    lists: int,
    unforeseen: int,
) -> None:
    naps = Naps(kubernetes.come_back)
    async with running(connected, sleep=naps.sleep) as one:
        await one.synced.wait()
        kubernetes.go_away(failure)
        kubernetes.end_watches()
        kubernetes.put("longtasks", "meanwhile")
        assert await one.cache.wait_for(key("meanwhile"), is_there, within=60)
        assert kubernetes.calls.count(LIST) == lists
        assert one.unforeseen == unforeseen
        assert naps.taken


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [
        pytest.param("7", 7, 7, id="as-long-as-it-asks-for"),
        pytest.param("86400", 60, 60, id="but-not-for-a-day"),
        pytest.param(None, 0, 15, id="as-after-any-failure-if-it-says-nothing"),
    ],
)
async def test_a_busy_api_server_is_left_alone(
    kubernetes: testing.MemoryKubernetes,
    connected: connection.Connection,
    retry_after: str | None,
    least: float,
    most: float,
) -> None:
    naps = Naps(kubernetes.come_back)
    headers = {"Retry-After": retry_after} if retry_after else {}
    async with running(connected, sleep=naps.sleep) as one:
        kubernetes.go_away(testing.Refusal(429, "TooManyRequests", "busy", headers=headers))
        await one.synced.wait()
        (nap,) = naps.taken
        assert least <= nap <= most


async def test_who_loses_its_place_again_and_again_lists_each_few_seconds(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    tried = asyncio.Event()

    def count() -> None:
        if len(naps.taken) == 12:
            tried.set()

    naps = Naps(count)
    async with running(connected, sleep=naps.sleep) as one:
        await one.synced.wait()
        kubernetes.go_away(testing.Refusal(410, "Expired", "old"))
        await tried.wait()
    assert max(naps.taken[:12]) <= 4
    assert min(naps.taken[4:12]) >= 2, "it is no hot loop"


class Breaking(testing.MemoryKubernetes):
    """Its lists work, its watches never do."""

    def _read(self, route: Any, request: Any) -> Any:
        if request.query.get("watch"):
            raise KeyError("a mistake")
        return super()._read(route, request)


async def test_a_watch_that_never_stands_is_told_by_the_informer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]
    tried = asyncio.Event()

    def time_passes() -> None:
        now[0] += 10
        if now[0] >= 50:
            tried.set()

    connected = connection.Connection(Breaking(), user_agent="t")
    naps = Naps(time_passes)
    async with running(connected, clock=lambda: now[0], sleep=naps.sleep) as one:
        await tried.wait()
        assert one.synced.is_set()
        assert one.failing_for() >= 50
        assert one.unforeseen >= 5
    assert any(record.exc_info for record in caplog.records), "nobody could find the mistake"


async def test_what_the_api_server_last_said(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    now = [0.0]
    async with running(connected, clock=lambda: now[0]) as one:
        await one.synced.wait()
        now[0] = 30
        assert one.silent_for() == 30
        kubernetes.put("longtasks", "a")
        await one.cache.wait_for(key("a"), is_there, within=60)
        assert (one.silent_for(), one.failing_for()) == (0, 0)


@pytest.mark.parametrize("failures", [1, 2, 5, 100])
def test_backoff_stays_below_a_quarter_of_a_minute(failures: int) -> None:
    assert 0 < watching.backoff(failures) <= 15


async def test_it_tells_what_it_hears_and_what_is_news(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    kubernetes.put("longtasks", "before")
    kubernetes.put("longtasks", "known")
    tasks: cache.Cache[v1alpha1.LongTask] = cache.Cache()
    tasks.put(kinds.TASKS.read(kubernetes.stored("longtasks", "known")))
    heard: list[int] = []
    news: list[str] = []
    async with running(
        connected,
        cache=tasks,
        heard=lambda _, version: heard.append(version),
        news=lambda of: news.append(of.name),
    ) as one:
        await one.synced.wait()
        kubernetes.put("longtasks", "later")
        kubernetes.remove("longtasks", "before")
        await tasks.wait_for(key("before"), lambda task: task is None, within=60)
        first, known, later = heard
        assert first < known < later, "a deletion is no version that a list could show"
        assert news == ["before", "later"]


async def test_thousands_of_events_hold_up_nobody(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    async with running(connected) as one:
        await one.synced.wait()
        kubernetes.put("longtasks", "first")
        await one.cache.wait_for(key("first"), is_there, within=60)
        for number in range(500):
            kubernetes.put("longtasks", f"t{number:03}")
        seen: list[int] = []
        while len(one.cache) < 501:
            await asyncio.sleep(0)
            seen.append(len(one.cache))
        assert len(seen) >= 10, "the others had their turns between"


# --- lists ---


@dataclasses.dataclass(frozen=True)
class CountingKind(kinds.Kind[v1alpha1.LongTask]):
    """The kind of tasks; it notes what is read."""

    parsed: list[str] = dataclasses.field(default_factory=list)

    def read(self, raw: kinds.Raw) -> v1alpha1.LongTask:
        self.parsed.append(raw["metadata"]["name"])
        return super().read(raw)


def counting(parsed: list[str]) -> CountingKind:
    tasks = kinds.TASKS
    return CountingKind(tasks.api, tasks.plural, tasks.model, parsed=parsed)


async def test_a_second_list_parses_only_what_is_news(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    for name in ("a", "b", "c"):
        kubernetes.put("longtasks", name, spec={"input": {"n": 1}})
    tasks: cache.Cache[v1alpha1.LongTask] = cache.Cache(kinds.without_inputs)
    parsed: list[str] = []
    first = await informer.relist(connected, counting(parsed), "longtasks", tasks, limit=2)
    assert parsed == ["a", "b", "c"]
    assert first.version == kubernetes.version
    before = tasks.get(key("b"))
    assert before.spec.input is None
    kubernetes.put("longtasks", "b", spec={"priority": 1})
    kubernetes.remove("longtasks", "c")
    gone = tasks.get(key("c"))
    parsed.clear()
    second = await informer.relist(connected, counting(parsed), "longtasks", tasks, limit=2)
    assert parsed == ["b"]
    after = tasks.get(key("b"))
    assert second.changed == [key("b"), key("c")]
    assert (before.spec.priority, after.spec.priority, gone.spec.priority) == (None, 1, None)
    assert tasks.get(key("c")) is None


async def test_what_is_deleted_while_a_list_comes_does_not_come_back(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    for number in range(100):
        kubernetes.put("longtasks", f"t{number:02}")
    tasks: cache.Cache[v1alpha1.LongTask] = cache.Cache()
    listing = asyncio.create_task(informer.relist(connected, kinds.TASKS, "longtasks", tasks))
    await asyncio.sleep(0)  # the first slice is in; the watch has its turn before the rest
    assert 0 < len(tasks) < 100
    for name in ("t00", "t99"):
        tasks.remove(key(name), kubernetes.stored("longtasks", name)["metadata"]["uid"])
    await listing
    assert set(tasks.keys()) == {key(f"t{number:02}") for number in range(1, 99)}


async def test_an_object_that_cannot_be_read_keeps_no_other_away(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    kubernetes.put("longtasks", "bad", spec={"priority": "high"})
    kubernetes.put("longtasks", "good")
    async with running(connected) as one:
        await one.synced.wait()
        assert set(one.cache.keys()) == {key("good")}
        kubernetes.put("longtasks", "worse", spec={"priority": "high"})
        kubernetes.put("longtasks", "later")
        assert await one.cache.wait_for(key("later"), is_there, within=60)
        assert set(one.cache.unreadable) == {key("bad"), key("worse")}


class Told:
    """Follows an informer."""

    def __init__(self) -> None:
        self.lists: list[int] = []
        self.events: list[tuple[int, str | None]] = []

    def listed(self, version: int) -> None:
        self.lists.append(version)

    def watched(self, version: int, gone: str | None) -> None:
        self.events.append((version, gone))


async def test_a_follower_knows_how_far_the_cache_is(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    uid = kubernetes.put("longtasks", "a")["metadata"]["uid"]
    listed = kubernetes.version
    follower = Told()
    async with running(connected) as one:
        one.follower = follower
        await one.synced.wait()
        assert [found for _, found in one.cache.changed_since(listed - 1)] == [key("a")]
        assert not list(one.cache.changed_since(listed))
        kubernetes.put("longtasks", "b")
        kubernetes.remove("longtasks", "a")
        assert not await one.cache.wait_for(key("a"), lambda task: task is None, within=60)
        kubernetes.bookmark()
        while len(follower.events) < 3:  # noqa: ASYNC110 - asking is all we can do
            await asyncio.sleep(0)
    assert follower.lists == [listed]
    assert follower.events[:2] == [(listed + 1, None), (listed + 2, uid)]
    assert follower.events[2] == (kubernetes.version, None)
