"""Conditions of our resources: the truth about each, in the words of `metav1.Condition`."""

import enum
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from longtask_crds.v1alpha1.fields import Message, Model, Time, Word


class ConditionType(enum.StrEnum):
    """The conditions that a resource has from the first visit of the operator on.

    A LongTask has the first five, a LongTaskSchedule Accepted and Suspended, a LongTaskType and a
    LongTaskQueue Ready.
    """

    ACCEPTED = "Accepted"  #: valid; False says why it can never run
    FINISHED = "Finished"  #: True whatever the outcome
    SUCCEEDED = "Succeeded"  #: Unknown until finished
    CALLBACK_DELIVERED = "CallbackDelivered"  #: False: retrying, or given up
    STALLED = "Stalled"  #: True only when it cannot go on without help
    SUSPENDED = "Suspended"  #: of a schedule: True while it starts no runs
    READY = "Ready"  #: of a type or a queue: tasks can use it; False says why they cannot


class Reason(enum.StrEnum):
    """Why a condition has its value. Part of the API: never renamed."""

    # Accepted
    VALID = "Valid"  #: the task may run; of Ready: the type or the queue may be used
    TYPE_NOT_FOUND = "TypeNotFound"  #: no LongTaskType of that name
    INVALID_INPUT = "InvalidInput"  #: the input does not fit the type's JSON Schema, or the task
    CALLBACK_REFUSED = "CallbackRefused"  #: the callback's URL is not allowed
    RESOURCES_EXCEEDED = "ResourcesExceeded"  #: more is asked for than one task may have
    NOT_BEFORE_TOO_FAR = "NotBeforeTooFar"  #: `notBefore` is more than a year ahead
    INVALID_STEPS = "InvalidSteps"  #: needs, references or conditions of the steps do not fit
    NOT_SUPPORTED = "NotSupported"  #: a field that the version of then did not act upon yet

    # Accepted, of a schedule
    INVALID_SCHEDULE = "InvalidSchedule"  #: a cron expression or a zone that cannot be read
    INVALID_TEMPLATE = "InvalidTemplate"  #: a run of its template could never be accepted

    # Ready, of a type or a queue; of a type also JobRefused
    UNREADABLE = "Unreadable"  #: it does not fit the definition that this version has
    INVALID_SCHEMA = "InvalidSchema"  #: nothing can be held against the type's `inputSchema`

    # Suspended
    ACTIVE = "Active"  #: it starts runs
    AS_ASKED = "AsAsked"  #: `suspend` is true
    MAX_FAILURES = "MaxFailures"  #: too many runs failed in a row
    ENDED = "Ended"  #: no time is left before `endTime`

    # Finished and Succeeded, while undecided
    PENDING = "Pending"  #: not yet seen by the operator
    DEFERRED = "Deferred"  #: joins its queue at `notBefore`
    QUEUED = "Queued"  #: waits for its queue
    STARTING = "Starting"  #: an attempt is claimed, its container does not run yet
    RUNNING = "Running"  #: the container runs
    RETRYING = "Retrying"  #: an attempt has failed, and another one is to come

    # Succeeded, decided
    COMPLETED = "Completed"  #: the program ended with exit code 0
    PROGRAM_FAILED = "ProgramFailed"  #: the program ended with another exit code
    TRY_AGAIN = "TryAgain"  #: the program ended with exit code 75: another attempt may help
    NO_TASK = "NoTask"  #: the program waited for its task, and ended before it got it
    PERMANENT_FAILURE = "PermanentFailure"  #: an exit code that no further attempt can mend
    INVALID_RESULT = "InvalidResult"  #: the program succeeded, but its result is no JSON
    TASK_NOT_FOUND = "TaskNotFound"  #: the image has no task of that name
    TASK_NOT_LOADABLE = "TaskNotLoadable"  #: the task's module or signature is broken
    RESULT_TOO_LARGE = "ResultTooLarge"  #: the result does not fit where results are kept
    RESULT_NOT_DELIVERED = "ResultNotDelivered"  #: the API did not take a large result in time
    OOM_KILLED = "OOMKilled"  #: the container used more memory than its limit
    EVICTED = "Evicted"  #: the pod used more than its share of the node
    DISRUPTED = "Disrupted"  #: the pod was preempted, drained, deleted or lost with its node
    FILES_NOT_FETCHED = "FilesNotFetched"  #: a result that a step takes as a file did not come
    STEP_FAILED = "StepFailed"  #: a step of the pipeline failed
    ITEMS_FAILED = "ItemsFailed"  #: more items of a step's `forEach` failed than may fail
    NOT_TAKEN = "NotTaken"  #: a step whose condition is false, or that came after the end
    CANCELLED = "Cancelled"  #: somebody asked for it
    QUEUE_TIMEOUT = "QueueTimeout"  #: it waited for its queue longer than `queueSeconds`
    START_TIMEOUT = "StartTimeout"  #: the container did not start within `startSeconds`
    RUN_TIMEOUT = "RunTimeout"  #: the container ran longer than `runSeconds`
    HEARTBEAT_TIMEOUT = "HeartbeatTimeout"  #: no progress report for `heartbeatSeconds`
    TOTAL_TIMEOUT = "TotalTimeout"  #: it took longer than `totalSeconds` in all
    JOB_LOST = "JobLost"  #: the Job or its pod vanished before the outcome was read
    JOB_REFUSED = "JobRefused"  #: the API server refuses the Job
    NAME_CONFLICT = "NameConflict"  #: something else has the name that the Job needs

    # CallbackDelivered
    NO_CALLBACK = "NoCallback"  #: the task asks for none
    NOT_DUE = "NotDue"  #: nothing to deliver yet
    DELIVERING = "Delivering"  #: tried, or about to be
    DELIVERED = "Delivered"  #: the receiver answered 2xx
    EXHAUSTED = "Exhausted"  #: all tries failed
    GONE = "Gone"  #: the receiver answered 410
    ADDRESS_REFUSED = "AddressRefused"  #: a URL leads to an address that is not allowed
    SECRET_UNUSABLE = "SecretUnusable"  #: the Secret of `secretRef` cannot sign

    # Stalled
    AS_EXPECTED = "AsExpected"  #: nothing is wrong
    POD_CANNOT_START = "PodCannotStart"  #: `waiting` says why
    POD_NOT_CREATED = "PodNotCreated"  #: quota or policy refuses the pod: `waiting` says why
    QUEUE_NOT_FOUND = "QueueNotFound"  #: no LongTaskQueue of that name
    NODE_LOST = "NodeLost"  #: the node of the running pod does not answer
    NO_HEARTBEAT = "NoHeartbeat"  #: a program that reported its progress has fallen silent


class ConditionStatus(enum.StrEnum):
    """The three values of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class EventReason(enum.StrEnum):
    """Why a Kubernetes Event is posted: only where somebody is needed. Never renamed."""

    RETRYING = "Retrying"
    FAILED = "Failed"
    STALLED = "Stalled"
    CALLBACK_FAILED = "CallbackFailed"
    SUSPENDED = "Suspended"  #: of a schedule: too many of its runs failed


class Condition(Model):
    """One `metav1.Condition`."""

    type: Word
    """Accepted, Finished, Succeeded, CallbackDelivered or Stalled; of a schedule Accepted or
    Suspended; of a type or a queue Ready."""

    status: ConditionStatus
    """True, False or Unknown."""

    reason: Word
    """Why, as one word that programs may rely on."""

    message: Message = ""
    """Why, for people."""

    last_transition_time: Time
    """When the status last changed."""

    observed_generation: int | None = None
    """The generation of the resource that this speaks of."""


def find(conditions: Iterable[Condition], kind: ConditionType) -> Condition | None:
    """Return the condition of that type, or None."""
    return next((c for c in conditions if c.type == kind), None)


class Change(NamedTuple):
    """What a condition becomes."""

    kind: ConditionType
    status: ConditionStatus
    reason: Reason
    message: str = ""
    generation: int | None = None  #: which it speaks of, where it says so itself


def changed(conditions: Iterable[Condition], *changes: Change, now: datetime) -> list[Condition]:
    """Return the conditions with some set; `lastTransitionTime` moves only with a status."""
    found = {condition.type: condition for condition in conditions}
    for kind, status, reason, message, generation in changes:
        old = found.get(kind)
        since = old.last_transition_time if old is not None and old.status is status else now
        found[kind] = Condition(
            type=kind,
            status=status,
            reason=reason,
            message=message,
            last_transition_time=since,
            observed_generation=generation,
        )
    return list(found.values())
