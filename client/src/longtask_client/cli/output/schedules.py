"""Schedules, and what their runs brought, as text."""

import json
from datetime import datetime
from typing import Any, Final

from longtask_client import models, spans, why
from longtask_client.cli.output import phrases
from longtask_client.cli.output.tables import Column, Table

SCHEDULES: Final[Table[models.ScheduleView]] = Table(
    (
        Column("NAME", lambda one, _: one.name),
        Column("WHEN", lambda one, _: phrases.cut(spans.when(one), 40)),
        Column("STATE", lambda one, _: why.state_of_schedule(one)),
        Column("ACTIVE", lambda one, _: str(len(one.active))),
        Column("LAST", lambda one, now: phrases.age(one.last_schedule_time, now)),
        Column("NEXT", lambda one, now: spans.until(_next(one), now) or "-"),
        Column("FAILURES", lambda one, _: str(one.failures_in_a_row)),
        Column("RUNS", lambda one, _: str(one.runs_started), is_wide=True),
        Column("SKIPPED", lambda one, _: str(one.skipped), is_wide=True),
        Column("OWNER", lambda one, _: one.owner_name or one.owner or "-", is_wide=True),
        Column("MESSAGE", lambda one, _: phrases.cut(one.message or "-"), is_wide=True),
    )
)
RUNS: Final[Table[models.ScheduleRun]] = Table(
    (
        Column("RUN", lambda run, _: run.id),
        Column("NUMBER", lambda run, _: "-" if run.number is None else str(run.number)),
        Column("SCHEDULED", lambda run, _: phrases.clock(run.scheduled_at)),
        Column("PHASE", lambda run, _: run.phase or "-"),
        Column("SECONDS", lambda run, _: _seconds(run.seconds)),
        Column("ERROR", lambda run, _: phrases.cut(run.error or "-")),
    )
)
RUN_DATA: Final[Table[models.ScheduleDatum]] = Table(
    (
        Column("RUN", lambda one, _: one.id),
        Column("SCHEDULED", lambda one, _: phrases.clock(one.scheduled_at)),
        Column("DATA", lambda one, _: phrases.cut(_data(one.data, one.data_url), 80)),
    )
)
RUNS_ASKED: Final[Table[models.RunAsked]] = Table(
    (
        Column("RUN", lambda one, _: one.id),
        Column("SCHEDULED", lambda one, _: phrases.clock(one.scheduled_at)),
    )
)


def schedule_details(one: models.ScheduleView, now: datetime) -> str:
    """Return all about one schedule that a person wants to know."""
    last = one.last_schedule_time
    facts = phrases.facts(
        ("Name", one.name),
        ("When", spans.when(one)),
        ("State", why.state_of_schedule(one)),
        ("Message", one.message),
        ("Owner", one.owner_name or one.owner),
        ("Next", ", ".join(map(phrases.clock, one.next_runs))),
        ("Last", phrases.moment(last, now)),
        ("Active", ", ".join(one.active)),
        ("Runs", str(one.runs_started)),
        ("Passed over", str(one.skipped) if one.skipped else None),
        ("Failures", _failures(one)),
        ("Reset", f"{phrases.clock(one.reset_at)} by {one.reset_by}" if one.reset_at else None),
    )
    return f"{facts}\n\n{RUNS.text(one.runs, now)}" if one.runs else facts


def schedule_status(one: models.ScheduleStatus, now: datetime) -> str:
    """Return how a schedule's last run went, for people."""
    return phrases.facts(
        ("Schedule", one.id),
        ("Last run", phrases.moment(one.last_execute_time, now) or "none has ended yet"),
        ("Status", one.last_execution_status),
        ("Took", None if one.execution_time is None else f"{one.execution_time:g} s"),
        ("Error", one.last_execution_error),
        ("Data", _data(one.last_execution_data, one.last_execution_data_url)),
    )


def _next(one: models.ScheduleView) -> datetime | None:
    return one.next_runs[0] if one.next_runs else None


def _failures(one: models.ScheduleView) -> str:
    allowed = "" if one.max_failures is None else f", of {one.max_failures} that stop it"
    return f"{one.failures_in_a_row} in a row{allowed}"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:g}"


def _data(value: Any, url: str | None) -> str:
    return url or json.dumps(value, ensure_ascii=False)
