"""Which nodes are to take no more pods, as long as somebody keeps pods waiting.

The API server is asked for those that are cordoned, and for no others: that the rest tell of
themselves, every few seconds, never gets here.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from longtask_adapters.kube import errors, kinds, watching
from longtask_adapters.kube.connection import Connection, EventType

_logger = logging.getLogger(__name__)
_CORDONED = {"fieldSelector": "spec.unschedulable=true"}


class Nodes:
    """Knows the nodes that are cordoned.

    A list comes before each watch, and a watch ends after five minutes at most: so long something
    that it missed may stay unknown.

    Args:
        connection: To the API server.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self, connection: Connection, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._connection = connection
        self._sleep = sleep
        self._wanted = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        self._is_lost = False
        self.cordoned: frozenset[str] = frozenset()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Tell the listener whenever they are others."""
        self._listeners.append(listener)

    def want(self, wanted: bool) -> None:
        """Say whether anybody wants to know; it need not be said twice."""
        if wanted:
            self._wanted.set()
        else:
            self._wanted.clear()

    async def run(self) -> None:
        """List and watch them for ever, while they are wanted; go on after every error."""
        failures = 0
        while True:
            if not self._wanted.is_set():
                self._set(frozenset())
                await self._wanted.wait()
            try:
                await self._follow()
                failures = 0
            except errors.ClusterError as error:
                failures += 1
                self._note(str(error))
            except Exception:
                # Nobody foresaw it; each try begins anew anyhow.
                failures += 1
                self._note("unforeseen")
                _logger.exception("The watch failed", extra={"plural": "nodes"})
            await self._sleep(watching.backoff(failures + 1))

    async def _follow(self) -> None:
        """List them, then watch until the API server ends that."""
        found: set[str] = set()
        async for page in self._connection.pages(kinds.NODES, _CORDONED):
            names = {str(raw["metadata"]["name"]) for raw in page.items}
            found = names if page.is_first else found | names
        self._set(frozenset(found))
        async for event in self._connection.watch(kinds.NODES, page.version, _CORDONED):
            if event.type is EventType.CONNECTED:
                self._note(None)
            elif event.type is not EventType.BOOKMARK:
                # One that is uncordoned is no more of those that were asked for: deleted, for us.
                name = frozenset({str(event.object["metadata"]["name"])})
                is_gone = event.type is EventType.DELETED
                self._set(self.cordoned - name if is_gone else self.cordoned | name)

    def _set(self, cordoned: frozenset[str]) -> None:
        if cordoned == self.cordoned:
            return
        self.cordoned = cordoned
        for listener in self._listeners:
            listener()

    def _note(self, cause: str | None) -> None:
        if cause is not None and not self._is_lost:
            _logger.warning("Lost the watch", extra={"plural": "nodes", "cause": cause})
        elif cause is None and self._is_lost:
            _logger.info("Resumed the watch", extra={"plural": "nodes"})
        self._is_lost = cause is not None
