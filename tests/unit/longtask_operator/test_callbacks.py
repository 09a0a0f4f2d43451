"""One request, signed, to an address that may be called: a real sender and real receivers."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
import standardwebhooks
from aiohttp import web

from longtask_crds import address_guard, callback
from longtask_operator import callbacks, delivery
from longtask_operator.delivery import Problem

T = TypeVar("T")

BODY = '{"type":"longtask.succeeded","data":{"result":"é","n":null}}'.encode()
ID = "msg_5b0d3c52-5a0e-5a6e-9d47-0d4dbe7f9d11"
KEY = callback.new_key()


class Receiver:
    """A receiver on the loopback interface that keeps what it gets."""

    def __init__(self, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> None:
        self.port = 0
        self.got: list[tuple[web.Request, bytes]] = []
        self._answer = answer

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.got.append((request, await request.read()))
        return await self._answer(request)

    def url(self, host: str = "127.0.0.1", path: str = "/hook", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def allowing_loopback(self) -> address_guard.Guard:
        return address_guard.Guard.from_lists(allow=[f"127.0.0.1/32:{self.port}"])


async def _ok(_: web.Request) -> web.StreamResponse:
    return web.Response(text="thanks")


def answering(status: int, **headers: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, headers=named)

    return answer


@contextlib.asynccontextmanager
async def receiving(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = _ok,
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Receiver]:
    receiver = Receiver(answer)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        receiver.port = runner.addresses[0][1]
        yield receiver
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def sending(guard: address_guard.Guard) -> AsyncIterator[callbacks.HttpSender]:
    sender = callbacks.HttpSender(guard)
    try:
        yield sender
    finally:
        await sender.close()


async def send(
    sender: callbacks.HttpSender,
    url: str,
    *,
    keys: Sequence[str] = (KEY,),
    headers: dict[str, str] | None = None,
) -> delivery.Try:
    return await sender.send(url, webhook_id=ID, body=BODY, keys=keys, headers=headers or {})


async def sent_to(
    receiver: Receiver,
    *,
    guard: address_guard.Guard | None = None,
    url: str | None = None,
    **what: Any,
) -> delivery.Try:
    """Send once, by default to where the receiver listens and may be reached."""
    async with sending(guard or receiver.allowing_loopback()) as sender:
        return await send(sender, url or receiver.url(), **what)


# --- what is sent --------------------------------------------------------------------------------


async def test_the_receivers_library_verifies_what_arrives() -> None:
    async with receiving() as receiver:
        made = await sent_to(receiver)
    (request, body), *more = receiver.got
    assert not more
    assert (request.method, request.path_qs, body) == ("POST", "/hook", BODY)
    told = standardwebhooks.Webhook(KEY).verify(body, dict(request.headers.items()))
    assert told["type"] == "longtask.succeeded"
    assert (made.code, made.problem, made.retry_after) == (200, None, None)
    assert -1 <= made.jitter <= 1
    assert abs(made.at - datetime.now(UTC)) < timedelta(seconds=30)


async def test_another_key_does_not_verify() -> None:
    async with receiving() as receiver:
        await sent_to(receiver)
    ((request, body),) = receiver.got
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(callback.new_key()).verify(body, dict(request.headers.items()))


async def test_after_a_rotation_each_of_the_keys_verifies() -> None:
    older, newer = callback.new_key(), callback.new_key()
    async with receiving() as receiver:
        await sent_to(receiver, keys=[newer, older])
    ((request, body),) = receiver.got
    assert len(request.headers["webhook-signature"].split(" ")) == 2
    for key in (older, newer):
        standardwebhooks.Webhook(key).verify(body, dict(request.headers.items()))


async def test_the_headers_are_ours_and_the_tasks_and_no_others() -> None:
    async with receiving() as receiver:
        await sent_to(receiver, headers={"Authorization": "Bearer theirs", "X-Tenant": "7"})
    ((request, _),) = receiver.got
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"] == "longtask"
    assert headers["webhook-id"] == ID
    assert headers["authorization"] == "Bearer theirs"
    assert headers["x-tenant"] == "7"
    assert set(headers) - {"authorization", "x-tenant"} == {
        "host",
        "accept",
        "accept-encoding",
        "content-length",
        "content-type",
        "user-agent",
        "connection",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    }


async def test_a_task_cannot_replace_our_headers() -> None:
    async with receiving() as receiver:
        await sent_to(receiver, headers={"webhook-id": "msg_forged", "User-Agent": "theirs"})
    ((request, _),) = receiver.got
    assert request.headers.getall("webhook-id") == [ID]
    assert request.headers.getall("user-agent") == ["longtask"]


async def test_a_cookie_is_not_sent_back() -> None:
    async with (
        receiving(answering(200, Set_Cookie="session=1")) as receiver,
        sending(receiver.allowing_loopback()) as sender,
    ):
        await send(sender, receiver.url())
        await send(sender, receiver.url())
    assert "cookie" not in receiver.got[1][0].headers


# --- what comes back -----------------------------------------------------------------------------


@pytest.mark.parametrize("code", [200, 204, 302, 307, 308, 400, 410, 429, 500, 503])
async def test_an_answer_is_told_by_its_code(code: int) -> None:
    async with receiving(answering(code, Location="/elsewhere")) as receiver:
        made = await sent_to(receiver)
    assert (made.code, made.problem) == (code, None)
    assert [request.path for request, _ in receiver.got] == ["/hook"], "no redirect is followed"


SOON = datetime.now(UTC) + timedelta(minutes=10)


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        pytest.param("120", 120, 120, id="seconds"),
        pytest.param("0", 0, 0, id="at-once"),
        pytest.param("9" * 5000, 86_400, 86_400, id="an-absurd-number-is-a-day"),
        pytest.param(format_datetime(SOON, usegmt=True), 300, 600, id="a-date"),
        pytest.param("Thu, 01 Jan 2015 00:00:00 GMT", 0, 0, id="a-date-that-is-past"),
        pytest.param("soon", None, None, id="a-word-says-nothing"),
        pytest.param("-1", None, None, id="a-negative-number-says-nothing"),
        pytest.param("\N{SUPERSCRIPT TWO}", None, None, id="a-foreign-digit-says-nothing"),
        pytest.param("Thu, 01 Jan 2015 00:00:00 -0000", None, None, id="a-date-without-a-zone"),
        pytest.param("Thu, 99 Jan 2015 00:00:00 GMT", None, None, id="no-such-date"),
    ],
)
async def test_retry_after(header: str, least: int | None, most: int | None) -> None:
    async with receiving(answering(503, Retry_After=header)) as receiver:
        made = await sent_to(receiver)
    if least is None or most is None:
        assert made.retry_after is None
    else:
        assert made.retry_after is not None
        assert timedelta(seconds=least) <= made.retry_after <= timedelta(seconds=most)


async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    async def pour(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Encoding": "gzip"})
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError, aiohttp.ClientConnectionError):
            while True:
                await answer.write(b"\x00" * 65_536)
        return answer

    async with receiving(pour) as receiver:
        made = await asyncio.wait_for(sent_to(receiver), 5)
    assert made.code == 200


# --- what must not be called ---------------------------------------------------------------------

LISTED = address_guard.Guard()
"""Nothing is allowed that is not public."""


@pytest.mark.parametrize(
    ("host", "scheme"),
    [
        pytest.param("127.0.0.1", "https", id="loopback"),
        pytest.param("127.0.0.1", "http", id="loopback-without-tls"),
        pytest.param("[::1]", "https", id="loopback-of-ipv6"),
        pytest.param("[::ffff:127.0.0.1]", "https", id="loopback-mapped-into-ipv6"),
        pytest.param("[::ffff:7f00:1]", "https", id="loopback-mapped-in-hex"),
        pytest.param("[64:ff9b::7f00:1]", "https", id="loopback-behind-nat64"),
        pytest.param("0.0.0.0", "https", id="any-address"),
        pytest.param("2130706433", "https", id="loopback-as-a-number"),
        pytest.param("127.1", "https", id="loopback-shortened"),
        pytest.param("localhost", "https", id="localhost"),
        pytest.param("LocalHost", "https", id="localhost-in-capitals"),
        pytest.param("some.localhost", "https", id="a-name-below-localhost"),
        pytest.param("receiver.default.svc", "https", id="a-service-of-the-cluster"),
        pytest.param("user@127.0.0.1", "https", id="with-a-user-name"),
    ],
)
async def test_a_refused_address_is_never_reached(host: str, scheme: str) -> None:
    async with receiving() as receiver:
        # Its port is allowed, so that the address alone decides.
        guard = address_guard.Guard.from_lists(ports=[receiver.port])
        made = await sent_to(receiver, guard=guard, url=receiver.url(host, scheme=scheme))
    assert (made.code, made.problem) == (None, Problem.ADDRESS_REFUSED)
    assert receiver.got == []


async def test_an_allowance_for_one_port_is_none_for_another() -> None:
    async with receiving() as allowed, receiving() as other:
        made = await sent_to(other, guard=allowed.allowing_loopback())
    assert made.problem is Problem.ADDRESS_REFUSED
    assert other.got == []


class Resolving(asyncio.SelectorEventLoop):
    """An event loop in which each name leads to what a test wants; no real name is looked up."""

    def __init__(self, *addresses: str) -> None:
        super().__init__()
        self.addresses = list(addresses)

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> list[Any]:  # type: ignore[override]
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        kind = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [
            (socket.AF_INET6, *kind, (address, int(port), 0, 0))
            if ":" in address
            else (socket.AF_INET, *kind, (address, int(port)))
            for address in self.addresses
        ]


def run_in(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work)


@pytest.mark.parametrize(
    "addresses",
    [
        pytest.param(["127.0.0.1"], id="a-loopback-address"),
        pytest.param(["::1"], id="one-of-ipv6"),
        pytest.param(["::ffff:127.0.0.1"], id="one-mapped-into-ipv6"),
        pytest.param(["10.0.0.1"], id="a-private-address"),
        pytest.param(["169.254.169.254"], id="a-clouds-metadata"),
        pytest.param(["127.0.0.1", "::1"], id="two-families"),
        pytest.param(["127.0.0.1", "10.0.0.1", "169.254.169.254"], id="several"),
    ],
)
def test_a_public_name_that_leads_to_a_refused_address_is_not_called(addresses: list[str]) -> None:
    async def try_it() -> tuple[Receiver, delivery.Try]:
        async with receiving() as receiver:
            guard = address_guard.Guard.from_lists(ports=[receiver.port])
            url = receiver.url("hooks.example.com", scheme="https")
            return receiver, await sent_to(receiver, guard=guard, url=url)

    receiver, made = run_in(Resolving(*addresses), try_it())
    assert made.problem is Problem.ADDRESS_REFUSED
    assert receiver.got == []


def test_a_name_is_judged_anew_for_each_request() -> None:
    loop = Resolving("127.0.0.1")

    async def try_it() -> list[delivery.Try]:
        async with receiving() as receiver:
            # The address may be called without TLS only: so the first try gets through to it.
            guard = address_guard.Guard.from_lists(
                allow=[f"127.0.0.1/32:{receiver.port}"], ports=[receiver.port]
            )
            async with sending(guard) as sender:
                url = receiver.url("hooks.example.com", scheme="https")
                first = await send(sender, url)
                loop.addresses[:] = ["127.0.0.2"]
                # Another name: what the first one led to is remembered for some seconds.
                second = await send(sender, url.replace("hooks", "hooks2"))
                return [first, second]

    first, second = run_in(loop, try_it())
    assert first.problem is Problem.TLS_FAILED
    assert second.problem is Problem.ADDRESS_REFUSED


def test_an_allowed_name_may_lead_to_a_private_address() -> None:
    async def try_it() -> delivery.Try:
        async with receiving() as receiver:
            guard = address_guard.Guard.from_lists(allow=[f"receiver.example:{receiver.port}"])
            return await sent_to(receiver, guard=guard, url=receiver.url("receiver.example"))

    assert run_in(Resolving("127.0.0.1"), try_it()).code == 200


# --- what goes wrong -----------------------------------------------------------------------------


def test_a_name_that_leads_nowhere() -> None:
    async def try_it() -> delivery.Try:
        async with sending(LISTED) as sender:
            return await send(sender, "https://hooks.example.com/")

    assert run_in(Resolving(), try_it()).problem is Problem.NAME_NOT_RESOLVED


async def test_a_port_that_nobody_listens_on() -> None:
    async with receiving() as receiver:
        pass
    made = await sent_to(receiver)
    assert (made.code, made.problem) == (None, Problem.CONNECTION_FAILED)


async def test_a_receiver_that_hangs_up() -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with receiving(hang_up) as receiver:
        assert (await sent_to(receiver)).problem is Problem.CONNECTION_FAILED


async def test_a_receiver_that_speaks_no_http() -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with server:
        receiver = Receiver(_ok)
        receiver.port = server.sockets[0].getsockname()[1]
        assert (await sent_to(receiver)).problem is Problem.CONNECTION_FAILED


async def test_a_receiver_that_speaks_no_tls() -> None:
    async with receiving() as receiver:
        made = await sent_to(receiver, url=receiver.url(scheme="https"))
    assert made.problem is Problem.TLS_FAILED


def _self_signed(folder: Path) -> ssl.SSLContext:
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
    files = ["-keyout", str(folder / "key"), "-out", str(folder / "certificate")]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    try:
        subprocess.run([*make.split(), *files, *names], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate", folder / "key")
    return context


async def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    async with receiving(tls=_self_signed(tmp_path)) as receiver:
        made = await sent_to(receiver, url=receiver.url(scheme="https"))
    assert made.problem is Problem.TLS_FAILED
    assert receiver.got == []


class Ahead(asyncio.SelectorEventLoop):
    """An event loop whose clock can be put on."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


def test_a_receiver_that_never_answers() -> None:
    loop = Ahead()

    async def fall_asleep(_: web.Request) -> web.StreamResponse:
        loop.ahead += 20
        await asyncio.Event().wait()
        raise AssertionError("it never wakes up")

    async def try_it() -> delivery.Try:
        async with receiving(fall_asleep) as receiver:
            return await sent_to(receiver)

    made = run_in(loop, try_it())
    assert (made.code, made.problem) == (None, Problem.TIMEOUT)


def test_a_receiver_that_trickles() -> None:
    loop = Ahead()

    async def trickle(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        loop.ahead += 20
        await asyncio.Event().wait()
        return answer

    async def try_it() -> delivery.Try:
        async with receiving(trickle) as receiver:
            return await sent_to(receiver)

    assert run_in(loop, try_it()).problem is Problem.TIMEOUT


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"X-Fine": "1\r\nX-Other: 2"}, id="a-line-break-in-a-value"),
        pytest.param({"X-Fi\r\nne": "1"}, id="a-line-break-in-a-name"),
    ],
)
async def test_headers_that_cannot_be_sent_are_no_way_to_send_others(
    headers: dict[str, str],
) -> None:
    async with receiving() as receiver:
        with contextlib.suppress(ValueError):
            await sent_to(receiver, headers=headers)
    assert receiver.got == []


# --- how many at once ----------------------------------------------------------------------------


def test_a_slow_host_gets_two_requests_at_once_and_holds_up_no_other() -> None:
    async def try_it() -> None:
        two, go_on = asyncio.Event(), asyncio.Event()

        async def dawdle(_: web.Request) -> web.StreamResponse:
            if len(slow.got) == 2:
                two.set()
            await go_on.wait()
            return web.Response()

        async with receiving(dawdle) as slow, receiving() as quick:
            guard = address_guard.Guard.from_lists(allow=["slow.example", "quick.example"])
            async with sending(guard) as sender:
                url = slow.url("slow.example")
                waiting = [asyncio.create_task(send(sender, url)) for _ in range(5)]
                await asyncio.wait_for(two.wait(), 5)
                # This one's answer shows that the other three had their time.
                other = await asyncio.wait_for(send(sender, quick.url("quick.example")), 5)
                assert other.code == 200
                assert len(slow.got) == 2
                go_on.set()
                assert [made.code for made in await asyncio.gather(*waiting)] == [200] * 5

    run_in(Resolving("127.0.0.1"), try_it())
