"""Every interleaving of one task's life with crashes, lost answers, conflicts and late watches.

Larger searches than those below are run by hand when the core changes: one fault and a cancel
(21,740 states, a minute), two faults (46,900 states, three minutes).

A plain breadth-first search over small universes: the real reconciler and mirror over a cluster in
memory. Each edge is checked against the invariants of the reliability page; then, from each state
that was reached, the calm course of things must end where a task without any fault ends.
"""

import dataclasses
import datetime
import json
import re
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from longtask_crds import address_guard, events, names, signing_keys, v1alpha1
from longtask_crds.testing import NOW, TASK_UID, a_queue, a_task, with_meta
from longtask_operator import (
    apply,
    errors,
    keys,
    mirror,
    observe,
    pods,
    reconcile,
    testing,
)

NAME = "report"
SCHEDULE = (0, 5)
KEY = signing_keys.new_key()
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
    for attempt in (0, 1)
}
THE_TASK = a_task(
    NAME,
    container={"image": "busybox"},
    timeouts={"startSeconds": 8},
    callback={"url": "https://example.com/done"},
)
LATEST = NOW + datetime.timedelta(seconds=10)


class CrashError(BaseException):
    """The operator's process is gone. Not an Exception: nothing may catch it."""


class Sender(testing.MemorySender):
    """Sending can be interrupted like a write."""

    def __init__(self, cluster: testing.MemoryCluster) -> None:
        super().__init__(clock=lambda: cluster.now)
        self._cluster = cluster

    async def send(self, url: str, **what: Any) -> Any:
        self._cluster.interrupt("send", "before")
        answer = await super().send(url, **what)
        self._cluster.interrupt("send", "after")
        return answer


@dataclasses.dataclass
class Universe:
    """A cluster, what the operator believes of it, and what may still go wrong."""

    cluster: testing.MemoryCluster
    mirror: mirror.Mirror
    faults: int
    claim_seen: bool = False  #: this process wrote the claim or read it just now
    cancelled: bool = False
    sent: tuple[str, ...] = ()
    writes_in_a_look: int = 0  #: how many writes and callbacks the next pass makes
    wait_after_a_look: float | None = None  #: how long the operator waits after that

    @classmethod
    def begin(cls, *, faults: int, cancels: bool) -> "Universe":
        cluster = testing.MemoryCluster()
        cluster.add(a_queue(maxRunning=1))
        cluster.add_secret(signing_keys.KEYS_SECRET, {"default": KEY}, namespace="longtask")
        cluster.add(THE_TASK)
        universe = cls(cluster, mirror.Mirror(), faults, cancelled=not cancels)
        universe.restart()
        return universe

    def fork(self) -> "Universe":
        other = dataclasses.replace(self, cluster=self.cluster.fork(), mirror=mirror.Mirror())
        other.mirror.tasks = dict(self.mirror.tasks)
        other.mirror.unfinished = set(self.mirror.unfinished)
        other.mirror.types = dict(self.mirror.types)
        other.mirror.queues = dict(self.mirror.queues)
        other.mirror.pods = {task: dict(known) for task, known in self.mirror.pods.items()}
        other.mirror.jobs = dict(self.mirror.jobs)
        return other

    # --- what the operator does

    def restart(self) -> None:
        """Begin with nothing but what the lists say."""
        self.mirror, self.claim_seen = mirror.Mirror(), False
        self.resync()

    def resync(self) -> None:
        lists = {}
        for kind in (names.LONGTASKS, names.LONGTASKTYPES, names.LONGTASKQUEUES):
            lists[kind] = run(self.cluster.list_ours(kind))
        for kind in ("pods", "jobs"):
            lists[kind] = run(self.cluster.list_labelled(kind))
        self.mirror.absorb_lists(lists, now=self.cluster.now)

    def look(self) -> None:
        """One pass, as the work queue starts it."""
        sender = Sender(self.cluster)
        applier = apply.Applier(
            self.mirror,
            self.cluster,
            sender,
            keys.KeyRing(self.cluster, "longtask"),
            testing.SURROUNDINGS,
            SCHEDULE,
        )
        if self.claim_seen and NAME in self.mirror.tasks:
            applier.note_claim(self.mirror.tasks[NAME])
        reconciler = reconcile.Reconciler(
            self.mirror,
            self.cluster,
            observe.Observer(
                self.mirror, self.cluster, testing.INSTALLATION, address_guard.Guard()
            ),
            applier,
            lambda: self.cluster.now,
        )
        claimed = "attempt" in self.status
        try:
            self.wait_after_a_look = run(reconciler.reconcile(NAME))
        except errors.Unavailable:
            self.wait_after_a_look = 0.0
        finally:
            ids = [sent.webhook_id for sent in sender.sent]
            # A deaf operator may still call back for a task that was deleted just now.
            self.sent += tuple(i for i in ids if self.uid == TASK_UID or i not in OF_FIRST)
            self.claim_seen |= not claimed and "attempt" in self.status

    # --- what is the case

    @property
    def effects(self) -> int:
        """How many writes and callbacks there were."""
        return self.cluster.writes + len(self.sent)

    @property
    def status(self) -> dict[str, Any]:
        return self.cluster.tasks[NAME]["status"]

    @property
    def is_finished(self) -> bool:
        return "finishedAt" in self.status

    @property
    def uid(self) -> str:
        """Which incarnation of the name this is."""
        uid: str = self.cluster.tasks[NAME]["metadata"]["uid"]
        return uid

    def pod(self) -> pods.Pod | None:
        """The newest pod of the task that has the name now."""
        job = self.job()
        found = [pods.Pod.parse(raw) for raw in self.cluster.all_pods.values()]
        ours = [pod for pod in found if job and pod.job_uid == job["metadata"]["uid"]]
        return ours[-1] if ours else None

    def job(self) -> dict[str, Any] | None:
        """The Job of the task that has the name now."""
        jobs = self.cluster.jobs.values()
        return next((j for j in jobs if pods.controller_uid(j["metadata"]) == self.uid), None)

    def fingerprint(self) -> str:
        """Everything that decides what can come, and nothing else: no versions."""
        cluster, believed = self.cluster, self.mirror
        stored = [without_versions(o) for o in (cluster.tasks, cluster.jobs, cluster.all_pods)]
        task, meta = believed.tasks[NAME], cluster.tasks[NAME]["metadata"]
        is_current = task.metadata.resource_version == meta["resourceVersion"]
        is_same = task.metadata.uid == meta["uid"]
        known = [(p.uid, p.started_at, p.is_over) for p in believed.pods.get(NAME, {}).values()]
        status = task.status.model_dump_json()
        beliefs = (meta["uid"], is_current, is_same, status, task.spec.cancel, known)
        rest = (believed.jobs, self.sent, cluster.now, self.faults, self.cancelled, self.claim_seen)
        text = json.dumps(stored) + repr(beliefs) + repr(rest)
        # What has ended waits for nothing, so it does not matter when that was.
        return TIME.sub("", text) if self.is_finished else text


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run what never really waits, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waited")


def without_versions(kind: dict[str, dict[str, Any]]) -> list[Any]:
    wishes = ("activeDeadlineSeconds", "ttlSecondsAfterFinished", "cancel")
    return [
        [name, raw.get("status"), raw["metadata"]["uid"], [raw["spec"].get(w) for w in wishes]]
        for name, raw in kind.items()
    ]


# --- what can happen: each changes a universe, or says that it cannot be ---

Action = Callable[[Universe], bool]


def looks(universe: Universe) -> bool:
    universe.look()
    return True


def hears_of_the_pods(universe: Universe) -> bool:
    raws = universe.cluster.all_pods.values()
    universe.mirror.absorb_pods_of(NAME, map(pods.Pod.parse, raws), universe.cluster.version)
    return True


def resyncs(universe: Universe) -> bool:
    universe.resync()
    return True


def time_passes(universe: Universe) -> bool:
    """Up to the moment that the operator waits for, if it waits for one."""
    if universe.cluster.now >= LATEST:
        return False
    if not universe.wait_after_a_look:
        return False
    universe.cluster.now += datetime.timedelta(seconds=max(STEP, universe.wait_after_a_look))
    return True


def pod_is_made(universe: Universe) -> bool:
    job, pod = universe.job(), universe.pod()
    if job is None or job.get("status") or (pod is not None and not pod.is_over):
        return False
    universe.cluster.make_pod(job["metadata"]["name"])
    return True


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
    return spend(universe) and pod_ends(universe, 143, disrupted=True)


def pod_ends(universe: Universe, exit_code: int, *, disrupted: bool = False) -> bool:
    pod = universe.pod()
    if pod is None or pod.started_at is None or pod.is_over:
        return False
    universe.cluster.end_pod(pod.name, exit_code, "7" if not exit_code else "", disrupted=disrupted)
    return True


def somebody_cancels(universe: Universe) -> bool:
    if universe.cancelled:
        return False
    universe.cancelled = True
    universe.cluster.cancel(NAME)
    return True


def runner_reports(universe: Universe) -> bool:
    """Another write in between: the operator's next one is stale."""
    if universe.is_finished or not spend(universe):
        return False
    universe.cluster.report_progress(NAME, 40)
    return True


def somebody_makes_it_anew(universe: Universe) -> bool:
    """Another task under the name of one that was just deleted; what that owned is still there."""
    if universe.uid != TASK_UID or not spend(universe):
        return False
    universe.cluster.remove_task(NAME)
    universe.cluster.add(with_meta(THE_TASK, uid=SECOND_UID))
    universe.sent, universe.claim_seen = (), False
    return True


def garbage_is_collected(universe: Universe) -> bool:
    return universe.cluster.collect_garbage()


def spend(universe: Universe) -> bool:
    universe.faults -= 1
    return universe.faults >= 0


def interrupted(nth: int, moment: str, error: BaseException) -> Action:
    """Return a pass that is broken off at its nth write."""

    def action(universe: Universe) -> bool:
        if universe.writes_in_a_look < nth or not spend(universe):
            return False
        moments: Counter[str] = Counter()

        def interrupt(_write: str, at: str) -> None:
            moments[at] += 1
            if at == moment and moments[at] == nth:
                raise error

        universe.cluster.interrupt = interrupt
        try:
            universe.look()
        except CrashError:
            universe.restart()
        finally:
            universe.cluster.interrupt = lambda _write, _moment: None
        return True

    return action


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
ALL: dict[str, Action] = CALM | {
    "the pod fails": pod_fails,
    "the pod is disrupted": pod_is_disrupted,
    "somebody cancels": somebody_cancels,
    "the runner reports": runner_reports,
    "somebody makes it anew": somebody_makes_it_anew,
    **{
        f"{what} write {nth}": interrupted(nth, moment, error)
        for nth in (1, 2)
        for what, moment, error in (
            ("crash after", "after", CrashError()),
            ("answer lost", "after", errors.Unavailable()),
        )
    },
    "crash before write 1": interrupted(1, "before", CrashError()),
}


# --- what must hold ---


def check_edge(before: Universe, after: Universe) -> None:
    """Check what no single step may do."""
    created = Counter(after.cluster.created_jobs)
    assert all(count == 1 for count in created.values()), "a second Job of one attempt"
    assert len(set(after.sent)) <= 1, "two ids of one event"
    if before.uid != after.uid:
        return
    assert before.status.get("attempt", 0) <= after.status.get("attempt", 0)
    if before.is_finished:
        assert frozen(before.status) == frozen(after.status), "a finished task changed"
    elif after.is_finished:
        check_outcome(before, after)


def check_outcome(before: Universe, after: Universe) -> None:
    """Check an outcome, as it is accepted, against what really happened."""
    exit_code = after.status.get("attempts", [{}])[-1].get("exitCode")
    pod = before.pod()
    if pod is None or pod.started_at is None or pod.is_disrupted:
        assert exit_code is None, "an exit code from nowhere"
        return
    assert pod.is_over, "an outcome while the program runs"
    assert pod.end is not None
    assert exit_code == pod.end.exit_code, "not what the program said"
    assert (after.status["phase"] == "Succeeded") == (exit_code == 0)


def frozen(status: dict[str, Any]) -> dict[str, Any]:
    kept = [c for c in status["conditions"] if c["type"] != "CallbackDelivered"]
    return status | {"conditions": kept, "callback": None, "observedGeneration": None}


def what_is_missing(universe: Universe) -> str | None:
    """Return why this is no good end, or None."""
    status = universe.status
    if not universe.is_finished:
        return "not finished"
    if status["callback"]["state"] != "Delivered":
        return "callback not delivered"
    if set(universe.sent) != {status["callback"]["id"]}:
        return "another id was sent"
    if status["observedGeneration"] != universe.cluster.tasks[NAME]["metadata"]["generation"]:
        return "a change of the spec was not observed"
    job = universe.job()
    if job is not None and "ttlSecondsAfterFinished" not in job["spec"]:
        return "the Job stays for ever"
    if any(not pods.Pod.parse(raw).is_over for raw in universe.cluster.all_pods.values()):
        return "a program still runs"
    return None


@dataclasses.dataclass
class Node:
    """A state that was reached: how, and what it leads to."""

    came_by: tuple[str, str] | None  #: the state before, and the action
    missing: str | None
    calm: list[str] = dataclasses.field(default_factory=list)  #: what the calm actions lead to


def explore(first: Universe) -> dict[str, Node]:
    """Reach every state, checking each step on the way."""
    nodes = {first.fingerprint(): Node(None, what_is_missing(first))}
    frontier = deque([(first.fingerprint(), first)])
    while frontier:
        at, universe = frontier.popleft()
        for name, action in ALL.items():
            after = universe.fork()
            try:
                if not action(after):
                    continue
                check_edge(universe, after)
            except (AssertionError, errors.Rejected, ValueError) as error:
                raise AssertionError(f"{error} after: {story(nodes, at, name)}") from error
            if action is looks:
                # The other actions interrupt this pass, or let the time pass that it waits for.
                universe.writes_in_a_look = after.effects - universe.effects
                universe.wait_after_a_look = after.wait_after_a_look
            to = after.fingerprint()
            if name in CALM:
                nodes[at].calm.append(to)
            if to not in nodes:
                nodes[to] = Node((at, name), what_is_missing(after))
                frontier.append((to, after))
    return nodes


def story(nodes: dict[str, Node], at: str, *then: str) -> str:
    """Return how a state was reached, in words."""
    told = list(then)
    while (came_by := nodes[at].came_by) is not None:
        at, name = came_by
        told.insert(0, name)
    return "; ".join(told)


def calm_end(nodes: dict[str, Node], at: str, known: dict[str, str]) -> str:
    """Follow the calm course of things to where nothing changes any more."""
    path = [at]
    while path[-1] not in known:
        following = next((to for to in nodes[path[-1]].calm if to != path[-1]), None)
        if following is None:
            break
        assert following not in path, f"goes in circles after: {story(nodes, at)}"
        path.append(following)
    end = known.get(path[-1], path[-1])
    known.update(dict.fromkeys(path, end))
    return end


@pytest.mark.parametrize(
    ("faults", "cancels", "least"),
    [
        pytest.param(0, True, 500, id="cancelled-at-any-time"),
        pytest.param(1, False, 2_000, id="with-any-one-fault"),
    ],
)
def test_every_course_of_things_ends_well(faults: int, cancels: bool, least: int) -> None:
    nodes = explore(Universe.begin(faults=faults, cancels=cancels))
    ends: dict[str, str] = {}
    for at in nodes:
        end = calm_end(nodes, at, ends)
        assert nodes[end].missing is None, f"{nodes[end].missing} after: {story(nodes, end)}"
    assert len(nodes) > least, "the search is smaller than it looks"
