"""What really goes over the wire to a receiver, and that refused addresses get no socket."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import aiohttp
import aiohttp.abc
import pytest
import standardwebhooks
from aiohttp import web

from longtask_adapters import webhooks
from longtask_crds import address_guard, delivery, signing_keys
from longtask_crds.testing import NOW
from webhook_support import BODY, KEY, post

OLD_KEY = signing_keys.new_key()
LOOPBACK = address_guard.Guard.from_lists(allow=["127.0.0.1", "127.0.0.0/8"])
Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]
Send = Callable[..., Awaitable[delivery.Try]]


class Receiver:
    """A real server on the loopback interface; it keeps what it gets."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any, bytes]] = []
        self.reply: Reply = self._ok
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.path_qs, request.headers.copy(), await request.read()))
        return await self.reply(request)

    async def _ok(self, _: web.Request) -> web.StreamResponse:
        return web.Response(text="thanks", headers={"Set-Cookie": "a=b"})


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    found.url = f"http://{host}:{port}"
    yield found
    await runner.cleanup()


async def send_with(
    guard: address_guard.Guard,
    url: str,
    *,
    keys: Sequence[str] = (KEY,),
    headers: dict[str, str] | None = None,
) -> delivery.Try:
    sender = webhooks.HttpSender(guard)
    try:
        return await post(sender, url, keys=keys, headers=headers)
    finally:
        await sender.close()


async def test_a_letter_says_what_it_is(receiver: Receiver) -> None:
    async def write() -> webhooks.Letter:
        return webhooks.Letter(BODY, [KEY], "application/cloudevents+json")

    sender = webhooks.HttpSender(LOOPBACK)
    try:
        made = await sender.send(
            receiver.url, owner="somebody", webhook_id="msg_1", headers={}, write=write
        )
    finally:
        await sender.close()
    assert made.code == 200
    ((_, headers, body),) = receiver.requests
    assert headers.getall("Content-Type") == ["application/cloudevents+json"]
    standardwebhooks.Webhook(KEY).verify(body, headers)


async def test_the_receivers_library_verifies_what_arrives(receiver: Receiver) -> None:
    made = await send_with(LOOPBACK, f"{receiver.url}/done?x=1", headers={"X-Team": "a b"})
    assert (made.code, made.problem) == (200, None)
    ((path, headers, body),) = receiver.requests
    assert (path, body) == ("/done?x=1", BODY)
    assert standardwebhooks.Webhook(KEY).verify(body, dict(headers))
    assert headers["webhook-id"] == "msg_1"
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Team"] == "a b"
    assert not headers.keys() & {"Authorization", "Cookie"}


async def test_old_and_new_key_both_verify(receiver: Receiver) -> None:
    await send_with(LOOPBACK, receiver.url, keys=[KEY, OLD_KEY])
    ((_, headers, body),) = receiver.requests
    for key in (KEY, OLD_KEY):
        assert standardwebhooks.Webhook(key).verify(body, dict(headers))
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(signing_keys.new_key()).verify(body, dict(headers))


async def test_for_a_day_after_a_rotation_both_keys_verify(receiver: Receiver) -> None:
    before = signing_keys.OwnerKeys.parse(OLD_KEY)
    rotated = signing_keys.OwnerKeys.parse(before.rotated(KEY, NOW).render())
    for hours, verifying in ((0, [KEY, OLD_KEY]), (23, [KEY, OLD_KEY]), (24, [KEY])):
        receiver.requests.clear()
        await send_with(LOOPBACK, receiver.url, keys=rotated.active(NOW + timedelta(hours=hours)))
        ((_, headers, body),) = receiver.requests
        for key in (KEY, OLD_KEY):
            verifies: Any = contextlib.nullcontext()
            if key not in verifying:
                verifies = pytest.raises(standardwebhooks.WebhookVerificationError)
            with verifies:
                standardwebhooks.Webhook(key).verify(body, dict(headers))


async def test_nobody_signs_in_our_place(receiver: Receiver) -> None:
    forged = {"webhook-signature": "v1,forged", "webhook-id": "msg_2", "Content-Type": "text/plain"}
    await send_with(LOOPBACK, receiver.url, headers=forged)
    ((_, headers, body),) = receiver.requests
    assert headers["webhook-id"] == "msg_1"
    assert standardwebhooks.Webhook(KEY).verify(body, dict(headers))


async def test_no_cookie_comes_back(receiver: Receiver) -> None:
    sender = webhooks.HttpSender(LOOPBACK)
    for _ in range(2):
        await post(sender, receiver.url)
    await sender.close()
    assert all("Cookie" not in headers for _, headers, _ in receiver.requests)


async def test_no_redirect_is_followed(receiver: Receiver) -> None:
    async def redirect(_: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": f"{receiver.url}/elsewhere"})

    receiver.reply = redirect
    assert (await send_with(LOOPBACK, f"{receiver.url}/here")).code == 302
    assert [path for path, _, _ in receiver.requests] == ["/here"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("120", 120, id="seconds"),
        pytest.param("0", 0, id="at-once"),
        pytest.param("9" * 5000, 999_999_999, id="digits-that-python-refuses"),
        pytest.param("Wed, 21 Oct 2015 07:28:00 GMT", 0, id="a-date-that-has-passed"),
        pytest.param("-1", None, id="a-negative-number"),
        pytest.param("²", None, id="a-digit-that-is-none"),
        pytest.param("soon", None, id="words"),
        pytest.param("", None, id="nothing"),
    ],
)
async def test_retry_after(receiver: Receiver, text: str, expected: int | None) -> None:
    async def busy(_: web.Request) -> web.StreamResponse:
        return web.Response(status=503, headers={"Retry-After": text})

    receiver.reply = busy
    made = await send_with(LOOPBACK, receiver.url)
    wish = None if expected is None else timedelta(seconds=min(expected, 86_400))
    assert (made.code, made.retry_after) == (503, wish)


async def test_a_huge_answer_is_not_read(receiver: Receiver) -> None:
    written = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal written
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            while written < 200_000_000:
                await answer.write(b"x" * 65_536)
                written += 65_536
        return answer

    receiver.reply = flood
    assert (await send_with(LOOPBACK, receiver.url)).code == 200
    assert written < 50_000_000


# --- addresses ---


class Resolver(aiohttp.abc.AbstractResolver):
    """A DNS that answers what an attacker likes."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        return [
            aiohttp.abc.ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("https://127.0.0.1/", id="a-literal"),
        pytest.param("https://[::1]/", id="an-ipv6-literal"),
        pytest.param("https://[::ffff:127.0.0.1]/", id="a-mapped-literal"),
        pytest.param("https://[64:ff9b::7f00:1]/", id="a-nat64-literal"),
        pytest.param("https://0x7f000001/", id="a-number"),
        pytest.param("https://localhost/", id="the-name-of-this-host"),
        pytest.param("https://kubernetes.default.svc/", id="a-service"),
        pytest.param("http://example.com/", id="without-tls"),
        pytest.param("https://example.com:22/", id="another-port"),
        pytest.param("https://me@example.com/", id="a-user"),
        pytest.param("ftp://example.com/", id="another-scheme"),
        pytest.param("nonsense", id="no-url-at-all"),
    ],
)
async def test_a_refused_url_is_final(url: str) -> None:
    made = await send_with(address_guard.Guard(), url)
    assert (made.code, made.problem) == (None, delivery.Problem.ADDRESS_REFUSED)


@pytest.mark.parametrize(
    "addresses",
    [
        pytest.param(["127.0.0.1"], id="the-loopback"),
        pytest.param(["10.0.0.1"], id="a-private-network"),
        pytest.param(["169.254.169.254"], id="a-clouds-metadata"),
        pytest.param(["::1"], id="the-ipv6-loopback"),
        pytest.param(["::ffff:127.0.0.1"], id="a-mapped-address"),
        pytest.param(["64:ff9b::a9fe:a9fe"], id="a-nat64-address"),
        pytest.param(["127.0.0.1", "::1", "10.0.0.1"], id="several"),
    ],
)
async def test_a_public_name_of_a_private_address_gets_no_socket(
    receiver: Receiver, addresses: list[str]
) -> None:
    port = int(receiver.url.rsplit(":", 1)[1])
    guard = address_guard.Guard.from_lists(ports=[port])
    sender = webhooks.HttpSender(guard, resolver=Resolver(*addresses))
    made = await post(sender, f"https://rebound.example.com:{port}/")
    await sender.close()
    assert (made.code, made.problem) == (None, delivery.Problem.RESOLVED_ADDRESS_REFUSED)
    assert receiver.requests == []


async def test_an_allowed_name_may_lead_inside(receiver: Receiver) -> None:
    port = int(receiver.url.rsplit(":", 1)[1])
    guard = address_guard.Guard.from_lists(allow=[f"receiver.test:{port}"])
    sender = webhooks.HttpSender(guard, resolver=Resolver("127.0.0.1"))
    made = await post(sender, f"http://receiver.test:{port}/")
    await sender.close()
    assert made.code == 200


# --- receivers that misbehave ---


@pytest.fixture
async def speaks() -> AsyncIterator[Callable[[bytes | None], Awaitable[str]]]:
    """Start a server that says these bytes to everybody and hangs up, or says nothing at all."""
    servers = []

    async def start(words: bytes | None) -> str:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            if words is None:
                await reader.read()
            else:
                writer.write(words)
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        pytest.param(b"", delivery.Problem.CONNECTION_FAILED, id="hangs-up"),
        pytest.param(b"SSH-2.0-x\r\n\r\n", delivery.Problem.CONNECTION_FAILED, id="no-http"),
        pytest.param(
            OK + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
            delivery.Problem.CONNECTION_FAILED,
            id="a-header-without-end",
        ),
        pytest.param(
            OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx",
            delivery.Problem.CONNECTION_FAILED,
            id="a-broken-chunk",
        ),
    ],
)
async def test_what_is_no_answer_is_a_problem(
    speaks: Callable[[bytes | None], Awaitable[str]], words: bytes, problem: delivery.Problem
) -> None:
    made = await send_with(LOOPBACK, await speaks(words))
    assert (made.code, made.problem) == (None, problem)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(OK + b"Content-Length: 100\r\n\r\nshort", id="a-cut-body"),
        pytest.param(OK + b"Content-Encoding: gzip\r\n\r\nnot gzip", id="a-false-encoding"),
    ],
)
async def test_after_the_status_the_body_does_not_matter(
    speaks: Callable[[bytes | None], Awaitable[str]], words: bytes
) -> None:
    assert (await send_with(LOOPBACK, await speaks(words))).code == 200


async def test_nobody_there_is_a_problem(nobodys_port: int) -> None:
    made = await send_with(LOOPBACK, f"http://127.0.0.1:{nobodys_port}/")
    assert made.problem is delivery.Problem.CONNECTION_FAILED


async def test_a_silent_receiver_is_a_timeout(
    speaks: Callable[[bytes | None], Awaitable[str]],
) -> None:
    sender = webhooks.HttpSender(LOOPBACK, timeout=aiohttp.ClientTimeout(total=0.05))
    made = await post(sender, await speaks(None))
    await sender.close()
    assert made.problem is delivery.Problem.TIMEOUT


async def test_a_receiver_that_trickles_is_a_timeout(receiver: Receiver) -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        # The head of an answer, byte by byte, and never its end.
        transport = request.transport
        assert transport is not None
        transport.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not transport.is_closing():
            transport.write(b"a")
            await asyncio.sleep(0.005)
        raise ConnectionError

    receiver.reply = trickle
    sender = webhooks.HttpSender(LOOPBACK, timeout=aiohttp.ClientTimeout(total=0.1))
    made = await post(sender, receiver.url)
    await sender.close()
    assert (made.code, made.problem) == (None, delivery.Problem.TIMEOUT)


async def test_a_name_that_leads_nowhere_is_a_problem() -> None:
    class Nowhere(Resolver):
        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> Any:
            raise OSError("no such name")

    sender = webhooks.HttpSender(address_guard.Guard(), resolver=Nowhere())
    made = await post(sender, "https://no-such-name.example/")
    await sender.close()
    assert made.problem is delivery.Problem.NAME_NOT_RESOLVED


async def test_no_tls_on_the_other_side_is_a_problem(receiver: Receiver) -> None:
    made = await send_with(LOOPBACK, receiver.url.replace("http", "https"))
    assert made.problem is delivery.Problem.TLS_FAILED


async def test_a_header_that_cannot_be_sent_is_a_problem_and_not_an_error(
    receiver: Receiver,
) -> None:
    made = await send_with(LOOPBACK, receiver.url, headers={"X-A": "a\r\nHost: b"})
    assert (made.code, made.problem) == (None, delivery.Problem.CONNECTION_FAILED)
    assert receiver.requests == []


async def test_a_slow_host_keeps_two_places_and_leaves_the_others(receiver: Receiver) -> None:
    gate, entered = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        if request.path == "/slow":
            entered.set()
            await gate.wait()
        return web.Response()

    receiver.reply = slow
    sender = webhooks.HttpSender(address_guard.Guard.from_lists(allow=["127.0.0.0/8"]))

    async def send(url: str) -> delivery.Try:
        return await post(sender, url)

    waiting = [asyncio.ensure_future(send(f"{receiver.url}/slow")) for _ in range(30)]
    await entered.wait()
    # The same server by another name is another host.
    assert (await send(receiver.url.replace("127.0.0.1", "[::ffff:127.0.0.1]"))).code == 200
    assert sum(path == "/slow" for path, _, _ in receiver.requests) <= 2
    gate.set()
    assert {made.code for made in await asyncio.gather(*waiting)} == {200}
    await sender.close()


async def test_each_try_is_counted_by_what_became_of_it(receiver: Receiver) -> None:
    async def busy(_: web.Request) -> web.StreamResponse:
        return web.Response(status=503)

    counted: list[str] = []
    sender = webhooks.HttpSender(LOOPBACK, count=counted.append)

    async def send(url: str) -> None:
        await post(sender, url)

    await send(receiver.url)
    receiver.reply = busy
    await send(receiver.url)
    await send("https://10.0.0.1/")
    await send(receiver.url + "/\r\nX: y")
    await sender.close()
    assert counted == ["2xx", "5xx", "AddressRefused", "AddressRefused"]
