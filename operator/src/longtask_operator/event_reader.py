"""Reads what Events say against Jobs and pods; those who ask at the same time share one list.

The API server walks all Events of the namespace for each list, whatever is selected of them. When a
cluster is slow very many tasks wait for their pods, and each asks why.
"""

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from longtask_adapters.kube import errors, kinds, listing
from longtask_adapters.kube.connection import Connection

#: While others ask, a list is followed by a rest of so many times what it took …
_REST: Final = 4.0
#: … and of so many seconds at most.
_LONGEST_REST: Final = 5.0
_WARNINGS: Final = "type=Warning"


class Warned(NamedTuple):
    """One Event that says that something went wrong."""

    reason: str
    message: str


@dataclasses.dataclass(slots=True)
class _Batch:
    """Those who share one list of a namespace."""

    namespace: str
    uids: set[str] = dataclasses.field(default_factory=set)
    found: dict[str, list[Warned]] | errors.ClusterError | None = None


class EventReader:
    """Reads Events of the type Warning.

    Args:
        connection: To the API server.
        clock: Tells seconds that only go forward.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._gathering: dict[str, _Batch] = {}  #: by namespace: whose list has not begun
        self._took = 0.0  #: seconds, the last list

    async def warnings(self, namespace: str, uid: str) -> list[Warned]:
        """Return the warnings about an object, the oldest first.

        Raises:
            ClusterError: They could not be read, for nobody who shares the list.
        """
        batch = self._gathering.setdefault(namespace, _Batch(namespace))
        batch.uids.add(uid)
        is_busy = self._turn.locked()
        async with self._turn:
            # The first of them whose turn it is reads for all; if it is cancelled, the next one.
            if batch.found is None:
                if is_busy:
                    await self._sleep(min(_LONGEST_REST, _REST * self._took))
                try:
                    batch.found = await self._read(batch)
                except errors.ClusterError as error:
                    batch.found = error
            if isinstance(batch.found, errors.ClusterError):
                raise batch.found
            return batch.found.get(uid, [])

    async def _read(self, batch: _Batch) -> dict[str, list[Warned]]:
        # Who comes from now on may ask about what comes after this list.
        if self._gathering.get(batch.namespace) is batch:
            del self._gathering[batch.namespace]

        def parse(raw: kinds.Raw) -> tuple[str, Warned] | None:
            uid = str(raw["involvedObject"].get("uid", ""))
            if uid not in batch.uids:
                return None
            return uid, Warned(str(raw.get("reason", "")), str(raw.get("message", "")))

        one = f",involvedObject.uid={min(batch.uids)}" if len(batch.uids) == 1 else ""
        path = kinds.EVENTS.collection(batch.namespace)
        began = self._clock()
        try:
            query = {"fieldSelector": _WARNINGS + one}
            _, listed = await listing.listed(self._connection, path, query, parse)
        finally:
            self._took = self._clock() - began
        found: dict[str, list[Warned]] = {}
        for uid, warned in filter(None, listed):
            found.setdefault(uid, []).append(warned)
        return found
