"""What is measured of a task's course, over a Kubernetes in memory."""

from datetime import timedelta
from typing import Any

import pytest

from longtask_adapters.kube import errors
from longtask_adapters.testing import MemoryKubernetes
from longtask_crds import signing_keys
from longtask_crds.testing import NOW, a_queue, a_task, a_type
from longtask_operator import metrics
from longtask_operator.tasks import measure
from longtask_operator.testing import KEY, URL, Operator

PIPELINE = [
    {"name": "one", "container": {"image": "x"}},
    {"name": "two", "type": "mine", "needs": []},
]


class Counted:
    """What the metrics say now that they did not say at the beginning."""

    def __init__(self, operator: Operator) -> None:
        self._registry = operator.metrics.registry
        self._before = self._all()

    def _all(self) -> dict[tuple[str, frozenset[Any]], float]:
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self._registry.collect()
            for sample in family.samples
        }

    def of(self, name: str, **labels: str) -> float:
        key = (name, frozenset(labels.items()))
        return self._all().get(key, 0.0) - self._before.get(key, 0.0)

    def in_all(self, name: str) -> float:
        after, before = self._all(), self._before
        return sum(after[key] - before.get(key, 0.0) for key in after if key[0] == name)


@pytest.fixture
def operator() -> Operator:
    kubernetes = MemoryKubernetes()
    kubernetes.add(a_queue(maxRunning=1))
    kubernetes.add(a_type("mine", container={"image": "x"}))
    keys = {signing_keys.DEFAULT_OWNER: KEY}
    kubernetes.add_secret(signing_keys.KEYS_SECRET, keys, namespace="longtask")
    return Operator(kubernetes=kubernetes)


async def test_a_tasks_course_is_measured(operator: Operator) -> None:
    counted = Counted(operator)
    await operator.submit(a_task(type="mine", callback={"url": URL}))
    operator.kubernetes.now += timedelta(seconds=40)
    await operator.look()
    pod = operator.kubernetes.make_pod(operator.job)
    operator.kubernetes.now += timedelta(seconds=4)
    operator.kubernetes.start_pod(pod)
    await operator.hear()
    operator.kubernetes.now += timedelta(seconds=90)
    operator.kubernetes.end_pod(pod, 0, "7")
    await operator.hear()
    operator.kubernetes.now += timedelta(seconds=3)
    await operator.look()
    labels = {"type": "mine", "queue": "default"}
    assert counted.of("longtask_queue_wait_seconds_sum", **labels) == 40
    assert counted.of("longtask_attempt_start_seconds_sum", **labels) == 4
    assert counted.of("longtask_attempt_run_seconds_sum", **labels) == 90
    assert counted.of("longtask_tasks_finished_total", phase="Succeeded", **labels) == 1
    assert counted.of("longtask_attempts_finished_total", reason="Completed", **labels) == 1
    assert counted.of("longtask_callback_answer_seconds_count") == 1
    assert counted.of("longtask_callback_delay_seconds_sum", event="succeeded") == 0
    assert counted.of("longtask_callback_delay_seconds_count", event="succeeded") == 1
    assert counted.of("longtask_operator_reconcile_seconds_count") > 0


async def test_each_attempt_is_measured_and_the_wait_between_is_no_wait_before(
    operator: Operator,
) -> None:
    counted = Counted(operator)
    await operator.submit(a_task(type="mine", retry={"maxAttempts": 2, "backoffSeconds": 60}))
    await operator.run_to_the_end(1, "no")
    until = operator.status().retry_at
    assert until is not None
    operator.kubernetes.now = until + timedelta(seconds=25)
    for name in list(operator.kubernetes.objects("jobs")):
        operator.kubernetes.remove_job(name)
    await operator.hear()
    await operator.run_to_the_end(0, "7")
    assert counted.in_all("longtask_attempts_finished_total") == 2
    assert counted.in_all("longtask_queue_wait_seconds_count") == 2
    assert counted.in_all("longtask_queue_wait_seconds_sum") == 25
    assert counted.in_all("longtask_tasks_finished_total") == 1


async def test_a_pipelines_steps_are_attempts_of_their_types(operator: Operator) -> None:
    counted = Counted(operator)
    await operator.submit(a_task(steps=PIPELINE))
    await operator.look()
    for name in list(operator.kubernetes.objects("jobs")):
        pod = operator.kubernetes.make_pod(name)
        operator.kubernetes.start_pod(pod)
        operator.kubernetes.end_pod(pod, 0, "7")
    await operator.hear()
    await operator.look()
    ended = "longtask_attempts_finished_total"
    assert counted.of(ended, type="mine", queue="default", reason="Completed") == 1
    assert counted.of(ended, type="", queue="default", reason="Completed") == 1
    finished = {"type": "", "queue": "default", "phase": "Succeeded"}
    assert counted.of("longtask_tasks_finished_total", **finished) == 1
    assert counted.in_all("longtask_queue_wait_seconds_count") == 1


async def test_what_users_name_is_no_label(operator: Operator) -> None:
    await operator.submit(a_task(type="made-up", queue="made-up-too"))
    await operator.look()
    operator.kubernetes.cancel("report")
    await operator.hear()
    await operator.look()
    assert operator.status().phase in ("Failed", "Cancelled")
    labels = {value for _, pairs in Counted(operator)._before for _, value in pairs}
    assert labels.isdisjoint({"made-up", "made-up-too"})


async def test_a_callback_that_was_asked_for_again_is_not_late(operator: Operator) -> None:
    await operator.submit(a_task(type="mine", callback={"url": URL}))
    await operator.run_to_the_end()
    counted = Counted(operator)
    operator.kubernetes.now += timedelta(days=1)
    annotations = {"longtask.dev/redeliver": "again"}
    operator.kubernetes.put("longtasks", "report", metadata={"annotations": annotations})
    await operator.hear()
    await operator.look()
    assert len(operator.sender.sent) == 2
    assert counted.in_all("longtask_callback_delay_seconds_count") == 0
    assert counted.in_all("longtask_callback_answer_seconds_count") == 1


async def test_lines_say_how_each_queue_stands(operator: Operator) -> None:
    operator.kubernetes.add(a_queue("calm", paused=True))
    for number in range(3):
        operator.kubernetes.add(a_task(f"task-{number}", type="mine"))
    await operator.hear()
    await operator.look("task-0")
    now = NOW + timedelta(seconds=30)
    assert sorted(measure.lines(operator.mirror, now)) == [
        metrics.Line("calm", 0, 0, 0.0, True),
        metrics.Line("default", 2, 1, 30.0, False),
    ]


async def test_a_pass_that_fails_is_counted_by_its_error(operator: Operator) -> None:
    counted = Counted(operator)
    await operator.submit(a_task(type="mine"))
    operator.kubernetes.go_away()
    with pytest.raises(errors.Unavailable):
        await operator.look()
    assert counted.of("longtask_operator_reconcile_errors_total", error="Unavailable") == 1
