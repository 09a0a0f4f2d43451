"""What the main answers look like: made of the models, so that they are what is answered."""

from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel

from longtask_client import models
from longtask_crds import v1alpha1

_NOW: Final = datetime.fromisoformat("2026-01-02T03:04:05Z")
_TASK: Final = "/api/v1/tasks/report"
_QUEUE: Final = "/api/v1/queues/default"
_LINKS: Final = {
    "self": _TASK,
    **{part: f"{_TASK}/{part}" for part in ("state", "result", "logs", "events", "callbacks")},
    **{verb: f"{_TASK}:{verb}" for verb in ("cancel", "retry")},
}

_task: Final = models.TaskView(
    id="report",
    namespace="longtasks",
    type="fibonacci",
    phase=v1alpha1.Phase.RUNNING,
    percent=40,
    message="at 12 of 30",
    reason=None,
    waiting=None,
    queue="default",
    queue_position=None,
    estimated_start=None,
    priority=50,
    attempt=1,
    attempts=[
        v1alpha1.Attempt(
            number=1,
            job_name="report-1",
            pod_name="report-1-x",
            node="node-a",
            started_at=_NOW + timedelta(seconds=2),
        )
    ],
    steps=[],
    result=None,
    result_url=None,
    callback=None,
    owner="ada",
    labels={"project": "alpha"},
    created_at=_NOW,
    queued_at=_NOW,
    started_at=_NOW + timedelta(seconds=2),
    finished_at=None,
    links=_LINKS,
)
_queue: Final = models.QueueView(
    name="default",
    max_running=10,
    max_running_per_owner=None,
    paused=False,
    running=10,
    waiting=1,
    oldest_queued_at=_NOW,
    starts_per_minute=2.4,
    links={
        "self": _QUEUE,
        "tasks": "/api/v1/tasks?queue=default",
        "pause": f"{_QUEUE}:pause",
        "resume": f"{_QUEUE}:resume",
    },
)
_waiting: Final = models.QueuedTask(
    id="report",
    position=1,
    type="fibonacci",
    priority=50,
    owner="ada",
    queued_at=_NOW,
    links=_LINKS,
)
_problem: Final = models.Problem(
    type="urn:longtask:problem:invalid-request",
    title="The request is not valid",
    status=422,
    instance="/api/v1/tasks",
    errors=[models.ProblemError(pointer="/type", detail="there is no type fibonaci")],
)

_EVERY: Final[tuple[BaseModel, ...]] = (
    _task,
    models.TaskPage(items=[_task], next_cursor="WyI3ZjNk", incomplete=None),
    models.TaskState(state=_task.phase, percent=_task.percent),
    _queue,
    models.QueueList(items=[_queue]),
    models.QueueContent(**dict(_queue), content=[_waiting], next_cursor=None),
)
#: By the name of the model that is answered.
OF_MODEL: Final[dict[str, Any]] = {
    type(one).__name__: one.model_dump(mode="json", by_alias=True) for one in _EVERY
}
#: By the status code of a problem.
OF_PROBLEM: Final[dict[str, Any]] = {
    str(_problem.status): _problem.model_dump(mode="json", by_alias=True, exclude_none=True)
}
