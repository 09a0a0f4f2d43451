"""Who did what."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from longtask_api.dependencies import AuditDep, CallerDep
from longtask_api.http import answers, openapi
from longtask_api.stores.audit import Wanted
from longtask_client import models
from longtask_crds import v1alpha1

router = APIRouter(tags=["audit"])

#: No database has these in a text.
_TEXT: Final = r"^[^\x00]*$"


@router.get(
    "/audit",
    response_model=models.AuditPage,
    operation_id="listAudit",
    responses=openapi.problems(400, 403),
)
async def list_audit(
    request: Request,
    caller: CallerDep,
    audit: AuditDep,
    actor: Annotated[
        str | None,
        Query(
            max_length=256,
            pattern=_TEXT,
            description="By whom: as people call them, or the owner of their tasks.",
            examples=["ada"],
        ),
    ] = None,
    act: Annotated[
        str | None,
        Query(
            max_length=64, pattern=_TEXT, description="What was asked for.", examples=["deleteTask"]
        ),
    ] = None,
    target: Annotated[
        str | None,
        Query(
            max_length=253,
            pattern=_TEXT,
            description="To what it was done.",
            examples=["nightly-report"],
        ),
    ] = None,
    since: Annotated[
        v1alpha1.GivenTime | None,
        Query(description="At this time or later.", examples=["2026-01-02T00:00:00Z"]),
    ] = None,
    until: Annotated[
        v1alpha1.GivenTime | None,
        Query(description="Before this time.", examples=["2026-01-03T00:00:00Z"]),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="At most so many.")] = 50,
    cursor: openapi.Cursor = None,
) -> Response:
    """List who did what, the newest first, page by page. For admins."""
    wanted = Wanted(actor=actor, act=act, target=target, since=since, until=until)
    found = await audit.page(caller, wanted, limit=limit, cursor=cursor)
    return answers.json(found, headers=answers.next_page(request, found.next_cursor))
