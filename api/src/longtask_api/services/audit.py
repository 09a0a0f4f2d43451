"""Shows administrators who did what."""

from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.services import cursors
from longtask_api.stores import audit
from longtask_client import models


class AuditService:
    """Reads what the auditor wrote down."""

    def __init__(self, store: audit.Audit) -> None:
        self._store = store

    async def page(
        self, caller: callers.Caller, wanted: audit.Wanted, *, limit: int, cursor: str | None
    ) -> models.AuditPage:
        """Return one page of acts, the newest first.

        Raises:
            Forbidden: The caller is no admin of the installation.
            Malformed: The cursor is none of ours, or of another list.
            DatabaseAway: The database does not answer.
        """
        if not caller.is_admin:
            raise errors.Forbidden("Only admins see who did what.")
        mark = cursors.mark_of("audit", wanted)
        after = cursors.moment_and_id(cursor, mark)
        found = await self._store.page(wanted, after=after, limit=limit + 1)
        shown, more = cursors.one_page(found, limit, mark, lambda one: (one.at, one.id))
        return models.AuditPage(items=list(map(_view, shown)), next_cursor=more)


def _view(entry: audit.Entry) -> models.AuditEntry:
    return models.AuditEntry(
        id=entry.id,
        at=entry.at,
        door=models.Door(entry.door),
        act=entry.act,
        actor=entry.actor,
        subject=entry.subject,
        via=None if entry.via is None else models.Via(entry.via),
        target=entry.target,
        target_uid=entry.target_uid,
        outcome=models.ActOutcome(entry.outcome),
        status=entry.status,
        request_id=entry.request_id,
        address=entry.address,
        detail=entry.detail,
    )
