"""What is known of a task, and what may be decided for it: values, no rule.

A decision waits, or it is one write of the status, or it is one effect outside of it.
"""

import dataclasses
import enum
from datetime import datetime

from longtask_crds import effective, v1alpha1
from longtask_crds.v1alpha1 import Reason
from longtask_operator.rules import outcome, pods


@dataclasses.dataclass(frozen=True)
class World:
    """All that is known of one task."""

    task: v1alpha1.LongTask
    spec: effective.EffectiveSpec
    queue: str  #: the queue's name: of one that holds a place, where it holds it
    job_name: str  #: of the current attempt, or of the first
    refusal: outcome.Outcome | None = None  #: why it can never run
    has_slot: bool = False
    queue_exists: bool = True
    job: pods.Job | None = None  #: None: not known
    pod: pods.Pod | None = None


@dataclasses.dataclass(frozen=True)
class Wait:
    """Nothing to do now; look again at that time, if one is given."""

    until: datetime | None = None


# --- writes of the status ---


@dataclasses.dataclass(frozen=True)
class Acknowledge:
    """Record that the spec as it is now was looked at: `kubectl wait` waits for that."""


@dataclasses.dataclass(frozen=True)
class Defer:
    """Record that the task joins its queue later, and when."""

    waiting: str


@dataclasses.dataclass(frozen=True)
class Enqueue:
    """Record that the task waits for its queue, and why where the cause is its own."""

    waiting: str | None
    stalled: Reason | None


@dataclasses.dataclass(frozen=True)
class Claim:
    """Record the attempt in the status; its Job comes in a later pass."""

    attempt: int
    job_name: str


@dataclasses.dataclass(frozen=True)
class Explain:
    """Record why the container does not start, and the Job if there is one."""

    waiting: str
    stalled: Reason
    job_uid: str | None = None


@dataclasses.dataclass(frozen=True)
class MarkRunning:
    """Record the pod whose outcome counts, and that its container runs."""

    pod: pods.Pod


@dataclasses.dataclass(frozen=True)
class Finish:
    """Record the outcome and the pending callback in one write."""

    outcome: outcome.Outcome
    pod: pods.Pod | None = None


# --- effects ---


@dataclasses.dataclass(frozen=True)
class CreateJob:
    """Create the Job of the claimed attempt."""

    attempt: int


@dataclasses.dataclass(frozen=True)
class CheckJob:
    """Read the Job, and the Events that say why it has no pod."""

    job_name: str


@dataclasses.dataclass(frozen=True)
class CheckPod:
    """Read the Events that say why the pod's container does not start."""

    pod: pods.Pod


@dataclasses.dataclass(frozen=True)
class StopPod:
    """End the pod with SIGTERM and grace; its record stays."""

    pod: pods.Pod


@dataclasses.dataclass(frozen=True)
class DeleteJob:
    """Delete a Job whose program is not to start any more."""

    job: pods.Job


@dataclasses.dataclass(frozen=True)
class ReleaseJob:
    """Let Kubernetes remove the Job after a while: its outcome is stored."""

    job: pods.Job


@dataclasses.dataclass(frozen=True)
class SendCallback:
    """Send the callback once, then record what became of it."""

    entry: v1alpha1.CallbackStatus


Write = Acknowledge | Defer | Enqueue | Claim | Explain | MarkRunning | Finish
Effect = CreateJob | CheckJob | CheckPod | StopPod | DeleteJob | ReleaseJob | SendCallback
Decision = Wait | Write | Effect


class Proof(enum.Enum):
    """What has to be read live before a decision may stand: a picture may be old."""

    TASK = enum.auto()
    JOB_AND_PODS = enum.auto()


def needs_proof(decided: Decision, world: World) -> Proof | None:
    """Return what has to be read live, and decided upon again, before this is carried out."""
    match decided:
        case Claim():
            # It may be cancelled, deleted or claimed already.
            return Proof.TASK
        case Finish(ended) if world.task.status.attempts and ended.exit_code is None:
            # Its program said nothing: we may just not have heard it.
            return Proof.JOB_AND_PODS
        case _:
            return None
