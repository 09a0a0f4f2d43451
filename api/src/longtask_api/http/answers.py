"""What answers have in common: JSON as it is, validators, what the client would like."""

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from fastapi import Response
from pydantic import BaseModel

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


def wait_of(prefer: str | None) -> int | None:
    """Return how many seconds the client would like to wait: `wait=N` of `Prefer` (RFC 7240)."""
    match = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,6})", prefer or "", re.IGNORECASE)
    return min(int(match[1]), _LONGEST_WAIT) if match else None


def _matches(if_none_match: str, etag: str) -> bool:
    known = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return "*" in known or etag in known
