"""Which runs of a schedule are started, which wait, which are passed over; when to look again."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from longtask_crds import names, v1alpha1
from longtask_crds.schedule import due, runs
from longtask_crds.testing import NOW, a_schedule, with_meta

MINUTE = timedelta(minutes=1)


def minute(number: float) -> datetime:
    return NOW + number * MINUTE


def minutes(*times: datetime) -> list[float]:
    return [(at - NOW) / MINUTE for at in times]


def each_minute(status: dict[str, Any] | None = None, **spec: Any) -> v1alpha1.LongTaskSchedule:
    """Return a schedule that was made at NOW, with a run for each minute after it."""
    schedule = a_schedule(**({"intervalSeconds": 60} | spec))
    stored = v1alpha1.LongTaskScheduleStatus.model_validate(status or {})
    return schedule.model_copy(update={"status": stored})


def with_asked(schedule: v1alpha1.LongTaskSchedule, *times: datetime) -> v1alpha1.LongTaskSchedule:
    return with_meta(schedule, annotations={names.RUN_AT_ANNOTATION: runs.asking(times)})


def a_run(at: datetime) -> dict[str, Any]:
    return {"name": names.run_name("nightly", at), "number": 1, "scheduledAt": at, "uid": "u"}


def suspended(reason: str, status: str = "True") -> dict[str, Any]:
    return {"type": "Suspended", "status": status, "reason": reason, "lastTransitionTime": NOW}


def going_on(count: int) -> dict[str, Any]:
    return {"active": [f"nightly-{number}" for number in range(count)]}


ALLOW, REPLACE = {"concurrencyPolicy": "Allow"}, {"concurrencyPolicy": "Replace"}
ALL = {"misfire": {"policy": "all"}}
TEN_WAIT = {"pending": [minute(-n) for n in range(10, 0, -1)], "lastScheduleTime": NOW}
SKIP = {"misfire": {"policy": "skip"}}


@pytest.mark.parametrize(
    ("spec", "status", "at", "start", "pending", "skipped"),
    [
        pytest.param({}, {}, 0.5, [], [], 0, id="none-is-due"),
        pytest.param({}, {}, 1, [1], [], 0, id="on-time"),
        pytest.param({}, {}, 1 + 10 / 60, [1], [], 0, id="in-grace"),
        pytest.param({}, {}, 3.5, [3], [], 2, id="the-latest-is-made-up-for"),
        pytest.param({}, {}, 3, [3], [], 2, id="on-time-after-others-were-missed"),
        pytest.param(SKIP, {}, 3.5, [], [], 3, id="none-is-made-up-for"),
        pytest.param(SKIP, {}, 3, [3], [], 2, id="none-but-the-one-on-time"),
        pytest.param(ALL | ALLOW, {}, 3.5, [1, 2, 3], [], 0, id="all-are-made-up-for"),
        pytest.param(ALL | ALLOW, {}, 12, list(range(2, 13)), [], 1, id="ten-and-the-one-on-time"),
        pytest.param(ALL | ALLOW, {}, 12.5, list(range(3, 13)), [], 2, id="no-more-than-ten"),
        pytest.param(
            {"misfire": {"policy": "all", "max": 2}} | ALLOW, {}, 5.5, [4, 5], [], 3, id="two"
        ),
        pytest.param(ALL, {}, 3.5, [1], [2, 3], 0, id="one-after-the-other"),
        pytest.param(
            {"startingDeadlineSeconds": 60} | ALL | ALLOW, {}, 3.5, [3], [], 2, id="too-late"
        ),
        pytest.param(
            {"startingDeadlineSeconds": 90} | ALL | ALLOW, {}, 3.5, [2, 3], [], 1, id="just-in-time"
        ),
        pytest.param(
            {"startingDeadlineSeconds": 5}, {}, 1 + 8 / 60, [], [], 1, id="too-late-in-grace"
        ),
        pytest.param({}, going_on(1), 1, [], [], 1, id="another-goes-on"),
        pytest.param({}, going_on(1), 1.5, [], [1], 0, id="what-was-missed-waits"),
        pytest.param(REPLACE, going_on(1), 1, [], [1], 0, id="it-is-replaced"),
        pytest.param(REPLACE | ALL, going_on(1), 3.5, [], [3], 2, id="by-the-last"),
        pytest.param(REPLACE | ALL, {}, 3.5, [3], [], 2, id="the-last-alone-is-started"),
        pytest.param(ALLOW, going_on(99), 1, [1], [], 0, id="a-hundredth"),
        pytest.param(ALLOW, going_on(100), 1, [], [], 1, id="no-more-than-a-hundred"),
        pytest.param(ALL | ALLOW, going_on(98), 3.5, [1, 2], [], 1, id="two-below-a-hundred"),
        pytest.param(
            {}, {"lastScheduleTime": minute(2)}, 3.5, [3], [], 0, id="what-was-decided-is-done"
        ),
        pytest.param(
            {},
            {"pending": [minute(-5), minute(-4)], "lastScheduleTime": NOW},
            0.5,
            [-5],
            [-4],
            0,
            id="the-first-that-waits-has-its-turn",
        ),
        pytest.param(
            {},
            {"pending": [minute(-5)], "lastScheduleTime": NOW, **going_on(1)},
            0.5,
            [],
            [-5],
            0,
            id="it-goes-on-waiting",
        ),
        pytest.param(
            {"startingDeadlineSeconds": 330},
            {"pending": [minute(-6), minute(-5)], "lastScheduleTime": NOW},
            0.5,
            [-5],
            [],
            1,
            id="one-has-waited-for-too-long",
        ),
        pytest.param(
            {},
            TEN_WAIT | going_on(1),
            1.5,
            [],
            [*range(-9, 0), 1],
            1,
            id="ten-wait-at-most",
        ),
        pytest.param(
            {}, TEN_WAIT, 1.5, [-10], [*range(-9, 0), 1], 0, id="and-ten-behind-the-one-that-begins"
        ),
        pytest.param(
            ALL | ALLOW,
            TEN_WAIT,
            10.5,
            [*range(-10, 0), *range(1, 6)],
            list(range(6, 11)),
            0,
            id="fifteen-at-once",
        ),
        pytest.param(
            {}, {"timesHash": "another"}, 3.5, [], [], 0, id="what-the-old-times-named-is-over"
        ),
        pytest.param(
            {},
            {"timesHash": due.hash_of(each_minute())},
            3.5,
            [3],
            [],
            2,
            id="the-times-are-the-same",
        ),
        pytest.param(
            {}, {"conditions": [suspended("AsAsked")]}, 3.5, [], [], 3, id="it-was-suspended"
        ),
        pytest.param(
            {}, {"conditions": [suspended("MaxFailures")]}, 3.5, [], [], 3, id="it-was-stopped"
        ),
        pytest.param(
            {}, {"conditions": [suspended("Active", "False")]}, 3.5, [3], [], 2, id="it-was-not"
        ),
        pytest.param(
            {}, {"conditions": [suspended("AsAsked", "False")]}, 3.5, [3], [], 2, id="nor-then"
        ),
        pytest.param(
            {}, {"conditions": [suspended("Ended")]}, 3.5, [3], [], 2, id="it-had-ended-before"
        ),
        pytest.param(
            ALL | ALLOW, {"runs": [a_run(minute(2))]}, 3.5, [1, 3], [], 0, id="one-has-run"
        ),
        pytest.param({}, {"runs": [a_run(minute(1))]}, 1, [], [], 0, id="the-one-on-time-has-run"),
        pytest.param(
            {},
            {"pending": [minute(-5)], "runs": [a_run(minute(-5))], "lastScheduleTime": NOW},
            0.5,
            [],
            [],
            1,
            id="one-that-waited-has-run",
        ),
    ],
)
def test_what_is_started_what_waits_and_what_is_passed_over(
    spec: dict[str, Any],
    status: dict[str, Any],
    at: float,
    start: list[float],
    pending: list[float],
    skipped: int,
) -> None:
    found = due.of(each_minute(status, **spec), minute(at))
    assert (minutes(*found.start), minutes(*found.pending)) == (start, pending)
    assert found.skipped == skipped
    assert found.replaces is (bool(pending) and spec.get("concurrencyPolicy") == "Replace")


def test_the_next_times_and_what_was_decided_are_told() -> None:
    schedule = each_minute()
    found = due.of(schedule, minute(0.5))
    assert minutes(*found.next) == [1, 2, 3]
    assert (found.at, found.decided) == (minute(1), None)
    found = due.of(schedule, minute(2.5))
    assert minutes(*found.next) == [3, 4, 5]
    assert (found.at, found.decided) == (minute(3), minute(2))
    found = due.of(each_minute({"lastScheduleTime": minute(7)}), minute(2.5))
    # A clock was set back: what was decided stays so.
    assert minutes(*found.next) == [8, 9, 10]
    assert (found.start, found.skipped, found.decided) == ((), 0, minute(7))


def test_after_the_last_time_there_is_nothing_to_look_for() -> None:
    found = due.of(each_minute({"lastScheduleTime": minute(2)}, endTime=minute(2)), minute(9))
    assert found == due.Due(decided=minute(2))


def test_known_runs_are_not_started_again_though_the_status_forgot_them() -> None:
    schedule = each_minute(**ALL, **ALLOW)
    found = due.of(schedule, minute(3.5), known=[minute(1), minute(3), minute(99)])
    assert (minutes(*found.start), found.skipped) == ([2], 0)


def test_jitter_moves_when_a_run_is_due_and_not_its_time() -> None:
    schedule = each_minute(jitterSeconds=59)
    share = due.jitter_of(schedule, minute(1), minute(2))
    assert share > timedelta(seconds=1)
    early = due.of(schedule, minute(1) + share - timedelta(seconds=1))
    assert (early.start, early.skipped, early.decided) == ((), 0, None)
    assert (minutes(*early.next), early.at) == ([1, 2, 3], minute(1) + share)
    found = due.of(schedule, minute(1) + share)
    assert (minutes(*found.start), found.decided) == ([1], minute(1))
    assert found.at == minute(2) + due.jitter_of(schedule, minute(2), minute(3))
    late = {"pending": [minute(1)], "lastScheduleTime": minute(1)}
    waiting = each_minute(late, jitterSeconds=59, startingDeadlineSeconds=5)
    in_time = minute(1) + share + timedelta(seconds=5)
    assert due.of(waiting, in_time).start == (minute(1),)
    assert due.of(waiting, in_time + timedelta(seconds=1)).start == ()


@pytest.mark.parametrize("spec", [{}, {"misfire": {"policy": "all", "max": 2}} | ALLOW])
def test_a_long_outage_is_counted_to_its_bound_and_ends_with_the_latest(
    spec: dict[str, Any],
) -> None:
    found = due.of(each_minute(**spec), minute(10_000.5))
    expected = [9_999, 10_000] if spec else [10_000]
    assert minutes(*found.start) == expected
    assert found.skipped == due.MOST_COUNTED - len(expected)
    assert found.decided == minute(10_000)


def test_a_thousand_that_were_missed_are_all_counted() -> None:
    assert due.of(each_minute(**SKIP), minute(due.MOST_COUNTED + 0.5)).skipped == 1000


# --- while it is suspended


@pytest.mark.parametrize(
    ("spec", "failed", "reason"),
    [
        ({}, 99, None),
        ({"maxFailures": 3}, 2, None),
        ({"maxFailures": 3}, 3, "MaxFailures"),
        ({"maxFailures": 3}, None, None),
        ({"suspend": True, "maxFailures": 3}, 3, "AsAsked"),
    ],
)
def test_why_it_starts_no_runs(spec: dict[str, Any], failed: int | None, reason: Any) -> None:
    assert due.suspended_by(each_minute({"failuresInARow": failed}, **spec)) == reason


def test_while_suspended_only_what_is_asked_for_is_started() -> None:
    status = {"pending": [minute(-2), minute(-1)], "lastScheduleTime": NOW}
    schedule = with_asked(each_minute(status, suspend=True), minute(0.1))
    found = due.of(schedule, minute(3.5))
    assert found == due.Due(asked=(minute(0.1),), skipped=2, decided=NOW)
    assert due.of(schedule, minute(3.5), known=[minute(0.1)]).asked == ()


# --- what is asked for


@pytest.mark.parametrize(
    ("spec", "status", "at", "asked"),
    [
        pytest.param({}, {}, 0.5, [-9], id="one-after-the-other"),
        pytest.param({}, {}, 1, [], id="what-is-due-goes-first"),
        pytest.param({}, going_on(1), 0.5, [], id="while-another-goes-on-none"),
        pytest.param(ALLOW, {}, 0.5, [-9, -8, -7, -6, -5], id="five-at-once"),
        pytest.param(ALLOW, going_on(97), 0.5, [-9, -8, -7], id="up-to-a-hundred"),
        pytest.param(ALLOW, going_on(97), 1, [-9, -8], id="with-what-is-due"),
        pytest.param(ALLOW, going_on(100), 0.5, [], id="no-more-than-a-hundred"),
        pytest.param(ALLOW, {"runs": [a_run(minute(-9))]}, 0.5, [-8, -7, -6, -5, -4], id="has-run"),
    ],
)
def test_what_somebody_asks_for_is_started(
    spec: dict[str, Any], status: dict[str, Any], at: float, asked: list[float]
) -> None:
    schedule = with_asked(each_minute(status, **spec), *(minute(-n) for n in range(9, 0, -1)))
    assert minutes(*due.of(schedule, minute(at)).asked) == asked


def test_what_is_due_is_not_started_a_second_time_because_somebody_asks_for_it() -> None:
    found = due.of(with_asked(each_minute(**ALLOW), minute(1)), minute(1))
    assert (minutes(*found.start), found.asked) == ([1], ())


def test_what_waits_for_its_turn_counts_before_what_is_asked_for() -> None:
    status = TEN_WAIT | going_on(78)
    schedule = each_minute(status, **ALL, **ALLOW)
    asked = [minute(-0.1 * number) for number in range(4, 0, -1)]
    found = due.of(with_asked(schedule, *asked), minute(10.5))
    assert (len(found.start), len(found.pending)) == (15, 5)
    assert found.asked == (minute(-0.4), minute(-0.3))
