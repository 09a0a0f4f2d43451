"""Whose run an archived task is."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the step."""
    op.add_column("archive", sa.Column("schedule", sa.String(63)))
    op.create_index(
        "ix_archive_schedule_age",
        "archive",
        ["schedule", "created_at", "namespace", "name", "task_uid"],
    )
