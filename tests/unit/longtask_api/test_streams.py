"""Streams over real connections: what is told, resumed, and ended."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from socket import SO_RCVBUF, SOL_SOCKET

import httpx
import pytest
from httpx_sse import EventSource

from api_support import CALLER, eventually, put_task
from longtask_adapters.kube import errors as kube
from longtask_adapters.kube import kinds
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import errors, hub, settings, wiring
from longtask_api.auth import callers
from longtask_api.stores.filters import Filter
from longtask_client import models, streaming
from longtask_crds import events, names
from stream_support import (
    Api,
    Listener,
    an_api,
    are_open,
    knows,
    listening,
    put_ended,
    put_started,
    talking,
    told,
)

BY_OWNER = {names.OWNER_LABEL: "ann"}


@pytest.fixture
async def api(kubernetes: MemoryKubernetes, configured: settings.Settings) -> AsyncIterator[Api]:
    async with asyncio.timeout(120), an_api(kubernetes, configured) as made:
        yield made


# --- one task


async def test_a_task_is_followed_from_its_queue_to_its_result(
    kubernetes: MemoryKubernetes, api: Api
) -> None:
    put_task(kubernetes)
    await api.knows(kubernetes)
    one = api.of_task()
    async with listening(one) as stream:
        await eventually(told(one, "status"))
        put_started(kubernetes)
        await eventually(told(one, "event", "event"))
        put_started(kubernetes, progress={"percent": 40, "message": "half of it"})
        await eventually(told(one, "progress"))
        put_ended(kubernetes, result={"value": 55})
        assert await stream == 200
    assert one.names() == [
        *("status", "event", "event", "status", "progress", "event", "status", "result")
    ]
    happened = [each.data for each in one.told if isinstance(each.data, events.Event)]
    assert [event.type for event in happened] == ["queued", "started", "succeeded"]
    end = one.told[-1].data
    assert isinstance(end, models.TaskResult)
    assert (end.phase, end.result and end.result.value) == ("Succeeded", 55)
    # Nothing follows: who comes back is told not to.
    assert await one.listen() == 204


async def test_progress_is_told_with_what_a_callback_tells_of_it(
    kubernetes: MemoryKubernetes, api: Api
) -> None:
    put_started(kubernetes)
    await api.knows(kubernetes)
    one = api.of_task()
    async with listening(one):
        await eventually(told(one, "status"))
        put_started(kubernetes, progress={"percent": 40, "message": "half of it"})
        await eventually(told(one, "progress"))
    data = one.told[-1].data
    assert isinstance(data, models.TaskProgress)
    assert (data.id, data.percent, data.message) == ("a", 40, "half of it")
    assert data.event is not None
    assert data.event.sequence == 1140


async def test_the_task_itself_is_a_stream_for_who_accepts_one(
    kubernetes: MemoryKubernetes, api: Api
) -> None:
    put_ended(kubernetes)
    await api.knows(kubernetes)
    answer = await api.http.get("/api/v1/tasks/a", headers={"Accept": "text/event-stream"})
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert "Content-Length" not in answer.headers
    assert answer.text.startswith("retry: 2000\nevent: event\ndata: {")
    assert (await api.http.get("/api/v1/tasks/a")).headers["Content-Type"] == "application/json"


async def test_a_place_in_the_queue_is_told_anew_when_it_moves(
    kubernetes: MemoryKubernetes, api: Api
) -> None:
    kubernetes.put(names.LONGTASKQUEUES, "default", spec={"paused": True})
    for name in ("a", "b"):
        put_task(kubernetes, name)
    await api.knows(kubernetes)
    one = api.of_task("b")
    async with listening(one):
        await eventually(told(one, "status"))
        kubernetes.remove_task("a")
        await eventually(told(one, "status", "status"))
    views = [each.data for each in one.told if isinstance(each.data, models.TaskView)]
    assert [view.queue_position for view in views] == [2, 1]
    assert one.told[0].id == one.told[1].id


async def test_a_task_that_is_deleted_ends_its_stream(
    kubernetes: MemoryKubernetes, api: Api
) -> None:
    put_task(kubernetes)
    await api.knows(kubernetes)
    one = api.of_task()
    async with listening(one) as stream:
        await eventually(told(one, "status"))
        kubernetes.remove_task("a")
        await stream
    assert one.names() == ["status", "deleted"]
    assert await one.listen() == 404


# --- all tasks


async def test_of_all_tasks_one_hears_what_fits_before_or_after(
    kubernetes: MemoryKubernetes, api: Api
) -> None:
    running = api.of_tasks(phases=("Running",))
    anns = api.of_tasks(owner="ann")
    async with listening(running), listening(anns):
        await eventually(are_open(api, 2))
        put_task(kubernetes, "a", metadata={"labels": BY_OWNER})
        put_task(kubernetes, "b")
        put_started(kubernetes, "b")
        await eventually(told(running, "status"))
        await eventually(told(anns, "status"))
        put_ended(kubernetes, "b")
        kubernetes.remove_task("a")
        await eventually(told(running, "status", "status"))
        await eventually(told(anns, "status", "deleted"))
    seen = [each.data for each in running.told if isinstance(each.data, models.TaskView)]
    assert [(view.id, view.phase) for view in seen] == [("b", "Running"), ("b", "Succeeded")]
    assert [(each.name, of(each)) for each in anns.told] == [("status", "a"), ("deleted", "a")]


async def test_a_stream_is_filtered_as_the_list_is(kubernetes: MemoryKubernetes, api: Api) -> None:
    by_text = api.of_tasks(search="MEMORY")
    later = api.of_tasks(since="2026-01-03T00:00:00Z")
    earlier = api.of_tasks(until="2026-01-03T00:00:00Z", phases=("pending",))
    async with listening(by_text), listening(later), listening(earlier):
        await eventually(are_open(api, 3))
        for name, day in (("old", "02"), ("new", "04")):
            made = f"2026-01-{day}T00:00:00Z"
            put_task(kubernetes, name, metadata={"creationTimestamp": made})
        put_started(kubernetes, "new", progress={"message": "out of memory"})
        await eventually(told(by_text, "status"))
        await eventually(told(later, "status"))
        await eventually(told(earlier, "status"))
    assert {of(each) for each in by_text.told} == {"new"}
    assert {of(each) for each in later.told} == {"new"}
    assert {of(each) for each in earlier.told} == {"old"}
    wrong = await api.http.get("/api/v1/events", params={"phase": "qeued"})
    assert wrong.status_code == 422
    anyhow = api.http.stream("GET", "/api/v1/events", params={"phase": "QUEUED"})
    async with anyhow as answer:
        assert answer.status_code == 200


async def test_what_is_asked_after_a_stream_began_is_no_older(
    kubernetes: MemoryKubernetes, api: Api
) -> None:
    put_task(kubernetes)
    await api.knows(kubernetes)
    async with api.http.stream("GET", "/api/v1/events") as answer:
        assert answer.headers["LongTask-Version"] == f"longtasks={api.services.hub.position}"


async def test_nobody_hears_of_tasks_that_they_may_not_see(
    kubernetes: MemoryKubernetes, api: Api
) -> None:
    ann = callers.Caller(subject="ann", name="ann")
    opening = api.services.streams.of_all(ann, Filter(), last_id="0", check=allowed)
    async with opening as chunks:
        heard = chunks.__aiter__()
        first = await anext(heard)
        assert b"reset" in first
        put_task(kubernetes, "b")
        put_task(kubernetes, "a", metadata={"labels": BY_OWNER})
        while b"event: status" not in (chunk := await anext(heard)):
            pass
    assert b'"id":"a"' in chunk
    assert b'"id":"b"' not in chunk


async def test_who_comes_back_to_another_replica_hears_what_was_missed(
    kubernetes: MemoryKubernetes, configured: settings.Settings
) -> None:
    async with asyncio.timeout(120), an_api(kubernetes, configured) as api:
        for name in ("a", "b", "c"):
            put_task(kubernetes, name)
        await api.knows(kubernetes)
        many = Listener(api.http, streaming.of_tasks(models.TaskFilter(), last_id="0"))
        async with listening(many):
            await eventually(told(many, "reset", "status", "status", "status"))
    put_started(kubernetes, "b")
    kubernetes.remove_task("c")
    async with asyncio.timeout(120), an_api(kubernetes, configured) as api:
        many.http = api.http
        async with listening(many):
            # The deletion was before this replica began.
            await eventually(told(many, "reset", "reset", *["status"] * 4))
            kubernetes.remove_task("a")
            await eventually(told(many, "deleted"))
        many.http, again = api.http, len(many.told)
        async with listening(many):
            put_started(kubernetes, "b", waiting="x")
            await eventually(told(many, *["status"] * 5))
    assert [of(each) for each in many.told[again:]] == ["b"]


def of(each: streaming.Told) -> str:
    """Return the task that is told of."""
    assert not isinstance(each.data, events.Event | models.StreamReset)
    return each.data.id


async def allowed() -> None:
    """Let everybody go on."""


# --- drops


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_missed_and_nothing_doubled_however_often_it_breaks(
    kubernetes: MemoryKubernetes, configured: settings.Settings, seed: int
) -> None:
    """Two replicas; each stream breaks at any place and goes on at any of them."""
    chance = random.Random(seed)
    tasks = [f"t{number}" for number in range(6)]
    async with (
        asyncio.timeout(120),
        an_api(kubernetes, configured) as one,
        an_api(kubernetes, configured) as other,
    ):
        for name in tasks:
            put_task(kubernetes, name)
        for each in (one, other):
            await each.knows(kubernetes)
        many = one.of_tasks()
        singles = [one.of_task(name) for name in tasks]
        # Both know all up to now, so the stream of all begins here.
        many.subscription.last_id = str(one.services.hub.position)

        async def listen(listener: Listener, until: Callable[[], bool]) -> None:
            while not until():
                listener.http = chance.choice([one, other]).http
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(chance.uniform(0.2, 3)):
                        await listener.listen(most=chance.randint(1, 4))

        async def has_heard_all_ends() -> bool:
            return ended(many) == set(tasks)

        def is_known() -> bool:
            done = {of(each) for each in many.told if each.name == "deleted"}
            return done == set(tasks[:2])

        listeners = [
            asyncio.create_task(listen(many, is_known)),
            *(
                asyncio.create_task(listen(single, lambda s=single: s.subscription.is_over))  # type: ignore[misc]
                for single in singles
            ),
        ]
        for percent in range(0, 60, 3):
            for name in chance.sample(tasks, 3):
                put_started(kubernetes, name, progress={"percent": percent})
            await asyncio.sleep(0.005)
        for name in tasks:
            put_ended(kubernetes, name)
        final = [kinds.TASKS.read(kubernetes.stored(names.LONGTASKS, name)) for name in tasks]
        await asyncio.gather(*listeners[1:])
        # Of what is deleted before its end was heard of, the end is told to nobody.
        await eventually(has_heard_all_ends)
        for name in tasks[:2]:
            kubernetes.remove_task(name)
        await listeners[0]
    versions = [int(each.id) for each in many.told]
    assert versions == sorted(set(versions))
    for single, task in zip(singles, final, strict=True):
        happened = [each.data for each in single.told if isinstance(each.data, events.Event)]
        assert tuple(happened) == events.of(task)
        ids = [each.id for each in single.told]
        assert len(ids) == len(set(ids))
        assert single.names()[-2:] == ["status", "result"]


def ended(listener: Listener) -> set[str]:
    views = [each.data for each in listener.told if isinstance(each.data, models.TaskView)]
    return {view.id for view in views if view.phase.is_terminal}


# --- bounds


async def test_who_does_not_read_costs_no_more_than_their_bound(
    kubernetes: MemoryKubernetes, api: Api
) -> None:
    """The answers are held up by the connection; what changes meanwhile is found in the cache."""
    # Much more than what the sockets hold.
    large = {"value": "x" * 4000}
    tasks = [f"t{number}" for number in range(hub.MOST_PENDING + 100)]
    narrow = httpx.AsyncHTTPTransport(socket_options=[(SOL_SOCKET, SO_RCVBUF, 65536)])
    async with talking(str(api.http.base_url), transport=narrow) as http:
        slow = Listener(http, streaming.of_tasks(models.TaskFilter()))
        async with slow.http.stream(
            "GET", slow.subscription.path, headers=slow.subscription.headers
        ) as response:
            await eventually(are_open(api, 1))
            for change in (put_started, put_started, put_ended):
                for name in tasks:
                    change(kubernetes, name, result=large, waiting=str(kubernetes.version))
                await api.knows(kubernetes)
                assert api.services.hub.pending <= hub.MOST_PENDING
            async with contextlib.aclosing(EventSource(response).aiter_sse()) as source:
                async for sent in source:
                    if (each := slow.subscription.take(sent)) is not None:
                        slow.told.append(each)
                    if len(slow.told) >= len(tasks) and ended(slow) == set(tasks):
                        break
    assert len(slow.told) < 3 * len(tasks), "it was not slow"
    assert "reset" not in slow.names()
    versions = [int(each.id) for each in slow.told]
    assert versions == sorted(set(versions))


async def test_a_caller_has_so_many_streams_and_no_more(
    kubernetes: MemoryKubernetes, configured: settings.Settings
) -> None:
    few = configured.model_copy(update={"streams_per_caller": 1})
    async with asyncio.timeout(120), an_api(kubernetes, few) as api:
        first, second = api.of_tasks(), api.of_tasks()
        async with listening(first):
            await eventually(are_open(api, 1))
            assert await second.listen() == 429
        await eventually(are_open(api, 0))
        async with listening(second):
            await eventually(are_open(api, 1))


async def test_what_says_nothing_is_kept_alive_and_its_id_goes_on(
    kubernetes: MemoryKubernetes, api: Api
) -> None:
    async with api.http.stream("GET", "/api/v1/events?owner=nobody") as response:
        lines = response.aiter_lines()
        await eventually(are_open(api, 1))
        put_task(kubernetes, "b")
        await api.knows(kubernetes)
        known = api.services.hub.position
        async for line in lines:
            if line == f"id: {known}":
                break
    assert line == f"id: {known}"


@pytest.mark.parametrize(
    ("path", "last_id", "status"),
    [
        pytest.param("/api/v1/events", "mine", 400, id="no-version"),
        pytest.param("/api/v1/tasks/a/events", "12", 400, id="no-id-of-a-task"),
        pytest.param("/api/v1/tasks/b/events", "", 404, id="no-such-task"),
    ],
)
async def test_what_is_no_stream(
    kubernetes: MemoryKubernetes, api: Api, path: str, last_id: str, status: int
) -> None:
    put_task(kubernetes)
    await api.knows(kubernetes)
    headers = {"Last-Event-ID": last_id} if last_id else {}
    assert (await api.http.get(path, headers=headers)).status_code == status
    assert len(api.services.hub) == 0
    no_token = {"Authorization": "Bearer no"}
    assert (await api.http.get(path, headers=no_token)).status_code == 401


async def test_asking_for_the_head_of_a_stream_does_not_hang(api: Api) -> None:
    assert (await api.http.head("/api/v1/events")).status_code in (200, 405)


# --- the end


async def test_a_replica_that_ends_ends_its_streams(kubernetes: MemoryKubernetes, api: Api) -> None:
    put_task(kubernetes)
    await api.knows(kubernetes)
    many, one = api.of_tasks(), api.of_task()
    async with listening(many) as first, listening(one) as second:
        await eventually(told(one, "status"))
        await eventually(are_open(api, 2))
        api.services.hub.close()
        # As an answer ends that is whole: a client that reads it sees no error.
        assert await asyncio.gather(first, second) == [200, 200]
    assert await many.listen() == 503


@pytest.mark.parametrize(
    ("refusal", "ends"),
    [
        pytest.param(errors.Unauthenticated(), True, id="a-token-that-was-revoked"),
        pytest.param(errors.Forbidden(), True, id="rights-that-are-gone"),
        pytest.param(errors.Unavailable(), False, id="whoever-knows-is-away"),
        pytest.param(errors.TooManyRequests(), False, id="too-many-are-asked-about"),
        pytest.param(kube.Unavailable("x"), False, id="kubernetes-is-away"),
    ],
)
async def test_who_may_not_listen_any_more(api: Api, refusal: Exception, ends: bool) -> None:
    asked = 0

    async def check() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise errors.Unauthenticated
        raise refusal

    async with api.services.streams.of_all(CALLER, Filter(), last_id=None, check=check) as chunks:
        async for _ in chunks:
            pass
    assert asked == (1 if ends else 3)


async def test_a_name_that_is_anothers_by_now_tells_nothing_of_them(
    kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    """This replica knows of both writes before the watch tells that the first task went."""
    ann = callers.Caller(subject="ann", name="ann")
    with services.hub.listening_to_all(ann, Filter(), since=None) as listener:
        put_task(kubernetes, metadata={"labels": BY_OWNER})
        await knows(services, kubernetes)
        task = await services.resources.find_task(services.resources.key("a"))
        assert task is not None
        await services.resources.retire_task(task)
        labels = {names.OWNER_LABEL: "bob"}
        body = {"metadata": {"name": "a", "labels": labels}, "spec": {"type": "secret"}}
        await services.resources.create_task(body)
        (news,) = listener.take(10)
        assert news.gone is None
        assert services.streams.told(news) == b""
        await knows(services, kubernetes)
        assert [each.gone is not None for each in listener.take(10)] == [True]
