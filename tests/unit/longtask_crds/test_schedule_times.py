"""The times that schedules name: by any cron expression, in any zone, over each clock change."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import cronsim
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schedule_support
from longtask_crds.schedule import times
from longtask_crds.testing import NOW, a_schedule, with_meta

DAY = timedelta(days=1)


def times_of(**spec: Any) -> times.Times:
    return times.Times.of(a_schedule(**spec))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@given(
    schedule_support.crons(),
    st.sampled_from(schedule_support.ZONES),
    st.sampled_from(schedule_support.CHANGES),
    st.integers(0, 48 * 60),
    st.integers(0, 59),
)
@settings(max_examples=300)
def test_any_expression_names_in_any_zone_what_counting_minutes_finds(
    cron: schedule_support.Cron, zone: str, around: datetime, minutes: int, seconds: int
) -> None:
    until = around + 2 * DAY
    reference = schedule_support.times_of(cron, zone, around - 2 * DAY, until + 2 * DAY)
    since = around + timedelta(minutes=minutes, seconds=seconds)
    found = times_of(schedule=cron.text, timeZone=zone).between(since, until, 5000)
    assert found == [at for at in reference if since < at <= until]


@pytest.mark.parametrize(
    ("cron", "night", "expected"),
    [
        # Zurich: on 29 March it goes from 02:00 to 03:00, on 25 October from 03:00 to 02:00.
        pytest.param("30 2 * * *", "2026-03-29", ["03:00+02:00"], id="left-out-is-due-when-over"),
        pytest.param("0,30 2 * * *", "2026-03-29", ["03:00+02:00"], id="left-out-twice-is-one"),
        pytest.param("*/30 2 * * *", "2026-03-29", [], id="what-no-clock-shows-is-not-due"),
        pytest.param("30 2 * * *", "2026-10-25", ["02:30+02:00"], id="of-two-hours-the-first"),
        pytest.param(
            "*/30 2 * * *",
            "2026-10-25",
            ["02:00+02:00", "02:30+02:00", "02:00+01:00", "02:30+01:00"],
            id="what-clocks-show-twice-is-due-twice",
        ),
        pytest.param("15 1 * * *", "2026-10-25", ["01:15+02:00"], id="other-hours-are-as-ever"),
    ],
)
def test_clock_changes(cron: str, night: str, expected: list[str]) -> None:
    found = times_of(schedule=cron, timeZone="Europe/Zurich").between(
        at(f"{night}T00:00+01:00"), at(f"{night}T12:00+01:00"), 10
    )
    assert found == [at(f"{night}T{time}") for time in expected]


def test_several_expressions_name_each_time_once_and_in_order() -> None:
    found = times_of(schedule=["0 * * * *", "*/30 * * * *", "@hourly"])
    assert found.between(at("2026-01-01T00:00Z"), at("2026-01-01T01:30Z"), 9) == [
        at("2026-01-01T00:30Z"),
        at("2026-01-01T01:00Z"),
        at("2026-01-01T01:30Z"),
    ]


def test_an_interval_counts_from_when_the_schedule_was_made() -> None:
    found = itertools.islice(times_of(intervalSeconds=90).after(NOW - DAY), 2)
    assert list(found) == [NOW + timedelta(seconds=90), NOW + timedelta(seconds=180)]


@given(st.integers(-400, 400), st.integers(5, 120), st.integers(0, 999_999))
def test_an_interval_counts_from_its_start_whose_time_is_the_first(
    seconds: int, every: int, micros: int
) -> None:
    start = NOW + timedelta(seconds=37)
    since = NOW + timedelta(seconds=seconds, microseconds=micros)
    reference = [start + timedelta(seconds=every * number) for number in range(200)]
    found = times_of(intervalSeconds=every, startTime=start).after(since)
    assert next(found) == next(at for at in reference if at > since)


def test_a_time_is_among_them_or_not() -> None:
    found = times_of(intervalSeconds=60, endTime=(NOW + timedelta(minutes=3)).isoformat())
    seconds = [n for n in range(-120, 360) if NOW + timedelta(seconds=n) in found]
    assert seconds == [60, 120, 180]


def test_no_time_is_before_the_start_or_after_the_end() -> None:
    spec = {"startTime": "2026-01-02T00:00:00Z", "endTime": "2026-01-04T00:00:00Z"}
    found = times_of(schedule="@daily", **spec).after(at("2025-12-01T00:00Z"))
    assert [time.day for time in found] == [2, 3, 4]


def test_no_time_is_later_than_the_names_of_runs_reach() -> None:
    found = list(times_of(schedule="@yearly").after(at("2104-06-01T00:00Z")))
    assert found == [at("2105-01-01T00:00Z"), at("2106-01-01T00:00Z")]


def test_fractions_of_a_second_neither_take_nor_double_a_time() -> None:
    every_minute = times_of(schedule="* * * * *")
    due = at("2026-01-01T00:01:00Z")
    assert next(every_minute.after(due - timedelta(microseconds=1))) == due
    assert next(every_minute.after(due)) == due + timedelta(minutes=1)
    assert next(every_minute.after(due + timedelta(microseconds=1))) == due + timedelta(minutes=1)


ONE_OF_TWO = "^exactly one of schedule and intervalSeconds is needed$"


@pytest.mark.parametrize(
    ("spec", "field", "told"),
    [
        pytest.param({}, ("schedule",), ONE_OF_TWO, id="neither"),
        pytest.param(
            {"schedule": "@daily", "intervalSeconds": 9}, ("schedule",), ONE_OF_TWO, id="both"
        ),
        pytest.param({"schedule": 5}, ("schedule",), "or a list", id="a-number"),
        pytest.param({"schedule": {"a": 1}}, ("schedule",), "or a list", id="an-object"),
        pytest.param({"schedule": []}, ("schedule",), "or a list", id="an-empty-list"),
        pytest.param({"schedule": ["@daily"] * 11}, ("schedule",), "1 to 10", id="eleven"),
        pytest.param({"schedule": ["@daily", None]}, ("schedule", 1), "is a text", id="a-null"),
        pytest.param({"schedule": ["@daily", "x"]}, ("schedule", 1), "five fields", id="a-word"),
        pytest.param({"schedule": ""}, ("schedule",), "five fields", id="nothing"),
        pytest.param({"schedule": "0 0 0 * * *"}, ("schedule",), "five fields", id="seconds"),
        pytest.param({"schedule": "61 * * * *"}, ("schedule",), "Bad minute", id="minute-61"),
        pytest.param({"schedule": "* * * * 1#9"}, ("schedule",), "Bad day-of-week", id="ninth"),
        pytest.param({"schedule": "0 0 30 2 *"}, ("schedule",), "Bad day-of-month", id="feb-30"),
        pytest.param({"schedule": "0 0 */29 2 0#5"}, ("schedule",), "fifty years", id="never"),
        pytest.param({"schedule": "@fortnightly"}, ("schedule",), "@weekly", id="no-such-name"),
        pytest.param({"schedule": "@reboot"}, ("schedule",), "@weekly", id="at-the-start"),
        pytest.param({"schedule": "*" * 300}, ("schedule",), "256 characters", id="long"),
        pytest.param({"schedule": "²/1 * * * *"}, ("schedule",), "Bad minute", id="no-digit"),
        pytest.param(
            {"schedule": "@daily", "timeZone": "Mars/Olympus"}, ("timeZone",), "Mars", id="zone"
        ),
        pytest.param(
            {"schedule": "@daily", "timeZone": "../etc/passwd"}, ("timeZone",), "no time zone"
        ),
        pytest.param({"schedule": "@daily", "timeZone": "Europe"}, ("timeZone",), "no time zone"),
        pytest.param(
            {"schedule": "@daily", "timeZone": "localtime"}, ("timeZone",), "no time zone"
        ),
        pytest.param(
            {"schedule": "@daily", "startTime": NOW, "endTime": NOW - DAY},
            ("endTime",),
            "^it is before startTime$",
            id="ends-before-it-starts",
        ),
    ],
)
def test_what_names_no_times_is_told_where_it_stands(
    spec: dict[str, Any], field: tuple[str | int, ...], told: str
) -> None:
    with pytest.raises(times.Unreadable, match=told) as caught:
        times_of(**spec)
    assert caught.value.field == field


@given(st.one_of(st.text(max_size=30), st.text("0123456789*/,-#LW?@ \t\n", max_size=30)))
def test_whatever_is_written_is_read_or_told_to_be_unreadable(text: str) -> None:
    try:
        found = times_of(schedule=text)
    except times.Unreadable:
        return
    assert next(found.after(NOW)) > NOW


def test_a_schedule_that_was_never_stored_goes_by_the_time_it_is_given() -> None:
    schedule = with_meta(a_schedule(intervalSeconds=60), creation_timestamp=NOW - DAY)
    assert next(times.Times.of(schedule).after(NOW - DAY)) == NOW - DAY + timedelta(seconds=60)


def test_what_comes_once_in_decades_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[datetime] = []

    class Counted(cronsim.CronSim):
        def __init__(self, expression: str, moment: datetime) -> None:
            began.append(moment)
            super().__init__(expression, moment)

    named = times_of(schedule="* 0 * 2 1#5", timeZone="Europe/Zurich")
    monkeypatch.setattr(cronsim, "CronSim", Counted)
    found = next(named.after(datetime(2026, 3, 1, tzinfo=UTC)))
    assert found == datetime(2044, 2, 28, 23, tzinfo=UTC)
    # The clocks change 36 times until then.
    assert len(began) == 1
