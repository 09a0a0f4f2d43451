"""Steps of a pipeline that start warm, over a Kubernetes in memory."""

import asyncio
import collections
import datetime
import json
from typing import Any

import pytest

from longtask_adapters.kube import errors
from longtask_crds import names, runner_contract, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.pipeline import runs
from longtask_crds.testing import NAMESPACE, a_task
from longtask_crds.v1alpha1 import Phase, Start, StepPhase
from longtask_operator import testing
from longtask_operator.rules import pods
from longtask_operator.tasks import claims

TYPE = ObjectKey(NAMESPACE, "render")
NO_TASK = "NoTask: it was told to end"
#: Ten items, all at once.
FAN_OUT = {"name": "each", "forEach": list(range(10)), "maxParallel": 10}


def a_type(size: int, **spec: Any) -> v1alpha1.LongTaskType:
    meta = {"name": TYPE.name, "namespace": NAMESPACE}
    return v1alpha1.LongTaskType.model_validate(
        {"metadata": meta, "spec": {"warm": {"size": size}} | spec}
    )


class Warm:
    """A pipeline of one type, whose pods start when the test says so."""

    def __init__(self, *steps: dict[str, Any], size: int = 2, **of_type: Any) -> None:
        self.operator = testing.Operator()
        self.kubernetes = self.operator.kubernetes
        self.kubernetes.add(a_type(size, **of_type))
        self.task = a_task(steps=[{"type": TYPE.name} | step for step in steps])

    async def fill(self) -> None:
        """Have the pods made that are wanted, and let them run."""
        await self.operator.hear()
        await self.operator.ahead.reconcile(TYPE)
        made = {pods.controller_uid(raw["metadata"]) for raw in self.raw("pods")}
        for raw in self.raw("jobs"):
            if raw["metadata"]["uid"] not in made and not raw.get("status"):
                self.kubernetes.start_pod(self.kubernetes.make_pod(raw["metadata"]["name"]))
        await self.operator.hear()
        self.kubernetes.created_jobs.clear()

    async def submit(self) -> None:
        await self.fill()
        await self.operator.submit(self.task)
        await self.operator.look()

    async def look(self) -> None:
        await self.operator.hear()
        await self.operator.look()

    def raw(self, plural: str) -> list[dict[str, Any]]:
        return list(self.kubernetes.objects(plural).values())

    def status(self, run: str) -> v1alpha1.RunStatus:
        return runs.status_of(self.operator.status(), run)

    def starts(self) -> dict[str, Start | None]:
        """How each program began."""
        stored = self.operator.status()
        return {name: run.start for name, run in runs.statuses(stored) if run.attempt}

    def pod(self, run: str) -> dict[str, Any]:
        return self.kubernetes.stored("pods", self.status(run).pod_name or "")

    def job(self, run: str) -> dict[str, Any]:
        return self.kubernetes.stored("jobs", self.status(run).job_name or "")

    def taken(self) -> set[str]:
        """The uids of the pods that are the task's."""
        return {
            raw["metadata"]["uid"]
            for raw in self.raw("pods")
            if raw["metadata"]["labels"].get(names.WARM_LABEL)
            and raw["metadata"]["labels"][names.TASK_LABEL]
        }

    async def end(self, run: str, result: Any = None) -> None:
        message = "" if result is None else json.dumps(result)
        self.kubernetes.end_pod(self.status(run).pod_name or "", 0, message)
        await self.look()

    def pass_time(self, seconds: float) -> None:
        self.kubernetes.now += datetime.timedelta(seconds=seconds)


async def test_a_step_gets_a_pod_that_waits_and_everything_is_its_own() -> None:
    warm = Warm({"name": "a"})
    await warm.submit()
    step = warm.status("a")
    assert (step.start, step.phase, step.attempt) == (Start.WARM, StepPhase.STARTING, 1)
    labels = warm.pod("a")["metadata"]["labels"]
    assert labels[names.TASK_LABEL] == "report"
    assert labels[names.STEP_LABEL] == "a"
    assert labels[names.ATTEMPT_LABEL] == "1"
    warm.pass_time(1)
    await warm.look()
    job = warm.job("a")["metadata"]
    assert job["ownerReferences"][0]["name"] == "report"
    assert job["labels"][names.STEP_LABEL] == "a"
    assert warm.kubernetes.created_jobs == []
    await warm.end("a", 7)
    status = warm.operator.status()
    assert (status.phase, status.result) == (Phase.SUCCEEDED, v1alpha1.Result(value=7))
    warm.pass_time(1)
    await warm.look()
    assert "ttlSecondsAfterFinished" in warm.job("a")["spec"]


async def test_the_step_that_follows_takes_one_with_the_end_of_the_one_before() -> None:
    warm = Warm({"name": "a"}, {"name": "b", "input": {"n": {"$from": "steps.a#"}}})
    await warm.submit()
    assert len(warm.taken()) == 1
    await warm.end("a", 7)
    assert warm.starts() == {"a": Start.WARM, "b": Start.WARM}
    assert warm.status("b").pod_uid in warm.taken()
    assert warm.kubernetes.created_jobs == []


async def test_of_ten_that_become_ready_at_once_eight_get_the_eight_that_wait() -> None:
    warm = Warm({"name": "list"}, FAN_OUT, size=9)
    await warm.submit()
    warm.kubernetes.end_pod(warm.status("list").pod_name or "", 0, "")
    await warm.operator.hear()
    warm.kubernetes.created_jobs.clear()
    written: list[tuple[str, int]] = []

    def note(write: str, moment: str) -> None:
        if moment == "before":
            written.append((write, len(warm.kubernetes.created_jobs)))

    warm.kubernetes.interrupt = note
    misses = warm.operator.metrics.warm_misses.labels("NoneIdle")
    before = misses._value.get()
    await warm.operator.look()
    found = collections.Counter(warm.starts()[f"each.{index}"] for index in range(10))
    assert found == {Start.WARM: 8, Start.NONE_IDLE: 2}
    assert misses._value.get() == before + 2
    assert len(warm.kubernetes.created_jobs) == 2
    # The Job of the step before is seen to, and eight pods are taken; then one write claims all
    # ten, and those start that are cold.
    kinds = [write for write, _ in written]
    first = kinds.index("status")
    assert kinds[:first] == ["release_job", *["stop_pod"] * 8]
    assert kinds[first + 1 : first + 3] == ["create_job"] * 2
    uids = [warm.status(f"each.{index}").pod_uid for index in range(8)]
    assert {*uids, warm.status("list").pod_uid} == warm.taken()
    assert len(set(uids)) == 8


async def test_errands_do_not_wait_for_each_other() -> None:
    one, other = asyncio.Event(), asyncio.Event()

    async def meet(mine: asyncio.Event, theirs: asyncio.Event) -> int:
        mine.set()
        await theirs.wait()
        return 7

    async with asyncio.timeout(60):
        assert await claims.together([meet(one, other), meet(other, one)]) == [7, 7]


async def test_each_errand_is_seen_to_its_end() -> None:
    done: list[int] = []

    async def fail() -> int:
        raise errors.Unavailable("gone")

    async def last() -> int:
        await asyncio.sleep(0)
        done.append(1)
        return 1

    with pytest.raises(errors.Unavailable):
        await claims.together([fail(), last()])
    assert done == [1]


async def test_who_writes_first_costs_no_pod() -> None:
    """A report comes between: the pods that were taken are named by the next try."""
    warm = Warm({"name": "a"}, {"name": "b", "needs": []}, size=4)
    await warm.fill()
    conflicts = [errors.Conflict("somebody wrote first")] * 2

    def clash(write: str, moment: str) -> None:
        if (write, moment) == ("status", "before") and warm.taken() and conflicts:
            raise conflicts.pop()

    warm.kubernetes.interrupt = clash
    await warm.operator.submit(warm.task)
    await warm.operator.look()
    assert not conflicts
    assert warm.starts() == {"a": Start.WARM, "b": Start.WARM}
    assert {warm.status(run).pod_uid for run in "ab"} == warm.taken()
    assert len(warm.taken()) == 2


async def test_one_whose_answer_was_lost_is_left_and_no_other_is() -> None:
    warm = Warm({"name": "a"}, {"name": "b", "needs": []}, size=4)
    await warm.fill()
    lost: list[str] = []

    def lose(write: str, moment: str) -> None:
        if (write, moment) == ("stop_pod", "after") and not lost:
            lost.append(write)
            raise errors.Unavailable("the answer was lost")

    warm.kubernetes.interrupt = lose
    await warm.operator.submit(warm.task)
    with pytest.raises(errors.Unavailable):
        await warm.operator.look()
    assert warm.starts() == {}
    await warm.look()
    assert warm.starts() == {"a": Start.WARM, "b": Start.WARM}
    assert len(warm.taken()) == 3  # and one of them is nobody's
    warm.kubernetes.interrupt = lambda _write, _moment: None
    for _ in range(2):
        await warm.operator.hear()
        await warm.operator.ahead.recycle_strays()
    assert {warm.status(run).pod_uid for run in "ab"} == warm.taken()


async def test_one_that_is_lost_before_it_got_the_task_costs_nothing() -> None:
    warm = Warm({"name": "a"})
    await warm.submit()
    warm.kubernetes.end_pod(warm.status("a").pod_name or "", 75, NO_TASK)
    await warm.look()
    step = warm.status("a")
    assert (step.attempt, step.disruptions, step.start) == (2, 1, Start.WARM_LOST)
    assert step.pod_uid is None
    assert warm.kubernetes.created_jobs == [step.job_name]


async def test_one_that_failed_and_is_tried_again_may_be_warm_again() -> None:
    warm = Warm({"name": "a", "retry": {"maxAttempts": 2, "backoffSeconds": 0}})
    await warm.submit()
    first = warm.status("a").pod_uid
    warm.kubernetes.end_pod(warm.status("a").pod_name or "", 1, "no")
    await warm.look()
    step = warm.status("a")
    assert (step.attempt, step.start) == (2, Start.WARM)
    assert step.pod_uid in warm.taken()
    assert step.pod_uid != first


@pytest.mark.parametrize(
    ("step", "start"),
    [
        pytest.param({"resources": {"limits": {"memory": "64Mi"}}}, Start.OWN_RESOURCES, id="own"),
        pytest.param({"input": {"at": {"$ref": "steps.a"}}}, Start.TAKES_FILES, id="files"),
        pytest.param({"input": {"n": {"$from": "steps.a#"}}}, Start.WARM, id="inline"),
    ],
)
async def test_why_a_step_starts_cold_is_told_and_counted(
    step: dict[str, Any], start: Start
) -> None:
    warm = Warm({"name": "a"}, {"name": "b", **step}, size=3)
    await warm.submit()
    counter = warm.operator.metrics.warm_misses.labels(str(start))
    before = counter._value.get()
    await warm.end("a", 7)
    assert warm.status("b").start is start
    is_cold = start is not Start.WARM
    assert counter._value.get() == before + is_cold
    assert len(warm.taken()) == 2 - is_cold
    assert len(warm.kubernetes.created_jobs) == is_cold


@pytest.mark.parametrize("is_away", [False, True])
async def test_what_a_step_takes_of_a_kept_result_is_known_before_it_is_claimed(
    is_away: bool,
) -> None:
    warm = Warm({"name": "a"}, {"name": "b", "input": {"n": {"$from": "steps.a#/n"}}})
    await warm.submit()
    kept = warm.operator.results.keep(b'{"n": 7}')
    warm.kubernetes.bring_result("report", "a", kept.to_json())
    warm.operator.results.is_away = is_away
    await warm.end("a")
    assert warm.status("a").phase is StepPhase.SUCCEEDED
    assert warm.status("b").start is (Start.INPUT_AWAY if is_away else Start.WARM)


async def test_an_end_does_not_wait_for_long_for_what_the_next_step_takes() -> None:
    warm = Warm({"name": "a"}, {"name": "b", "input": {"n": {"$from": "steps.a#/n"}}})
    await warm.submit()
    kept = warm.operator.results.keep(b'{"n": 7}')
    warm.kubernetes.bring_result("report", "a", kept.to_json())
    answers = asyncio.Event()
    warm.operator.results.answers = answers
    warm.operator.reconciler._claims._patience = 0.01
    await warm.operator.hear()
    warm.kubernetes.end_pod(warm.status("a").pod_name or "", 0, "")
    await warm.operator.hear()

    def let_it_answer(write: str, moment: str) -> None:
        if (write, moment) == ("status", "after"):
            answers.set()

    warm.kubernetes.interrupt = let_it_answer
    await warm.operator.look()
    assert warm.status("a").phase is StepPhase.SUCCEEDED
    assert warm.status("b").start is Start.INPUT_AWAY


async def test_what_can_never_run_takes_no_pod() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    warm = Warm(
        {"name": "a", "input": {"n": 1}},
        {"name": "b", "input": {"n": {"$from": "steps.a#"}}},
        size=3,
        inputSchema=schema,
    )
    await warm.submit()
    await warm.end("a", "no number")
    step = warm.status("b")
    assert (step.phase, step.reason) == (StepPhase.FAILED, v1alpha1.Reason.INVALID_INPUT)
    assert step.start is None
    assert len(warm.taken()) == 1


async def test_a_pipeline_whose_type_keeps_none_says_nothing_of_it() -> None:
    warm = Warm({"name": "a"}, warm=None)
    await warm.submit()
    assert warm.starts() == {"a": None}
    assert len(warm.kubernetes.created_jobs) == 1


async def test_an_item_that_ends_at_once_has_its_job_seen_off() -> None:
    warm = Warm({"name": "each", "forEach": [1, 2]})
    await warm.fill()
    warm.kubernetes.add(warm.task)
    await warm.operator.hear()
    # All end before their Jobs are the task's own.
    for _ in range(4):
        await warm.operator.reconciler.reconcile(ObjectKey(NAMESPACE, "report"))
        if warm.starts():
            break
    for run in ("each.0", "each.1"):
        warm.kubernetes.end_pod(warm.status(run).pod_name or "", 0, "1")
    await warm.look()
    assert warm.operator.status().phase is Phase.SUCCEEDED
    warm.pass_time(1)
    await warm.look()
    for run in ("each.0", "each.1"):
        job = warm.job(run)
        assert job["metadata"]["ownerReferences"][0]["name"] == "report"
        assert "ttlSecondsAfterFinished" in job["spec"]


async def test_a_step_runs_from_when_it_was_heard_of() -> None:
    warm = Warm({"name": "a", "timeouts": {"runSeconds": 60}})
    await warm.submit()
    most = warm.pod("a")["spec"]["activeDeadlineSeconds"]
    assert most >= 660  # it may yet take `startSeconds` until it has its task
    warm.pass_time(5)
    warm.kubernetes.put(
        names.LONGTASKS,
        "report",
        status=warm.operator.status()
        .model_copy(
            update={
                "steps": [
                    warm.status("a").model_copy(
                        update={"progress": v1alpha1.Progress(updated_at=warm.kubernetes.now)}
                    )
                ]
            }
        )
        .to_json(),
    )
    heard = warm.kubernetes.now
    warm.pass_time(2)
    await warm.look()
    step = warm.status("a")
    assert (step.phase, step.started_at) == (StepPhase.RUNNING, heard)
    assert warm.pod("a")["spec"]["activeDeadlineSeconds"] < most - 500


async def test_pods_of_steps_are_no_strays() -> None:
    warm = Warm({"name": "a"})
    await warm.submit()
    for _ in range(3):
        await warm.operator.hear()
        await warm.operator.ahead.recycle_strays()
    assert warm.status("a").pod_uid in warm.taken()


async def test_a_waiting_program_gets_no_input_from_its_pod() -> None:
    warm = Warm({"name": "a", "input": {"n": 7}})
    await warm.submit()
    annotations = warm.pod("a")["metadata"].get("annotations", {})
    assert runner_contract.INPUT_ANNOTATION not in annotations
