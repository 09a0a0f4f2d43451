"""Addresses of hosts, found in a way that a slow name server holds up only those who use it."""

import asyncio
import concurrent.futures
import contextlib
import ipaddress
import socket
import weakref
from collections.abc import Sequence

import aiohttp.abc

from longtask_adapters import places

#: A lookup takes a thread until the name server has answered or the system has given it up. Threads
#: are made as they are needed, and mostly one is enough.
_AT_ONCE = 256
#: One wildcard is as many names as somebody likes, and all of them are asked of the same servers.
_AT_ONCE_PER_ZONE = 8
_SECONDS = 5.0

Addresses = Sequence[aiohttp.abc.ResolveResult]


class Resolver(aiohttp.abc.AbstractResolver):
    """The system's resolver, in threads of its own: an event loop shares out very few."""

    def __init__(self) -> None:
        self._threads = concurrent.futures.ThreadPoolExecutor(_AT_ONCE, "lookup")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[aiohttp.abc.ResolveResult]:
        """Return the addresses of a host; raise an OSError if there are none."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads,
            lambda: socket.getaddrinfo(
                host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            ),
        )
        return [
            aiohttp.abc.ResolveResult(
                hostname=host,
                # An address with a zone leads to an interface: it is refused at the socket.
                host=socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0],
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Look up nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Lookups:
    """Finds the addresses of hosts.

    Args:
        resolver: Does so for one; by default the system's.
        seconds: How long a lookup may take once it has begun.
    """

    def __init__(
        self, resolver: aiohttp.abc.AbstractResolver | None = None, *, seconds: float = _SECONDS
    ) -> None:
        self._resolver = resolver or Resolver()
        self._seconds = seconds
        self._turns = places.Turns(_AT_ONCE)
        # Weak: a zone is forgotten when nobody looks for anything in it.
        self._zones: weakref.WeakValueDictionary[tuple[str, str], asyncio.Semaphore] = (
            weakref.WeakValueDictionary()
        )
        self._under_way: set[asyncio.Task[Addresses]] = set()

    async def find(self, host: str, port: int, *, owner: str) -> Addresses:
        """Return the addresses of a name, none of an address; no time is lost by waiting in line.

        Raises:
            OSError: There are none, or it takes too long.
        """
        if _is_address(host):
            return ()  # it is dialled as it is
        begun = asyncio.Event()
        # It keeps its turn as long as it keeps its thread, whoever still waits for it.
        looking = asyncio.create_task(self._look(host, port, owner, begun))
        self._under_way.add(looking)
        looking.add_done_callback(self._ended)
        try:
            await begun.wait()
        except asyncio.CancelledError:
            looking.cancel()
            raise
        async with asyncio.timeout(self._seconds):
            return await asyncio.shield(looking)

    async def close(self) -> None:
        """Look up nothing more."""
        for looking in self._under_way:
            looking.cancel()
        await self._resolver.close()

    async def _look(self, host: str, port: int, owner: str, begun: asyncio.Event) -> Addresses:
        zone = (owner, _zone_of(host))
        of_zone = self._zones.get(zone)
        if of_zone is None:
            of_zone = self._zones[zone] = asyncio.Semaphore(_AT_ONCE_PER_ZONE)
        async with of_zone, self._turns.turn(owner):
            begun.set()
            found = await self._resolver.resolve(host, port, socket.AF_UNSPEC)
        if not found:
            raise OSError("no address")
        return found

    def _ended(self, looking: asyncio.Task[Addresses]) -> None:
        self._under_way.discard(looking)
        with contextlib.suppress(asyncio.CancelledError):
            looking.exception()  # mostly it was told; else nobody waits for it any more


def _is_address(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(host))
    return False


def _zone_of(host: str) -> str:
    """Return the end of a name that its owner has bought, as far as two labels tell."""
    return ".".join(host.split(".")[-2:])
