"""Streams: what becomes of tasks, as it happens."""

from typing import Annotated

from fastapi import APIRouter, Header, Response

from longtask_api.dependencies import CallerDep, CheckDep, StreamsDep
from longtask_api.http import openapi
from longtask_api.http.event_streams import EventStream
from longtask_api.routes import filters
from longtask_api.services import streams
from longtask_api.services.tasks import listing
from longtask_api.stores.filters import Filter

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
    opening = opener.of_task(caller, task_id, last_id=last_event_id, check=check)
    return await EventStream.of(opening)


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
    phase: filters.InPhases = [],  # noqa: B006 - FastAPI copies it
    queue: filters.InQueue = None,
    type: filters.OfType = None,  # noqa: A002 - the parameter's public name
    owner: filters.OfOwner = None,
    label: filters.WithLabels = [],  # noqa: B006 - FastAPI copies it
    search: filters.WithText = None,
    since: filters.MadeSince = None,
    until: filters.MadeBefore = None,
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
        text=search,
        since=since,
        until=until,
    )
    return await EventStream.of(opener.of_all(caller, wanted, last_id=last_event_id, check=check))
