"""One's own account: who one is, tokens, the key that signs callbacks, the password."""

from fastapi import APIRouter, Request, Response

from longtask_api.auth import callers
from longtask_api.dependencies import AccountsDep, KnownCallerDep, NoticesDep
from longtask_api.ui import shell
from longtask_client import models
from longtask_crds.v1alpha1 import TaskEvent

router = APIRouter(include_in_schema=False, route_class=shell.PageRoute)


@router.get("/account")
async def show_account(
    request: Request, caller: KnownCallerDep, accounts: AccountsDep, notices: NoticesDep
) -> Response:
    """Show who one is here; for whoever is known."""
    tokens = (await accounts.token_list(caller)).items
    return shell.page(
        request,
        "account.html",
        caller=caller,
        here="account",
        me=await accounts.me(caller),
        sessions=[token for token in tokens if token.kind is models.TokenKind.SESSION],
        tokens=[token for token in tokens if token.kind is models.TokenKind.PERSONAL],
        scopes=[act for act in callers.Act if caller.may(act)],
        # As `services.accounts.own` and `services.callback_keys` have it.
        is_session=caller.via is callers.Via.SESSION,
        has_key=caller.may(callers.Act.WRITE),
        # Only users of LongTask's own have an address here.
        wish=(await notices.wish(caller)) if caller.is_local else None,
        task_events=list(TaskEvent),
    )
