"""The faults of nodes, which need a cluster that has several: kind, with workers.

A node is a container there, so it can be lost for good. Each case hands its tasks over, loses a
node or empties it, and returns how each task must end.
"""

import os
import subprocess
from collections.abc import Iterable
from typing import Final

from e2e_support import eventually
from fault_cases import DISRUPTED, Ends, Fault
from fault_checker import Expected
from fault_stage import MAX_RUNNING, Stage
from longtask_crds import names, v1alpha1
from preemption_support import preempt

#: The one that is lost, or emptied.
WORKER: Final = "longtask-worker2"
NODES: Final = 3
#: Until Kubernetes holds a silent node for lost, and a while more.
_SILENT_SECONDS: Final = 60
#: So much that no node takes all of them, and two take those of the third.
_LARGE: Final = {
    "requests": {"cpu": "300m", "memory": "24Mi"},
    "limits": {"memory": "64Mi"},
}
#: A program that died with its node has failed, which costs an attempt.
_RETRIED: Final = {"maxAttempts": 3, "backoffSeconds": 1}


def node_lost(stage: Stage) -> Ends:
    """A worker's power is cut, and somebody says that it is gone."""
    stage.submit(seconds=25, resources=_LARGE)
    there = _spread(stage)
    _docker("kill", WORKER)
    try:
        stage.pause(_SILENT_SECONDS)
        _nothing_began_anew(stage, there)
        stage.kubectl("delete", "node", WORKER)
        stage.mark()
        stage.wait_for(lambda task: task.is_finished, within=240)
    finally:
        _back(stage)
    return _begun_anew(stage, there)


def node_back(stage: Stage) -> Ends:
    """A worker's power is cut, and comes back before anybody gives it up."""
    stage.submit(seconds=25, resources=_LARGE, retry=_RETRIED)
    there = _spread(stage)
    _docker("kill", WORKER)
    try:
        stage.pause(_SILENT_SECONDS)
        _nothing_began_anew(stage, there)
    finally:
        _back(stage)
    stage.mark()
    return Expected(attempts=range(1, 7))


def node_drained(stage: Stage) -> Ends:
    """A worker is emptied by evictions, as for an upgrade of it."""
    stage.submit(seconds=15, resources=_LARGE)
    there = _spread(stage)
    try:
        words = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=120s")
        stage.kubectl("drain", WORKER, *words)
        stage.mark()
        left = [task for task, node in _node_of(stage, there).items() if node == WORKER]
        if left:
            stage.problems.append(f"pods of {', '.join(left)} are still on the drained node")
        stage.wait_for(lambda task: task.is_finished, within=240)
    finally:
        stage.kubectl("uncordon", WORKER)
    return _begun_anew(stage, there)


def node_preempted(stage: Stage) -> Ends:
    """Something more important needs the whole of a worker."""
    stage.submit(seconds=15, resources=_LARGE)
    there = _spread(stage)
    preempt(stage.kubectl, WORKER, stage.stamp)
    stage.mark()
    return _begun_anew(stage, there)


FAULTS: Final = (
    Fault("F13.1", "a worker's power cut, its Node deleted a minute later", node_lost, 300),
    Fault("F13.2", "a worker's power cut for a minute", node_back, 300),
    Fault("F14.1", "a worker drained", node_drained, 300),
    Fault("F14.2", "a worker's pods preempted", node_preempted, 300),
)


def _spread(stage: Stage) -> list[str]:
    """Wait until all places are taken; return who runs on the worker that is about to go."""
    running = stage.wait_until_running(MAX_RUNNING, within=180)
    node_of = _node_of(stage, running)
    nodes = set(node_of.values())
    if len(nodes) != NODES:
        stage.problems.append(f"the tasks ran on {len(nodes)} nodes of {NODES}")
    there = [task for task, node in node_of.items() if node == WORKER]
    if not there:
        stage.problems.append(f"no task ran on {WORKER}")
    return there


def _node_of(stage: Stage, tasks: Iterable[str]) -> dict[str, str]:
    """Return the node of each task that has a pod which has not ended."""
    return {
        pod["metadata"]["labels"][names.TASK_LABEL]: pod["spec"].get("nodeName", "")
        for pod in stage.pods(*tasks)
    }


def _begun_anew(stage: Stage, there: Iterable[str]) -> Ends:
    """Return a second program for whoever was there; others may have been sent there since."""
    return {task: Expected(attempts=range(2, 5)) for task in there} | {
        task: DISRUPTED for task in stage.acknowledged if task not in there
    }


def _nothing_began_anew(stage: Stage, there: Iterable[str]) -> None:
    """While the first program may still run on a silent node, no second one may."""
    known = {task.metadata.name: task for task in stage.tasks()}
    for name in there:
        attempt = known[name].status.attempt or 0
        if attempt > 1:
            stage.problems.append(f"{name} began attempt {attempt} while its node was only silent")
        if known[name].phase is not v1alpha1.Phase.RUNNING:
            stage.problems.append(f"{name} is {known[name].phase} although its node is silent")


def _back(stage: Stage) -> None:
    """Give the worker its power, and wait until it takes pods."""
    _docker("start", WORKER)

    def is_ready() -> bool:
        said = stage.kubectl(
            *("wait", "--for=condition=Ready", f"node/{WORKER}", "--timeout=2s"), check=False
        )
        return "condition met" in said

    eventually(is_ready, bool, within=120)


def _docker(*words: str) -> None:
    host = os.environ.get("LONGTASK_DOCKER_HOST")
    environment = {**os.environ, **({"DOCKER_HOST": host} if host else {})}
    subprocess.run(["docker", *words], env=environment, check=True, capture_output=True)
