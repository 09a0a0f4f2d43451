"""Endpoints of queues."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from longtask_api.dependencies import CallerDep, QueuesDep
from longtask_api.http import answers, openapi
from longtask_client import models

router = APIRouter(prefix="/queues", tags=["queues"])


@router.get("", response_model=models.QueueList, operation_id="listQueues")
async def list_queues(caller: CallerDep, queues: QueuesDep) -> Response:
    """List all queues: who may run, who does, how many wait."""
    return answers.json(queues.all(caller))


@router.get(
    "/{name}",
    response_model=models.QueueContent,
    operation_id="getQueue",
    responses=openapi.problems(400, 404, 422),
)
async def get_queue(
    request: Request,
    caller: CallerDep,
    queues: QueuesDep,
    name: str,
    limit: Annotated[int, Query(ge=1, le=500, description="At most so many tasks.")] = 50,
    cursor: openapi.Cursor = None,
) -> Response:
    """Look at a queue, and page by page at the tasks that wait in it, the next one first."""
    found = await queues.get(caller, name, limit=limit, cursor=cursor)
    return answers.json(found, headers=answers.next_page(request, found.next_cursor))


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
