"""What is under way when its loop is stopped: it gets a moment to come to its end."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")

_PATIENCE = 5.0


class UnderWay:
    """Pieces of work that are begun by a loop and outlive its cancellation, but not for long."""

    def __init__(self) -> None:
        self._pieces: set[asyncio.Task[Any]] = set()

    def begin(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Begin a piece of work."""
        piece = asyncio.create_task(work)
        self._pieces.add(piece)
        piece.add_done_callback(self._pieces.discard)
        return piece

    async def settle(self) -> None:
        """Wait for what is under way; end what takes too long."""
        left = list(self._pieces)
        if left:
            await asyncio.wait(left, timeout=_PATIENCE)
        for piece in left:
            piece.cancel()
        await asyncio.gather(*left, return_exceptions=True)
