"""Who did what, for admins."""

from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from longtask_api.dependencies import AuditDep, CallerDep
from longtask_api.stores.audit import Wanted
from longtask_api.ui import shell
from longtask_api.ui.groups import Group
from longtask_api.ui.pages import days
from longtask_client import models

router = APIRouter(include_in_schema=False, route_class=shell.PageRoute)

_A_PAGE: Final = 50
_GROUPS: Final = {
    models.ActOutcome.DONE: Group.SUCCEEDED,
    models.ActOutcome.REFUSED: Group.FAILED,
    models.ActOutcome.UNKNOWN: Group.RETRYING,
}
#: As the endpoint has it: no database has NUL in a text.
_Text = Annotated[str, Query(max_length=256, pattern=r"^[^\x00]*$")]


@router.get("/audit")
async def show_audit(
    request: Request,
    caller: CallerDep,
    audit: AuditDep,
    actor: _Text = "",
    act: _Text = "",
    target: _Text = "",
    since: days.Day = "",
    until: days.Day = "",
    cursor: str | None = None,
) -> Response:
    """Show who did what, the newest first."""
    asked = {"actor": actor, "act": act, "target": target, "since": since, "until": until}
    last = days.start(until)
    wanted = Wanted(
        actor=actor or None,
        act=act or None,
        target=target or None,
        since=days.start(since),
        until=last + timedelta(days=1) if last else None,
    )
    found = await audit.page(caller, wanted, limit=_A_PAGE, cursor=cursor)
    return shell.page(
        request,
        "audit.html",
        caller=caller,
        here="audit",
        entries=[(entry, _GROUPS[entry.outcome]) for entry in found.items],
        asked=asked,
        is_filtered=any(asked.values()),
        next_cursor=found.next_cursor,
        is_first=cursor is None,
    )
