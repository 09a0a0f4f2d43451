"""Who is told what, and how far that has come."""

import enum
from typing import Annotated

from pydantic import Field, StringConstraints

from longtask_crds.v1alpha1.fields import Count, Message, Model, Percent, Time, Word
from longtask_crds.v1alpha1.workload import SecretKeyRef


class TaskEvent(enum.StrEnum):
    """What may be told of a task."""

    QUEUED = "queued"
    STARTED = "started"
    PROGRESS = "progress"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: Not `\s`: of white space Go's means ASCII, pydantic's means Unicode, and a resource that the one
#: takes and the other does not would be passed over for ever.
_SPACE = r"\t\n\f\r "
URL_PATTERN = rf"^https?://[^{_SPACE}/?#@\\]+([/?][^{_SPACE}#\\]*)?$"
Url = Annotated[str, StringConstraints(pattern=URL_PATTERN, max_length=2048)]


class MessageFormat(enum.StrEnum):
    """How a receiver is told what happened."""

    STANDARD = "standard"  #: as Standard Webhooks say
    CLOUDEVENTS = "cloudevents"  #: a CloudEvent 1.0, as JSON
    SLACK = "slack"  #: a line for people, as Slack's and Mattermost's incoming webhooks take it


class Callback(Model):
    """Where to send what becomes of the task."""

    url: Url
    """The receiver: https, unless the installation allows http for that host; no user name, no
    fragment. Private addresses are refused unless the installation allows them."""

    secret_ref: SecretKeyRef | None = None
    """The signing key, `whsec_` and base64 of 24 to 64 bytes; the owner's own key when absent. The
    Secret must carry the label longtask.dev/callback: "true"."""

    events: (
        Annotated[list[TaskEvent], Field(max_length=7, json_schema_extra={"uniqueItems": True})]
        | None
    ) = None
    """What to report; succeeded, failed and cancelled when absent."""

    format: MessageFormat | None = None
    """How it is told: standard when absent, cloudevents, or slack. Each is signed the same."""

    headers: (
        Annotated[
            dict[str, Annotated[str, StringConstraints(pattern=r"^[\t -~]*$", max_length=1024)]],
            Field(max_length=20),
        ]
        | None
    ) = None
    """Further headers to send. Host, webhook-* and connection headers cannot be set."""


class Notify(Model):
    """Who gets an e-mail."""

    email: Annotated[
        str, StringConstraints(pattern=rf"^[^@{_SPACE}]+@[^@{_SPACE}]+$", max_length=254)
    ]
    """The address."""

    events: (
        Annotated[list[TaskEvent], Field(max_length=7, json_schema_extra={"uniqueItems": True})]
        | None
    ) = None
    """What to report; succeeded, failed and cancelled when absent."""


class CallbackState(enum.StrEnum):
    """Where a delivery stands."""

    PENDING = "Pending"
    DELIVERED = "Delivered"
    EXHAUSTED = "Exhausted"


class EventFacts(Model):
    """What an event tells that is no end: the task goes on while it is delivered."""

    at: Time
    """When it happened."""

    attempt: Count
    """The number of the attempt that it speaks of; 0 before the first."""

    step: Word | None = None
    """The pipeline's program that it speaks of: a step, or an item of one as `STEP.INDEX`."""

    sequence: Count | None = None
    """What sorts it among the events of its task."""

    percent: Percent | None = None
    """How much of the work was done."""

    reason: Word | None = None
    """Why, as one word."""

    message: Message | None = None
    """What the program did, or how the attempt ended."""

    started_at: Time | None = None
    """When the first attempt's container had started, if it had."""


class Delivery(Model):
    """One try to deliver an event."""

    at: Time
    """When it began."""

    event: TaskEvent
    """What was reported."""

    code: int | None = None
    """The status code of the answer."""

    seconds: Annotated[float, Field(ge=0)] = 0
    """How long it took."""

    error: Annotated[str, StringConstraints(max_length=256)] | None = None
    """What went wrong, if no answer came."""


class CallbackStatus(Model):
    """The delivery of the last event: an outbox of one entry."""

    id: Word
    """The webhook-id: the same on every try."""

    event: TaskEvent
    """What is reported."""

    state: CallbackState
    """Pending, Delivered or Exhausted."""

    tries: Count = 0
    """How often it was sent."""

    next_try_at: Time | None = None
    """When it is sent next."""

    last_code: int | None = None
    """The status code of the last answer."""

    last_error: Annotated[str, StringConstraints(max_length=256)] | None = None
    """What went wrong on the last try, if no answer came."""

    delivered_at: Time | None = None
    """When it was accepted."""

    facts: EventFacts | None = None
    """What is told, of an event that is no end: the same on every try."""

    redelivery: Word | None = None
    """The request to deliver again, by the annotation longtask.dev/redeliver, that was acted upon
    last."""

    deliveries: Annotated[list[Delivery], Field(max_length=20)] | None = None
    """The last twenty tries, of this event and of those before it."""
