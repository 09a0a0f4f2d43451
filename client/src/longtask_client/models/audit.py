"""Who did what."""

import enum
from datetime import datetime

from longtask_client.models.accounts import Via
from longtask_crds import v1alpha1


class Door(enum.StrEnum):
    """By which door somebody came."""

    REST = "rest"  #: the API
    KUBERNETES = "kubernetes"  #: kubectl, or whatever else writes resources


class ActOutcome(enum.StrEnum):
    """What became of an act."""

    DONE = "done"  #: it was done, or was so already
    REFUSED = "refused"  #: who asked may not
    UNKNOWN = "unknown"  #: something failed on the way: it may be done, or not


class AuditEntry(v1alpha1.Model):
    """Somebody's act: by whom, when, what, to what, and what became of it."""

    id: str
    """What tells it from others."""

    at: datetime
    """When it was asked for; of a change by Kubernetes itself, when that was made."""

    door: Door
    """By which door they came."""

    act: str
    """What was asked for, as the API's description calls it: `createTask`."""

    actor: str
    """Who, as people call them. By Kubernetes itself: the program, such as `kubectl-create`, for
    that is all that is known."""

    subject: str
    """The owner of the tasks that they make; empty for the installation's token, and by Kubernetes
    itself."""

    via: Via | None
    """What they showed to say who they are; null by Kubernetes itself."""

    target: str | None
    """What it was done to: the name or id of a task, a queue, a user, …; null for what has none."""

    target_uid: str | None
    """The task's uid, which no two tasks ever share."""

    outcome: ActOutcome
    """What became of it."""

    status: int | None
    """The status code of the answer; null by Kubernetes itself."""

    request_id: str | None
    """What the log calls the request: the header `X-Request-ID`."""

    address: str | None
    """Where they asked from."""

    detail: dict[str, v1alpha1.Json]
    """What else is said of it: the new priority, the new role. Never a password, token or key."""


class AuditPage(v1alpha1.Model):
    """One page of what was done."""

    items: list[AuditEntry]
    """The acts, the newest first."""

    next_cursor: str | None
    """What brings the next page; null on the last one."""
