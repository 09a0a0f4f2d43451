"""Who did what; and who wants to be told at a URL of theirs."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _in_order(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Take the step."""
    op.create_table(
        "audit",
        sa.Column("id", _in_order(32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("door", sa.String(16), nullable=False),
        sa.Column("act", sa.String(64), nullable=False),
        sa.Column("actor", sa.String(256), nullable=False),
        sa.Column("subject", sa.String(63), nullable=False),
        sa.Column("via", sa.String(16)),
        sa.Column("target", sa.String(253)),
        sa.Column("target_uid", sa.String(64)),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("request_id", sa.String(64)),
        sa.Column("address", sa.String(64)),
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_at", "audit", ["at", "id"])
    for column in ("actor", "subject", "target"):
        op.create_index(f"ix_audit_{column}_at", "audit", [column, "at", "id"])
    op.create_table(
        "subscriptions",
        sa.Column("id", _in_order(32), nullable=False),
        sa.Column("owner", sa.String(63), nullable=False),
        sa.Column("is_local", sa.Boolean, nullable=False),
        sa.Column("scope", sa.String(8), nullable=False),
        sa.Column("url", sa.String(2048), nullable=False),
        sa.Column("events", sa.String(100), nullable=False),
        sa.Column("filter", sa.Text, nullable=False),
        sa.Column("format", sa.String(16), nullable=False),
        sa.Column("description", sa.String(100)),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("paused_reason", sa.String(32)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_subscriptions"),
    )
    op.create_index("ix_subscriptions_owner", "subscriptions", ["owner"])
