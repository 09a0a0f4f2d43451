"""Users and invitations, for admins."""

from typing import Final

from fastapi import APIRouter, Request, Response

from longtask_api.dependencies import AccountsDep, AdminDep, CallerDep
from longtask_api.ui import shell
from longtask_client import models

router = APIRouter(include_in_schema=False, route_class=shell.PageRoute)

_A_PAGE: Final = 100


@router.get("/admin")
async def show_admin(
    request: Request,
    caller: CallerDep,
    accounts: AccountsDep,
    admin: AdminDep,
    cursor: str | None = None,
) -> Response:
    """Show users, page by page, and the invitations that are open."""
    users = await admin.user_page(caller, limit=_A_PAGE, cursor=cursor)
    return shell.page(
        request,
        "admin.html",
        caller=caller,
        here="admin",
        users=users.items,
        next_cursor=users.next_cursor,
        is_first=cursor is None,
        invites=(await admin.invite_list(caller)).items,
        roles=list(models.Role),
        registration=accounts.registration,
        register_url=f"{shell.base_url(request)}/register",
    )
