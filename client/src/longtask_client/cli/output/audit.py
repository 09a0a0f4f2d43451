"""Who did what, as text."""

from typing import Final

from longtask_client import models
from longtask_client.cli.output import phrases
from longtask_client.cli.output.tables import Column, Table

AUDIT: Final[Table[models.AuditEntry]] = Table(
    (
        Column("TIME", lambda one, _: phrases.clock(one.at)),
        Column("WHO", lambda one, _: one.actor),
        Column("ACT", lambda one, _: one.act),
        Column("TARGET", lambda one, _: one.target or "-"),
        Column("OUTCOME", lambda one, _: one.outcome),
        Column("BY", lambda one, _: one.via or one.door),
        Column("FROM", lambda one, _: one.address or "-", is_wide=True),
        Column("REQUEST", lambda one, _: one.request_id or "-", is_wide=True),
    )
)
