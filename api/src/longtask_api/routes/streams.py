"""Streams: what becomes of tasks, as it happens."""

import contextlib
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from longtask_api.dependencies import CallerDep, CheckDep, StreamsDep
from longtask_api.http import openapi
from longtask_api.http.event_streams import EventStream
from longtask_api.routes import filters
from longtask_api.services import listing, streams
from longtask_api.stores.filters import Filter
from longtask_crds import v1alpha1

router = APIRouter(tags=["events"])

LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        description="The last `id` that came: what follows is what is not known yet.",
    ),
]


@router.get(
    "/tasks/{task_id}/events",
    operation_id="getTaskEvents",
    responses={
        200: openapi.TASK_STREAM,
        204: {"description": "Nothing follows the id: do not come back."},
        **openapi.problems(400, 404, 429),
    },
    response_class=Response,
)
async def get_task_events(
    caller: CallerDep,
    check: CheckDep,
    opener: StreamsDep,
    task_id: str,
    last_event_id: LastEventId = None,
) -> Response:
    """Follow a task until its end: what has happened to it, where it stands, its result."""
    return await stream_of_task(opener, caller, check, task_id, last_event_id)


async def stream_of_task(
    opener: streams.StreamService,
    caller: CallerDep,
    check: streams.Check,
    task_id: str,
    last_event_id: str | None,
) -> Response:
    """Answer with the stream of a task."""
    async with contextlib.AsyncExitStack() as stack:
        opening = opener.of_task(caller, task_id, last_id=last_event_id, check=check)
        chunks = await stack.enter_async_context(opening)
        # A browser comes back after each end of a stream, until it is told that there is no more.
        return Response(status_code=204) if chunks is None else EventStream(chunks, stack.pop_all())


@router.get(
    "/events",
    operation_id="getEvents",
    responses={200: openapi.STREAM, **openapi.problems(400, 429)},
    response_class=Response,
)
async def get_events(
    caller: CallerDep,
    check: CheckDep,
    opener: StreamsDep,
    phase: Annotated[list[v1alpha1.Phase], Query(description="In one of these phases.")] = [],  # noqa: B006 - FastAPI copies it
    queue: filters.InQueue = None,
    type: filters.OfType = None,  # noqa: A002 - the parameter's public name
    owner: filters.OfOwner = None,
    label: filters.WithLabels = [],  # noqa: B006 - FastAPI copies it
    last_event_id: LastEventId = None,
) -> Response:
    """Follow all tasks that one may see, from now on or from the last id.

    A task is told of if it fits before the change or after it: so one hears that it leaves a phase.
    """
    wanted = Filter(
        phases=tuple(phase),
        queue=queue,
        type=type,
        owner=owner,
        labels=listing.parse_selectors(label),
    )
    async with contextlib.AsyncExitStack() as stack:
        opening = opener.of_all(caller, wanted, last_id=last_event_id, check=check)
        chunks = await stack.enter_async_context(opening)
        return EventStream(chunks, stack.pop_all())
