"""What the operator does for a schedule: the real parts over a Kubernetes in memory."""

from datetime import timedelta
from typing import Any

import pytest

from longtask_adapters.kube import errors, kinds
from longtask_adapters.testing import MemoryKubernetes
from longtask_adapters.testing.kubernetes import Refusal
from longtask_crds import names, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.schedule import runs
from longtask_crds.testing import (
    NAMESPACE,
    NOW,
    a_schedule,
    a_task,
    a_type,
    with_meta,
)
from longtask_crds.v1alpha1 import ConditionStatus, ConditionType, Phase, Reason, conditions
from longtask_operator import wiring
from longtask_operator.rules import schedules
from longtask_operator.testing import Operator

NIGHTLY = ObjectKey(NAMESPACE, "nightly")
MINUTE = timedelta(minutes=1)


class Stage:
    """A schedule with a run each minute, and an operator that looks when it is told to."""

    def __init__(self, **spec: Any) -> None:
        self.operator = Operator(kubernetes=MemoryKubernetes())
        self.kubernetes = self.operator.kubernetes
        given = {"intervalSeconds": 60} | spec
        self.kubernetes.add(
            a_schedule(**{field: value for field, value in given.items() if value is not None})
        )

    def wait(self, minutes: float = 1) -> None:
        self.kubernetes.now += minutes * MINUTE

    async def look(self) -> list[str]:
        """Hear of all there is, look, and return what was written."""
        await self.operator.hear()
        before = len(self.kubernetes.requests)
        self.again = await self.operator.scheduler.reconcile(NIGHTLY)
        return [call for call in self.kubernetes.calls[before:] if not call.startswith("get")]

    async def go_on(self, times: int = 1) -> None:
        """Look once, then after each of so many minutes."""
        await self.look()
        for _ in range(times):
            self.wait()
            await self.look()

    @property
    def schedule(self) -> v1alpha1.LongTaskSchedule:
        return kinds.SCHEDULES.read(self.kubernetes.stored(names.LONGTASKSCHEDULES, "nightly"))

    @property
    def status(self) -> v1alpha1.LongTaskScheduleStatus:
        return self.schedule.status

    def condition(self, kind: ConditionType) -> tuple[ConditionStatus, str]:
        found = conditions.find(self.status.conditions, kind)
        assert found is not None
        return found.status, found.reason

    @property
    def made(self) -> list[int]:
        """Return of which minutes there are tasks, in the order in which they were made."""
        times = [runs.time_of(key.name) for key in self.kubernetes.objects(names.LONGTASKS)]
        return [int((time - NOW) / MINUTE) for time in times if time is not None]

    def name(self, minute: int) -> str:
        return names.run_name("nightly", NOW + minute * MINUTE)

    def task(self, minute: int) -> v1alpha1.LongTask:
        return kinds.TASKS.read(self.kubernetes.stored(names.LONGTASKS, self.name(minute)))

    def end(
        self, minute: int, phase: Phase = Phase.SUCCEEDED, result: dict[str, Any] | None = None
    ) -> None:
        """End the run of a minute, as the operator does that works on tasks."""
        good = ConditionStatus.TRUE if phase is Phase.SUCCEEDED else ConditionStatus.FALSE
        reason = Reason.COMPLETED if phase is Phase.SUCCEEDED else Reason.PROGRAM_FAILED
        now = self.kubernetes.now
        found = conditions.changed(
            (),
            conditions.Change(ConditionType.FINISHED, ConditionStatus.TRUE, reason),
            conditions.Change(ConditionType.SUCCEEDED, good, reason, "exit code 3"),
            now=now,
        )
        status = v1alpha1.LongTaskStatus(
            phase=phase,
            started_at=now - timedelta(seconds=20),
            finished_at=now,
            conditions=found,
            result=None if result is None else v1alpha1.Result.model_validate(result),
        )
        self.kubernetes.put(names.LONGTASKS, self.name(minute), status=status.to_json())

    def annotate(self, name: str, value: str) -> None:
        meta = {"annotations": {name: value}}
        self.kubernetes.put(names.LONGTASKSCHEDULES, "nightly", metadata=meta)

    def ask(self, *minutes: int) -> None:
        times = runs.asking(NOW + minute * MINUTE for minute in minutes)
        assert times is not None
        self.annotate(names.RUN_AT_ANNOTATION, times)

    def change(self, **spec: Any) -> None:
        generation = self.schedule.metadata.generation + 1
        self.kubernetes.put(
            names.LONGTASKSCHEDULES, "nightly", spec=spec, metadata={"generation": generation}
        )


# --- a run from its time to its end ---


async def test_a_run_is_claimed_then_made_then_recorded() -> None:
    stage = Stage()
    assert await stage.look() == ["patch longtaskschedules nightly/status"]
    assert stage.again == 60
    stage.wait()
    assert await stage.look() == [
        "patch longtaskschedules nightly/status",
        "create longtasks",
        "patch longtaskschedules nightly/status",
    ]
    (run,) = stage.status.runs or ()
    assert (run.name, run.number, run.scheduled_at) == (stage.name(1), 1, NOW + MINUTE)
    assert run.uid == stage.task(1).metadata.uid
    assert (stage.status.active, stage.status.active_count) == ([run.name], 1)
    assert stage.status.next_runs == [NOW + minute * MINUTE for minute in (2, 3, 4)]


async def test_while_all_is_calm_nothing_is_written() -> None:
    stage = Stage()
    await stage.go_on()
    assert await stage.look() == []
    stage.end(1)
    assert await stage.look() == ["patch longtaskschedules nightly/status"]
    assert await stage.look() == []


async def test_a_run_that_ended_is_told_with_how_long_it_ran() -> None:
    stage = Stage()
    await stage.go_on()
    stage.end(1, Phase.FAILED)
    await stage.look()
    (run,) = stage.status.runs or ()
    assert (run.phase, run.seconds, run.error) == (
        Phase.FAILED,
        20.0,
        "ProgramFailed: exit code 3",
    )
    assert (stage.status.active, stage.status.failures_in_a_row) == (None, 1)
    assert stage.status.last_successful_time is None


async def test_a_run_belongs_to_the_schedule_and_to_whom_that_belongs_to() -> None:
    stage = Stage(taskTemplate={"labels": {"a": "b"}, "spec": {"type": "sleep"}})
    stage.kubernetes.add(a_type("sleep"))
    labels = {names.OWNER_LABEL: "anna"}
    stage.kubernetes.put(names.LONGTASKSCHEDULES, "nightly", metadata={"labels": labels})
    await stage.go_on()
    meta = stage.task(1).metadata
    assert meta.labels == labels | {"a": "b", names.SCHEDULE_LABEL: "nightly"}
    assert [owner.uid for owner in meta.owner_references] == [stage.schedule.metadata.uid]


async def test_a_run_that_was_deleted_is_not_made_again() -> None:
    stage = Stage(maxFailures=1)
    await stage.go_on()
    stage.kubernetes.remove(names.LONGTASKS, stage.name(1))
    await stage.look()
    (run,) = stage.status.runs or ()
    assert (run.error, run.phase, stage.status.active) == ("deleted", None, None)
    assert (stage.made, stage.status.failures_in_a_row) == ([], 0)


async def test_a_run_that_may_not_be_made_is_a_failure_of_the_schedule() -> None:
    stage = Stage()
    await stage.look()

    def refuse(write: str, moment: str) -> None:
        if (write, moment) == ("create_task", "before"):
            raise Refusal(403, "Forbidden", "exceeded quota: tasks")

    stage.kubernetes.interrupt = refuse
    stage.wait()
    await stage.look()
    (run,) = stage.status.runs or ()
    assert "exceeded quota" in (run.error or "")
    assert (stage.status.failures_in_a_row, stage.status.active) == (1, None)


async def test_a_name_that_another_task_has_is_not_taken_from_it() -> None:
    stage = Stage()
    stage.kubernetes.add(a_task(stage.name(1)))
    await stage.go_on()
    (run,) = stage.status.runs or ()
    assert run.error == "another task has that name"


async def test_whoever_works_on_tasks_is_told_at_once_of_each_that_is_made_or_cancelled() -> None:
    stage = Stage(concurrencyPolicy="Replace")
    await stage.go_on()
    # What the answer of a write has brought is no news to the watch of tasks.
    assert stage.name(1) in stage.operator.woken
    stage.wait()
    await stage.operator.hear()
    stage.operator.woken.clear()
    await stage.operator.scheduler.reconcile(NIGHTLY)
    assert stage.task(1).spec.cancel
    assert stage.operator.woken == [stage.name(1)]


# --- what goes on at once ---


async def test_forbid_passes_over_what_falls_due_meanwhile() -> None:
    stage = Stage()
    await stage.go_on(3)
    assert (stage.made, stage.status.skipped) == ([1], 2)
    stage.end(1)
    stage.wait()
    await stage.look()
    assert stage.made == [1, 4]


async def test_replace_cancels_and_starts_the_new_one_when_the_old_one_is_over() -> None:
    stage = Stage(concurrencyPolicy="Replace")
    await stage.go_on(2)
    assert (stage.made, stage.task(1).spec.cancel) == ([1], True)
    assert stage.status.pending == [NOW + 2 * MINUTE]
    assert "to be cancelled" in (stage.status.message or "")
    assert await stage.look() == []
    stage.end(1, Phase.CANCELLED)
    await stage.look()
    assert (stage.made, stage.status.pending, stage.status.message) == ([1, 2], None, None)
    assert (stage.status.failures_in_a_row, stage.status.skipped) == (0, None)


async def test_allow_lists_all_that_go_on_though_the_list_of_runs_is_shorter() -> None:
    stage = Stage(concurrencyPolicy="Allow", maxFailures=1)
    await stage.go_on(25)
    assert len(stage.made) == stage.status.active_count == 25
    assert len(stage.status.runs or ()) == 20
    stage.end(1, Phase.FAILED)
    await stage.look()
    assert stage.name(1) not in (stage.status.active or ())
    assert stage.condition(ConditionType.SUSPENDED)[1] == Reason.MAX_FAILURES


# --- what people ask for ---


async def test_a_run_that_somebody_asks_for_is_started_though_it_is_suspended() -> None:
    stage = Stage(suspend=True)
    await stage.go_on()
    stage.ask(-5)
    await stage.look()
    assert stage.made == [-5]
    assert names.RUN_AT_ANNOTATION not in stage.schedule.metadata.annotations
    assert stage.status.last_schedule_time is None


async def test_forbid_starts_what_is_asked_for_one_after_the_other() -> None:
    stage = Stage(suspend=True)
    stage.ask(-3, -2)
    await stage.look()
    assert stage.made == [-3]
    assert runs.asked(stage.schedule) == (NOW - 2 * MINUTE,)
    stage.end(-3)
    await stage.look()
    assert stage.made == [-3, -2]
    assert runs.asked(stage.schedule) == ()


async def test_allow_starts_all_that_is_asked_for() -> None:
    stage = Stage(concurrencyPolicy="Allow", suspend=True)
    stage.ask(*range(-12, 0))
    await stage.look()
    assert stage.made == list(range(-12, 0))
    assert [run.number for run in reversed(stage.status.runs or ())] == list(range(1, 13))


async def test_a_time_that_has_a_run_gets_no_second_one() -> None:
    stage = Stage()
    await stage.go_on()
    stage.end(1)
    stage.ask(1)
    await stage.look()
    assert (stage.made, runs.asked(stage.schedule)) == ([1], ())
    assert stage.status.runs_started == 1


async def test_a_run_asked_for_at_a_time_that_is_due_too_is_one_run() -> None:
    stage = Stage()
    await stage.look()
    stage.wait()
    stage.ask(1)
    await stage.look()
    assert (stage.made, stage.status.skipped, stage.status.runs_started) == ([1], None, 1)


async def test_what_is_no_time_is_taken_out_of_the_annotation() -> None:
    stage = Stage(suspend=True)
    stage.annotate(names.RUN_AT_ANNOTATION, "now, 2026-02-31T00:00:00Z,,2026-01-02T03:00:00+00:00")
    await stage.look()
    assert names.RUN_AT_ANNOTATION not in stage.schedule.metadata.annotations
    assert stage.made == []


async def test_suspended_it_starts_nothing_and_makes_up_for_nothing() -> None:
    stage = Stage(misfire={"policy": "all"})
    await stage.look()
    stage.change(suspend=True)
    await stage.go_on(3)
    assert stage.again is None
    assert stage.condition(ConditionType.SUSPENDED) == (ConditionStatus.TRUE, Reason.AS_ASKED)
    assert stage.status.next_runs is None
    stage.change(suspend=False)
    await stage.look()
    assert (stage.made, stage.status.skipped) == ([], 3)
    stage.wait()
    await stage.look()
    assert stage.made == [4]


# --- failures ---


async def fail(stage: Stage, *minutes: int) -> None:
    for minute in minutes:
        stage.wait()
        await stage.look()
        stage.end(minute, Phase.FAILED)
    await stage.look()


async def test_after_too_many_failures_it_suspends_itself_and_tells_so() -> None:
    stage = Stage(maxFailures=2)
    await stage.look()
    await fail(stage, 1, 2)
    assert stage.condition(ConditionType.SUSPENDED) == (ConditionStatus.TRUE, Reason.MAX_FAILURES)
    (event,) = stage.kubernetes.objects("events").values()
    assert (event["reason"], event["involvedObject"]["kind"]) == ("Suspended", "LongTaskSchedule")
    assert event["message"] == "MaxFailures: 2 runs failed in a row"
    assert stage.status.next_runs is None
    await stage.go_on(2)
    assert stage.made == [1, 2]
    assert len(stage.kubernetes.objects("events")) == 1
    assert stage.schedule.spec.suspend is None


async def test_a_reset_lets_it_go_on_and_says_who() -> None:
    stage = Stage(maxFailures=1)
    await stage.look()
    await fail(stage, 1)
    await stage.go_on(2)
    stage.annotate(names.RESET_ANNOTATION, f"{runs.text_of(stage.kubernetes.now)} anna the first")
    await stage.look()
    assert stage.status.failures_in_a_row == 0
    assert (stage.status.reset_by, stage.status.reset_at) == ("anna the first", NOW + 3 * MINUTE)
    assert stage.condition(ConditionType.SUSPENDED) == (ConditionStatus.FALSE, Reason.ACTIVE)
    assert stage.made == [1]
    stage.wait()
    await stage.look()
    assert stage.made == [1, 4]
    stage.end(4, Phase.FAILED)
    await stage.look()
    # The same annotation is no second reset.
    assert stage.condition(ConditionType.SUSPENDED)[1] == Reason.MAX_FAILURES


@pytest.mark.parametrize("asked", ["2999-01-01T00:00:00Z anna", "now anna", "", " "])
async def test_a_reset_of_no_time_or_a_late_one_is_none(asked: str) -> None:
    stage = Stage(maxFailures=1)
    await stage.look()
    await fail(stage, 1)
    stage.annotate(names.RESET_ANNOTATION, asked)
    await stage.look()
    assert stage.condition(ConditionType.SUSPENDED)[1] == Reason.MAX_FAILURES


async def test_a_run_asked_for_that_succeeds_lets_it_go_on_too() -> None:
    stage = Stage(maxFailures=1)
    await stage.look()
    await fail(stage, 1)
    stage.ask(-5)
    await stage.look()
    stage.end(-5)
    await stage.look()
    assert stage.condition(ConditionType.SUSPENDED)[1] == Reason.ACTIVE


async def test_a_cancelled_run_neither_counts_nor_forgets() -> None:
    stage = Stage(maxFailures=2)
    await stage.look()
    await fail(stage, 1)
    stage.wait()
    await stage.look()
    stage.end(2, Phase.CANCELLED)
    await stage.look()
    assert stage.status.failures_in_a_row == 1


# --- what a run is told ---

TOLD = {
    "labels": {},
    "spec": {
        "container": {"image": "busybox"},
        "input": {
            "at": {"$from": "run#/scheduledTime"},
            "number": {"$from": "run#/number"},
            "since": {"$from": "run#/lastResult/cursor", "default": 0},
            "last": {"$from": "run#/lastResult"},
        },
    },
}


async def test_a_run_is_told_its_time_its_number_and_what_the_last_one_brought() -> None:
    stage = Stage(taskTemplate=TOLD)
    await stage.go_on()
    at = runs.text_of(NOW + MINUTE)
    assert stage.task(1).spec.input == {"at": at, "number": 1, "since": 0, "last": None}
    stage.end(1, result={"value": {"cursor": 7}})
    # Long gone by the next time.
    await stage.look()
    stage.kubernetes.remove(names.LONGTASKS, stage.name(1))
    stage.wait()
    await stage.look()
    assert stage.task(2).spec.input == {
        "at": runs.text_of(NOW + 2 * MINUTE),
        "number": 2,
        "since": 7,
        "last": {"cursor": 7},
    }
    stage.end(2, Phase.FAILED, result={"value": {"cursor": 9}})
    stage.wait()
    await stage.look()
    assert stage.task(3).spec.input["since"] == 7


async def test_a_large_last_result_is_fetched_from_where_it_is_kept() -> None:
    stage = Stage(taskTemplate=TOLD)
    await stage.go_on()
    kept = stage.operator.results.keep(b'{"cursor": 8}')
    stage.end(1, result=kept.to_json())
    stage.wait()
    stage.operator.results.is_away = True
    with pytest.raises(errors.Unavailable):
        await stage.look()
    assert stage.made == [1]
    stage.operator.results.is_away = False
    await stage.look()
    assert stage.task(2).spec.input["since"] == 8
    last = stage.status.last_result
    assert last is not None
    assert last.ref is not None
    assert last.ref.task_uid == stage.task(1).metadata.uid, "whose it is, when the task is gone"
    stage.end(2, Phase.FAILED)
    stage.operator.results.forget()
    stage.wait()
    await stage.look()
    assert stage.task(3).spec.input["since"] == 0


async def test_that_it_goes_on_has_nothing_to_do_with_failures() -> None:
    stage = Stage(maxFailures=2)
    await stage.go_on()
    stage.end(1, Phase.FAILED)
    await stage.look()
    told = conditions.find(stage.status.conditions, ConditionType.SUSPENDED)
    assert told is not None
    assert (told.status, told.message) == (ConditionStatus.FALSE, "")


async def test_what_nobody_asks_for_is_not_kept() -> None:
    stage = Stage()
    await stage.go_on()
    stage.end(1, result={"value": {"cursor": 7}})
    await stage.look()
    assert stage.status.last_result is None


# --- how many runs are kept ---


async def test_the_history_limits_let_older_runs_go_and_no_others() -> None:
    stage = Stage(successfulJobsHistoryLimit=2, failedJobsHistoryLimit=0)
    await stage.look()
    for minute, phase in enumerate([Phase.SUCCEEDED] * 3 + [Phase.FAILED], start=1):
        stage.wait()
        await stage.look()
        stage.end(minute, phase)
    await stage.go_on()
    ttl = [stage.task(minute).spec.ttl_seconds_after_finished for minute in range(1, 6)]
    kept = runs.KEPT_SECONDS
    assert ttl == [60, kept, kept, 60, kept]
    assert await stage.look() == []


async def test_how_long_the_template_says_that_a_run_stays_it_stays() -> None:
    spec = {"container": {"image": "busybox"}, "ttlSecondsAfterFinished": 5}
    stage = Stage(taskTemplate={"spec": spec}, successfulJobsHistoryLimit=0)
    await stage.go_on()
    stage.end(1)
    await stage.look()
    assert stage.task(1).spec.ttl_seconds_after_finished == 5


# --- what can never run ---


@pytest.mark.parametrize(
    ("spec", "reason", "told"),
    [
        pytest.param(
            {"intervalSeconds": None, "schedule": {"a": 1}},
            Reason.INVALID_SCHEDULE,
            "spec.schedule: a cron expression",
            id="an-object-as-the-schedule",
        ),
        pytest.param(
            {"intervalSeconds": None, "schedule": ["@daily", 5]},
            Reason.INVALID_SCHEDULE,
            "spec.schedule.1",
            id="a-number-in-the-list",
        ),
        pytest.param(
            {"intervalSeconds": None, "schedule": "a b c d e"},
            Reason.INVALID_SCHEDULE,
            "Bad minute",
            id="letters",
        ),
        pytest.param(
            {"timeZone": "Mars/Olympus"}, Reason.INVALID_SCHEDULE, "spec.timeZone", id="a-zone"
        ),
        pytest.param(
            {"taskTemplate": {"spec": {"type": "nothing"}}},
            Reason.TYPE_NOT_FOUND,
            "spec.taskTemplate.spec.type",
            id="a-type-that-is-not-there",
        ),
        pytest.param(
            {"taskTemplate": {"spec": {"container": {"image": "x"}, "cancel": True}}},
            Reason.INVALID_TEMPLATE,
            "cancelled at once",
            id="a-template-that-is-cancelled",
        ),
        pytest.param(
            {
                "taskTemplate": {
                    "spec": {"container": {"image": "x"}, "input": {"$from": "run#/nothing"}}
                }
            },
            Reason.INVALID_TEMPLATE,
            "scheduledTime, number, lastResult",
            id="a-fact-that-no-run-knows",
        ),
        pytest.param(
            {"taskTemplate": {"labels": {names.OWNER_LABEL: "b"}, "spec": {"type": "x"}}},
            Reason.INVALID_TEMPLATE,
            "LongTask's own",
            id="somebody-elses-label",
        ),
    ],
)
async def test_what_can_never_run_is_not_accepted_and_others_go_on(
    spec: dict[str, Any], reason: Reason, told: str
) -> None:
    stage = Stage(**spec)
    other = with_meta(a_schedule("other", intervalSeconds=60), uid="other")
    stage.kubernetes.add(other)
    await stage.go_on(2)
    assert stage.condition(ConditionType.ACCEPTED) == (ConditionStatus.FALSE, reason)
    found = conditions.find(stage.status.conditions, ConditionType.ACCEPTED)
    assert found is not None
    assert told in found.message
    assert (stage.made, stage.again) == ([], None)
    await stage.operator.scheduler.reconcile(ObjectKey(NAMESPACE, "other"))
    assert len(stage.kubernetes.objects(names.LONGTASKS)) == 1


async def test_a_template_too_deep_to_be_written_is_not_accepted() -> None:
    stage = Stage()
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    changed = {"taskTemplate": {"spec": {"input": deep}}}
    stage.kubernetes.put(names.LONGTASKSCHEDULES, "nightly", spec=changed)
    await stage.go_on(2)
    said = (ConditionStatus.FALSE, Reason.INVALID_TEMPLATE)
    assert stage.condition(ConditionType.ACCEPTED) == said
    assert (stage.made, stage.again) == ([], None)


async def test_a_type_that_comes_wakes_the_schedules_that_name_it() -> None:
    stage = Stage(taskTemplate={"spec": {"type": "late"}})
    await stage.look()
    stage.operator.woken_schedules.clear()
    stage.kubernetes.add(a_type("other"))
    await stage.operator.hear()
    assert stage.operator.woken_schedules == set()
    stage.kubernetes.add(a_type("late"))
    await stage.operator.hear()
    assert stage.operator.woken_schedules == {NIGHTLY}
    await stage.go_on()
    assert stage.condition(ConditionType.ACCEPTED) == (ConditionStatus.TRUE, Reason.VALID)
    assert stage.made == [1]


async def test_with_its_end_it_has_ended() -> None:
    stage = Stage(endTime=runs.text_of(NOW + MINUTE))
    await stage.go_on()
    assert stage.condition(ConditionType.SUSPENDED)[1] == Reason.ACTIVE
    stage.end(1)
    await stage.look()
    assert stage.condition(ConditionType.SUSPENDED) == (ConditionStatus.TRUE, Reason.ENDED)
    assert stage.again is None
    stage.change(endTime=runs.text_of(NOW + 9 * MINUTE))
    stage.wait(2)
    await stage.look()
    # What it names now for before the change does not count.
    assert (stage.made, stage.status.next_runs) == ([1], [NOW + m * MINUTE for m in (4, 5, 6)])


# --- what is remembered, and what is not believed ---


async def test_another_timetable_counts_from_when_it_was_seen() -> None:
    stage = Stage(intervalSeconds=None, schedule="0 4 * * *", misfire={"policy": "all"})
    await stage.look()
    stage.wait(30)
    stage.change(schedule="* * * * *")
    await stage.look()
    assert (stage.made, stage.status.skipped) == ([], None)
    stage.wait()
    await stage.look()
    assert len(stage.made) == 1


async def test_a_clock_that_is_set_back_doubles_nothing() -> None:
    stage = Stage()
    await stage.go_on()
    stage.end(1)
    await stage.look()
    stage.wait(-60)
    await stage.look()
    assert (stage.made, stage.status.next_runs) == ([1], [NOW + m * MINUTE for m in (2, 3, 4)])
    assert "a clock was ahead" in (stage.status.message or "")
    # Whoever does not want to wait for it resets.
    stage.annotate(names.RESET_ANNOTATION, f"{runs.text_of(stage.kubernetes.now)} anna")
    await stage.look()
    assert stage.status.message is None


async def run_each(stage: Stage, minutes: int, *, whose: list[int]) -> None:
    """Go on for so many minutes; each run ends at once, and its task is taken out."""
    for _ in range(minutes):
        stage.wait()
        await stage.look()
        for minute in stage.made:
            whose.append(minute)
            stage.end(minute)
            await stage.look()
            stage.kubernetes.remove(names.LONGTASKS, stage.name(minute))


async def reset(stage: Stage) -> None:
    stage.annotate(names.RESET_ANNOTATION, f"{runs.text_of(stage.kubernetes.now)} anna")
    await stage.look()


async def test_a_reset_lets_no_time_run_again_that_the_list_has_forgotten() -> None:
    stage, whose = Stage(), list[int]()
    await stage.look()
    await run_each(stage, 40, whose=whose)
    stage.wait(-40)
    await reset(stage)
    assert stage.status.last_schedule_time == stage.status.forgotten_up_to == NOW + 20 * MINUTE
    await run_each(stage, 45, whose=whose)
    assert whose == list(range(1, 46))


async def test_what_ran_by_a_clock_that_was_ahead_is_listed_until_its_time_has_come() -> None:
    stage, whose = Stage(), list[int]()
    await stage.look()
    stage.wait(40)
    await run_each(stage, 5, whose=whose)
    stage.wait(-45)
    await reset(stage)
    assert stage.status.last_schedule_time == NOW
    await run_each(stage, 50, whose=whose)
    assert whose == [*range(41, 46), *range(1, 41), *range(46, 51)]
    # By then the list has forgotten those of the clock that was ahead, too.
    await run_each(stage, 16, whose=whose)
    stage.wait(-30)
    await reset(stage)
    await run_each(stage, 34, whose=whose)
    assert sorted(whose) == list(range(1, 71))


async def test_after_a_reset_nothing_waits_for_its_turn_that_is_still_to_come() -> None:
    stage = Stage(misfire={"policy": "all"})
    await stage.go_on()
    stage.wait(5)
    await stage.look()
    assert stage.status.pending == [NOW + m * MINUTE for m in (2, 3, 4, 5)]
    stage.wait(-5)
    await reset(stage)
    stage.end(1)
    await stage.look()
    assert (stage.made, stage.status.pending) == ([1], None)
    stage.wait()
    await stage.look()
    assert stage.made == [1, 2]


async def test_runs_by_hand_pass_over_no_time_that_is_still_to_come() -> None:
    stage = Stage(intervalSeconds=3600, jitterSeconds=3599, concurrencyPolicy="Allow")
    await stage.go_on(60)
    hour = NOW + 60 * MINUTE
    assert (stage.made, stage.status.last_schedule_time) == ([], None)
    for second in range(1, 31):
        stage.annotate(names.RUN_AT_ANNOTATION, runs.text_of(hour + timedelta(seconds=second)))
        await stage.look()
    stage.wait(60)
    await stage.look()
    assert stage.status.last_schedule_time == hour
    assert names.run_name("nightly", hour) in {run.name for run in stage.status.runs or ()}


async def test_a_reset_after_a_status_was_wiped_lets_no_time_run_again() -> None:
    stage, whose = Stage(), list[int]()
    await stage.look()
    await run_each(stage, 3, whose=whose)
    stage.wait()
    await stage.look()
    raw = stage.kubernetes.stored(names.LONGTASKSCHEDULES, "nightly")
    stage.kubernetes.take_out(names.LONGTASKSCHEDULES, "nightly")
    fresh = {key: value for key, value in raw.items() if key != "status"}
    stage.kubernetes.put(names.LONGTASKSCHEDULES, "nightly", **fresh)
    stage.operator.restart()
    await stage.look()
    stage.end(4)
    stage.wait(-4)
    await reset(stage)
    assert stage.status.last_schedule_time == NOW + 4 * MINUTE


async def test_a_status_that_was_wiped_is_made_again_of_the_runs_there_are() -> None:
    stage = Stage(misfire={"policy": "all"}, concurrencyPolicy="Allow")
    await stage.go_on(3)
    stage.end(1)
    raw = stage.kubernetes.stored(names.LONGTASKSCHEDULES, "nightly")
    stage.kubernetes.take_out(names.LONGTASKSCHEDULES, "nightly")
    fresh = {key: value for key, value in raw.items() if key != "status"}
    stage.kubernetes.put(names.LONGTASKSCHEDULES, "nightly", **fresh)
    stage.operator.restart()
    await stage.look()
    assert stage.made == [1, 2, 3]
    assert stage.status.active == [stage.name(2), stage.name(3)]
    assert [run.number for run in stage.status.runs or ()] == [3, 2, 1]
    assert stage.status.runs_started == 3


async def test_an_old_claim_is_read_again_before_its_task_is_made() -> None:
    stage = Stage()
    await stage.look()
    late = Operator(kubernetes=stage.kubernetes)
    await late.hear()

    def crash(write: str, moment: str) -> None:
        if (write, moment) == ("create_task", "before"):
            raise errors.Unavailable("the answer was lost")

    stage.wait()
    stage.kubernetes.interrupt = crash
    with pytest.raises(errors.Unavailable):
        await stage.look()
    await late.hear()
    stage.kubernetes.interrupt = lambda write, moment: None
    # The first one makes it, and its task comes and goes; the late one still believes the claim.
    await stage.look()
    stage.kubernetes.remove(names.LONGTASKS, stage.name(1))
    await late.scheduler.reconcile(NIGHTLY)
    assert stage.made == []


async def test_the_resync_looks_at_what_is_due_by_a_clock_that_was_set_forward() -> None:
    stage = Stage()
    await stage.look()
    assert stage.operator.scheduler.to_look_at() == []
    stage.wait()
    assert stage.operator.scheduler.to_look_at() == [NIGHTLY]


@pytest.mark.parametrize(
    ("again", "may_admit", "expected"),
    [
        pytest.param(60.0, True, 60.0, id="with-the-lease-when-it-is-due"),
        pytest.param(60.0, False, 60.0 + wiring.SECOND_GO, id="without-it-a-little-later"),
        pytest.param(0.0, False, 0.0, id="what-was-begun-is-ended-at-once"),
        pytest.param(None, False, None, id="never-is-never"),
    ],
)
async def test_an_operator_without_the_lease_lets_the_other_go_first(
    again: float | None, may_admit: bool, expected: float | None
) -> None:
    async def look(_: ObjectKey) -> float | None:
        return again

    assert await wiring.in_turn(look, lambda: may_admit)(NIGHTLY) == expected


async def test_a_schedule_that_is_deleted_is_let_alone() -> None:
    stage = Stage()
    meta = {"deletionTimestamp": runs.text_of(NOW), "finalizers": ["a/b"]}
    stage.kubernetes.put(names.LONGTASKSCHEDULES, "nightly", metadata=meta)
    assert await stage.look() == []
    stage.kubernetes.take_out(names.LONGTASKSCHEDULES, "nightly")
    assert await stage.look() == []


def test_a_task_whose_name_is_no_runs_is_none() -> None:
    assert schedules.Seen.of(a_task("nightly-report")) is None


@pytest.mark.parametrize("asked", ["1960-01-01T00:00:00Z", "2200-01-01T00:00:00Z"])
async def test_a_time_that_no_run_can_be_named_by_is_not_asked_for(asked: str) -> None:
    stage = Stage(suspend=True)
    stage.annotate(names.RUN_AT_ANNOTATION, asked)
    await stage.look()
    assert stage.kubernetes.objects(names.LONGTASKS) == {}
    assert stage.again is None
    assert names.RUN_AT_ANNOTATION not in stage.schedule.metadata.annotations
    assert await stage.look() == []


async def test_no_run_is_lost_of_more_than_the_status_lists() -> None:
    stage = Stage(misfire={"policy": "all"})
    await stage.look()
    stage.wait(20)
    await stage.look()
    assert len(stage.status.pending or ()) == 10
    stage.wait(20)
    stage.change(concurrencyPolicy="Allow")
    await stage.look()
    assert len(stage.made) == stage.status.runs_started == stage.status.active_count
    assert len(stage.made) == len(set(stage.made)) == 22
    assert stage.status.pending is None


async def test_what_a_run_brought_is_kept_though_no_other_could_start_when_it_ended() -> None:
    spec = {"type": "sleep", "input": {"last": {"$from": "run#/lastResult"}}}
    stage = Stage(taskTemplate={"spec": spec})
    stage.kubernetes.add(a_type("sleep"))
    await stage.go_on()
    stage.end(1, result={"value": {"cursor": 5}})
    stage.kubernetes.remove(names.LONGTASKTYPES, "sleep")
    await stage.look()
    assert stage.condition(ConditionType.ACCEPTED)[0] is ConditionStatus.FALSE
    stage.kubernetes.add(a_type("sleep"))
    stage.wait()
    await stage.look()
    assert stage.task(2).spec.input == {"last": {"cursor": 5}}
