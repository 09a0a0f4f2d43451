"""Results and log tails of the programs of pipelines."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the step."""
    op.add_column("blobs", sa.Column("run", sa.String(80), nullable=False, server_default=""))
    op.drop_index("uq_blobs_whole", "blobs")
    op.create_index(
        "uq_blobs_whole",
        "blobs",
        ["task_uid", "kind", "run", "attempt", "sha256"],
        unique=True,
        sqlite_where=sa.text("sha256 IS NOT NULL"),
        postgresql_where=sa.text("sha256 IS NOT NULL"),
    )
