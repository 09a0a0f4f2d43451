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
    #: Whose run it is.
    sa.Column("schedule", sa.String(63)),
    sa.Column("phase", sa.String(16), nullable=False),
    #: What free text is looked for in.
    sa.Column("words", sa.Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("archived_at", Moment, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("spec", sa.Text, nullable=False),
    #: What is counted: when it ended, in seconds of the epoch; why; and for how many seconds it
    #: waited and ran.
    sa.Column("ended", sa.BigInteger),
    sa.Column("is_pipeline", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("reason", sa.String(64)),
    sa.Column("waited", sa.Integer),
    sa.Column("ran", sa.Integer),
)
# The order of lists, alone and behind each filter; a uid tells apart what was made in one second.
_AGE = (ARCHIVE.c.created_at, ARCHIVE.c.namespace, ARCHIVE.c.name, ARCHIVE.c.task_uid)
sa.Index("ix_archive_age", *_AGE)
for _filter in (ARCHIVE.c.owner, ARCHIVE.c.type, ARCHIVE.c.queue, ARCHIVE.c.phase):
    sa.Index(f"ix_archive_{_filter.name}_age", _filter, *_AGE)
sa.Index("ix_archive_schedule_age", ARCHIVE.c.schedule, *_AGE)
# A name may come again: the newest of its tasks is meant.
sa.Index("ix_archive_name", ARCHIVE.c.namespace, ARCHIVE.c.name, ARCHIVE.c.created_at)
# All that is counted, so that no row has to be read for it.
_COUNTED = [ARCHIVE.c[name] for name in ("type", "is_pipeline", "phase", "reason", "waited", "ran")]
sa.Index("ix_archive_ended", ARCHIVE.c.ended, *_COUNTED)
sa.Index("ix_archive_owner_ended", ARCHIVE.c.owner, ARCHIVE.c.ended, *_COUNTED)
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
    #: Since when the address is known to be theirs.
    sa.Column("email_verified_at", Moment),
    #: Of which events of their tasks they get mails, with commas between them; empty for none.
    sa.Column("notice_events", sa.String(200), nullable=False, server_default=""),
    #: Since when that is so: what happened before is no news.
    sa.Column("notices_since", Moment),
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

#: Who did what, when, to what.
AUDIT: Final = sa.Table(
    "audit",
    METADATA,
    sa.Column("id", _in_order(32), primary_key=True),
    sa.Column("at", Moment, nullable=False),
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
    #: As JSON.
    sa.Column("detail", sa.Text, nullable=False),
)
# The order of the list, alone and behind what one looks for.
sa.Index("ix_audit_at", AUDIT.c.at, AUDIT.c.id)
for _column in (AUDIT.c.actor, AUDIT.c.subject, AUDIT.c.target):
    sa.Index(f"ix_audit_{_column.name}_at", _column, AUDIT.c.at, AUDIT.c.id)

#: Who wants to be told at a URL of theirs what happens to tasks.
SUBSCRIPTIONS: Final = sa.Table(
    "subscriptions",
    METADATA,
    sa.Column("id", _in_order(32), primary_key=True),
    #: Whose it is, as tasks have it; empty for the installation.
    sa.Column("owner", sa.String(63), nullable=False),
    #: Whether it is a user of LongTask's own, who may lose what they may.
    sa.Column("is_local", sa.Boolean, nullable=False),
    sa.Column("scope", sa.String(8), nullable=False),
    sa.Column("url", sa.String(2048), nullable=False),
    #: With commas between them.
    sa.Column("events", sa.String(100), nullable=False),
    #: As JSON.
    sa.Column("filter", sa.Text, nullable=False),
    sa.Column("format", sa.String(16), nullable=False),
    sa.Column("description", sa.String(100)),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("paused_reason", sa.String(32)),
    sa.Column("created_at", Moment, nullable=False),
    #: From when on it is told: what happened before it was so is no news.
    sa.Column("since", Moment, nullable=False),
)
sa.Index("ix_subscriptions_owner", SUBSCRIPTIONS.c.owner)

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

#: What is to be told, by mail or to subscriptions, and what became of it: a row for each event and
#: recipient. Nothing of it depends on the resource, which may be gone when it is told.
OUTBOX: Final = sa.Table(
    "outbox",
    METADATA,
    sa.Column("id", _in_order(32), primary_key=True),
    sa.Column("channel", sa.String(16), nullable=False),
    sa.Column("event_id", sa.String(64), nullable=False),
    sa.Column("event", sa.String(32), nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    _uid(nullable=False),
    sa.Column("namespace", sa.String(63), nullable=False),
    sa.Column("task_name", sa.String(253), nullable=False),
    sa.Column("owner", sa.String(63)),
    #: An address, or the id of a subscription.
    sa.Column("recipient", sa.String(254), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("next_try_at", Moment),
    #: Somebody tells it now, and has until then to say what became of it.
    sa.Column("taken_until", Moment),
    sa.Column("taken_by", sa.String(32)),
    sa.Column("last_code", sa.Integer),
    sa.Column("last_error", sa.String(256)),
    #: What was told together has this in common.
    sa.Column("batch", sa.String(64)),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("settled_at", Moment),
    #: All that is needed to say it, as JSON.
    sa.Column("document", sa.Text, nullable=False),
    # However often it is noted, and by however many replicas.
    sa.UniqueConstraint("event_id", "channel", "recipient"),
)
_IS_PENDING = OUTBOX.c.state == "pending"
#: For who tells: what is due, and what one recipient was told lately.
sa.Index(
    "ix_outbox_due",
    OUTBOX.c.channel,
    OUTBOX.c.next_try_at,
    sqlite_where=_IS_PENDING,
    postgresql_where=_IS_PENDING,
)
sa.Index("ix_outbox_told", OUTBOX.c.channel, OUTBOX.c.recipient, OUTBOX.c.settled_at)
# For lists, the newest first: of all, of somebody's, of a task's, of a recipient's.
_NOTED = (OUTBOX.c.created_at, OUTBOX.c.id)
sa.Index("ix_outbox_noted", *_NOTED)
for _filter in (OUTBOX.c.owner, OUTBOX.c.task_name, OUTBOX.c.recipient):
    sa.Index(f"ix_outbox_{_filter.name}_noted", _filter, *_NOTED)

#: Addresses whose owners want no more mail.
MUTED: Final = sa.Table(
    "muted_addresses",
    METADATA,
    sa.Column("address", sa.String(254), primary_key=True),
    sa.Column("at", Moment, nullable=False),
)
