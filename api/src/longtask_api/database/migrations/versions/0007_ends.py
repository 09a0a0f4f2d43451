"""What is counted of archived tasks: when they ended, why, and how long they waited and ran."""

import json
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_COUNTED = ["type", "is_pipeline", "phase", "reason", "waited", "ran"]
_FOUND = ("ended", "is_pipeline", "reason", "waited", "ran")
_AT_ONCE = 500
_ARCHIVE = sa.table(
    "archive",
    *(sa.column(name) for name in ("task_uid", "document", *_FOUND)),
)


def upgrade() -> None:
    """Take the step."""
    op.add_column("archive", sa.Column("ended", sa.BigInteger))
    op.add_column(
        "archive",
        sa.Column("is_pipeline", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.add_column("archive", sa.Column("reason", sa.String(64)))
    op.add_column("archive", sa.Column("waited", sa.Integer))
    op.add_column("archive", sa.Column("ran", sa.Integer))
    connection, last = op.get_bind(), ""
    asked = sa.select(_ARCHIVE.c.task_uid, _ARCHIVE.c.document).order_by(_ARCHIVE.c.task_uid)
    told = (
        sa.update(_ARCHIVE)
        .where(_ARCHIVE.c.task_uid == sa.bindparam("uid"))
        .values({name: sa.bindparam(f"new_{name}") for name in _FOUND})
    )
    while rows := connection.execute(asked.where(_ARCHIVE.c.task_uid > last).limit(_AT_ONCE)).all():
        last = rows[-1].task_uid
        connection.execute(
            told,
            [
                {"uid": row.task_uid}
                | {f"new_{name}": value for name, value in _counted(row.document).items()}
                for row in rows
            ],
        )
    op.create_index("ix_archive_ended", "archive", ["ended", *_COUNTED])
    op.create_index("ix_archive_owner_ended", "archive", ["owner", "ended", *_COUNTED])


def _counted(document: str) -> dict[str, Any]:
    """Return what the code of this version would say of the task; code of later ones may differ."""
    task = json.loads(document)
    status = task.get("status") or {}
    made = (task.get("metadata") or {}).get("creationTimestamp")
    queued, started, ended = (
        _moment(one)
        for one in (
            status.get("queuedAt") or made,
            status.get("startedAt"),
            status.get("finishedAt"),
        )
    )
    reasons = [
        one.get("reason") for one in status.get("conditions") or () if one["type"] == "Succeeded"
    ]
    is_counted = ended is not None
    return {
        "ended": None if ended is None else int(ended.timestamp()),
        "is_pipeline": bool((task.get("spec") or {}).get("steps")),
        "reason": reasons[0] if reasons and is_counted else None,
        "waited": _between(queued, started) if is_counted else None,
        "ran": _between(started, ended),
    }


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _between(start: datetime | None, end: datetime | None) -> int | None:
    if start is None or end is None or end < start:
        return None
    return int((end - start).total_seconds())
