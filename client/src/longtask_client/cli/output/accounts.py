"""Who somebody is, and what an account has, as text."""

from datetime import datetime
from typing import Final

from longtask_client import models, spans
from longtask_client.cli.output import phrases
from longtask_client.cli.output.tables import Column, Table

TOKENS: Final[Table[models.TokenView]] = Table(
    (
        Column("ID", lambda one, _: one.id),
        Column("KIND", lambda one, _: one.kind + (" (this)" if one.current else "")),
        Column("NAME", lambda one, _: one.name or "-"),
        Column("SCOPES", lambda one, _: ",".join(one.scopes)),
        Column("AGE", lambda one, now: phrases.age(one.created_at, now)),
        Column("EXPIRES", lambda one, now: spans.until(one.expires_at, now) or "-"),
    )
)
USERS: Final[Table[models.UserView]] = Table(
    (
        Column("USERNAME", lambda user, _: user.username),
        Column("ROLE", lambda user, _: user.role),
        Column("STATE", lambda user, _: "disabled" if user.disabled else "active"),
        Column("EMAIL", lambda user, _: user.email or "-"),
        Column("AGE", lambda user, now: phrases.age(user.created_at, now)),
    )
)
INVITES: Final[Table[models.InviteView]] = Table(
    (
        Column("ID", lambda one, _: one.id),
        Column("ROLE", lambda one, _: one.role),
        Column("FOR", lambda one, _: one.note or "-"),
        Column("BY", lambda one, _: one.created_by or "-"),
        Column("EXPIRES", lambda one, now: spans.until(one.expires_at, now) or "-"),
    )
)


def me_details(me: models.Me, _: datetime) -> str:
    """Return who asks."""
    return phrases.facts(
        ("Name", me.name),
        ("Role", me.role or "as Kubernetes allows"),
        ("May", ", ".join(me.acts) or "nothing"),
        ("Sees", "the tasks of everybody" if me.sees_all else "their own tasks"),
        ("Email", me.email),
        ("By", f"a token of kind {me.via}"),
    )
