"""All pages, by who may see them. A new page has its line here."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends

from longtask_api import dependencies
from longtask_api.ui import shell
from longtask_api.ui.pages import (
    account,
    admin,
    audit,
    health,
    new,
    queues,
    schedules,
    session,
    subscriptions,
    task,
    tasks,
    told,
    trends,
    types,
)


def _of(*routers: APIRouter, guards: tuple[Callable[..., Any], ...]) -> APIRouter:
    made = APIRouter(dependencies=[Depends(guard) for guard in guards], route_class=shell.PageRoute)
    for router in routers:
        made.include_router(router)
    return made


#: For whoever may read. Each asks for who it is because it is here.
for_callers = _of(
    *(tasks.router, task.router, new.router, new.helpers, queues.router, types.router),
    *(health.router, admin.router, audit.router, schedules.router, schedules.helpers),
    *(told.router, subscriptions.router, trends.router),
    guards=(
        dependencies.limit_address,
        dependencies.get_caller,
        dependencies.require_synced,
    ),
)
#: For whoever is known, about themselves.
own = _of(
    account.router,
    session.own,
    guards=(dependencies.limit_address, dependencies.get_known_caller),
)
#: For everybody.
public = _of(session.public, session.files, guards=())
