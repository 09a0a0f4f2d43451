"""What is told of a pipeline along any course of it; `test_machine.py` asks that of plain tasks."""

import datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_support import Witness
from longtask_adapters.kube import kinds
from longtask_crds import events, names, v1alpha1
from longtask_crds.testing import a_task
from longtask_crds.v1alpha1 import TaskEvent
from longtask_operator.rules import pods
from longtask_operator.testing import REPORT, URL, Operator, at_once

STEPS: list[dict[str, Any]] = [
    {"name": "a", "retry": {"maxAttempts": 3, "backoffSeconds": 4}, "continueOnFailure": True},
    {"name": "b", "needs": [], "retry": {"maxAttempts": 2, "backoffSeconds": 4}},
    {"name": "c", "needs": ["a"], "forEach": [1, 2, 3], "retry": {"maxAttempts": 2}},
    {"name": "d", "needs": ["c"], "when": "input.x > 1"},
    {"name": "e", "finally": True},
]


class Course:
    """A pipeline, and what happens to it."""

    def __init__(self) -> None:
        self.operator = Operator()
        self.witness = Witness()
        linked = [step | {"container": {"image": "x"}} for step in STEPS]
        callback = {"url": URL, "events": list(TaskEvent)}
        self.run(self.operator.submit(a_task(steps=linked, input={"x": 1}, callback=callback)))

    def run(self, what: Any) -> None:
        at_once(what)
        self.witness.see(self.task)

    @property
    def task(self) -> v1alpha1.LongTask:
        return kinds.TASKS.read(self.operator.kubernetes.stored(names.LONGTASKS, REPORT))

    def pods(self) -> list[pods.Pod]:
        return [pods.Pod.parse(raw) for raw in self.operator.kubernetes.objects("pods").values()]

    # --- what may happen

    def look(self, _: int) -> None:
        self.run(self.operator.hear())
        self.run(self.operator.reconciler.reconcile(REPORT))
        while self.operator.sender.sent:
            self.witness.check(self.operator.sender.sent.pop())

    def make_pods(self, _: int) -> None:
        made = {pod.job_name for pod in self.pods()}
        for key, job in self.operator.kubernetes.objects("jobs").items():
            if key.name not in made and not job.get("status"):
                self.operator.kubernetes.make_pod(key)

    def start_a_pod(self, which: int) -> None:
        waiting = [pod for pod in self.pods() if pod.started_at is None]
        if waiting:
            self.operator.kubernetes.start_pod(waiting[which % len(waiting)].name)

    def end_a_pod(self, which: int) -> None:
        running = [pod for pod in self.pods() if pod.started_at and not pod.is_over]
        if running:
            code = (0, 0, 1)[which % 3]
            self.operator.kubernetes.end_pod(running[which % len(running)].name, code)

    def wait(self, seconds: int) -> None:
        self.operator.kubernetes.now += datetime.timedelta(seconds=seconds)

    def cancel(self, which: int) -> None:
        if which > 18:
            self.operator.kubernetes.cancel("report")


HAPPENS = [Course.look, Course.make_pods, Course.start_a_pod, Course.end_a_pod, Course.wait]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from([*HAPPENS, Course.cancel]), st.integers(0, 20)), max_size=60)
)
def test_events_of_a_pipeline_are_only_added(happened: list[tuple[Any, int]]) -> None:
    course = Course()
    for happen, which in happened:
        happen(course, which)
    for _ in range(200):
        if course.task.is_finished:
            break
        for happen in HAPPENS:
            happen(course, 5)
    else:
        raise AssertionError("it does not end")
    course.look(0)
    told = [event.type for event in events.of(course.task)]
    assert told[0] is TaskEvent.QUEUED
    assert told[-1] in (TaskEvent.SUCCEEDED, TaskEvent.FAILED, TaskEvent.CANCELLED)
