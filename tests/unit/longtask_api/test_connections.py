"""Those who connect, over real sockets: what they may not do to those who have something to say."""

import asyncio
import contextlib
import resource
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import uvicorn

from longtask_api import server
from longtask_api.http.connections import BoundedProtocol, Bounds, bounded

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LONG = Bounds(head_seconds=60)
#: What an answer takes, in seconds.
SLOW = {"/slow": 0.3, "/slower": 1.5}


async def answering(scope: Any, receive: Any, send: Any) -> None:
    """Answer with how much came, or at once; some paths take their time."""
    seen = 0
    await asyncio.sleep(SLOW.get(scope["path"], 0))
    if scope["path"] != "/at-once":
        more = True
        while more:
            message = await receive()
            seen += len(message.get("body", b""))
            more = message.get("more_body", False)
    body = str(seen).encode()
    head = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


class Port:
    """A port that is served."""

    def __init__(
        self, number: int, protocol: type[BoundedProtocol], served: uvicorn.Server
    ) -> None:
        self.number = number
        self.protocol = protocol
        self._served = served

    @property
    def connections(self) -> int:
        return len(self._served.server_state.connections)

    async def connect(
        self, said: bytes = b"", *, source: str = "127.0.0.1"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.number, local_addr=(source, 0)
        )
        writer.write(said)
        return reader, writer


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    async with contextlib.AsyncExitStack() as stack:

        async def serve(bounds: Bounds) -> Port:
            protocol = bounded(bounds)
            config = uvicorn.Config(
                answering, host="127.0.0.1", port=0, http=protocol, lifespan="off", log_config=None
            )
            served = server._Server(config)
            running = asyncio.create_task(served.serve())

            async def end() -> None:
                served.should_exit = served.force_exit = True
                await running
                left = served.server_state.tasks
                for task in left:
                    task.cancel()
                await asyncio.gather(*left, return_exceptions=True)

            stack.push_async_callback(end)
            while not served.started:  # noqa: ASYNC110 - uvicorn tells nobody
                await asyncio.sleep(0.01)
            return Port(served.servers[0].sockets[0].getsockname()[1], protocol, served)

        yield serve


def talking(port: Port) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port.number}", timeout=60)


async def closed(reader: asyncio.StreamReader) -> bytes:
    """Return what came until the other side hung up."""
    came = b""
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65536):
            came += piece
    return came


async def test_three_thousand_who_say_nothing(serve: Callable[..., Any]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8000), hard))
    port = await serve(Bounds(connections=500, head_seconds=2))
    try:
        async with asyncio.timeout(120):
            made = [await port.connect() for _ in range(3000)]
            assert port.connections <= 501
            # Whoever says something is heard all the same.
            async with talking(port) as client:
                assert (await client.get("/")).status_code == 200
            since = time.monotonic()
            await asyncio.gather(*(closed(reader) for reader, _ in made))
            assert time.monotonic() - since < 30
            for _, writer in made:
                writer.close()
        assert (len(port.protocol.silent), dict(port.protocol.by_address)) == (0, {})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_an_address_has_its_share(serve: Callable[..., Any]) -> None:
    port = await serve(Bounds(of_address=3, head_seconds=60))
    async with contextlib.AsyncExitStack() as stack, asyncio.timeout(60):
        made = [await port.connect() for _ in range(5)]
        for _, writer in made:
            stack.callback(writer.close)
        assert await closed(made[3][0]) == b""
        assert await closed(made[4][0]) == b""
        reader, writer = await port.connect(HEAD, source="127.0.0.2")
        stack.callback(writer.close)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        made[0][1].write(HEAD)
        assert (await made[0][0].readline()).startswith(b"HTTP/1.1 200")
        # Whoever hangs up leaves the place to the next.
        made[0][1].close()
        made[1][1].close()
        while port.protocol.by_address["127.0.0.1"] > 1:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        reader, writer = await port.connect(HEAD)
        stack.callback(writer.close)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")


async def test_where_all_have_said_something_the_next_one_has_to_go(
    serve: Callable[..., Any],
) -> None:
    port = await serve(Bounds(connections=2, head_seconds=60))
    async with asyncio.timeout(60):
        made = [await port.connect(HEAD) for _ in range(2)]
        for reader, _ in made:
            assert await reader.readline()
        reader, writer = await port.connect(HEAD)
        assert await closed(reader) == b""
        for _, other in (*made, (reader, writer)):
            other.close()


@pytest.mark.parametrize(
    "said",
    [
        pytest.param([], id="nothing"),
        pytest.param([b"GET / HT"], id="half-a-line"),
        pytest.param([b"GET / HTTP/1.1\r\n"] + [b"A: b\r\n"] * 1000, id="a-header-now-and-then"),
        pytest.param([HEAD, b"GET"], id="half-of-another-request"),
        pytest.param(
            [b"POST /at-once HTTP/1.1\r\nContent-Length: 1000\r\n\r\n", *[b"x"] * 900],
            id="a-body-that-nobody-waits-for",
        ),
        pytest.param([b"GET /slow HTTP/1.1\r\n\r\nGET"], id="half-of-one-behind-one-that-is-slow"),
    ],
)
async def test_a_head_has_its_time(serve: Callable[..., Any], said: list[bytes]) -> None:
    port = await serve(Bounds(head_seconds=0.3))
    async with asyncio.timeout(60):
        reader, writer = await port.connect()
        closing = asyncio.create_task(closed(reader))
        with contextlib.suppress(ConnectionError):
            for piece in said:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
                if closing.done():
                    break
        await closing
        writer.close()


async def test_who_has_said_a_head_has_all_the_time_that_the_answer_takes(
    serve: Callable[..., Any],
) -> None:
    port = await serve(Bounds(head_seconds=1))
    async with (
        asyncio.timeout(60),
        talking(port) as client,
    ):
        for _ in range(2):
            assert (await client.get("/slower")).status_code == 200


def chunks(size: int, count: int) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (size, b"x" * size) for _ in range(count))


CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"GET /" + b"a" * 2**17, id="a-path-without-end"),
        pytest.param(b"GET / HTTP/1.1\r\nA: " + b"a" * 2**17, id="a-header-without-end"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 2**15, id="headers-without-end"),
        pytest.param(b"GET /slow HTTP/1.1\r\n\r\nGET /" + b"a" * 2**17, id="behind-another"),
        pytest.param(CHUNKED + b"0\r\n" + b"A: b\r\n" * 2**15, id="trailers-without-end"),
        pytest.param(CHUNKED + b"0\r\nA: " + b"b" * 2**17, id="a-trailer-without-end"),
        pytest.param(CHUNKED + b"1;" + b"a" * 2**17, id="a-chunk-that-says-much"),
        pytest.param(HEAD * 2**14, id="requests-without-end"),
    ],
)
async def test_what_has_no_end(serve: Callable[..., Any], said: bytes) -> None:
    port = await serve(LONG)
    async with asyncio.timeout(60):
        reader, writer = await port.connect()
        closing = asyncio.create_task(closed(reader))
        with contextlib.suppress(ConnectionError):
            writer.write(said)
            await writer.drain()
        await closing
        writer.close()


@pytest.mark.parametrize(
    "sizes", [(1, 50_000), (100_000, 20), (2_000_000, 1)], ids=["small", "large", "one"]
)
async def test_bodies_may_be_as_large_as_they_are(
    serve: Callable[..., Any], sizes: tuple[int, int]
) -> None:
    size, count = sizes
    port = await serve(LONG)
    async with asyncio.timeout(60):
        reader, writer = await port.connect()
        for _ in range(2):
            writer.write(CHUNKED + chunks(size, count) + b"0\r\n\r\n")
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(len(str(size * count))) == b"%d" % (size * count)
        writer.close()


async def test_some_requests_may_come_at_once(serve: Callable[..., Any]) -> None:
    port = await serve(LONG)
    async with asyncio.timeout(60):
        reader, writer = await port.connect(HEAD * 8)
        for _ in range(8):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(1) == b"0"
        writer.close()
