"""What is known of a task, and what may be decided for it: values, no rule.

A decision waits, or it is one write of the status, or it is one effect outside of it.
"""

import dataclasses
import enum
from datetime import datetime

from longtask_crds import effective, v1alpha1
from longtask_crds.pipeline import inputs
from longtask_crds.v1alpha1 import Reason
from longtask_operator.rules import outcome, pods, retry, steps, timeouts


@dataclasses.dataclass(frozen=True)
class World:
    """All that is known of one task, or of one program of a pipeline as if it were a task."""

    task: v1alpha1.LongTask
    spec: effective.EffectiveSpec
    queue: str  #: the queue's name: of one that holds a place, where it holds it
    job_name: str  #: of the current attempt, or of the first
    refusal: outcome.Outcome | None = None  #: why it can never run
    has_slot: bool = False
    queue_exists: bool = True
    job: pods.Job | None = None  #: None: not known
    pod: pods.Pod | None = None
    has_claim: bool = True  #: its attempt was claimed here, or the claim read live
    is_sending: bool = False  #: what it has to deliver is under way
    run: str = ""  #: the name of the pipeline's program that this is
    files: tuple[str, ...] = ()  #: the steps whose results that program finds as files
    is_input_known: bool = True  #: its input is there, or why there is none
    held_back: frozenset[str] = frozenset()  #: programs of it for which something went wrong
    runs: tuple["World", ...] = ()  #: a pipeline's programs that run, or whose Job still stands
    parts: inputs.Parts = dataclasses.field(default_factory=dict)  #: of results kept elsewhere
    is_short_of_parts: bool = False  #: something has to be fetched, and could not be just now

    @property
    def is_attempting(self) -> bool:
        """Tell whether an attempt is claimed that has no outcome yet."""
        attempts = self.task.status.attempts or []
        return bool(attempts) and attempts[-1].finished_at is None

    @property
    def job_stands(self) -> bool:
        """Tell whether there is a Job of the last attempt that is ours, and is to stay."""
        job = self.job
        if job is None or not job.exists or job.is_deleting:
            return False
        return job.owner_uid == self.task.metadata.uid


@dataclasses.dataclass(frozen=True)
class Wait:
    """Nothing to do now; look again at that time, if one is given."""

    until: datetime | None = None

    def no_later(self, at: datetime) -> "Wait":
        """Return the same wait, ended at that time at the latest."""
        return Wait(timeouts.earliest(self.until, at))


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
    """Record the attempt in the status; its Job comes in a later pass, or waits already."""

    attempt: int
    job_name: str


@dataclasses.dataclass(frozen=True)
class Explain:
    """Record why the attempt does not go on, and the Job if there is one."""

    waiting: str
    stalled: Reason | None  #: None while it may yet go on by itself
    job_uid: str | None = None


@dataclasses.dataclass(frozen=True)
class MarkRunning:
    """Record the pod whose outcome counts, and that its container runs."""

    pod: pods.Pod


@dataclasses.dataclass(frozen=True)
class Condemn:
    """Record why the attempt is to be ended, before it is: its end then means that."""

    reason: Reason
    message: str


@dataclasses.dataclass(frozen=True)
class TryAgain:
    """Record how the attempt ended, and when another one joins the queue."""

    outcome: outcome.Outcome
    following: retry.Next
    pod: pods.Pod | None = None


@dataclasses.dataclass(frozen=True)
class Finish:
    """Record the outcome and the pending callback in one write."""

    outcome: outcome.Outcome
    pod: pods.Pod | None = None


@dataclasses.dataclass(frozen=True)
class Contradict:
    """Record that a container ended otherwise than its program had said, which stands."""

    found: v1alpha1.Contradiction


@dataclasses.dataclass(frozen=True)
class TellProgress:
    """Record the event that tells how far the program is."""


@dataclasses.dataclass(frozen=True)
class Redeliver:
    """Record that the last callback is to be delivered again, as somebody asked for."""

    request: str


@dataclasses.dataclass(frozen=True)
class Begin:
    """Record that a pipeline has its place, and claim the steps that come first."""


@dataclasses.dataclass(frozen=True)
class Advance:
    """Record what follows from where a pipeline's programs stand."""

    overdue: bool = False  #: its time is over
    fold: bool = False  #: what is over may be counted only, but for these steps
    untidy: frozenset[str] = frozenset()  #: which have a Job left that is to be tidied up


@dataclasses.dataclass(frozen=True)
class OfRun:
    """What was decided for a program of a pipeline, with all that follows for the others."""

    world: World  #: the program's
    decided: "Write | Effect"


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
class AdoptPod:
    """Have the task own the pod, which then goes with it: its Job was deleted without it."""

    pod: pods.Pod


@dataclasses.dataclass(frozen=True)
class AdoptJob:
    """Have the task own a Job that was started ahead, which then goes with it."""

    job: pods.Job


@dataclasses.dataclass(frozen=True)
class LimitPod:
    """Set a pod's deadline by when its program got the task."""

    pod: pods.Pod
    seconds: int


@dataclasses.dataclass(frozen=True)
class DeleteJob:
    """Delete a Job whose program is not to start any more."""

    job: pods.Job


@dataclasses.dataclass(frozen=True)
class ReleaseJob:
    """Let Kubernetes remove the Job after a while: its outcome is stored."""

    job: pods.Job


@dataclasses.dataclass(frozen=True)
class Keep:
    """Have the API keep a result for which the resource has no place, then record that."""

    recipe: steps.Recipe
    of_run: OfRun | None = None  #: the end of the program that brought it, if it just ended


@dataclasses.dataclass(frozen=True)
class SendCallback:
    """Have the callback sent once, and once it was sent, record what became of it."""

    entry: v1alpha1.CallbackStatus


Write = (
    Acknowledge
    | Defer
    | Enqueue
    | Claim
    | Explain
    | MarkRunning
    | Condemn
    | TryAgain
    | Finish
    | Contradict
    | TellProgress
    | Redeliver
    | Begin
    | Advance
)
Effect = (
    CreateJob
    | CheckJob
    | CheckPod
    | StopPod
    | AdoptPod
    | AdoptJob
    | LimitPod
    | DeleteJob
    | ReleaseJob
    | Keep
    | SendCallback
)
Decision = Wait | Write | Effect | OfRun


class Proof(enum.Enum):
    """What has to be read live before a decision may stand: a picture may be old."""

    TASK = enum.auto()
    JOB_AND_PODS = enum.auto()


def needs_proof(decided: Decision, world: World) -> Proof | None:
    """Return what has to be read live, and decided upon again, before this is carried out."""
    match decided:
        case OfRun(of_run, Claim()):
            # Its pipeline holds its place already, and a write on the word of an old picture is a
            # conflict.
            return None
        case OfRun(of_run, inner):
            return needs_proof(inner, of_run)
        case Keep(of_run=OfRun() as ended):
            return needs_proof(ended, world)
        case Claim() | Begin():
            # It may be cancelled, deleted or claimed already.
            return Proof.TASK
        case Finish(ended, pod=pod) | TryAgain(ended, pod=pod) if world.is_attempting:
            # Its program said nothing, or its pod was not seen: we may just not have heard it. And
            # whether its pod was deleted alone, or with its Job, only the Job can tell. That is
            # asked where it failed: the last words of a success may have gone with its pod.
            is_robbed = pod is not None and pod.is_deleting and ended.exit_code != 0
            doubtful = ended.exit_code is None or pod is None or is_robbed
            return Proof.JOB_AND_PODS if doubtful else None
        case _:
            return None
