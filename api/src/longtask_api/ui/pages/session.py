"""Who one is: log in, register, log out; and the files of all pages. They are public."""

import asyncio
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from fastapi import APIRouter, Depends, Request, Response

from longtask_api import errors, wiring
from longtask_api.dependencies import (
    AccountsDep,
    KnownCallerDep,
    LoginLimitDep,
    check_origin,
    get_services,
)
from longtask_api.http import problems
from longtask_api.settings import Registration
from longtask_api.ui import shell
from longtask_client import models

public = APIRouter(include_in_schema=False, route_class=shell.PageRoute)
files = APIRouter(include_in_schema=False)
own = APIRouter(include_in_schema=False, route_class=shell.PageRoute)

_MOST_FIELDS = 10
_BODY_SECONDS = 60.0

_Services = Annotated[wiring.Services, Depends(get_services)]


@files.get("/assets/{name}")
async def get_asset(name: str) -> Response:
    """Serve a file of the pages. Its address changes with it."""
    content, media_type = shell.asset(name)
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(content, media_type=media_type, headers=headers)


@public.get("/login")
async def show_login(
    request: Request,
    services: _Services,
    next: str = "",  # noqa: A002 - the parameter's public name
    over: bool = False,
) -> Response:
    """Show the form; with `over` to somebody whose session has just ended."""
    if services.credentials.insecure:
        return shell.redirect(_back(request, next))
    return _form(request, services, "login.html", next, is_over=over)


@public.post("/login", operation_id="login")
async def log_in(
    request: Request, services: _Services, accounts: AccountsDep, limit: LoginLimitDep
) -> Response:
    """Begin a session, and go where one wanted to go."""
    given = await _given(request, services)
    order = {key: given.get(key, "") for key in ("username", "password")}
    try:
        made = await accounts.login(order, limit=limit)
    except errors.ApiError as error:
        return _form(request, services, "login.html", given.get("next", ""), given, error)
    return _begun(request, services, made, given)


@public.get("/register")
async def show_register(
    request: Request,
    services: _Services,
    next: str = "",  # noqa: A002 - the parameter's public name
    invite: str = "",
) -> Response:
    """Show the form, where one may make oneself an account."""
    return _form(request, services, "register.html", next, {"invite": invite})


@public.post("/register", operation_id="register")
async def register(
    request: Request, services: _Services, accounts: AccountsDep, limit: LoginLimitDep
) -> Response:
    """Make an account, and begin a session of it."""
    given = await _given(request, services)
    order = {key: given.get(key, "") for key in ("username", "password", "email")}
    if given.get("invite"):
        order["invite"] = given["invite"]
    try:
        await accounts.register(order, limit=limit)
        made = await accounts.login(
            {key: order[key] for key in ("username", "password")}, limit=limit
        )
    except errors.ApiError as error:
        return _form(request, services, "register.html", given.get("next", ""), given, error)
    return _begun(request, services, made, given)


@own.post("/logout", operation_id="logout")
async def log_out(
    request: Request, services: _Services, caller: KnownCallerDep, accounts: AccountsDep
) -> Response:
    """End the session."""
    await accounts.logout(caller)
    answer = shell.redirect(shell.at(request, "login"))
    is_plain = services.browsers.is_plain
    answer.delete_cookie(
        services.browsers.cookie, secure=not is_plain, httponly=True, samesite="strict"
    )
    return answer


def _begun(
    request: Request, services: wiring.Services, made: models.LoggedIn, given: dict[str, str]
) -> Response:
    answer = shell.redirect(_back(request, given.get("next", "")))
    answer.set_cookie(
        services.browsers.cookie,
        made.token,
        expires=made.expires_at,
        path="/",
        secure=not services.browsers.is_plain,
        httponly=True,
        samesite="strict",
    )
    return answer


def _form(
    request: Request,
    services: wiring.Services,
    template: str,
    next_: str,
    given: dict[str, str] | None = None,
    error: errors.ApiError | None = None,
    *,
    is_over: bool = False,
) -> Response:
    problem = problems.of(error) if error else None
    wrong = {one.pointer: one.detail for one in error.errors} if error else {}
    answer = shell.page(
        request,
        template,
        caller=None,
        status=problem.status if problem else 200,
        next=next_,
        given=given or {},
        is_over=is_over,
        problem=problem,
        wrong=wrong,
        registration=services.accounts.registration,
        Registration=Registration,
    )
    # The browser would ask for a password itself, or not know what to ask for.
    if error is not None:
        answer.headers.update({k: v for k, v in error.headers.items() if k == "Retry-After"})
    return answer


async def _given(request: Request, services: wiring.Services) -> dict[str, str]:
    """Return the fields of the form that a page of ours sent.

    Raises:
        Forbidden: It is another's page.
        UnsupportedMedia, SlowBody: It is no form, or does not arrive.
    """
    check_origin(request, services, is_needed=True)
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise errors.UnsupportedMedia("Send it as application/x-www-form-urlencoded.")
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await request.body()
    except TimeoutError as error:
        raise errors.SlowBody from error
    try:
        text = body.decode()
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise errors.Malformed("It is no form.") from error


def _back(request: Request, wanted: str) -> str:
    """Return where one wanted to go, if that is a page of ours; else the first one."""
    root, parts = shell.at(request), urlsplit(wanted)
    is_ours = (
        wanted.startswith(root)
        and not (parts.scheme or parts.netloc)
        # A browser takes `\\` for `/`, and leaves out what does not print.
        and wanted.isprintable()
        and "\\" not in wanted
        and not wanted.startswith("//")
    )
    return wanted if is_ours else root
