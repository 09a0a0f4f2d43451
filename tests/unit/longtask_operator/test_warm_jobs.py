"""Warm Jobs over a Kubernetes in memory: kept, taken, handed over, and lost."""

import datetime
from typing import Any

import pytest

from longtask_adapters.kube import errors
from longtask_crds import names, runner_contract, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.testing import NAMESPACE, a_task
from longtask_operator import testing
from longtask_operator.rules import pods
from longtask_operator.testing import URL

TYPE = ObjectKey(NAMESPACE, "render")
NO_TASK = "NoTask: it was told to end"


def a_type(size: int = 2, **spec: Any) -> v1alpha1.LongTaskType:
    raw = {"metadata": {"name": TYPE.name, "namespace": NAMESPACE}, "spec": {}}
    made = v1alpha1.LongTaskType.model_validate(raw)
    spec = {"warm": {"size": size}} | spec
    return made.model_copy(update={"spec": v1alpha1.LongTaskTypeSpec.model_validate(spec)})


class Warm:
    """An operator of one type, whose pods start when the test says so."""

    def __init__(self, task_type: v1alpha1.LongTaskType | None = None) -> None:
        self.operator = testing.Operator()
        self.kubernetes = self.operator.kubernetes
        self.kubernetes.add(task_type or a_type())

    async def fill(self) -> None:
        """Have the pods made that are wanted, and let them run."""
        await self.operator.hear()
        await self.operator.ahead.reconcile(TYPE)
        self.run_pods()
        await self.operator.hear()

    def run_pods(self) -> None:
        made = {pods.controller_uid(raw["metadata"]) for raw in self.raw("pods")}
        for raw in self.raw("jobs"):
            if raw["metadata"]["uid"] not in made and not raw.get("status"):
                self.kubernetes.start_pod(self.kubernetes.make_pod(raw["metadata"]["name"]))

    def raw(self, plural: str) -> list[dict[str, Any]]:
        return list(self.kubernetes.objects(plural).values())

    def waiting(self) -> list[str]:
        """The names of the Jobs that wait."""
        taken = {
            pods.controller_uid(raw["metadata"])
            for raw in self.raw("pods")
            if raw["metadata"]["labels"][names.TASK_LABEL]
        }
        return [
            raw["metadata"]["name"]
            for raw in self.raw("jobs")
            if not raw["metadata"]["labels"][names.TASK_LABEL]
            and raw["metadata"]["uid"] not in taken
        ]

    async def claim(self, **spec: Any) -> v1alpha1.LongTaskStatus:
        """Hand a task over, and look until it is claimed."""
        task = a_task("report", type=TYPE.name, callback={"url": URL}, **spec)
        await self.operator.submit(task)
        await self.operator.look()
        return self.operator.status()

    def pod(self) -> dict[str, Any]:
        """The pod of the task."""
        name = (self.operator.status().attempts or [])[-1].pod_name
        return self.kubernetes.stored("pods", name)

    def pass_time(self, seconds: float) -> None:
        self.kubernetes.now += datetime.timedelta(seconds=seconds)


@pytest.fixture
async def warm() -> Warm:
    found = Warm()
    await found.fill()
    return found


async def test_so_many_wait_as_the_type_says(warm: Warm) -> None:
    assert len(warm.waiting()) == 2
    for raw in warm.raw("jobs"):
        (owner,) = raw["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("LongTaskType", TYPE.name)
        assert raw["metadata"]["labels"][names.WARM_LABEL] == TYPE.name
        assert raw["metadata"]["labels"]["app.kubernetes.io/part-of"] == "longtask"
    writes = warm.kubernetes.writes
    await warm.operator.ahead.reconcile(TYPE)
    assert warm.kubernetes.writes == writes  # nothing when nothing changed


async def test_a_waiting_program_is_told_so_and_has_no_deadline(warm: Warm) -> None:
    spec = warm.raw("pods")[0]["spec"]
    told = {one["name"]: one["value"] for one in spec["containers"][0]["env"]}
    assert told[runner_contract.Env.WARM] == "true"
    assert runner_contract.Env.NAME not in told
    assert "activeDeadlineSeconds" not in spec


async def test_a_claim_names_the_pod_that_was_taken_for_it(warm: Warm) -> None:
    status = await warm.claim()
    attempt = (status.attempts or [])[-1]
    assert attempt.start is v1alpha1.Start.WARM
    assert attempt.pod_uid is not None
    labels = warm.pod()["metadata"]["labels"]
    assert labels[names.TASK_LABEL] == "report"
    assert labels[names.ATTEMPT_LABEL] == "1"
    assert len(warm.kubernetes.created_jobs) == 2  # none was made for the task


async def test_its_job_becomes_the_tasks_when_others_are_no_longer_kept_waiting(warm: Warm) -> None:
    (attempt,) = (await warm.claim()).attempts or []

    def owner() -> str:
        job = warm.kubernetes.stored("jobs", attempt.job_name)["metadata"]
        return str(job["ownerReferences"][0]["kind"])

    assert owner() == "LongTaskType"
    again = await warm.operator.look()
    assert again == 1.0
    warm.pass_time(again)
    await warm.operator.look()
    assert owner() == "LongTask"
    job = warm.kubernetes.stored("jobs", attempt.job_name)
    assert job["metadata"]["labels"][names.TASK_LABEL] == "report"


async def test_one_that_is_cancelled_has_its_job_at_once(warm: Warm) -> None:
    (attempt,) = (await warm.claim()).attempts or []
    warm.kubernetes.put(names.LONGTASKS, "report", spec={"cancel": True})
    await warm.operator.hear()
    await warm.operator.reconciler.reconcile(ObjectKey(NAMESPACE, "report"))
    job = warm.kubernetes.stored("jobs", attempt.job_name)["metadata"]
    assert job["ownerReferences"][0]["kind"] == "LongTask"


async def test_a_task_that_is_deleted_takes_a_job_along_that_was_not_yet_its_own(
    warm: Warm,
) -> None:
    (attempt,) = (await warm.claim()).attempts or []
    stored = warm.operator.mirror.tasks.get(ObjectKey(NAMESPACE, "report"))
    assert stored is not None
    warm.kubernetes.remove(names.LONGTASKS, "report")
    warm.operator.mirror.tasks.remove(ObjectKey(NAMESPACE, "report"), stored.metadata.uid)
    await warm.operator.look()
    left = {raw["metadata"]["name"] for raw in warm.raw("jobs")}
    assert attempt.job_name not in left
    assert len(left) == 1


async def test_a_job_that_never_became_its_tasks_goes_after_the_task(warm: Warm) -> None:
    """The operator was down when the program ended and the task was deleted."""
    (attempt,) = (await warm.claim()).attempts or []
    assert attempt.pod_name is not None
    warm.kubernetes.end_pod(attempt.pod_name, 0, "7")
    warm.kubernetes.remove(names.LONGTASKS, "report")
    warm.operator.restart()
    await warm.operator.hear()
    await warm.operator.ahead.recycle_strays()
    await warm.operator.ahead.recycle_strays()
    assert attempt.job_name not in {raw["metadata"]["name"] for raw in warm.raw("jobs")}


async def test_one_that_is_taken_between_two_lists_is_offered_to_nobody_else(warm: Warm) -> None:
    asked_at = warm.kubernetes.now
    jobs = [pods.Job.parse(raw, now=asked_at) for raw in warm.raw("jobs")]
    listed = [pods.Pod.parse(raw) for raw in warm.raw("pods")]
    warm.pass_time(1)
    (attempt,) = (await warm.claim()).attempts or []
    warm.operator.mirror.absorb_jobs((job for job in jobs if job.task_name), asked_at)
    warm.operator.ahead.absorb(jobs, listed, asked_at)
    known = warm.operator.mirror.job(ObjectKey(NAMESPACE, attempt.job_name))
    assert known is not None
    assert known.task_name == "report"
    offered = [unit.job.name for unit in warm.operator.ahead._units(TYPE)]
    assert attempt.job_name not in offered
    assert len(offered) == 1


async def test_what_was_taken_is_replaced_after_a_moment(warm: Warm) -> None:
    await warm.claim()
    assert TYPE in warm.operator.woken_types
    again = await warm.operator.ahead.reconcile(TYPE)
    assert len(warm.waiting()) == 1
    assert again is not None
    assert again > 0
    warm.pass_time(again)
    await warm.operator.ahead.reconcile(TYPE)
    assert len(warm.waiting()) == 2


async def test_its_end_is_the_tasks(warm: Warm) -> None:
    await warm.claim()
    warm.kubernetes.end_pod(warm.pod()["metadata"]["name"], 0, "7")
    await warm.operator.hear()
    await warm.operator.look()
    status = warm.operator.status()
    assert status.phase is v1alpha1.Phase.SUCCEEDED
    assert status.result is not None
    assert status.result.value == 7
    assert len(warm.operator.sender.sent) == 1
    assert (status.attempts or [])[-1].started_at == (status.attempts or [])[-1].claimed_at


async def test_without_an_idle_one_a_task_starts_cold_and_says_why() -> None:
    warm = Warm(a_type(size=1))
    status = await warm.claim()
    (attempt,) = status.attempts or []
    assert attempt.start is v1alpha1.Start.NONE_IDLE
    assert attempt.pod_uid is None
    assert warm.kubernetes.created_jobs == [attempt.job_name]


async def test_own_resources_start_cold(warm: Warm) -> None:
    status = await warm.claim(resources={"limits": {"memory": "64Mi"}})
    assert (status.attempts or [])[-1].start is v1alpha1.Start.OWN_RESOURCES


async def test_a_type_that_keeps_none_says_nothing_of_it() -> None:
    warm = Warm(a_type(warm=None))
    status = await warm.claim()
    assert (status.attempts or [])[-1].start is None


async def test_a_pod_that_somebody_has_taken_is_left_to_them(warm: Warm) -> None:
    for raw in warm.raw("pods"):
        labels = {"labels": {names.TASK_LABEL: "other"}}
        warm.kubernetes.put("pods", raw["metadata"]["name"], metadata=labels)
    warm.kubernetes.add(a_task("report", type=TYPE.name))
    # All that it hears is that there is a task.
    stored = warm.kubernetes.stored(names.LONGTASKS, "report")
    warm.operator.mirror.tasks.put(v1alpha1.LongTask.model_validate(stored))
    await warm.operator.look()
    (attempt,) = warm.operator.status().attempts or []
    assert attempt.start is v1alpha1.Start.NONE_IDLE
    assert attempt.pod_uid is None


async def test_one_that_is_lost_before_it_got_the_task_costs_nothing(warm: Warm) -> None:
    status = await warm.claim()
    lost = (status.attempts or [])[-1].pod_name
    warm.kubernetes.end_pod(lost, 75, NO_TASK)
    await warm.operator.hear()
    await warm.operator.look()
    status = warm.operator.status()
    first, second = status.attempts or []
    assert first.reason == v1alpha1.Reason.DISRUPTED
    assert status.disruptions == 1
    assert second.start is v1alpha1.Start.WARM_LOST
    assert second.pod_uid is None


async def test_a_changed_type_has_its_pods_made_anew(warm: Warm) -> None:
    before = set(warm.waiting())
    warm.kubernetes.put(names.LONGTASKTYPES, TYPE, spec={"container": {"image": "render:2"}})
    await warm.fill()
    assert before.isdisjoint(warm.waiting())
    assert len(warm.waiting()) == 2


async def test_who_is_too_old_serves_until_others_can(warm: Warm) -> None:
    before = set(warm.waiting())
    warm.pass_time(3601)
    await warm.operator.ahead.reconcile(TYPE)
    assert before < set(warm.waiting())
    await warm.fill()
    await warm.operator.ahead.reconcile(TYPE)
    assert before.isdisjoint(warm.waiting())
    assert len(warm.waiting()) == 2


async def test_a_type_that_keeps_none_any_more_lets_them_go(warm: Warm) -> None:
    warm.kubernetes.put(names.LONGTASKTYPES, TYPE, spec={"warm": None})
    await warm.fill()
    assert warm.waiting() == []


async def test_one_that_ends_by_itself_is_replaced_ever_more_slowly(warm: Warm) -> None:
    pauses = []
    for _ in range(3):
        for raw in warm.raw("pods"):
            warm.kubernetes.end_pod(raw["metadata"]["name"], 0, "")
        await warm.operator.hear()
        again = await warm.operator.ahead.reconcile(TYPE)
        assert warm.waiting() == []
        assert again is not None
        pauses.append(again)
        warm.pass_time(again)
        await warm.fill()
        assert len(warm.waiting()) == 2
    assert pauses == sorted(set(pauses))


async def test_without_the_lease_nothing_is_started() -> None:
    warm = Warm()
    warm.operator.admission.give_up()
    await warm.fill()
    assert warm.waiting() == []


async def test_a_pod_that_no_claim_names_goes(warm: Warm) -> None:
    """A crash between the two writes."""

    def crash(write: str, moment: str) -> None:
        if (write, moment) == ("status", "before"):
            raise errors.Unavailable("gone")

    warm.kubernetes.interrupt = crash
    task = a_task("report", type=TYPE.name)
    await warm.operator.submit(task)
    with pytest.raises(errors.Unavailable):
        await warm.operator.look()
    warm.kubernetes.interrupt = lambda _write, _moment: None
    warm.operator.restart()
    await warm.operator.hear()
    await warm.operator.look()
    stray = [
        raw
        for raw in warm.raw("pods")
        if raw["metadata"]["labels"][names.TASK_LABEL]
        and raw["metadata"]["uid"] != (warm.operator.status().attempts or [])[-1].pod_uid
    ]
    assert len(stray) == 1
    await warm.operator.ahead.recycle_strays()
    await warm.operator.ahead.recycle_strays()
    left = {raw["metadata"]["uid"] for raw in warm.raw("pods")}
    assert stray[0]["metadata"]["uid"] not in left
    assert (warm.operator.status().attempts or [])[-1].pod_uid in left


async def test_one_that_lasts_runs_from_when_it_was_heard_of(warm: Warm) -> None:
    await warm.claim(timeouts={"runSeconds": 60})
    most = warm.pod()["spec"]["activeDeadlineSeconds"]
    assert most >= 660  # it may yet take `startSeconds` until it has its task
    warm.pass_time(5)
    warm.kubernetes.report_progress("report", 0)
    heard = warm.kubernetes.now
    warm.pass_time(2)
    await warm.operator.hear()
    await warm.operator.look()
    status = warm.operator.status()
    assert status.phase is v1alpha1.Phase.RUNNING
    assert (status.attempts or [])[-1].started_at == heard
    assert warm.pod()["spec"]["activeDeadlineSeconds"] < most - 500


async def test_what_became_of_a_taking_is_found_out(warm: Warm) -> None:
    def lose(write: str, moment: str) -> None:
        if (write, moment) == ("stop_pod", "after"):  # a patch of a pod
            raise errors.Unavailable("the answer was lost")

    warm.kubernetes.interrupt = lose
    await warm.operator.submit(a_task("report", type=TYPE.name))
    with pytest.raises(errors.Unavailable):
        await warm.operator.look()
    warm.kubernetes.interrupt = lambda _write, _moment: None
    await warm.operator.look()
    (attempt,) = warm.operator.status().attempts or []
    taken = [raw for raw in warm.raw("pods") if raw["metadata"]["labels"][names.TASK_LABEL]]
    assert len(taken) == 2  # the first try had it, and nobody gives it back
    assert attempt.pod_uid in {raw["metadata"]["uid"] for raw in taken}


async def test_a_pod_that_is_deleted_while_it_waits_is_replaced(warm: Warm) -> None:
    raw = warm.raw("pods")[0]
    gone = pods.Pod.parse(raw)
    warm.kubernetes.remove_pod(gone.name)
    warm.operator.ahead.drop_pod(gone)
    await warm.operator.ahead.reconcile(TYPE)
    assert gone.job_name not in warm.waiting()
    assert len(warm.waiting()) == 2


async def test_a_refused_one_is_tried_again_later() -> None:
    warm = Warm()
    warm.kubernetes.refuse_jobs = "the quota is full"
    await warm.operator.hear()
    again = await warm.operator.ahead.reconcile(TYPE)
    assert again is not None
    assert again > 0
    assert warm.waiting() == []
    warm.kubernetes.refuse_jobs = None
    assert await warm.operator.ahead.reconcile(TYPE) is not None  # not yet
    assert warm.waiting() == []
    warm.pass_time(again)
    await warm.operator.ahead.reconcile(TYPE)
    assert len(warm.waiting()) == 2


async def test_a_miss_is_counted_with_its_cause() -> None:
    warm = Warm(a_type(size=1))
    counter = warm.operator.metrics.warm_misses.labels("NoneIdle")
    before = counter._value.get()
    await warm.claim()
    assert counter._value.get() == before + 1


async def test_one_whose_program_has_ended_is_not_taken() -> None:
    """Nobody has heard of it yet: its end would be taken for the task's, and cost an attempt."""
    warm = Warm(a_type(size=1))
    await warm.fill()
    (raw,) = warm.raw("pods")
    warm.kubernetes.end_pod(raw["metadata"]["name"], 1, "it broke")
    # The task alone is heard of.
    warm.operator.mirror.tasks.put(a_task("report", type=TYPE.name, callback={"url": URL}))
    warm.kubernetes.add(a_task("report", type=TYPE.name, callback={"url": URL}))
    await warm.operator.look()
    (attempt,) = warm.operator.status().attempts or []
    assert attempt.start is v1alpha1.Start.NONE_IDLE
    (raw,) = [one for one in warm.raw("pods") if one["metadata"]["labels"][names.WARM_LABEL]]
    assert raw["metadata"]["labels"][names.TASK_LABEL] == ""


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_one_that_was_dropped_and_whose_job_stayed_goes_all_the_same(
    warm: Warm, is_restarted: bool
) -> None:
    """It would count as one that will wait yet, and nobody may take it."""

    def interrupt(write: str, moment: str) -> None:
        if (write, moment) == ("delete_job", "before"):
            raise errors.Unavailable("not now")

    warm.kubernetes.put(names.LONGTASKTYPES, TYPE, spec={"warm": {"size": 1}})
    await warm.operator.hear()
    warm.kubernetes.interrupt = interrupt
    with pytest.raises(errors.Unavailable):
        await warm.operator.ahead.reconcile(TYPE)
    warm.kubernetes.interrupt = lambda _write, _moment: None
    warm.kubernetes.put(names.LONGTASKTYPES, TYPE, spec={"warm": {"size": 2}})
    if is_restarted:
        warm.operator.restart()
    for _ in range(2):
        await warm.operator.hear()
        await warm.operator.ahead.reconcile(TYPE)
    warm.run_pods()
    labels = [raw["metadata"]["labels"] for raw in warm.raw("pods")]
    assert [one.get(names.WARM_LABEL) for one in labels] == [TYPE.name] * 2
