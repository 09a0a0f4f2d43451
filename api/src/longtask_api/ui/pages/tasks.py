"""The list of tasks: what goes on, live."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from longtask_api.auth import callers
from longtask_api.dependencies import (
    BoardsDep,
    CallerDep,
    CheckDep,
    QueuesDep,
    TasksDep,
    TypesDep,
)
from longtask_api.http.event_streams import EventStream
from longtask_api.services import bodies
from longtask_api.services.queues import QueueService
from longtask_api.services.tasks import listing
from longtask_api.services.tasks.showing import TaskService
from longtask_api.services.types import TypeService
from longtask_api.stores.filters import Filter
from longtask_api.ui import rows, shell, words
from longtask_api.ui.groups import Group
from longtask_client import models

router = APIRouter(include_in_schema=False, route_class=shell.PageRoute)

_A_PAGE: Final = 50
#: What of the address a filter is made of, and where else in the page it stands.
_PLAIN: Final = ("queue", "type", "owner", "search", "since", "until")
_SORTS: Final = {
    models.SortOrder.NEWEST: "newest first",
    models.SortOrder.OLDEST: "oldest first",
    models.SortOrder.NEXT: "next to start first",
}


@router.get("/")
async def show_tasks(
    request: Request, caller: CallerDep, tasks: TasksDep, queues: QueuesDep, types: TypesDep
) -> Response:
    """Show the tasks that fit what the address says."""
    return await _shown(request, caller, tasks, queues, types)


@router.get("/live")
async def follow_tasks(
    request: Request,
    caller: CallerDep,
    check: CheckDep,
    boards: BoardsDep,
    tasks: TasksDep,
    queues: QueuesDep,
    types: TypesDep,
) -> Response:
    """Send what is fresh of the page that the same question leads to, whenever it changes."""
    wanted = _filter(request)
    # Who leaves a phase, or says something else, is news for the list that it leaves.
    lasting = dataclasses.replace(wanted, phases=(), text=None, since=None, until=None)

    async def make() -> str:
        shown = await _shown(request, caller, tasks, queues, types, is_fresh=True)
        return bytes(shown.body).decode()

    # What they see of it, and what they may do with it, is all that tells people apart here.
    whose = None if caller.sees_all else caller.subject
    key = (whose, caller.may(callers.Act.WRITE), shell.at(request), request.url.query)
    return await EventStream.of(boards.looking(caller, lasting, key, make, check=check))


async def _shown(
    request: Request,
    caller: callers.Caller,
    tasks: TaskService,
    queues: QueueService,
    types: TypeService,
    *,
    is_fresh: bool = False,
) -> Response:
    """Return the page; with `is_fresh` only what changes of it."""
    asked = {key: value for key, value in request.query_params.items() if value}
    wanted = _filter(request)
    sort = models.SortOrder(asked["sort"]) if asked.get("sort") in _SORTS else None
    found = await tasks.page(
        caller,
        wanted,
        sort=sort or models.SortOrder.NEWEST,
        limit=_A_PAGE,
        cursor=asked.get("cursor"),
    )
    counts = tasks.counts(caller)
    groups = {group: sum(counts.get(phase, 0) for phase in group.phases) for group in Group}
    all_queues = queues.all(caller).items
    now = request.app.state.services.clock()
    kept = {key: asked[key] for key in (*_PLAIN, "label", "sort", "archived") if key in asked}
    return shell.page(
        request,
        "tasks.html",
        caller=caller,
        here="tasks",
        rows=[rows.row(task, now) for task in found.items],
        groups=groups,
        summary=words.summary(groups),
        # How many of theirs wait where, is not known of those who see their own alone.
        busiest=words.busiest(all_queues) if caller.sees_all else None,
        chosen=_chosen(wanted.phases),
        phases=wanted.phases,
        kept=kept,
        is_filtered=bool(kept.keys() - {"sort"}) or bool(wanted.phases),
        queues=[queue.name for queue in all_queues],
        types=[one.name for one in types.all(caller).items],
        sorts=_SORTS,
        query=request.url.query,
        is_fresh=is_fresh,
        order=_as_order(request),
        next_cursor=found.next_cursor,
        is_first="cursor" not in asked,
        incomplete=found.incomplete,
    )


def _document(request: Request) -> dict[str, Any]:
    """Return the filter that the address says, as the API has it in its bodies."""
    given = request.query_params
    found: dict[str, Any] = {key: given[key] for key in _PLAIN if given.get(key)}
    if phases := [phase for phase in given.getlist("phase") if phase]:
        found["phases"] = phases
    if selectors := [one for one in given.getlist("label") if one]:
        found["labels"] = dict(listing.parse_selectors(selectors))
    if given.get("archived") in ("true", "false"):
        found["archived"] = given["archived"] == "true"
    return found


def _filter(request: Request) -> Filter:
    """Return what tasks must be like.

    Raises:
        Invalid: It cannot be read.
    """
    wanted = bodies.read(models.TaskFilter, _document(request))
    return Filter(
        phases=wanted.phases,
        queue=wanted.queue,
        type=wanted.type,
        owner=wanted.owner,
        labels=tuple(wanted.labels.items()),
        text=wanted.search,
        since=wanted.since,
        until=wanted.until,
        archived=wanted.archived,
    )


def _as_order(request: Request) -> Mapping[str, Any]:
    """Return what cancels all that the filter fits."""
    return _document(request) or {"all": True}


def _chosen(phases: tuple[Any, ...]) -> Group | None:
    """Return the group that alone is wanted, if it is one."""
    return next((group for group in Group if phases and set(phases) == set(group.phases)), None)
