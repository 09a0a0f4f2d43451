"""What the author of a task could wish to reach by a callback, tried against real servers."""

import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp.abc
import pytest
from aiohttp import web

from longtask_adapters import webhooks
from longtask_crds import address_guard, delivery
from longtask_crds.delivery import Problem
from webhook_support import post


class Receiver:
    """A server on the loopback interface that keeps what it gets."""

    def __init__(self, status: int = 200) -> None:
        self.port = 0
        self.got: list[web.Request] = []
        self._status = status

    async def handle(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.got.append(request)
        return web.Response(status=self._status, headers={"Location": "/elsewhere"})

    def url(self, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}/hook"

    def allowing_it(self) -> address_guard.Guard:
        return address_guard.Guard.from_lists(allow=[f"127.0.0.1/32:{self.port}"])

    def allowing_its_port(self) -> address_guard.Guard:
        """Return a guard by which the address alone decides."""
        return address_guard.Guard.from_lists(ports=[self.port])


@contextlib.asynccontextmanager
async def receiving(
    status: int = 200, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    receiver = Receiver(status)
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


async def send(
    guard: address_guard.Guard,
    *urls: str,
    headers: dict[str, str] | None = None,
    resolver: aiohttp.abc.AbstractResolver | None = None,
) -> list[delivery.Try]:
    sender = webhooks.HttpSender(guard, resolver=resolver)
    try:
        return [await post(sender, url, headers=headers) for url in urls]
    finally:
        await sender.close()


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
        (made,) = await send(receiver.allowing_its_port(), receiver.url(host, scheme))
    assert (made.code, made.problem) == (None, Problem.ADDRESS_REFUSED)
    assert receiver.got == []


async def test_an_allowance_for_one_port_is_none_for_another() -> None:
    async with receiving() as allowed, receiving() as other:
        (made,) = await send(allowed.allowing_it(), other.url())
    assert made.problem is Problem.ADDRESS_REFUSED
    assert other.got == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_no_way_on(status: int) -> None:
    async with receiving(status) as receiver:
        (made,) = await send(receiver.allowing_it(), receiver.url())
    assert made.code == status
    assert [request.path for request in receiver.got] == ["/hook"]


class Rebinding(aiohttp.abc.AbstractResolver):
    """A DNS that leads each name to another address."""

    def __init__(self, **addresses: str) -> None:
        self._addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[Any]:
        address = self._addresses[host.partition(".")[0]]
        found = {"hostname": host, "host": address, "port": port, "proto": 0, "flags": 0}
        return [aiohttp.abc.ResolveResult(family=2, **found)]

    async def close(self) -> None:
        pass


async def test_what_one_name_may_reach_another_may_not() -> None:
    async with receiving() as receiver:
        guard = address_guard.Guard.from_lists(allow=["inside.example"], ports=[receiver.port])
        inside, outside = await send(
            guard,
            receiver.url("inside.example"),
            receiver.url("outside.example", "https"),
            resolver=Rebinding(inside="127.0.0.1", outside="127.0.0.1"),
        )
    assert inside.code == 200
    assert outside.problem is Problem.RESOLVED_ADDRESS_REFUSED
    assert len(receiver.got) == 1


async def test_nothing_of_ours_goes_along() -> None:
    async with receiving() as receiver:
        await send(receiver.allowing_it(), receiver.url(), headers={"X-Tenant": "7"})
    (request,) = receiver.got
    # No Authorization, no Cookie, no header that names the cluster or the operator's machine.
    assert {name.lower() for name in request.headers} == {
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "user-agent",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "x-tenant",
    }
    assert request.headers["user-agent"] == "longtask"


def _self_signed(folder: Path) -> ssl.SSLContext:
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
    files = ["-keyout", str(folder / "key"), "-out", str(folder / "certificate")]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*make.split(), *files, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate", folder / "key")
    return context


async def test_a_certificate_that_nobody_vouches_for_gets_no_callback(tmp_path: Path) -> None:
    async with receiving(tls=_self_signed(tmp_path)) as receiver:
        (made,) = await send(receiver.allowing_it(), receiver.url(scheme="https"))
    assert (made.code, made.problem) == (None, Problem.TLS_FAILED)
    assert receiver.got == []
