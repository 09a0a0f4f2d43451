"""Callbacks, and each try to deliver them, as text."""

from datetime import datetime
from typing import Final

from longtask_client import models, spans
from longtask_client.cli.output import phrases
from longtask_client.cli.output.tables import Column, Table
from longtask_crds import v1alpha1

TRIES: Final[Table[v1alpha1.Delivery]] = Table(
    (
        Column("TIME", lambda made, _: phrases.clock(made.at)),
        Column("EVENT", lambda made, _: made.event),
        Column("CODE", lambda made, _: "-" if made.code is None else str(made.code)),
        Column("SECONDS", lambda made, _: f"{made.seconds:.3f}"),
        Column("ERROR", lambda made, _: made.error or "-"),
    )
)


def callback_details(log: models.CallbackLog, now: datetime) -> str:
    """Return how a callback stands, and each try."""
    facts = phrases.facts(
        ("Webhook id", log.id),
        ("Event", log.event),
        ("State", log.state),
        ("Tries", str(log.tries)),
        ("Next try", spans.until(log.next_try_at, now)),
        ("Delivered", phrases.moment(log.delivered_at, now)),
    )
    return f"{facts}\n\n{TRIES.text(log.items, now)}" if log.items else facts


def trial(made: models.CallbackTrial, _: datetime) -> str:
    """Return what became of a trial, in one sentence."""
    if made.code is None:
        return f"failed after {made.seconds:.3f} s: {made.error}"
    done = "delivered" if made.delivered else "refused"
    return f"{done}: answered with {made.code} after {made.seconds:.3f} s"
