"""What the database holds. A change here needs a migration: a test compares the two.

What is of tasks is keyed by a task's uid, which no two tasks ever share. Blobs belong to no
archived row: a task has results and log tails long before it is archived.
"""

from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

#: Names for all that has none of its own, so that migrations can change it later.
METADATA: Final = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Moment(sa.types.TypeDecorator[datetime]):
    """A moment in UTC, also where the database knows no zones."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Store it in UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return it with its zone."""
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


def _uid(*arguments: Any, **options: Any) -> sa.Column[str]:
    return sa.Column("task_uid", sa.String(64), *arguments, **options)


#: Bytes that belong to an attempt: its result, or the tail of its log. The row comes with the first
#: byte; until `sha256` is there, it is an upload under way, or what was left of one.
BLOBS: Final = sa.Table(
    "blobs",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    _uid(nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    #: Which of a pipeline's programs; empty for that of a plain task, and for the whole.
    sa.Column("run", sa.String(80), nullable=False, server_default=""),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("media_type", sa.String(100), nullable=False),
    sa.Column("size", sa.BigInteger),
    sa.Column("sha256", sa.String(64)),
    sa.Column("created_at", Moment, nullable=False),
)
#: What comes again is stored once. Others of the same attempt and kind go when one is chosen.
sa.Index(
    "uq_blobs_whole",
    BLOBS.c.task_uid,
    BLOBS.c.kind,
    BLOBS.c.run,
    BLOBS.c.attempt,
    BLOBS.c.sha256,
    unique=True,
    sqlite_where=BLOBS.c.sha256.is_not(None),
    postgresql_where=BLOBS.c.sha256.is_not(None),
)
sa.Index("ix_blobs_task_uid", BLOBS.c.task_uid)
#: For the sweep of what was left.
sa.Index(
    "ix_blobs_partial",
    BLOBS.c.created_at,
    sqlite_where=BLOBS.c.sha256.is_(None),
    postgresql_where=BLOBS.c.sha256.is_(None),
)

#: A blob's bytes, in pieces: no blob is ever in memory as a whole.
CHUNKS: Final = sa.Table(
    "blob_chunks",
    METADATA,
    sa.Column(
        "blob_id", sa.String(32), sa.ForeignKey(BLOBS.c.id, ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)


def _in_order(length: int) -> sa.String:
    """Return the type of text that sorts as Python sorts it, whatever the server's language."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


#: The records of finished tasks, kept when their resources go. What a list filters by has a column;
#: the rest stands in `document`, the resource as JSON without inputs, and `spec`, all of its spec.
ARCHIVE: Final = sa.Table(
    "archive",
    METADATA,
    sa.Column("task_uid", _in_order(64), primary_key=True),
    sa.Column("namespace", _in_order(63), nullable=False),
    sa.Column("name", _in_order(253), nullable=False),
    sa.Column("owner", sa.String(63)),
    sa.Column("type", sa.String(253)),
    sa.Column("queue", sa.String(253)),
    sa.Column("phase", sa.String(16), nullable=False),
    #: What free text is looked for in.
    sa.Column("words", sa.Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("archived_at", Moment, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("spec", sa.Text, nullable=False),
)
# The order of lists, alone and behind each filter; a uid tells apart what was made in one second.
_AGE = (ARCHIVE.c.created_at, ARCHIVE.c.namespace, ARCHIVE.c.name, ARCHIVE.c.task_uid)
sa.Index("ix_archive_age", *_AGE)
for _filter in (ARCHIVE.c.owner, ARCHIVE.c.type, ARCHIVE.c.queue, ARCHIVE.c.phase):
    sa.Index(f"ix_archive_{_filter.name}_age", _filter, *_AGE)
# A name may come again: the newest of its tasks is meant.
sa.Index("ix_archive_name", ARCHIVE.c.namespace, ARCHIVE.c.name, ARCHIVE.c.created_at)
#: For retention.
sa.Index("ix_archive_archived_at", ARCHIVE.c.archived_at)

#: The labels of archived tasks, for selectors.
ARCHIVE_LABELS: Final = sa.Table(
    "archive_labels",
    METADATA,
    _uid(sa.ForeignKey(ARCHIVE.c.task_uid, ondelete="CASCADE"), primary_key=True),
    sa.Column("key", sa.String(317), primary_key=True),
    sa.Column("value", sa.String(63), nullable=False),
)
sa.Index("ix_archive_labels_key_value", ARCHIVE_LABELS.c.key, ARCHIVE_LABELS.c.value)

#: Users of LongTask's own. A row outlives its account, so that its name is never given again: the
#: tasks of whoever had it still bear it.
USERS: Final = sa.Table(
    "users",
    METADATA,
    sa.Column("username", _in_order(40), primary_key=True),
    sa.Column("email", sa.String(254)),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("password_hash", sa.String(255), nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("disabled_at", Moment),
    sa.Column("deleted_at", Moment),
)

#: What users show in place of their passwords. Of the token itself only its sum is here.
TOKENS: Final = sa.Table(
    "tokens",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("username", _in_order(40), sa.ForeignKey(USERS.c.username), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("name", sa.String(100)),
    #: With commas between them.
    sa.Column("scopes", sa.String(64), nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=False),
)
sa.Index("ix_tokens_username", TOKENS.c.username)
#: For the sweep.
sa.Index("ix_tokens_expires_at", TOKENS.c.expires_at)

#: Invitations that nobody has taken yet.
INVITES: Final = sa.Table(
    "invites",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("note", sa.String(100)),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=False),
)
