"""Queues, and who waits in them, as text."""

from datetime import datetime
from typing import Final

from longtask_client import models
from longtask_client.cli.output import phrases
from longtask_client.cli.output.tables import Column, Table

QUEUES: Final[Table[models.QueueView]] = Table(
    (
        Column("NAME", lambda queue, _: queue.name),
        Column("RUNNING", lambda queue, _: _running(queue)),
        Column("WAITING", lambda queue, _: str(queue.waiting)),
        Column("LONGEST", lambda queue, now: phrases.age(queue.oldest_queued_at, now)),
        Column("PER MINUTE", lambda queue, _: f"{queue.starts_per_minute:g}"),
        Column("STATE", lambda queue, _: "paused" if queue.paused else "open"),
        Column(
            "PER OWNER",
            lambda queue, _: str(queue.max_running_per_owner or "-"),
            is_wide=True,
        ),
    )
)
QUEUED: Final[Table[models.QueuedTask]] = Table(
    (
        Column("PLACE", lambda task, _: str(task.position)),
        Column("ID", lambda task, _: task.id),
        Column("TYPE", lambda task, _: task.type or "-"),
        Column("PRIORITY", lambda task, _: str(task.priority)),
        Column("OWNER", lambda task, _: task.owner or "-"),
        Column("WAITING", lambda task, now: phrases.age(task.queued_at, now)),
    )
)


def queue_details(queue: models.QueueView, now: datetime) -> str:
    """Return all about one queue that a person wants to know."""
    waiting = queue.content if isinstance(queue, models.QueueContent) else []
    facts = _queue_facts(queue, now)
    return f"{facts}\n\n{QUEUED.text(waiting, now)}" if waiting else facts


def _queue_facts(queue: models.QueueView, now: datetime) -> str:
    share = queue.max_running_per_owner
    return phrases.facts(
        ("Name", queue.name),
        ("State", "paused: it starts nothing" if queue.paused else "open"),
        ("Running", _running(queue)),
        ("Per owner", None if share is None else f"at most {share}"),
        ("Waiting", str(queue.waiting)),
        ("Longest wait", phrases.since(queue.oldest_queued_at, now)),
        ("Started", f"{queue.starts_per_minute:g} a minute, over the last five"),
    )


def _running(queue: models.QueueView) -> str:
    return f"{queue.running} of {'any' if queue.max_running is None else queue.max_running}"
