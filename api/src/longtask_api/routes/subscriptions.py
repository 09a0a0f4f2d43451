"""Endpoints of subscriptions."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from longtask_api.dependencies import CallerDep, JsonBodyDep, MergePatchDep, SubscriptionsDep
from longtask_api.http import answers, openapi
from longtask_client import models

router = APIRouter(prefix="/subscriptions", tags=["subscriptions"])

_BODY = (400, 403, 408, 413, 415, 422, 429)
_Limit = Annotated[int, Query(ge=1, le=500, description="At most so many.")]


@router.post(
    "",
    status_code=201,
    operation_id="createSubscription",
    responses=openapi.problems(409, *_BODY),
    openapi_extra=openapi.json_body(
        models.SubscriptionOrder,
        {"url": "https://example.com/hook", "events": ["failed"], "filter": {"queue": "gpu"}},
    ),
)
async def create_subscription(
    caller: CallerDep, subscriptions: SubscriptionsDep, document: JsonBodyDep
) -> models.SubscriptionView:
    """Have a receiver told what happens to tasks: one's own, or for an admin everybody's."""
    return await subscriptions.make(caller, document)


@router.get(
    "",
    response_model=models.SubscriptionPage,
    operation_id="listSubscriptions",
    responses=openapi.problems(400),
)
async def list_subscriptions(
    request: Request,
    caller: CallerDep,
    subscriptions: SubscriptionsDep,
    limit: _Limit = 50,
    cursor: openapi.Cursor = None,
) -> Response:
    """List one's subscriptions, or for an admin everybody's, the newest first."""
    found = await subscriptions.page(caller, limit=limit, cursor=cursor)
    return answers.json(found, headers=answers.next_page(request, found.next_cursor))


@router.get(
    "/{subscription_id}",
    response_model=models.SubscriptionView,
    operation_id="getSubscription",
    responses=openapi.problems(404),
)
async def get_subscription(
    caller: CallerDep, subscriptions: SubscriptionsDep, subscription_id: str
) -> Response:
    """Look at a subscription."""
    return answers.json(await subscriptions.get(caller, subscription_id))


@router.patch(
    "/{subscription_id}",
    operation_id="changeSubscription",
    responses=openapi.problems(404, *_BODY),
    openapi_extra=openapi.json_body(models.SubscriptionChange, {"paused": True}),
)
async def change_subscription(
    caller: CallerDep,
    subscriptions: SubscriptionsDep,
    subscription_id: str,
    document: MergePatchDep,
) -> models.SubscriptionView:
    """Change a subscription, pause it, or let it be told again."""
    return await subscriptions.change(caller, subscription_id, document)


@router.delete(
    "/{subscription_id}",
    status_code=204,
    operation_id="deleteSubscription",
    responses=openapi.problems(403, 404),
)
async def delete_subscription(
    caller: CallerDep, subscriptions: SubscriptionsDep, subscription_id: str
) -> None:
    """Delete a subscription with its deliveries: nothing more is sent."""
    await subscriptions.delete(caller, subscription_id)


@router.get(
    "/{subscription_id}/deliveries",
    response_model=models.DeliveryPage,
    operation_id="listDeliveries",
    responses=openapi.problems(400, 404),
)
async def list_deliveries(
    request: Request,
    caller: CallerDep,
    subscriptions: SubscriptionsDep,
    subscription_id: str,
    state: Annotated[
        models.DeliveryState | None, Query(description="Only those that stand like this.")
    ] = None,
    limit: _Limit = 50,
    cursor: openapi.Cursor = None,
) -> Response:
    """List what a subscription was told in the last seven days, or is to be told; newest first."""
    found = await subscriptions.deliveries(
        caller, subscription_id, state=state, limit=limit, cursor=cursor
    )
    return answers.json(found, headers=answers.next_page(request, found.next_cursor))


@router.post(
    "/{subscription_id}/deliveries:redeliver",
    status_code=202,
    operation_id="redeliverDeliveries",
    responses=openapi.problems(404, 409, *_BODY),
    openapi_extra=openapi.json_body(
        models.SubscriptionRedeliveryOrder, {"from": "2026-01-02T03:00:00Z", "state": "given_up"}
    ),
)
async def redeliver_deliveries(
    caller: CallerDep, subscriptions: SubscriptionsDep, subscription_id: str, document: JsonBodyDep
) -> models.SubscriptionRedelivery:
    """Have deliveries made again that are over: the same id and body, a new timestamp."""
    return await subscriptions.redeliver(caller, subscription_id, document)
