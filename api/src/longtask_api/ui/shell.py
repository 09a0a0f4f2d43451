"""What all pages have in common: templates, navigation, headers, and what is shown if one fails."""

import dataclasses
import functools
import hashlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from importlib import resources
from typing import Any, Final
from urllib.parse import quote, urlencode

import jinja2
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from starlette._utils import get_route_path

from longtask_api import errors, wiring
from longtask_api.auth import callers
from longtask_api.http import event_streams, problems
from longtask_api.ui import groups, json_tree, words
from longtask_client import spans, why

_logger = logging.getLogger(__name__)

#: Nothing from elsewhere, and nothing that stands in a page itself, whoever wrote it there.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    # Without any, browsers name no origin to the forms of their own pages either.
    "Referrer-Policy": "same-origin",
}
_UI: Final = resources.files("longtask_api") / "ui"


@dataclasses.dataclass(frozen=True)
class Place:
    """A page that everybody finds at the top of all others."""

    key: str
    name: str
    path: str
    act: callers.Act = callers.Act.READ  #: of those who find it


#: A new page has its line here.
PLACES: Final = (
    Place("tasks", "Tasks", ""),
    Place("schedules", "Schedules", "schedules"),
    Place("queues", "Queues", "queues"),
    Place("types", "Types", "types"),
    Place("told", "Told", "told"),
    Place("subscriptions", "Subscriptions", "subscriptions"),
    Place("trends", "Trends", "trends"),
    Place("health", "Health", "health"),
    Place("audit", "Audit", "audit", callers.Act.MANAGE),
    Place("admin", "Admin", "admin", callers.Act.MANAGE),
)


@functools.cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("longtask_api", "ui/templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "took": words.took,
        "when": spans.when,
        "state_of_schedule": why.state_of_schedule,
        "clock": words.clock,
        "size": words.amount,
        "thousands": lambda number: f"{number:,}",
        "json": json_tree.text,
        "tree": json_tree.tree,
    }
    made.globals |= {"count": words.count, "Act": callers.Act, "Group": groups.Group}
    return made


def page(
    request: Request,
    template: str,
    *,
    caller: callers.Caller | None,
    here: str = "",
    status: int = 200,
    **parts: Any,
) -> Response:
    """Return a page.

    Args:
        request: What is answered.
        template: The file in `templates`.
        caller: Who looks at it; None if nobody knows.
        here: The place among `PLACES` that it belongs to.
        status: The answer's status.
        parts: What the template shows.
    """
    services: wiring.Services = request.app.state.services
    now = services.clock()
    known = {
        "caller": caller,
        "here": here,
        "places": [place for place in PLACES if caller is not None and _finds(caller, place)],
        "may": lambda act: caller is not None and caller.may(act),
        "at": functools.partial(at, request),
        "asset": functools.partial(_asset_url, request),
        "root": _root(request),
        "now": now,
        "ago": functools.partial(_ago, now=now),
        "until": functools.partial(spans.until, now=now),
        "version": request.app.version,
    }
    text = _environment().get_template(template).render(known | parts)
    return HTMLResponse(text, status_code=status, headers=_HEADERS)


def at(request: Request, *segments: object, **query: object) -> str:
    """Return the address of a page, under the prefix where it is published."""
    path = "/".join(quote(str(segment), safe=":") for segment in segments if segment != "")
    asked = {key: value for key, value in query.items() if value not in (None, "", (), [])}
    return _root(request) + path + (f"?{urlencode(asked, doseq=True)}" if asked else "")


def here_of(request: Request) -> str:
    """Return the address that was asked for, to come back to."""
    path = get_route_path(request.scope).lstrip("/")
    asked = request.url.query
    return _root(request) + quote(path, safe="/:") + (f"?{asked}" if asked else "")


def base_url(request: Request) -> str:
    """Return where the API is, for who is outside: as installed, or as it was reached just now."""
    services: wiring.Services = request.app.state.services
    return (services.public_url or f"{request.url.scheme}://{request.url.netloc}").rstrip("/")


def redirect(url: str) -> Response:
    """Return an answer that leads on to another page, read anew."""
    return RedirectResponse(url, status_code=303)


class PageRoute(APIRoute):
    """The route of a page: what goes wrong is a page too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers."""
        answer = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await answer(request)
            except errors.Unauthenticated as error:
                # A stream is led nowhere: the page that has it open asks for itself, and is.
                is_stream = request.headers.get("Accept") == event_streams.MEDIA_TYPE
                return trouble(request, error) if is_stream else _to_login(request)
            except RequestValidationError as error:
                return trouble(request, errors.Invalid(_first_of(error)))
            except Exception as error:
                return trouble(request, error)

        return answered


def trouble(request: Request, error: Exception) -> Response:
    """Return the page that says what went wrong, to who asked for a page."""
    problem = problems.of(error, request.url.path)
    answer = page(request, "error.html", caller=None, status=problem.status, problem=problem)
    if isinstance(error, errors.ApiError):
        answer.headers.update({k: v for k, v in error.headers.items() if k == "Retry-After"})
    return answer


def _to_login(request: Request) -> Response:
    """Lead to the login, and back.

    Who follows a link from elsewhere comes without the cookie, though they are logged in: the page
    asks for itself once more, and a page of ours has it sent.
    """
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        return page(request, "again.html", caller=None, where=here_of(request))
    services: wiring.Services = request.app.state.services
    # Whoever still has the cookie of a session has had one.
    is_over = services.browsers.cookie in request.cookies
    return redirect(at(request, "login", over="true" if is_over else "", next=here_of(request)))


def _first_of(error: RequestValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}"


def _finds(caller: callers.Caller, place: Place) -> bool:
    return caller.is_admin if place.act is callers.Act.MANAGE else caller.may(place.act)


def _root(request: Request) -> str:
    return f"{request.scope.get('root_path', '')}/"


def _ago(moment: datetime | None, now: datetime) -> str:
    return "" if moment is None else f"{spans.span((now - moment).total_seconds())} ago"


# --- files

_ASSETS: Final[Mapping[str, str]] = {
    "tokens.css": "text/css",
    "dashboard.css": "text/css",
    "dashboard.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


def asset(name: str) -> tuple[bytes, str]:
    """Return a file of the pages, and what it is.

    Raises:
        Missing: There is none of that name.
    """
    if name not in _ASSETS:
        raise errors.Missing("There is no such file.")
    return _content(name), _ASSETS[name]


def _asset_url(request: Request, name: str) -> str:
    """Return the address of a file as it is in this version: browsers may keep it for good."""
    return at(request, "assets", name, v=_sum(name))


@functools.cache
def _content(name: str) -> bytes:
    return (_UI / "static" / name).read_bytes()


@functools.cache
def _sum(name: str) -> str:
    return hashlib.sha256(_content(name)).hexdigest()[:12]
