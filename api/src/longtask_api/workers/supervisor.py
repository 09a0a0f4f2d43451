"""Owns what runs beside the requests: each loop has a name, and one that ends is news."""

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any

_logger = logging.getLogger(__name__)


class Supervisor:
    """Loops that run until they are stopped. It starts none of them again: the kubelet does."""

    def __init__(self) -> None:
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._ended: list[str] = []

    async def __aenter__(self) -> "Supervisor":
        """Own what is started from now on."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop all loops."""
        for loop in self._loops.values():
            loop.remove_done_callback(self._note_end)
            loop.cancel()
        await asyncio.gather(*self._loops.values(), return_exceptions=True)

    def start(self, name: str, loop: Coroutine[Any, Any, None]) -> None:
        """Run a loop that ends only when it is stopped."""
        self._loops[name] = asyncio.create_task(loop, name=name)
        self._loops[name].add_done_callback(self._note_end)

    def ended(self) -> list[str]:
        """Return the names of the loops that ended unasked."""
        return list(self._ended)

    def _note_end(self, loop: asyncio.Task[None]) -> None:
        self._ended.append(loop.get_name())
        error = None if loop.cancelled() else loop.exception()
        _logger.error("A loop ended", exc_info=error, extra={"loop": loop.get_name()})
