"""Who did what."""

from datetime import datetime

from longtask_client import exchange, models
from longtask_client.calls import pages, words

_LARGEST_PAGE = 500


def audit(
    *,
    actor: str | None = None,
    act: str | None = None,
    target: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
) -> exchange.Stream[models.AuditEntry]:
    """Yield who did what, the newest first. For admins.

    Args:
        actor: By whom: as people call them, or the owner of their tasks.
        act: What was asked for, such as `deleteTask`.
        target: To what it was done.
        since: At this time or later.
        until: Before this time.
        limit: No more than so many.
    """
    parameters = {
        "actor": actor,
        "act": act,
        "target": target,
        "since": words.stamp(since),
        "until": words.stamp(until),
    }
    return pages.each(
        words.path("audit"),
        models.AuditPage,
        parameters=parameters,
        limit=limit,
        size=_LARGEST_PAGE,
    )
