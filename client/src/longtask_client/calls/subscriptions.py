"""Subscriptions: receivers that are told what happens to tasks, and how that went."""

from collections.abc import Sequence
from datetime import datetime

from longtask_client import exchange, models
from longtask_client.calls import pages, words

_LARGEST_PAGE = 500


def subscribe(order: models.SubscriptionOrder) -> exchange.Call[models.SubscriptionView]:
    """Have a receiver told what happens to one's tasks; for an admin, to everybody's.

    Raises:
        InvalidRequest: The URL may not be called, or a field is wrong.
        Conflict: One has as many subscriptions as may be.
    """
    # Never again: each makes one more.
    path, body = words.path("subscriptions"), order.to_json()
    return exchange.call("POST", path, models.SubscriptionView, body=body, patience=0)


def subscriptions() -> exchange.Stream[models.SubscriptionView]:
    """Yield one's subscriptions, or for an admin everybody's, the newest first."""
    return pages.each(words.path("subscriptions"), models.SubscriptionPage)


def subscription(subscription_id: str) -> exchange.Call[models.SubscriptionView]:
    """Return a subscription.

    Raises:
        NotFound: One has none of that id.
    """
    path = words.path("subscriptions", subscription_id)
    return exchange.call("GET", path, models.SubscriptionView)


def change_subscription(
    subscription_id: str, change: models.SubscriptionChange
) -> exchange.Call[models.SubscriptionView]:
    """Change a subscription, pause it, or let it be told again.

    Raises:
        NotFound: One has none of that id.
        InvalidRequest: The URL may not be called, or a field is wrong.
    """
    path, body = words.path("subscriptions", subscription_id), change.to_json()
    return exchange.call("PATCH", path, models.SubscriptionView, body=body)


def unsubscribe(subscription_id: str) -> exchange.Call[None]:
    """Delete a subscription with its deliveries.

    Raises:
        NotFound: One has none of that id.
    """
    request = exchange.Request("DELETE", words.path("subscriptions", subscription_id))
    return exchange.Call(request, lambda _: None, patience=0)


def deliveries(
    subscription_id: str,
    *,
    state: models.DeliveryState | None = None,
    limit: int | None = None,
) -> exchange.Stream[models.DeliveryView]:
    """Yield what a subscription was told in the last seven days, or is to be told; newest first.

    Args:
        subscription_id: The subscription.
        state: Only those that stand like this.
        limit: No more than so many.

    Raises:
        NotFound: One has none of that id.
    """
    return pages.each(
        words.path("subscriptions", subscription_id, "deliveries"),
        models.DeliveryPage,
        parameters={"state": state},
        limit=limit,
        size=_LARGEST_PAGE,
    )


def redeliver_to(
    subscription_id: str,
    *,
    ids: Sequence[str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    state: models.DeliveryState | None = None,
) -> exchange.Call[int]:
    """Have deliveries made again that are over; return how many. The same ids and bodies come.

    Args:
        subscription_id: The subscription.
        ids: These deliveries; all that fit the rest when absent.
        since: Those that were first to be sent at this time or later, …
        until: … and before this one.
        state: Only those that stand like this.

    Raises:
        NotFound: One has none of that id.
        InvalidRequest: Nothing is said of which.
        Conflict: It is paused.
    """
    said = {
        "ids": None if ids is None else list(ids),
        "from": words.stamp(since),
        "to": words.stamp(until),
        "state": state,
    }
    body = {key: value for key, value in said.items() if value is not None}
    path = words.path("subscriptions", subscription_id, "deliveries", then=":redeliver")
    request = exchange.Request("POST", path, body=body)
    return exchange.Call(
        request, lambda answer: exchange.parsed(answer, models.SubscriptionRedelivery).count
    )
