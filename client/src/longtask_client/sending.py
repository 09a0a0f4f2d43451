"""How both clients speak HTTP, as far as it is the same: the only modules that know httpx."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import httpx

from longtask_client import errors, exchange

_P = ParamSpec("_P")
_C = TypeVar("_C")
_T = TypeVar("_T")
_CONNECT_TIMEOUT = 5.0


def headers(token: str | None) -> dict[str, str]:
    """Return what every request says."""
    said = {"User-Agent": "longtask-client", "Accept": f"application/json, {exchange.PROBLEM}"}
    return said | {"Authorization": f"Bearer {token}"} if token else said


def built(http: httpx.Client | httpx.AsyncClient, request: exchange.Request) -> httpx.Request:
    """Return the request as httpx has it."""
    first = exchange.TIMEOUT if request.timeout is None else request.timeout
    return http.build_request(
        request.method,
        request.path,
        params=request.query,
        json=request.body,
        headers=dict(request.headers),
        timeout=httpx.Timeout(first, connect=_CONNECT_TIMEOUT, read=request.timeout),
    )


def answer(http: httpx.Client | httpx.AsyncClient, response: httpx.Response) -> exchange.Answer:
    """Return what came back; the content of what is read piece by piece is still to come.

    Which state of things has what was written is said with each request from then on: so that it is
    seen whichever replica answers. One that cannot get there is asked for what it has.
    """
    if exchange.VERSION in response.headers:
        http.headers[exchange.VERSION] = response.headers[exchange.VERSION]
    elif response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        http.headers.pop(exchange.VERSION, None)
    return exchange.Answer(
        url=str(response.url.copy_with(query=None)),
        status=response.status_code,
        phrase=response.reason_phrase,
        headers=response.headers,
        content=response.content if response.is_stream_consumed else b"",
    )


def unreachable(error: httpx.HTTPError) -> errors.ConnectionFailed:
    """Return what a failure of httpx means."""
    reason = str(error) or type(error).__name__
    return errors.ConnectionFailed(f"No answer from {error.request.url.host}: {reason}")


def like(function: Callable[..., Any], method: _T) -> _T:
    """Give a method the name, docstring and arguments of the function that it stands for."""
    named: Any = functools.update_wrapper(method, function)  # type: ignore[arg-type]  # it is one
    del named.__wrapped__  # whose arguments `inspect` would show, without the first
    named.__name__ = function.__name__.rstrip("_")
    signature = inspect.signature(function)
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    named.__signature__ = signature.replace(
        parameters=[itself, *signature.parameters.values()],
        return_annotation=inspect.Signature.empty,
    )
    return method


def of_task(
    method: Callable[Concatenate[_C, str, _P], _T],
) -> Callable[Concatenate[Any, _P], _T]:
    """Return the method of a task that calls this one of its client."""

    def called(task: Any, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return method(task._client, task.id, *args, **kwargs)

    functools.update_wrapper(called, method)
    signature = inspect.signature(method)
    itself, _, *others = signature.parameters.values()
    vars(called)["__signature__"] = signature.replace(parameters=[itself, *others])
    return called
