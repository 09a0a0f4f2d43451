"""One pass after the other over a Kubernetes in memory: effects, their order, what goes wrong."""

import datetime
import gc
import json
from collections.abc import Callable
from typing import Any

import pytest

from longtask_adapters import testing as twins
from longtask_adapters.kube import errors
from longtask_crds import delivery, names, runner_contract, v1alpha1
from longtask_crds.testing import NOW, TASK_UID, a_queue, a_task, a_type
from longtask_crds.v1alpha1 import ConditionType, Reason, conditions
from longtask_operator import cluster
from longtask_operator.rules import decide, pods, status
from longtask_operator.testing import KEY, REPORT, URL, Operator


@pytest.fixture
def operator() -> Operator:
    return Operator()


def seconds(number: float) -> datetime.timedelta:
    return datetime.timedelta(seconds=number)


def condition(operator: Operator, kind: ConditionType) -> tuple[str, str, str]:
    """Return what a condition of the task says: status, reason, message."""
    found = conditions.find(operator.status().conditions, kind)
    assert found is not None
    return str(found.status), found.reason, found.message


def reason(operator: Operator) -> str:
    return condition(operator, ConditionType.SUCCEEDED)[1]


def break_once(operator: Operator, write: str, moment: str, error: Exception) -> None:
    """Let a write go wrong, before or after it is done, and no other one."""

    def interrupt(what: str, at: str) -> None:
        if (what, at) == (write, moment):
            operator.kubernetes.interrupt = lambda _write, _moment: None
            raise error

    operator.kubernetes.interrupt = interrupt


async def test_a_task_goes_its_whole_way(operator: Operator) -> None:
    await operator.submit()
    await operator.run_to_the_end()
    stored = operator.status()
    assert stored.phase is v1alpha1.Phase.SUCCEEDED
    assert stored.result == v1alpha1.Result(value=7)
    assert stored.callback is not None
    assert stored.callback.state is v1alpha1.CallbackState.DELIVERED
    ((sent),) = operator.sender.sent
    assert (sent.url, sent.webhook_id, sent.keys) == (URL, stored.callback.id, (KEY,))
    job = operator.kubernetes.stored("jobs", operator.job)
    assert job["spec"]["ttlSecondsAfterFinished"] == 600
    assert operator.kubernetes.warnings == []


async def test_the_happy_path_costs_five_writes(operator: Operator) -> None:
    await operator.submit()
    await operator.run_to_the_end()
    # Claim, Job, outcome, delivery, release.
    assert operator.kubernetes.writes == 5
    await operator.hear()
    assert await operator.look() is None
    assert operator.kubernetes.writes == 5


async def test_an_unknown_task_is_nothing_to_do(operator: Operator) -> None:
    assert await operator.look("nobody") is None


async def test_a_claim_is_made_on_what_is_true_now(operator: Operator) -> None:
    await operator.submit()
    operator.kubernetes.cancel("report")
    await operator.look()
    assert operator.status().phase is v1alpha1.Phase.CANCELLED
    assert operator.kubernetes.created_jobs == []


async def test_a_task_deleted_meanwhile_is_forgotten(operator: Operator) -> None:
    await operator.submit()
    operator.kubernetes.remove_task("report")
    assert await operator.look() is None
    assert len(operator.mirror.tasks) == 0


async def two_for_one_place(operator: Operator) -> None:
    """Let one task have the only place, and another one wait for it."""
    await operator.submit()
    await operator.submit(a_task("second", uid="second", container={"image": "x"}))
    await operator.look()
    await operator.look("second")
    assert operator.status("second").phase is v1alpha1.Phase.QUEUED
    operator.woken.clear()


async def test_only_so_many_run_and_an_end_wakes_the_next(operator: Operator) -> None:
    await two_for_one_place(operator)
    pod = operator.kubernetes.make_pod(operator.job)
    operator.kubernetes.start_pod(pod)
    operator.kubernetes.end_pod(pod, 0, "7")
    await operator.hear()
    assert operator.woken == []
    await operator.look()
    assert operator.woken == ["second"]
    await operator.look("second")
    assert operator.status("second").phase is v1alpha1.Phase.STARTING


async def test_the_next_is_woken_too_when_only_a_look_finds_out_that_a_task_is_gone(
    operator: Operator,
) -> None:
    await two_for_one_place(operator)
    operator.kubernetes.remove_task("report")
    operator.kubernetes.now += decide.LEFT_TO_ITS_CLAIMER
    assert await operator.look() is None
    assert operator.woken == ["second"]


async def test_a_type_made_just_before_is_found(operator: Operator) -> None:
    await operator.submit(a_task(type="late"))
    operator.kubernetes.add(a_type("late", container={"image": "late:1"}))
    await operator.look()
    pod = operator.kubernetes.stored("jobs", operator.job)["spec"]["template"]["spec"]
    assert [container["image"] for container in pod["containers"]] == ["late:1"]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        pytest.param({"type": "nothing"}, "TypeNotFound", id="an-unknown-type"),
        pytest.param(
            {"container": {"image": "x"}, "callback": {"url": "https://10.0.0.1/"}},
            "CallbackRefused",
            id="a-callback-to-the-inside",
        ),
        pytest.param(
            {"container": {"image": "x"}, "resources": {"limits": {"cpu": "99"}}},
            "ResourcesExceeded",
            id="too-much-of-a-resource",
        ),
        pytest.param(
            {"container": {"image": "x"}, "input": "x" * 70_000}, "InvalidInput", id="too-large"
        ),
    ],
)
async def test_what_can_never_run_is_refused_without_a_job(
    operator: Operator, spec: dict[str, Any], reason: str
) -> None:
    await operator.submit(a_task(**spec))
    await operator.look()
    assert operator.status().phase is v1alpha1.Phase.FAILED
    accepted = condition(operator, ConditionType.ACCEPTED)
    assert accepted[:2] == ("False", reason)
    assert accepted[2].startswith("spec") or reason == "TypeNotFound"
    assert operator.kubernetes.created_jobs == []


# --- the claim and its Job ---


async def test_a_stale_claim_is_read_again_before_its_job_is_made(operator: Operator) -> None:
    await operator.submit()
    await operator.reconciler.reconcile(operator.kubernetes.key("report"))
    operator.restart()
    await operator.hear()
    assert await operator.look() == 10.0, "it is left to whoever claimed it"
    operator.kubernetes.now += decide.LEFT_TO_ITS_CLAIMER
    operator.kubernetes.report_progress("report", 5)  # any other status: it went on meanwhile
    await operator.reconciler.reconcile(operator.kubernetes.key("report"))
    assert operator.kubernetes.created_jobs == [], "it decides again first"
    await operator.look()
    assert len(operator.kubernetes.created_jobs) == 1


async def test_no_job_is_made_of_a_claim_whose_cancel_only_the_second_reading_brings(
    operator: Operator,
) -> None:
    await operator.submit()
    await operator.reconciler.reconcile(operator.kubernetes.key("report"))
    operator.kubernetes.now += seconds(6)
    operator.kubernetes.cancel("report")
    await operator.look()
    assert operator.status().phase is v1alpha1.Phase.CANCELLED
    assert operator.kubernetes.created_jobs == []


async def test_a_claim_of_which_no_answer_came_has_its_job_as_soon_as_it_is_read(
    operator: Operator,
) -> None:
    await operator.submit()
    break_once(operator, "status", "after", errors.Unavailable("the answer was lost"))
    with pytest.raises(errors.Unavailable):
        await operator.reconciler.reconcile(operator.kubernetes.key("report"))
    await operator.look()
    assert len(operator.kubernetes.created_jobs) == 1


INPUT = "an input that nobody else has"


def inputs_kept(operator: Operator) -> int:
    """Count the tasks that hold the input: those of the picture, and any other in this process."""
    gc.collect()
    found = [o for o in gc.get_objects() if isinstance(o, v1alpha1.LongTask)]
    found += [task for task in operator.mirror.tasks.values() if task not in found]
    return sum(INPUT in json.dumps(task.spec.input) for task in found)


@pytest.mark.parametrize("restarts", [False, True], ids=["at-once", "after-a-restart"])
async def test_no_input_is_kept_and_the_job_has_it_all_the_same(
    operator: Operator, restarts: bool
) -> None:
    await operator.submit(a_task(container={"image": "x"}, input=[INPUT]))
    await operator.reconciler.reconcile(operator.kubernetes.key("report"))
    assert operator.status().attempt == 1
    assert operator.kubernetes.created_jobs == []
    if restarts:
        operator.restart()
        await operator.hear()
        assert inputs_kept(operator) == 0, "the claim is read again when its Job is made"
        operator.kubernetes.now += decide.LEFT_TO_ITS_CLAIMER
    await operator.look()
    template = operator.kubernetes.stored("jobs", operator.job)["spec"]["template"]
    written = template["metadata"]["annotations"][runner_contract.INPUT_ANNOTATION]
    assert json.loads(written) == [INPUT]
    assert inputs_kept(operator) == 0


async def test_a_task_that_waits_is_kept_without_its_input_once_it_was_looked_at(
    operator: Operator,
) -> None:
    operator.kubernetes.add(a_queue(paused=True))
    await operator.submit(a_task(container={"image": "x"}, input=[INPUT]))
    assert inputs_kept(operator) == 1, "the first look judges it"
    await operator.look()
    assert inputs_kept(operator) == 0
    await operator.hear()
    assert inputs_kept(operator) == 0


def cancel(kubernetes: twins.MemoryKubernetes, name: str) -> None:
    kubernetes.cancel(name)


def delete(kubernetes: twins.MemoryKubernetes, name: str) -> None:
    kubernetes.remove_task(name)


def lose_the_answer(kubernetes: twins.MemoryKubernetes, name: str) -> None:
    """Let the Job be made, and the answer be lost, so that its pod is the first that is heard."""
    task = kubernetes.stored(names.LONGTASKS, name)
    job = task["status"]["attempts"][0]["jobName"]
    owner = {"uid": task["metadata"]["uid"], "controller": True}
    template = {"metadata": {"labels": {names.TASK_LABEL: name}}, "spec": {}}
    kubernetes.put("jobs", job, metadata={"ownerReferences": [owner]}, spec={"template": template})
    kubernetes.start_pod(kubernetes.make_pod(job))
    kubernetes.now += seconds(2)


@pytest.mark.parametrize(
    "happen",
    [
        pytest.param(cancel, id="cancelled"),
        pytest.param(delete, id="deleted"),
        pytest.param(lose_the_answer, id="made-and-not-told"),
    ],
)
async def test_claims_that_never_got_their_job_leave_nothing_behind(
    operator: Operator, happen: Callable[[twins.MemoryKubernetes, str], None]
) -> None:
    operator.kubernetes.add(a_queue())
    operator.kubernetes.refuse_jobs = "not now"
    tasks = [f"task-{number}" for number in range(200)]
    for name in tasks:
        operator.kubernetes.add(a_task(name, uid=name, container={"image": "x"}, input=[INPUT]))
    await operator.hear()
    for name in tasks:
        await operator.look(name)
    assert inputs_kept(operator) == len(tasks), "they wait for their Jobs"
    for name in tasks:
        happen(operator.kubernetes, name)
    await operator.hear()
    for name in tasks:
        await operator.look(name)
    assert operator.kubernetes.created_jobs == []
    assert inputs_kept(operator) == 0


async def test_a_task_deleted_while_it_is_claimed_leaves_nothing_behind(
    operator: Operator,
) -> None:
    """The watch tells of it before the answer to the claim comes."""

    def is_deleted(write: str, moment: str) -> None:
        if (write, moment) == ("status", "after"):
            operator.kubernetes.remove_task("report")
            operator.mirror.tasks.remove(REPORT, TASK_UID)

    await operator.submit(a_task(container={"image": "x"}, input=[INPUT]))
    operator.kubernetes.interrupt = is_deleted
    assert await operator.look() is None
    assert operator.kubernetes.created_jobs == []
    assert inputs_kept(operator) == 0


async def test_a_job_that_is_there_already_is_adopted(operator: Operator) -> None:
    await operator.submit()
    break_once(operator, "create_job", "after", errors.Unavailable("the answer was lost"))
    with pytest.raises(errors.Unavailable):
        await operator.look()
    await operator.run_to_the_end()
    assert operator.status().phase is v1alpha1.Phase.SUCCEEDED
    assert len(operator.kubernetes.created_jobs) == 1


async def test_a_job_of_which_no_answer_came_is_not_made_again_for_a_task_that_went(
    operator: Operator,
) -> None:
    """It is made, and goes with its task; nobody has told of either."""
    await operator.submit()
    break_once(operator, "create_job", "after", errors.Unavailable("the answer was lost"))
    with pytest.raises(errors.Unavailable):
        await operator.look()
    operator.kubernetes.remove_task("report")
    await operator.look()
    assert len(operator.kubernetes.created_jobs) == 1


async def test_a_job_of_which_no_answer_came_is_let_go_before_another_attempt(
    operator: Operator,
) -> None:
    """Of it nothing but its pod is heard, which is disrupted."""
    await operator.submit()
    break_once(operator, "create_job", "after", errors.Unavailable("the answer was lost"))
    with pytest.raises(errors.Unavailable):
        await operator.look()
    first, pod = operator.job, operator.kubernetes.make_pod(operator.job)
    operator.kubernetes.start_pod(pod)
    operator.kubernetes.end_pod(pod, 143, disrupted=True)
    ended = pods.Pod.parse(operator.kubernetes.stored("pods", pod))
    operator.mirror.put_pod(ended)
    await operator.look()
    assert operator.status().attempt == 2
    assert "ttlSecondsAfterFinished" in operator.kubernetes.stored("jobs", first)["spec"]


async def test_a_foreign_job_of_the_same_name_is_left_alone(operator: Operator) -> None:
    await operator.submit()
    uid = operator.kubernetes.stored(names.LONGTASKS, "report")["metadata"]["uid"]
    name = names.job_name("report", uid, attempt=1)
    foreign = operator.kubernetes.put("jobs", name)
    await operator.look()
    assert reason(operator) == "NameConflict"
    assert list(operator.kubernetes.objects("jobs").values()) == [foreign]


async def test_a_wiped_status_finds_its_job_again(operator: Operator) -> None:
    await operator.submit()
    await operator.look()
    status = operator.kubernetes.stored(names.LONGTASKS, "report")["status"]
    wiped = dict.fromkeys(status) | {"phase": "Pending"}
    operator.kubernetes.put(names.LONGTASKS, "report", status=wiped)
    await operator.hear()
    await operator.run_to_the_end()
    assert operator.status().phase is v1alpha1.Phase.SUCCEEDED
    assert len(operator.kubernetes.created_jobs) == 1


async def test_a_refused_job_is_explained_and_tried_again(operator: Operator) -> None:
    operator.kubernetes.refuse_jobs = "admission webhook denied the request"
    await operator.submit()
    again = await operator.look()
    waiting = operator.status().waiting or ""
    assert waiting.startswith("the Job was refused: jobs")
    assert waiting.endswith("admission webhook denied the request")
    assert again == 10
    assert operator.kubernetes.warnings == [], "it may pass"
    for _ in range(6):
        operator.kubernetes.now += seconds(10)
        await operator.look()
    assert operator.kubernetes.warnings == [("report", "Stalled", f"JobRefused: {waiting}")]
    operator.kubernetes.refuse_jobs = None
    operator.kubernetes.now += seconds(10)
    await operator.look()
    assert len(operator.kubernetes.created_jobs) == 1


async def test_a_quota_that_somebody_else_just_wrote_is_no_refusal(operator: Operator) -> None:
    await operator.submit()
    message = 'Operation cannot be fulfilled on resourcequotas "all": the object has been modified'
    break_once(operator, "create_job", "before", twins.Refusal(409, "Conflict", message))
    await operator.look()
    assert len(operator.kubernetes.created_jobs) == 1
    assert operator.kubernetes.warnings == []


async def test_a_right_that_the_operator_lacks_is_no_fault_of_the_tasks(
    operator: Operator,
) -> None:
    await operator.submit()
    message = 'jobs.batch is forbidden: User "operator" cannot create resource "jobs"'
    break_once(operator, "create_job", "before", twins.Refusal(403, "Forbidden", message))
    with pytest.raises(errors.NoRight):
        await operator.look()
    assert operator.status().waiting is None
    await operator.look()
    assert len(operator.kubernetes.created_jobs) == 1
    assert operator.kubernetes.warnings == []


async def test_a_quota_is_explained_and_ends_at_the_deadline(operator: Operator) -> None:
    await operator.submit(a_task(container={"image": "x"}, timeouts={"startSeconds": 20}))
    await operator.look()
    operator.kubernetes.no_pod_because(operator.job, "exceeded quota")
    for _ in range(8):
        operator.kubernetes.now += seconds(5)
        await operator.look()
    assert reason(operator) == "StartTimeout"
    assert operator.kubernetes.objects("jobs") == {}, "nothing may start it any more"
    assert [reason for _, reason, _ in operator.kubernetes.warnings] == ["Failed"], (
        "a quota gets room by itself: nobody was called before the end"
    )
    assert operator.status().waiting is None


async def test_a_job_that_gets_no_pod_is_looked_at_less_and_less_often(operator: Operator) -> None:
    """Each look is a request; after a list it begins anew."""
    await operator.submit()
    await operator.look()
    looks = []
    for age in range(5, 200, 5):
        operator.kubernetes.now += seconds(5)
        if age == 110:
            await operator.hear()
        before = len(operator.kubernetes.calls)
        await operator.look()
        asked = operator.kubernetes.calls[before:]
        looks += [age for call in asked if call.startswith("get jobs")]
    assert looks == [5, 10, 20, 40, 70, 100, 115, 120, 130, 150, 180]


async def test_what_a_list_tells_while_events_are_read_is_not_undone(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    await operator.submit()
    await operator.look()
    why_no_pod = cluster.Cluster.why_no_pod

    async def slow(self: cluster.Cluster, job: pods.Job) -> str | None:
        operator.kubernetes.remove_job(job.name)
        await operator.hear()
        return await why_no_pod(self, job)

    monkeypatch.setattr(cluster.Cluster, "why_no_pod", slow)
    operator.kubernetes.now += seconds(5)
    await operator.look()
    (job,) = operator.kubernetes.created_jobs
    known = operator.mirror.job(REPORT.sibling(job))
    assert known is None or not known.exists


PASSWORD = {"name": "PW", "secretRef": {"name": "db", "key": "password"}}


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(None, id="missing"),
        pytest.param({}, id="unlabelled"),
        pytest.param({names.CALLBACK_SECRET_LABEL: "true"}, id="labelled-for-callbacks"),
    ],
)
@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"container": {"image": "x", "env": [PASSWORD]}}, id="in-the-environment"),
        pytest.param({"type": "env-of-type"}, id="in-the-types-environment"),
        pytest.param({"type": "volume-of-type"}, id="as-a-volume"),
    ],
)
async def test_only_labelled_secrets_come_into_a_pod(
    operator: Operator, spec: dict[str, Any], labels: dict[str, str] | None
) -> None:
    if labels is not None:
        operator.kubernetes.add_secret("db", {"password": "hush"}, labels=labels)
    volume = {"name": "db", "mountPath": "/db", "secret": {"secretName": "db"}}
    operator.kubernetes.add(a_type("env-of-type", container={"env": [PASSWORD]}))
    operator.kubernetes.add(a_type("volume-of-type", volumes=[volume]))
    await operator.submit(a_task(**spec))
    await operator.look()
    # The same words for all: nobody learns here which Secrets there are.
    cause = 'there is no Secret db with the label longtask.dev/env: "true"'
    assert operator.status().waiting == f"the Job was refused: {cause}"
    assert operator.kubernetes.created_jobs == []
    operator.kubernetes.add_secret(
        "db", {"password": "hush"}, labels={names.ENV_SECRET_LABEL: "true"}
    )
    operator.kubernetes.now += seconds(10)
    await operator.look()
    assert len(operator.kubernetes.created_jobs) == 1
    assert "hush" not in str(operator.kubernetes.objects("jobs"))


async def test_a_device_that_no_task_may_ask_for_is_told_by_its_field(operator: Operator) -> None:
    limits = {"limits": {"nvidia.com/gpu": 1}}
    await operator.submit(a_task(container={"image": "x"}, resources=limits))
    await operator.look()
    assert condition(operator, ConditionType.ACCEPTED) == (
        "False",
        Reason.RESOURCES_EXCEEDED,
        "spec.resources.limits.nvidia.com/gpu: no task may ask for nvidia.com/gpu: "
        "the installation's cap does not name it",
    )
    assert operator.kubernetes.created_jobs == []


async def test_a_type_may_give_what_no_task_may_ask_for(operator: Operator) -> None:
    operator.kubernetes.add(a_type("gpu", defaults={"resources": {"limits": {"x.y/gpu": 8}}}))
    await operator.submit(a_task(type="gpu"))
    await operator.look()
    (job,) = operator.kubernetes.objects("jobs").values()
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"requests": {"x.y/gpu": "8"}, "limits": {"x.y/gpu": "8"}}


# --- the pod ---


def an_event_of(operator: Operator, uid: str, message: str, kind: str = "Warning") -> None:
    """Let the kubelet say something of a pod."""
    operator.kubernetes.put(
        "events",
        f"event-{operator.kubernetes.made}",
        involvedObject={"kind": "Pod", "uid": uid},
        type=kind,
        reason="FailedMount",
        message=message,
    )


async def test_what_keeps_a_container_from_starting_is_told(operator: Operator) -> None:
    """A volume that cannot be mounted shows in Events only, not in the pod's status."""
    await operator.submit()
    await operator.look()
    pod = operator.kubernetes.make_pod(operator.job)
    uid = operator.kubernetes.stored("pods", pod)["metadata"]["uid"]
    an_event_of(operator, uid, "MountVolume.SetUp failed")
    an_event_of(operator, uid, "Pulling image", kind="Normal")
    await operator.hear()
    assert await operator.look() == 5
    assert operator.status().waiting is None, "it may just take its time"
    operator.kubernetes.now += seconds(5)
    assert await operator.look() == 55, "until it is time to call for help"
    assert operator.status().waiting == "MountVolume.SetUp failed"
    assert condition(operator, ConditionType.STALLED)[0] == "False"
    operator.kubernetes.now += seconds(55)
    assert await operator.look() == 540, "until it had its time to start"
    told = ("True", "PodCannotStart", "MountVolume.SetUp failed")
    assert condition(operator, ConditionType.STALLED) == told
    assert operator.kubernetes.warnings == [
        ("report", "Stalled", "PodCannotStart: MountVolume.SetUp failed")
    ]
    operator.kubernetes.start_pod(pod)
    await operator.hear()
    await operator.look()
    operator.kubernetes.now += seconds(5)
    await operator.look()
    assert operator.status().phase is v1alpha1.Phase.RUNNING
    assert operator.status().waiting is None
    assert condition(operator, ConditionType.STALLED)[0] == "False"


async def test_the_events_of_a_pod_that_takes_its_time_are_read_now_and_then(
    operator: Operator,
) -> None:
    await operator.submit()
    await operator.look()
    operator.kubernetes.make_pod(operator.job)
    an_event_of(operator, "another-pod", "MountVolume.SetUp failed")
    read = []
    for after, due in [(0, 5), (4, 1), (1, 15), (14, 1), (1, 15), (5, 10)]:
        operator.kubernetes.now += seconds(after)
        await operator.hear()  # the same pod again is no reason to ask sooner
        assert await operator.look() == due
        read.append(operator.kubernetes.calls.count("list events"))
    assert read == [0, 0, 1, 1, 2, 2]
    assert operator.status().waiting is None


async def test_a_conflict_is_looked_at_again(operator: Operator) -> None:
    await operator.submit()
    operator.kubernetes.end_pod(await operator.start(), 0, "7")
    await operator.hear()
    operator.kubernetes.report_progress("report", 99)
    await operator.look()
    assert operator.status().phase is v1alpha1.Phase.SUCCEEDED


async def test_an_outcome_is_never_given_on_the_mirrors_word_alone(operator: Operator) -> None:
    """The watch of pods is deaf for a while: the program ended, and nobody told us."""
    await operator.submit()
    await operator.look()
    pod = operator.kubernetes.make_pod(operator.job)
    operator.kubernetes.start_pod(pod)
    operator.kubernetes.end_pod(pod, 0, "7")
    operator.kubernetes.now += seconds(5)
    await operator.look()
    stored = operator.status()
    assert stored.phase is v1alpha1.Phase.SUCCEEDED
    assert stored.result == v1alpha1.Result(value=7)


async def test_a_program_that_runs_does_not_time_out_while_the_watch_is_deaf(
    operator: Operator,
) -> None:
    await operator.submit()
    await operator.look()
    operator.kubernetes.start_pod(operator.kubernetes.make_pod(operator.job))
    operator.kubernetes.now += seconds(600)
    await operator.look()
    assert operator.status().phase is v1alpha1.Phase.RUNNING


async def test_a_running_program_is_stopped_and_its_end_awaited(operator: Operator) -> None:
    await operator.submit()
    pod = await operator.start()
    operator.kubernetes.cancel("report")
    await operator.hear()
    assert await operator.look() == 86_490, "unless its node is lost"
    assert operator.kubernetes.stored("pods", pod)["spec"]["activeDeadlineSeconds"] == 1
    assert operator.status().phase is v1alpha1.Phase.STARTING
    operator.kubernetes.end_pod(pod, 143)
    await operator.hear()
    await operator.look()
    assert operator.status().phase is v1alpha1.Phase.CANCELLED


async def run_for_a_while(operator: Operator) -> str:
    """Let a program run until it is recorded as running; return its pod's name."""
    await operator.submit()
    pod = await operator.start()
    operator.kubernetes.now += seconds(5)
    await operator.look()
    assert operator.status().phase is v1alpha1.Phase.RUNNING
    return pod


async def test_an_orphaned_pod_is_followed_to_its_end(operator: Operator) -> None:
    """`kubectl delete job --cascade=orphan` while it runs."""
    pod = await run_for_a_while(operator)
    uid = operator.kubernetes.stored("jobs", operator.job)["metadata"]["uid"]
    operator.kubernetes.remove("jobs", operator.job, orphans=True)
    await operator.hear()
    await operator.look()
    assert operator.status().phase is v1alpha1.Phase.RUNNING
    (owner,) = operator.kubernetes.stored("pods", pod)["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("LongTask", "report"), "or it would outlive its task"
    operator.kubernetes.end_pod(pod, 0, "7")
    await operator.hear()
    await operator.look()
    stored = operator.status()
    assert stored.phase is v1alpha1.Phase.SUCCEEDED
    assert (stored.attempts or [])[-1].job_uid == uid


async def test_a_deleted_job_is_lost(operator: Operator) -> None:
    await run_for_a_while(operator)
    operator.kubernetes.remove_job(operator.job)
    await operator.hear()
    await operator.look()
    assert reason(operator) == "JobLost"
    assert len(operator.kubernetes.created_jobs) == 1


@pytest.mark.parametrize("exit_code", [0, 143], ids=["ends-well", "fails"])
async def test_of_a_deleted_pod_that_ended_well_the_last_words_count(
    operator: Operator, exit_code: int
) -> None:
    """They are heard, and then the pod is gone, before anybody looks at its task."""
    pod = await run_for_a_while(operator)
    deleted = {"deletionTimestamp": "2026-01-02T03:04:10Z"}
    operator.kubernetes.put("pods", pod, metadata=deleted)
    operator.kubernetes.end_pod(pod, exit_code, "7")
    await operator.hear()
    operator.kubernetes.remove_pod(pod)
    await operator.look()
    if exit_code:
        assert operator.status().disruptions == 1, "whose Job stands"
        assert operator.status().phase is v1alpha1.Phase.STARTING
    else:
        assert operator.status().phase is v1alpha1.Phase.SUCCEEDED
        assert operator.status().result == v1alpha1.Result(value=7)


async def test_another_job_in_its_place_is_not_deleted_for_ever(operator: Operator) -> None:
    await operator.submit()
    await operator.look()
    operator.kubernetes.cancel("report")
    await operator.hear()
    await operator.reconciler.reconcile(operator.kubernetes.key("report"))
    another = {"uid": "another", "ownerReferences": []}
    stored = operator.kubernetes.put("jobs", operator.job, metadata=another)
    await operator.look()
    assert operator.kubernetes.stored("jobs", operator.job) == stored
    assert operator.status().phase is v1alpha1.Phase.CANCELLED


async def test_a_pod_that_is_gone_cannot_be_stopped(operator: Operator) -> None:
    await operator.submit()
    pod = await operator.start()
    operator.kubernetes.cancel("report")
    await operator.hear()
    operator.kubernetes.remove_pod(pod)
    with pytest.raises(errors.NotFound):
        await operator.look()
    assert operator.mirror.job(operator.kubernetes.key(operator.job)) is not None


# --- the callback ---


def delivered(operator: Operator) -> tuple[str, int]:
    """Return what is recorded of the callback: where it stands, after how many tries."""
    callback = operator.status().callback
    assert callback is not None
    return str(callback.state), callback.tries


def unrecorded() -> int:
    """Count what is kept anywhere in this process of callbacks that were sent."""
    gc.collect()
    return sum(isinstance(one, status.Delivered) for one in gc.get_objects())


async def test_a_callback_is_sent_again_as_the_schedule_says() -> None:
    operator = Operator(delivery.Try(at=NOW, code=500), delivery.Try(at=NOW, code=204))
    await operator.submit()
    await operator.run_to_the_end()
    assert len(operator.sender.sent) == 1
    assert await operator.look() == 5
    operator.kubernetes.now += seconds(5)
    await operator.look()
    first, second = operator.sender.sent
    assert first == second, "the same id and the same bytes"
    assert delivered(operator) == ("Delivered", 2)
    assert operator.kubernetes.warnings == []


async def test_a_callback_given_up_is_told_to_people() -> None:
    operator = Operator(delivery.Try(at=NOW, code=410))
    await operator.submit()
    await operator.run_to_the_end(1)
    assert operator.status().phase is v1alpha1.Phase.FAILED
    assert operator.kubernetes.warnings == [
        ("report", "Failed", "ProgramFailed: 7"),
        ("report", "CallbackFailed", "Gone: try 1 was answered with 410"),
    ]
    # Both are of one event, and so is the callback that nobody took.
    (sent,) = operator.sender.sent
    told = json.loads(sent.body)["data"]
    known = {
        names.EVENT_ANNOTATION: sent.webhook_id,
        names.SEQUENCE_ANNOTATION: str(told["sequence"]),
    }
    posted = operator.kubernetes.objects("events").values()
    assert [event["metadata"]["annotations"] for event in posted] == [known, known]


async def test_each_retry_is_told_under_its_own_number(operator: Operator) -> None:
    await fail_once(operator, callback={"url": URL, "events": ["retrying"]})
    (posted,) = operator.kubernetes.objects("events").values()
    (sent,) = operator.sender.sent
    assert posted["metadata"]["annotations"] == {
        names.EVENT_ANNOTATION: sent.webhook_id,
        names.SEQUENCE_ANNOTATION: "1300",
    }


async def test_what_nobody_else_tells_has_no_number(operator: Operator) -> None:
    await operator.submit(a_task(container={"image": "x"}, queue="nowhere"))
    await operator.look()
    operator.kubernetes.now += seconds(3600)
    await operator.look()
    for event in operator.kubernetes.objects("events").values():
        assert event["reason"] == "Stalled"
        assert "annotations" not in event["metadata"]
    assert operator.kubernetes.warnings != []


async def test_a_secret_that_cannot_sign_uses_up_tries_and_is_told(operator: Operator) -> None:
    operator.kubernetes.add_secret("mine", {"signing": KEY})
    ref = {"name": "mine", "key": "signing"}
    await operator.submit(a_task(container={"image": "x"}, callback={"url": URL, "secretRef": ref}))
    await operator.run_to_the_end()
    assert operator.sender.sent == []
    callback = operator.status().callback
    assert callback is not None
    assert (callback.tries, callback.last_error) == (1, "SecretUnusable")
    cause = 'there is no Secret mine with the label longtask.dev/callback: "true"'
    assert condition(operator, ConditionType.CALLBACK_DELIVERED) == (
        *("False", Reason.SECRET_UNUSABLE, cause),
    )
    assert operator.kubernetes.warnings == [
        ("report", "CallbackFailed", f"SecretUnusable: {cause}")
    ]
    operator.kubernetes.add_secret(
        "mine", {"signing": KEY}, labels={names.CALLBACK_SECRET_LABEL: "true"}
    )
    operator.kubernetes.now += seconds(5)
    await operator.look()
    assert delivered(operator) == ("Delivered", 2)


async def finish_with(operator: Operator, result: v1alpha1.Result) -> None:
    """Let the program of a task upload a result, and succeed."""
    pod = await operator.start()
    await operator.look()
    operator.kubernetes.put(names.LONGTASKS, "report", status={"result": result.to_json()})
    operator.kubernetes.end_pod(pod, 0, "")
    await operator.hear()
    await operator.look()


async def test_a_callback_carries_a_result_that_the_api_keeps(operator: Operator) -> None:
    await operator.submit()
    await finish_with(operator, operator.results.keep(b'{"n": 1.50}'))
    assert delivered(operator) == ("Delivered", 1)
    assert operator.sender.sent[0].body.endswith(b'"result":{"n": 1.50}}}')


async def test_a_callback_waits_while_the_api_is_away_and_uses_no_try(operator: Operator) -> None:
    await operator.submit()
    operator.results.is_away = True
    with pytest.raises(errors.Unavailable):
        await finish_with(operator, operator.results.keep(b"[1]"))
    assert delivered(operator) == ("Pending", 0)
    operator.results.is_away = False
    await operator.look()
    assert delivered(operator) == ("Delivered", 1)


async def test_a_callback_tells_where_a_result_is_that_is_too_large_or_gone(
    operator: Operator,
) -> None:
    await operator.submit()
    kept = operator.results.keep(b"[1]")
    operator.results.forget()
    await finish_with(operator, kept)
    told = json.loads(operator.sender.sent[0].body)["data"]
    assert told["result"] is None
    assert told["resultUrl"] == "https://api.example/api/v1/tasks/report/result"


async def test_a_callback_waits_while_the_keys_cannot_be_read(operator: Operator) -> None:
    await operator.submit()
    operator.kubernetes.objects("secrets").clear()
    with pytest.raises(errors.NotFound):
        await operator.run_to_the_end()
    assert delivered(operator) == ("Pending", 0)


def no_record_once_it_was_sent(operator: Operator, moment: str) -> None:
    """Let each record of a delivery go wrong: before it is stored, or after that."""

    def interrupt(write: str, at: str) -> None:
        if (write, at) == ("status", moment) and operator.sender.sent:
            raise errors.Unavailable("nobody knows what became of it")

    operator.kubernetes.interrupt = interrupt


def the_api_server_is_well(operator: Operator) -> None:
    operator.kubernetes.interrupt = lambda _write, _moment: None


async def test_what_was_sent_and_could_not_be_recorded_is_sent_once(operator: Operator) -> None:
    before = unrecorded()
    await operator.submit()
    no_record_once_it_was_sent(operator, "before")
    with pytest.raises(errors.Unavailable):
        await operator.run_to_the_end()
    for _ in range(3):
        await operator.hear()
        with pytest.raises(errors.Unavailable):
            await operator.look()
    assert unrecorded() == before + 1
    the_api_server_is_well(operator)
    await operator.look()
    assert len(operator.sender.sent) == 1
    assert delivered(operator) == ("Delivered", 1)
    assert unrecorded() == before


async def test_a_lost_answer_to_the_record_of_a_delivery_repeats_nothing(
    operator: Operator,
) -> None:
    await operator.submit()
    no_record_once_it_was_sent(operator, "after")
    with pytest.raises(errors.Unavailable):
        await operator.run_to_the_end()
    the_api_server_is_well(operator)
    await operator.look()
    assert len(operator.sender.sent) == 1
    assert delivered(operator) == ("Delivered", 1)


async def test_what_could_not_be_recorded_goes_with_its_task(operator: Operator) -> None:
    before = unrecorded()
    await operator.submit()
    no_record_once_it_was_sent(operator, "before")
    with pytest.raises(errors.Unavailable):
        await operator.run_to_the_end()
    operator.kubernetes.remove_task("report")
    await operator.hear()
    assert unrecorded() == before


class DeletingSender(twins.MemorySender):
    """The task is deleted, and the watch tells so, while its callback is on its way."""

    operator: Operator

    async def send(self, *words: Any, **named: Any) -> delivery.Try:
        made = await super().send(*words, **named)
        self.operator.kubernetes.remove_task("report")
        self.operator.mirror.tasks.remove(REPORT, TASK_UID)
        return made


async def test_a_task_deleted_while_its_callback_is_sent_leaves_nothing_behind() -> None:
    before = unrecorded()
    sender = DeletingSender()
    sender.operator = Operator(sender=sender)
    await sender.operator.submit()
    await sender.operator.run_to_the_end()
    assert len(sender.sent) == 1
    assert unrecorded() == before


async def test_a_crash_between_sending_and_recording_sends_it_again(operator: Operator) -> None:
    await operator.submit()
    no_record_once_it_was_sent(operator, "before")
    with pytest.raises(errors.Unavailable):
        await operator.run_to_the_end()
    the_api_server_is_well(operator)
    operator.restart()
    await operator.hear()
    await operator.look()
    first, second = operator.sender.sent
    assert first == second, "the same id and the same bytes"
    assert delivered(operator) == ("Delivered", 1)


async def test_a_write_in_between_does_not_make_a_callback_go_twice(operator: Operator) -> None:
    await operator.submit()

    def label(write: str, moment: str) -> None:
        if (write, moment) == ("status", "before") and operator.sender.sent:
            the_api_server_is_well(operator)
            operator.kubernetes.put(names.LONGTASKS, "report", metadata={"labels": {"a": "b"}})

    operator.kubernetes.interrupt = label
    await operator.run_to_the_end()
    assert len(operator.sender.sent) == 1
    assert delivered(operator) == ("Delivered", 1)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(errors.Unavailable("away"), id="nobody-answers"),
        pytest.param(
            twins.Refusal(403, "Forbidden", 'events is forbidden: User "a" cannot create resource'),
            id="a-right-is-missing",
        ),
    ],
)
async def test_people_are_not_told_when_that_fails(operator: Operator, error: Exception) -> None:
    operator.kubernetes.refuse_jobs = "no"
    break_once(operator, "warn", "before", error)
    await operator.submit()
    for _ in range(7):
        assert await operator.look() == 10
        operator.kubernetes.now += seconds(10)
    assert condition(operator, ConditionType.STALLED)[:2] == ("True", "JobRefused")
    assert operator.kubernetes.warnings == []


# --- further attempts ---

TWICE = {
    "container": {"image": "x"},
    "callback": {"url": URL},
    "retry": {"maxAttempts": 2, "backoffSeconds": 100},
}


async def fail_once(operator: Operator, **spec: Any) -> None:
    """Let the first attempt of a task fail that may be tried again."""
    await operator.submit(a_task(**TWICE | spec))
    await operator.run_to_the_end(1, "boom")


async def test_a_failed_attempt_is_followed_by_another_when_it_is_time(operator: Operator) -> None:
    await fail_once(operator)
    status = operator.status()
    assert status.phase is v1alpha1.Phase.RETRYING
    assert status.retry_at is not None
    assert status.waiting == (
        f"attempt 2 at {status.retry_at:%Y-%m-%dT%H:%M:%SZ}, after ProgramFailed: boom"
    )
    assert operator.kubernetes.warnings == [("report", "Retrying", status.waiting)]
    assert operator.sender.sent == []
    (first,) = operator.kubernetes.objects("jobs").values()
    assert first["spec"]["ttlSecondsAfterFinished"] == names.RELEASED_TTL_SECONDS
    operator.kubernetes.now = status.retry_at - seconds(1)
    assert await operator.look() == 1
    operator.kubernetes.now = status.retry_at
    await operator.look()
    assert len(operator.kubernetes.created_jobs) == 2
    second = operator.status()
    assert (second.attempt, second.retry_at, second.waiting) == (2, None, None)
    assert second.queued_at == status.queued_at
    job = next(
        k for k in operator.kubernetes.objects("jobs") if k.name != first["metadata"]["name"]
    )
    pod = operator.kubernetes.make_pod(job)
    operator.kubernetes.start_pod(pod)
    operator.kubernetes.end_pod(pod, 0, "7")
    await operator.hear()
    await operator.look()
    done = operator.status()
    assert done.phase is v1alpha1.Phase.SUCCEEDED
    assert [a.exit_code for a in done.attempts or ()] == [1, 0]
    assert len(operator.sender.sent) == 1


async def test_a_restart_changes_nothing_about_when_it_is_tried_again(operator: Operator) -> None:
    await fail_once(operator)
    due = operator.status().retry_at
    operator.restart()
    await operator.hear()
    again = await operator.look()
    assert due is not None
    assert again == (due - operator.kubernetes.now).total_seconds()
    assert operator.status().retry_at == due


async def test_a_task_that_waits_for_another_attempt_gives_its_place_back(
    operator: Operator,
) -> None:
    await fail_once(operator)
    other = a_task("other", uid="6a0b1c2d-0000-4000-8000-000000000001", container={"image": "x"})
    await operator.submit(other)
    await operator.look("other")
    assert operator.status("other").phase is v1alpha1.Phase.STARTING
    due = operator.status().retry_at
    assert due is not None
    operator.kubernetes.now = due
    assert await operator.look() is None, "the place is taken"
    assert operator.status().phase is v1alpha1.Phase.RETRYING
    assert operator.mirror.index.startable(REPORT.sibling("default")) == []


async def test_between_two_attempts_a_task_is_cancelled_at_once(operator: Operator) -> None:
    await fail_once(operator)
    operator.kubernetes.cancel("report")
    await operator.hear()
    await operator.look()
    status = operator.status()
    assert status.phase is v1alpha1.Phase.CANCELLED
    assert (status.attempts or [])[-1].exit_code == 1
    assert status.retry_at is None
    assert len(operator.sender.sent) == 1


async def test_a_disrupted_pod_costs_no_attempt_and_the_fourth_ends_it(operator: Operator) -> None:
    await operator.submit()
    for number in range(1, 5):
        await operator.look()
        pod = operator.kubernetes.make_pod(operator.kubernetes.created_jobs[-1])
        operator.kubernetes.start_pod(pod)
        operator.kubernetes.end_pod(pod, 143, disrupted=True)
        await operator.hear()
        await operator.look()
        assert len(operator.kubernetes.created_jobs) == min(number + 1, 4)
    status = operator.status()
    assert status.phase is v1alpha1.Phase.FAILED
    assert (status.attempt, status.disruptions) == (4, 3)
    assert reason(operator) == "Disrupted"


async def test_what_an_attempt_left_reaches_the_next_one(operator: Operator) -> None:
    await operator.submit(a_task(**TWICE | {"retry": {"maxAttempts": 2, "backoffSeconds": 0}}))
    pod = await operator.start()
    task = operator.kubernetes.stored(names.LONGTASKS, "report")
    progress = {"percent": 40, "message": "m", "checkpoint": {"at": [None, 7]}}
    status = task["status"] | {"progress": progress}
    operator.kubernetes.put(names.LONGTASKS, REPORT, **{**task, "status": status})
    operator.kubernetes.end_pod(pod, 75)
    await operator.hear()
    await operator.look()
    operator.kubernetes.now += seconds(1)
    await operator.look()
    after = operator.status()
    assert after.attempt == 2
    assert after.progress == v1alpha1.Progress(checkpoint={"at": [None, 7]})


async def test_a_start_that_took_too_long_is_tried_again_when_nothing_can_come_of_it(
    operator: Operator,
) -> None:
    retried = {"retry": {"maxAttempts": 2, "backoffSeconds": 0}, "timeouts": {"startSeconds": 20}}
    await operator.submit(a_task(**TWICE | retried))
    await operator.look()
    first = operator.job
    operator.kubernetes.make_pod(first)
    await operator.hear()
    operator.kubernetes.now += seconds(20)
    await operator.look()
    await operator.hear()
    await operator.look()
    assert operator.kubernetes.objects("pods") == {}
    operator.kubernetes.now += seconds(1)
    await operator.look()
    assert len(operator.kubernetes.created_jobs) == 2
    assert operator.job != first
    assert (operator.status().attempts or [])[0].reason == "StartTimeout"


async def test_a_job_that_nobody_owns_goes_when_its_task_is_gone(operator: Operator) -> None:
    """`kubectl delete longtask --cascade=orphan` while it runs."""
    await run_for_a_while(operator)
    operator.kubernetes.remove(names.LONGTASKS, "report", orphans=True)
    assert operator.job
    await operator.hear()
    await operator.look()
    assert operator.kubernetes.objects("jobs") == {}
    assert operator.kubernetes.objects("pods") == {}


async def test_a_job_whose_task_is_only_not_heard_of_stays(operator: Operator) -> None:
    await run_for_a_while(operator)
    operator.kubernetes.remove(names.LONGTASKS, "report", orphans=True)
    await operator.hear()
    operator.kubernetes.add(a_task(container={"image": "x"}))
    await operator.look()
    assert operator.job, "somebody has that name again"
