"""Subscriptions, and what was delivered to them."""

import enum
from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from longtask_client.models.common import Line, Order
from longtask_crds import v1alpha1


class SubscriptionFilter(Order):
    """Of which tasks one wants to hear; what is absent does not matter."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=253)] | None = None
    """Of this type."""

    queue: Annotated[str, StringConstraints(min_length=1, max_length=253)] | None = None
    """In this queue."""

    owner: Annotated[str, StringConstraints(max_length=63)] | None = None
    """Of this owner; for admins, who hear of everybody's."""

    namespace: Annotated[str, StringConstraints(min_length=1, max_length=63)] | None = None
    """In this namespace."""

    labels: dict[
        Annotated[str, StringConstraints(min_length=1, max_length=317)],
        Annotated[str, StringConstraints(max_length=63)],
    ] = Field(default_factory=dict, max_length=20)
    """With these labels."""


#: What a subscription may be told.
_Events = Annotated[list[v1alpha1.TaskEvent], Field(min_length=1, max_length=7)]


class SubscriptionOrder(Order):
    """A receiver of what happens to tasks."""

    url: v1alpha1.Url
    """Where it is: https, unless the installation allows http for that host."""

    events: _Events | None = None
    """What to tell it; succeeded, failed and cancelled when absent."""

    filter: SubscriptionFilter = SubscriptionFilter()
    """Of which tasks; of all that one sees when absent."""

    format: v1alpha1.MessageFormat | None = None
    """How it is told; standard when absent."""

    description: Line | None = None
    """What it is for."""


class SubscriptionChange(Order):
    """What is changed of a subscription; what is absent stays."""

    url: v1alpha1.Url | None = None
    """Where the receiver is."""

    events: _Events | None = None
    """What to tell it."""

    filter: SubscriptionFilter | None = None
    """Of which tasks, in place of what was said before."""

    format: v1alpha1.MessageFormat | None = None
    """How it is told."""

    description: Line | None = None
    """What it is for."""

    paused: Annotated[bool, Field(strict=True)] | None = None
    """Whether it is told nothing, until this is false again."""


class SubscriptionScope(enum.StrEnum):
    """Whose tasks a subscription may hear of."""

    OWN = "own"  #: of its owner's
    ALL = "all"  #: of everybody's: an admin made it


class SubscriptionView(v1alpha1.Model):
    """A subscription."""

    id: str
    """What it is known by."""

    url: str
    """Where its receiver is."""

    events: list[v1alpha1.TaskEvent]
    """What it is told."""

    filter: SubscriptionFilter
    """Of which tasks."""

    format: v1alpha1.MessageFormat
    """How it is told."""

    description: str | None
    """What it is for."""

    owner: str
    """Whose it is, and whose key signs; empty for the installation's."""

    scope: SubscriptionScope
    """Whose tasks it may hear of."""

    paused: bool
    """Whether it is told nothing."""

    paused_reason: str | None
    """Why, if nobody asked for it: `Gone`, when its receiver answered 410."""

    created_at: datetime
    """When it was made."""


class SubscriptionPage(v1alpha1.Model):
    """One page of subscriptions."""

    items: list[SubscriptionView]
    """The subscriptions, the newest first."""

    next_cursor: str | None
    """What brings the next page; null on the last one."""


class DeliveryState(enum.StrEnum):
    """Where a delivery to a subscription stands."""

    PENDING = "pending"  #: to be sent, again perhaps
    SENT = "sent"  #: the receiver has taken it
    GIVEN_UP = "given_up"  #: the receiver does not take it
    DROPPED = "dropped"  #: the subscription was paused, or is gone


class DeliveryView(v1alpha1.Model):
    """The delivery of an event to a subscription. It is kept for seven days."""

    id: str
    """What it is known by."""

    webhook_id: str
    """The id of the event: the header `webhook-id`, the same on every try."""

    event: str
    """What is told."""

    sequence: int
    """What sorts the events of a task."""

    task_id: str
    """The task that it is of."""

    state: DeliveryState
    """Where it stands."""

    tries: int
    """How often it was sent since it was asked for."""

    next_try_at: datetime | None
    """When it is sent next."""

    last_code: int | None
    """The status code of the last answer."""

    last_error: str | None
    """What went wrong on the last try, or why there is none."""

    created_at: datetime
    """Since when it was to be sent."""

    settled_at: datetime | None
    """When it was taken, given up or dropped."""


class DeliveryPage(v1alpha1.Model):
    """One page of deliveries."""

    items: list[DeliveryView]
    """The deliveries, the newest first."""

    next_cursor: str | None
    """What brings the next page; null on the last one."""


class SubscriptionRedeliveryOrder(Order):
    """Which deliveries of a subscription to make again; those that are over, and no others."""

    ids: Annotated[list[str], Field(min_length=1, max_length=500)] | None = None
    """These; all that fit the rest when absent."""

    from_: Annotated[v1alpha1.GivenTime | None, Field(alias="from")] = None
    """Those that were first to be sent at this time or later, …"""

    to: v1alpha1.GivenTime | None = None
    """… and before this one."""

    state: DeliveryState | None = None
    """Only those that stand like this."""


class SubscriptionRedelivery(v1alpha1.Model):
    """What is delivered again."""

    count: int
    """How many deliveries."""
