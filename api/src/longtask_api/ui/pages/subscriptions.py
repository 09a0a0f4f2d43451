"""Subscriptions: who is told what happens to tasks, and how that went."""

from typing import Final

from fastapi import APIRouter, Request, Response

from longtask_api.auth import callers
from longtask_api.dependencies import CallerDep, SubscriptionsDep
from longtask_api.ui import shell, words
from longtask_api.ui.groups import Group
from longtask_client import models
from longtask_crds import v1alpha1

router = APIRouter(include_in_schema=False, route_class=shell.PageRoute)

_A_PAGE: Final = 50
_GROUPS: Final = {
    models.DeliveryState.PENDING: Group.WAITING,
    models.DeliveryState.SENT: Group.SUCCEEDED,
    models.DeliveryState.GIVEN_UP: Group.FAILED,
    models.DeliveryState.DROPPED: Group.CANCELLED,
}


@router.get("/subscriptions")
async def show_subscriptions(
    request: Request, caller: CallerDep, subscriptions: SubscriptionsDep, cursor: str | None = None
) -> Response:
    """Show one's subscriptions; for an admin everybody's."""
    found = await subscriptions.page(caller, limit=_A_PAGE, cursor=cursor)
    return shell.page(
        request,
        "subscriptions.html",
        caller=caller,
        here="subscriptions",
        subscriptions=[(one, _filter(one.filter)) for one in found.items],
        says=_summary(found.items, has_more=found.next_cursor is not None),
        task_events=list(v1alpha1.TaskEvent),
        formats=list(v1alpha1.MessageFormat),
        next_cursor=found.next_cursor,
        is_first=cursor is None,
        may_write=caller.may(callers.Act.WRITE),
    )


@router.get("/subscriptions/{subscription_id}")
async def show_subscription(
    request: Request,
    caller: CallerDep,
    subscriptions: SubscriptionsDep,
    subscription_id: str,
    state: models.DeliveryState | None = None,
    cursor: str | None = None,
) -> Response:
    """Show a subscription, and what it was told or is to be told."""
    one = await subscriptions.get(caller, subscription_id)
    found = await subscriptions.deliveries(
        caller, subscription_id, state=state, limit=_A_PAGE, cursor=cursor
    )
    return shell.page(
        request,
        "subscription.html",
        caller=caller,
        here="subscriptions",
        subscription=one,
        tasks=_filter(one.filter),
        deliveries=[(delivery, _GROUPS[delivery.state]) for delivery in found.items],
        states=list(models.DeliveryState),
        state=state,
        next_cursor=found.next_cursor,
        is_first=cursor is None,
        may_write=caller.may(callers.Act.WRITE),
    )


def _filter(wanted: models.SubscriptionFilter) -> str:
    """Say of which tasks it is told."""
    named = {
        "of the type": wanted.type,
        "in the queue": wanted.queue,
        "of": wanted.owner,
        "in the namespace": wanted.namespace,
    }
    told = [f"{says} {value}" for says, value in named.items() if value is not None]
    told += [f"with {key}={value}" for key, value in wanted.labels.items()]
    return ", ".join(told)


def _summary(found: list[models.SubscriptionView], *, has_more: bool) -> str:
    if not found:
        return "Nobody is told."
    paused = sum(one.paused for one in found)
    told = f"{words.count(len(found), 'receiver')}{' and more' if has_more else ''}."
    return f"{told} {paused} {'is' if paused == 1 else 'are'} paused." if paused else told
