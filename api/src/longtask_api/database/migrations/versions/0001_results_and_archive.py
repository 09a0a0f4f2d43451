"""Results and log tails, and the archive."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _in_order(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Take the step."""
    op.create_table(
        "archive",
        sa.Column("task_uid", _in_order(64), nullable=False),
        sa.Column("namespace", _in_order(63), nullable=False),
        sa.Column("name", _in_order(253), nullable=False),
        sa.Column("owner", sa.String(63)),
        sa.Column("type", sa.String(253)),
        sa.Column("queue", sa.String(253)),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("task_uid", name="pk_archive"),
    )
    op.create_index("ix_archive_age", "archive", ["created_at", "namespace", "name", "task_uid"])
    op.create_index("ix_archive_archived_at", "archive", ["archived_at"])
    op.create_index("ix_archive_name", "archive", ["namespace", "name", "created_at"])
    op.create_index(
        "ix_archive_owner_age", "archive", ["owner", "created_at", "namespace", "name", "task_uid"]
    )
    op.create_index(
        "ix_archive_phase_age", "archive", ["phase", "created_at", "namespace", "name", "task_uid"]
    )
    op.create_index(
        "ix_archive_queue_age", "archive", ["queue", "created_at", "namespace", "name", "task_uid"]
    )
    op.create_index(
        "ix_archive_type_age", "archive", ["type", "created_at", "namespace", "name", "task_uid"]
    )
    op.create_table(
        "blobs",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("task_uid", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("media_type", sa.String(100), nullable=False),
        sa.Column("size", sa.BigInteger()),
        sa.Column("sha256", sa.String(64)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_blobs"),
    )
    op.create_index(
        "ix_blobs_partial",
        "blobs",
        ["created_at"],
        sqlite_where=sa.text("sha256 IS NULL"),
        postgresql_where=sa.text("sha256 IS NULL"),
    )
    op.create_index("ix_blobs_task_uid", "blobs", ["task_uid"])
    op.create_index(
        "uq_blobs_whole",
        "blobs",
        ["task_uid", "kind", "attempt", "sha256"],
        unique=True,
        sqlite_where=sa.text("sha256 IS NOT NULL"),
        postgresql_where=sa.text("sha256 IS NOT NULL"),
    )
    op.create_table(
        "archive_labels",
        sa.Column("task_uid", sa.String(64), nullable=False),
        sa.Column("key", sa.String(317), nullable=False),
        sa.Column("value", sa.String(63), nullable=False),
        sa.ForeignKeyConstraint(
            ["task_uid"],
            ["archive.task_uid"],
            name="fk_archive_labels_task_uid_archive",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("task_uid", "key", name="pk_archive_labels"),
    )
    op.create_index("ix_archive_labels_key_value", "archive_labels", ["key", "value"])
    op.create_table(
        "blob_chunks",
        sa.Column("blob_id", sa.String(32), nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["blob_id"], ["blobs.id"], name="fk_blob_chunks_blob_id_blobs", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("blob_id", "start", name="pk_blob_chunks"),
    )
