"""What dead hosts, slow hosts and slow name servers leave to others: over real sockets."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import aiohttp.abc
import pytest

from longtask_adapters import lookups, places, webhooks
from longtask_crds import address_guard
from longtask_crds.delivery import Problem
from webhook_support import post

LOOPBACK = address_guard.Guard.from_lists(allow=["127.0.0.0/8"])
MANY = 200
#: Who waits for one of the silent is found out on any machine: these take twice as long as it has.
SOON, SILENT = 60.0, 120.0


class Names(aiohttp.abc.AbstractResolver):
    """Leads names that begin with a number to an address of their own, and some to nothing ever."""

    def __init__(self, is_silent: Callable[[str], bool] = lambda _: False) -> None:
        self._is_silent = is_silent
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[aiohttp.abc.ResolveResult]:
        self.asked.append(host)
        if self._is_silent(host):
            await asyncio.get_running_loop().create_future()
        first = host.partition(".")[0]
        number = int(first) if first.isdigit() else 0
        address = f"127.0.{1 + number // 250}.{1 + number % 250}"
        known: Any = {"hostname": host, "port": port, "proto": 0, "flags": 0}
        return [aiohttp.abc.ResolveResult(host=address, family=socket.AF_INET, **known)]

    async def close(self) -> None:
        pass


@contextlib.asynccontextmanager
async def serving(
    answer: bytes | None, *, until: asyncio.Event | None = None
) -> AsyncIterator[tuple[int, list[float]]]:
    """Listen on all addresses of this machine; yield the port, and when requests came.

    A server without an answer, or for which it is too late, holds each connection and says nothing.
    """
    came: list[float] = []
    held: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(time.monotonic())
        if answer is None or (until is not None and until.is_set()):
            held.append(writer)
            return
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "0.0.0.0", 0, backlog=1000)
    try:
        yield server.sockets[0].getsockname()[1], came
    finally:
        for writer in held:
            writer.close()
        server.close()


WELL = b"HTTP/1.1 204 No Content\r\n\r\n"
FAULTY = b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"


@contextlib.asynccontextmanager
async def sending(names: Names, **how: Any) -> AsyncIterator[webhooks.HttpSender]:
    guard = address_guard.Guard.from_lists(allow=["127.0.0.0/8", *(how.pop("hosts", ()))])
    sender = webhooks.HttpSender(guard, resolver=names, **how)
    try:
        yield sender
    finally:
        await sender.close()


async def cancelled(tries: list[asyncio.Task[Any]]) -> None:
    for one in tries:
        one.cancel()
    await asyncio.gather(*tries, return_exceptions=True)


@pytest.mark.parametrize(
    "owner",
    [pytest.param("another", id="of-another-owner"), pytest.param("bad", id="of-the-same")],
)
async def test_two_hundred_hosts_that_never_answer_delay_no_healthy_one(owner: str) -> None:
    slow_hosts = [f"{n}.evil.example" for n in range(MANY)]
    async with serving(None) as (slow, came), serving(WELL) as (well, _):
        names = Names()
        patient = aiohttp.ClientTimeout(total=SILENT)
        async with sending(names, hosts=[*slow_hosts, "well.example"], timeout=patient) as sender:
            tries = [
                asyncio.create_task(post(sender, f"http://{host}:{slow}/", owner="bad"))
                for host in slow_hosts
            ]
            await asyncio.sleep(0)  # they stand in line by now
            try:
                async with asyncio.timeout(SOON):
                    made = await post(sender, f"http://well.example:{well}/", owner=owner)
                ended, reached = [one.done() for one in tries], len(came)
            finally:
                await cancelled(tries)
    assert made.code == 204
    assert not any(ended), "it waited for one of them"
    assert reached > 0, "they were not tried at all"


def test_a_healthy_one_is_tried_within_two_seconds_behind_two_hundred_that_never_answer() -> None:
    """By how fast those before it stop to hold it up: on a machine that never stands still."""
    assert MANY / webhooks._AT_ONCE * places._YOUNG_SECONDS < 2


@pytest.mark.parametrize(
    ("owner", "names_of"),
    [
        pytest.param("another", "{}.com", id="each-in-a-zone-of-its-own"),
        pytest.param("bad", "{}.evil.example", id="of-one-wildcard-and-the-same-owner"),
    ],
)
async def test_slow_name_servers_delay_nobody_who_does_not_use_them(
    owner: str, names_of: str
) -> None:
    slow_hosts = [names_of.format(n) for n in range(MANY)]
    async with serving(WELL) as (well, _):
        names = Names(lambda host: host in slow_hosts)
        async with sending(names, hosts=["well.example"]) as sender:
            sender._lookups._seconds = SILENT
            tries = [
                asyncio.create_task(post(sender, f"https://{host}/", owner="bad"))
                for host in slow_hosts
            ]
            await asyncio.sleep(0)
            try:
                async with asyncio.timeout(SOON):
                    made = await post(sender, f"http://well.example:{well}/", owner=owner)
                ended = [one.done() for one in tries]
            finally:
                await cancelled(tries)
    assert made.code == 204
    assert not any(ended), "it waited for one of them"
    assert any(host in names.asked for host in slow_hosts)


async def test_what_waits_for_a_lookup_loses_none_of_its_time() -> None:
    silent = asyncio.Event()

    class Slow(Names):
        async def resolve(self, *given: Any) -> Any:
            await silent.wait()
            return await super().resolve(*given)

    finder = lookups.Lookups(Slow(), seconds=1.0)
    # The last of them waits behind two rounds of others, and has its whole time all the same.
    finding = [
        asyncio.create_task(finder.find(f"{n}.evil.example", 443, owner="a")) for n in range(9)
    ]
    for one in finding[:8]:
        with pytest.raises(TimeoutError):
            await one
    silent.set()
    assert await finding[8]
    await finder.close()


async def test_a_name_that_is_never_answered_for_is_a_failed_try() -> None:
    sender = webhooks.HttpSender(LOOPBACK, resolver=Names(lambda _: True))
    sender._lookups._seconds = 0.05
    made = await post(sender, "https://silent.example/")
    await sender.close()
    assert made.problem is Problem.NAME_NOT_RESOLVED


async def test_a_host_that_failed_five_times_is_left_alone_for_a_while() -> None:
    async with serving(FAULTY) as (port, came), sending(Names(), pause=3600) as sender:
        url = f"http://127.0.0.1:{port}/"
        for _ in range(5):
            assert (await post(sender, url)).code == 500
        sixth = asyncio.create_task(post(sender, url))
        # The same host is another one to another owner: nobody's failures are another's pause.
        assert (await post(sender, url, owner="another")).code == 500
        assert not sixth.done()
        assert len(came) == 6
        await cancelled([sixth])


async def test_and_then_it_is_tried_again() -> None:
    async with serving(FAULTY) as (port, _), sending(Names(), pause=0.3) as sender:
        url = f"http://127.0.0.1:{port}/"
        for _ in range(4):
            await post(sender, url)
        began = time.monotonic()
        for _ in range(2):
            assert (await post(sender, url)).code == 500
        assert time.monotonic() - began >= 0.3


async def test_a_good_answer_ends_the_row_and_a_wrong_path_is_no_failure_of_the_host() -> None:
    answers = [FAULTY] * 4 + [WELL] + [FAULTY] * 4 + [b"HTTP/1.1 404 No\r\n\r\n"] * 6

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop(0))
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with sending(Names(), pause=3600) as sender, asyncio.timeout(60):
        while answers:
            await post(sender, url)
    server.close()


async def test_hosts_that_failed_leave_places_to_those_that_did_not() -> None:
    failed = [f"{n}.evil.example" for n in range(MANY)]
    they_have_failed = asyncio.Event()
    async with (
        serving(FAULTY, until=they_have_failed) as (slow, came),
        serving(WELL) as (well, _),
        sending(Names(), hosts=[*failed, "well.example"]) as sender,
    ):

        def again() -> list[asyncio.Task[Any]]:
            urls = [f"http://{host}:{slow}/" for host in failed]
            return [asyncio.create_task(post(sender, url)) for url in urls]

        for made in await asyncio.gather(*again()):
            assert made.code == 500
        they_have_failed.set()
        came.clear()
        tries = again()
        assert (await post(sender, f"http://well.example:{well}/")).code == 204
        assert not any(one.done() for one in tries), "it waited for one of them"
        # Half of what there is for them, for there may be other owners.
        assert len(came) <= 32
        await cancelled(tries)


async def test_nothing_is_written_before_it_can_be_sent() -> None:
    written = 0

    async def write() -> webhooks.Letter:
        nonlocal written
        written += 1
        raise LookupError("the keys are away")

    async with serving(FAULTY) as (port, _), sending(Names(), pause=1.0) as sender:
        url = f"http://127.0.0.1:{port}/"
        for _ in range(5):
            await post(sender, url)
        sending_it = asyncio.create_task(
            sender.send(url, owner="somebody", webhook_id="m", headers={}, write=write)
        )
        await asyncio.sleep(0)
        assert written == 0
        with pytest.raises(LookupError):
            await sending_it
    assert written == 1


async def test_the_systems_resolver_finds_this_machine() -> None:
    finder = lookups.Lookups()
    found = await finder.find("localhost", 8443, owner="somebody")
    await finder.close()
    assert ("127.0.0.1", 8443) in [(one["host"], one["port"]) for one in found]


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
async def test_an_address_is_not_looked_up(host: str) -> None:
    names = Names()
    assert await lookups.Lookups(names).find(host, 443, owner="somebody") == ()
    assert names.asked == []
