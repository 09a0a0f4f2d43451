"""What is told to others of tasks: what did not arrive, and what was mailed."""

from datetime import timedelta
from typing import Final

from fastapi import APIRouter, Request, Response

from longtask_api.auth import callers
from longtask_api.dependencies import CallerDep, DeliveriesDep, NoticesDep
from longtask_api.ui import shell, words
from longtask_api.ui.groups import Group
from longtask_client import models

router = APIRouter(include_in_schema=False, route_class=shell.PageRoute)

_A_PAGE: Final = 50
#: Of callbacks and of mails that did not arrive the last ones are shown.
_MOST: Final = 20
#: How far back all are sent again: a resource may stay for a week and longer.
_BACK: Final = timedelta(days=30)
_GROUPS: Final = {
    models.NoticeState.PENDING: Group.WAITING,
    models.NoticeState.SENT: Group.SUCCEEDED,
    models.NoticeState.LOGGED: Group.CANCELLED,
    models.NoticeState.GIVEN_UP: Group.FAILED,
    models.NoticeState.DROPPED: Group.CANCELLED,
}


def group_of(state: models.NoticeState) -> Group:
    """Return the shape and colour of a notice."""
    return _GROUPS[state]


@router.get("/told")
async def show_told(
    request: Request,
    caller: CallerDep,
    deliveries: DeliveriesDep,
    notices: NoticesDep,
    task: str = "",
    state: models.NoticeState | None = None,
    cursor: str | None = None,
) -> Response:
    """Show what no receiver took, and what was mailed or is about to be."""
    now = request.app.state.services.clock()
    failed = deliveries.given_up(caller, limit=_MOST + 1)
    lost = await notices.page(
        caller, task=None, state=models.NoticeState.GIVEN_UP, limit=_MOST + 1, cursor=None
    )
    mails = await notices.page(caller, task=task or None, state=state, limit=_A_PAGE, cursor=cursor)
    again = {"from": (now - _BACK).isoformat(), "to": now.isoformat(), "state": "Exhausted"}
    return shell.page(
        request,
        "told.html",
        caller=caller,
        here="told",
        says=_says(len(failed), len(lost.items)),
        callbacks=failed[:_MOST],
        has_more_callbacks=len(failed) > _MOST,
        lost=lost.items[:_MOST],
        has_more_lost=len(lost.items) > _MOST,
        again=again,
        mails=[(one, group_of(one.state)) for one in mails.items],
        states=list(models.NoticeState),
        asked={"task": task, "state": state},
        next_cursor=mails.next_cursor,
        is_first=cursor is None,
        may_write=caller.may(callers.Act.WRITE),
    )


def _says(callbacks: int, mails: int) -> str:
    told = [
        f"{'more than ' if number > _MOST else ''}{words.count(min(number, _MOST), what)}"
        for number, what in ((callbacks, "callback"), (mails, "mail"))
        if number
    ]
    return f"{' and '.join(told)} did not arrive." if told else "All that was told has arrived."
