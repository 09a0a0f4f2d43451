"""Endpoints of tasks."""

import contextlib
import functools
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from longtask_api.auth import callers
from longtask_api.cluster import LogPart
from longtask_api.dependencies import (
    BatchBodyDep,
    CallerDep,
    ChangesDep,
    CheckDep,
    JsonBodyDep,
    LogsDep,
    MergePatchDep,
    OptionalJsonBodyDep,
    OrdersDep,
    ResultsDep,
    StreamsDep,
    TasksDep,
)
from longtask_api.http import answers, event_streams, openapi, problems
from longtask_api.routes import filters, streams
from longtask_api.services import views
from longtask_api.services.tasks import listing
from longtask_api.services.tasks.logs import streamed
from longtask_api.services.tasks.showing import TaskService
from longtask_api.services.tasks.written import Written
from longtask_api.stores.filters import Filter
from longtask_client import models
from longtask_crds import traces, v1alpha1

router = APIRouter(prefix="/tasks", tags=["tasks"])
#: Where orders come in batches, and bodies may be larger than elsewhere.
BATCH_PATH: Final = "/api/v1/tasks:batch"
BATCH_LIMIT: Final = 4 * 1024 * 1024

_Prefer = Annotated[
    str | None,
    Header(description="`wait=30`: answer when it is finished, or after 30 seconds."),
]


async def get_trace(
    traceparent: Annotated[
        str | None,
        Header(
            description="The trace that the task belongs to (W3C Trace Context): its program and"
            " its callbacks get it too. One that cannot be read is ignored.",
            examples=["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
        ),
    ] = None,
    tracestate: Annotated[
        str | None,
        Header(
            description="What systems on the way say of that trace. It goes where that goes.",
            examples=["congo=t61rcWkgMzE"],
        ),
    ] = None,
) -> traces.Trace | None:
    """Return the trace that the request belongs to, or None."""
    return traces.read(traceparent, tracestate)


Trace = Annotated[traces.Trace | None, Depends(get_trace)]


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
    caller: CallerDep,
    orders: OrdersDep,
    tasks: TasksDep,
    document: JsonBodyDep,
    trace: Trace,
    idempotency_key: Annotated[
        str | None, Header(description="The same key and order again: the same task.")
    ] = None,
    prefer: _Prefer = None,
) -> Response:
    """Hand over a task. It runs as soon as its queue lets it."""
    written = await orders.submit(caller, document, header_key=idempotency_key, trace=trace)
    return await _made(caller, tasks, written, prefer)


async def _made(
    caller: callers.Caller, tasks: TaskService, written: Written, prefer: str | None = None
) -> Response:
    """Answer with a task that was just made, or that the same request made before.

    It is stored by now: whoever would like to wait for its end waits here.
    """
    view, headers = written.view, {"Location": written.view.links["self"]}
    if (seconds := answers.wait_of(prefer)) is not None:
        headers["Preference-Applied"] = f"wait={seconds}"
        view = tasks.view(await tasks.wait(caller, view.id, within=seconds))
    if not view.phase.is_terminal:
        headers |= answers.RETRY_SOON
    return answers.json(view, status=202 if written.changed else 200, headers=headers)


@router.post(
    ":batch",
    response_model=models.BatchAnswer,
    operation_id="createTasks",
    responses=openapi.problems(400, 403, 408, 413, 415, 422, 429),
    openapi_extra=openapi.BATCH_BODY,
)
async def create_tasks(
    caller: CallerDep,
    orders: OrdersDep,
    document: BatchBodyDep,
    trace: Trace,
    idempotency_key: Annotated[
        str | None,
        Header(description="The same key and orders again: the same tasks, each at its place."),
    ] = None,
) -> Response:
    """Hand over up to 500 tasks. Each is answered for itself: one that is wrong stops no other."""
    made = await orders.submit_all(caller, document, header_key=idempotency_key, trace=trace)
    items = [_item(one) for one in made]
    accepted = sum(item.task is not None for item in items)
    return answers.json(models.BatchAnswer(items=items, accepted=accepted))


def _item(made: Written | Exception) -> models.BatchItem:
    if isinstance(made, Exception):
        problem = problems.of(made)
        return models.BatchItem(status=problem.status, problem=problem)
    return models.BatchItem(status=202 if made.changed else 200, task=made.view)


@router.post(
    ":cancel",
    response_model=models.Cancellation,
    operation_id="cancelTasks",
    responses=openapi.problems(400, 403, 408, 409, 413, 415, 422, 429),
    openapi_extra=openapi.json_body(
        models.CancelOrder, {"phases": ["Queued"], "labels": {"project": "alpha"}}
    ),
)
async def cancel_tasks(caller: CallerDep, changes: ChangesDep, document: JsonBodyDep) -> Response:
    """Ask all tasks to end that fit a filter, 200 at a time: page by page, until no cursor."""
    return answers.json(await changes.cancel_all(caller, document))


@router.get(
    "",
    response_model=models.TaskPage,
    operation_id="listTasks",
    responses=openapi.problems(400, 422),
)
async def list_tasks(
    request: Request,
    caller: CallerDep,
    tasks: TasksDep,
    phase: filters.InPhases = [],  # noqa: B006 - FastAPI copies it
    queue: filters.InQueue = None,
    type: filters.OfType = None,  # noqa: A002 - the parameter's public name
    owner: filters.OfOwner = None,
    label: filters.WithLabels = [],  # noqa: B006 - FastAPI copies it
    search: filters.WithText = None,
    since: filters.MadeSince = None,
    until: filters.MadeBefore = None,
    archived: Annotated[
        bool | None,
        Query(
            description="Only those whose resources are gone, or only those whose are not; all when"
            " absent."
        ),
    ] = None,
    sort: Annotated[models.SortOrder, Query(description="In this order.")] = (
        models.SortOrder.NEWEST
    ),
    limit: Annotated[int, Query(ge=1, le=500, description="At most so many.")] = 50,
    cursor: openapi.Cursor = None,
    fields: openapi.Fields = None,
) -> Response:
    """List tasks, live and archived, page by page, until there is no `nextCursor`."""
    wanted = Filter(
        phases=tuple(phase),
        queue=queue,
        type=type,
        owner=owner,
        labels=listing.parse_selectors(label),
        text=search,
        since=since,
        until=until,
        archived=archived,
    )
    only = answers.fields(models.TaskView, fields)
    found = await tasks.page(caller, wanted, sort=sort, limit=limit, cursor=cursor)
    return answers.json(
        found,
        headers=answers.next_page(request, found.next_cursor),
        only=only and {"items": {"__all__": only}, "next_cursor": True, "incomplete": True},
    )


@router.get(
    "/{task_id}",
    response_model=models.TaskView,
    operation_id="getTask",
    responses=openapi.problems(404),
)
async def get_task(
    caller: CallerDep,
    tasks: TasksDep,
    check: CheckDep,
    opener: StreamsDep,
    request: Request,
    task_id: str,
    last_event_id: streams.LastEventId = None,
    prefer: _Prefer = None,
    fields: openapi.Fields = None,
) -> Response:
    """Look at a task; with `Accept: text/event-stream` follow it, as at `/events`."""
    if event_streams.MEDIA_TYPE in request.headers.get("Accept", ""):
        return await streams.stream_of_task(opener, caller, check, task_id, last_event_id)
    only = answers.fields(models.TaskView, fields)
    seconds = answers.wait_of(prefer)
    headers = {}
    if seconds is None:
        task = await tasks.get(caller, task_id)
    else:
        headers["Preference-Applied"] = f"wait={seconds}"
        task = await tasks.wait(caller, task_id, within=seconds)
    if not task.is_finished:
        headers |= answers.RETRY_SOON
    shown = answers.json(tasks.view(task), headers=headers, only=only)
    return answers.versioned(shown, task.metadata.resource_version)


@router.get(
    "/{task_id}/state",
    response_model=models.TaskState,
    operation_id="getTaskState",
    responses=openapi.problems(404),
)
async def get_task_state(caller: CallerDep, tasks: TasksDep, task_id: str) -> Response:
    """Look at a task's phase and progress only."""
    return answers.json(views.state_view(await tasks.get(caller, task_id)))


@router.get(
    "/{task_id}/result",
    operation_id="getTaskResult",
    responses={
        200: {
            "description": "What the program brought; null if nothing, or if it failed.",
            "content": openapi.RESULT,
        },
        206: {"description": "The range of it that was asked for.", "content": openapi.RESULT},
        304: {"description": "It is as it was."},
        **openapi.problems(404, 409, 416),
    },
    response_class=Response,
)
async def get_task_result(
    caller: CallerDep,
    tasks: TasksDep,
    results: ResultsDep,
    task_id: str,
    step: Annotated[
        str | None,
        Query(description="Of a pipeline: the result of this step, once it has succeeded."),
    ] = None,
    if_none_match: Annotated[str | None, Header(description="The ETag that is known.")] = None,
    range: Annotated[  # noqa: A002 - the header's name
        str | None, Header(description="The bytes that are wanted: `bytes=0-1023`.")
    ] = None,
    if_range: Annotated[
        str | None, Header(description="The ETag for which the range is meant.")
    ] = None,
) -> Response:
    """Get a finished task's result as it is, whatever its size; or that of a step."""
    task = await tasks.get(caller, task_id)
    content = await (results.of(task) if step is None else results.of_step(task, step))
    return answers.of_bytes(
        functools.partial(results.read, content),
        size=content.size,
        media_type=content.media_type,
        sha256=content.sha256,
        conditions=answers.Conditions(if_none_match=if_none_match, if_range=if_range, range=range),
    )


@router.get(
    "/{task_id}/logs",
    operation_id="getTaskLogs",
    responses={
        200: {"description": "The log.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **openapi.problems(404, 409, 422, 429),
    },
    response_class=Response,
)
async def get_task_logs(
    caller: CallerDep,
    logs: LogsDep,
    task_id: str,
    step: Annotated[
        str | None,
        Query(
            max_length=80,
            description="Of a pipeline: the step, or `STEP.INDEX` for one of its items. When absent"
            " the first that goes on; if none does, the first that failed; if none did, the one"
            " that began last. The header `LongTask-Step` says which.",
            examples=["convert", "convert.3"],
        ),
    ] = None,
    follow: Annotated[bool, Query(description="Go on until the attempt ends.")] = False,
    attempt: Annotated[
        int | None, Query(ge=1, description="The attempt's number; the last when absent.")
    ] = None,
    tail: Annotated[
        int | None,
        Query(ge=0, le=2**31 - 1, description="The last lines, so many.", examples=[100]),
    ] = None,
    since: Annotated[
        v1alpha1.GivenTime | None,
        Query(
            description="What was written at this time or later.", examples=["2026-01-02T03:04:05Z"]
        ),
    ] = None,
    timestamps: Annotated[
        bool, Query(description="Begin each line with the time when it was written.")
    ] = False,
) -> Response:
    """Read the log of a task or a step: whole while its pod is there, then its last 64 KiB.

    Of a pod that was drained, evicted or deleted nothing may be left. Who has too many open,
    followed or not, is answered 429.
    """
    part = LogPart(follow=follow, tail=tail, since=since, timestamps=timestamps)
    async with contextlib.AsyncExitStack() as stack:
        opening = logs.opened(caller, task_id, step=step, attempt=attempt, part=part)
        opened = await stack.enter_async_context(opening)
        return StreamingResponse(
            streamed(stack.pop_all(), opened.chunks),
            media_type="text/plain; charset=utf-8",
            headers={"X-Accel-Buffering": "no"}
            | ({"LongTask-Step": opened.run} if opened.run else {}),
        )


@router.patch(
    "/{task_id}",
    response_model=models.TaskView,
    operation_id="changeTask",
    responses=openapi.problems(400, 403, 404, 408, 409, 412, 413, 415, 422, 429),
    openapi_extra=openapi.CHANGE_BODY,
)
async def change_task(
    caller: CallerDep,
    changes: ChangesDep,
    task_id: str,
    document: MergePatchDep,
    if_match: openapi.IfMatch = None,
) -> Response:
    """Change the priority of a task that waits: it gets another place in its queue."""
    known = answers.versions(if_match)
    return answers.json(await changes.change(caller, task_id, document, known=known))


@router.post(
    "/{task_id}:cancel",
    status_code=202,
    response_model=models.TaskView,
    operation_id="cancelTask",
    responses={
        200: {"model": models.TaskView, "description": "It was finished already."},
        **openapi.problems(403, 404, 409, 412, 429),
    },
)
async def cancel_task(
    caller: CallerDep, changes: ChangesDep, task_id: str, if_match: openapi.IfMatch = None
) -> Response:
    """Ask a task to end: SIGTERM, thirty seconds, then the end. Its record stays."""
    written = await changes.cancel(caller, task_id, known=answers.versions(if_match))
    return answers.json(written.view, status=202 if written.changed else 200)


@router.post(
    "/{task_id}:retry",
    status_code=202,
    response_model=models.TaskView,
    operation_id="retryTask",
    responses={
        200: {"model": models.TaskView, "description": "The same request made this task before."},
        202: {"description": "The new task is stored and will run.", **openapi.TASK_LINKS},
        **openapi.problems(400, 403, 404, 408, 409, 413, 415, 422, 429),
    },
    openapi_extra=openapi.RETRY_BODY,
)
async def retry_task(
    caller: CallerDep,
    orders: OrdersDep,
    tasks: TasksDep,
    task_id: str,
    document: OptionalJsonBodyDep,
    trace: Trace,
    from_failed: Annotated[
        bool,
        Query(
            alias="fromFailed",
            description="Of a pipeline that did not succeed: take over what its steps brought, and"
            " go on where it failed. The steps that succeeded, and what of the input they took,"
            " cannot be changed then.",
        ),
    ] = False,
    idempotency_key: Annotated[
        str | None, Header(description="The same key and changes again: the same task.")
    ] = None,
) -> Response:
    """Make a new task of one that has ended: its whole order, but for what the body changes.

    Each field of the body stands in place of the original's, whole; null takes it away.
    """
    written = await orders.retry(
        caller,
        task_id,
        document,
        header_key=idempotency_key,
        from_failed=from_failed,
        trace=trace,
    )
    return await _made(caller, tasks, written)


@router.delete(
    "/{task_id}",
    status_code=204,
    operation_id="deleteTask",
    responses=openapi.problems(403, 404, 409, 412, 429),
)
async def delete_task(
    caller: CallerDep, changes: ChangesDep, task_id: str, if_match: openapi.IfMatch = None
) -> None:
    """Delete a task and its record. If it runs, it is ended."""
    await changes.delete(caller, task_id, known=answers.versions(if_match))
