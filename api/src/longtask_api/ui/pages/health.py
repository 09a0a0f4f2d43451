"""How the installation does."""

from fastapi import APIRouter, Request, Response

from longtask_api.dependencies import CallerDep, HealthDep, QueuesDep, TasksDep
from longtask_api.ui import shell

router = APIRouter(include_in_schema=False, route_class=shell.PageRoute)


@router.get("/health")
async def show_health(
    request: Request, caller: CallerDep, health: HealthDep, queues: QueuesDep, tasks: TasksDep
) -> Response:
    """Show what probes are told, and where work does not go on."""
    ill, obstacles, ailment = health.illnesses(), health.obstacles(), health.ailment()
    found = queues.all(caller).items
    return shell.page(
        request,
        "health.html",
        caller=caller,
        here="health",
        ill=ill,
        obstacles=[one for one in obstacles if one not in ill],
        ailment=ailment,
        is_well=not (ill or obstacles or ailment),
        counts={phase: n for phase, n in tasks.counts(caller).items() if n},
        paused=[queue for queue in found if queue.paused],
        stuck=[
            queue for queue in found if queue.waiting and not queue.running and not queue.paused
        ],
    )
