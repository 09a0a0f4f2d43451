"""Several tasks, two operators, and whatever may happen to them, in any order.

The model check (`test_model.py`) searches all there is of one task; this one goes at random through
what many do to each other in one queue. Of the two operators the first one lets tasks start.
"""

import datetime
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from ledger_support import Witness
from longtask_adapters.kube import errors, kinds
from longtask_adapters.testing import MemoryKubernetes, MemorySender
from longtask_crds import names, signing_keys
from longtask_crds.testing import NAMESPACE, a_queue, a_task
from longtask_crds.v1alpha1 import TaskEvent
from longtask_operator.rules import pods
from longtask_operator.testing import KEY, Operator

PLACES = 2
SECOND = datetime.timedelta(seconds=1)


class CrashError(BaseException):
    """The operator's process is gone. Not an Exception: nothing may catch it."""


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run what never really waits, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waited")


class Machine(RuleBasedStateMachine):
    """What people, programs, nodes and two operators do."""

    tasks = Bundle("tasks")

    def __init__(self) -> None:
        super().__init__()
        self.kubernetes = MemoryKubernetes()
        self.kubernetes.add(a_queue(maxRunning=PLACES))
        keys = {signing_keys.DEFAULT_OWNER: KEY}
        self.kubernetes.add_secret(signing_keys.KEYS_SECRET, keys, namespace="longtask")
        self.operators: list[Operator] = []
        self.made = 0
        self.ended: dict[tuple[str, int], dict[str, Any]] = {}
        self.witness = Witness()

    @initialize()
    def begin(self) -> None:
        for _ in range(2):
            sender = MemorySender(clock=lambda: self.kubernetes.now)
            self.operators.append(Operator(kubernetes=self.kubernetes, sender=sender))
        self.restart(1)

    # --- what people do ---

    @rule(
        target=tasks,
        attempts=st.integers(1, 3),
        limits=st.sampled_from([{}, {"totalSeconds": 30}, {"startSeconds": 8}]),
    )
    def submit(self, attempts: int, limits: dict[str, int]) -> str:
        self.made += 1
        name = f"task-{self.made}"
        self.kubernetes.add(
            a_task(
                name,
                uid=f"7b1c4a52-7a5e-4a0c-9d8e-{self.made:012}",
                container={"image": "x"},
                callback={"url": "https://example.com/done", "events": list(TaskEvent)},
                retry={"maxAttempts": attempts, "backoffSeconds": 4},
                timeouts=limits,
            )
        )
        return name

    @rule(name=tasks)
    def cancel(self, name: str) -> None:
        self.kubernetes.cancel(name)

    @rule(name=tasks, percent=st.integers(0, 100))
    def report(self, name: str, percent: int) -> None:
        self.kubernetes.report_progress(name, percent)

    # --- what the rest of Kubernetes does ---

    @rule(seconds=st.sampled_from([1, 5, 20]))
    def wait(self, seconds: int) -> None:
        self.kubernetes.now += seconds * SECOND

    @rule()
    def make_pods(self) -> None:
        made = {pod.job_name for pod in self.pods()}
        for key, job in self.kubernetes.objects("jobs").items():
            if key.name not in made and not job.get("status"):
                self.kubernetes.make_pod(key)

    @rule()
    def start_pods(self) -> None:
        for pod in self.pods():
            if pod.started_at is None:
                self.kubernetes.start_pod(pod.name)

    @rule(data=st.data(), code=st.sampled_from([0, 1, 64, 75]), disrupted=st.booleans())
    def end_a_pod(self, data: st.DataObject, code: int, disrupted: bool) -> None:
        running = [pod for pod in self.pods() if pod.started_at and not pod.is_over]
        if running:
            pod = data.draw(st.sampled_from(running))
            self.kubernetes.end_pod(pod.name, 143 if disrupted else code, disrupted=disrupted)

    @rule(data=st.data())
    def delete_a_pod(self, data: st.DataObject) -> None:
        """Its last words are lost, and its Job has failed."""
        if found := self.pods():
            pod = data.draw(st.sampled_from(found))
            self.kubernetes.remove_pod(pod.name)
            if (key := pod.key.sibling(pod.job_name)) in self.kubernetes.objects("jobs"):
                failed = [{"type": "Failed", "status": "True"}]
                self.kubernetes.put("jobs", key, status={"conditions": failed})

    @rule(data=st.data())
    def delete_a_job(self, data: st.DataObject) -> None:
        """Only one that was heard of: of another nobody can tell that it was there."""
        recorded = {
            attempt.get("jobUid")
            for status in self.statuses().values()
            for attempt in status.get("attempts", ())
        }
        jobs = self.kubernetes.objects("jobs").items()
        found = [key for key, job in jobs if job["metadata"]["uid"] in recorded]
        if found:
            self.kubernetes.remove_job(data.draw(st.sampled_from(found)))

    @rule()
    def stop_what_is_to_stop(self) -> None:
        for pod in self.pods():
            if pod.is_stopping and pod.started_at and not pod.is_over:
                self.kubernetes.end_pod(pod.name, 143)

    # --- what the operators do ---

    @rule(which=st.integers(0, 1), name=tasks)
    def look(self, which: int, name: str) -> None:
        self.attempt(which, name)

    @rule(which=st.integers(0, 1))
    def hear(self, which: int) -> None:
        run(self.operators[which].hear())

    @rule(which=st.integers(0, 1))
    def restart(self, which: int) -> None:
        operator = self.operators[which]
        operator.restart()
        if which == 1:
            operator.admission.give_up()
        run(operator.hear())

    @rule(
        which=st.integers(0, 1),
        name=tasks,
        moment=st.sampled_from(["before", "after"]),
        error=st.sampled_from([CrashError(), errors.Unavailable("no answer")]),
    )
    def look_in_vain(self, which: int, name: str, moment: str, error: BaseException) -> None:
        """Be broken off at the first write."""

        def interrupt(_write: str, at: str) -> None:
            if at == moment:
                raise error

        self.kubernetes.interrupt = interrupt
        try:
            self.attempt(which, name)
        except CrashError:
            self.kubernetes.interrupt = lambda _write, _moment: None
            self.restart(which)
        finally:
            self.kubernetes.interrupt = lambda _write, _moment: None

    def attempt(self, which: int, name: str) -> float | None:
        key = names.ObjectKey(NAMESPACE, name)
        try:
            again: float | None = run(self.operators[which].reconciler.reconcile(key))
        except (errors.NotFound, errors.Unavailable):
            return 0.0  # the work queue has it tried again
        return again

    # --- what must hold ---

    def pods(self) -> list[pods.Pod]:
        return [pods.Pod.parse(raw) for raw in self.kubernetes.objects("pods").values()]

    def statuses(self) -> dict[str, dict[str, Any]]:
        tasks = self.kubernetes.objects(names.LONGTASKS)
        return {key.name: raw.get("status", {}) for key, raw in tasks.items()}

    @invariant()
    def no_attempt_has_two_jobs(self) -> None:
        assert all(n == 1 for n in Counter(self.kubernetes.created_jobs).values())

    @invariant()
    def no_program_runs_beside_another_of_its_task(self) -> None:
        living = Counter(pod.task.name for pod in self.pods() if not pod.is_over)
        assert all(count == 1 for count in living.values()), living

    @invariant()
    def no_more_hold_a_place_than_may(self) -> None:
        holders = [
            name
            for name, status in self.statuses().items()
            if status.get("attempts")
            and "finishedAt" not in status["attempts"][-1]
            and "finishedAt" not in status
        ]
        assert len(holders) <= PLACES, holders

    @invariant()
    def an_outcome_is_accepted_once(self) -> None:
        for name, status in self.statuses().items():
            for attempt in status.get("attempts", ()):
                if "finishedAt" in attempt:
                    known = self.ended.setdefault((name, attempt["number"]), attempt)
                    assert known == attempt

    @invariant()
    def events_are_only_added(self) -> None:
        for raw in self.kubernetes.objects(names.LONGTASKS).values():
            self.witness.see(kinds.TASKS.read(raw))

    @invariant()
    def callbacks_tell_of_them_under_their_numbers(self) -> None:
        for operator in self.operators:
            while operator.sender.sent:
                self.witness.check(operator.sender.sent.pop())

    @invariant()
    def attempts_are_counted(self) -> None:
        tasks = self.kubernetes.objects(names.LONGTASKS)
        for key, status in self.statuses().items():
            most = tasks[names.ObjectKey(NAMESPACE, key)]["spec"]["retry"]["maxAttempts"]
            assert status.get("disruptions", 0) <= 3
            assert status.get("attempt", 0) <= most + status.get("disruptions", 0)

    # --- when all is calm ---

    def teardown(self) -> None:
        if not self.operators:
            return
        for _ in range(60):
            self.wait(20)
            self.make_pods()
            self.start_pods()
            self.stop_what_is_to_stop()
            for pod in self.pods():
                if pod.started_at and not pod.is_over:
                    self.kubernetes.end_pod(pod.name)
            self.kubernetes.collect_garbage()
            before = self.kubernetes.writes
            run(self.operators[0].hear())
            for name in self.statuses():
                for _ in range(20):
                    if self.attempt(0, name) != 0.0:
                        break
                else:
                    raise AssertionError("it goes in circles")
            self.check()
            if self.kubernetes.writes == before and self.all_finished():
                break
        else:
            raise AssertionError(f"no calm: {self.statuses()}")
        for name, status in self.statuses().items():
            assert status["callback"]["state"] == "Delivered", name
        for job in self.kubernetes.objects("jobs").values():
            assert "ttlSecondsAfterFinished" in job["spec"], "a Job stays for ever"
        assert all(pod.is_over for pod in self.pods())

    def all_finished(self) -> bool:
        return all("finishedAt" in status for status in self.statuses().values())

    def check(self) -> None:
        self.no_attempt_has_two_jobs()
        self.no_program_runs_beside_another_of_its_task()
        self.no_more_hold_a_place_than_may()
        self.an_outcome_is_accepted_once()
        self.attempts_are_counted()
        self.events_are_only_added()
        self.callbacks_tell_of_them_under_their_numbers()


Machine.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=50,
    deadline=None,
    # A failing course is long: to shorten it takes longer than to read it.
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
TestManyTasks = Machine.TestCase
