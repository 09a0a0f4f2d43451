"""Those who ask at the same time what Events say share one list, and each hears of their own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from longtask_adapters.kube import errors
from longtask_adapters.kube.connection import Connection
from longtask_adapters.kube.transport import Request, Response
from longtask_adapters.testing import MemoryKubernetes
from longtask_crds.testing import NAMESPACE
from longtask_operator.event_reader import EventReader, Warned


class SlowKubernetes(MemoryKubernetes):
    """Answers nothing while it is held up; a failure is one list's."""

    def __init__(self) -> None:
        super().__init__()
        self.goes = asyncio.Event()
        self.goes.set()
        self.failure: Exception | None = None
        self.is_asked = asyncio.Event()

    @contextlib.asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[Response]:
        self.requests.append(request)
        self.is_asked.set()
        await self.goes.wait()
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        async with super().open(request) as response:
            self.requests.pop()
            yield response


@pytest.fixture
def kubernetes() -> SlowKubernetes:
    return SlowKubernetes()


@pytest.fixture
def reader(kubernetes: SlowKubernetes) -> EventReader:
    return EventReader(Connection(kubernetes, user_agent="test"))


def warn(kubernetes: MemoryKubernetes, uid: str, message: str, kind: str = "Warning") -> None:
    kubernetes.put(
        "events",
        f"{uid}.{kubernetes.version:08}",
        type=kind,
        reason="FailedMount",
        message=message,
        involvedObject={"uid": uid},
    )


Asked = asyncio.Task[list[Warned]]


async def ask_while_one_is_read(
    kubernetes: SlowKubernetes, reader: EventReader, *uids: str
) -> tuple[Asked, list[Asked]]:
    """Hold a list up and let others ask meanwhile; return the one who reads it, and the others."""
    kubernetes.goes.clear()
    kubernetes.is_asked.clear()
    first = asyncio.create_task(reader.warnings(NAMESPACE, "first"))
    await kubernetes.is_asked.wait()
    others = [asyncio.create_task(reader.warnings(NAMESPACE, uid)) for uid in uids]
    await asyncio.sleep(0)
    return first, others


async def test_one_alone_is_told_of_its_own_warnings(
    kubernetes: SlowKubernetes, reader: EventReader
) -> None:
    for message in ("first", "second"):
        warn(kubernetes, "a", message)
    warn(kubernetes, "a", "pulling", kind="Normal")
    warn(kubernetes, "b", "another's")
    found = await reader.warnings(NAMESPACE, "a")
    assert found == [Warned("FailedMount", "first"), Warned("FailedMount", "second")]
    (request,) = kubernetes.requests
    assert "involvedObject.uid=a" in request.query["fieldSelector"]
    assert await reader.warnings(NAMESPACE, "c") == []


async def test_all_who_ask_while_one_is_read_share_the_next_list(
    kubernetes: SlowKubernetes, reader: EventReader
) -> None:
    names = [f"n{number}" for number in range(500)]
    first, others = await ask_while_one_is_read(kubernetes, reader, *names)
    for number, name in enumerate(names):
        warn(kubernetes, name, f"of {number}")
    kubernetes.goes.set()
    async with asyncio.timeout(60):
        await first
        told = await asyncio.gather(*others)
    assert told == [[Warned("FailedMount", f"of {number}")] for number in range(500)]
    begun = [one for one in kubernetes.requests if "continue" not in one.query]
    assert [request.query["fieldSelector"] for request in begun] == [
        "type=Warning,involvedObject.uid=first",
        "type=Warning",
    ]


async def test_a_list_that_fails_fails_for_all_who_share_it_and_the_next_is_another(
    kubernetes: SlowKubernetes, reader: EventReader
) -> None:
    first, others = await ask_while_one_is_read(kubernetes, reader, "a", "b", "c")
    kubernetes.goes.set()
    async with asyncio.timeout(60):
        await first
        kubernetes.failure = errors.Unavailable("away")
        told = await asyncio.gather(*others, return_exceptions=True)
        assert [type(one) for one in told] == [errors.Unavailable] * 3
        assert len(kubernetes.requests) == 2
        warn(kubernetes, "c", "no volume")
        assert await reader.warnings(NAMESPACE, "c") == [Warned("FailedMount", "no volume")]


async def test_who_shares_a_list_reads_it_where_the_first_one_is_cancelled(
    kubernetes: SlowKubernetes, reader: EventReader
) -> None:
    first, (second, third) = await ask_while_one_is_read(kubernetes, reader, "a", "b")
    warn(kubernetes, "b", "no volume")
    for one in (first, second):
        one.cancel()
    kubernetes.goes.set()
    async with asyncio.timeout(60):
        assert await third == [Warned("FailedMount", "no volume")]


@pytest.mark.parametrize(("took", "rest"), [(0.2, 0.8), (30.0, 5.0)])
async def test_while_others_ask_a_list_is_followed_by_a_rest(
    kubernetes: SlowKubernetes, took: float, rest: float
) -> None:
    rested: list[float] = []
    now = iter(range(100))

    async def sleep(seconds: float) -> None:
        rested.append(seconds)

    connection = Connection(kubernetes, user_agent="test")
    reader = EventReader(connection, clock=lambda: next(now) * took, sleep=sleep)
    await reader.warnings(NAMESPACE, "alone")
    first, others = await ask_while_one_is_read(kubernetes, reader, "a", "b", "c")
    kubernetes.goes.set()
    async with asyncio.timeout(60):
        await asyncio.gather(first, *others)
    assert rested == pytest.approx([rest])
