"""Subscriptions, and what was delivered to them, as text."""

from typing import Final

from longtask_client import models, spans
from longtask_client.cli.output import phrases
from longtask_client.cli.output.tables import Column, Table

SUBSCRIPTIONS: Final[Table[models.SubscriptionView]] = Table(
    (
        Column("ID", lambda one, _: one.id),
        Column("URL", lambda one, _: phrases.cut(one.url, 48)),
        Column("EVENTS", lambda one, _: ",".join(one.events)),
        Column("OF", lambda one, _: phrases.cut(_filter(one.filter) or one.scope, 40)),
        Column("FORMAT", lambda one, _: one.format),
        Column("STATE", lambda one, _: _told(one)),
        Column("OWNER", lambda one, _: one.owner or "-", is_wide=True),
        Column("FOR", lambda one, _: one.description or "-", is_wide=True),
        Column("AGE", lambda one, now: phrases.age(one.created_at, now), is_wide=True),
    )
)
DELIVERIES: Final[Table[models.DeliveryView]] = Table(
    (
        Column("ID", lambda one, _: one.id),
        Column("TIME", lambda one, _: phrases.clock(one.created_at)),
        Column("TASK", lambda one, _: one.task_id),
        Column("EVENT", lambda one, _: one.event),
        Column("STATE", lambda one, _: one.state),
        Column("TRIES", lambda one, _: str(one.tries)),
        Column("CODE", lambda one, _: "-" if one.last_code is None else str(one.last_code)),
        Column("ERROR", lambda one, _: one.last_error or "-"),
        Column(
            "NEXT TRY",
            lambda one, now: spans.until(one.next_try_at, now) or "-",
            is_wide=True,
        ),
    )
)


def _filter(wanted: models.SubscriptionFilter) -> str:
    said = {
        "type": wanted.type,
        "queue": wanted.queue,
        "owner": wanted.owner,
        "namespace": wanted.namespace,
    }
    given = [f"{key}={value}" for key, value in said.items() if value is not None]
    return " ".join([*given, *(f"{key}={value}" for key, value in wanted.labels.items())])


def _told(one: models.SubscriptionView) -> str:
    if not one.paused:
        return "active"
    return f"paused ({one.paused_reason})" if one.paused_reason else "paused"
