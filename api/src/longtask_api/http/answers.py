"""What answers have in common: JSON as it is, validators, what the client would like."""

import dataclasses
import functools
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette._utils import get_route_path

from longtask_api import errors
from longtask_client import models

#: When to ask again for what will be different soon.
RETRY_SOON: Final = {"Retry-After": "1"}

_LONGEST_WAIT = 60


def json(
    model: BaseModel,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    only: Any = None,
) -> Response:
    """Return the model as it is, without FastAPI checking our own work again.

    Args:
        model: The model.
        status: The answer's status.
        headers: Further headers.
        only: What of it is shown, as pydantic takes it; all when None.
    """
    return Response(
        model.model_dump_json(by_alias=True, include=only),
        status_code=status,
        media_type="application/json",
        headers=headers,
    )


def fields(model: type[BaseModel], wanted: str | None) -> set[str] | None:
    """Return which attributes of the model `id,phase` asks for; None for all of them.

    Raises:
        Invalid: It has no such field.
    """
    if wanted is None:
        return None
    known = _fields_of(model)
    asked = [name.strip() for name in wanted.split(",")]
    if unknown := [name for name in asked if name not in known]:
        wrong = f"there is no field {unknown[0][:64]!r}; there are {', '.join(known)}"
        raise errors.Invalid(errors=[errors.outside(models.Place.QUERY, "fields", wrong)])
    return {known[name] for name in asked}


@functools.cache
def _fields_of(model: type[BaseModel]) -> dict[str, str]:
    return {field.alias or name: name for name, field in model.model_fields.items()}


def next_page(request: Request, cursor: str | None) -> dict[str, str]:
    """Return the header that leads to the next page of this list, if there is one."""
    if cursor is None:
        return {}
    asked = [(key, value) for key, value in request.query_params.multi_items() if key != "cursor"]
    path = request.scope.get("root_path", "") + get_route_path(request.scope)
    return {"Link": f'<{path}?{urlencode([*asked, ("cursor", cursor)])}>; rel="next"'}


def versioned(answer: Response, version: str) -> Response:
    """Give the answer an ETag that says which version of the resource was shown.

    The rest is of what is shown: a place in a queue moves while the resource stays.
    """
    answer.headers["ETag"] = f'"{version}-{sum_of(bytes(answer.body))}"'
    return answer


def versions(if_match: str | None) -> frozenset[str] | None:
    """Return which versions the client takes for the present one; None if it takes any."""
    if if_match is None or if_match.strip() == "*":
        return None
    tags = (tag.strip() for tag in if_match.split(","))
    return frozenset(tag.strip('"').partition("-")[0] for tag in tags if tag.startswith('"'))


def sum_of(body: bytes) -> str:
    """Return what tells a body from others."""
    return hashlib.sha256(body).hexdigest()[:32]


def is_known(if_none_match: str, etag: str) -> bool:
    """Tell whether the client has what has this ETag."""
    known = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return "*" in known or etag in known


@dataclasses.dataclass(frozen=True)
class Conditions:
    """What a client knows of some bytes, and which of them it wants."""

    if_none_match: str | None = None
    if_range: str | None = None
    range: str | None = None


def of_bytes(
    read: Callable[[int, int], AsyncIterator[bytes]],
    *,
    size: int,
    media_type: str,
    sha256: str,
    conditions: Conditions | None = None,
) -> Response:
    """Return bytes as RFC 9110 says: all of them, a range of them, or that they are known.

    Args:
        read: Yields the bytes from a place to before another.
        size: How many there are.
        media_type: What they are.
        sha256: Their sum: what tells them from others.
        conditions: What the request said, if it was heard.

    Raises:
        NoSuchRange: The range begins behind their end.
    """
    conditions = conditions or Conditions()
    etag = f'"{sha256}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes"}
    if conditions.if_none_match is not None and is_known(conditions.if_none_match, etag):
        return Response(status_code=304, headers=headers)
    wanted = None
    if conditions.range is not None and conditions.if_range in (None, etag):
        wanted = range_of(conditions.range, size)
    start, end = wanted or (0, size)
    headers["Content-Length"] = str(end - start)
    if wanted is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return StreamingResponse(
        read(start, end),
        status_code=200 if wanted is None else 206,
        media_type=media_type,
        headers=headers,
    )


def range_of(header: str, size: int) -> tuple[int, int] | None:
    """Return where the wanted range begins and before what it ends; None for all there is.

    One that cannot be read, and several at once, are all there is: a server may say so.

    Raises:
        NoSuchRange: It begins behind the end.
    """
    match = re.fullmatch(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", header, re.IGNORECASE)
    if match is None or not any(match.groups()):
        return None
    first, last = (int(number) if number else None for number in match.groups())
    if first is None:
        first, last = max(0, size - (last or 0)), None
    if last is not None and last < first:
        return None
    if first >= size:
        raise errors.NoSuchRange(
            f"There are {size} bytes.", headers={"Content-Range": f"bytes */{size}"}
        )
    return first, size if last is None else min(last + 1, size)


def wait_of(prefer: str | None) -> int | None:
    """Return how many seconds the client would like to wait: `wait=N` of `Prefer` (RFC 7240)."""
    match = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,6})", prefer or "", re.IGNORECASE)
    return min(int(match[1]), _LONGEST_WAIT) if match else None
