"""Builders of what the operator sees, and an operator whose loops are the test's own."""

import asyncio
import contextlib
import datetime
import hashlib
import json
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from longtask_adapters import tracing
from longtask_adapters.kube import errors, kinds
from longtask_adapters.kube.connection import Connection
from longtask_adapters.testing import MemoryKubernetes, MemorySender
from longtask_crds import (
    address_guard,
    delivery,
    effective,
    json_values,
    signing_keys,
    v1alpha1,
)
from longtask_crds.names import ObjectKey
from longtask_crds.pipeline import inputs, references
from longtask_crds.testing import NAMESPACE, NOW, TASK_UID, a_queue, a_task, an_attempt
from longtask_operator import election, health, metrics, resync, wiring
from longtask_operator.rules import decisions, outcome, pod_spec, pods, steps
from longtask_operator.tasks import courier

INSTALLATION = effective.Installation(
    "runner:1", v1alpha1.Resources(), {"cpu": "8", "memory": "8Gi"}
)
SURROUNDINGS = pod_spec.Surroundings(
    "http://api.example:8081", "longtask-task", INSTALLATION.runner_image
)
#: The key of `a_task`.
REPORT = ObjectKey(NAMESPACE, "report")
#: Where the callback of a task goes that `Operator.submit` made.
URL = "https://example.com/done"
#: Who signs the callbacks of tasks without an owner.
KEY = signing_keys.new_key()

Raw = dict[str, Any]

#: One for all: making a registry takes longer than making an operator.
_METRICS = metrics.Metrics()


def a_job(**values: Any) -> pods.Job:
    """Return the Job of the first attempt of `a_task`, made now."""
    given: Raw = {
        "namespace": NAMESPACE,
        "name": an_attempt().job_name,
        "checked_at": NOW,
        "uid": "job-1",
        "owner_uid": TASK_UID,
        "created_at": NOW,
    }
    return pods.Job(**(given | values))


def a_pod(**values: Any) -> pods.Pod:
    """Return the pod of `a_job`, made now; its container does not run yet."""
    given: Raw = {
        "name": "report-pod",
        "uid": "pod-1",
        "task": REPORT,
        "job_name": an_attempt().job_name,
        "version": 1,
    }
    return pods.Pod(**(given | {"job_uid": "job-1", "created_at": NOW} | values))


def an_ended_pod(exit_code: int = 0, message: str = "", **values: Any) -> pods.Pod:
    """Return a pod whose program ran for a minute and ended."""
    ended = NOW + datetime.timedelta(minutes=1)
    reason = "Error" if exit_code else "Completed"
    end = pods.End(exit_code, reason, message, ended)
    given: Raw = {"is_over": True, "started_at": NOW, "end": end}
    return a_pod(**(given | values))


def a_world(task: v1alpha1.LongTask | None = None, **values: Any) -> decisions.World:
    """Return the world of a task, by default of a new one whose queue has no place for it."""
    task = task or a_task()
    spec = effective.effective_spec(task.spec, None, INSTALLATION)
    given: Raw = {"task": task, "spec": spec, "queue": spec.queue, "job_name": a_job().name}
    return decisions.World(**(given | values))


def an_admission() -> election.Admission:
    """Return the admission of an operator that holds the lease for ever."""
    admission = election.Admission(clock=lambda: 0.0)
    admission.hold(until=1.0)
    with admission.catching_up():
        pass
    return admission


class MemoryResults:
    """Results that an API in memory keeps."""

    def __init__(self) -> None:
        self.is_away = False
        self.answers = asyncio.Event()  #: until this is set it does not
        self.answers.set()
        self.limit = 32 * 2**20  #: bytes of what is made
        self._kept: dict[str, bytes] = {}  #: by their sums

    def keep(self, content: bytes, **more: Any) -> v1alpha1.Result:
        """Keep a result, and return what a status says of it."""
        sha256 = hashlib.sha256(content).hexdigest()
        self._kept[sha256] = content
        return v1alpha1.Result(ref=v1alpha1.ResultRef(size=len(content), sha256=sha256, **more))

    def forget(self) -> None:
        """Keep none any more."""
        self._kept.clear()

    async def part(self, key: inputs.PartKey) -> inputs.Part:
        """Return a part of one of them."""
        await self.answers.wait()
        if self.is_away:
            raise errors.Unavailable("the API is away")
        if key.sha256 not in self._kept:
            return inputs.Part(flaw="the result is not kept any more")
        reference = references.parse({"$from": f"steps.x#{key.pointer}"})
        assert reference is not None
        try:
            return inputs.Part(references.part(json.loads(self._kept[key.sha256]), reference))
        except references.Missing:
            return inputs.Part(flaw="there is no such part")

    async def make(
        self, task_uid: str, recipe: steps.Recipe
    ) -> v1alpha1.ResultRef | outcome.Outcome:
        """Make one of others."""
        if self.is_away:
            raise errors.Unavailable("the API is away")
        values = [
            part.value if part.ref is None else json.loads(self._kept[part.ref.sha256])
            for part in recipe.parts
        ]
        made = json_values.compact(values if recipe.is_list else values[0]).encode()
        if len(made) > self.limit:
            return outcome.failed(v1alpha1.Reason.RESULT_TOO_LARGE, "it is too large")
        ref = self.keep(made).ref
        assert ref is not None
        return ref

    async def fetch(self, task_uid: str, ref: v1alpha1.ResultRef) -> bytes | None:
        """Return one of them."""
        if self.is_away:
            raise errors.Unavailable("the API is away")
        return self._kept.get(ref.sha256)


def at_once(errand: Coroutine[Any, Any, None]) -> Callable[[], object]:
    """Run what never really waits to its end, in the pass that launches it."""
    with contextlib.suppress(StopIteration):
        errand.send(None)
        raise AssertionError("it waited")
    return lambda: None


class Operator:
    """An operator over a Kubernetes in memory: the test says when it looks and when it hears."""

    def __init__(
        self,
        *answers: delivery.Try,
        kubernetes: MemoryKubernetes | None = None,
        sender: MemorySender | None = None,
        launch: courier.Launch = at_once,
        tracer: tracing.Tracer | None = None,
    ) -> None:
        if kubernetes is None:
            kubernetes = MemoryKubernetes()
            kubernetes.add(a_queue(maxRunning=1))
            keys = {signing_keys.DEFAULT_OWNER: KEY}
            kubernetes.add_secret(signing_keys.KEYS_SECRET, keys, namespace="longtask")
        self.kubernetes = kubernetes
        self.sender = sender or MemorySender(*answers, clock=lambda: self.kubernetes.now)
        self.results = MemoryResults()
        self.woken: list[str] = []
        self.woken_schedules: set[ObjectKey] = set()
        self.woken_types: set[ObjectKey] = set()
        self._launch = launch
        self._tracer = tracer or tracing.NoTracer()
        self.restart()

    def restart(self) -> None:
        """Begin with nothing known."""
        self.metrics = _METRICS
        self.health = health.Health()
        self.hearing = resync.Hearing()
        self.admission = an_admission()
        self.connection = connection = Connection(self.kubernetes, user_agent="test")
        parts = wiring.assemble(
            connection,
            self.sender,
            wake=self._wake,
            wake_schedules=self._wake_schedules,
            wake_types=self.woken_types.update,
            installation=INSTALLATION,
            guard=address_guard.Guard(),
            surroundings=SURROUNDINGS,
            secrets_namespace="longtask",
            schedule=(0, 5),
            kept=self.results,
            public_url="https://api.example",
            may_admit=self.admission.may_admit,
            counted=self.metrics,
            clock=lambda: self.kubernetes.now,
            launch=self._launch,
            tracer=self._tracer,
        )
        self.mirror, self.applier = parts.mirror, parts.applier
        self.callbacks = parts.callbacks
        self.reconciler, self.recorder = parts.reconciler, parts.recorder
        self.verdicts = parts.verdicts
        self.scheduler = parts.schedules
        self.ahead, self.nodes = parts.ahead, parts.nodes
        self.tasks = wiring.watch_tasks(
            connection,
            NAMESPACE,
            self.mirror,
            hearing=self.hearing,
            add=self._add,
        )
        self.schedules = wiring.watch_schedules(
            connection,
            NAMESPACE,
            self.mirror,
            hearing=self.hearing,
            add=lambda key: self._wake_schedules([key]),
        )
        self.pods = wiring.watch_pods(
            connection,
            NAMESPACE,
            parts,
            hearing=self.hearing,
            add=self._add,
            clock=lambda: self.kubernetes.now,
        )
        self.resync = resync.Resync(
            self.mirror,
            connection,
            NAMESPACE,
            state=self.health,
            hearing=self.hearing,
            tasks=self.tasks,
            schedules=self.schedules,
            watched_pods=self.pods,
            admission=self.admission,
            counted=self.metrics,
            add=self._add,
            look_at_schedules=lambda: self._wake_schedules(self.scheduler.to_look_at()),
            clock=lambda: self.kubernetes.now,
            ahead=self.ahead,
        )

    def _wake_schedules(self, schedules: Iterable[ObjectKey]) -> None:
        self.woken_schedules.update(schedules)

    def _wake(self, tasks: Iterable[ObjectKey]) -> None:
        self.woken += [key.name for key in tasks]

    def _add(self, key: ObjectKey) -> None:
        if self.health.resynced_at is not None:
            self._wake([key])

    async def hear(self) -> None:
        """Take over all that there is."""
        await self.resync.absorb()

    async def submit(self, task: v1alpha1.LongTask | None = None) -> None:
        """Store a task, by default one with a callback, and hear of it."""
        self.kubernetes.add(task or a_task(container={"image": "x"}, callback={"url": URL}))
        await self.hear()

    async def look(self, name: str = "report") -> float | None:
        """Pass after pass until the next is due later or never."""
        for _ in range(20):
            again = await self.reconciler.reconcile(ObjectKey(NAMESPACE, name))
            if again != 0.0:
                return again
        raise AssertionError("it goes in circles")

    async def start(self) -> str:
        """Look until there is a Job, let its pod start, and hear of it; return the pod's name."""
        await self.look()
        pod = self.kubernetes.make_pod(self.job)
        self.kubernetes.start_pod(pod)
        await self.hear()
        return pod

    async def run_to_the_end(self, exit_code: int = 0, message: str = "7") -> None:
        """Look until there is a Job, let its program run and end, and look at that."""
        self.kubernetes.end_pod(await self.start(), exit_code, message)
        await self.hear()
        await self.look()

    @property
    def job(self) -> str:
        """Return the name of the only Job."""
        (key,) = self.kubernetes.objects("jobs")
        return key.name

    def status(self, name: str = "report") -> v1alpha1.LongTaskStatus:
        """Return a task's status as it is stored."""
        return kinds.TASKS.read(self.kubernetes.stored(kinds.TASKS.plural, name)).status
