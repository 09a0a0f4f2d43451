"""What endpoints get handed."""

import asyncio
from typing import Annotated, Any

from fastapi import Depends, Request

from longtask_api import backend, errors, json_text

_BODY_SECONDS = 60.0


def get_backend(request: Request) -> backend.Backend:
    """Return what the application was built on."""
    found: backend.Backend = request.app.state.backend
    return found


BackendDep = Annotated[backend.Backend, Depends(get_backend)]


async def require_synced(found: BackendDep) -> None:
    """Answer only from caches that have been filled."""
    found.check_synced()


async def json_body(request: Request) -> Any:
    """Return the JSON that the request brings.

    Raises:
        UnsupportedMedia: It calls itself something else.
        SlowBody: It does not arrive in time.
        Malformed: It is no JSON.
    """
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise errors.UnsupportedMedia("Send it as application/json.")
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await request.body()
    except TimeoutError as error:
        raise errors.SlowBody from error
    return json_text.loads(body)


JsonBody = Annotated[Any, Depends(json_body)]
