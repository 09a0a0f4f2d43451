"""An operator whose watches run."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from longtask_adapters.kube.watching import Watch
from longtask_operator.testing import Operator


@contextlib.asynccontextmanager
async def watching(operator: Operator, watch: Watch) -> AsyncIterator[None]:
    """List everything, then let a watch run."""
    await operator.resync.once()
    operator.woken.clear()
    running = asyncio.create_task(watch.run())
    try:
        async with asyncio.timeout(60):
            yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
