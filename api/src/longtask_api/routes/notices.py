"""Endpoints about mails: what was told, what one wishes to be told, and the end of it."""

import html
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import HTMLResponse

from longtask_api.dependencies import (
    CallerDep,
    JsonBodyDep,
    KnownCallerDep,
    LoginLimitDep,
    NoticesDep,
    OptionalJsonBodyDep,
)
from longtask_api.http import openapi
from longtask_client import models

router = APIRouter(tags=["notices"])
own = APIRouter(prefix="/me", tags=["notices"])
public = APIRouter(tags=["notices"])

_BODY = (400, 403, 408, 413, 415, 422, 429)
#: The page has one button, which sends to itself.
_POLICY = (
    "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none';"
    " style-src 'none'"
)
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="robots" content="noindex">
<title>LongTask</title></head><body><p>{text}</p>{form}</body></html>
"""
_BUTTON = '<form method="post"><button type="submit">No more mails</button></form>'


@router.get("/notices", operation_id="listNotices", responses=openapi.problems(400))
async def list_notices(
    caller: CallerDep,
    notices: NoticesDep,
    task: Annotated[
        str | None, Query(max_length=253, description="Only those of the task of this name.")
    ] = None,
    state: Annotated[
        models.NoticeState | None, Query(description="Only those that stand so.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="At most so many.")] = 50,
    cursor: openapi.Cursor = None,
) -> models.NoticePage:
    """List what was told by mail of one's tasks, or is about to be, the newest first.

    Admins see those of all tasks. They are kept for seven days.
    """
    return await notices.page(caller, task=task, state=state, limit=limit, cursor=cursor)


@own.get("/notices", operation_id="getNoticeWish", responses=openapi.problems(403))
async def get_notice_wish(caller: KnownCallerDep, notices: NoticesDep) -> models.NoticeWishView:
    """Tell of which events of one's tasks one is mailed, and where."""
    return await notices.wish(caller)


@own.put(
    "/notices",
    operation_id="setNoticeWish",
    responses=openapi.problems(*_BODY),
    openapi_extra=openapi.json_body(models.NoticeWish, {"events": ["failed", "succeeded"]}),
)
async def set_notice_wish(
    caller: KnownCallerDep, notices: NoticesDep, document: JsonBodyDep
) -> models.NoticeWishView:
    """Say of which events of one's tasks one wants mails; they go to a confirmed address only."""
    return await notices.set_wish(caller, document)


@own.post(
    "/email:verify",
    status_code=202,
    operation_id="verifyEmail",
    responses=openapi.problems(*_BODY),
    openapi_extra=openapi.json_body(
        models.EmailOrder, {"email": "ada@example.com"}, required=False
    ),
)
async def verify_email(
    caller: KnownCallerDep,
    notices: NoticesDep,
    limit: LoginLimitDep,
    document: OptionalJsonBodyDep,
) -> models.NoticeWishView:
    """Have a code sent to an address that one says is one's own; by default the account's."""
    return await notices.ask_for_code(caller, document, limit=limit)


@own.post(
    "/email:confirm",
    operation_id="confirmEmail",
    responses=openapi.problems(*_BODY),
    openapi_extra=openapi.json_body(models.EmailCode, {"code": "MTc2NzQxMTA0NQo…"}),
)
async def confirm_email(
    caller: KnownCallerDep, notices: NoticesDep, limit: LoginLimitDep, document: JsonBodyDep
) -> models.NoticeWishView:
    """Show, by the code of a mail, that its address is one's own; it becomes the account's."""
    return await notices.confirm(caller, document, limit=limit)


@public.get(
    "/unsubscribe/{token}",
    operation_id="showUnsubscribe",
    response_class=HTMLResponse,
    responses=openapi.problems(404, 429, 503),
)
async def show_unsubscribe(notices: NoticesDep, token: str) -> Response:
    """Show the page that ends the mails to an address. Looking at it ends nothing: programs do."""
    address = html.escape(await notices.address_of(token))
    return _page(f"Send no more mails from here to {address}?", _BUTTON)


@public.post(
    "/unsubscribe/{token}",
    operation_id="unsubscribe",
    response_class=HTMLResponse,
    responses=openapi.problems(404, 429, 503),
)
async def unsubscribe(notices: NoticesDep, token: str) -> Response:
    """End the mails to an address: of any task, whoever named it. The link is in each mail."""
    address = html.escape(await notices.unsubscribe(token))
    return _page(f"No more mails go from here to {address}.", "")


def _page(text: str, form: str) -> Response:
    return HTMLResponse(
        _PAGE.format(text=text, form=form),
        headers={"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"},
    )
