"""Endpoints of queues."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from longtask_api.dependencies import CallerDep, QueuesDep
from longtask_api.http import answers, openapi
from longtask_client import models

router = APIRouter(prefix="/queues", tags=["queues"])

_KNOWN: dict[int | str, dict[str, Any]] = {304: {"description": "It is as it was."}}
_IfNoneMatch = Annotated[str | None, Header(description="The ETag that is known.")]


@router.get("", response_model=models.QueueList, operation_id="listQueues", responses=_KNOWN)
async def list_queues(
    caller: CallerDep, queues: QueuesDep, if_none_match: _IfNoneMatch = None
) -> Response:
    """List all queues: who may run, who does, how many wait."""
    return answers.unless_known(answers.json(queues.all(caller)), if_none_match)


@router.get(
    "/{name}",
    response_model=models.QueueContent,
    operation_id="getQueue",
    responses=_KNOWN | openapi.problems(400, 404, 422),
)
async def get_queue(
    caller: CallerDep,
    queues: QueuesDep,
    name: str,
    limit: Annotated[int, Query(ge=1, le=500, description="At most so many tasks.")] = 50,
    cursor: Annotated[str | None, Query(description="`nextCursor` of the page before.")] = None,
    if_none_match: _IfNoneMatch = None,
) -> Response:
    """Look at a queue, and page by page at the tasks that wait in it, the next one first."""
    found = await queues.get(caller, name, limit=limit, cursor=cursor)
    return answers.unless_known(answers.json(found), if_none_match)


@router.post(
    "/{name}:pause",
    response_model=models.QueueView,
    operation_id="pauseQueue",
    responses=openapi.problems(403, 404, 409, 429),
)
async def pause_queue(caller: CallerDep, queues: QueuesDep, name: str) -> Response:
    """Let a queue start no task from now on. Those that run go on. For admins."""
    return answers.json(await queues.pause(caller, name, paused=True))


@router.post(
    "/{name}:resume",
    response_model=models.QueueView,
    operation_id="resumeQueue",
    responses=openapi.problems(403, 404, 409, 429),
)
async def resume_queue(caller: CallerDep, queues: QueuesDep, name: str) -> Response:
    """Let a paused queue start tasks again. For admins."""
    return answers.json(await queues.pause(caller, name, paused=False))
