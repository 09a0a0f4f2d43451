"""What happened to a task, what each of it is known by, and how it is told."""

from longtask_crds.events.bodies import (
    INLINE_LIMIT,
    CallbackBody,
    CallbackData,
    StepData,
    body,
    fetched,
    result_path,
    trial_body,
)
from longtask_crds.events.formats import media_type
from longtask_crds.events.ledger import Event, StepEvent, numbered, of, progress
from longtask_crds.events.numbers import terminal_event, webhook_id
from longtask_crds.events.outbox import facts_of, is_wanted, on_the_way, outbox, progress_due_at

__all__ = [
    "INLINE_LIMIT",
    "CallbackBody",
    "CallbackData",
    "Event",
    "StepData",
    "StepEvent",
    "body",
    "facts_of",
    "fetched",
    "is_wanted",
    "media_type",
    "numbered",
    "of",
    "on_the_way",
    "outbox",
    "progress",
    "progress_due_at",
    "result_path",
    "terminal_event",
    "trial_body",
    "webhook_id",
]
