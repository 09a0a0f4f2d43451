"""Every interleaving of one task's life with crashes, lost answers, conflicts and late watches.

Larger searches than those below are run by hand when the core changes: one fault and a cancel
(82,693 states, eight minutes beside other work), or two faults.

A plain breadth-first search over small universes: the real reconciler and mirror over a cluster in
memory. Each edge is checked against the invariants of the reliability page; then, from each state
that was reached, the calm course of things must end where a task without any fault ends.
"""

import copy
import dataclasses
import datetime
import functools
import hashlib
import json
import re
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from typing import Any

from longtask_adapters.kube import cache, errors
from longtask_adapters.kube.cache import Cache, version_of
from longtask_adapters.testing import MemoryKubernetes
from longtask_crds import events, names, signing_keys, v1alpha1
from longtask_crds.testing import NOW, TASK_UID, a_queue, a_task, with_meta
from longtask_operator import mirror, testing
from longtask_operator.rules import decide, pods, status
from longtask_operator.testing import KEY, REPORT
from model_support import CrashError, Sender

NAME = "report"
#: Time goes in steps of at least this much, and stands still when all that can be due was due: a
#: deaf operator could look for the pod that follows a disrupted one for ever.
STEP = 5.0
TIME = re.compile(r"[0-9-]{10}T[0-9:]{8}Z|datetime.datetime[^)]*[)]")
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
Claims = dict[str, dict[str, Any]]


@dataclasses.dataclass
class Universe:
    """A cluster, what the operator believes of it, and what may still go wrong."""

    cluster: MemoryKubernetes
    faults: int
    seconds: int  #: how long time goes on
    cancelled: bool = False
    excused: int = 0  #: how many callbacks may be repeated: it crashed before they were recorded
    sent: tuple[str, ...] = ()
    unwritten: dict[str, status.Delivered] = dataclasses.field(default_factory=dict)
    claims: Claims = dataclasses.field(default_factory=dict)  #: that this process made or read
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
        return operator

    @classmethod
    def begin(
        cls, task: v1alpha1.LongTask, *, faults: int, cancels: bool, seconds: int
    ) -> "Universe":
        cluster = MemoryKubernetes()
        cluster.add(a_queue(maxRunning=1))
        cluster.add_secret(signing_keys.KEYS_SECRET, {"default": KEY}, namespace="longtask")
        cluster.add(task)
        universe = cls(cluster, faults, seconds, cancelled=not cancels)
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
        other.believed = self.believed or self.operator.mirror
        other.claims = copied(self.known_claims)
        return other

    @property
    def known_claims(self) -> Claims:
        """What the operator knows of claims."""
        return self.claims if self.believed else self.operator.applier._claims

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
    def uid(self) -> str:
        """Which incarnation of the name this is."""
        uid: str = self.task["metadata"]["uid"]
        return uid

    @property
    def task(self) -> dict[str, Any]:
        return self.cluster.stored(names.LONGTASKS, REPORT)

    def all_pods(self) -> list[pods.Pod]:
        """The pods of the task that has the name now, the newest one last."""
        jobs = {job["metadata"]["uid"] for job in self.jobs()}
        found = map(parsed, self.cluster.objects("pods").values())
        return [pod for pod in found if pod.job_uid in jobs]

    def pod(self) -> pods.Pod | None:
        """The newest one."""
        return next(reversed(self.all_pods()), None)

    def jobs(self) -> list[dict[str, Any]]:
        """The Jobs of the task that has the name now."""
        jobs = self.cluster.objects("jobs").values()
        return [j for j in jobs if pods.controller_uid(j["metadata"]) == self.uid]

    def fingerprint(self) -> bytes:
        """Return the sum of everything that decides what can come, and of nothing else."""
        cluster, believed = self.cluster, self.believed or self.operator.mirror
        kinds = (names.LONGTASKS, "jobs", "pods")
        stored = [without_versions(list(cluster.objects(kind).values())) for kind in kinds]
        task, meta = believed.tasks.get(REPORT), self.task["metadata"]
        assert task is not None
        is_current = version_of(task) == int(meta["resourceVersion"])
        is_same = task.metadata.uid == meta["uid"]
        known = [(p.uid, p.started_at, p.is_over) for p in believed._pods.get(REPORT, {}).values()]
        # One that is current is what is stored.
        status = "" if is_current else task.status.model_dump_json()
        beliefs = (meta["uid"], is_current, is_same, status, task.spec.cancel, known)
        claims = [
            (name, claim.is_fresh(cluster.now))
            for of_task in self.known_claims.values()
            for name, claim in sorted(of_task.items())
        ]
        mine = (self.sent, self.faults, self.cancelled, claims, self.excused)
        rest = (believed._jobs, cluster.now, [d.entry.tries for d in self.unwritten.values()], mine)
        text = json.dumps(stored) + repr(beliefs) + repr(rest)
        # What has ended waits for nothing, so it does not matter when that was.
        text = TIME.sub("", text) if self.is_finished else text
        return hashlib.blake2b(text.encode(), digest_size=12).digest()


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
    wishes = ("activeDeadlineSeconds", "ttlSecondsAfterFinished", "cancel")
    return [
        [
            raw["metadata"]["name"],
            raw.get("status"),
            raw["metadata"]["uid"],
            [raw["spec"].get(w) for w in wishes],
        ]
        for raw in kind
    ]


# --- what can happen: each changes a universe, or says that it cannot be ---

Action = Callable[[Universe], bool]


def looks(universe: Universe) -> bool:
    universe.look()
    return True


def hears_of_the_pods(universe: Universe) -> bool:
    if universe.has_heard:
        return False
    raws = universe.cluster.objects("pods").values()
    mirrored = universe.operator.mirror
    mirrored.absorb_pods_of(REPORT, map(parsed, raws), universe.cluster.version)
    return True


def resyncs(universe: Universe) -> bool:
    if universe.has_heard:
        return False
    universe.resync()
    return True


def time_passes(universe: Universe) -> bool:
    """Up to the moment that the operator waits for, if it waits for one.

    For a Job that is left to whoever claimed the attempt, whatever the search says of time.
    """
    is_over = universe.cluster.now >= NOW + datetime.timedelta(seconds=universe.seconds)
    if is_over and not universe.leaves_a_job:
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
    return True


def pod_ends_well(universe: Universe) -> bool:
    return pod_ends(universe, 0)


def pod_fails(universe: Universe) -> bool:
    return pod_ends(universe, 1)


def pod_is_disrupted(universe: Universe) -> bool:
    return pod_ends(universe, 143, disrupted=True)


def pod_ends(universe: Universe, exit_code: int, *, disrupted: bool = False) -> bool:
    # Of a pipeline the one before may still be about to, which said how it ends.
    living = (pod for pod in universe.all_pods() if pod.started_at and not pod.is_over)
    if (pod := next(living, None)) is None:
        return False
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
    return universe.cluster.report_outcome(pod.name, exit_code, **said)


def somebody_cancels(universe: Universe) -> bool:
    if universe.cancelled:
        return False
    universe.cancelled = True
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
    return True


def garbage_is_collected(universe: Universe) -> bool:
    return universe.cluster.collect_garbage()


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
#: What each of costs a fault.
FAULTS: dict[str, Action] = {
    "the pod is disrupted": pod_is_disrupted,
    "the runner reports": runner_reports,
    "somebody makes it anew": somebody_makes_it_anew,
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
OF_PIPELINES = without(ALL, "the pod is disrupted", "the runner reports", "somebody makes it anew")


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
    pod = next((pod for pod in before.all_pods() if pod.job_name == attempt["jobName"]), None)
    if pod is None or pod.started_at is None:
        assert exit_code is None, "an exit code from nowhere"
        return
    assert pod.is_over, "an outcome while the program runs"
    assert pod.end is not None
    assert exit_code == pod.end.exit_code, "not what the program said"


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
    if contradictions_of(universe) != len(status.get("contradictions", ())):
        return "it is not told that a program ended otherwise than it had said"
    if any("ttlSecondsAfterFinished" not in job["spec"] for job in universe.jobs()):
        return "a Job stays for ever"
    if any(not parsed(raw).is_over for raw in universe.cluster.objects("pods").values()):
        return "a program still runs"
    return None


def contradictions_of(universe: Universe) -> int:
    """Return how many programs said how they end, and ended otherwise."""
    ends = {pod.job_name: pod.end for pod in universe.all_pods() if pod.end is not None}
    return sum(
        attempt["exitCode"] != ends[name].exit_code
        for name, attempt in attempts_in(universe.status).items()
        if "reportedAt" in attempt and name in ends
    )


@dataclasses.dataclass(slots=True)
class Node:
    """A state that was reached: how, and what the calm course of things leads to."""

    came_by: tuple[bytes, str] | None  #: the state before, and the action
    missing: str | None
    calm: bytes | None = None  #: the next state in the calm course; None where nothing changes


class Search:
    """States that were reached, breadth first, each step checked.

    Args:
        first: Where it begins.
        actions: What can happen.
    """

    def __init__(self, first: Universe, actions: dict[str, Action]) -> None:
        self._actions = actions
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
                universe.wait_after_a_look = after.wait_after_a_look
            self.steps += 1
            to = after.fingerprint()
            if node.calm is None and to != at and name in CALM:
                node.calm = to
            if to not in self.nodes:
                self.nodes[to] = Node((at, name), what_is_missing(after))
                self._frontier.append((to, after))

    def _calm_end(self, at: bytes, known: dict[bytes, bytes]) -> bytes:
        path, on_it = [at], {at}
        while path[-1] not in known and (following := self.nodes[path[-1]].calm) is not None:
            assert following not in on_it, f"goes in circles after: {self.story(at)}"
            path.append(following)
            on_it.add(following)
        end = known.get(path[-1], path[-1])
        known.update(dict.fromkeys(path, end))
        return end

    def story(self, at: bytes, *then: str) -> str:
        """Return how a state was reached, in words."""
        told = list(then)
        while (came_by := self.nodes[at].came_by) is not None:
            at, name = came_by
            told.insert(0, name)
        return "; ".join(told)
