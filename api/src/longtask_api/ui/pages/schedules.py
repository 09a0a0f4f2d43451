"""Schedules: when tasks start by themselves, what came of it, and what may be done about it."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.dependencies import (
    CallerDep,
    JsonBodyDep,
    QueuesDep,
    ScheduleRunsDep,
    SchedulesDep,
    TypesDep,
)
from longtask_api.ui import calendar, calls, forms, groups, shell, words
from longtask_api.ui.groups import Group
from longtask_api.ui.pages import new
from longtask_client import models, spans, why
from longtask_crds import names, v1alpha1
from longtask_crds.v1alpha1 import Reason

router = APIRouter(include_in_schema=False, route_class=shell.PageRoute)
#: What its script asks for: what goes wrong is a problem as the API tells it.
helpers = APIRouter(include_in_schema=False)

_A_PAGE: Final = 100
_RUNS: Final = 40
#: How many runs a row of the list shows.
_SEEN: Final = 10
#: Where the input of a run stands in an order.
_INPUT: Final = ("taskTemplate", "spec", "input")


@dataclasses.dataclass(frozen=True)
class Row:
    """What a list says of a schedule."""

    view: models.ScheduleView
    group: Group  #: how its last run went; waiting, if none has begun
    state: str
    is_open: bool  #: it starts runs
    next_run: datetime | None
    last: models.ScheduleRun | None
    last_groups: tuple[Group, ...]  #: how its last runs went, the oldest first

    @property
    def says_runs(self) -> str:
        """Say the same in words, for who does not see it."""
        return ", ".join(self.last_groups) or "no run yet"


@dataclasses.dataclass(frozen=True)
class Run:
    """A run in the table of a schedule's runs."""

    view: models.ScheduleRun
    group: Group
    has_task: bool


@dataclasses.dataclass(frozen=True)
class Acts:
    """What may be done with a schedule now, by who looks at it."""

    trigger: bool
    pause: bool
    resume: bool
    reset: bool
    delete: bool


@router.get("/schedules")
async def show_schedules(
    request: Request, caller: CallerDep, schedules: SchedulesDep, cursor: str | None = None
) -> Response:
    """Show all schedules that one may see, by name."""
    found = schedules.page(caller, owner=None, limit=_A_PAGE, cursor=cursor)
    rows = [_row(one) for one in found.items]
    now = request.app.state.services.clock()
    return shell.page(
        request,
        "schedules.html",
        caller=caller,
        here="schedules",
        rows=rows,
        says=_summary(rows, now),
        next_cursor=found.next_cursor,
        is_first=cursor is None,
    )


@router.get("/schedules/{schedule_name}")
async def show_schedule(
    request: Request,
    caller: CallerDep,
    schedules: SchedulesDep,
    schedule_runs: ScheduleRunsDep,
    schedule_name: str,
    cursor: str | None = None,
) -> Response:
    """Show a schedule: what comes, what was, and why it starts nothing if it does not."""
    view = schedules.view(await schedules.get(caller, schedule_name))
    found = await schedule_runs.page(caller, schedule_name, limit=_RUNS, cursor=cursor)
    listed = _runs(view, found.items, with_recorded=cursor is None)
    now = request.app.state.services.clock()
    means, *helps = why.of_schedule(view) or [""]
    return shell.page(
        request,
        "schedule.html",
        caller=caller,
        here="schedules",
        schedule=view,
        row=_row(view),
        says=_says(view, means, now),
        helps=helps,
        acts=acts(caller, view),
        runs=listed,
        calendar=calendar.of(_marks(listed, view if cursor is None else None), view.time_zone),
        manifest=calls.as_yaml(view.task_template.to_json()),
        stream={"label": f"{names.SCHEDULE_LABEL}={view.name}"},
        next_cursor=found.next_cursor,
        is_first=cursor is None,
        incomplete=found.incomplete,
    )


@router.get("/new/schedule")
async def show_new(
    request: Request,
    caller: CallerDep,
    types: TypesDep,
    queues: QueuesDep,
    type: str = "",  # noqa: A002 - the parameter's public name
) -> Response:
    """Show the form for a schedule of tasks of a type."""
    if not caller.may(callers.Act.WRITE):
        raise errors.Forbidden("Only who may hand tasks over finds this page of use.")
    all_types = types.all(caller).items
    name = type or (all_types[0].name if all_types else "")
    chosen = next((one for one in all_types if one.name == name), None)
    if name and chosen is None:
        raise errors.Missing("There is no such type.")
    order = {
        "name": name or "nightly",
        "schedule": "0 3 * * *",
        "taskTemplate": {"spec": {"type": name, "input": {}}},
    }
    return shell.page(
        request,
        "new_schedule.html",
        caller=caller,
        here="schedules",
        types=all_types,
        chosen=chosen,
        fields=forms.of_schema(chosen.input_schema if chosen else None, at=_INPUT),
        policies=list(v1alpha1.ConcurrencyPolicy),
        queues=[queue.name for queue in queues.all(caller).items],
        text=calls.as_yaml(order),
        calls=calls.of_schedule(order, shell.base_url(request)),
    )


@helpers.post("/new/schedule/order")
async def read_order(caller: CallerDep, document: JsonBodyDep) -> dict[str, Any]:
    """Return the order of a schedule that a text says, for the API to judge."""
    return await new.order_of(document, "LongTaskSchedule")


@helpers.post("/new/schedule/calls")
async def show_calls(request: Request, caller: CallerDep, document: JsonBodyDep) -> Response:
    """Show how a schedule is made without this page."""
    if not isinstance(document, dict):
        raise errors.Invalid(errors=[errors.finding("", "no object")])
    told = calls.of_schedule(document, shell.base_url(request))
    text = calls.as_yaml(document)
    return shell.page(request, "calls.html", caller=caller, calls=told, text=text)


# --- what is said


def _row(view: models.ScheduleView) -> Row:
    last = view.runs[0] if view.runs else None
    return Row(
        view=view,
        group=Group.WAITING if last is None else _group(last, view),
        state=why.state_of_schedule(view),
        is_open=view.reason in (None, Reason.ACTIVE),
        next_run=view.next_runs[0] if view.next_runs else None,
        last=last,
        last_groups=tuple(_group(run, view) for run in view.runs[:_SEEN])[::-1],
    )


def _group(run: models.ScheduleRun, view: models.ScheduleView) -> Group:
    if run.phase is not None:
        return groups.of_phase(run.phase)
    # One that goes on and is not known yet; one that was never made, or deleted.
    return Group.RUNNING if run.id in view.active else Group.CANCELLED


def _summary(rows: Sequence[Row], now: datetime) -> str:
    if not rows:
        return "Nothing starts by itself."
    coming = min((row.next_run for row in rows if row.next_run), default=None)
    told = [f"The next run is {_until(coming, now)}." if coming else "None starts anything."]
    states = Counter(row.state for row in rows if not row.is_open)
    told += [
        f"{number:,} {'is' if number == 1 else 'are'} {state}." for state, number in states.items()
    ]
    failing = sum(row.is_open and row.view.failures_in_a_row > 0 for row in rows)
    if failing:
        told.append(f"Of {words.count(failing, 'another', 'others')} the last run failed.")
    return " ".join(told)


def _says(view: models.ScheduleView, means: str, now: datetime) -> str:
    """Say what a schedule does next, or why it does nothing."""
    if means:
        return means
    if view.next_runs:
        return f"The next run is {_until(view.next_runs[0], now)}."
    return "The operator has not seen it yet."


def _until(moment: datetime, now: datetime) -> str:
    return spans.until(moment, now) or ""


def _runs(
    view: models.ScheduleView, tasks: Sequence[models.ScheduleRun], *, with_recorded: bool
) -> list[Run]:
    """Return the runs, the newest first; those that have no task, the schedule itself remembers."""
    known = {run.id for run in tasks}
    listed = [Run(run, _group(run, view), has_task=True) for run in tasks]
    if with_recorded:
        oldest = min((run.scheduled_at for run in tasks if run.scheduled_at), default=None)
        listed += [
            Run(run, _group(run, view), has_task=False)
            for run in view.runs
            if run.id not in known
            and (oldest is None or (run.scheduled_at and run.scheduled_at >= oldest))
        ]
    return sorted(
        listed,
        key=lambda run: (run.view.scheduled_at or view.created_at, run.view.number or 0),
        reverse=True,
    )


def _marks(runs: Sequence[Run], view: models.ScheduleView | None) -> Iterator[calendar.Run]:
    for run in runs:
        if run.view.scheduled_at is not None:
            says = f"{words.clock(run.view.scheduled_at)}: {run.group}"
            yield calendar.Run(run.view.scheduled_at, run.group, says)
    for at in view.next_runs if view else ():
        yield calendar.Run(at, Group.WAITING, f"{words.clock(at)}: to come", is_due=True)


def acts(caller: callers.Caller, view: models.ScheduleView) -> Acts:
    """Return what the caller may do with the schedule: nothing that would be refused."""
    may = caller.may(callers.Act.WRITE)
    known = (None, Reason.ACTIVE, Reason.AS_ASKED, Reason.MAX_FAILURES, Reason.ENDED)
    return Acts(
        # As `services.schedules` has it: what is not accepted can start no run.
        trigger=may and view.reason in known,
        pause=may and not view.suspend,
        resume=may and bool(view.suspend),
        reset=may and view.failures_in_a_row > 0,
        delete=may,
    )
