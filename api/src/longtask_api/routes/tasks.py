"""Endpoints of tasks."""

import contextlib
import hashlib
import re
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from longtask_api import dependencies, errors, openapi
from longtask_api.dependencies import BackendDep
from longtask_api.services import listing, task_logs, views
from longtask_client import models
from longtask_crds import json_values, v1alpha1

router = APIRouter(prefix="/tasks", tags=["tasks"])

_LONGEST_WAIT = 60
#: When to ask again for a task that is not finished.
_RETRY_AFTER = {"Retry-After": "1"}


@router.post(
    "",
    status_code=202,
    response_model=models.TaskView,
    operation_id="createTask",
    responses={
        200: {"model": models.TaskView, "description": "The same request made this task before."},
        202: {"description": "The task is stored and will run.", **openapi.TASK_LINKS},
        **openapi.problems(400, 403, 408, 409, 413, 415, 422, 429),
    },
    callbacks=openapi.CALLBACKS.routes,
    openapi_extra=openapi.ORDER_BODY,
)
async def create_task(
    backend: BackendDep,
    document: dependencies.JsonBody,
    idempotency_key: Annotated[
        str | None, Header(description="The same key and order again: the same task.")
    ] = None,
) -> Response:
    """Hand over a task. It runs as soon as its queue lets it."""
    written = await backend.tasks.submit(document, header_key=idempotency_key)
    headers = {"Location": written.view.links["self"]} | _RETRY_AFTER
    return _json(written.view, status=202 if written.changed else 200, headers=headers)


@router.get(
    "",
    response_model=models.TaskPage,
    operation_id="listTasks",
    responses=openapi.problems(400, 422),
)
async def list_tasks(
    backend: BackendDep,
    phase: Annotated[list[v1alpha1.Phase], Query(description="One of these phases.")] = [],  # noqa: B006 - FastAPI copies it
    queue: Annotated[str | None, Query(description="In this queue.")] = None,
    type: Annotated[str | None, Query(description="Of this type.")] = None,  # noqa: A002 - the parameter's public name
    owner: Annotated[str | None, Query(description="Of this owner.")] = None,
    label: Annotated[list[str], Query(description="With these labels: `a=b,c=d`.")] = [],  # noqa: B006 - FastAPI copies it
    sort: Annotated[models.SortOrder, Query(description="In this order.")] = (
        models.SortOrder.NEWEST
    ),
    limit: Annotated[int, Query(ge=1, le=500, description="At most so many.")] = 50,
    cursor: Annotated[str | None, Query(description="`nextCursor` of the page before.")] = None,
) -> Response:
    """List tasks, page by page."""
    wanted = listing.Filter(
        phases=tuple(phase),
        queue=queue,
        type=type,
        owner=owner,
        labels=listing.parse_selectors(label),
    )
    return _json(backend.tasks.page(wanted, sort=sort, limit=limit, cursor=cursor))


@router.get(
    "/{task_id}",
    response_model=models.TaskView,
    operation_id="getTask",
    responses={304: {"description": "It is as it was."}, **openapi.problems(404)},
)
async def get_task(
    backend: BackendDep,
    task_id: str,
    prefer: Annotated[
        str | None,
        Header(description="`wait=30`: answer when it is finished, or after 30 seconds."),
    ] = None,
    if_none_match: Annotated[str | None, Header(description="The ETag that is known.")] = None,
) -> Response:
    """Look at a task."""
    seconds = wait_of(prefer)
    headers = {}
    if seconds is None:
        task = await backend.tasks.get(task_id)
    else:
        headers["Preference-Applied"] = f"wait={seconds}"
        task = await backend.tasks.wait(task_id, within=seconds)
    if not task.is_finished:
        headers |= _RETRY_AFTER
    answer = _json(backend.tasks.view(task), headers=headers)
    etag = f'"{hashlib.sha256(bytes(answer.body)).hexdigest()[:32]}"'
    answer.headers["ETag"] = etag
    if if_none_match is not None and _matches(if_none_match, etag):
        return Response(status_code=304, headers={"ETag": etag, **headers})
    return answer


@router.get(
    "/{task_id}/state",
    response_model=models.TaskState,
    operation_id="getTaskState",
    responses=openapi.problems(404),
)
async def get_task_state(backend: BackendDep, task_id: str) -> Response:
    """Look at a task's phase and progress only."""
    return _json(views.state_view(await backend.tasks.get(task_id)))


@router.get(
    "/{task_id}/result",
    operation_id="getTaskResult",
    responses={
        200: {
            "description": "What the program brought; null if nothing, or if it failed.",
            "content": {"application/json": {"schema": {}, "example": {"value": "55"}}},
        },
        **openapi.problems(404, 409, 501),
    },
    response_class=Response,
)
async def get_task_result(backend: BackendDep, task_id: str) -> Response:
    """Get a finished task's result as it is."""
    task = await backend.tasks.get(task_id)
    if not task.is_finished:
        raise errors.Clash("The task is not finished yet.")
    result = task.status.result or v1alpha1.Result()
    if result.ref is not None:
        raise errors.NotKept("Results that are kept outside the resource cannot be read yet.")
    return Response(json_values.compact(result.value), media_type="application/json")


@router.get(
    "/{task_id}/logs",
    operation_id="getTaskLogs",
    responses={
        200: {"description": "The log.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **openapi.problems(404, 409, 422),
    },
    response_class=Response,
)
async def get_task_logs(
    backend: BackendDep,
    request: Request,
    task_id: str,
    follow: Annotated[bool, Query(description="Go on until the attempt ends.")] = False,
    attempt: Annotated[
        int | None, Query(ge=1, description="The attempt's number; the last when absent.")
    ] = None,
) -> Response:
    """Read a task's log, as long as its pod is there."""
    if "step" in request.query_params:
        wrong = models.ProblemError(pointer="step", detail="steps are not supported yet")
        raise errors.Invalid(errors=[wrong])
    async with contextlib.AsyncExitStack() as stack:
        opened = backend.logs.opened(task_id, attempt=attempt, follow=follow)
        chunks = await stack.enter_async_context(opened)
        return StreamingResponse(
            task_logs.streamed(stack.pop_all(), chunks),
            media_type="text/plain; charset=utf-8",
            headers={"X-Accel-Buffering": "no"},
        )


@router.post(
    "/{task_id}:cancel",
    status_code=202,
    response_model=models.TaskView,
    operation_id="cancelTask",
    responses={
        200: {"model": models.TaskView, "description": "It was finished already."},
        **openapi.problems(404, 429),
    },
)
async def cancel_task(backend: BackendDep, task_id: str) -> Response:
    """Ask a task to end: SIGTERM, thirty seconds, then the end. Its record stays."""
    written = await backend.tasks.cancel(task_id)
    return _json(written.view, status=202 if written.changed else 200)


@router.delete(
    "/{task_id}",
    status_code=204,
    operation_id="deleteTask",
    responses=openapi.problems(404, 429),
)
async def delete_task(backend: BackendDep, task_id: str) -> None:
    """Delete a task and its record. If it runs, it is ended."""
    await backend.tasks.delete(task_id)


def wait_of(prefer: str | None) -> int | None:
    """Return how long the client would like to wait: `wait=N` of `Prefer` (RFC 7240)."""
    match = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,6})", prefer or "", re.IGNORECASE)
    return min(int(match[1]), _LONGEST_WAIT) if match else None


def _matches(if_none_match: str, etag: str) -> bool:
    known = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return "*" in known or etag in known


def _json(
    model: BaseModel, *, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return the model as it is, without FastAPI checking our own work again."""
    return Response(
        model.model_dump_json(by_alias=True),
        status_code=status,
        media_type="application/json",
        headers=headers,
    )
