"""Reads a whole collection, a page at a time, and lets everybody else have a turn meanwhile."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from longtask_adapters.kube.connection import Connection
from longtask_adapters.kube.kinds import Raw

T = TypeVar("T")

#: After so many objects of a list, or events of a watch, everybody else has a turn.
SLICE: Final = 50


async def listed(
    connection: Connection, path: str, query: Mapping[str, str], parse: Callable[[Raw], T]
) -> tuple[int, list[T]]:
    """Return the version of a list, and what became of each object in it.

    Their JSON takes many times the memory: one page of it is there at a time.

    Args:
        connection: Where to ask.
        path: The collection's path.
        query: Selectors.
        parse: Is given each object; what it returns is kept.

    Raises:
        ClusterError: The list was not complete.
    """
    found: list[T] = []
    async for page in connection.pages(path, query):
        version = page.version
        if page.is_first:
            found.clear()
        for number, raw in enumerate(page.items, start=1):
            found.append(parse(raw))
            if number % SLICE == 0:
                await asyncio.sleep(0)
        del page  # before the next one comes
    return version, found
