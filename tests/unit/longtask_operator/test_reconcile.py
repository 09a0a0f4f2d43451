"""One pass after the other over a cluster in memory: effects, their order, and what goes wrong."""

import datetime
from typing import Any

import pytest

from longtask_adapters.kube import errors
from longtask_crds import address_guard, delivery, names, signing_keys, v1alpha1
from longtask_crds.testing import NOW, a_queue, a_task, a_type
from longtask_operator import keys, mirror, testing
from longtask_operator.rules import pods
from longtask_operator.tasks import apply, observe, reconcile

URL = "https://example.com/done"
KEY = signing_keys.new_key()


class Operator:
    """An operator without its loops: the test says when it looks and when it hears."""

    def __init__(self, *answers: delivery.Try) -> None:
        self.cluster = testing.MemoryCluster()
        self.cluster.add(a_queue(maxRunning=1))
        self.cluster.add_secret(signing_keys.KEYS_SECRET, {"default": KEY}, namespace="longtask")
        self.sender = testing.MemorySender(*answers, clock=lambda: self.cluster.now)
        self.woken: list[str] = []
        self.restart()

    def restart(self) -> None:
        self.mirror = mirror.Mirror()
        self.applier = apply.Applier(
            self.mirror,
            self.cluster,
            self.sender,
            keys.KeyRing(self.cluster, "longtask"),
            testing.SURROUNDINGS,
            (0, 5),
        )
        observer = observe.Observer(
            self.mirror, self.cluster, testing.INSTALLATION, address_guard.Guard()
        )
        self.reconciler = reconcile.Reconciler(
            self.mirror, self.cluster, observer, self.applier, lambda: self.cluster.now
        )
        self.reconciler.wake = self.woken.append

    async def hear(self) -> None:
        """Take over all that there is."""
        lists: dict[str, Any] = {}
        for kind in (names.LONGTASKS, names.LONGTASKTYPES, names.LONGTASKQUEUES):
            lists[kind] = await self.cluster.list_ours(kind)
        for kind in ("pods", "jobs"):
            lists[kind] = await self.cluster.list_labelled(kind)
        self.mirror.absorb_lists(lists, now=self.cluster.now)

    async def look(self, name: str = "report") -> float | None:
        """Pass after pass until the next is due later or never."""
        for _ in range(20):
            again = await self.reconciler.reconcile(name)
            if again != 0.0:
                return again
        raise AssertionError("it goes in circles")

    async def submit(self, task: v1alpha1.LongTask | None = None) -> None:
        self.cluster.add(task or a_task(container={"image": "x"}, callback={"url": URL}))
        await self.hear()

    async def run_to_the_end(self, exit_code: int = 0, message: str = "7") -> None:
        await self.look()
        pod = self.make_pod()
        self.cluster.start_pod(pod)
        self.cluster.end_pod(pod, exit_code, message)
        await self.hear()
        await self.look()

    def make_pod(self) -> str:
        return self.cluster.make_pod(self.job_name)

    @property
    def job_name(self) -> str:
        (name,) = self.cluster.jobs
        return name

    async def status(self, name: str = "report") -> v1alpha1.LongTaskStatus:
        return (await self.cluster.get_task(name)).status

    async def reason(self, name: str = "report") -> str:
        status = await self.status(name)
        return next(c.reason for c in status.conditions if c.type == "Succeeded")


@pytest.fixture
def operator() -> Operator:
    return Operator()


def seconds(number: float) -> datetime.timedelta:
    return datetime.timedelta(seconds=number)


async def test_a_task_goes_its_whole_way(operator: Operator) -> None:
    await operator.submit()
    await operator.run_to_the_end()
    status = await operator.status()
    assert status.phase is v1alpha1.Phase.SUCCEEDED
    assert status.result == v1alpha1.Result(value=7)
    assert status.callback is not None
    assert status.callback.state is v1alpha1.CallbackState.DELIVERED
    ((sent),) = operator.sender.sent
    assert (sent.url, sent.webhook_id, sent.keys) == (URL, status.callback.id, (KEY,))
    assert operator.cluster.jobs[operator.job_name]["spec"]["ttlSecondsAfterFinished"] == 600
    assert operator.cluster.warnings == []


async def test_the_happy_path_costs_five_writes(operator: Operator) -> None:
    await operator.submit()
    await operator.run_to_the_end()
    # Claim, Job, outcome, delivery, release.
    assert operator.cluster.writes == 5
    await operator.hear()
    assert await operator.look() is None
    assert operator.cluster.writes == 5


async def test_an_unknown_task_is_nothing_to_do(operator: Operator) -> None:
    assert await operator.reconciler.reconcile("nobody") is None


async def test_a_claim_is_made_on_what_is_true_now(operator: Operator) -> None:
    await operator.submit()
    operator.cluster.cancel("report")
    await operator.look()
    assert (await operator.status()).phase is v1alpha1.Phase.CANCELLED
    assert operator.cluster.created_jobs == []


async def test_a_task_deleted_meanwhile_is_forgotten(operator: Operator) -> None:
    await operator.submit()
    operator.cluster.remove_task("report")
    assert await operator.look() is None
    assert operator.mirror.tasks == {}


async def test_only_so_many_run_and_an_end_wakes_the_next(operator: Operator) -> None:
    await operator.submit()
    await operator.submit(a_task("second", uid="second", container={"image": "x"}))
    await operator.look()
    await operator.look("second")
    assert (await operator.status("second")).phase is v1alpha1.Phase.QUEUED
    await operator.run_to_the_end()
    assert operator.woken == ["second"]
    await operator.look("second")
    assert (await operator.status("second")).phase is v1alpha1.Phase.STARTING


async def test_a_type_made_just_before_is_found(operator: Operator) -> None:
    await operator.submit(a_task(type="late"))
    operator.cluster.add(a_type("late", container={"image": "late:1"}))
    await operator.look()
    (job,) = operator.cluster.jobs.values()
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "late:1"


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
    status = await operator.status()
    assert status.phase is v1alpha1.Phase.FAILED
    accepted = next(c for c in status.conditions if c.type == "Accepted")
    assert (str(accepted.status), accepted.reason) == ("False", reason)
    assert accepted.message.startswith("spec") or reason == "TypeNotFound"
    assert operator.cluster.created_jobs == []


async def test_a_stale_claim_is_read_again_before_its_job_is_made(operator: Operator) -> None:
    await operator.submit()
    await operator.reconciler.reconcile("report")
    operator.restart()
    await operator.hear()
    operator.cluster.report_progress("report", 5)  # any other status: it went on meanwhile
    await operator.reconciler.reconcile("report")
    assert operator.cluster.created_jobs == [], "it decides again first"
    await operator.look()
    assert len(operator.cluster.created_jobs) == 1


async def test_a_job_that_is_there_already_is_adopted(operator: Operator) -> None:
    await operator.submit()
    await operator.look()
    operator.restart()
    await operator.hear()
    operator.mirror.jobs.clear()
    await operator.look()
    assert len(operator.cluster.created_jobs) == 1
    await operator.run_to_the_end()
    assert (await operator.status()).phase is v1alpha1.Phase.SUCCEEDED


async def test_a_foreign_job_of_the_same_name_is_left_alone(operator: Operator) -> None:
    await operator.submit()
    task = await operator.cluster.get_task("report")
    name = names.job_name("report", task.metadata.uid, attempt=1)
    foreign = {
        "metadata": {"name": name, "uid": "f", "creationTimestamp": testing.stamp(NOW)},
        "spec": {"template": {"metadata": {}, "spec": {}}},
    }
    operator.cluster.jobs[name] = foreign
    await operator.look()
    assert await operator.reason() == "NameConflict"
    assert operator.cluster.jobs == {name: foreign}


async def test_a_wiped_status_finds_its_job_again(operator: Operator) -> None:
    await operator.submit()
    await operator.look()
    raw = operator.cluster.tasks["report"]
    operator.cluster.tasks["report"] = raw | {"status": {"phase": "Pending"}}
    operator.cluster.report_progress("report", 0)
    await operator.hear()
    await operator.run_to_the_end()
    assert (await operator.status()).phase is v1alpha1.Phase.SUCCEEDED
    assert len(operator.cluster.created_jobs) == 1


async def test_a_refused_job_is_explained_and_tried_again(operator: Operator) -> None:
    operator.cluster.refuse_jobs = "admission webhook denied the request"
    await operator.submit()
    again = await operator.look()
    status = await operator.status()
    assert status.waiting == "the Job was refused: admission webhook denied the request"
    assert operator.cluster.warnings == [
        ("report", "Stalled", f"JobRefused: {status.waiting}"),
    ]
    assert again == 10
    operator.cluster.refuse_jobs = None
    operator.cluster.now += seconds(10)
    await operator.look()
    assert len(operator.cluster.created_jobs) == 1


async def test_a_quota_is_explained_and_ends_at_the_deadline(operator: Operator) -> None:
    task = a_task(container={"image": "x"}, timeouts={"startSeconds": 20})
    await operator.submit(task)
    await operator.look()
    operator.cluster.no_pod_because[operator.job_name] = "exceeded quota"
    for _ in range(8):
        operator.cluster.now += seconds(5)
        await operator.look()
    status = await operator.status()
    assert await operator.reason() == "StartTimeout"
    assert operator.cluster.jobs == {}, "nothing may start it any more"
    assert len([w for w in operator.cluster.warnings if w[1] == "Stalled"]) == 1
    assert status.waiting is None


@pytest.mark.parametrize(
    ("secret", "cause"),
    [
        pytest.param(None, "there is no Secret db", id="missing"),
        pytest.param({}, 'the Secret db has no label longtask.dev/env: "true"', id="unlabelled"),
    ],
)
async def test_only_labelled_secrets_come_into_the_environment(
    operator: Operator, secret: dict[str, str] | None, cause: str
) -> None:
    if secret is not None:
        operator.cluster.add_secret("db", {"password": "hush"}, labels=secret)
    variable = {"name": "PW", "secretRef": {"name": "db", "key": "password"}}
    await operator.submit(a_task(container={"image": "x", "env": [variable]}))
    await operator.look()
    assert (await operator.status()).waiting == f"the Job was refused: {cause}"
    assert operator.cluster.created_jobs == []
    operator.cluster.add_secret("db", {"password": "hush"}, labels={names.ENV_SECRET_LABEL: "true"})
    operator.cluster.now += seconds(10)
    await operator.look()
    assert len(operator.cluster.created_jobs) == 1
    assert "hush" not in str(operator.cluster.jobs)


async def test_a_conflict_is_looked_at_again(operator: Operator) -> None:
    await operator.submit()
    await operator.look()
    pod = operator.make_pod()
    operator.cluster.start_pod(pod)
    operator.cluster.end_pod(pod, 0, "7")
    await operator.hear()
    operator.cluster.report_progress("report", 99)
    await operator.look()
    assert (await operator.status()).phase is v1alpha1.Phase.SUCCEEDED


async def test_an_outcome_is_never_given_on_the_mirrors_word_alone(operator: Operator) -> None:
    """The watch of pods is deaf for a while: the program ended, and nobody told us."""
    await operator.submit()
    await operator.look()
    pod = operator.make_pod()
    operator.cluster.start_pod(pod)
    operator.cluster.end_pod(pod, 0, "7")
    operator.cluster.now += seconds(5)
    await operator.look()
    status = await operator.status()
    assert status.phase is v1alpha1.Phase.SUCCEEDED
    assert status.result == v1alpha1.Result(value=7)


async def test_a_program_that_runs_does_not_time_out_while_the_watch_is_deaf(
    operator: Operator,
) -> None:
    await operator.submit()
    await operator.look()
    operator.cluster.start_pod(operator.make_pod())
    operator.cluster.now += seconds(600)
    await operator.look()
    assert (await operator.status()).phase is v1alpha1.Phase.RUNNING


async def test_a_running_program_is_stopped_and_its_end_awaited(operator: Operator) -> None:
    await operator.submit()
    await operator.look()
    pod = operator.make_pod()
    operator.cluster.start_pod(pod)
    operator.cluster.cancel("report")
    await operator.hear()
    assert await operator.look() is None
    assert operator.cluster.all_pods[pod]["spec"]["activeDeadlineSeconds"] == 1
    assert (await operator.status()).phase is v1alpha1.Phase.STARTING
    operator.cluster.end_pod(pod, 143)
    await operator.hear()
    await operator.look()
    assert (await operator.status()).phase is v1alpha1.Phase.CANCELLED


async def test_an_orphaned_pod_is_followed_to_its_end(operator: Operator) -> None:
    """`kubectl delete job --cascade=orphan` while it runs."""
    await operator.submit()
    await operator.look()
    pod = operator.make_pod()
    operator.cluster.start_pod(pod)
    await operator.hear()
    operator.cluster.now += seconds(5)
    await operator.look()
    raw = operator.cluster.all_pods[pod]
    operator.cluster.all_pods[pod] = raw | {
        "metadata": raw["metadata"] | {"ownerReferences": [], "resourceVersion": "99"}
    }
    del operator.cluster.jobs[operator.job_name]
    operator.cluster.version = 100
    await operator.hear()
    await operator.look()
    assert (await operator.status()).phase is v1alpha1.Phase.RUNNING
    operator.cluster.end_pod(pod, 0, "7")
    await operator.hear()
    await operator.look()
    status = await operator.status()
    assert status.phase is v1alpha1.Phase.SUCCEEDED
    assert (status.attempts or [])[-1].job_uid == "uid-1"


async def test_a_deleted_job_is_lost(operator: Operator) -> None:
    await operator.submit()
    await operator.look()
    operator.cluster.start_pod(operator.make_pod())
    await operator.hear()
    operator.cluster.now += seconds(5)
    await operator.look()
    operator.cluster.remove_job(operator.job_name)
    await operator.hear()
    await operator.look()
    assert await operator.reason() == "JobLost"
    assert len(operator.cluster.created_jobs) == 1


async def test_another_job_in_its_place_is_not_deleted_for_ever() -> None:
    operator = Operator()
    await operator.submit()
    await operator.look()
    operator.cluster.cancel("report")
    await operator.hear()
    await operator.reconciler.reconcile("report")
    raw = operator.cluster.jobs[operator.job_name]
    meta = raw["metadata"] | {"uid": "another", "ownerReferences": []}
    operator.cluster.jobs[operator.job_name] = raw | {"metadata": meta}
    await operator.look()
    assert operator.cluster.jobs[operator.job_name]["metadata"]["uid"] == "another"
    assert (await operator.status()).phase is v1alpha1.Phase.CANCELLED


# --- the callback ---


async def test_a_callback_is_sent_again_as_the_schedule_says() -> None:
    operator = Operator(delivery.Try(at=NOW, code=500), delivery.Try(at=NOW, code=204))
    await operator.submit()
    await operator.run_to_the_end()
    assert len(operator.sender.sent) == 1
    assert await operator.look() == 5
    operator.cluster.now += seconds(5)
    await operator.look()
    first, second = operator.sender.sent
    assert first == second, "the same id and the same bytes"
    status = await operator.status()
    assert status.callback is not None
    assert (status.callback.state, status.callback.tries) == ("Delivered", 2)
    assert operator.cluster.warnings == []


async def test_a_callback_given_up_is_told_to_people() -> None:
    operator = Operator(delivery.Try(at=NOW, code=410))
    await operator.submit()
    await operator.run_to_the_end(1)
    assert (await operator.status()).phase is v1alpha1.Phase.FAILED
    assert operator.cluster.warnings == [
        ("report", "CallbackFailed", "Gone: try 1 was answered with 410")
    ]


async def test_a_secret_that_cannot_sign_uses_up_tries_and_is_told(operator: Operator) -> None:
    ref = {"name": "mine", "key": "signing"}
    task = a_task(container={"image": "x"}, callback={"url": URL, "secretRef": ref})
    await operator.submit(task)
    await operator.run_to_the_end()
    assert operator.sender.sent == []
    status = await operator.status()
    assert status.callback is not None
    assert (status.callback.tries, status.callback.last_error) == (1, "SecretUnusable")
    assert [w[1] for w in operator.cluster.warnings] == ["CallbackFailed"]


async def test_a_callback_waits_while_the_keys_cannot_be_read(operator: Operator) -> None:
    await operator.submit()
    operator.cluster.secrets.clear()
    with pytest.raises(errors.NotFound):
        await operator.run_to_the_end()
    status = await operator.status()
    assert status.callback is not None
    assert status.callback.tries == 0


async def test_a_lost_answer_to_the_record_of_a_delivery_repeats_it_once(
    operator: Operator,
) -> None:
    await operator.submit()

    def lose(write: str, moment: str) -> None:
        if (write, moment) == ("status", "after") and operator.sender.sent:
            operator.cluster.interrupt = lambda _write, _moment: None
            raise errors.Unavailable("the answer was lost")

    operator.cluster.interrupt = lose
    with pytest.raises(errors.Unavailable):
        await operator.run_to_the_end()
    await operator.look()
    assert len({sent.webhook_id for sent in operator.sender.sent}) == 1
    assert len(operator.sender.sent) == 2
    status = await operator.status()
    assert status.callback is not None
    assert (status.callback.state, status.callback.tries) == ("Delivered", 1)


async def test_a_write_in_between_does_not_make_a_callback_go_twice(operator: Operator) -> None:
    await operator.submit()

    def label(write: str, moment: str) -> None:
        if (write, moment) == ("status", "before") and operator.sender.sent:
            operator.cluster.interrupt = lambda _write, _moment: None
            raw = operator.cluster.tasks["report"]
            meta = raw["metadata"] | {"resourceVersion": str(operator.cluster.version + 1)}
            operator.cluster.version += 1
            operator.cluster.tasks["report"] = raw | {"metadata": meta}

    operator.cluster.interrupt = label
    await operator.run_to_the_end()
    assert len(operator.sender.sent) == 1
    status = await operator.status()
    assert status.callback is not None
    assert status.callback.state is v1alpha1.CallbackState.DELIVERED


async def test_people_are_not_told_when_that_fails(operator: Operator) -> None:
    operator.cluster.refuse_jobs = "no"

    def no_events(write: str, _moment: str) -> None:
        if write == "warn":
            raise errors.Rejected("events are forbidden")

    operator.cluster.interrupt = no_events
    await operator.submit()
    await operator.look()
    assert (await operator.status()).waiting == "the Job was refused: no"


async def test_a_pod_that_is_gone_cannot_be_stopped(operator: Operator) -> None:
    await operator.submit()
    await operator.look()
    pod = operator.make_pod()
    operator.cluster.start_pod(pod)
    operator.cluster.cancel("report")
    await operator.hear()
    operator.cluster.remove_pod(pod)
    with pytest.raises(errors.NotFound):
        await operator.look()
    assert isinstance(operator.mirror.jobs[operator.job_name], pods.Job)
