"""Every error as `application/problem+json` (RFC 9457)."""

import http
import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from longtask_api import errors
from longtask_client import models
from longtask_crds.json_values import pointer

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:longtask:problem:"
_PARAMETER_PLACES = {"query", "path", "header", "cookie"}


def response(error: errors.ApiError, path: str) -> Response:
    """Return what the client reads of the error."""
    problem = models.Problem(
        type=_TYPE + error.kind,
        title=error.title(),
        status=error.status,
        detail=error.detail,
        instance=path,
        errors=list(error.errors),
    )
    return Response(
        problem.model_dump_json(by_alias=True, exclude_none=True),
        status_code=error.status,
        media_type=MEDIA_TYPE,
        headers=error.headers,
    )


def install(app: FastAPI) -> None:
    """Let the application tell every error that way."""
    app.add_exception_handler(errors.ApiError, _ours)
    app.add_exception_handler(HTTPException, _frameworks)
    app.add_exception_handler(RequestValidationError, _parameters)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.ApiError)
    if error.status >= 500:
        log.warning("Could not answer: %s", error)
    return response(error, request.url.path)


async def _frameworks(request: Request, error: Exception) -> Response:
    """Translate what the router says: no such route, or not with this method."""
    assert isinstance(error, HTTPException)
    status = http.HTTPStatus(error.status_code)
    problem = models.Problem(
        type=_TYPE + status.phrase.lower().replace(" ", "-"),
        title=status.phrase,
        status=status,
        instance=request.url.path,
    )
    return Response(
        problem.model_dump_json(by_alias=True, exclude_none=True),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers=error.headers,
    )


async def _parameters(request: Request, error: Exception) -> Response:
    """Translate FastAPI's findings; a parameter is named, a body's field gets its pointer."""
    assert isinstance(error, RequestValidationError)
    found = []
    for one in error.errors():
        place, *parts = one["loc"]
        where = str(parts[0]) if place in _PARAMETER_PLACES and parts else pointer(*parts)
        found.append(models.ProblemError(pointer=where, detail=one["msg"]))
    return response(errors.Invalid(errors=found), request.url.path)
