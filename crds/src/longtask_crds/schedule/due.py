"""Which runs of a schedule are started now, and when to look again. Pure.

What was decided is remembered as one time, `status.lastScheduleTime`, which only rises: no clock
that is set back, no second operator and no restart can decide on a time twice.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from longtask_crds import json_values, v1alpha1
from longtask_crds.schedule import runs
from longtask_crds.schedule.times import Times
from longtask_crds.v1alpha1 import (
    ConcurrencyPolicy,
    ConditionStatus,
    ConditionType,
    MisfirePolicy,
    Reason,
    conditions,
)

#: So late a run is still on time: an operator that was just started again, or has two hundred
#: others to start first, is no outage.
GRACE = timedelta(seconds=10)
#: So many are made up for where the spec does not say, and so many wait for their turn.
MOST_MADE_UP = 10
#: No more are counted that were passed over at once: after a long outage it would take seconds.
MOST_COUNTED = 1000
#: So many runs may go on at once: the status lists them.
MOST_ACTIVE = 100
#: So many are started at once because somebody asks for them: the status lists the last twenty.
_MOST_ASKED_AT_ONCE = 5
#: So many are started at once at most that are due by themselves: as above.
_MOST_AT_ONCE = 15
_SHOWN = 3
_FIRST_WINDOW = timedelta(minutes=1)


@dataclasses.dataclass(frozen=True)
class Due:
    """What is decided on."""

    start: tuple[datetime, ...] = ()  #: times whose runs are started now, in order
    asked: tuple[datetime, ...] = ()  #: likewise, because somebody asks for them
    pending: tuple[datetime, ...] = ()  #: times whose runs are started as soon as none goes on
    replaces: bool = False  #: what goes on is cancelled for what is pending
    skipped: int = 0  #: how many times are passed over by this
    decided: datetime | None = None  #: the latest time that was ever decided on
    next: tuple[datetime, ...] = ()  #: the next three times
    at: datetime | None = None  #: when to look again, if nothing else happens


@dataclasses.dataclass(frozen=True)
class _Course:
    """The times around now that nothing was decided on yet, each with the moment it is due at."""

    passed: tuple[tuple[datetime, datetime], ...]  #: the last of those that are due
    count: int  #: how many those are in all
    coming: tuple[tuple[datetime, datetime], ...]


def of(
    schedule: v1alpha1.LongTaskSchedule, now: datetime, *, known: Iterable[datetime] = ()
) -> Due:
    """Return what is decided on now.

    Args:
        schedule: The schedule, with a status that is no older than its last write.
        now: The time.
        known: Times of which there are runs, though its status may not list them any more.

    Raises:
        Unreadable: It names no times.
    """
    status = schedule.status
    has_run = frozenset((*known, *(run.scheduled_at for run in status.runs or ())))
    waiting = tuple(status.pending or ())
    if suspended_by(schedule) is not None:
        # What falls due meanwhile is passed over when it goes on, and counted then.
        return Due(
            asked=_asked_for(schedule, has_run, 0),
            skipped=len(waiting),
            decided=status.last_schedule_time,
        )
    times = Times.of(schedule)
    since = status.last_schedule_time or schedule.metadata.created_at
    course = _course(schedule, times, since, now)
    is_changed = status.times_hash not in (None, hash_of(schedule))
    missed, on_time = list[datetime](), list[datetime]()
    if not is_changed and not _was_suspended(status):
        missed, on_time = _chosen(schedule.spec, course, now)
    owed = [at for at in waiting if _is_wanted(schedule, times, at, now)] + missed
    start, pending = _in_turn(
        schedule,
        [at for at in owed if at not in has_run],
        [at for at in on_time if at not in has_run],
    )
    new = 0 if is_changed else course.count - sum(at in has_run for at, _ in course.passed)
    return Due(
        start=start,
        asked=_asked_for(schedule, has_run.union(start, pending), len(start) + len(pending)),
        pending=pending,
        replaces=bool(pending) and _policy(schedule.spec) is ConcurrencyPolicy.REPLACE,
        skipped=len(waiting) + new - len(start) - len(pending),
        decided=course.passed[-1][0] if course.passed else status.last_schedule_time,
        next=tuple(at for at, _ in course.coming)[:_SHOWN],
        at=course.coming[0][1] if course.coming else None,
    )


def suspended_by(schedule: v1alpha1.LongTaskSchedule) -> Reason | None:
    """Return why a schedule starts no runs though it names times, or None if it does."""
    if schedule.spec.suspend:
        return Reason.AS_ASKED
    most, failed = schedule.spec.max_failures, schedule.status.failures_in_a_row or 0
    return Reason.MAX_FAILURES if most is not None and failed >= most else None


def hash_of(schedule: v1alpha1.LongTaskSchedule) -> str:
    """Return a hash of all in its spec that names times, however little sense that makes."""
    spec = schedule.spec
    bounds = (None if at is None else runs.text_of(at) for at in (spec.start_time, spec.end_time))
    said = [list(schedule.crons), spec.interval_seconds, spec.time_zone, *bounds]
    return hashlib.sha256(json_values.compact(said).encode(errors="surrogatepass")).hexdigest()[:16]


def jitter_of(
    schedule: v1alpha1.LongTaskSchedule, at: datetime, following: datetime | None
) -> timedelta:
    """Return how much later than its time a run is due: a share that the time alone decides.

    It is before the next time, whatever the spec says, or runs would change places.
    """
    most = schedule.spec.jitter_seconds or 0
    if following is not None:
        most = min(most, int((following - at).total_seconds()) - 1)
    if most <= 0:
        return timedelta()
    digest = hashlib.sha256(f"{schedule.metadata.uid}/{runs.text_of(at)}".encode()).digest()
    return timedelta(seconds=int.from_bytes(digest[:8]) % (most + 1))


def _course(
    schedule: v1alpha1.LongTaskSchedule, times: Times, since: datetime, now: datetime
) -> _Course:
    found = times.between(since, now, MOST_COUNTED + 1)
    count = min(len(found), MOST_COUNTED)
    if len(found) > MOST_COUNTED:
        found = _latest(times, now)
    ahead = itertools.islice(times.after(max(since, now)), _SHOWN + 1)
    all_of = [*found, *ahead]
    moments = [
        (at, at + jitter_of(schedule, at, following))
        for at, following in itertools.zip_longest(all_of, all_of[1:])
    ]
    # Of those whose time has passed, the last one may be due later.
    is_late = bool(found) and moments[len(found) - 1][1] > now
    passed = len(found) - is_late
    return _Course(tuple(moments[:passed]), count - is_late, tuple(moments[passed:]))


def _latest(times: Times, now: datetime) -> list[datetime]:
    """Return the last times before now, of which there are more than anybody counts."""
    window = _FIRST_WINDOW
    while len(found := times.between(now - window, now, MOST_COUNTED)) <= MOST_MADE_UP + 1:
        window *= 2
    return found


def _chosen(
    spec: v1alpha1.LongTaskScheduleSpec, course: _Course, now: datetime
) -> tuple[list[datetime], list[datetime]]:
    """Return the times that are made up for, and the one that is on time, if it is."""
    if not course.passed:
        return [], []
    misfire = spec.misfire or v1alpha1.Misfire()
    is_on_time = now - course.passed[-1][1] <= GRACE
    match misfire.policy or MisfirePolicy.LATEST:
        case MisfirePolicy.SKIP:
            most = 0
        case MisfirePolicy.LATEST:
            most = 0 if is_on_time else 1
        case MisfirePolicy.ALL:
            most = misfire.max or MOST_MADE_UP
    last = len(course.passed) - is_on_time
    missed, on_time = course.passed[max(0, last - most) : last], course.passed[last:]
    return (
        [at for at, moment in missed if _is_in_time(spec, moment, now)],
        [at for at, moment in on_time if _is_in_time(spec, moment, now)],
    )


def _is_in_time(spec: v1alpha1.LongTaskScheduleSpec, moment: datetime, now: datetime) -> bool:
    deadline = spec.starting_deadline_seconds
    return deadline is None or now - moment <= timedelta(seconds=deadline)


def _is_wanted(
    schedule: v1alpha1.LongTaskSchedule, times: Times, at: datetime, now: datetime
) -> bool:
    """Tell whether a run that waited for its turn may still be started."""
    if schedule.spec.starting_deadline_seconds is None:
        return True
    moment = at + jitter_of(schedule, at, next(times.after(at), None))
    return _is_in_time(schedule.spec, moment, now)


def _in_turn(
    schedule: v1alpha1.LongTaskSchedule, owed: Sequence[datetime], on_time: Sequence[datetime]
) -> tuple[tuple[datetime, ...], tuple[datetime, ...]]:
    """Return of which times the runs are started now, and which wait for their turn.

    Args:
        schedule: The schedule.
        owed: The times that waited already, and those that are made up for. Whether a run went on
            when they were due nobody knows: one that is listed may have ended long before.
        on_time: The one that comes new.
    """
    active = len(schedule.status.active or ())
    both = (*owed, *on_time)
    match _policy(schedule.spec):
        case ConcurrencyPolicy.ALLOW:
            both = both[: max(0, MOST_ACTIVE - active)]
            return both[:_MOST_AT_ONCE], both[_MOST_AT_ONCE:]
        case ConcurrencyPolicy.FORBID:
            if active:
                return (), tuple(owed)[-MOST_MADE_UP:]
            return both[:1], both[1:][-MOST_MADE_UP:]
        case ConcurrencyPolicy.REPLACE:
            return ((), both[-1:]) if active else (both[-1:], ())


def _asked_for(
    schedule: v1alpha1.LongTaskSchedule, has_run: frozenset[datetime], others: int
) -> tuple[datetime, ...]:
    """Return the times for which a run is started now because somebody asks for it.

    Args:
        schedule: The schedule.
        has_run: The times that have a run, or get one.
        others: How many runs are due by themselves: those come first.
    """
    asked = [at for at in runs.asked(schedule) if at not in has_run]
    going_on = len(schedule.status.active or ()) + others
    if _policy(schedule.spec) is not ConcurrencyPolicy.ALLOW:
        return () if going_on else tuple(asked[:1])
    return tuple(asked[: max(0, min(_MOST_ASKED_AT_ONCE, MOST_ACTIVE - going_on))])


def _policy(spec: v1alpha1.LongTaskScheduleSpec) -> ConcurrencyPolicy:
    return spec.concurrency_policy or ConcurrencyPolicy.FORBID


def _was_suspended(status: v1alpha1.LongTaskScheduleStatus) -> bool:
    """Tell whether it was suspended when it was last looked at."""
    found = conditions.find(status.conditions, ConditionType.SUSPENDED)
    return (
        found is not None
        and found.status is ConditionStatus.TRUE
        and found.reason in (Reason.AS_ASKED, Reason.MAX_FAILURES)
    )
