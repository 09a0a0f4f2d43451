"""Mails, and who wants them, as text."""

from datetime import datetime
from typing import Final

from longtask_client import models
from longtask_client.cli.output import phrases
from longtask_client.cli.output.tables import Column, Table

NOTICES: Final[Table[models.NoticeView]] = Table(
    (
        Column("TIME", lambda one, _: phrases.clock(one.created_at)),
        Column("TASK", lambda one, _: one.task or "-"),
        Column("EVENT", lambda one, _: one.event),
        Column("TO", lambda one, _: one.to),
        Column("STATE", lambda one, _: one.state),
        Column("TRIES", lambda one, _: str(one.tries)),
        Column("ERROR", lambda one, _: one.error or "-"),
        Column("SUBJECT", lambda one, _: phrases.cut(one.subject or "-"), is_wide=True),
    )
)


def notice_wish(wish: models.NoticeWishView, _: datetime) -> str:
    """Return of what somebody is mailed, and where."""
    state = "confirmed" if wish.verified else "not confirmed: see longtask mail verify"
    return phrases.facts(
        ("Events", ", ".join(wish.events) or "none"),
        ("To", f"{wish.email} ({state})" if wish.email else "no address: see longtask mail verify"),
    )
