"""Callbacks: their keys, their log, another try."""

from datetime import datetime

from pydantic import Field

from longtask_client.models.common import Order
from longtask_crds import v1alpha1


class CallbackKey(v1alpha1.Model):
    """The key that signs one's callbacks."""

    key: str
    """`whsec_` and base64, for any Standard Webhooks library."""

    previous_until: datetime | None = None
    """Until when the keys before it sign as well, each with a signature of its own; null if there
    are none."""


class CallbackLog(v1alpha1.Model):
    """How a task's last event is delivered, and each try."""

    id: str | None
    """The webhook-id, the same on every try; null while there is nothing to deliver."""

    event: v1alpha1.TaskEvent | None
    """What is reported."""

    state: v1alpha1.CallbackState | None
    """Pending, Delivered or Exhausted."""

    tries: int
    """How often it was sent since it was opened, or opened again."""

    next_try_at: datetime | None
    """When it is sent next."""

    delivered_at: datetime | None
    """When it was accepted."""

    items: list[v1alpha1.Delivery]
    """The last twenty tries, of this event and of those before it, the oldest first."""

    next_cursor: str | None = None
    """Always null: there are few."""


class RedeliveryOrder(Order):
    """Which callbacks to deliver again."""

    from_: v1alpha1.GivenTime = Field(alias="from")
    """What they report happened at this time or later,"""

    to: v1alpha1.GivenTime
    """and before this time."""

    state: v1alpha1.CallbackState | None = None
    """They stand like this; Delivered or Exhausted when absent."""

    cursor: str | None = None
    """`nextCursor` of the answer before."""


class Redelivery(v1alpha1.Model):
    """Which callbacks are delivered again."""

    items: list[str]
    """The ids of their tasks."""

    next_cursor: str | None
    """What goes on from there; null when all are done."""


class CallbackTrialOrder(Order):
    """A receiver to try."""

    url: v1alpha1.Url
    """Where it is."""

    format: v1alpha1.MessageFormat | None = None
    """How it is told; standard when absent."""


class CallbackTrial(v1alpha1.Model):
    """What became of a signed `longtask.test`. Nothing of the receiver's answer but its code."""

    id: str
    """The webhook-id that it had."""

    delivered: bool
    """Whether the receiver answered 2xx."""

    code: int | None
    """The status code of the answer."""

    error: str | None
    """What went wrong, if no answer came: a word of `status.callback.lastError`."""

    seconds: float
    """How long it took."""
