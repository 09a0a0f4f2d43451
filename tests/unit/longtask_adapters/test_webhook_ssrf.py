"""No address of the corpus is ever dialled, in whichever form an author gives it.

Through the real sender, down to the sockets of this process: an audit hook of Python hears of each
that is connected.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp.abc
import pytest

from address_corpus import REFUSED_ADDRESSES
from longtask_adapters import webhooks
from longtask_crds import address_guard
from longtask_crds.delivery import Problem
from webhook_support import post

#: Where our own receiver is; no address of the corpus.
HERE = "127.0.0.2"
NAME = "receiver.example"

assert len(REFUSED_ADDRESSES) >= 60
assert HERE not in REFUSED_ADDRESSES


class Dialled:
    """Which addresses the sockets of this process were connected to."""

    def __init__(self) -> None:
        self.addresses: list[Any] | None = None

    def hear(self, event: str, words: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.sendto") and self.addresses is not None:
            self.addresses.append(words[1])


_dialled = Dialled()
# There is no way to take a hook out again: it hears nothing while nobody listens.
sys.addaudithook(_dialled.hear)


@pytest.fixture
def dialled() -> Iterator[list[Any]]:
    _dialled.addresses = heard = []
    yield heard
    _dialled.addresses = None


class Receiver:
    """A server that sends everybody on to an address."""

    def __init__(self) -> None:
        self.port = 0
        self.requests = 0
        self.location: str | None = None

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        self.requests += 1
        where = f"Location: {self.location}\r\n" if self.location else ""
        code = "302 Found" if self.location else "204 No Content"
        writer.write(f"HTTP/1.1 {code}\r\n{where}Content-Length: 0\r\n\r\n".encode())
        writer.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    server = await asyncio.start_server(found.handle, HERE, 0)
    found.port = server.sockets[0].getsockname()[1]
    yield found
    server.close()


class Names(aiohttp.abc.AbstractResolver):
    """A DNS that gives one answer after the other; the last one stays."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[aiohttp.abc.ResolveResult]:
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            aiohttp.abc.ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address in found
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
def guard(receiver: Receiver) -> address_guard.Guard:
    return address_guard.Guard.from_lists(
        allow=[f"{HERE}/32:{receiver.port}"], ports=[receiver.port]
    )


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
async def test_as_a_literal(
    address: str, scheme: str, receiver: Receiver, guard: address_guard.Guard, dialled: list[Any]
) -> None:
    sender = webhooks.HttpSender(guard)
    host = f"[{address}]" if ":" in address else address
    made = await post(sender, f"{scheme}://{host}:{receiver.port}/")
    await sender.close()
    assert made.problem is Problem.ADDRESS_REFUSED
    assert dialled == []


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
async def test_behind_a_name(
    address: str, receiver: Receiver, guard: address_guard.Guard, dialled: list[Any]
) -> None:
    sender = webhooks.HttpSender(guard, resolver=Names([address]))
    made = await post(sender, f"https://{NAME}:{receiver.port}/")
    await sender.close()
    assert made.problem is Problem.RESOLVED_ADDRESS_REFUSED
    assert dialled == []


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
async def test_behind_a_name_that_led_elsewhere_before(
    address: str, receiver: Receiver, guard: address_guard.Guard, dialled: list[Any]
) -> None:
    # The first try reaches the receiver, which speaks no TLS; the next ones reach nothing.
    names = Names([HERE], [address], [address, address])
    sender = webhooks.HttpSender(guard, resolver=names)
    made = [await post(sender, f"https://{NAME}:{receiver.port}/") for _ in range(3)]
    await sender.close()
    assert [one.problem for one in made] == [
        Problem.TLS_FAILED,
        Problem.RESOLVED_ADDRESS_REFUSED,
        Problem.RESOLVED_ADDRESS_REFUSED,
    ]
    assert set(dialled) == {(HERE, receiver.port)}


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
async def test_among_addresses_that_may_be_called(
    address: str, receiver: Receiver, guard: address_guard.Guard, dialled: list[Any]
) -> None:
    for answer in ([address, HERE], [HERE, address]):
        sender = webhooks.HttpSender(guard, resolver=Names(answer))
        await post(sender, f"https://{NAME}:{receiver.port}/")
        await sender.close()
    assert set(dialled) <= {(HERE, receiver.port)}


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
async def test_by_a_redirect(
    address: str, receiver: Receiver, guard: address_guard.Guard, dialled: list[Any]
) -> None:
    host = f"[{address}]" if ":" in address else address
    receiver.location = f"https://{host}/"
    sender = webhooks.HttpSender(guard)
    made = await post(sender, f"http://{HERE}:{receiver.port}/")
    await sender.close()
    assert made.code == 302
    assert (receiver.requests, dialled) == (1, [(HERE, receiver.port)])
