"""What is told by mail and to subscriptions, and who wants to be told."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _in_order(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Take the step."""
    op.create_table(
        "outbox",
        sa.Column("id", _in_order(32), nullable=False),
        sa.Column("channel", sa.String(16), nullable=False),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("task_uid", sa.String(64), nullable=False),
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("task_name", sa.String(253), nullable=False),
        sa.Column("owner", sa.String(63)),
        sa.Column("recipient", sa.String(254), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True)),
        sa.Column("taken_until", sa.DateTime(timezone=True)),
        sa.Column("taken_by", sa.String(32)),
        sa.Column("last_code", sa.Integer),
        sa.Column("last_error", sa.String(256)),
        sa.Column("batch", sa.String(64)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True)),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sa.UniqueConstraint(
            "event_id", "channel", "recipient", name="uq_outbox_event_id_channel_recipient"
        ),
    )
    is_pending = sa.text("state = 'pending'")
    op.create_index(
        "ix_outbox_due",
        "outbox",
        ["channel", "next_try_at"],
        sqlite_where=is_pending,
        postgresql_where=is_pending,
    )
    op.create_index("ix_outbox_told", "outbox", ["channel", "recipient", "settled_at"])
    op.create_index("ix_outbox_noted", "outbox", ["created_at", "id"])
    for column in ("owner", "task_name", "recipient"):
        op.create_index(f"ix_outbox_{column}_noted", "outbox", [column, "created_at", "id"])
    op.create_table(
        "muted_addresses",
        sa.Column("address", sa.String(254), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("address", name="pk_muted_addresses"),
    )
    op.add_column("users", sa.Column("email_verified_at", sa.DateTime(timezone=True)))
    op.add_column(
        "users",
        sa.Column("notice_events", sa.String(200), nullable=False, server_default=""),
    )
    op.add_column("users", sa.Column("notices_since", sa.DateTime(timezone=True)))
