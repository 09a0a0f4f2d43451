"""Whatever happens, a schedule starts the runs that a child would find who looks each second.

For any cron or interval, zone, jitter, deadline, policy and misfire policy, through outages, clocks
that are set, resets and suspensions: the same runs at the same seconds, as many times passed over.
"""

import bisect
import dataclasses
import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schedule_support
from longtask_crds import names, v1alpha1
from longtask_crds.schedule import due, runs
from longtask_crds.testing import a_schedule, with_meta, with_status
from longtask_crds.v1alpha1 import Phase
from longtask_operator.rules import schedules

#: How long each course goes on, in seconds.
HORIZON = 1800
#: How long a program takes that is cancelled, in seconds.
GRACE = 3
SECOND = timedelta(seconds=1)
_POLICIES = ("concurrencyPolicy", "startingDeadlineSeconds", "misfire")
Span = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Course:
    """What happens to a schedule. Seconds count from when it was made, by a clock nobody sets."""

    made_at: datetime
    spec: dict[str, Any]
    cron: schedule_support.Cron | None
    durations: list[int]
    outages: list[Span]  #: when they begin, and how long they are
    suspended: list[Span]
    shifts: list[Span]  #: when the clock is set, and by how many seconds
    resets: list[int]  #: when somebody resets the failures, if the operator works then

    def is_up(self, second: int) -> bool:
        return not _within(self.outages, second)

    def is_suspended(self, second: int) -> bool:
        return _within(self.suspended, second)

    def wall(self, second: int) -> datetime:
        """Return what the clock says."""
        shift = sum(by for at, by in self.shifts if at <= second)
        return self.made_at + timedelta(seconds=second + shift)

    def duration(self, time: datetime) -> int:
        return self.durations[int(time.timestamp()) % len(self.durations)]

    @property
    def schedule(self) -> v1alpha1.LongTaskSchedule:
        return with_meta(a_schedule(**self.spec), creation_timestamp=self.made_at)


def _within(spans: list[Span], second: int) -> bool:
    return any(begin <= second < begin + length for begin, length in spans)


@dataclasses.dataclass
class Run:
    """A run, and when it goes on."""

    time: datetime
    begin: int
    end: int


@dataclasses.dataclass
class History:
    """What became of it."""

    runs: list[Run] = dataclasses.field(default_factory=list)
    skipped: int = 0
    decided: datetime | None = None  #: no earlier time comes again
    listed: list[datetime] = dataclasses.field(default_factory=list)  #: twenty at most
    forgotten: datetime | None = None  #: the latest time of a run that was listed, and is not

    def start(self, course: Course, time: datetime, second: int) -> None:
        assert time not in [run.time for run in self.runs], "two runs of one time"
        self.runs.append(Run(time, second, second + course.duration(time)))

    def remember(self, course: Course, new: list[datetime]) -> None:
        """List new runs; of the others those that come no more are forgotten first."""
        decided = self.decided or course.made_at
        for _ in range(len(self.listed) + len(new) - 20):
            past = [at for at in self.listed if at <= decided]
            at = past[0] if past else min(self.listed)
            self.listed.remove(at)
            self.forgotten = max(at, self.forgotten or at)
            if not past:
                decided = self.decided = at
        self.listed += new

    def reset(self, now: datetime) -> None:
        """Let the times come again that are later than now, but for what nobody remembers."""
        if self.decided is not None:
            self.decided = min(self.decided, max(now, self.forgotten or now))

    def active(self, second: int) -> list[Run]:
        return [run for run in self.runs if run.begin <= second < run.end]

    @property
    def told(self) -> list[tuple[str, int, int]]:
        return [(run.time.isoformat(), run.begin, run.end) for run in self.runs]


# --- the child ---


def expected(course: Course) -> History:
    """Look each second, and do what the documentation says."""
    history, spec = History(), course.spec
    moments = list(_moments(course))
    times = [time for time, _ in moments]
    waiting: list[tuple[datetime, datetime]] = []
    was_suspended = False
    was_reset_at: datetime | None = None
    for second in range(HORIZON):
        if not course.is_up(second):
            continue
        now = course.wall(second)
        if second in course.resets and (was_reset_at is None or now > was_reset_at):
            was_reset_at = now
            history.reset(now)
            waiting = [one for one in waiting if one[0] <= (history.decided or one[0])]
        if course.is_suspended(second):
            history.skipped += len(waiting)
            waiting, was_suspended = [], True
            continue
        first = bisect.bisect_right(times, history.decided or course.made_at)
        open_times = itertools.islice(moments, first, None)
        passed = list(itertools.takewhile(lambda one, now=now: one[1] <= now, open_times))
        if passed:
            history.decided = passed[-1][0]
        ran = {run.time for run in history.runs} if passed else set()
        candidates = len(waiting) + sum(time not in ran for time, _ in passed)
        missed, on_time = ([], []) if was_suspended else _chosen(passed, spec, now)
        missed = [one for one in missed if one[0] not in ran]
        on_time = [one for one in on_time if one[0] not in ran]
        chosen = missed + on_time
        was_suspended = False
        waiting = [one for one in waiting if _in_time(one, spec, now)]
        busy = history.active(second)
        start: list[tuple[datetime, datetime]] = []
        match spec.get("concurrencyPolicy", "Forbid"):
            case "Allow":
                start = chosen[: 100 - len(busy)]
            case "Forbid" if not busy:
                start, waiting = (waiting + chosen)[:1], (waiting + chosen)[1:][-10:]
            case "Forbid":
                waiting = (waiting + missed)[-10:]
            case "Replace":
                latest = (waiting + chosen)[-1:]
                start, waiting = ([], latest) if busy else (latest, [])
                if busy and waiting:
                    for run in busy:
                        run.end = min(run.end, second + GRACE)
        for time, _ in start:
            history.start(course, time, second)
        history.remember(course, [time for time, _ in start])
        history.skipped += candidates - len(start) - len(waiting)
    # What passes by the end is counted when it goes on, so both stand still there.
    return history


def _moments(course: Course) -> Iterator[tuple[datetime, datetime]]:
    """Yield each time, and when it is due."""
    last = max(course.wall(second) for second in range(HORIZON)) + timedelta(hours=1)
    if course.cron is not None:
        zone = course.spec["timeZone"]
        margin = timedelta(days=1)
        first = course.made_at.replace(second=0) - margin
        times = schedule_support.times_of(course.cron, zone, first, last + margin)
        times = [time for time in times if course.made_at < time]
    else:
        every, times = course.spec["intervalSeconds"] * SECOND, [course.made_at]
        while times[-1] < last:
            times.append(times[-1] + every)
        del times[0]
    # What follows a day later is too far away to count.
    for time, following in itertools.zip_longest(times, times[1:]):
        yield time, time + due.jitter_of(course.schedule, time, following)


def _chosen(
    passed: list[tuple[datetime, datetime]], spec: dict[str, Any], now: datetime
) -> tuple[list[tuple[datetime, datetime]], list[tuple[datetime, datetime]]]:
    on_time = [one for one in passed[-1:] if now - one[1] <= 10 * SECOND]
    missed = passed[: len(passed) - len(on_time)]
    misfire = spec.get("misfire", {})
    match misfire.get("policy", "latest"):
        case "skip":
            made_up = []
        case "latest":
            made_up = [] if on_time else missed[-1:]
        case _:
            made_up = missed[-misfire.get("max", 10) :]
    return (
        [one for one in made_up if _in_time(one, spec, now)],
        [one for one in on_time if _in_time(one, spec, now)],
    )


def _in_time(one: tuple[datetime, datetime], spec: dict[str, Any], now: datetime) -> bool:
    return now - one[1] <= timedelta(seconds=spec.get("startingDeadlineSeconds", 10**9))


# --- the rules ---


class Stage:
    """Does what the rules decide, and looks when they ask for it."""

    def __init__(self, course: Course) -> None:
        self.course = course
        self.schedule = course.schedule
        self.seen: dict[str, schedules.Seen] = {}
        self.history = History()

    def play(self) -> History:
        alarm: int | None = 0
        for second in range(HORIZON):
            ended = [run for run in self.history.runs if run.end == second]
            for run in ended:
                self._end(run)
            changes = (
                self._is_set(second),
                self.course.is_up(second) != self.course.is_up(second - 1),
                self.course.is_suspended(second) != self.course.is_suspended(second - 1),
            )
            if not self.course.is_up(second):
                alarm = None
                continue
            if is_reset := second in self.course.resets:
                asked = f"{runs.text_of(self.course.wall(second))} anna"
                self.schedule = with_meta(
                    self.schedule, annotations={names.RESET_ANNOTATION: asked}
                )
            if ended or is_reset or any(changes) or (alarm is not None and alarm <= second):
                self._suspend(self.course.is_suspended(second))
                until = self._look(second)
                # Whoever has ended is let go at once: only the list knows of it from now on.
                self.seen = {name: run for name, run in self.seen.items() if not run.is_over}
                alarm = None
                if until is not None:
                    wait = (until - self.course.wall(second)).total_seconds()
                    alarm = second + max(1, int(wait))
        self.history.skipped = self.schedule.status.skipped or 0
        return self.history

    def _is_set(self, second: int) -> bool:
        return any(at == second for at, _ in self.course.shifts)

    def _suspend(self, suspend: bool) -> None:
        spec = self.schedule.spec.model_copy(update={"suspend": suspend or None})
        self.schedule = self.schedule.model_copy(update={"spec": spec})

    def _end(self, run: Run) -> None:
        name = next(name for name, seen in self.seen.items() if seen.scheduled_at == run.time)
        self.seen[name] = dataclasses.replace(
            self.seen[name], is_over=True, phase=Phase.CANCELLED, finished_at=run.time
        )

    def _look(self, second: int) -> datetime | None:
        now = self.course.wall(second)
        for _ in range(100):
            world = schedules.World(self.schedule, self.seen)
            match schedules.decide(world, now=now):
                case schedules.Wait(until):
                    return until
                case schedules.Write(status):
                    # As it is stored.
                    stored = v1alpha1.LongTaskScheduleStatus.model_validate(status.to_json())
                    self.schedule = with_status(self.schedule, **dict(stored))
                case schedules.Make(run):
                    assert run.name not in self.seen, "two runs of one name"
                    self.history.start(self.course, run.scheduled_at, second)
                    self.seen[run.name] = schedules.Seen(
                        run.name, run.name, run.scheduled_at, run.number, ttl=1
                    )
                case schedules.Cancel(seen):
                    self.seen[seen.name] = dataclasses.replace(seen, is_cancelled=True)
                    for run in self.history.active(second):
                        if run.time == seen.scheduled_at:
                            run.end = min(run.end, second + GRACE)
                case other:
                    raise AssertionError(other)
        raise AssertionError("it goes in circles")


def spans(most: int) -> st.SearchStrategy[list[Span]]:
    return st.lists(st.tuples(st.integers(1, HORIZON), st.integers(1, most)), max_size=3)


@st.composite
def courses(draw: st.DrawFn) -> Course:
    spec: dict[str, Any] = {}
    cron = None
    if draw(st.booleans()):
        cron = draw(schedule_support.crons())
        if draw(st.booleans()):
            every_hour = schedule_support.Field("*", frozenset(range(24)))
            cron = dataclasses.replace(cron, hour=every_hour)
        spec |= {"schedule": cron.text, "timeZone": draw(st.sampled_from(schedule_support.ZONES))}
    else:
        spec["intervalSeconds"] = draw(st.sampled_from([5, 7, 20, 60, 90, 300]))
    for field, values in (
        ("concurrencyPolicy", st.sampled_from(["Allow", "Forbid", "Replace"])),
        ("startingDeadlineSeconds", st.integers(1, 600)),
        ("jitterSeconds", st.integers(1, 120)),
        ("misfire", st.sampled_from([{"policy": "skip"}, {"policy": "all"}])),
        ("misfire", st.integers(1, 5).map(lambda most: {"policy": "all", "max": most})),
    ):
        if draw(st.booleans()):
            spec[field] = draw(values)
    around = draw(st.sampled_from(schedule_support.CHANGES))
    shifts = draw(
        st.lists(st.tuples(st.integers(1, HORIZON), st.integers(-4000, 1500)), max_size=3)
    )
    # Whoever sees that a clock was set resets, mostly.
    seen = [at + draw(st.integers(0, 60)) for at, _ in shifts if draw(st.booleans())]
    return Course(
        made_at=around + timedelta(seconds=draw(st.integers(0, 86_400))),
        spec=spec,
        cron=cron,
        durations=draw(st.lists(st.integers(1, 200), min_size=1, max_size=5)),
        outages=draw(spans(900)),
        suspended=draw(spans(300)),
        shifts=shifts,
        resets=seen + draw(st.lists(st.integers(1, HORIZON), max_size=1)),
    )


@st.composite
def set_back(draw: st.DrawFn) -> Course:
    """Draw courses of many runs, in which a clock is set back and somebody resets soon after."""
    course = draw(courses())
    spec = {field: said for field, said in course.spec.items() if field in _POLICIES}
    shifts = [
        (at, draw(st.integers(-at, -60)))
        for at in draw(st.lists(st.integers(300, 1200), min_size=1, max_size=2))
    ]
    return dataclasses.replace(
        course,
        spec=spec | {"intervalSeconds": draw(st.sampled_from([5, 7, 20]))},
        cron=None,
        durations=draw(st.sampled_from([[1], [3], course.durations])),
        outages=draw(spans(100)),
        suspended=[],
        shifts=shifts,
        resets=[at + draw(st.integers(0, 30)) for at, _ in shifts],
    )


@given(set_back())
@settings(max_examples=15)
def test_a_reset_after_a_clock_was_set_back_runs_no_time_twice(course: Course) -> None:
    child, found = expected(course), Stage(course).play()
    assert found.told == child.told
    assert found.skipped == child.skipped


@given(courses())
@settings(max_examples=100)
def test_any_course_of_things_has_the_runs_that_a_child_would_find(course: Course) -> None:
    child, found = expected(course), Stage(course).play()
    assert found.told == child.told
    assert found.skipped == child.skipped
    if course.spec.get("concurrencyPolicy", "Forbid") != "Allow":
        for before, after in itertools.pairwise(found.runs):
            assert before.end <= after.begin, "two at once"


def outage_of_five(**spec: Any) -> list[int]:
    """Return of which times there are runs after an outage over the third to the seventh."""
    course = Course(
        made_at=schedule_support.CHANGES[0],
        spec={"intervalSeconds": 60} | spec,
        cron=None,
        durations=[5],
        outages=[(170, 275)],
        suspended=[],
        shifts=[],
        resets=[],
    )
    runs = Stage(course).play().runs
    return [int((run.time - course.made_at).total_seconds()) // 60 for run in runs][:10]


@pytest.mark.parametrize(
    ("misfire", "runs"),
    [
        pytest.param({"policy": "skip"}, [1, 2, 8, 9, 10, 11, 12, 13, 14, 15], id="skip"),
        pytest.param({"policy": "latest"}, [1, 2, 7, 8, 9, 10, 11, 12, 13, 14], id="latest"),
        pytest.param({"policy": "all"}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], id="all"),
        pytest.param({"policy": "all", "max": 3}, [1, 2, 5, 6, 7, 8, 9, 10, 11, 12], id="three"),
    ],
)
def test_an_outage_over_five_times(misfire: dict[str, Any], runs: list[int]) -> None:
    assert outage_of_five(misfire=misfire) == runs
    assert outage_of_five(misfire=misfire, concurrencyPolicy="Allow") == runs
