"""Every interleaving of tasks, operators and pods that wait, with faults at any request.

As `task_model` does for one task: the operator's own passes over a cluster in memory, breadth
first. Two operators both hold themselves for the one that lets tasks start, which is more than a
lapsed lease can do. The API is what it is: it hands a task to the pod that its status names, at any
moment, and so does this one.

What is one state, and why:

- Versions, and what is made up (uids, the ends of names), are left out: nobody compares them but
  with each other. Of a task that an operator knows it counts whether that is the newest.
- The operators are alike, and so are the tasks: states that differ in who is who are one.
- Times count as long as something is under way, and none passes where a search says so, but what
  comes a moment after the end.
- What somebody else does lies between two passes, or before any one request of a pass
  (`meanwhile`), and then it is a whole pass of his, or one write. So two passes of two operators
  are not woven into each other more than once; of two writes of a task that is guarded by its
  version the second one fails, so the order of more of them is that of whole passes.
- What the API writes is read, judged and written at once: its write is guarded by the version that
  it judged, so whatever comes between has it judge anew.
- The queue's patience with a task for which something failed (`Mirror.hold_back`) is left out:
  there is a place for each.
"""

import dataclasses
import datetime
import functools
import hashlib
import itertools
import json
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, NamedTuple

from longtask_adapters.kube import cache, errors
from longtask_adapters.testing import MemoryKubernetes
from longtask_adapters.testing.kubernetes import Refusal
from longtask_crds import names, signing_keys, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.testing import NAMESPACE, NOW, a_queue, a_task, with_meta
from longtask_operator import testing
from longtask_operator.rules import decide, pods
from longtask_operator.testing import KEY
from model_support import CrashError, Found, Sender, Walk

#: Names that no other word looks like, and that begin with letters which are rare.
TYPE = ObjectKey(NAMESPACE, "zoom")
TASKS = {
    "x-one": "11111111-0d4b-4f6e-8a7c-5b1d3e9f7a60",
    "x-two": "22222222-0d4b-4f6e-8a7c-5b1d3e9f7a60",
}
#: What is made up, or a task's own, and says nothing but what belongs to what: uids and names. Of
#: a pod's name the number at its end says nothing at all.
NAME = re.compile(
    r"(00000000-0000-4000-8000-[0-9a-f]{12}|11111111-[0-9a-f-]{27}|22222222-[0-9a-f-]{27}"
    r"|zoom-warm-[a-z2-7]{8}|x-(?:one|two)(?:-[a-z2-7]{10})?|msg_[0-9A-Za-z]+)(?:-[0-9]+)?"
)
TIME = re.compile(r"2026-[0-9-]{5}T[0-9:]{8}Z|datetime\.datetime[^)]*[)]")
#: After so many seconds it does not count when something ended.
FORGOTTEN = 6.0
#: What is waited for longer than so many seconds never happens here.
HORIZON = 60.0
Raw = dict[str, Any]


class Cluster(MemoryKubernetes):
    """Reads can be interrupted like writes."""

    def _read(self, route: Any, request: Any) -> Any:
        self.interrupt("read", "before")
        return super()._read(route, request)

    def repeat(self) -> None:
        """Have the last write arrive once more; raise what is answered to that."""
        self._answer(self.requests[-1])


def the_type() -> v1alpha1.LongTaskType:
    return v1alpha1.LongTaskType.model_validate(
        {
            "metadata": {"name": TYPE.name, "namespace": NAMESPACE},
            "spec": {"warm": {"size": 1}, "container": {"image": "render:1"}},
        }
    )


#: A pipeline: its second step takes what the first one brings.
CHAIN = [
    {"name": "a", "type": TYPE.name},
    {"name": "b", "type": TYPE.name, "input": {"n": {"$from": "steps.a#"}}},
]


def the_task(name: str, *, is_chain: bool) -> v1alpha1.LongTask:
    program: Raw = {"steps": CHAIN} if is_chain else {"type": TYPE.name}
    if is_chain:
        made = a_task(name, **program, callback={"url": "https://example.com/done"})
        return with_meta(made, uid=TASKS[name])
    made = a_task(
        name,
        **program,
        retry={"maxAttempts": 1},
        timeouts={"startSeconds": 15},
        callback={"url": "https://example.com/done"},
    )
    return with_meta(made, uid=TASKS[name])


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run what never really waits, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waited")


# --- an operator, and what it knows ---


def an_operator(cluster: Cluster) -> testing.Operator:
    return quick(testing.Operator(kubernetes=cluster, sender=Sender(cluster)))


def quick(operator: testing.Operator) -> testing.Operator:
    """Return it; it keeps no task as text: they are few, and read very often."""
    operator.mirror.tasks._packs = cache.never
    return operator


def copied(old: testing.Operator, cluster: Cluster) -> testing.Operator:
    """Return an operator that knows what another does, of a cluster that is a copy of its."""
    new = an_operator(cluster)
    for known, taken in (
        (old.mirror.queues, new.mirror.queues),
        (old.mirror.types, new.mirror.types),
        (old.mirror.tasks, new.mirror.tasks),
    ):
        for resource in known.values():
            taken.put(resource)  # type: ignore[arg-type]
    for pods_of in old.mirror._pods.values():
        for pod in pods_of.values():
            new.mirror.put_pod(pod)
    for job in old.mirror._jobs.values():
        new.mirror.put_job(job)
    ahead, before = new.ahead, old.ahead
    ahead._jobs, ahead._pods = dict(before._jobs), dict(before._pods)
    ahead._before, ahead._strays = dict(before._before), set(before._strays)
    ahead._failed, ahead._taken = set(before._failed), dict(before._taken)
    new.callbacks._unwritten = dict(old.callbacks._unwritten)
    new.applier._claims = {uid: dict(jobs) for uid, jobs in old.applier._claims.items()}
    for key in old.reconciler._in_doubt:
        new.reconciler._in_doubt.add(key)
        new.mirror.index.reserve(key)
    return new


def told(operator: testing.Operator) -> list[Any]:
    """Return all that decides what an operator does; no versions."""
    mirror, ahead = operator.mirror, operator.ahead
    return [
        in_order(
            [task.status.to_json(), task.spec.cancel, task.metadata.uid]
            for task in mirror.tasks.values()
        ),
        in_order(without_version(p) for of in mirror._pods.values() for p in of.values()),
        in_order(map(repr, mirror._jobs.values())),
        in_order(map(repr, ahead._jobs.values())),
        in_order(map(without_version, ahead._pods.values())),
        [*ahead._strays, "failed", *ahead._failed],
        [[*claim, pod.uid] for claim, pod in ahead._taken.items()],
        repr(ahead._before),
        [*claims_of(operator), "in doubt", *map(str, operator.reconciler._in_doubt)],
        [[uid, sent.entry.tries] for uid, sent in operator.callbacks._unwritten.items()],
        [known.spec.container and known.spec.container.image for known in mirror.types.values()],
    ]


def claims_of(operator: testing.Operator) -> list[str]:
    """Return the Jobs that are still to be made of what it claimed; marked if it need not ask."""
    now = operator.kubernetes.now
    claims = [one for of_task in operator.applier._claims.values() for one in of_task.items()]
    return [f"{job}{'!' if claim.is_fresh(now) else ''}" for job, claim in claims]


def without_version(pod: pods.Pod) -> str:
    return repr(dataclasses.replace(pod, version=0))


def in_order(things: Iterable[Any]) -> list[str]:
    """Return things as text, in an order that no name decides."""
    return sorted(map(json.dumps, things), key=blank)


@functools.lru_cache(100_000)
def age(text: str, now: datetime.datetime) -> str:
    """Return how long ago a time was that is written somewhere, as far as that counts."""
    if text.startswith("2026"):
        at = datetime.datetime.fromisoformat(text)
    else:
        numbers = map(int, re.findall(r"\d+", text))
        at = datetime.datetime(*numbers, tzinfo=datetime.UTC)  # type: ignore[arg-type,misc]
    return f"{min(FORGOTTEN, (now - at).total_seconds())} s ago"


@functools.lru_cache(100_000)
def blank(text: str) -> str:
    return NAME.sub("", text)


class Beliefs:
    """What an operator knew when the universe was forked; it never changes.

    Args:
        operator: Who.
        heard_at: The version of the cluster whose lists are all that it knows of it.
    """

    def __init__(self, operator: testing.Operator, heard_at: int | None = None) -> None:
        self.operator = operator
        self.heard_at = heard_at

    @functools.cached_property
    def text(self) -> str:
        return json.dumps(told(self.operator))

    @functools.cached_property
    def versions(self) -> dict[str, str]:
        tasks = self.operator.mirror.tasks.values()
        return {task.metadata.name: task.metadata.resource_version for task in tasks}


# --- all there is ---


@dataclasses.dataclass
class Universe:
    """A cluster, what the operators believe of it, and what may still go wrong."""

    cluster: Cluster
    faults: int
    seconds: int  #: how long time goes on
    believed: tuple[Beliefs, ...] = ()
    cancelled: bool = False
    changed: bool = False  #: the type was
    #: By pod: the task's uid, the step and the attempt that it was handed.
    handed: dict[str, tuple[str, str, int]] = dataclasses.field(default_factory=dict)
    reports: dict[str, Raw] = dataclasses.field(default_factory=dict)  #: that were taken, by pod
    sent: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)  #: ids, by task
    excused: int = 0  #: how many callbacks may be repeated
    actors: dict[int, testing.Operator] = dataclasses.field(default_factory=dict)
    heard: dict[int, int] = dataclasses.field(default_factory=dict)  #: who just listed everything
    #: Of each pass that there may be: how many requests it makes, and when the next is due.
    passes: dict["Pass", "Looked"] = dataclasses.field(default_factory=dict)

    @classmethod
    def begin(
        cls,
        *,
        tasks: int,
        operators: int,
        faults: int,
        seconds: int = 0,
        cancels: bool = False,
        is_chain: bool = False,
    ) -> "Universe":
        cluster = Cluster(interrupt=undisturbed)
        cluster.add(a_queue(maxRunning=2))
        cluster.add_secret(signing_keys.KEYS_SECRET, {"default": KEY}, namespace="longtask")
        cluster.add(the_type())
        first = an_operator(cluster)
        run(first.hear())
        run(first.ahead.reconcile(TYPE))
        (job,) = cluster.objects("jobs")
        cluster.start_pod(cluster.make_pod(job))
        cluster.created_jobs.clear()
        for name in list(TASKS)[:tasks]:
            cluster.add(the_task(name, is_chain=is_chain))
        made = [an_operator(cluster) for _ in range(operators)]
        for operator in made:
            run(operator.hear())
        believed = tuple(Beliefs(operator) for operator in made)
        return cls(cluster, faults, seconds, believed, cancelled=not cancels)

    def fork(self) -> "Universe":
        """Return a copy that goes its own way; nobody acts in this one any more."""
        believed = tuple(
            Beliefs(self.actors[who], self.heard.get(who)) if who in self.actors else one
            for who, one in enumerate(self.believed)
        )
        cluster = self.cluster.fork()
        cluster.requests.clear()
        cluster.compact()
        return dataclasses.replace(
            self,
            cluster=cluster,
            believed=believed,
            handed=dict(self.handed),
            reports=dict(self.reports),
            sent=dict(self.sent),
            actors={},
            heard={},
            passes={},
        )

    def actor(self, who: int) -> testing.Operator:
        """Return an operator, made when something is asked of it."""
        if who not in self.actors:
            self.actors[who] = copied(self.believed[who].operator, self.cluster)
        return self.actors[who]

    def restart(self, who: int) -> None:
        """Begin with nothing but what the lists say."""
        self.excused += any(
            self.status(name).get("callback", {}).get("state") == "Pending" for name in self.sent
        )
        operator = self.actor(who)
        operator.restart()
        run(quick(operator).hear())

    # --- what is the case

    def task(self, name: str) -> Raw:
        return self.cluster.stored(names.LONGTASKS, name)

    def status(self, name: str) -> Raw:
        status: Raw = self.task(name)["status"]
        return status

    def tasks(self) -> list[Raw]:
        return list(self.cluster.objects(names.LONGTASKS).values())

    def all_pods(self) -> list[pods.Pod]:
        return [pods.Pod.parse(raw) for raw in self.cluster.objects("pods").values()]

    def working(self) -> Iterator[pods.Pod]:
        """Yield the pods whose programs have a task and have not ended."""
        for pod in self.all_pods():
            is_cold = not pod.warm and not pod.is_nobodys and pod.started_at is not None
            if not pod.is_over and (pod.uid in self.handed or is_cold):
                yield pod

    def named(self, pod_uid: str) -> list[tuple[str, str, int]]:
        """Return the attempts that name a pod that was started ahead; of a step the last alone."""
        return [
            (raw["metadata"]["uid"], step, attempt["number"])
            for raw in self.tasks()
            for step, attempt in attempts_of(raw["status"])
            if attempt.get("podUid") == pod_uid and attempt.get("start") == "Warm"
        ]

    @property
    def is_finished(self) -> bool:
        return all("finishedAt" in raw["status"] for raw in self.tasks())

    @property
    def leaves_a_job(self) -> bool:
        """Whether a Job was not made yet that may be left to whoever claimed the attempt."""
        jobs = {key.name for key in self.cluster.objects("jobs")}
        return any(
            self.cluster.now < claimed_at + decide.LEFT_TO_ITS_CLAIMER
            for raw in self.tasks()
            for _, one in attempts_of(raw["status"])
            if "finishedAt" not in one and one["jobName"] not in jobs
            for claimed_at in [datetime.datetime.fromisoformat(one["claimedAt"])]
        )

    def fingerprint(self) -> bytes:
        """Return the sum of everything that decides what can come, and of nothing else."""
        stored = [in_order(map(self._of_task, self.tasks()))]
        for kind in ("jobs", "pods"):
            stored.append(in_order(map(self._of_object, self.cluster.objects(kind).values())))
        created = (name for name in self.cluster.created_jobs if "-warm-" not in name)
        mine = [self.faults, self.cancelled, self.changed, self.excused]
        now = "" if self.is_finished else str(self.cluster.now)
        rest = [in_order(created), mine, now]
        text = json.dumps([stored, in_order(map(self._of_operator, self.believed)), rest])
        if self.is_finished:
            # How long ago it was counts alone, and that no more once nothing waits for it.
            text = TIME.sub(lambda one: age(one[0], self.cluster.now), text)
        numbers = itertools.count()
        seen: dict[str, str] = {}
        text = NAME.sub(lambda one: seen.setdefault(one[1], f"#{next(numbers)}"), text)
        return hashlib.blake2b(text.encode(), digest_size=12).digest()

    def _of_task(self, raw: Raw) -> list[Any]:
        meta = raw["metadata"]
        pods = {uid: handed for uid, handed in self.handed.items() if handed[0] == meta["uid"]}
        cancel, sent = raw["spec"].get("cancel"), self.sent.get(meta["name"], ())
        return [meta["name"], meta["uid"], raw["status"], cancel, sorted(pods.items()), sent]

    def _of_object(self, raw: Raw) -> list[Any]:
        meta, spec = raw["metadata"], raw["spec"]
        wishes = ("ttlSecondsAfterFinished", "activeDeadlineSeconds")
        owners = [owner["uid"] for owner in meta.get("ownerReferences", ())]
        labels = [meta["labels"].get(label) for label in (names.TASK_LABEL, names.WARM_LABEL)]
        made_of = meta.get("annotations", {}).get(names.TEMPLATE_ANNOTATION)
        given = [spec.get(wish) for wish in wishes]
        return [meta["name"], meta["uid"], labels, owners, made_of, raw.get("status"), given]

    def _of_operator(self, beliefs: Beliefs) -> list[Any]:
        newest = [
            [raw["metadata"]["name"], beliefs.versions.get(raw["metadata"]["name"]) == version]
            for raw in self.tasks()
            if (version := raw["metadata"]["resourceVersion"])
        ]
        return [beliefs.text, newest]


def attempts_of(status: Raw) -> list[tuple[str, Raw]]:
    """Return all attempts that are known, each with the name of its step."""
    steps = [one for one in status.get("steps", ()) if one.get("attempt")]
    of_steps = [(one["name"], one | {"number": one["attempt"]}) for one in steps]
    return [*(("", one) for one in status.get("attempts", ())), *of_steps]


def counted(status: Raw) -> list[Raw]:
    """Return all that counts attempts: the task, and its steps once they are listed."""
    return [status, *status.get("steps", ())]


# --- what can happen: each changes a universe, or says that it cannot be ---

Action = Callable[[Universe], bool]


class Pass(NamedTuple):
    """A pass that an operator makes: of a task, or of what waits."""

    who: int
    task: str = ""

    def __str__(self) -> str:
        return f"{self.who} looks at {self.task}" if self.task else f"{self.who} keeps pods"

    def run(self, universe: Universe) -> float | None:
        """Make it; return after how many seconds it makes another."""
        operator = universe.actor(self.who)
        try:
            if self.task:
                key = ObjectKey(NAMESPACE, self.task)
                return run(operator.reconciler.reconcile(key))  # type: ignore[no-any-return]
            again: float | None = run(operator.ahead.reconcile(TYPE))
            run(operator.ahead.recycle_strays())
            return again
        except (errors.NotFound, errors.Unavailable, errors.Conflict):
            return 0.0  # the work queue has it tried again
        finally:
            while operator.sender.sent:
                sent = operator.sender.sent.pop(0)
                name = json.loads(sent.body)["data"]["id"]
                universe.sent[name] = (*universe.sent.get(name, ()), sent.webhook_id)


class Looked(NamedTuple):
    """What a pass came to, when it was made undisturbed."""

    requests: tuple[str, ...]  #: what it asked, in order
    again: float | None


def passes(operator: int, *tasks: str) -> list[Pass]:
    return [*(Pass(operator, task) for task in tasks), Pass(operator)]


def made(one: Pass) -> Action:
    """Return the pass, undisturbed."""

    def action(universe: Universe) -> bool:
        requests: list[str] = []
        outer = universe.cluster.interrupt
        if outer is undisturbed:
            universe.cluster.interrupt = lambda what, moment: (
                requests.append(what) if moment == "before" else None
            )
        again = one.run(universe)
        if outer is undisturbed:
            universe.cluster.interrupt = undisturbed
            universe.passes[one] = Looked(tuple(requests), again)
        # What a look at a task knows besides stays the same if it asks nothing.
        return bool(requests) or not one.task or outer is not undisturbed

    return action


def hears(who: int) -> Action:
    """It lists everything."""

    def action(universe: Universe) -> bool:
        version = universe.cluster.version
        if universe.believed[who].heard_at == version and who not in universe.actors:
            return False
        run(universe.actor(who).hear())
        universe.heard[who] = version
        return True

    return action


def hears_of(who: int, what: str) -> Action:
    """A watch brings what there is of one kind, and nothing of another."""

    def action(universe: Universe) -> bool:
        operator = universe.actor(who)
        before = told(operator)
        if what == names.LONGTASKS:
            for raw in universe.tasks():
                operator.mirror.tasks.put(v1alpha1.LongTask.model_validate(raw))
        else:
            hear_of_pods(operator, universe.all_pods())
        return told(operator) != before

    return action


def hear_of_pods(operator: testing.Operator, found: list[pods.Pod]) -> None:
    """Take over what a watch of pods brings, as `pod_watch` does."""
    mirror, ahead = operator.mirror, operator.ahead
    there = {pod.uid for pod in found}
    for pod in [pod for of in mirror._pods.values() for pod in of.values()]:
        if pod.uid not in there and not pod.is_over:
            mirror.drop_pod(pod.task, pod.uid)
    for pod in list(ahead._pods.values()):
        if pod.uid not in there:
            ahead.drop_pod(pod)
    for pod in found:
        if pod.is_nobodys:
            ahead.put_pod(pod)
        else:
            ahead.was_taken(pod)
            mirror.put_pod(pod)


# --- of the API, of programs and of the rest of Kubernetes


def is_handed(name: str) -> Action:
    """The API hands a pod the task whose status names it now."""

    def action(universe: Universe) -> bool:
        raw = universe.task(name)
        if "finishedAt" in raw["status"]:
            return False
        by_uid = {pod.uid: pod for pod in universe.all_pods()}
        for step, last in dict(attempts_of(raw["status"])).items():
            pod = by_uid.get(last.get("podUid", ""))
            if last.get("start") != "Warm" or "finishedAt" in last or pod is None:
                continue
            if not pod.is_over and pod.uid not in universe.handed:
                universe.handed[pod.uid] = (raw["metadata"]["uid"], step, last["number"])
                return True
        return False

    return action


def program_of(universe: Universe, name: str) -> pods.Pod | None:
    """Return the pod whose program works on a task, the newest one."""
    uid = universe.task(name)["metadata"]["uid"]
    found = [
        pod
        for pod in universe.working()
        if universe.handed.get(pod.uid, (uid,))[0] == uid and pod.task.name == name
    ]
    return found[-1] if found else None


def is_noted(name: str) -> Action:
    """The API notes that it is heard of a program: another write than the operator's."""

    def action(universe: Universe) -> bool:
        status = universe.status(name)
        if "progress" in status or "finishedAt" in status or program_of(universe, name) is None:
            return False
        universe.cluster.report_progress(name, 40)
        return True

    return action


def says(name: str, exit_code: int, **said: Any) -> Action:
    """A program says how it ends; the API judges whether that is still of use."""

    def action(universe: Universe) -> bool:
        pod, task = program_of(universe, name), universe.task(name)
        if pod is None or not universe.cluster.report_outcome(pod.name, exit_code, **said):
            return False
        assert not task["spec"].get("cancel"), "a report beat a cancel that was there before it"
        reports = (one.get("report") for one in counted(universe.status(name)))
        universe.reports |= {report["podUid"]: report for report in reports if report}
        return True

    return action


def ends(name: str, exit_code: int) -> Action:
    def action(universe: Universe) -> bool:
        pod = program_of(universe, name)
        if pod is None or pod.is_stopping:
            return False
        universe.cluster.end_pod(pod.name, exit_code, "" if exit_code else "7")
        return True

    return action


def starts(universe: Universe) -> bool:
    """A pod is made that a Job wants, and runs."""
    made_for = {pod.job_uid for pod in universe.all_pods()}
    for raw in universe.cluster.objects("jobs").values():
        if raw["metadata"]["uid"] not in made_for and not raw.get("status"):
            universe.cluster.start_pod(universe.cluster.make_pod(raw["metadata"]["name"]))
            return True
    return False


def is_stopped(universe: Universe) -> bool:
    for pod in universe.all_pods():
        if pod.is_stopping and pod.started_at is not None and not pod.is_over:
            universe.cluster.end_pod(pod.name, 143)
            return True
    return False


def time_passes(universe: Universe) -> bool:
    """Up to the moment that an operator waits for, if one waits for one.

    After the end of all tasks, for what comes a moment later, and for a Job that is left to whoever
    claimed the attempt, whatever the search says of time.
    """
    is_over = universe.cluster.now >= NOW + datetime.timedelta(seconds=universe.seconds)
    if is_over and not universe.is_finished and not universe.leaves_a_job:
        return False
    horizon = FORGOTTEN if universe.is_finished else HORIZON
    found = [looked.again for looked in universe.passes.values()]
    waits = [again for again in found if again is not None and again <= horizon]
    if not waits or min(waits) <= 0:
        return False
    universe.cluster.now += datetime.timedelta(seconds=max(2.0, min(waits)))
    return True


def is_cancelled(name: str) -> Action:
    def action(universe: Universe) -> bool:
        if universe.cancelled:
            return False
        universe.cancelled = True
        universe.cluster.cancel(name)
        return True

    return action


# --- faults ---


def spend(universe: Universe) -> bool:
    universe.faults -= 1
    return universe.faults >= 0


def is_lost(universe: Universe) -> bool:
    """The node of a pod that was started ahead is drained, whatever the pod does."""
    for pod in universe.all_pods():
        if pod.warm and not pod.is_over and spend(universe):
            universe.cluster.end_pod(pod.name, 137, "", disrupted=True)
            return True
    return False


def is_deleted(universe: Universe) -> bool:
    """A pod that was started ahead is deleted by force.

    None whose program has said how it ends: such a one is waited for longer than time goes on here.
    """
    for pod in universe.all_pods():
        is_due = pod.warm and not pod.is_over and pod.uid not in universe.reports
        if is_due and spend(universe):
            universe.cluster.remove_pod(pod.name)
            failed = [{"type": "Failed", "status": "True"}]
            if pod.key.sibling(pod.job_name) in universe.cluster.objects("jobs"):
                universe.cluster.put("jobs", pod.job_name, status={"conditions": failed})
            return True
    return False


def ends_without_task(universe: Universe) -> bool:
    for pod in universe.all_pods():
        if pod.warm and not pod.is_over and pod.uid not in universe.handed and spend(universe):
            universe.cluster.end_pod(pod.name, 75, "NoTask: it was told to end")
            return True
    return False


def the_type_changes(universe: Universe) -> bool:
    if universe.changed or not spend(universe):
        return False
    universe.changed = True
    universe.cluster.put(names.LONGTASKTYPES, TYPE, spec={"container": {"image": "render:2"}})
    return True


Disturb = Callable[[Universe, str, str], bool]


def undisturbed(_what: str, _moment: str) -> None:
    """Let a request through."""


def crash(_universe: Universe, what: str, moment: str) -> bool:
    if moment == "after":
        raise CrashError
    return False


def lose(_universe: Universe, what: str, moment: str) -> bool:
    """It was done, and no answer comes. A sender has no errors of its own: its try has an end."""
    if moment == "after":
        raise errors.Unavailable("the answer was lost")
    return False


def refuse(_universe: Universe, what: str, moment: str) -> bool:
    if moment == "before":
        raise errors.Unavailable("not now")
    return False


def double(universe: Universe, what: str, moment: str) -> bool:
    """It arrives twice, and what is answered to the second one comes back."""
    if moment == "after":
        universe.cluster.repeat()
        return True
    return False


READS = frozenset({"read"})
#: What may become of a request, and costs a fault; and what is spared.
BREAKS: dict[str, tuple[Disturb, frozenset[str]]] = {
    "crash after": (crash, READS),
    "answer lost of": (lose, READS | {"send"}),
    "refused": (refuse, frozenset({"send"})),
    "doubled": (double, READS | {"send"}),
}


def meanwhile(action: Action) -> Disturb:
    """Something else happens just before the request."""

    def disturb(universe: Universe, _what: str, moment: str) -> bool:
        return moment == "before" and action(universe)

    return disturb


@dataclasses.dataclass(frozen=True)
class Disturbed:
    """A pass that is disturbed at its nth request."""

    one: Pass
    nth: int
    disturb: Disturb
    spares: frozenset[str] = frozenset()  #: requests to which it does nothing

    def may_be(self, universe: Universe) -> bool:
        """Tell whether it makes so many requests, and that one may be disturbed."""
        requests = universe.passes[self.one].requests
        return len(requests) >= self.nth and requests[self.nth - 1] not in self.spares

    def __call__(self, universe: Universe) -> bool:
        requests, hit, is_busy = 0, False, False

        def interrupt(what: str, moment: str) -> None:
            nonlocal requests, hit, is_busy
            if is_busy:
                return
            requests += moment == "before"
            if requests == self.nth:
                is_busy = True
                try:
                    hit |= self.disturb(universe, what, moment)
                except BaseException:
                    hit = True
                    raise
                finally:
                    is_busy = False

        universe.cluster.interrupt = interrupt
        try:
            self.one.run(universe)
        except CrashError:
            universe.cluster.interrupt = undisturbed
            universe.restart(self.one.who)
        finally:
            universe.cluster.interrupt = undisturbed
        return hit


class Course(NamedTuple):
    """What can happen."""

    calm: dict[str, Action]  #: by itself, in an order that leads to the end
    more: dict[str, Action]
    faults: dict[str, Action]

    @property
    def all(self) -> dict[str, Action]:
        return self.calm | self.more | self.faults


#: No pass makes more requests.
MOST_REQUESTS = 7


def course_of(
    operators: int,
    tasks: int,
    *,
    deaf: bool = False,
    interleaved: bool = True,
    reports: bool = True,
    fails: bool = False,
) -> Course:
    """Return all that can happen.

    Args:
        operators: How many there are.
        tasks: How many there are.
        deaf: Whether an operator may hear of one kind and not of others.
        interleaved: Whether things happen between two requests of a pass.
        reports: Whether programs say how they end.
        fails: Whether programs fail, too.
    """
    who, known = range(operators), list(TASKS)[:tasks]
    all_passes = [one for i in who for one in passes(i, *known)]
    calm: dict[str, Action] = {
        **{str(one): made(one) for one in all_passes},
        **{f"{name} is handed to its pod": is_handed(name) for name in known},
        "a pod starts": starts,
        **{f"the program of {name} ends well": ends(name, 0) for name in known},
        "a pod that was stopped ends": is_stopped,
        **{f"{i} hears": hears(i) for i in who},
        "time passes": time_passes,
    }
    of_others: dict[str, Action] = {
        **{f"{name} is cancelled": is_cancelled(name) for name in known},
        **{f"it is noted that {name} runs": is_noted(name) for name in known},
    }
    if reports:
        for name in known:
            said = says(name, 0, result={"value": 7})
            of_others[f"the program of {name} says that it succeeds"] = said
    if fails:
        for name in known:
            of_others[f"the program of {name} fails"] = ends(name, 1)
            said = says(name, 1, message="in its own words")
            of_others[f"the program of {name} says that it fails"] = said
    more = dict(of_others)
    if deaf:
        more |= {f"{i} hears of {what}": hears_of(i, what) for i in who for what in HEARD}
    losses: dict[str, Action] = {
        "a pod is lost": is_lost,
        "a pod is deleted": is_deleted,
        "a pod ends without a task": ends_without_task,
        "the type changes": the_type_changes,
    }
    if interleaved:
        handed = {f"{name} is handed to its pod": is_handed(name) for name in known}
        for one in all_passes:
            for other in all_passes:
                if other != one:
                    more |= between(one, {str(other): made(other)}, other.who == one.who)
            more |= between(one, handed | of_others)
    faults = dict(losses)
    for one in all_passes:
        for what, (disturb, spares) in BREAKS.items():
            for nth in range(1, MOST_REQUESTS + 1):
                name = f"{one}: {what} request {nth}"
                faults[name] = Disturbed(one, nth, costing(disturb), spares)
        if interleaved:
            faults |= between(one, losses)
    return Course(calm, more, faults)


def between(one: Pass, actions: dict[str, Action], same: bool = False) -> dict[str, Action]:
    """Return a pass with something else before any one of its requests.

    Before the first one it has asked nothing, so what happens then might as well come before the
    pass, if it is not the same operator's, who remembers it.
    """
    return {
        f"{one}: meanwhile {what}, before request {nth}": Disturbed(one, nth, meanwhile(action))
        for what, action in actions.items()
        for nth in range(1 if same else 2, MOST_REQUESTS + 1)
    }


HEARD = ("pods", names.LONGTASKS)


def costing(disturb: Disturb) -> Disturb:
    """Return what costs a fault, if there is one left."""

    def of_one(universe: Universe, what: str, moment: str) -> bool:
        try:
            hit = disturb(universe, what, moment)
        except BaseException:
            universe.faults -= 1
            raise
        universe.faults -= hit
        return hit

    return of_one


# --- what must hold ---


def check(before: Universe, after: Universe) -> None:
    """Check what no single step may do."""
    created = Counter(after.cluster.created_jobs)
    assert all(count == 1 for count in created.values()), "a second Job of one attempt"
    for pod in after.all_pods():
        named = after.named(pod.uid)
        assert len(named) <= 1, "two claims name one pod"
        if pod.uid in after.handed:
            assert named in ([], [after.handed[pod.uid]]), "it runs another's task"
    of_attempt = Counter(after.handed.values())
    assert all(count == 1 for count in of_attempt.values()), "two pods run one attempt"
    for name in (raw["metadata"]["name"] for raw in after.tasks()):
        check_task(name, before, after)


def check_task(name: str, before: Universe, after: Universe) -> None:
    was, now = before.status(name), after.status(name)
    sent = after.sent.get(name, ())
    assert len(set(sent)) <= 1, "two ids of one event"
    assert len(sent) <= len(after.believed) + after.excused, "sent though it was known to be sent"
    for earlier, later in zip(counted(was), counted(now), strict=False):
        assert earlier.get("attempt", 0) <= later.get("attempt", 0)
        assert later.get("attempt", 0) <= 1 + later.get("disruptions", 0), "it cost an attempt"
        assert later.get("disruptions", 0) <= 3
    if "finishedAt" in was:
        assert frozen(was) == frozen(now), "a finished task changed"
    known = {(step, one["number"]): one for step, one in attempts_of(was)}
    found = {(step, one["number"]): one for step, one in attempts_of(now)}
    for which, one in known.items():
        # Of a step the last attempt alone is told of.
        then = found.get(which, {}) if which[0] else found[which]
        assert not then or one.get("podUid") in (None, then.get("podUid")), "another pod"
        if "finishedAt" in one and not which[0]:
            assert then == one, "a second outcome of an attempt"
        elif "finishedAt" in one and then:
            parts = ("exitCode", "podUid", "finishedAt", "reason", "reportedAt")
            assert [one.get(part) for part in parts] == [then.get(part) for part in parts]
    for which, one in found.items():
        if "finishedAt" in one and "finishedAt" not in known.get(which, {}):
            check_end(one, one if which[0] else now, before, after)
    said = {one.get("podUid") for one in found.values() if "reportedAt" in one}
    living = [pod for pod in after.working() if pod.task.name == name and pod.uid not in said]
    assert len(living) <= 1, "two programs of one task"


def check_end(attempt: Raw, now: Raw, before: Universe, after: Universe) -> None:
    """Check the outcome of an attempt, as it is accepted, against what really happened."""
    exit_code, uid = attempt.get("exitCode"), attempt.get("podUid", "")
    report = after.reports.get(uid)
    if "reportedAt" in attempt:
        assert report is not None, "an end by a report that nobody stored"
        assert (exit_code, attempt["reportedAt"]) == (report["exitCode"], report["reportedAt"])
        return
    # What is stored was said before anybody asked for the end, and stands.
    assert report is None or report["exitCode"] != 0, "a report was passed over"
    if exit_code is None:
        assert now["phase"] != "Succeeded", "a success without a program's end"
        return
    known = [pod for pod in (*before.all_pods(), *after.all_pods()) if pod.uid == uid]
    assert known, "an exit code from nowhere"
    # Of one that is lost just after it was taken nobody knows whether it had the task.
    assert uid in after.handed or attempt["start"] != "Warm" or attempt["reason"] == "Disrupted"
    ends = {pod.end.exit_code for pod in known if pod.end is not None}
    assert ends == {exit_code}, "not what the program said"


def frozen(status: Raw) -> Raw:
    kept = [c for c in status["conditions"] if c["type"] != "CallbackDelivered"]
    free = dict.fromkeys(("callback", "observedGeneration", "contradictions"))
    return status | {"conditions": kept} | free


def what_is_missing(universe: Universe) -> str | None:
    """Return why this is no good end, or None."""
    for raw in universe.tasks():
        name, status = raw["metadata"]["name"], raw["status"]
        if "finishedAt" not in status:
            return f"{name} is {status.get('phase')}"
        last = (status.get("attempts") or [{}])[-1]
        allowed = {"Succeeded"}
        if raw["spec"].get("cancel"):
            allowed.add("Cancelled")
        if last.get("exitCode") or last.get("reason") == "StartTimeout":
            allowed.add("Failed")
        if status["phase"] not in allowed:
            return f"{name} is {status['phase']}: {last}"
        if status["callback"]["state"] != "Delivered":
            return "a callback was not delivered"
        if set(universe.sent[name]) != {status["callback"]["id"]}:
            return "another id was sent"
        if status["observedGeneration"] != raw["metadata"]["generation"]:
            return "a change of the spec was not observed"
    tasks = {raw["metadata"]["uid"] for raw in universe.tasks()}
    for raw in universe.cluster.objects("jobs").values():
        is_idle = not raw["metadata"]["labels"][names.TASK_LABEL]
        if "ttlSecondsAfterFinished" not in raw["spec"] and not is_idle:
            return "a Job stays for ever"
        if not is_idle and pods.controller_uid(raw["metadata"]) not in tasks:
            return "a Job is left that is no task's"
    idle = 0
    for pod in universe.all_pods():
        idle += pod.is_nobodys and not pod.is_over
        if pod.is_nobodys and not pod.warm and not pod.is_over:
            return "a pod that nobody may take waits for ever"
        if pod.task.name and not pod.is_over:
            return "a program still runs, or a pod that was taken waits for ever"
    return "more wait than should" if idle > 1 else None


# --- the search ---


@dataclasses.dataclass
class Node:
    """A state that was reached: how, and what the calm course of things leads to."""

    came_by: tuple[bytes, str] | None
    missing: str | None
    calm: bytes | None = None  #: the next state in the calm course; None where nothing changes
    is_open: bool = True  #: that is not known yet


class Search(Walk):
    """States that were reached, breadth first, each step checked.

    Args:
        first: Where it begins.
        course: What can happen.
    """

    def __init__(self, first: Universe, course: Course) -> None:
        self._course = course
        self._actions = tuple(course.all.items())
        first = first.fork()
        self.steps = 0
        self.nodes: dict[bytes, Node] = {first.fingerprint(): Node(None, what_is_missing(first))}
        self._frontier = deque([(next(iter(self.nodes)), first)])

    @property
    def left(self) -> int:
        """Return how many states were reached and not looked at."""
        return len(self._frontier)

    def explore(self, most: int) -> None:
        """Go on until there is nothing new, or there are so many states."""
        while self._frontier and len(self.nodes) < most:
            at, universe = self._frontier.popleft()
            self._expand(at, universe)

    def finish(self) -> None:
        """Follow the calm course of each state that was reached, to its good end."""
        while self._frontier:
            at, universe = self._frontier.popleft()
            self._follow(at, universe)
        ends: dict[bytes, bytes] = {}
        for at in self.nodes:
            end = self._calm_end(at, ends)
            missing = self.nodes[end].missing
            assert missing is None, f"{missing} after: {self.story(end)}"

    def _expand(self, at: bytes, universe: Universe) -> None:
        for name, action in self._actions:
            if name in self._course.faults and not universe.faults:
                break
            if isinstance(action, Disturbed) and not action.may_be(universe):
                continue
            found = self._step(at, universe, name, action)
            if found is None:
                continue
            to, after = found
            if to not in self.nodes:
                self.nodes[to] = Node((at, name), what_is_missing(after))
                self._frontier.append((to, after))
        self.nodes[at].is_open = False

    def _follow(self, at: bytes, universe: Universe) -> None:
        while self.nodes[at].is_open:
            for name, action in self._course.calm.items():
                found = self._step(at, universe, name, action)
                if found is not None and found[0] != at:
                    break
            else:
                found = None
            self.nodes[at].is_open = False
            if found is None:
                return
            before, (at, universe) = at, found
            if at not in self.nodes:
                self.nodes[at] = Node((before, name), what_is_missing(universe))

    def _step(
        self, at: bytes, universe: Universe, name: str, action: Action
    ) -> tuple[bytes, Universe] | None:
        after = universe.fork()
        after.passes = universe.passes
        try:
            if not action(after):
                return None
            check(universe, after)
        except (AssertionError, errors.Rejected, ValueError, KeyError, Refusal) as error:
            raise AssertionError(f"{error!r} after: {self.story(at, name)}") from error
        self.steps += 1
        after = after.fork()
        to = after.fingerprint()
        node = self.nodes[at]
        if node.calm is None and to != at and name in self._course.calm:
            node.calm = to
        return to, after


class Searched(NamedTuple):
    """What is searched."""

    name: str
    operators: int
    tasks: int
    faults: int
    most: int  #: states; no bound that is reached is passed over in silence
    seconds: int = 0
    cancels: bool = False
    deaf: bool = False
    interleaved: bool = True
    fails: bool = False
    is_chain: bool = False

    def begin(self) -> Search:
        """Return the search, before its first step."""
        first = Universe.begin(
            tasks=self.tasks,
            operators=self.operators,
            faults=self.faults,
            seconds=self.seconds,
            cancels=self.cancels,
            is_chain=self.is_chain,
        )
        course = course_of(
            self.operators,
            self.tasks,
            deaf=self.deaf,
            interleaved=self.interleaved,
            fails=self.fails,
        )
        return Search(first, course)

    def run(self) -> Found:
        """Search as far as that, and tell what was found."""
        begun = time.process_time()
        search = self.begin()
        search.explore(self.most)
        states, left = len(search.nodes), search.left
        search.finish()
        return Found(self.name, states, left, search.steps, time.process_time() - begun)
