"""Every interleaving of one task's life with faults: crashes, lost answers, deletions and others.

A plain breadth-first search over small universes: the real reconciler and mirror over a cluster in
memory. Each step is checked against the invariants of the reliability page; then, from each state
that was reached, the calm course of things must end as a task without any fault ends.
"""

import copy
import dataclasses
import datetime
import functools
import hashlib
import json
import re
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NamedTuple

from longtask_adapters.kube import cache, errors
from longtask_adapters.kube.cache import Cache, version_of
from longtask_adapters.testing import MemoryKubernetes
from longtask_adapters.testing.store import stamp
from longtask_crds import events, names, signing_keys, v1alpha1
from longtask_crds.testing import NOW, TASK_UID, a_queue, a_task, with_meta
from longtask_operator import mirror, testing
from longtask_operator.rules import decide, pods, status
from longtask_operator.testing import KEY, REPORT
from model_support import CrashError, Found, Sender, Walk

NAME = "report"
#: Time goes in steps of at least this much, and stands still when all that can be due was due: a
#: deaf operator could look for the pod that follows a disrupted one for ever.
STEP = 5.0
TIME = re.compile(r"[0-9-]{10}T[0-9:]{8}Z|datetime.datetime[^)]*[)]")
#: What is made up, or follows from the number of an attempt.
MADE_UP = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|report-[a-z2-7]{10}(-[0-9]+)?")
#: What may befall a program from outside, and why its attempt may then have ended. A disruption
#: costs no attempt. What a Job's deletion ends does, and what had ended well and was not read: only
#: these may change what becomes of a task.
ROBBED = {
    "is disrupted": {"Disrupted"},
    "has its pod deleted": {"Disrupted", "JobLost"},
    "has its Job deleted": {"JobLost"},
}
#: The task made anew under the name of the first one.
SECOND_UID = "2c9e1f3a-0d4b-4f6e-8a7c-5b1d3e9f7a60"
#: All ids that a callback of the first one can have.
OF_FIRST = {
    events.webhook_id(TASK_UID, events.terminal_event(phase), attempt)
    for phase in v1alpha1.Phase
    if phase.is_terminal
    for attempt in range(6)
}


def the_task(attempts: int = 1, *, backoff: int = 5, start: int = 15) -> v1alpha1.LongTask:
    return a_task(
        NAME,
        container={"image": "busybox"},
        retry={"maxAttempts": attempts, "backoffSeconds": backoff},
        timeouts={"startSeconds": start},
        callback={"url": "https://example.com/done"},
    )


def the_pipeline() -> v1alpha1.LongTask:
    """Three steps, the last of which runs whatever becomes of the others."""
    container = {"container": {"image": "busybox"}}
    return a_task(
        NAME,
        steps=[
            {"name": "a", **container},
            {"name": "b", **container, "input": {"$from": "steps.a#"}},
            {"name": "c", **container, "finally": True},
        ],
        callback={"url": "https://example.com/done"},
    )


HORIZON = 60.0
#: What releases a Job.
TTL = "ttlSecondsAfterFinished"
Claims = dict[str, dict[str, Any]]


@dataclasses.dataclass
class Universe:
    """A cluster, what the operator believes of it, and what may still go wrong."""

    cluster: MemoryKubernetes
    faults: int
    seconds: int  #: how long time goes on
    cancelled: bool = False
    is_compared: bool = True  #: whether its end is, for something may go wrong
    excused: int = 0  #: how many callbacks may be repeated: it crashed before they were recorded
    sent: tuple[str, ...] = ()
    #: By Job, in order: what befell its program while the attempt was open, or else after that.
    plot: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    unwritten: dict[str, status.Delivered] = dataclasses.field(default_factory=dict)
    claims: Claims = dataclasses.field(default_factory=dict)  #: that this process made or read
    is_in_doubt: bool = False  #: whether it wrote a claim of which no answer came
    writes_in_a_look: int = 0  #: how many writes and callbacks the next pass makes
    wait_after_a_look: float | None = None  #: how long the operator waits after that

    believed: mirror.Mirror | None = None  #: by the operator of the universe that this one was
    #: The version, and when: all that the operator knows is what the lists said then.
    heard_at: tuple[int, datetime.datetime] | None = None

    @functools.cached_property
    def operator(self) -> testing.Operator:
        """The operator, made when something is asked of it: most forks end before."""
        operator = quick(testing.Operator(kubernetes=self.cluster, sender=Sender(self.cluster)))
        if self.believed is not None:
            copy_mirror(self.believed, operator.mirror)
            self.believed = None
        self.heard_at = None
        operator.applier._claims = copied(self.claims)
        if self.is_in_doubt:
            operator.reconciler._in_doubt.add(REPORT)
            operator.mirror.index.reserve(REPORT)
        return operator

    @classmethod
    def begin(
        cls, task: v1alpha1.LongTask, *, faults: int, cancels: bool, seconds: int
    ) -> "Universe":
        cluster = MemoryKubernetes()
        cluster.add(a_queue(maxRunning=1))
        cluster.add_secret(signing_keys.KEYS_SECRET, {"default": KEY}, namespace="longtask")
        cluster.add(task)
        universe = cls(cluster, faults, seconds, cancelled=not cancels, is_compared=faults > 0)
        universe.resync()
        return universe

    def fork(self) -> "Universe":
        """Return a copy that goes its own way; nobody acts in this one any more."""
        cluster = self.cluster.fork()
        cluster.requests.clear()
        cluster.compact()
        other = copy.copy(self)
        other.__dict__.pop("operator", None)
        other.cluster = cluster
        other.believed = self.known
        other.claims, other.is_in_doubt = copied(self.known_claims), self.has_doubts
        other.plot = dict(self.plot)
        return other

    def note(self, job: str, what: str) -> None:
        """Take note of what befell the program of an attempt."""
        attempt = attempts_in(self.status).get(job, {})
        is_over = self.is_finished or "finishedAt" in attempt
        told = f"later {what}" if is_over else what
        self.plot[job] = (*self.plot.get(job, ()), told)

    def end_of(self, job: str) -> int | None:
        """Return the exit code of an attempt's program, which it really had."""
        words = [word.rpartition(" ") for word in self.plot.get(job, ())]
        return next((int(code) for what, _, code in words if what.endswith("ends with")), None)

    @property
    def known(self) -> mirror.Mirror:
        """What the operator knows."""
        return self.believed or self.operator.mirror

    @property
    def known_claims(self) -> Claims:
        """What the operator knows of claims."""
        return self.claims if self.believed else self.operator.applier._claims

    @property
    def has_doubts(self) -> bool:
        """Whether it does not know what became of a claim."""
        return self.is_in_doubt if self.believed else bool(self.operator.reconciler._in_doubt)

    # --- what the operator does

    def restart(self) -> None:
        """Begin with nothing but what the lists say."""
        entry = self.status.get("callback")
        self.excused += bool(self.sent) and entry["state"] == "Pending"
        self.unwritten = {}
        self.operator.restart()
        quick(self.operator)
        self.resync()

    def resync(self) -> None:
        run(self.operator.hear())
        self.heard_at = (self.cluster.version, self.cluster.now)

    @property
    def has_heard(self) -> bool:
        """Whether the operator has done nothing since it listed all that there is."""
        return self.heard_at == (self.cluster.version, self.cluster.now)

    def look(self) -> None:
        """One pass, as the work queue starts it."""
        sender, callbacks = self.operator.sender, self.operator.callbacks
        callbacks._unwritten = dict(self.unwritten)
        sender.sent.clear()
        try:
            self.wait_after_a_look = run(self.operator.reconciler.reconcile(REPORT))
        except (errors.NotFound, errors.Unavailable):
            # The work queue has it tried again. What it stops may be gone and not heard of.
            self.wait_after_a_look = 0.0
        finally:
            ids = [sent.webhook_id for sent in sender.sent]
            # A deaf operator may still call back for a task that was deleted just now.
            self.sent += tuple(i for i in ids if self.uid == TASK_UID or i not in OF_FIRST)
            self.unwritten = dict(callbacks._unwritten)

    # --- what is the case

    @property
    def effects(self) -> int:
        """How many writes and callbacks there were."""
        return self.cluster.writes + len(self.sent)

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.task["status"]
        return status

    @property
    def is_finished(self) -> bool:
        return "finishedAt" in self.status

    @property
    def leaves_a_job(self) -> bool:
        """Whether the operator leaves a Job to whoever claimed its attempt, but for a while."""
        made = {job["metadata"]["name"] for job in self.jobs()}
        known = self.known_claims.get(self.uid, {}).keys() | made
        return any(
            self.cluster.now
            < datetime.datetime.fromisoformat(claim["claimedAt"]) + decide.LEFT_TO_ITS_CLAIMER
            for name, claim in attempts_in(self.status).items()
            if "finishedAt" not in claim and name not in known
        )

    @property
    def misses_a_pod(self) -> bool:
        """Whether the operator waits for the pod of a program that said how it ends, in vain."""
        there = {job_of(pod) for pod in self.all_pods()}
        made = {j["metadata"]["name"] for j in self.jobs() if TTL not in j["spec"]}
        ended = attempts_in(self.status).items()
        return any(name in made - there for name, one in ended if "reportedAt" in one)

    @property
    def uid(self) -> str:
        """Which incarnation of the name this is."""
        uid: str = self.task["metadata"]["uid"]
        return uid

    @property
    def task(self) -> dict[str, Any]:
        return self.cluster.stored(names.LONGTASKS, REPORT)

    def all_pods(self) -> list[pods.Pod]:
        """The pods of the task that has the name now, the newest one last."""
        jobs = jobs_of(self.uid)
        found = map(parsed, self.cluster.objects("pods").values())
        return [pod for pod in found if job_of(pod) in jobs]

    def pod(self) -> pods.Pod | None:
        """The newest one."""
        return next(reversed(self.all_pods()), None)

    def jobs(self) -> list[dict[str, Any]]:
        """The Jobs of the task that has the name now."""
        jobs = self.cluster.objects("jobs").values()
        return [j for j in jobs if pods.controller_uid(j["metadata"]) == self.uid]

    def fingerprint(self) -> bytes:
        """Return the sum of everything that decides what can come, and of nothing else."""
        cluster, believed = self.cluster, self.known
        kinds = (names.LONGTASKS, "jobs", "pods")
        stored = [without_versions(list(cluster.objects(kind).values())) for kind in kinds]
        task, meta = believed.tasks.get(REPORT), self.task["metadata"]
        assert task is not None
        is_current = version_of(task) == int(meta["resourceVersion"])
        is_same = task.metadata.uid == meta["uid"]
        known = [dataclasses.replace(p, version=0) for p in believed._pods.get(REPORT, {}).values()]
        # One that is current is what is stored.
        status = "" if is_current else task.status.model_dump_json()
        beliefs = (meta["uid"], is_current, is_same, status, task.spec.cancel, known)
        claims = [
            (name, claim.is_fresh(cluster.now))
            for of_task in self.known_claims.values()
            for name, claim in sorted(of_task.items())
        ]
        repeated = len(self.sent) - self.excused
        mine = (set(self.sent), repeated, self.faults, self.cancelled, claims, self.has_doubts)
        plot = sorted(self.plot.items()) if self.is_compared else ()
        mine = (*mine, plot, sorted(cluster.created_jobs))
        rest = (believed._jobs, cluster.now, [d.entry.tries for d in self.unwritten.values()], mine)
        text = json.dumps(stored) + repr(beliefs) + repr(rest)
        # What has ended mostly waits for nothing, so it does not matter when that was.
        text = TIME.sub("", text) if self.is_finished and not self.misses_a_pod else text
        return hashlib.blake2b(text.encode(), digest_size=12).digest()


@functools.cache
def jobs_of(uid: str) -> frozenset[str]:
    """Return the names that the Jobs of a task may have."""
    steps = ("", *(step.name for step in the_pipeline().spec.steps or ()))
    return frozenset(
        names.job_name(NAME, uid, attempt=attempt, step=step)
        for step in steps
        for attempt in range(1, 9)
    )


def job_of(pod: pods.Pod) -> str:
    """Return the name of the Job that made a pod, which may be gone."""
    return pod.name.rpartition("-")[0]


def attempts_in(status: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the attempts that a stored status tells of, a pipeline's too, by their Jobs."""
    found = [*status.get("attempts", ()), *status.get("steps", ())]
    return {attempt["jobName"]: attempt for attempt in found if "jobName" in attempt}


def reports_in(status: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what programs said of their ends, by their Jobs, as far as nobody took it yet."""
    of_task = [(status["attempts"][-1], status)] if status.get("attempts") else []
    of_steps = [(step, step) for step in status.get("steps", ())]
    return {at["jobName"]: one["report"] for at, one in of_task + of_steps if "report" in one}


#: By the place of what is stored, which is never changed: it, and what it says.
_parsed: dict[int, tuple[dict[str, Any], pods.Pod]] = {}


def parsed(raw: dict[str, Any]) -> pods.Pod:
    """Return what a stored pod says; most are asked for many times."""
    if len(_parsed) > 10_000:
        _parsed.clear()
    known, pod = _parsed.get(id(raw)) or (None, None)
    if known is not raw or pod is None:
        pod = pods.Pod.parse(raw)
        _parsed[id(raw)] = raw, pod
    return pod


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run what never really waits, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waited")


def quick(operator: testing.Operator) -> testing.Operator:
    """Return it; it keeps no task as text: there is one, and it is read very often."""
    operator.mirror.tasks._packs = cache.never
    return operator


def copied(claims: Claims) -> Claims:
    return {uid: dict(of_task) for uid, of_task in claims.items()}


def copy_mirror(old: mirror.Mirror, new: mirror.Mirror) -> None:
    """Let a new operator believe what another does."""
    for known, into in ((old.queues, new.queues), (old.tasks, new.tasks)):
        copy_cache(known, into)  # type: ignore[arg-type]
    for pods_of in old._pods.values():
        for pod in pods_of.values():
            new.put_pod(pod)
    for job in old._jobs.values():
        new.put_job(job)


def copy_cache(old: Cache[v1alpha1.Resource], new: Cache[v1alpha1.Resource]) -> None:
    for resource in old.values():
        new.put(resource)


def without_versions(kind: list[dict[str, Any]]) -> list[Any]:
    wishes = ("activeDeadlineSeconds", TTL, "cancel")
    return [
        [
            raw["metadata"]["name"],
            raw.get("status"),
            raw["metadata"]["uid"],
            [raw["spec"].get(w) for w in wishes],
            "deletionTimestamp" in raw["metadata"],
            [owner["uid"] for owner in raw["metadata"].get("ownerReferences", ())],
        ]
        for raw in kind
    ]


# --- what can happen: each changes a universe, or says that it cannot be ---

Action = Callable[[Universe], bool]


def looks(universe: Universe) -> bool:
    universe.look()
    return True


def hears_of_the_pods(universe: Universe) -> bool:
    found = [parsed(raw) for raw in universe.cluster.objects("pods").values()]
    known = universe.known._pods.get(REPORT, {}).values()
    if {(pod.uid, pod.version) for pod in known} == {(pod.uid, pod.version) for pod in found}:
        return False
    universe.operator.mirror.absorb_pods_of(REPORT, found, universe.cluster.version)
    return True


def resyncs(universe: Universe) -> bool:
    if universe.has_heard:
        return False
    universe.resync()
    return True


def hears_of_the_task(universe: Universe) -> bool:
    """And of nothing else: its watch is ahead of that of the pods."""
    meta, known = universe.task["metadata"], universe.known.tasks.get(REPORT)
    if known is not None and known.metadata.resource_version == meta["resourceVersion"]:
        return False
    task = v1alpha1.LongTask.model_validate(universe.task)
    return universe.operator.mirror.tasks.put(task)


def time_passes(universe: Universe) -> bool:
    """Up to the moment that the operator waits for, if it waits for one.

    For a Job that is left to whoever claimed the attempt, or a pod that somebody deleted, whatever
    the search says of time.
    """
    is_over = universe.cluster.now >= NOW + datetime.timedelta(seconds=universe.seconds)
    if is_over and not universe.leaves_a_job and not universe.misses_a_pod:
        return False
    # For what it waits longer than this, a node that is lost, never happens here.
    if not universe.wait_after_a_look or universe.wait_after_a_look > HORIZON:
        return False
    universe.cluster.now += datetime.timedelta(seconds=max(STEP, universe.wait_after_a_look))
    return True


def pod_is_made(universe: Universe) -> bool:
    made = {pod.job_name for pod in universe.all_pods()}
    for job in universe.jobs():
        name = job["metadata"]["name"]
        if name not in made and not job.get("status"):
            universe.cluster.make_pod(name)
            return True
    return False


def pod_starts(universe: Universe) -> bool:
    pod = universe.pod()
    if pod is None or pod.started_at is not None:
        return False
    universe.cluster.start_pod(pod.name)
    universe.note(job_of(pod), "starts")
    return True


def pod_ends_well(universe: Universe) -> bool:
    return pod_ends(universe, 0)


def pod_fails(universe: Universe) -> bool:
    return pod_ends(universe, 1)


def pod_is_disrupted(universe: Universe) -> bool:
    living = (pod for pod in universe.all_pods() if pod.started_at and not pod.is_over)
    if (pod := next(living, None)) is None:
        return False
    universe.note(job_of(pod), "is disrupted")
    return pod_ends(universe, 143, disrupted=True)


def pod_ends(universe: Universe, exit_code: int, *, disrupted: bool = False) -> bool:
    # Of a pipeline the one before may still be about to, which said how it ends.
    living = (pod for pod in universe.all_pods() if pod.started_at and not pod.is_over)
    if (pod := next(living, None)) is None:
        return False
    universe.note(job_of(pod), f"ends with {exit_code}")
    universe.cluster.end_pod(pod.name, exit_code, "7" if not exit_code else "", disrupted=disrupted)
    return True


def program_says_it_succeeds(universe: Universe) -> bool:
    return program_says(universe, 0, result={"value": 7})


def program_says_it_fails(universe: Universe) -> bool:
    return program_says(universe, 1, message="in its own words")


def program_says(universe: Universe, exit_code: int, **said: Any) -> bool:
    """Just before it ends, which it does all the same, or otherwise."""
    pod = universe.pod()
    if pod is None or pod.started_at is None or pod.is_over:
        return False
    if not universe.cluster.report_outcome(pod.name, exit_code, **said):
        return False
    universe.note(job_of(pod), f"says {exit_code}")
    return True


def somebody_deletes_the_pod(universe: Universe) -> bool:
    """By `kubectl delete pod`: its program is asked to end, if it runs."""
    pod = universe.pod()
    if pod is None or pod.is_deleting or is_told(universe, pod):
        return False
    universe.note(job_of(pod), "has its pod deleted")
    let_go(universe, pod)
    return True


def somebody_deletes_the_pod_by_force(universe: Universe) -> bool:
    """So that nobody waits for the end of its program, nor hears of it."""
    pod = universe.pod()
    if pod is None or pod.started_at is None or pod.is_over:
        return False
    universe.note(job_of(pod), "has its pod deleted")
    remove(universe, pod)
    return True


def somebody_deletes_the_job(universe: Universe) -> bool:
    """By `kubectl delete job`: its pod goes as above."""
    job = job_to_delete(universe)
    if job is None:
        return False
    universe.note(job, "has its Job deleted")
    universe.cluster.take_out("jobs", job)
    for pod in universe.all_pods():
        if job_of(pod) == job:
            let_go(universe, pod)
    return True


def somebody_deletes_the_job_alone(universe: Universe) -> bool:
    """By `kubectl delete job --cascade=orphan`: its program goes on."""
    job, pod = job_to_delete(universe), universe.pod()
    if job is None or pod is None or pod.is_over or job_of(pod) != job:
        return False
    universe.cluster.remove("jobs", job, orphans=True)
    return True


def job_to_delete(universe: Universe) -> str | None:
    """Return the name of the open attempt's Job, once the status has its uid.

    Before that it is a hole that is known: such an attempt has its Job made again.
    """
    made = {job["metadata"]["name"]: job["metadata"]["uid"] for job in universe.jobs()}
    for name, attempt in attempts_in(universe.status).items():
        if name in made and attempt.get("jobUid") == made[name] and "finishedAt" not in attempt:
            return name
    return None


def is_told(universe: Universe, pod: pods.Pod) -> bool:
    """Whether a pod is over, and what became of it was read."""
    return pod.is_over and "finishedAt" in attempts_in(universe.status).get(job_of(pod), {})


def let_go(universe: Universe, pod: pods.Pod) -> None:
    """Delete a pod as Kubernetes does: what runs is asked to end, and goes when it has ended."""
    if pod.started_at and not pod.is_over:
        since = stamp(universe.cluster.now)
        universe.cluster.put("pods", pod.name, metadata={"deletionTimestamp": since})
    else:
        remove(universe, pod)


def remove(universe: Universe, pod: pods.Pod) -> None:
    """Remove a pod; its Job has failed, if it had not ended."""
    universe.cluster.remove_pod(pod.name)
    for job in universe.jobs():
        if job["metadata"]["name"] == job_of(pod) and not pod.is_over:
            failed = {"conditions": [{"type": "Failed", "status": "True"}]}
            universe.cluster.put("jobs", job["metadata"]["name"], status=failed)


def somebody_cancels(universe: Universe) -> bool:
    if universe.cancelled:
        return False
    universe.cancelled = True
    universe.note(next(reversed(attempts_in(universe.status)), ""), "is cancelled")
    universe.cluster.cancel(NAME)
    return True


def runner_reports(universe: Universe) -> bool:
    """Another write in between: the operator's next one is stale."""
    if universe.is_finished:
        return False
    universe.cluster.report_progress(NAME, 40)
    return True


def somebody_makes_it_anew(universe: Universe) -> bool:
    """Another task under the name of one that was just deleted; what that owned is still there."""
    is_first = universe.uid == TASK_UID
    # Without a Job nothing is left of the first, and the second is like it.
    if not is_first or not universe.jobs():
        return False
    universe.cluster.remove_task_alone(NAME)
    universe.cluster.add(with_meta(the_task(), uid=SECOND_UID))
    universe.sent = ()
    universe.plot = {}
    return True


def garbage_is_collected(universe: Universe) -> bool:
    """And what was deleted is gone once it has ended; of another task, at once."""
    found = universe.cluster.collect_garbage()
    own = jobs_of(universe.uid)
    for pod in map(parsed, list(universe.cluster.objects("pods").values())):
        if pod.is_deleting and (pod.is_over or job_of(pod) not in own):
            universe.cluster.remove_pod(pod.name)
            found = True
    return found


@dataclasses.dataclass(frozen=True)
class Interrupted:
    """A pass that is broken off at its nth write."""

    nth: int
    moment: str
    error: BaseException

    def __call__(self, universe: Universe) -> bool:
        moments: Counter[str] = Counter()

        def interrupt(write: str, at: str) -> None:
            moments[at] += 1
            # A sender has no errors of its own: what comes of a try is its answer.
            possible = write != "send" or isinstance(self.error, CrashError)
            if at == self.moment and moments[at] == self.nth and possible:
                raise self.error

        universe.cluster.interrupt = interrupt
        try:
            universe.look()
        except CrashError:
            universe.restart()
        finally:
            universe.cluster.interrupt = lambda _write, _moment: None
        return True


CALM: dict[str, Action] = {
    "the operator looks": looks,
    "it hears of the pods": hears_of_the_pods,
    "it resyncs": resyncs,
    "the pod is made": pod_is_made,
    "the pod starts": pod_starts,
    "the pod ends well": pod_ends_well,
    "time passes": time_passes,
    "garbage is collected": garbage_is_collected,
}
#: Each costs a fault. A crash before a second write is one after the first.
FAULTS: dict[str, Action] = {
    "the pod is disrupted": pod_is_disrupted,
    "it hears of the task alone": hears_of_the_task,
    "the runner reports": runner_reports,
    "somebody makes it anew": somebody_makes_it_anew,
    "somebody deletes the pod": somebody_deletes_the_pod,
    "somebody deletes the pod by force": somebody_deletes_the_pod_by_force,
    "somebody deletes the Job": somebody_deletes_the_job,
    "somebody deletes the Job alone": somebody_deletes_the_job_alone,
    **{
        f"{what} write {nth}": Interrupted(nth, moment, error)
        for nth in (1, 2)
        for what, moment, error in (
            ("crash after", "after", CrashError()),
            ("answer lost", "after", errors.Unavailable("the answer was lost")),
            ("refused", "before", errors.Unavailable("not now")),
        )
    },
    "crash before write 1": Interrupted(1, "before", CrashError()),
}
ALL: dict[str, Action] = (
    CALM
    | {
        "the program says that it succeeds": program_says_it_succeeds,
        "the program says that it fails": program_says_it_fails,
        "the pod fails": pod_fails,
        "somebody cancels": somebody_cancels,
    }
    | FAULTS
)


def without(actions: dict[str, Action], *beginnings: str) -> dict[str, Action]:
    return {name: a for name, a in actions.items() if not name.startswith(beginnings)}


#: Programs that say nothing of their ends: there are many more courses of those that do.
UNSAID = without(ALL, "the program says")
#: What is searched of pipelines: what only one program can meet is left out.
OF_PIPELINES = without(
    ALL,
    "it hears of the task alone",
    "the pod is disrupted",
    "the runner reports",
    "somebody makes it anew",
    "somebody deletes",
)


# --- what must hold ---


def check_edge(before: Universe, after: Universe) -> None:
    """Check what no single step may do."""
    created = Counter(after.cluster.created_jobs)
    assert all(count == 1 for count in created.values()), "a second Job of one attempt"
    assert len(set(after.sent)) <= 1, "two ids of one event"
    assert len(after.sent) <= 1 + after.excused, "sent again though it was known to be sent"
    if before.uid != after.uid:
        return
    assert before.status.get("attempt", 0) <= after.status.get("attempt", 0)
    most = after.task["spec"].get("retry", {}).get("maxAttempts", 1)
    check_attempts(before.status, after.status, most)
    check_steps(before.status.get("steps", []), after.status.get("steps", []))
    # Of a step that never started the Job is deleted before another one begins, and one that said
    # how it ends is about to.
    leaving = {step.get("podUid") for step in after.status.get("steps", ()) if is_said(step)}
    living = [
        pod
        for pod in after.all_pods()
        if not pod.is_over
        and (pod.started_at or not is_being_deleted(after, pod))
        and pod.uid not in leaving
    ]
    assert len(living) <= 1, "a second program while the first one may run"
    if before.is_finished:
        assert frozen(before.status) == frozen(after.status), "a finished task changed"
    else:
        check_ends(before, after)


def is_said(step: dict[str, Any]) -> bool:
    """Tell whether a step is over since its program said so."""
    return "reportedAt" in step and step["phase"] in ("Succeeded", "Failed", "Cancelled")


def is_being_deleted(universe: Universe, pod: pods.Pod) -> bool:
    """Tell whether it goes as soon as garbage is collected."""
    return all(job["metadata"]["name"] != pod.job_name for job in universe.jobs())


def check_attempts(before: dict[str, Any], after: dict[str, Any], most: int) -> None:
    """Check that no more are made than may be, and that none gets a second outcome."""
    free = after.get("disruptions", 0)
    assert before.get("disruptions", 0) <= free <= 3
    assert after.get("attempt", 0) <= most + free, "one attempt too many"
    later = attempts_in(after)
    for name, attempt in attempts_in(before).items():
        if "finishedAt" in attempt and name in later:
            assert later[name] == attempt, "a second outcome of an attempt"


def check_steps(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    """Check that the steps come in their order, and none of them twice."""
    over = {step["name"] for step in after if step["phase"] in ("Succeeded", "Failed", "Cancelled")}
    begun = [step["name"] for step in after if step.get("attempt")]
    assert all(
        step["attempt"] <= 1 + step.get("disruptions", 0) for step in after if step["name"] in begun
    )
    assert "b" not in begun or "a" in over, "a step began before the one that it needs"
    assert {step["name"] for step in before if step.get("attempt")} <= set(begun)
    if "c" in begun:
        assert all(step["phase"] not in ("Starting", "Running", "Pending") for step in after[:2])


def check_ends(before: Universe, after: Universe) -> None:
    """Check the outcome of an attempt, as it is accepted, against what really happened."""
    known = attempts_in(before.status)
    for name, attempt in attempts_in(after.status).items():
        if "finishedAt" in attempt and "finishedAt" not in known.get(name, {}):
            check_end(attempt, before)
            is_whole = name not in {s.get("jobName") for s in after.status.get("steps", ())}
            if is_whole and after.is_finished and attempt.get("exitCode") is not None:
                assert (after.status["phase"] == "Succeeded") == (attempt["exitCode"] == 0)


def check_end(attempt: dict[str, Any], before: Universe) -> None:
    exit_code = attempt.get("exitCode")
    if "reportedAt" in attempt:
        said = reports_in(before.status)[attempt["jobName"]]
        assert (exit_code, attempt["podUid"]) == (said["exitCode"], said["podUid"])
        assert attempt["reportedAt"] == said["reportedAt"]
        return
    there = [pod for pod in before.all_pods() if job_of(pod) == attempt["jobName"]]
    running = [pod for pod in there if pod.started_at and not pod.is_over]
    assert not running, "an outcome while the program runs"
    # What was not heard before its pod went nobody knows.
    is_unheard = exit_code is None and not there
    assert is_unheard or exit_code == before.end_of(attempt["jobName"]), "not what the program said"


def frozen(status: dict[str, Any]) -> dict[str, Any]:
    kept = [c for c in status["conditions"] if c["type"] != "CallbackDelivered"]
    free = dict.fromkeys(("callback", "observedGeneration", "contradictions"))
    return status | {"conditions": kept} | free


def what_is_missing(universe: Universe) -> str | None:
    """Return why this is no good end, or None."""
    status = universe.status
    if not universe.is_finished:
        return "not finished"
    if any(step["phase"] == "Pending" for step in status.get("steps", ())):
        return "a step was forgotten"
    if not all(step.get("attempt") for step in status.get("steps", ())[2:]):
        return "what always runs did not"
    if status["callback"]["state"] != "Delivered":
        return "callback not delivered"
    if set(universe.sent) != {status["callback"]["id"]}:
        return "another id was sent"
    if status["observedGeneration"] != universe.task["metadata"]["generation"]:
        return "a change of the spec was not observed"
    seen, all_of_them = contradictions_of(universe)
    if not seen <= len(status.get("contradictions", ())) <= all_of_them:
        return "it is not told that a program ended otherwise than it had said"
    if any(TTL not in job["spec"] for job in universe.jobs()):
        return "a Job stays for ever"
    if any(not parsed(raw).is_over for raw in universe.cluster.objects("pods").values()):
        return "a program still runs"
    return None


def contradictions_of(universe: Universe) -> tuple[int, int]:
    """Return how many programs said how they end, and ended otherwise: those that are there, all.

    Of a pod that somebody deleted the end may have been heard or not.
    """
    there = {job_of(pod) for pod in universe.all_pods()}
    found = [
        name
        for name, attempt in attempts_in(universe.status).items()
        if "reportedAt" in attempt and universe.end_of(name) not in (None, attempt["exitCode"])
    ]
    return sum(name in there for name in found), len(found)


# --- what a task comes to ---


class Ending(NamedTuple):
    """How a task ended, what is made up and times aside, and by what its programs did themselves.

    What was done to them from outside is left out, and so are the attempts that it ended for
    nothing: a task that is left alone and whose programs do the same comes to the rest.
    """

    plot: tuple[tuple[str, ...], ...]  #: of what was before the first attempt, then of each
    status: str


def ending_of(universe: Universe) -> Ending | None:
    """Return how a task ended, if nothing was done to it that makes a difference to that.

    Raises:
        AssertionError: It ended as nothing that was done to it explains.
    """
    status, attempts = universe.status, attempts_in(universe.status)
    robbed = {name for name, attempt in attempts.items() if attempt.get("reason") in LOST}
    free = {name for name in robbed if attempts[name]["reason"] == "Disrupted"}
    for name in robbed:
        words = universe.plot.get(name, ())
        may_be = {reason for word in words for reason in ROBBED.get(word, ())}
        assert attempts[name]["reason"] in may_be, "nobody took its pod or its Job away"
        is_unread = universe.end_of(name) == 0
        assert name in free or "has its Job deleted" in words or is_unread, "it cost an attempt"
    assert len(free) == status.get("disruptions", 0), "not all that is free is counted as that"
    last = next(reversed(attempts), "")
    befell = ROBBED.keys() & universe.plot.get(last, ())
    if status["phase"] == "Cancelled" and befell:
        return None  # whatever ended it first
    if robbed - free:
        most = universe.task["spec"].get("retry", {}).get("maxAttempts", 1)
        was_last = len(attempts) - len(free) == most or universe.task["spec"].get("cancel")
        assert status["phase"] == "Succeeded" or was_last, "another attempt was due"
        reasons = {c["reason"] for c in status["conditions"] if c["type"] in ENDS}
        assert reasons == {attempts[last]["reason"]}, "it does not say of what it failed"
        return None
    kept = {name: attempt for name, attempt in attempts.items() if name not in free}
    plot = tuple(
        tuple(
            word
            for word in universe.plot.get(name, ())
            if word not in ROBBED
            and not word.startswith("later ")
            # Who has said how it ends may end as it will.
            and not ("reportedAt" in kept.get(name, {}) and word.startswith("ends with"))
        )
        for name in ("", *kept)
    )
    return Ending(plot, told_of(status, list(kept.values())))


#: The reasons of an end that a program has no part in.
LOST = ("Disrupted", "JobLost")
#: The conditions that say how it ended.
ENDS = ("Finished", "Succeeded")
#: What a status says that differs with the faults, or with the moment, and is checked elsewhere.
UNLIKE = (
    *("attempt", "disruptions", "progress", "observedGeneration", "contradictions"),
    *("attempts", "callback", "startedAt"),
)


def told_of(status: dict[str, Any], attempts: list[dict[str, Any]]) -> str:
    """Return what a status says of an end, with these attempts."""
    told = {key: value for key, value in status.items() if key not in UNLIKE}
    told["callback"] = [status["callback"][key] for key in ("event", "state")]
    if not told.get("steps"):
        # Where it ran, and by which Job, nobody knows of a program whose pod was deleted.
        unknown = ("number", "node", "jobUid")
        told["attempts"] = [{k: v for k, v in one.items() if k not in unknown} for one in attempts]
    return MADE_UP.sub("", TIME.sub("", json.dumps(told, sort_keys=True)))


@dataclasses.dataclass(slots=True)
class Node:
    """A state that was reached: how, and what the calm course of things leads to."""

    came_by: tuple[bytes, str] | None  #: the state before, and the action
    missing: str | None
    calm: bytes | None = None  #: the next state in the calm course; None where nothing changes
    ending: Ending | None = None  #: where nothing changes any more
    is_untouched: bool = False  #: nothing went wrong on the way there


class Search(Walk):
    """States that were reached, breadth first, each step checked.

    Args:
        first: Where it begins.
        actions: What can happen.
    """

    def __init__(self, first: Universe, actions: dict[str, Action]) -> None:
        self._actions = actions
        self._faults = first.faults
        self._frontier = deque([(first.fingerprint(), first)])
        self.nodes: dict[bytes, Node] = {self._frontier[0][0]: Node(None, what_is_missing(first))}
        self.steps = 0

    def explore(self) -> None:
        """Go on until there is nothing new."""
        while self._frontier:
            at, universe = self._frontier.popleft()
            self._expand(at, universe)

    def finish(self) -> None:
        """Follow the calm course of each state that was reached, to its good end."""
        ends: dict[bytes, bytes] = {}
        for at in self.nodes:
            end = self._calm_end(at, ends)
            missing = self.nodes[end].missing
            assert missing is None, f"{missing} after: {self.story(end)}"
        self._compare(set(ends.values()))

    def _compare(self, ends: Iterable[bytes]) -> None:
        """Check that a task comes to what it would have come to without the faults."""
        usual: dict[tuple[tuple[str, ...], ...], set[str]] = defaultdict(set)
        found = [(at, node, node.ending) for at in ends if (node := self.nodes[at]).ending]
        for _, node, ending in found:
            if node.is_untouched:
                usual[ending.plot].add(ending.status)
        for at, _, ending in found:
            is_usual = ending.status in usual[ending.plot]
            assert is_usual, f"{ending} is none of {usual[ending.plot]} after: {self.story(at)}"

    def _expand(self, at: bytes, universe: Universe) -> None:
        node = self.nodes[at]
        for name, action in self._actions.items():
            if name in FAULTS and not universe.faults:
                continue
            if isinstance(action, Interrupted) and universe.writes_in_a_look < action.nth:
                continue
            after = universe.fork()
            try:
                if not action(after):
                    continue
                after.faults -= name in FAULTS
                check_edge(universe, after)
            except (AssertionError, errors.Rejected, ValueError) as error:
                raise AssertionError(f"{error} after: {self.story(at, name)}") from error
            if action is looks:
                # The other actions interrupt this pass, or let the time pass that it waits for.
                universe.writes_in_a_look = after.effects - universe.effects
                assert universe.writes_in_a_look <= 2, "a third write, which nothing interrupts"
                universe.wait_after_a_look = after.wait_after_a_look
            self.steps += 1
            to = after.fingerprint()
            if node.calm is None and to != at and name in CALM:
                node.calm = to
            if to not in self.nodes:
                self.nodes[to] = Node((at, name), what_is_missing(after))
                self._frontier.append((to, after))
        if node.calm is None and node.missing is None:
            node.is_untouched = universe.faults == self._faults
            try:
                node.ending = ending_of(universe)
            except AssertionError as error:
                raise AssertionError(f"{error} after: {self.story(at)}") from error


class Searched(NamedTuple):
    """What is searched."""

    name: str
    faults: int
    seconds: int = 0  #: how long time goes on
    cancels: bool = False
    attempts: int = 1
    backoff: int = 5
    #: In seconds. After a crash a Job may be left alone for longer than a start takes elsewhere.
    start: int = 15
    reports: bool = False  #: whether programs say how they end
    without: tuple[str, ...] = ()  #: how the names begin of what does not happen

    def run(self) -> Found:
        """Search to the end, and tell what was found."""
        begun = time.process_time()
        first = Universe.begin(
            the_task(self.attempts, backoff=self.backoff, start=self.start),
            faults=self.faults,
            cancels=self.cancels,
            seconds=self.seconds,
        )
        search = Search(first, without(ALL if self.reports else UNSAID, *self.without))
        search.explore()
        search.finish()
        took = time.process_time() - begun
        return Found(self.name, len(search.nodes), 0, search.steps, took)
