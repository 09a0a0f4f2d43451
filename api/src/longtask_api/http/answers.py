"""What answers have in common: JSON as it is, validators, what the client would like."""

import dataclasses
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

from fastapi import Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from longtask_api import errors

#: When to ask again for what will be different soon.
RETRY_SOON: Final = {"Retry-After": "1"}

_LONGEST_WAIT = 60


def json(
    model: BaseModel, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the model as it is, without FastAPI checking our own work again."""
    return Response(
        model.model_dump_json(by_alias=True),
        status_code=status,
        media_type="application/json",
        headers=headers,
    )


def unless_known(answer: Response, if_none_match: str | None) -> Response:
    """Give the answer an ETag; if the client knows that one, return a 304 in its place."""
    # Of what is shown, not of the resource: a place in a queue moves while the resource stays.
    etag = f'"{hashlib.sha256(bytes(answer.body)).hexdigest()[:32]}"'
    answer.headers["ETag"] = etag
    if if_none_match is None or not _matches(if_none_match, etag):
        return answer
    kept = {k: v for k, v in answer.headers.items() if not k.startswith("content-")}
    return Response(status_code=304, headers=kept)


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
    if conditions.if_none_match is not None and _matches(conditions.if_none_match, etag):
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


def _matches(if_none_match: str, etag: str) -> bool:
    known = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return "*" in known or etag in known
