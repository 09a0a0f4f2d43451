"""Every error as `application/problem+json` (RFC 9457)."""

import http
import logging
import math
import re
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import iter_route_contexts
from starlette._utils import get_route_path
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from longtask_adapters.kube import errors as kube
from longtask_api import errors
from longtask_client import models
from longtask_crds.json_values import pointer

_logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:longtask:problem:"
_PLACES = frozenset(models.Place)


def of(error: Exception, path: str | None = None) -> models.Problem:
    """Return what the client reads of an error, foreseen or not."""
    if isinstance(error, kube.ClusterError):
        error = of_cluster(error)
    if not isinstance(error, errors.ApiError):
        _logger.error("Failed to answer", exc_info=error)
        error = errors.ApiError()
    return models.Problem(
        type=_TYPE + error.kind,
        title=error.title(),
        status=error.status,
        detail=error.detail,
        instance=path,
        errors=list(error.errors),
    )


def response(error: errors.ApiError, path: str) -> Response:
    """Return the answer that tells the error."""
    return _response(of(error, path), error.status, error.headers)


def of_cluster(error: kube.ClusterError) -> errors.ApiError:
    """Return what it means to a client that Kubernetes did not do as asked."""
    match error:
        case kube.NoRight():
            _logger.error("The API's own account lacks a right", extra={"cause": str(error)})
            return errors.Unavailable("The API lacks a right in the cluster.")
        case kube.Forbidden():
            return errors.Forbidden(str(error))
        case kube.Rejected():
            found = [errors.finding(order_pointer(c.field), c.message) for c in error.causes]
            return errors.Invalid(str(error), errors=found)
        case kube.Conflict():
            return errors.Clash(str(error))
        case kube.TooManyRequests(retry_after=None):
            return errors.TooManyRequests(str(error))
        case kube.TooManyRequests(retry_after=float(seconds)):
            after = {"Retry-After": str(math.ceil(seconds))}
            return errors.TooManyRequests(str(error), headers=after)
        case kube.Unavailable() | kube.Expired():
            _logger.warning("Kubernetes does not answer", extra={"cause": str(error)})
            return errors.Unavailable("Kubernetes does not answer.")
        case _:
            # What is not there was asked for by ourselves: to say 404 would be a guess.
            _logger.error("Kubernetes said what nobody foresaw", exc_info=error)
            return errors.ApiError()


def order_pointer(field: str) -> str:
    """Return where in an order the API server's field stands: `spec.a[0].b` is `/a/0/b`."""
    parts = [part for part in re.split(r"[.\[\]]+", field) if part]
    if parts[:1] in (["spec"], ["metadata"]):
        return pointer(*parts[1:])
    return ""


def install(app: FastAPI) -> None:
    """Let the application tell every error that way."""
    app.add_exception_handler(errors.ApiError, _ours)
    app.add_exception_handler(kube.ClusterError, _kubernetes)
    app.add_exception_handler(HTTPException, _frameworks)
    app.add_exception_handler(RequestValidationError, _parameters)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.ApiError)
    if error.status >= 500:
        _logger.warning("Could not answer", extra={"cause": str(error)})
    return response(error, request.url.path)


async def _kubernetes(request: Request, error: Exception) -> Response:
    assert isinstance(error, kube.ClusterError)
    return response(of_cluster(error), request.url.path)


async def _frameworks(request: Request, error: Exception) -> Response:
    """Translate what the router says: no such route, or not with this method."""
    assert isinstance(error, HTTPException)
    status = http.HTTPStatus(error.status_code)
    headers = error.headers
    if status is http.HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"Allow": ", ".join(_allowed(request))}
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=headers)
    problem = models.Problem(
        type=_TYPE + status.phrase.lower().replace(" ", "-"),
        title=status.phrase,
        status=status,
        instance=request.url.path,
    )
    return _response(problem, status, headers)


def _allowed(request: Request) -> list[str]:
    """Return all methods of the path: the router names those of one route."""
    path = get_route_path(request.scope)
    found: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        # To the router `a:cancel` is also the name of a task.
        template = route.path_format or ""
        if (":" in path) == (":" in template) and compile_path(template)[0].match(path):
            found |= set(route.methods or ())
    return sorted(found | {"OPTIONS"} | ({"HEAD"} if "GET" in found else set()))


async def _parameters(request: Request, error: Exception) -> Response:
    """Translate FastAPI's findings; a parameter is named, a body's field gets its pointer."""
    assert isinstance(error, RequestValidationError)
    found = []
    for one in error.errors():
        place, *parts = one["loc"]
        if place in _PLACES:
            found.append(errors.outside(models.Place(place), str(parts[0]), one["msg"]))
        else:
            found.append(errors.finding(pointer(*parts), one["msg"]))
    return response(errors.Invalid(errors=found), request.url.path)


def _response(problem: models.Problem, status: int, headers: Mapping[str, str] | None) -> Response:
    return Response(
        problem.model_dump_json(by_alias=True, exclude_none=True),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers=headers,
    )
