"""Run an `async def` task. Imported for such a task only: `asyncio` is slow to import."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from longtask_runner import cancellation, log

#: How long the tasks that a task left behind may take to end.
LEFTOVER_SECONDS = 5.0


def run(awaitable: Awaitable[object], cancel: cancellation.Cancellation) -> object:
    """Return what the awaitable brings; it is cancelled once, when the task shall end.

    Threads of the loop's executor are not waited for: they are as free as any other thread.

    Raises:
        TaskCancelled: It ended by that.
    """
    loop = asyncio.new_event_loop()
    try:
        task = loop.create_task(_whole(awaitable))
        cancel.listen(_once(lambda: _from_outside(loop, task.cancel)))
        try:
            return loop.run_until_complete(task)
        except asyncio.CancelledError as error:
            if not cancel.requested:
                raise
            raise cancellation.TaskCancelled("the task was told to end") from error
        finally:
            cancel.listen(None)
            _leave(loop)
    finally:
        loop.close()


async def _whole(awaitable: Awaitable[object]) -> object:
    return await awaitable


def _from_outside(loop: asyncio.AbstractEventLoop, act: Callable[[], object]) -> None:
    with contextlib.suppress(RuntimeError):  # it has just been closed: there is nobody to tell
        loop.call_soon_threadsafe(act)


def _once(act: Callable[[], object]) -> Callable[[], None]:
    """Return what acts the first time that it is called: clean-up is not to be interrupted."""
    left = [act]

    def first() -> None:
        if left:
            left.pop()()

    return first


def _leave(loop: asyncio.AbstractEventLoop) -> None:
    """End what the task left running in the loop."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        _, stuck = loop.run_until_complete(asyncio.wait(left, timeout=LEFTOVER_SECONDS))
        if stuck:
            names = ", ".join(sorted(task.get_name() for task in stuck))
            log.line(f"left behind after waiting {LEFTOVER_SECONDS:g} s: {names}")
    loop.run_until_complete(loop.shutdown_asyncgens())
