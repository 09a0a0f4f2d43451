"""What a schedule's runs are made of, and what is refused of a schedule, with where it stands."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtask_crds import address_guard, effective, names, v1alpha1
from longtask_crds.pipeline import references
from longtask_crds.schedule import checks, due, runs
from longtask_crds.testing import (
    FINISHED,
    NOW,
    a_condition,
    a_schedule,
    a_task,
    a_type,
    with_meta,
    with_status,
)
from longtask_crds.v1alpha1 import ConditionType, Reason

INSTALLATION = effective.Installation("runner:1", v1alpha1.Resources(), {"cpu": "8"})
STRICT = a_type(
    "strict", inputSchema={"type": "object", "required": ["n"], "additionalProperties": False}
).spec


def findings(**spec: Any) -> list[tuple[str, Reason]]:
    schedule = a_schedule(**({"schedule": "@daily"} | spec))
    guard = address_guard.Guard()
    found = checks.findings(schedule, {"strict": STRICT}, INSTALLATION, guard, now=NOW)
    return [(one.pointer, one.reason) for one in found]


def template(**spec: Any) -> dict[str, Any]:
    return {"taskTemplate": {"spec": spec}}


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param(
            {"schedule": ["@daily", "x"]}, [("/schedule/1", Reason.INVALID_SCHEDULE)], id="a-cron"
        ),
        pytest.param(
            template(type="strict", input={"m": 1}),
            [
                ("/taskTemplate/spec/input/m", Reason.INVALID_INPUT),
                ("/taskTemplate/spec/input/n", Reason.INVALID_INPUT),
            ],
            id="an-input-that-its-type-refuses",
        ),
        pytest.param(
            template(type="strict", input={"m": {"$from": "run#/number"}}),
            [],
            id="an-input-that-nobody-knows-yet",
        ),
        pytest.param(
            template(
                steps=[
                    {"name": "a", "type": "strict", "input": {"n": {"$from": "run#/number"}}},
                    {"name": "b", "type": "strict", "input": {"$from": "steps.a#/x"}},
                    {
                        "name": "c",
                        "type": "strict",
                        "forEach": {"$from": "run#/lastResult", "default": []},
                        "input": {"n": {"$from": "item#"}},
                    },
                ]
            ),
            [],
            id="steps-that-take-from-the-run-and-from-each-other",
        ),
        pytest.param(
            template(steps=[{"name": "a", "type": "strict", "input": {"n": {"$from": "run#/x"}}}]),
            [("/taskTemplate/spec/steps/0/input/n", Reason.INVALID_TEMPLATE)],
            id="a-step-that-takes-what-no-run-knows",
        ),
        pytest.param(
            template(container={"image": "x"}, input={"$from": "run#number"}),
            [("/taskTemplate/spec/input", Reason.INVALID_TEMPLATE)],
            id="no-pointer",
        ),
        pytest.param(
            template(container={"image": "x"}, input={"$from": "a letter", "to": "b"}),
            [],
            id="a-plain-input-may-look-like-anything-else",
        ),
        pytest.param(
            template(container={"image": "x"}, notBefore="2026-02-01T00:00:00Z"),
            [("/taskTemplate/spec/notBefore", Reason.INVALID_TEMPLATE)],
            id="a-time-of-its-own",
        ),
        pytest.param(
            template(), [("/taskTemplate/spec", Reason.INVALID_TEMPLATE)], id="no-kind-of-work"
        ),
        pytest.param(
            template(container={"image": "x"}, callback={"url": "http://10.0.0.1/"}),
            [("/taskTemplate/spec/callback/url", Reason.CALLBACK_REFUSED)],
            id="a-callback-that-may-not-be",
        ),
        pytest.param(
            template(container={"image": "x"}, input=deep(5000)),
            [("/taskTemplate/spec", Reason.INVALID_TEMPLATE)],
            id="nested-too-deeply",
        ),
        pytest.param(
            template(container={"image": "x"}, input=deep(100)), [], id="as-deep-as-a-result"
        ),
        pytest.param(
            template(container={"image": "x"}, input=deep(101)),
            [("/taskTemplate/spec/input", Reason.INVALID_TEMPLATE)],
            id="deeper-than-that",
        ),
        pytest.param(
            template(
                steps=[
                    {"name": "a", "container": {"image": "x"}, "input": deep(300)},
                    {
                        "name": "b",
                        "container": {"image": "x"},
                        "input": {},
                        "forEach": [deep(300), deep(300)],
                    },
                ],
                output=deep(300),
            ),
            [
                ("/taskTemplate/spec/output", Reason.INVALID_TEMPLATE),
                ("/taskTemplate/spec/steps/0/input", Reason.INVALID_TEMPLATE),
                ("/taskTemplate/spec/steps/1/forEach", Reason.INVALID_TEMPLATE),
            ],
            id="wherever-it-is",
        ),
        pytest.param(
            {"schedule": deep(5000)}, [("/schedule", Reason.INVALID_SCHEDULE)], id="deep-times"
        ),
    ],
)
def test_findings(spec: dict[str, Any], expected: list[tuple[str, Reason]]) -> None:
    assert findings(**spec) == expected


def test_a_name_with_no_room_for_a_runs_time_is_refused() -> None:
    longest = "a" * names.SCHEDULE_NAME_MAX
    for name, expected in ((longest, []), (f"{longest}a", ["/name"])):
        schedule = with_meta(a_schedule(schedule="@daily"), name=name)
        found = checks.findings(schedule, {}, INSTALLATION, address_guard.Guard(), now=NOW)
        assert [one.pointer for one in found] == expected
    assert len(names.run_name(longest, NOW)) == names.TASK_NAME_MAX


def test_only_the_template_of_a_schedule_may_speak_of_a_run() -> None:
    step = {"name": "a", "type": "strict", "input": {"n": {"$from": "run#/number"}}}
    spec = v1alpha1.LongTaskSpec.model_validate({"steps": [step], "output": {"$from": "run#"}})
    found = checks.acceptance.violations(
        spec, {"strict": STRICT}, INSTALLATION, address_guard.Guard(), created_at=NOW
    )
    assert [one.pointer for one in found] == ["/steps/0/input/n", "/output"]


def test_what_is_filled_in_keeps_its_type_and_the_rest_its_words() -> None:
    pipeline = {
        "steps": [
            {"name": "a", "type": "t", "input": {"n": {"$from": "run#/number"}, "z": None}},
            {"name": "b", "type": "t", "input": [{"$from": "steps.a#/x"}, {"$from": "input#"}]},
        ],
        "input": [{"$from": "run#/lastResult/a/0"}, {"$from": "run#/lastResult/b", "default": 5}],
        "output": {"at": {"$from": "run#/scheduledTime"}, "a": {"$from": "steps.a#"}},
    }
    schedule = a_schedule(schedule="@daily", **template(**pipeline))
    spec = runs.task_of(schedule, NOW, number=3, last_result={"a": [{"k": None}]})["spec"]
    assert [step["input"] for step in spec["steps"]] == [
        {"n": 3, "z": None},
        [{"$from": "steps.a#/x"}, {"$from": "input#"}],
    ]
    assert spec["input"] == [{"k": None}, 5]
    assert spec["output"] == {"at": "2026-01-02T03:04:05Z", "a": {"$from": "steps.a#"}}


@pytest.mark.parametrize(
    "brought", [{"$from": "input#/token"}, [{"a": {"$ref": "steps.b"}}], {"$from": 1}]
)
def test_what_a_run_brought_is_no_reference_of_the_next_ones(brought: Any) -> None:
    last = {"$from": "run#/lastResult"}
    pipeline = {
        "steps": [
            {"name": "a", "type": "t", "input": {"last": last}},
            {"name": "b", "type": "t", "input": {"item": {"$from": "item#"}}, "forEach": last},
        ],
        "input": {"token": "secret", "last": last},
        "output": last,
    }
    schedule = a_schedule(schedule="@daily", **template(**pipeline))
    made = runs.task_of(schedule, NOW, number=1, last_result=brought)["spec"]
    spec = v1alpha1.LongTaskSpec.model_validate(made)
    assert spec.input == {"token": "secret", "last": brought}
    types = {"t": a_type("t").spec}
    guard = address_guard.Guard()
    assert [*checks.acceptance.violations(spec, types, INSTALLATION, guard, created_at=NOW)] == []

    def look_up(reference: references.Reference) -> Any:
        return references.part(spec.input, reference)

    assert spec.steps is not None
    first, second = spec.steps
    assert references.filled_in(first.input, look_up) == {"last": brought}
    assert references.filled_in(second.for_each, look_up) == brought
    assert references.filled_in(spec.output, look_up) == brought


def test_a_run_is_its_schedules_and_its_owners() -> None:
    schedule = with_meta(
        a_schedule(
            schedule="@daily",
            taskTemplate={
                "labels": {"team": "red", names.OWNER_LABEL: "eve"},
                "spec": {"container": {"image": "busybox"}},
            },
        ),
        labels={names.OWNER_LABEL: "ann"},
        annotations={names.OWNER_NAME_ANNOTATION: "Ann of Green Gables"},
    )
    assert runs.task_of(schedule, NOW, number=7) == {
        "apiVersion": "longtask.dev/v1alpha1",
        "kind": "LongTask",
        "metadata": {
            "name": names.run_name("nightly", NOW),
            "namespace": schedule.metadata.namespace,
            "labels": {
                "team": "red",
                names.OWNER_LABEL: "ann",
                names.SCHEDULE_LABEL: "nightly",
            },
            "annotations": {
                names.SCHEDULED_AT_ANNOTATION: "2026-01-02T03:04:05Z",
                names.RUN_NUMBER_ANNOTATION: "7",
                names.OWNER_NAME_ANNOTATION: "Ann of Green Gables",
            },
            "ownerReferences": [
                {
                    "apiVersion": "longtask.dev/v1alpha1",
                    "kind": "LongTaskSchedule",
                    "name": "nightly",
                    "uid": schedule.metadata.uid,
                    "controller": False,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "container": {"image": "busybox"},
            "ttlSecondsAfterFinished": runs.KEPT_SECONDS,
        },
    }
    meta = runs.task_of(a_schedule(schedule="@daily"), NOW, number=1)["metadata"]
    assert meta["labels"] == {names.SCHEDULE_LABEL: "nightly"}
    assert names.OWNER_NAME_ANNOTATION not in meta["annotations"]
    own = a_schedule(
        schedule="@daily",
        **template(container={"image": "busybox"}, ttlSecondsAfterFinished=60),
    )
    assert runs.task_of(own, NOW, number=1)["spec"]["ttlSecondsAfterFinished"] == 60


def test_what_is_wrong_is_said_in_words() -> None:
    schedule = a_schedule(
        schedule="@daily",
        taskTemplate={
            "labels": {f"{names.GROUP}/x": "1", "own": "2"},
            "spec": {
                "steps": [
                    {"name": "a", "type": "strict", "input": {"n": {"$from": "run#/x"}}},
                    {"name": "b", "type": "strict", "forEach": {"$from": "run#/y"}},
                ],
                "cancel": True,
                "notBefore": "2026-02-01T00:00:00Z",
            },
        },
    )
    found = checks.findings(schedule, {}, INSTALLATION, address_guard.Guard(), now=NOW)
    of_template = [one for one in found if one.reason is Reason.INVALID_TEMPLATE]
    facts = "a run knows its scheduledTime, number, lastResult"
    assert [(one.pointer, one.message) for one in of_template[:5]] == [
        (
            "/taskTemplate/labels/longtask.dev~1x",
            "labels of longtask.dev are LongTask's own to give",
        ),
        ("/taskTemplate/spec/cancel", "each run would be cancelled at once"),
        ("/taskTemplate/spec/notBefore", "a run begins when it is due"),
        ("/taskTemplate/spec/steps/0/input/n", facts),
        ("/taskTemplate/spec/steps/1/forEach", facts),
    ]
    deep_one = a_schedule(schedule="@daily", **template(container={"image": "x"}, input=deep(5000)))
    (one,) = checks.findings(deep_one, {}, INSTALLATION, address_guard.Guard(), now=NOW)
    assert one.message == "nested too deeply"


# --- how it ended


def ended(phase: str, *conditions: v1alpha1.Condition, is_over: bool = True) -> v1alpha1.LongTask:
    over = (FINISHED,) if is_over else ()
    return with_status(a_task(), phase=v1alpha1.Phase(phase), conditions=(*over, *conditions))


@pytest.mark.parametrize(
    ("task", "error"),
    [
        (ended("Succeeded", a_condition(ConditionType.SUCCEEDED)), None),
        (ended("Running", is_over=False), None),
        (ended("Failed"), "Failed"),
        (
            ended(
                "Failed", a_condition(ConditionType.SUCCEEDED, reason="Error", message="it broke")
            ),
            "Error: it broke",
        ),
        (
            ended("Failed", a_condition(ConditionType.SUCCEEDED, reason="Error", message="")),
            "Error",
        ),
        (
            ended(
                "Failed", a_condition(ConditionType.SUCCEEDED, reason="Error", message="x" * 999)
            ),
            f"Error: {'x' * 999}"[: names.BRIEF_MAX],
        ),
    ],
    ids=["succeeded", "goes-on", "says-nothing", "failed", "no-message", "long"],
)
def test_why_a_run_failed(task: v1alpha1.LongTask, error: str | None) -> None:
    assert runs.error_of(task) == error


def a_record(number: int, **fields: Any) -> v1alpha1.ScheduledRun:
    at = NOW + number * timedelta(minutes=1)
    known = {"name": f"n-{number}", "number": number, "scheduledAt": at, "uid": "u"}
    return v1alpha1.ScheduledRun.model_validate(known | fields)


def test_the_run_that_has_ended_last_is_by_its_end_and_else_by_its_time() -> None:
    def last(*records: v1alpha1.ScheduledRun) -> int | None:
        found = runs.last_ended(v1alpha1.LongTaskScheduleStatus(runs=list(records)))
        return None if found is None else found.number

    later = NOW + timedelta(hours=1)
    over = {"phase": "Succeeded", "finishedAt": NOW}
    assert runs.last_ended(v1alpha1.LongTaskScheduleStatus()) is None
    assert last(a_record(1)) is None
    assert last(a_record(1), a_record(2, **over)) == 2
    assert last(a_record(1, **over | {"finishedAt": later}), a_record(2, **over)) == 1
    assert last(a_record(1, **over), a_record(3, **over), a_record(2, **over)) == 3
    # One that could not be made has an error and no phase; one that was deleted had no end.
    assert last(a_record(1, error="no such type")) == 1
    assert last(a_record(1, error=runs.DELETED)) is None


# --- what is asked for by hand


def test_what_is_asked_for_is_added_to_what_is_asked_for_already() -> None:
    times = [NOW + timedelta(seconds=n) for n in range(runs.MOST_WAITING)]
    schedule = a_schedule(schedule="@daily")
    assert runs.asking_for(schedule, times[:1]) == {
        "metadata": {"annotations": {names.RUN_AT_ANNOTATION: runs.asking(times[:1])}}
    }
    asked = with_meta(schedule, annotations={names.RUN_AT_ANNOTATION: runs.asking(times[1:])})
    patch = runs.asking_for(asked, [times[0], times[5]])
    assert patch["metadata"]["annotations"][names.RUN_AT_ANNOTATION] == runs.asking(times)
    with pytest.raises(runs.TooManyAsked, match=r"^So many runs are asked for already"):
        runs.asking_for(asked, [times[0], NOW - timedelta(seconds=1)])


def test_a_runs_time_is_in_its_name_and_names_sort_like_times() -> None:
    times = [NOW + timedelta(days=days) for days in (0, 1, 400, 20_000)]
    found = [names.run_name("a-b", at) for at in times]
    assert [runs.time_of(name) for name in found] == times
    assert sorted(found) == found
    assert runs.time_of("a-b") is None


@given(st.sets(st.integers(0, 2**32 - 1), max_size=runs.MOST_ASKED))
def test_what_is_asked_for_is_read_as_it_was_written(seconds: set[int]) -> None:
    times = {NOW.fromtimestamp(second, tz=NOW.tzinfo) for second in seconds}
    text = runs.asking(times)
    annotations = {} if text is None else {names.RUN_AT_ANNOTATION: text}
    schedule = with_meta(a_schedule(schedule="@daily"), annotations=annotations)
    assert runs.asked(schedule) == tuple(sorted(times))


@given(st.integers(1, 86_400), st.integers(1, 100_000), st.integers(0, 10**9))
def test_jitter_stays_before_the_next_time_and_is_the_same_whoever_asks(
    jitter: int, gap: int, second: int
) -> None:
    schedule = a_schedule(schedule="@daily", jitterSeconds=jitter)
    at = NOW + timedelta(seconds=second)
    found = due.jitter_of(schedule, at, at + timedelta(seconds=gap))
    assert timedelta() <= found <= timedelta(seconds=jitter)
    assert found < timedelta(seconds=gap)
    assert found == due.jitter_of(schedule, at, at + timedelta(seconds=gap))


def test_jitter_spreads() -> None:
    schedule = a_schedule(schedule="@daily", jitterSeconds=600)
    shares = [
        due.jitter_of(schedule, NOW + timedelta(days=day), None).total_seconds()
        for day in range(200)
    ]
    assert 200 < sum(shares) / len(shares) < 400
    assert len(set(shares)) > 120


def test_only_what_names_times_is_in_the_hash() -> None:
    same = a_schedule(schedule="@daily")
    assert due.hash_of(same) == due.hash_of(
        a_schedule(schedule="@daily", suspend=True, maxFailures=3, jitterSeconds=5)
    )
    for spec in (
        {"schedule": "@hourly"},
        {"intervalSeconds": 60},
        {"schedule": "@daily", "timeZone": "Europe/Zurich"},
        {"schedule": "@daily", "startTime": NOW},
        {"schedule": "@daily", "endTime": NOW},
    ):
        assert due.hash_of(a_schedule(**spec)) != due.hash_of(same), spec
