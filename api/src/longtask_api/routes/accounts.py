"""Endpoints of accounts: for everybody, for who is known, for admins."""

from typing import Annotated

from fastapi import APIRouter, Query

from longtask_api.dependencies import (
    AccountsDep,
    AdminDep,
    CallerDep,
    JsonBodyDep,
    KnownCallerDep,
    LoginLimitDep,
    MergePatchDep,
    OptionalJsonBodyDep,
)
from longtask_api.http import openapi
from longtask_client import models

public = APIRouter(tags=["accounts"])
own = APIRouter(tags=["accounts"])
for_admins = APIRouter(tags=["accounts"])

_BODY = (400, 408, 413, 415, 422, 429)


# --- for everybody


@public.post(
    "/register",
    status_code=201,
    operation_id="register",
    responses=openapi.problems(403, 409, 500, 503, *_BODY),
    openapi_extra=openapi.json_body(
        models.Registration,
        {"username": "ada", "password": "correct horse battery", "email": "ada@example.com"},
    ),
)
async def register(
    accounts: AccountsDep, limit: LoginLimitDep, document: JsonBodyDep
) -> models.UserView:
    """Make oneself an account, where the installation lets one; else administrators make them."""
    return await accounts.register(document, limit=limit)


@public.post(
    "/login",
    operation_id="login",
    responses=openapi.problems(401, 403, 500, 503, *_BODY),
    openapi_extra=openapi.json_body(
        models.Login, {"username": "ada", "password": "correct horse battery"}
    ),
)
async def login(
    accounts: AccountsDep, limit: LoginLimitDep, document: JsonBodyDep
) -> models.LoggedIn:
    """Get a token for username and password; it is good for some hours."""
    return await accounts.login(document, limit=limit)


# --- for who is known, about themselves


@own.post("/logout", status_code=204, operation_id="logout", responses=openapi.problems(403))
async def logout(caller: KnownCallerDep, accounts: AccountsDep) -> None:
    """End the token that this request carries."""
    await accounts.logout(caller)


@own.get("/me", operation_id="getMe")
async def get_me(caller: KnownCallerDep, accounts: AccountsDep) -> models.Me:
    """Tell who one is here, and what one may do."""
    return await accounts.me(caller)


@own.post(
    "/me/password",
    status_code=204,
    operation_id="changePassword",
    responses=openapi.problems(403, 409, *_BODY),
    openapi_extra=openapi.json_body(
        models.PasswordChange, {"current": "correct horse battery", "new": "staple of my own"}
    ),
)
async def change_password(
    caller: KnownCallerDep, accounts: AccountsDep, limit: LoginLimitDep, document: JsonBodyDep
) -> None:
    """Change one's password. All other sessions end; tokens for programs stay."""
    await accounts.change_password(caller, document, limit=limit)


@own.get("/tokens", operation_id="listTokens")
async def list_tokens(caller: KnownCallerDep, accounts: AccountsDep) -> models.TokenList:
    """List one's sessions and tokens, without what is secret of them."""
    return await accounts.token_list(caller)


@own.post(
    "/tokens",
    status_code=201,
    operation_id="createToken",
    responses=openapi.problems(403, 409, *_BODY),
    openapi_extra=openapi.json_body(
        models.TokenOrder, {"name": "nightly", "scopes": ["read", "write"], "expiresInDays": 30}
    ),
)
async def create_token(
    caller: KnownCallerDep, accounts: AccountsDep, document: JsonBodyDep
) -> models.NewToken:
    """Make a token for programs of one's own. It is shown this once."""
    return await accounts.make_token(caller, document)


@own.delete(
    "/tokens/{token_id}",
    status_code=204,
    operation_id="deleteToken",
    responses=openapi.problems(403, 404),
)
async def delete_token(caller: KnownCallerDep, accounts: AccountsDep, token_id: str) -> None:
    """End a session or a token of one's own: it is refused within five seconds everywhere."""
    await accounts.delete_token(caller, token_id)


# --- for admins


@for_admins.get("/users", operation_id="listUsers", responses=openapi.problems(400, 403))
async def list_users(
    caller: CallerDep,
    admin: AdminDep,
    limit: Annotated[int, Query(ge=1, le=500, description="At most so many.")] = 50,
    cursor: openapi.Cursor = None,
) -> models.UserPage:
    """List users, by name and page by page. For admins."""
    return await admin.user_page(caller, limit=limit, cursor=cursor)


@for_admins.post(
    "/users",
    status_code=201,
    operation_id="createUser",
    responses=openapi.problems(403, 409, *_BODY),
    openapi_extra=openapi.json_body(
        models.UserOrder, {"username": "ada", "email": "ada@example.com", "role": "admin"}
    ),
)
async def create_user(caller: CallerDep, admin: AdminDep, document: JsonBodyDep) -> models.NewUser:
    """Make a user, with a password to begin with that is shown this once. For admins."""
    return await admin.make_user(caller, document)


@for_admins.get("/users/{username}", operation_id="getUser", responses=openapi.problems(403, 404))
async def get_user(caller: CallerDep, admin: AdminDep, username: str) -> models.UserView:
    """Look at a user. For admins."""
    return await admin.find_user(caller, username)


@for_admins.patch(
    "/users/{username}",
    operation_id="changeUser",
    responses=openapi.problems(403, 404, *_BODY),
    openapi_extra=openapi.json_body(models.UserChange, {"disabled": True}),
)
async def change_user(
    caller: CallerDep, admin: AdminDep, username: str, document: MergePatchDep
) -> models.UserView:
    """Give a user another role, keep them out, or let them in again. For admins."""
    return await admin.change_user(caller, username, document)


@for_admins.delete(
    "/users/{username}",
    status_code=204,
    operation_id="deleteUser",
    responses=openapi.problems(403, 404),
)
async def delete_user(caller: CallerDep, admin: AdminDep, username: str) -> None:
    """Delete an account with its tokens. Its tasks stay, and nobody gets its name. For admins."""
    await admin.delete_user(caller, username)


@for_admins.post(
    "/users/{username}:reset-password",
    operation_id="resetPassword",
    responses=openapi.problems(403, 404, 409, 429),
)
async def reset_password(caller: CallerDep, admin: AdminDep, username: str) -> models.NewPassword:
    """Give a user a made-up password, shown this once, and end all their tokens. For admins."""
    return await admin.reset_password(caller, username)


@for_admins.get("/invites", operation_id="listInvites", responses=openapi.problems(403))
async def list_invites(caller: CallerDep, admin: AdminDep) -> models.InviteList:
    """List the invitations that nobody has taken yet. For admins."""
    return await admin.invite_list(caller)


@for_admins.post(
    "/invites",
    status_code=201,
    operation_id="createInvite",
    responses=openapi.problems(403, *_BODY),
    openapi_extra=openapi.json_body(
        models.InviteOrder, {"role": "user", "note": "Grace", "expiresInDays": 7}
    ),
)
async def create_invite(
    caller: CallerDep, admin: AdminDep, document: OptionalJsonBodyDep
) -> models.NewInvite:
    """Invite somebody to register, once. What they register with is shown this once. For admins."""
    return await admin.make_invite(caller, document)


@for_admins.delete(
    "/invites/{invite_id}",
    status_code=204,
    operation_id="deleteInvite",
    responses=openapi.problems(403, 404),
)
async def delete_invite(caller: CallerDep, admin: AdminDep, invite_id: str) -> None:
    """Take an invitation back. For admins."""
    await admin.delete_invite(caller, invite_id)
