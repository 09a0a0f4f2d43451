"""Pods that are started ahead, each for one task: which there should be, and whose one is. Pure.

A pod that waits belongs to nobody until it is taken: one write of it, which succeeds for one taker
only, gives it the task's labels. Only then a claim names it. So no two claims name one pod, and a
pod that was taken is never given back.
"""

import dataclasses
import hashlib
import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from longtask_crds import effective, json_values, last_words, names, runner_contract, v1alpha1
from longtask_crds.v1alpha1 import Reason, placement
from longtask_operator.rules import job_manifest, outcome, pod_spec, pods, timeouts

#: So long after one was taken nothing is started: what was asked for in the same moment comes
#: first, and a start takes the processor from it.
QUIET = timedelta(seconds=1)
#: After one that did not wait as it should, or was refused: twice as long each time.
FIRST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(seconds=300)
DEFAULT_AGE = 3600
#: By how much the deadline of a pod may be too late before it is set anew, in seconds.
_DEADLINE_SLACK = 5


@dataclasses.dataclass(frozen=True)
class Unit:
    """A Job that was started ahead and that nobody has taken, and its pod if it has one yet."""

    job: pods.Job
    pod: pods.Pod | None = None
    is_leaving: bool = False  #: its node is cordoned: most are drained next

    @property
    def is_idle(self) -> bool:
        """Tell whether its program waits."""
        return self.pod is not None and self.is_sound and self.pod.started_at is not None

    @property
    def is_sound(self) -> bool:
        """Tell whether it waits, or yet will."""
        job, pod = self.job, self.pod
        if self.is_leaving or not job.exists or job.is_deleting or job.is_finished:
            return False
        return pod is None or not (
            # It was dropped, and its Job was not yet deleted.
            not pod.warm
            or pod.is_over
            or pod.is_deleting
            or pod.is_disrupted
            or pod.end is not None
        )

    @property
    def has_failed(self) -> bool:
        """Tell whether its program ended by itself, without a task."""
        pod = self.pod
        return pod is not None and pod.end is not None and not pod.is_deleting


@dataclasses.dataclass(frozen=True)
class Before:
    """What happened lately."""

    taken_at: datetime | None = None  #: one was
    failed_at: datetime | None = None  #: one was refused, or did not wait
    failures: int = 0  #: in a row

    @property
    def not_before(self) -> datetime | None:
        """Return when something may be started again."""
        quiet = self.taken_at + QUIET if self.taken_at else None
        pause = FIRST_PAUSE * 2.0 ** min(self.failures - 1, 10) if self.failures else None
        rested = self.failed_at + min(pause, LONGEST_PAUSE) if self.failed_at and pause else None
        return max((at for at in (quiet, rested) if at is not None), default=None)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be done for one type."""

    recycle: tuple[Unit, ...] = ()  #: they are to go
    start: int = 0  #: so many more
    look_at: datetime | None = None  #: then something may be to do again


def plan(
    wanted: v1alpha1.Warm | None,
    template: str,
    units: Iterable[Unit],
    *,
    before: Before,
    now: datetime,
) -> Plan:
    """Return what makes of the pods that wait those that should.

    Args:
        wanted: What the type says; None if it keeps none, or is gone.
        template: The sum of what a Job of it is made of now.
        units: What there is.
        before: What happened lately.
        now: The time.
    """
    found = sorted(units, key=lambda unit: (unit.job.created_at or now, unit.job.name))
    if wanted is None:
        return Plan(recycle=tuple(found))
    useless = [u for u in found if not u.is_sound or u.job.template != template]
    sound = [unit for unit in found if unit not in useless]
    oldest = now - timedelta(seconds=_first(wanted.max_age_seconds, DEFAULT_AGE))
    fresh = [unit for unit in sound if (unit.job.created_at or now) > oldest]
    # Those that are too old serve until others can.
    aged = [unit for unit in sound if unit not in fresh]
    if sum(unit.is_idle for unit in fresh) >= wanted.size:
        useless += aged
    # Of too many those go first that do not wait yet.
    spare = sorted(fresh, key=lambda unit: not unit.is_idle)[wanted.size :]
    missing = wanted.size - (len(fresh) - len(spare))
    is_short = missing > 0 and len(fresh) <= _first(wanted.min_idle, wanted.size - 1)
    not_before = before.not_before
    waits = is_short and not_before is not None and now < not_before
    ages = [(u.job.created_at or now) + (now - oldest) for u in fresh if u not in spare]
    return Plan(
        recycle=(*useless, *spare),
        start=missing if is_short and not waits else 0,
        look_at=timeouts.earliest(*ages, not_before if waits else None),
    )


#: What Kubernetes puts on a node that is cordoned.
_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"


def tolerates_cordons(placed: v1alpha1.Placement | None) -> bool:
    """Tell whether pods are at home on a node that is cordoned: their like would go there again."""
    return any(
        one.key in (None, _UNSCHEDULABLE)
        and one.effect in (None, placement.TaintEffect.NO_SCHEDULE)
        # The taint has no value.
        and (one.operator is placement.TolerationOperator.EXISTS or (one.key and not one.value))
        for one in (placed.tolerations if placed else None) or ()
    )


def manifest(
    task_type: v1alpha1.LongTaskType,
    installation: effective.Installation,
    surroundings: pod_spec.Surroundings,
) -> dict[str, Any]:
    """Return a Job of a type that waits for a task; it has no name yet."""
    meta = task_type.metadata
    spec = spec_of(task_type, installation)
    labels = {
        # There is none yet, and all that looks for pods of tasks sees it.
        names.TASK_LABEL: "",
        names.WARM_LABEL: meta.name,
        "app.kubernetes.io/managed-by": "longtask",
        "app.kubernetes.io/part-of": "longtask",
    }
    template = {
        "metadata": {"labels": labels | {names.EGRESS_LABEL: spec.egress.value}},
        "spec": pod_spec.build_waiting(spec, surroundings=surroundings),
    }
    digest = hashlib.sha256(json_values.compact(template).encode()).digest()
    marked = {names.TEMPLATE_ANNOTATION: names.letters(digest)[:16]}
    owner = {
        "apiVersion": names.API_VERSION,
        "kind": "LongTaskType",
        "name": meta.name,
        "uid": meta.uid,
        "controller": True,
    }
    template["metadata"]["annotations"] = marked
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "namespace": meta.namespace,
            "labels": labels,
            "annotations": marked,
            "ownerReferences": [owner],
        },
        "spec": job_manifest.spec_of(template),
    }


def template_of(made: dict[str, Any]) -> str:
    """Return the sum of what a Job is made of."""
    return str(made["metadata"]["annotations"][names.TEMPLATE_ANNOTATION])


def spec_of(
    task_type: v1alpha1.LongTaskType, installation: effective.Installation
) -> effective.EffectiveSpec:
    """Return what holds for a task of the type that says nothing else."""
    plain = v1alpha1.LongTaskSpec(type=task_type.metadata.name)
    return effective.effective_spec(plain, task_type.spec, installation)


# --- tasks and pods ---


def hindrance(
    spec: v1alpha1.LongTaskSpec,
    last: v1alpha1.Attempt | None,
    *,
    takes_files: bool = False,
    is_input_known: bool = True,
) -> v1alpha1.Start | None:
    """Return why a program whose type keeps warm pods cannot take one, or None if it can.

    Args:
        spec: Its task's, or its own as if it were one.
        last: The attempt before, if there was one.
        takes_files: It takes whole results as files: those are fetched before its container starts.
        is_input_known: What it takes from others is there.
    """
    if spec.resources is not None:
        return v1alpha1.Start.OWN_RESOURCES
    if last is not None and last.start is v1alpha1.Start.WARM and last.reason == Reason.DISRUPTED:
        return v1alpha1.Start.WARM_LOST
    if takes_files:
        return v1alpha1.Start.TAKES_FILES
    return None if is_input_known else v1alpha1.Start.INPUT_AWAY


def taking(
    pod: pods.Pod, labels: dict[str, str], limits: effective.Limits, *, now: datetime
) -> list[dict[str, Any]]:
    """Return the JSON Patch that takes a pod for a task: it fails where somebody has taken it.

    And where its program has ended and nobody heard of it yet: that would be taken for the task's.
    Its deadline is the last moment at which the task can end, since it has one only from now on.
    """
    waited = math.ceil((now - (pod.counts_from or pod.created_at)).total_seconds())
    return [
        *_is_still_idle(pod),
        {"op": "test", "path": "/status/phase", "value": "Running"},
        *({"op": "add", "path": _label(name), "value": value} for name, value in labels.items()),
        {
            "op": "add",
            "path": "/spec/activeDeadlineSeconds",
            "value": max(1, waited) + limits.start + limits.run,
        },
    ]


def dropping(pod: pods.Pod) -> list[dict[str, Any]]:
    """Return the JSON Patch after which nobody takes a pod any more; it fails likewise."""
    return [*_is_still_idle(pod), {"op": "remove", "path": _label(names.WARM_LABEL)}]


def _is_still_idle(pod: pods.Pod) -> list[dict[str, Any]]:
    return [
        {"op": "test", "path": "/metadata/uid", "value": pod.uid},
        {"op": "test", "path": _label(names.TASK_LABEL), "value": ""},
        {"op": "test", "path": _label(names.WARM_LABEL), "value": pod.warm},
    ]


def _label(name: str) -> str:
    return f"/metadata/labels/{name.replace('/', '~1')}"


def is_warm(attempt: v1alpha1.Attempt) -> bool:
    """Tell whether an attempt has a pod that was started ahead."""
    return attempt.start is v1alpha1.Start.WARM


def as_own(pod: pods.Pod, task: v1alpha1.LongTask) -> pods.Pod:
    """Return the pod of a task's last attempt as if it had been made for it.

    It was made for it, and started when its program got the task: so all that is known of
    pods holds for it. That it has it is known by what it says, which is noted for it when the task
    is handed over, or by its end. One that ended without a task says so, or was killed and had said
    so before: that the task was handed over is noted even where nobody was there any more.
    """
    attempt = (task.status.attempts or [])[-1]
    if not is_warm(attempt) or pod.uid != attempt.pod_uid:
        return pod
    progress = task.status.progress
    heard = progress.updated_at if progress else None
    has_said = last_words.taken(task) is not None
    if _is_without_task(pod.end) and not has_said:
        end, started = None, None
    else:
        has_it = pod.end is not None or has_said
        end, started = pod.end, attempt.started_at or heard
        started = started or (attempt.claimed_at if has_it else None)
    return dataclasses.replace(
        pod,
        created_at=started or attempt.claimed_at or pod.created_at,
        started_at=started,
        running_seen_at=started,
        end=end,
    )


def _is_without_task(end: pods.End | None) -> bool:
    if end is None or end.exit_code == 0:
        return False
    said = runner_contract.reason_from_message(end.message)
    return said == runner_contract.RunnerReason.NO_TASK


def never_began(attempt: v1alpha1.Attempt, pod: pods.Pod | None) -> outcome.Outcome | None:
    """Return how an attempt ends whose pod is gone, or over, before it got the task.

    It costs nothing: the program did not begin. None if it may have.
    """
    began = attempt.started_at if pod is None else pod.started_at
    if not is_warm(attempt) or began is not None:
        return None
    words = "the pod that was started ahead was lost before it got the task"
    return outcome.failed(Reason.DISRUPTED, words)


def deadline(attempt: v1alpha1.Attempt, pod: pods.Pod, run_seconds: int) -> int | None:
    """Return the deadline that a pod should have once its program has the task, if it is another.

    Kubernetes lets it become shorter only.
    """
    if not is_warm(attempt) or attempt.started_at is None or pod.deadline is None:
        return None
    before = (attempt.started_at - (pod.counts_from or attempt.started_at)).total_seconds()
    wanted = max(1, math.ceil(before) + run_seconds)
    return wanted if pod.deadline > wanted + _DEADLINE_SLACK else None


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)
