"""Streams through the proxies that people have in front of the API, as they come."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from api_support import TOKEN, eventually, put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import settings
from longtask_client import models
from longtask_crds import events, names
from proxy_support import Command, Proxy, a_port, nginx, traefik
from stream_support import (
    Api,
    Listener,
    an_api,
    are_open,
    listening,
    put_ended,
    put_started,
    talking,
    told,
)

#: Between a change and its arrival, beside other work on the machine; a proxy that keeps something
#: back does so until its buffer is full, or the stream over.
SOON = 20.0


@pytest.fixture
def kubernetes() -> MemoryKubernetes:
    made = MemoryKubernetes()
    made.put(names.LONGTASKQUEUES, "default", spec={"maxRunning": 2})
    return made


@pytest.fixture
def configured(tmp_path: Path) -> settings.Settings:
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    return settings.Settings(token_file=token_file, data_directory=tmp_path)


@pytest.fixture(params=[nginx, traefik])
def command(request: pytest.FixtureRequest) -> Command:
    found: Command = request.param
    return found


@contextlib.asynccontextmanager
async def through(
    command: Command, folder: Path, kubernetes: MemoryKubernetes, configured: settings.Settings
) -> AsyncIterator[tuple[Api, Proxy]]:
    """Serve the API behind a proxy; whoever talks to it goes through that."""
    async with an_api(kubernetes, configured) as api:
        port = a_port()
        proxy = Proxy(command(folder, port, str(api.http.base_url)), port)
        await proxy.start()
        try:
            async with talking(proxy.url) as http:
                yield api._replace(http=http), proxy
        finally:
            await proxy.stop()


async def test_each_change_arrives_as_it_happens(
    command: Command, tmp_path: Path, kubernetes: MemoryKubernetes, configured: settings.Settings
) -> None:
    async with through(command, tmp_path, kubernetes, configured) as (api, _):
        put_started(kubernetes)
        await api.knows(kubernetes)
        one, many = api.of_task(), api.of_tasks()
        async with listening(one) as stream, listening(many):
            await eventually(told(one, "status"))
            await eventually(are_open(api, 2))
            for percent in range(5):
                began = time.monotonic()
                put_started(kubernetes, progress={"percent": percent})
                await eventually(told(one, *["progress"] * (percent + 1)))
                await eventually(told(many, *["progress"] * (percent + 1)))
                assert time.monotonic() - began < SOON
                assert not stream.done()
            put_ended(kubernetes)
            assert await stream == 200
        assert one.names()[-1] == "result"


async def test_a_proxy_that_is_restarted_costs_nothing_and_doubles_nothing(
    command: Command, tmp_path: Path, kubernetes: MemoryKubernetes, configured: settings.Settings
) -> None:
    async with through(command, tmp_path, kubernetes, configured) as (api, proxy):
        put_task(kubernetes)
        await api.knows(kubernetes)
        one, many = api.of_task(), api.of_tasks()
        many.subscription.last_id = str(api.services.hub.position)

        # Once nothing breaks any more, each may listen as long as it needs.
        is_breaking = True

        async def listen(listener: Listener, until: Callable[[], bool]) -> None:
            while not until():
                with contextlib.suppress(httpx.HTTPError, TimeoutError):
                    async with asyncio.timeout(random.uniform(0.05, 0.5) if is_breaking else 5):
                        await listener.listen()

        def has_ended() -> bool:
            return any(
                isinstance(each.data, models.TaskView) and each.data.phase.is_terminal
                for each in many.told
            )

        listeners = [
            asyncio.create_task(listen(one, lambda: one.subscription.is_over)),
            asyncio.create_task(listen(many, has_ended)),
        ]
        for round_ in range(3):
            for percent in range(10):
                put_started(kubernetes, progress={"percent": 10 * round_ + percent})
                await asyncio.sleep(0.02)
            await proxy.stop()
            await proxy.start()
        put_ended(kubernetes)
        is_breaking = False
        async with asyncio.timeout(120):
            await asyncio.gather(*listeners)
    happened = [each.data for each in one.told if isinstance(each.data, events.Event)]
    assert [event.type for event in happened] == ["queued", "started", "succeeded"]
    assert len({each.id for each in one.told}) == len(one.told)
    versions = [int(each.id) for each in many.told]
    assert versions == sorted(set(versions))
