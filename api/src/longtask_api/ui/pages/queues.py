"""Queues: who waits where, for what, and whose turn is next."""

import dataclasses
from typing import Final

from fastapi import APIRouter, Request, Response

from longtask_api.auth import callers
from longtask_api.dependencies import CallerDep, QueuesDep
from longtask_api.ui import shell, words
from longtask_client import models
from longtask_crds import queueing

router = APIRouter(include_in_schema=False, route_class=shell.PageRoute)

_A_PAGE: Final = 100
#: Of more owners than this only the greatest are shown.
_MOST_OWNERS: Final = 12


@dataclasses.dataclass(frozen=True)
class Share:
    """How much of a queue is somebody's."""

    owner: str
    running: int
    waiting: int


@router.get("/queues")
async def show_queues(request: Request, caller: CallerDep, queues: QueuesDep) -> Response:
    """Show all queues."""
    found = queues.all(caller).items
    return shell.page(
        request,
        "queues.html",
        caller=caller,
        here="queues",
        queues=found,
        says=_summary(found),
        may_manage=caller.may(callers.Act.MANAGE),
    )


@router.get("/queues/{name}")
async def show_queue(
    request: Request, caller: CallerDep, queues: QueuesDep, name: str, cursor: str | None = None
) -> Response:
    """Show a queue, and who waits in it."""
    found = await queues.get(caller, name, limit=_A_PAGE, cursor=cursor)
    shares = _shares(await queues.shares(caller, name))
    return shell.page(
        request,
        "queue.html",
        caller=caller,
        here="queues",
        queue=found,
        says=says(found),
        shares=shares[:_MOST_OWNERS],
        most=max((share.running + share.waiting for share in shares), default=1),
        other_owners=max(0, len(shares) - _MOST_OWNERS),
        hidden=found.waiting - len(found.content) if not caller.sees_all else 0,
        is_first=cursor is None,
        may_manage=caller.may(callers.Act.MANAGE),
        may_write=caller.may(callers.Act.WRITE),
    )


def says(queue: models.QueueView) -> str:
    """Say what a queue does now."""
    most = queue.max_running
    if queue.paused:
        return f"It is paused and starts nothing; {_waiting(queue)}."
    if most is not None and queue.running >= most and queue.waiting:
        taken = "The one place is" if most == 1 else f"All {most} places are"
        return f"{taken} taken; {_waiting(queue)}."
    if queue.waiting:
        return f"{words.count(queue.running, 'runs', 'run')}, and {_waiting(queue)}."
    free = f" {most - queue.running} of {most} places are free." if most is not None else ""
    return f"Nothing waits.{free}"


def _waiting(queue: models.QueueView) -> str:
    return "nothing waits" if not queue.waiting else words.count(queue.waiting, "waits", "wait")


def _summary(queues: list[models.QueueView]) -> str:
    waiting = sum(queue.waiting for queue in queues)
    paused = sum(queue.paused for queue in queues)
    told = f"{words.count(waiting, 'waits', 'wait')} in all." if waiting else "Nothing waits."
    if paused:
        told += f" {paused} {'is' if paused == 1 else 'are'} paused."
    return told


def _shares(found: dict[str, queueing.Counts]) -> list[Share]:
    shares = [Share(owner or "nobody", n.running, n.waiting) for owner, n in found.items()]
    return sorted(shares, key=lambda share: (-share.running, -share.waiting, share.owner))
