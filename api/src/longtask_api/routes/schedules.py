"""Endpoints of schedules."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from longtask_api.dependencies import (
    CallerDep,
    JsonBodyDep,
    MergePatchDep,
    ScheduleRunsDep,
    SchedulesDep,
)
from longtask_api.http import answers, openapi
from longtask_api.routes import filters
from longtask_api.services.schedules.service import ScheduleService
from longtask_client import models
from longtask_crds import v1alpha1

router = APIRouter(prefix="/schedules", tags=["schedules"])


@router.post(
    "",
    status_code=201,
    response_model=models.ScheduleView,
    operation_id="createSchedule",
    responses={
        200: {
            "model": models.ScheduleView,
            "description": "The same request made this schedule before.",
        },
        201: {"description": "The schedule is stored.", **openapi.SCHEDULE_LINKS},
        **openapi.problems(400, 403, 408, 409, 413, 415, 422, 429),
    },
    openapi_extra=openapi.SCHEDULE_BODY,
)
async def create_schedule(
    caller: CallerDep,
    schedules: SchedulesDep,
    document: JsonBodyDep,
    idempotency_key: Annotated[
        str | None, Header(description="The same key and schedule again: the same schedule.")
    ] = None,
) -> Response:
    """Make a schedule, which starts tasks by cron or by an interval."""
    made = await schedules.create(caller, document, header_key=idempotency_key)
    answer = _shown(schedules, made.schedule, status=201 if made.is_new else 200)
    answer.headers["Location"] = schedules.view(made.schedule).links["self"]
    return answer


@router.get(
    "",
    response_model=models.SchedulePage,
    operation_id="listSchedules",
    responses=openapi.problems(400, 422),
)
async def list_schedules(
    request: Request,
    caller: CallerDep,
    schedules: SchedulesDep,
    owner: filters.OfOwner = None,
    limit: Annotated[int, Query(ge=1, le=500, description="At most so many.")] = 50,
    cursor: openapi.Cursor = None,
) -> Response:
    """List schedules by name, page by page, until there is no `nextCursor`."""
    found = schedules.page(caller, owner=owner, limit=limit, cursor=cursor)
    return answers.json(found, headers=answers.next_page(request, found.next_cursor))


@router.get(
    "/{schedule_name}",
    response_model=models.ScheduleView,
    operation_id="getSchedule",
    responses=openapi.problems(404),
)
async def get_schedule(caller: CallerDep, schedules: SchedulesDep, schedule_name: str) -> Response:
    """Look at a schedule: what it starts and when, what comes next, and its last twenty runs."""
    return _shown(schedules, await schedules.get(caller, schedule_name))


@router.patch(
    "/{schedule_name}",
    response_model=models.ScheduleView,
    operation_id="changeSchedule",
    responses=openapi.problems(400, 403, 404, 408, 409, 412, 413, 415, 422, 429),
    openapi_extra=openapi.SCHEDULE_CHANGE_BODY,
)
async def change_schedule(
    caller: CallerDep,
    schedules: SchedulesDep,
    schedule_name: str,
    document: MergePatchDep,
    if_match: openapi.IfMatch = None,
) -> Response:
    """Change fields of a schedule. Runs that have begun go on as they are."""
    known = answers.versions(if_match)
    changed = await schedules.change(caller, schedule_name, document, known=known)
    return _shown(schedules, changed)


@router.delete(
    "/{schedule_name}",
    status_code=204,
    operation_id="deleteSchedule",
    responses=openapi.problems(403, 404, 409, 412, 429),
)
async def delete_schedule(
    caller: CallerDep,
    schedules: SchedulesDep,
    schedule_name: str,
    if_match: openapi.IfMatch = None,
) -> None:
    """Delete a schedule, and with it its runs that are not archived; those at work are ended."""
    await schedules.delete(caller, schedule_name, known=answers.versions(if_match))


@router.post(
    "/{schedule_name}:pause",
    response_model=models.ScheduleView,
    operation_id="pauseSchedule",
    responses=openapi.problems(403, 404, 409, 412, 429),
)
async def pause_schedule(
    caller: CallerDep,
    schedules: SchedulesDep,
    schedule_name: str,
    if_match: openapi.IfMatch = None,
) -> Response:
    """Let a schedule start no runs from now on. Those at work go on."""
    known = answers.versions(if_match)
    paused = await schedules.suspend(caller, schedule_name, suspended=True, known=known)
    return _shown(schedules, paused)


@router.post(
    "/{schedule_name}:resume",
    response_model=models.ScheduleView,
    operation_id="resumeSchedule",
    responses=openapi.problems(403, 404, 409, 412, 429),
)
async def resume_schedule(
    caller: CallerDep,
    schedules: SchedulesDep,
    schedule_name: str,
    if_match: openapi.IfMatch = None,
) -> Response:
    """Let a schedule start runs again; times that have passed are not made up for.

    One that too many failures have stopped needs `:reset-attempts`.
    """
    known = answers.versions(if_match)
    resumed = await schedules.suspend(caller, schedule_name, suspended=False, known=known)
    return _shown(schedules, resumed)


@router.post(
    "/{schedule_name}:trigger",
    status_code=202,
    response_model=models.RunAsked,
    operation_id="triggerSchedule",
    responses=openapi.problems(403, 404, 409, 429),
)
async def trigger_schedule(
    caller: CallerDep, schedules: SchedulesDep, schedule_name: str
) -> Response:
    """Start a run now, whatever the schedule says: even of one that is paused or has ended.

    Its task is there a moment later. Two requests within a second ask for the same run.
    """
    asked = await schedules.trigger(caller, schedule_name)
    headers = {"Location": asked.links["self"], **answers.RETRY_SOON}
    return answers.json(asked, status=202, headers=headers)


@router.post(
    "/{schedule_name}:reset-attempts",
    response_model=models.ScheduleView,
    operation_id="resetScheduleAttempts",
    responses=openapi.problems(403, 404, 409, 429),
)
async def reset_schedule_attempts(
    caller: CallerDep, schedules: SchedulesDep, schedule_name: str
) -> Response:
    """Forget a schedule's failures in a row, and let it start runs again.

    It remembers who did so, and when, as `resetBy` and `resetAt`.
    """
    return _shown(schedules, await schedules.reset(caller, schedule_name))


@router.post(
    "/{schedule_name}:backfill",
    status_code=202,
    response_model=models.RunsAsked,
    operation_id="backfillSchedule",
    responses=openapi.problems(403, 404, 409, 422, 429),
)
async def backfill_schedule(
    caller: CallerDep,
    schedules: SchedulesDep,
    schedule_name: str,
    since: Annotated[
        v1alpha1.GivenTime,
        Query(alias="from", description="From this time on.", examples=["2026-01-01T00:00:00Z"]),
    ],
    until: Annotated[
        v1alpha1.GivenTime,
        Query(
            alias="to",
            description="To before this one, which is past.",
            examples=["2026-01-03T00:00:00Z"],
        ),
    ],
) -> Response:
    """Start a run for each time that was due in a range, 100 at most.

    A time whose run is still there is not run again.
    """
    asked = await schedules.backfill(caller, schedule_name, since=since, until=until)
    return answers.json(asked, status=202)


@router.get(
    "/{schedule_name}/runs",
    response_model=models.ScheduleRunPage,
    operation_id="getScheduleRuns",
    responses=openapi.problems(400, 404, 422),
)
async def get_schedule_runs(
    request: Request,
    caller: CallerDep,
    runs: ScheduleRunsDep,
    schedule_name: str,
    limit: Annotated[int, Query(ge=1, le=500, description="At most so many.")] = 50,
    cursor: openapi.Cursor = None,
) -> Response:
    """List a schedule's runs, live and archived, the newest first."""
    found = await runs.page(caller, schedule_name, limit=limit, cursor=cursor)
    return answers.json(found, headers=answers.next_page(request, found.next_cursor))


@router.get(
    "/{schedule_name}/status",
    response_model=models.ScheduleStatus,
    operation_id="getScheduleStatus",
    responses=openapi.problems(404),
)
async def get_schedule_status(
    caller: CallerDep, runs: ScheduleRunsDep, schedule_name: str
) -> Response:
    """See how the last run that has ended went, and what the last that succeeded brought."""
    return answers.json(await runs.status(caller, schedule_name))


@router.get(
    "/{schedule_name}/data",
    response_model=models.ScheduleDataPage,
    operation_id="getScheduleData",
    responses=openapi.problems(400, 404, 422),
)
async def get_schedule_data(
    request: Request,
    caller: CallerDep,
    runs: ScheduleRunsDep,
    schedule_name: str,
    limit: Annotated[int, Query(ge=1, le=100, description="At most so many.")] = 20,
    cursor: openapi.Cursor = None,
) -> Response:
    """Get what the schedule's runs brought that succeeded, the newest first."""
    found = await runs.data(caller, schedule_name, limit=limit, cursor=cursor)
    return answers.json(found, headers=answers.next_page(request, found.next_cursor))


def _shown(
    schedules: ScheduleService, schedule: v1alpha1.LongTaskSchedule, *, status: int = 200
) -> Response:
    """Answer with a schedule as it stands."""
    answer = answers.json(schedules.view(schedule), status=status)
    return answers.versioned(answer, schedule.metadata.resource_version)
