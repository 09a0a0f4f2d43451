"""Endpoints of callbacks: how they went, another delivery, a trial."""

from fastapi import APIRouter, Response

from longtask_api.dependencies import CallerDep, DeliveriesDep, JsonBodyDep, TrialsDep
from longtask_api.http import answers, openapi
from longtask_client import models

router = APIRouter(tags=["callbacks"])


@router.get(
    "/tasks/{task_id}/callbacks",
    response_model=models.CallbackLog,
    operation_id="getTaskCallbacks",
    responses=openapi.problems(404),
)
async def get_task_callbacks(
    caller: CallerDep, deliveries: DeliveriesDep, task_id: str
) -> Response:
    """Look at how a task's last event is delivered, and at each try."""
    return answers.json(await deliveries.log(caller, task_id))


@router.post(
    "/tasks/{task_id}/callbacks:redeliver",
    status_code=202,
    response_model=models.CallbackLog,
    operation_id="redeliverTaskCallback",
    responses=openapi.problems(404, 409, 429),
)
async def redeliver_task_callback(
    caller: CallerDep, deliveries: DeliveriesDep, task_id: str
) -> Response:
    """Have a task's last callback delivered again: the same id and body, a new timestamp."""
    return answers.json(await deliveries.redeliver(caller, task_id), status=202)


@router.post(
    "/callbacks:redeliver",
    status_code=202,
    response_model=models.Redelivery,
    operation_id="redeliverCallbacks",
    responses=openapi.problems(400, 408, 413, 415, 429),
    openapi_extra=openapi.json_body(
        models.RedeliveryOrder,
        {"from": "2026-01-02T03:00:00Z", "to": "2026-01-02T04:00:00Z", "state": "Exhausted"},
    ),
)
async def redeliver_callbacks(
    caller: CallerDep, deliveries: DeliveriesDep, document: JsonBodyDep
) -> Response:
    """Have callbacks delivered again by when their events were; page by page, until no cursor."""
    return answers.json(await deliveries.redeliver_all(caller, document), status=202)


@router.post(
    "/callbacks:test",
    response_model=models.CallbackTrial,
    operation_id="testCallback",
    responses=openapi.problems(400, 408, 413, 415, 429),
    openapi_extra=openapi.json_body(models.CallbackTrialOrder, {"url": "https://example.com/done"}),
)
async def test_callback(caller: CallerDep, trials: TrialsDep, document: JsonBodyDep) -> Response:
    """Send a receiver a signed `longtask.test`, and see its status code, or what went wrong."""
    return answers.json(await trials.run(caller, document))
