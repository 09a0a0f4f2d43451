"""Why an attempt does not go on, and when that is a need for help. Pure."""

import re
from datetime import datetime, timedelta

from longtask_crds import runner_contract, v1alpha1
from longtask_crds.v1alpha1 import Reason
from longtask_operator.rules import pods, timeouts
from longtask_operator.rules.decisions import Explain, MarkRunning, Wait, World

#: How long a cause may stand before it is called a need for help.
HELP_NEEDED_AFTER = timedelta(minutes=1)
#: After this long a pod whose node is not heard of is called lost.
LOST_AFTER = timedelta(minutes=1)
#: Three heartbeats of a program that has reported its progress at all.
SILENT_AFTER = 3 * timedelta(seconds=runner_contract.HEARTBEAT_SECONDS)
#: What goes by itself when others make room.
_PASSES = re.compile("Insufficient|exceeded quota")
#: What differs from one wording of a cause to the next: made-up names, and counts.
_VARYING = re.compile(r'"[^"]*"|[0-9]+')


def keeps_from_starting(
    world: World,
    cause: str,
    reason: Reason,
    job_uid: str | None,
    attempt: v1alpha1.Attempt,
    now: datetime,
) -> Explain | Wait:
    """Tell why an attempt does not start: at once, and as a need for help only after a while."""
    if attempt.claimed_at is None:
        raise ValueError("a claim records its time")
    help_at = None if _PASSES.search(cause) else attempt.claimed_at + HELP_NEEDED_AFTER
    needs_help = help_at is not None and now >= help_at
    is_stalled = world.task.status.is_true(v1alpha1.ConditionType.STALLED)
    if not _is_told(cause, world.task.status.waiting) or (needs_help and not is_stalled):
        return Explain(cause, reason if needs_help else None, job_uid)
    return Wait(until=None if needs_help else help_at)


def of_running(world: World, pod: pods.Pod, now: datetime) -> Explain | MarkRunning | Wait:
    """Tell when a running program, or its node, has fallen silent, and when it is heard again."""
    lost_at = pod.unready_since + LOST_AFTER if pod.unready_since else None
    reported = timeouts.last_report(world.task)
    silent_at = reported + SILENT_AFTER if reported else None
    trouble: Explain | None = None
    if lost_at is not None and now >= lost_at:
        words = f"its node {pod.node} does not answer since {pod.unready_since:%Y-%m-%dT%H:%M:%SZ}"
        trouble = Explain(words, Reason.NODE_LOST)
    elif silent_at is not None and now >= silent_at:
        words = f"no progress report since {reported:%Y-%m-%dT%H:%M:%SZ}"
        trouble = Explain(words, Reason.NO_HEARTBEAT)
    is_recorded = world.task.status.phase is v1alpha1.Phase.RUNNING
    if trouble is not None and world.task.status.waiting != trouble.waiting and is_recorded:
        return trouble
    if trouble is None and is_recorded and world.task.status.waiting is not None:
        return MarkRunning(pod)
    return Wait(until=timeouts.earliest(*(at for at in (lost_at, silent_at) if at and now < at)))


def _is_told(cause: str, waiting: str | None) -> bool:
    if waiting is None:
        return False
    # The kubelet goes back and forth between these two, and the first one says more.
    if cause.startswith("ImagePullBackOff") and waiting.startswith("ErrImagePull"):
        return True
    return _VARYING.sub("", cause) == _VARYING.sub("", waiting)
