"""What was told by mail, and who wants to hear of what."""

import enum
from typing import Annotated

from pydantic import Field, StringConstraints

from longtask_client.models.accounts import Email
from longtask_client.models.common import Order
from longtask_crds import v1alpha1


class NoticeState(enum.StrEnum):
    """What became of a notice."""

    PENDING = "pending"
    SENT = "sent"
    LOGGED = "logged"
    GIVEN_UP = "given_up"
    DROPPED = "dropped"


class NoticeView(v1alpha1.Model):
    """Something that was told by mail, or is about to be."""

    id: str
    """Its id."""

    event: str
    """What happened."""

    event_id: str
    """The event's id: the `webhook-id` of the callback that tells the same."""

    sequence: int
    """What sorts the events of a task: a later one has a higher number."""

    task: str
    """The task that it happened to, or the schedule."""

    namespace: str
    """The namespace of that."""

    to: str
    """The address."""

    state: NoticeState
    """pending: it is sent, or tried again, at `nextTryAt`; sent: the mail server has taken it;
    logged: this installation sends no mails; given_up: the mail server does not take it; dropped:
    it may not be sent there, or nobody wants it there."""

    tries: int
    """How often it was tried."""

    code: int | None
    """What the mail server answered the last time."""

    error: str | None
    """Why it was not sent."""

    mail: str | None
    """The mail that told it, perhaps with others: its Message-ID, up to the @."""

    created_at: v1alpha1.Time
    """When it was noted."""

    next_try_at: v1alpha1.Time | None
    """When it is sent, or tried again."""

    settled_at: v1alpha1.Time | None
    """When it was sent, given up or dropped."""

    subject: str | None
    """The mail's subject, if it is the only one in its mail; null where that is secret."""

    text: str | None
    """The mail's text, likewise."""


class NoticePage(v1alpha1.Model):
    """One page of notices, the newest first."""

    items: list[NoticeView]
    """The notices."""

    next_cursor: str | None
    """What gets the next page; null on the last one."""


class NoticeWish(Order):
    """Of what one wants to be mailed."""

    events: Annotated[list[v1alpha1.TaskEvent], Field(max_length=7)]
    """Which events of one's own tasks; none at all when empty."""


class NoticeWishView(NoticeWish):
    """Of what one is mailed, and where."""

    email: str | None
    """The account's address."""

    verified: bool
    """Whether it is known to be theirs: mails go to no other."""


class EmailOrder(Order):
    """An address to confirm."""

    email: Email | None = None
    """The address; the account's own when absent."""


class EmailCode(Order):
    """What shows that an address is one's own."""

    code: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    """What stands in the mail."""
