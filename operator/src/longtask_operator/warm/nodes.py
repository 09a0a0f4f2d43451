"""Which nodes are to take no more pods, as long as somebody keeps pods waiting.

The API server is asked for those that are cordoned, and for no others: that the rest tell of
themselves, every few seconds, never gets here.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from longtask_adapters.kube import kinds, listing, watching
from longtask_adapters.kube.connection import Connection, Event, EventType

_CORDONED: Final = {"fieldSelector": "spec.unschedulable=true"}


class Nodes(watching.Watch):
    """Knows the nodes that are cordoned.

    Args:
        connection: To the API server.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self, connection: Connection, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        super().__init__(connection, kinds.NODES, query=_CORDONED, sleep=sleep)
        self._wanted = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        self.cordoned: frozenset[str] = frozenset()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Tell the listener whenever they are others."""
        self._listeners.append(listener)

    def want(self, wanted: bool) -> None:
        """Say whether anybody wants to know; it need not be said twice.

        A watch that stands goes on until the API server ends it: in five minutes at most.
        """
        if wanted:
            self._wanted.set()
        else:
            self._wanted.clear()

    async def _follow(self) -> bool:
        """Watch as others do, once that is wanted."""
        # No resync lists nodes: what a watch misses is found by the list before the next one.
        self._position = None
        if not self._wanted.is_set():
            self._set(frozenset())
            await self._wanted.wait()
        return await super()._follow()

    async def _list(self) -> int:
        version, found = await listing.listed(self._connection, self._path, _CORDONED, _name_of)
        self._go_on_from(version)
        self._set(frozenset(found))
        return version

    def _take(self, event: Event) -> None:
        if event.type is EventType.BOOKMARK:
            return
        # One that is uncordoned is no more of those that were asked for: deleted, for us.
        name = frozenset({_name_of(event.object)})
        is_gone = event.type is EventType.DELETED
        self._set(self.cordoned - name if is_gone else self.cordoned | name)

    def _set(self, cordoned: frozenset[str]) -> None:
        if cordoned == self.cordoned:
            return
        self.cordoned = cordoned
        for listener in self._listeners:
            listener()


def _name_of(raw: kinds.Raw) -> str:
    return str(raw["metadata"]["name"])
