"""How many logs are open at once, by caller and in all: over real connections."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from api_support import CALLER, eventually, put_pod, put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import errors, settings, wiring
from longtask_api.auth import callers
from longtask_api.cluster import Cluster, LogPart
from longtask_api.openings import Openings
from stream_support import Api, an_api

ANN, BOB = (callers.Caller(subject=name, name=name) for name in ("ann", "bob"))
RUNNING = {
    "phase": "Running",
    "attempt": 1,
    "attempts": [{"number": 1, "jobName": "a-job", "podName": "a-pod"}],
}


@pytest.fixture
async def api(kubernetes: MemoryKubernetes, configured: settings.Settings) -> AsyncIterator[Api]:
    """Serve one log to a caller, and have a task that runs."""
    few = configured.model_copy(update={"logs_per_caller": 1})
    async with asyncio.timeout(120), an_api(kubernetes, few) as made:
        put_pod(kubernetes)
        kubernetes.logs["a-pod"] = [b"one\n"]
        put_task(kubernetes, status=RUNNING)
        await made.knows(kubernetes)
        yield made


def an_open_log(
    services: wiring.Services, caller: callers.Caller
) -> contextlib.AbstractAsyncContextManager[object]:
    part = LogPart(follow=True)
    return services.logs.opened(caller, "a", step=None, attempt=None, part=part)


def test_who_has_their_share_gets_no_more_until_one_is_closed() -> None:
    openings = Openings("logs", of_caller=2)
    with openings.one_more(ANN), openings.one_more(BOB):
        with openings.one_more(ANN), pytest.raises(errors.TooManyRequests, match="You have 2 logs"):
            openings.one_more(ANN).__enter__()
        with openings.one_more(ANN):
            assert len(openings) == 3
    assert len(openings) == 0


def test_all_together_have_no_more_than_there_are() -> None:
    openings = Openings("logs", of_caller=2, in_all=2)
    with openings.one_more(ANN):
        with openings.one_more(ANN), pytest.raises(errors.TooManyRequests, match="Too many logs"):
            openings.one_more(BOB).__enter__()
        with openings.one_more(BOB):
            assert len(openings) == 2


@pytest.mark.parametrize("follow", ["true", "false"])
async def test_a_log_too_many_is_refused_for_a_while(api: Api, follow: str) -> None:
    path = f"/api/v1/tasks/a/logs?follow={follow}"
    async with an_open_log(api.services, CALLER):
        refused = await api.http.get(path)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert refused.json()["detail"] == "You have 1 logs open: that is the most."
    assert (await api.http.get(path)).text == "one\n"


async def test_others_are_not_refused_for_it(api: Api) -> None:
    somebody = callers.Caller(subject="", name="somebody else", sees_all=True)
    async with an_open_log(api.services, somebody):
        assert (await api.http.get("/api/v1/tasks/a/logs?follow=true")).text == "one\n"


async def test_who_goes_away_leaves_their_place(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.asynccontextmanager
    async def endless(*_: object, **__: object) -> AsyncIterator[AsyncIterator[bytes]]:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"and then nothing\n"
            await asyncio.get_running_loop().create_future()

        yield chunks()

    monkeypatch.setattr(Cluster, "pod_log", endless)

    async def status() -> int:
        async with api.http.stream("GET", "/api/v1/tasks/a/logs?follow=true") as answer:
            return answer.status_code

    async with api.http.stream("GET", "/api/v1/tasks/a/logs?follow=true") as answer:
        assert await anext(answer.aiter_bytes())
        assert await status() == 429

    async def is_served() -> bool:
        return await status() == 200

    await eventually(is_served)


async def test_what_is_not_there_takes_no_place(api: Api) -> None:
    for _ in range(2):
        assert (await api.http.get("/api/v1/tasks/nobody/logs")).status_code == 404
