"""The faults, one after the other: what is broken, and how its twenty tasks must end all the same.

The numbers are those of docs/reliability.md. Each case hands its tasks over, breaks something,
mends it, and returns how each task must end; whoever ran it waits for that and judges.
"""

import dataclasses
import itertools
import json
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpx

from e2e_support import eventually
from fault_checker import Expected
from fault_proxy import Bend, Crash, Cut, Refuse, Rule, error_line
from fault_stage import COUNT, LABEL, MAX_RUNNING, QUEUE_MANIFEST, Stage
from longtask_crds import names, v1alpha1
from longtask_crds.v1alpha1 import Phase
from preemption_support import preempt

SUCCEEDED = Expected()
#: A disruption gives another attempt for nothing, three times at most.
DISRUPTED = Expected(attempts=range(1, 5))
TASK_WRITES = frozenset({"longtasks/status", "jobs"})
WATCH, LIST = frozenset({"watch"}), frozenset({"list"})

#: So many programs run side by side before they are broken: of ten some may have ended by then.
_MANY: Final = 8

Ends = Expected | Mapping[str, Expected]


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault, and how it is brought about."""

    id: str
    what: str
    act: Callable[[Stage], Ends]
    within: float = 240  #: seconds until all have ended


def killed_at_each_write(stage: Stage) -> Ends:
    points = [(f"W{n}", after) for n in range(1, 7) for after in (False, True)]
    for number, (step, after) in enumerate(points):
        stage.submit(2 if number < COUNT - len(points) else 1, seconds=4)
        crash = Rule(Crash(stage.kill_operator, after), steps=frozenset({step}), times=1)
        with stage.proxy.breaking(crash):
            _wait_for_hits(crash, 1)
        stage.operator.ready()
    return SUCCEEDED


def answers_lost(stage: Stage) -> Ends:
    with stage.proxy.breaking(_each_third_write(Cut(after=True))):
        stage.submit()
        stage.wait_for(_is_finished, within=120)
    return SUCCEEDED


def api_server_away(stage: Stage) -> Ends:
    stage.submit(seconds=4)
    stage.wait_until_running(MAX_RUNNING // 2)
    with stage.proxy.away():
        stage.pause(30)
    stage.mark()
    return SUCCEEDED


def etcd_frozen_and_errors_in_watches(stage: Stage) -> Ends:
    stage.submit(seconds=4)
    stage.wait_until_running(MAX_RUNNING // 2)
    with stage.frozen("etcd"):
        stage.pause(20)
    stage.mark()
    first = _first_line_of_each_watch(error_line(500, "InternalError"))
    with stage.proxy.breaking(Rule(Bend(first), verbs=WATCH, times=4)) as (rule,):
        _wait_for_hits(rule, 2)
        stage.pause(2)
    stage.mark()
    return SUCCEEDED


def conflicts(stage: Stage) -> Ends:
    conflict = Refuse(409, "Conflict", "the object has been modified")
    with stage.proxy.breaking(_each_third_write(conflict, resources=["longtasks/status"])):
        stage.submit()
        stage.wait_for(_is_finished, within=120)
    return SUCCEEDED


def versions_too_old(stage: Stage) -> Ends:
    expired = Refuse(410, "Expired", "too old resource version")
    stage.submit(seconds=3)
    first = _first_line_of_each_watch(error_line(410, "Expired"))
    rules = (
        Rule(expired, verbs=LIST, times=2),
        Rule(expired, verbs=WATCH, times=2),
        Rule(Bend(first), verbs=WATCH, times=4),
    )
    with stage.proxy.breaking(*rules):
        _wait_for_hits(rules[2], 2)
        stage.pause(3)
    stage.mark()
    return SUCCEEDED


def events_repeated_and_out_of_order(stage: Stage) -> Ends:
    seen: list[bytes] = []

    def replay(line: bytes) -> Iterable[bytes]:
        if b'"BOOKMARK"' in line or b'"ERROR"' in line:
            return [line]
        seen.append(line)
        # What happened before, after what came of it.
        return [line, line, *seen[-8:-2:3], seen[len(seen) // 2]]

    # A line is repeated in the watch it came by: each watch has its own rule.
    rules = [
        Rule(Bend(replay), verbs=WATCH, resources=frozenset({kind}))
        for kind in ("longtasks", "pods")
    ]
    for rule in rules:
        seen.clear()
        with stage.proxy.breaking(rule):
            stage.submit(COUNT // 2)
            stage.wait_for(_is_finished, within=120)
    return SUCCEEDED


def silent_watches(stage: Stage) -> Ends:
    with stage.proxy.breaking(Rule(Bend(lambda _: ()), verbs=WATCH)):
        stage.pause(3)  # the watches are open again
        began = time.time()
        stage.mark()
        stage.submit()
        eventually(lambda: _steps_since(stage, began), bool, within=120)
    return SUCCEEDED


def missed_events(stage: Stage) -> Ends:
    missed: set[str] = set()

    def swallow(line: bytes) -> Iterable[bytes]:
        event = json.loads(line)
        name = event["object"].get("metadata", {}).get("name", "")
        is_odd = name.startswith(stage.stamp) and int(name[-2:]) % 2
        if is_odd and event["type"] == "ADDED" and name not in missed:
            missed.add(name)
            return ()
        return (line,)

    rule = Rule(Bend(swallow), verbs=WATCH, resources=frozenset({"longtasks"}))
    with stage.proxy.breaking(rule):
        stage.pause(3)  # the watches are open again
        stage.submit()
        eventually(lambda: len(missed), lambda n: n == COUNT // 2, within=20)
        for task in stage.wait_for(lambda task: bool(task.status.attempts), within=120):
            if task.metadata.name in missed:
                claimed_at = _first_attempt(task).claimed_at
                assert claimed_at is not None
                waited = claimed_at - task.metadata.created_at
                stage.measured.append(waited.total_seconds())
    return SUCCEEDED


def too_many_requests(stage: Stage) -> Ends:
    stage.submit(seconds=3)
    stage.wait_until_running(MAX_RUNNING // 2)
    with stage.proxy.breaking(Rule(Refuse(429, "TooManyRequests", retry_after=1))):
        stage.proxy.hang_up()
        stage.pause(20)
    stage.mark()
    return SUCCEEDED


def rights_taken_away(stage: Stage) -> Ends:
    binding = ("rolebinding", "longtask-operator")
    stage.submit(seconds=3)
    stage.wait_until_running(MAX_RUNNING // 2)
    before = stage.kubectl.get(*binding)
    for stale in ("uid", "resourceVersion", "creationTimestamp"):
        del before["metadata"][stale]
    stage.kubectl("delete", *binding)
    try:
        stage.proxy.hang_up()
        stage.pause(90)
    finally:
        stage.kubectl("create", "-f", "-", stdin=json.dumps(before))
    stage.mark()
    return SUCCEEDED


def quota_full(stage: Stage) -> Ends:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": stage.stamp},
        "spec": {"hard": {"pods": "0"}},
    }
    stage.kubectl.apply(json.dumps(quota))
    try:
        stage.submit()
        stage.wait_for(lambda task: "quota" in (task.status.waiting or ""), count=1, within=60)
    finally:
        stage.kubectl("delete", "resourcequota", stage.stamp)
    stage.mark()
    return SUCCEEDED


def node_silent(stage: Stage) -> Ends:
    stage.submit(seconds=5)
    stage.wait_until_running(MAX_RUNNING // 2)
    with stage.frozen("kubelet"):
        stage.pause(60)
    stage.mark()
    return SUCCEEDED


def evicted_and_preempted(stage: Stage) -> Ends:
    stage.submit(seconds=15)
    for pod in stage.pods(*stage.wait_until_running(_MANY)):
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
        }
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
        stage.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    stage.mark()
    stage.wait_for(lambda task: (task.status.attempt or 0) >= 2, count=1, within=60)
    stage.wait_until_running(MAX_RUNNING // 2)
    (node,) = stage.kubectl.get("nodes")["items"]
    preempt(stage.kubectl, node["metadata"]["name"], stage.stamp)
    stage.mark()
    return DISRUPTED


def out_of_memory(stage: Stage) -> Ends:
    stage.submit(given={"fill": 200})
    return Expected(Phase.FAILED, frozenset({v1alpha1.Reason.OOM_KILLED}))


def pods_that_cannot_start(stage: Stage) -> Ends:
    soon = {"startSeconds": 5}
    stage.submit(COUNT // 2, container={"image": "localhost/no-such-image:1"}, timeouts=soon)
    stage.submit(COUNT // 2, resources={"requests": {"cpu": "4"}}, timeouts=soon)
    return Expected(Phase.FAILED, frozenset({v1alpha1.Reason.START_TIMEOUT}))


def jobs_deleted(stage: Stage) -> Ends:
    stage.submit(seconds=15, retry={"maxAttempts": 3, "backoffSeconds": 1})
    running = stage.wait_until_running(_MANY)
    jobs = {
        task.metadata.name: _first_attempt(task).job_name
        for task in stage.tasks()
        if task.metadata.name in running
    }
    modes = itertools.cycle(["background", "foreground", "orphan"])
    ends = {}
    for (task, job), mode in zip(jobs.items(), modes, strict=False):
        stage.kubectl("delete", "job", job, f"--cascade={mode}", "--wait=false")
        # The recorded pod of an orphaned one goes on, and counts.
        ends[task] = SUCCEEDED if mode == "orphan" else DISRUPTED
    stage.mark()
    return ends


def pods_deleted_by_force(stage: Stage) -> Ends:
    stage.submit(seconds=15)
    running = stage.wait_until_running(_MANY)
    pods = [pod["metadata"]["name"] for pod in stage.pods(*running)]
    stage.kubectl("delete", "pod", *pods, "--force", "--grace-period=0", "--wait=false")
    stage.mark()
    return DISRUPTED


def tasks_deleted(stage: Stage) -> Ends:
    """Half of them while the operator is there, half while it is not."""
    stage.submit(seconds=60)
    for is_there in (True, False):
        running = stage.wait_until_running()
        if not is_there:
            stage.operator.stop()
        began = time.monotonic()
        stage.kubectl("delete", "lt", *running, "--wait=false")
        stage.deleted.update(running)
        stage.wait_until_stopped(*running)
        stage.measured.append(time.monotonic() - began)
    stage.operator.start()
    stage.operator.ready()
    return SUCCEEDED


def namespace_deleted(stage: Stage) -> Ends:
    """Delete a namespace of its own, with an operator of its own, while its tasks run."""
    place, second = stage.stamp, stage.operators[1]
    account = {"kind": "ServiceAccount", "name": "longtask-operator", "namespace": "longtask"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "operator"},
        "roleRef": role,
        "subjects": [account],
    }
    pods_account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "longtask-task"},
    }
    tasks = [f"{stage.stamp}-{number:02}" for number in range(COUNT)]
    manifests = [binding, pods_account, QUEUE_MANIFEST, *(_task(stage, name) for name in tasks)]
    whole = {"apiVersion": "v1", "kind": "List", "items": manifests}
    stage.kubectl("create", "namespace", place)
    try:
        stage.kubectl("create", "-n", place, "-f", "-", stdin=json.dumps(whole))
        second.start(LONGTASK_NAMESPACE=place)
        second.ready()

        def running() -> list[Any]:
            pods = stage.kubectl.get("pods", "-n", place, "--field-selector=status.phase=Running")
            return list(pods["items"])

        eventually(running, lambda pods: len(pods) >= _MANY, within=120)
        stage.acknowledged.extend(tasks)
        stage.deleted.update(tasks)
        began = time.monotonic()
        stage.kubectl("delete", "namespace", place, "--timeout=150s")
        stage.measured.append(time.monotonic() - began)
        if second.starts > 1:
            stage.problems.append(f"its operator was started {second.starts} times")
    finally:
        second.stop()
        stage.kubectl("delete", "namespace", place, "--ignore-not-found", "--wait=false")
    return SUCCEEDED


def _task(stage: Stage, name: str) -> dict[str, Any]:
    spec = {key: value for key, value in stage.order(seconds=60).items() if key != "labels"}
    return {
        "apiVersion": names.API_VERSION,
        "kind": "LongTask",
        "metadata": {"name": name, "labels": {LABEL: stage.stamp}},
        "spec": spec,
    }


def status_wiped(stage: Stage) -> Ends:
    stage.submit(seconds=15)
    stage.may_go_back = True
    for task in stage.wait_until_running(_MANY):
        stage.patch_status(task, [{"op": "remove", "path": "/status"}])
    stage.mark()
    return SUCCEEDED


def spec_edited(stage: Stage) -> Ends:
    for task in stage.submit():
        edit = {"spec": {"input": {"seconds": 0}, "container": {"image": "other"}}}
        said = stage.kubectl(
            "patch", "lt", task, "--type=merge", "-p", json.dumps(edit), check=False
        )
        if "cannot be changed" not in said:
            stage.problems.append(f"{task} was edited: {said}")
    return SUCCEEDED


def two_operators(stage: Stage) -> Ends:
    second = stage.operators[1]
    second.start()
    try:
        second.ready()
        stage.submit(COUNT // 2)
        stage.wait_for(lambda task: bool(task.status.attempts), count=3)
        stage.kill_operator()
        stage.submit(COUNT // 2)
        stage.wait_for(_is_finished, within=120)
    finally:
        second.stop()
    return SUCCEEDED


def clocks_that_differ(stage: Stage) -> Ends:
    """Ten minutes ahead, ten behind, and set back by an hour while tasks run and wait."""
    for ahead in (600, -600):
        with stage.other_clock(ahead):
            stage.submit(COUNT // 4, seconds=1)
            stage.wait_for(lambda task: _is_finished(task) and _is_delivered(task))
    with stage.other_clock(0) as set_clock:
        stage.submit(COUNT - len(stage.acknowledged), seconds=5)
        stage.wait_until_running(MAX_RUNNING // 2)
        set_clock(-3600)
        stage.mark()
        stage.wait_for(lambda task: _is_finished(task) and _is_delivered(task))
    return SUCCEEDED


def etcd_full(stage: Stage) -> Ends:
    stage.submit(COUNT // 2, seconds=4)
    stage.wait_until_running(MAX_RUNNING // 2)
    with stage.etcd_full():
        for _ in range(COUNT // 2):
            status = stage.rest.post("/api/v1/tasks", json=stage.order()).status_code
            stage.refused.append(str(status))
            if status not in (503, 507):
                stage.problems.append(f"a task that was not stored was answered with {status}")
            stage.pause(2)
    stage.mark()
    return SUCCEEDED


def upgraded(stage: Stage) -> Ends:
    """Apply the definitions anew and roll both programs, forth and back, under running tasks."""
    root = Path(__file__).resolve().parents[2]
    helm = ("helm", "-n", "longtask")
    forth = ("upgrade", "longtask", root / "charts/longtask", "--reuse-values", "--skip-crds")
    with stage.installed_operator_back():
        stage.submit(MAX_RUNNING // 2, seconds=20)
        stage.wait_until_running(MAX_RUNNING // 2)
        stage.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(root / "crds"))
        for words in ((*forth, "--set", "logLevel=DEBUG"), ("rollback", "longtask")):
            subprocess.run([*helm, *words], check=True, capture_output=True)
            for _ in range(5):
                name = f"{stage.stamp}-{len(stage.acknowledged):02}"
                _submit_until_answered(stage, name)
                stage.acknowledged.append(name)
            for program in ("api", "operator"):
                rollout = ("rollout", "status", f"deploy/longtask-{program}", "-n", "longtask")
                stage.kubectl(*rollout, "--timeout=120s")
        stage.submit(COUNT - len(stage.acknowledged))
        stage.wait_for(lambda task: _is_finished(task) and _is_delivered(task))
    return SUCCEEDED


def bad_receivers(stage: Stage) -> Ends:
    bad = ("failing", "busy", "redirecting", "gone", "hanging", "resetting", "trickling")
    manners = (*bad, "flooding", "well", "well")
    ends = {}
    for manner in manners * (COUNT // len(manners)):
        task = stage.submit_one(seconds=1, manner=manner)
        ends[task] = Expected(delivered=manner != "gone")
    return ends


def too_large(stage: Stage) -> Ends:
    for _ in range(COUNT // 2):
        stage.submit(1)
        order = stage.order(given={"more": "x" * 2**16})
        answer = stage.rest.post("/api/v1/tasks", json=order)
        stage.refused.append(str(answer.status_code))
        if answer.status_code != 413:
            stage.problems.append(f"too large an input was answered with {answer.status_code}")
    return SUCCEEDED


def poison(stage: Stage) -> Ends:
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    soon = {"startSeconds": 5}
    usual = stage.order()
    specs: list[dict[str, Any]] = [
        {"type": "no-such-type"},
        {"type": "fibonacci", "input": {"n": deep}},
        {"type": "fibonacci", "input": {"n": "\ud83d"}},
        {"type": "sleep", "input": {"seconds": 1e300}},
        usual | {"callback": {"url": "http://169.254.169.254/latest"}},
        # White space to some, and none to the API server.
        usual | {"callback": {"url": "https://a\u00a0b.example/"}},
        usual | {"container": usual["container"] | {"command": ["a\0b"]}, "timeouts": soon},
    ]
    ends = {}
    stage.submit(7)
    for spec in specs:
        name = f"{stage.stamp}-{len(stage.acknowledged):02}"
        wanted = {key: value for key, value in spec.items() if key != "labels"}
        task = _task(stage, name) | {"spec": wanted}
        path = "/apis/longtask.dev/v1alpha1/namespaces/longtasks/longtasks"
        said = stage.kubectl(
            "create", "--raw", path, "-f", "-", stdin=json.dumps(task), check=False
        )
        if '"uid"' in said:
            stage.acknowledged.append(name)
            ends[name] = Expected(Phase.FAILED, attempts=range(2), delivered=False)
        else:
            stage.refused.append(said[-200:])
    stage.submit(6)
    return ends


def api_killed(stage: Stage) -> Ends:
    waited = []
    for number in range(COUNT):
        if number in (5, 12):
            pods = ("pod", "-n", "longtask", "-l", "app.kubernetes.io/component=api")
            stage.kubectl("delete", *pods, "--force", "--grace-period=0", "--wait=false")
        name = f"{stage.stamp}-{number:02}"
        began = time.monotonic()
        _submit_until_answered(stage, name)
        stage.acknowledged.append(name)
        waited.append(time.monotonic() - began)
    stage.measured.append(max(waited))
    return SUCCEEDED


def _submit_until_answered(stage: Stage, name: str) -> None:
    """Hand over a task as who asks with the same key until there is an answer."""
    order, key = stage.order(seconds=1) | {"name": name}, {"Idempotency-Key": name}

    def submit() -> int:
        try:
            return stage.rest.post("/api/v1/tasks", json=order, headers=key).status_code
        except httpx.HTTPError:
            return 0

    eventually(submit, lambda status: status in (200, 202), within=120)


def operator_down(stage: Stage) -> Ends:
    stage.operator.stop()
    stage.submit(seconds=1)
    stage.operator.start()
    stage.mark()
    done = stage.wait_for(_is_finished)
    in_order = sorted(done, key=lambda task: task.metadata.name)
    claimed = [at for task in in_order if (at := _first_attempt(task).claimed_at) is not None]
    # Places that get free at the same time are taken so: by who is next, in no order among them.
    together = timedelta(seconds=2)
    if any(earlier - later > together for earlier, later in itertools.combinations(claimed, 2)):
        stage.problems.append("they did not start in the order in which they came")
    return SUCCEEDED


def operator_frozen(stage: Stage) -> Ends:
    stage.submit(seconds=4)
    stage.wait_until_running(MAX_RUNNING // 2)
    with stage.operator.frozen():
        stage.pause(40)
    stage.mark()
    return SUCCEEDED


def _is_finished(task: v1alpha1.LongTask) -> bool:
    return task.is_finished


def _is_delivered(task: v1alpha1.LongTask) -> bool:
    callback = task.status.callback
    return callback is not None and callback.state is v1alpha1.CallbackState.DELIVERED


def _first_attempt(task: v1alpha1.LongTask) -> v1alpha1.Attempt:
    return min(task.status.attempts or [], key=lambda attempt: attempt.number)


def _wait_for_hits(rule: Rule, count: int) -> None:
    eventually(lambda: rule.hits, lambda hits: hits >= count, within=120)


def _each_third_write(effect: Cut | Refuse, resources: Iterable[str] = TASK_WRITES) -> Rule:
    return Rule(
        effect,
        verbs=frozenset({"create", "patch"}),
        resources=frozenset(resources),
        every=3,
        times=COUNT,
    )


def _first_line_of_each_watch(instead: bytes) -> Callable[[bytes], Iterable[bytes]]:
    return lambda _: (instead,)


def _steps_since(stage: Stage, moment: float) -> int:
    return sum(bool(entry.call.step) and entry.at > moment for entry in stage.proxy.history)


FAULTS: Final = (
    Fault("F1", "operator killed before and after each of its six writes", killed_at_each_write),
    Fault("F2", "each third write is done, its answer lost", answers_lost),
    Fault("F3", "API server away for 30 s", api_server_away),
    Fault("F4", "etcd frozen for 20 s; ERROR 500 in watches", etcd_frozen_and_errors_in_watches),
    Fault("F5", "409 on each third write of a status", conflicts),
    Fault("F6", "410 on lists, on watches and inside them", versions_too_old),
    Fault("F7", "events repeated, and old ones after newer", events_repeated_and_out_of_order),
    Fault("F8", "watches that say nothing", silent_watches),
    Fault("F9", "the first event of each second task swallowed", missed_events),
    Fault("F10", "429 on everything for 20 s", too_many_requests),
    Fault("F11", "the operator's rights taken away for 90 s", rights_taken_away),
    Fault("F12", "a quota without room for a pod", quota_full),
    Fault("F13", "kubelet frozen for 60 s", node_silent),
    Fault("F14", "eight pods evicted, then some preempted", evicted_and_preempted),
    Fault("F15", "out of memory", out_of_memory),
    Fault("F16", "an image that is not there; no node that fits", pods_that_cannot_start),
    Fault("F17", "eight Jobs deleted, in each cascade mode", jobs_deleted),
    Fault("F18", "eight pods deleted by force", pods_deleted_by_force),
    Fault("F19", "tasks deleted while they run, with the operator and without", tasks_deleted),
    Fault("F20", "the namespace deleted while ten tasks run in it", namespace_deleted),
    Fault("F21", "the status of eight running tasks wiped", status_wiped),
    Fault("F22", "the spec edited", spec_edited),
    Fault("F23", "two operators, one of them killed", two_operators),
    Fault(
        "F24", "the operator's clock 10 min ahead, behind, and set back by 1 h", clocks_that_differ
    ),
    Fault("F25", "bad receivers of eight kinds", bad_receivers, within=300),
    Fault("F26", "etcd full for 20 s, as its alarm says", etcd_full),
    Fault("F27", "an input too large", too_large),
    Fault("F28", "poison, beside ordinary tasks", poison),
    Fault("F29", "upgraded and rolled back while tasks run, CRDs applied anew", upgraded),
    Fault("F30", "API killed twice while tasks are handed over", api_killed),
    Fault("F31", "tasks handed over while the operator is down", operator_down),
    Fault("F32", "operator frozen for 40 s", operator_frozen),
)
