"""Several tasks, two operators, and whatever may happen to them, in any order.

The model check (`test_model.py`) searches all there is of one task; this one goes at random through
what many do to each other in one queue. Of the two operators the first one lets tasks start.
"""

import contextlib
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
from longtask_crds.testing import NAMESPACE, a_queue, a_task, a_type
from longtask_crds.v1alpha1 import TaskEvent
from longtask_operator.rules import pods, warm
from longtask_operator.testing import KEY, Operator
from model_support import CrashError

PLACES = 2
#: Of this type so many pods wait.
WARM, SIZE = names.ObjectKey(NAMESPACE, "warm"), 2
NODE = "node-1"  #: where the twin has all pods run
SECOND = datetime.timedelta(seconds=1)


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
        self.kubernetes.add(a_type(WARM.name, warm={"size": SIZE}, container={"image": "x"}))
        #: By pod: the task and the attempt that it was handed.
        self.handed: dict[str, tuple[str, int]] = {}
        self.operators: list[Operator] = []
        self.made = 0
        self.ended: dict[tuple[str, int], dict[str, Any]] = {}
        self.witness = Witness()

    @initialize()
    def begin(self) -> None:
        for _ in range(2):
            sender = MemorySender(clock=lambda: self.kubernetes.now)
            self.operators.append(Operator(kubernetes=self.kubernetes, sender=sender))
        self.fill()
        self.restart(1)

    def fill(self) -> None:
        """Have so many wait as should."""
        run(self.operators[0].hear())
        self.keep(0)
        self.make_pods()
        self.start_pods()
        run(self.operators[0].hear())

    # --- what people do ---

    @rule(
        target=tasks,
        attempts=st.integers(1, 3),
        limits=st.sampled_from([{}, {"totalSeconds": 30}, {"startSeconds": 8}]),
        program=st.sampled_from([{"type": WARM.name}, {"container": {"image": "x"}}]),
    )
    def submit(self, attempts: int, limits: dict[str, int], program: dict[str, Any]) -> str:
        self.made += 1
        name = f"task-{self.made}"
        self.kubernetes.add(
            a_task(
                name,
                uid=f"7b1c4a52-7a5e-4a0c-9d8e-{self.made:012}",
                **program,
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

    @rule(data=st.data(), code=st.sampled_from([0, 1, 64, 75]), words=st.sampled_from(["", "x"]))
    def say_how_it_ends(self, data: st.DataObject, code: int, words: str) -> None:
        """It may end otherwise, or not for long."""
        if running := self.at_work():
            pod = data.draw(st.sampled_from(running))
            said = {"message": words} if code and words else {}
            self.kubernetes.report_outcome(pod.name, code, **said)

    @rule(data=st.data(), code=st.sampled_from([0, 1, 64, 75]), disrupted=st.booleans())
    def end_a_pod(self, data: st.DataObject, code: int, disrupted: bool) -> None:
        if running := self.at_work():
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

    @rule()
    def hand_over(self) -> None:
        """The API hands each pod that asks the task whose status names it now."""
        for pod in self.pods():
            status = self.statuses().get(pod.task.name, {})
            last = (status.get("attempts") or [{}])[-1]
            is_named = last.get("podUid") == pod.uid and "finishedAt" not in {**last, **status}
            if pod.warm and is_named and not pod.is_over:
                self.handed.setdefault(pod.uid, (pod.task.name, last["number"]))

    @rule(
        data=st.data(),
        which=st.integers(0, 1),
        what=st.sampled_from(["told to end", "drained", "cordoned", "uncordoned", "changed"]),
    )
    def disturb_what_waits(self, data: st.DataObject, which: int, what: str) -> None:
        """Whether somebody has taken it meanwhile or not; but it was handed nothing yet."""
        if what in ("cordoned", "uncordoned"):
            is_cordoned = what == "cordoned"
            self.operators[which].nodes._set(frozenset([NODE] if is_cordoned else ()))
        if what == "changed":
            image = data.draw(st.sampled_from(["x", "y"]))
            self.kubernetes.put(names.LONGTASKTYPES, WARM, spec={"container": {"image": image}})
        waiting = [
            pod
            for pod in self.pods()
            if pod.warm and pod.started_at and not pod.is_over and pod.uid not in self.handed
        ]
        if what in ("told to end", "drained") and waiting:
            pod, is_drained = data.draw(st.sampled_from(waiting)), what == "drained"
            words = "" if is_drained else "NoTask: it was told to end"
            code = 137 if is_drained else 75
            self.kubernetes.end_pod(pod.name, code, words, disrupted=is_drained)

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

    @rule(name=tasks, all_of_it=st.booleans())
    def go_on(self, name: str, all_of_it: bool) -> None:
        """Do undisturbed what there is to do, so that a course gets somewhere."""
        run(self.operators[0].hear())
        for _ in range(5):
            again = self.attempt(0, name)
            self.events_are_only_added()  # each state of the task is seen
            if again != 0.0:
                break
        if all_of_it:
            self.hand_over()
            self.make_pods()
            self.start_pods()

    @rule()
    def fill_up(self) -> None:
        self.wait(5)
        self.fill()

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

    @rule(which=st.integers(0, 1))
    def keep(self, which: int) -> None:
        """Look after what waits, and after what was taken and nobody has claimed."""
        with contextlib.suppress(errors.NotFound, errors.Unavailable, errors.Conflict):
            self.look_after(which)

    def look_after(self, which: int) -> float | None:
        again: float | None = run(self.operators[which].ahead.reconcile(WARM))
        run(self.operators[which].ahead.recycle_strays())
        return again

    @rule(
        which=st.integers(0, 1),
        name=st.one_of(tasks, st.none()),
        moment=st.sampled_from(["before", "after"]),
        error=st.sampled_from([CrashError(), errors.Unavailable("no answer")]),
        nth=st.integers(1, 2),
    )
    def look_in_vain(
        self, which: int, name: str | None, moment: str, error: BaseException, nth: int
    ) -> None:
        """Be broken off at a write, of a task or of what waits."""
        moments: Counter[str] = Counter()

        def interrupt(_write: str, at: str) -> None:
            moments[at] += 1
            if at == moment and moments[at] >= nth:
                raise error

        self.kubernetes.interrupt = interrupt
        try:
            if name is None:
                self.keep(which)
            else:
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

    def at_work(self) -> list[pods.Pod]:
        """Return the pods whose programs run, and have a task."""
        running = [pod for pod in self.pods() if pod.started_at and not pod.is_over]
        of_tasks = [pod for pod in running if not pod.is_nobodys]
        return [pod for pod in of_tasks if not pod.warm or pod.uid in self.handed]

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
        # One that was taken and is not handed anything is no program yet.
        living = Counter(
            pod.task.name
            for pod in self.pods()
            if pod.task.name and not pod.is_over and (not pod.warm or pod.uid in self.handed)
        )
        assert all(count == 1 for count in living.values()), living

    @invariant()
    def a_pod_that_waited_is_one_attempts(self) -> None:
        named = Counter(
            attempt["podUid"]
            for status in self.statuses().values()
            for attempt in status.get("attempts", ())
            if attempt.get("start") == "Warm"
        )
        assert all(count == 1 for count in named.values()), "two claims name one pod"
        assert all(count == 1 for count in Counter(self.handed.values()).values())
        for name, status in self.statuses().items():
            for attempt in status.get("attempts", ()):
                handed = self.handed.get(attempt.get("podUid", ""))
                assert handed in (None, (name, attempt["number"])), "it runs another's task"

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
        self.operators[0].nodes._set(frozenset())
        for _ in range(60):
            self.wait(20)
            self.make_pods()
            self.start_pods()
            self.hand_over()
            self.stop_what_is_to_stop()
            for pod in self.at_work():
                self.kubernetes.end_pod(pod.name)
            self.kubernetes.collect_garbage()
            before = self.kubernetes.writes
            run(self.operators[0].hear())
            again = self.look_after(0)
            # After pods that did not wait others are started only after a pause.
            is_resting = again is not None and again <= warm.LONGEST_PAUSE.total_seconds()
            for name in self.statuses():
                for _ in range(20):
                    if self.attempt(0, name) != 0.0:
                        break
                else:
                    raise AssertionError("it goes in circles")
            self.check()
            if self.kubernetes.writes == before and self.all_finished() and not is_resting:
                break
        else:
            raise AssertionError(f"no calm: {self.statuses()}")
        for name, status in self.statuses().items():
            assert status["callback"]["state"] == "Delivered", name
        for job in self.kubernetes.objects("jobs").values():
            is_idle = not job["metadata"]["labels"][names.TASK_LABEL]
            assert is_idle or "ttlSecondsAfterFinished" in job["spec"], "a Job stays for ever"
        waiting = [pod for pod in self.pods() if not pod.is_over]
        is_there = [pod.is_nobodys and bool(pod.warm) for pod in waiting]
        assert is_there == [True] * SIZE, "not so many wait as should"

    def all_finished(self) -> bool:
        return all("finishedAt" in status for status in self.statuses().values())

    def check(self) -> None:
        self.no_attempt_has_two_jobs()
        self.no_program_runs_beside_another_of_its_task()
        self.no_more_hold_a_place_than_may()
        self.a_pod_that_waited_is_one_attempts()
        self.an_outcome_is_accepted_once()
        self.attempts_are_counted()
        self.events_are_only_added()
        self.callbacks_tell_of_them_under_their_numbers()


Machine.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=50,
    # A failing course is long: to shorten it takes longer than to read it.
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
TestManyTasks = Machine.TestCase
