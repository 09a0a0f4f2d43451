"""What a task's container gets and gives: the contract between a task's program and LongTask.

The operator builds the Job from it, the API serves the runner port by it, the Python runner keeps
it. Programs in other languages keep it by themselves.

The runner's image installs this package without its dependencies, and each import delays every
task: this module imports nothing, and so its constants stand in plain classes (`enum` alone takes
a third of a bare interpreter's start).

How a program's end is read:

* The exit code decides (`classify_exit`), whatever progress was reported before: the one that the
  program sends to `OUTCOME_PATH` just before it ends, or else the one that its container ends with.
* Exit code 0: the output file is the result, `INLINE_RESULT_LIMIT` bytes at most: JSON, or text
  that is none. If it is empty, what was sent to `RESULT_PATH` before is, or null. The kubelet keeps
  only the last `TERMINATION_MESSAGE_LIMIT` bytes, and cut digits are valid JSON still, so a message
  of that length (`is_cut`) is no result.
* Any other exit code: the output file is a message for people, `MESSAGE_LIMIT` bytes at most. If it
  begins with a `RunnerReason` and a colon, that is the reason (`reason_from_message`). If it is
  empty, Kubernetes puts the last lines of the log in its place (`FallbackToLogsOnError`).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

INPUT_FILE = "/longtask/input/input.json"
CHECKPOINT_FILE = "/longtask/input/checkpoint.json"  # empty: there is none
TOKEN_FILE = "/longtask/token/token"
FILES_FOLDER = "/longtask/files"  # whole results of earlier steps, by the steps' names
OUTPUT_FILE = "/dev/termination-log"  # a bind mount: written in place, never renamed

INPUT_ANNOTATION = "longtask.dev/input"
CHECKPOINT_ANNOTATION = "longtask.dev/checkpoint"

INLINE_RESULT_LIMIT = 4095
VALUE_DEPTH = 100  # levels: nothing deeper can be written into a status, by us or by others
TERMINATION_MESSAGE_LIMIT = 4096
MESSAGE_LIMIT = 1024
CHECKPOINT_LIMIT = 16 * 1024
CHECKPOINTS_LIMIT = 20 * 1024  # of all programs of one pipeline that run
REPORTS_LIMIT = 16 * 1024  # of the results in the reports of one pipeline that nobody took yet
CHECKPOINT_DEPTH = 50  # levels: it travels inside reports and statuses, which have limits too
GRACE_SECONDS = 30
#: How often a program that has reported once is heard: after three times of silence it is Stalled.
HEARTBEAT_SECONDS = 60

REPORT_AUDIENCE = "longtask-report"
PROGRESS_PATH = "/runner/v1/progress"
RESULT_PATH = "/runner/v1/result"
OUTCOME_PATH = "/runner/v1/outcome"
STEP_RESULT_PATH = "/runner/v1/steps/{name}/result"  # of a step of the same task that succeeded
# GET by a pod that was started ahead: `?wait=` seconds, `TASK_WAIT_LIMIT` at most. 204: there is no
# task yet, ask again. 200: the task, once and for all, with the members of `Work`.
TASK_PATH = "/runner/v1/task"
TASK_WAIT_LIMIT = 60

# What the operator asks at the same port, with a token of its own.
OPERATOR_AUDIENCE = "longtask-operator"
# GET: the result of that uid with the sum `?sha256=`, or the part of it at `&pointer=`, which may
# have 64 KiB: 404 it is not kept, 422 it has no such part, 413 that is larger. PUT keeps one that
# is made of others: `{"run": name, "attempt": n, "isList": bool, "parts": [{"value": …,
# "mediaType": …} | {"sha256": …, "taskUid": …}]}`; with `isList` the parts are the items of a list,
# else there is one. Text becomes a JSON string in a list; bytes cannot, which is a 422. The answer
# is `{"size": …, "sha256": …, "mediaType": …}`.
KEPT_RESULT_PATH = "/runner/v1/tasks/{uid}/result"
PART_LIMIT = 64 * 1024


class Env:
    """The environment of a task's container; all of `LONGTASK_*` is reserved."""

    NAME = "LONGTASK_NAME"
    NAMESPACE = "LONGTASK_NAMESPACE"
    UID = "LONGTASK_UID"
    TYPE = "LONGTASK_TYPE"  #: empty for a task with a container of its own
    STEP = "LONGTASK_STEP"  #: empty for a task without steps
    ATTEMPT = "LONGTASK_ATTEMPT"
    INPUT_FILE = "LONGTASK_INPUT_FILE"
    OUTPUT_FILE = "LONGTASK_OUTPUT_FILE"
    CHECKPOINT_FILE = "LONGTASK_CHECKPOINT_FILE"
    HEARTBEAT_SECONDS = "LONGTASK_HEARTBEAT_SECONDS"  #: the longest silence; empty: no limit
    API_URL = "LONGTASK_API_URL"  #: of the runner port, without a path
    TOKEN_FILE = "LONGTASK_TOKEN_FILE"  #: re-read for each report: the token rotates
    WARM = "LONGTASK_WARM"  #: true: there is no task yet, it is asked for at `TASK_PATH`


#: The variables with the trace that the task belongs to, by the names that tracing libraries know.
#: They are absent where there is none, and where a task sets the first one itself.
TRACEPARENT = "TRACEPARENT"
TRACESTATE = "TRACESTATE"


class ProgressField:
    """The JSON members of a progress report, each optional, and of its answer."""

    PERCENT = "percent"  #: integer, 0 to 100
    MESSAGE = "message"
    CHECKPOINT = "checkpoint"  #: any JSON, `CHECKPOINT_LIMIT` bytes at most; null forgets it
    FINAL = "final"  #: true with the last one: the answer comes when it is stored
    CANCEL_REQUESTED = "cancelRequested"  #: in the answer: true once the task shall end


class Work:
    """The JSON members of a task that is handed to a waiting pod."""

    NAME = "name"
    NAMESPACE = "namespace"
    UID = "uid"
    ATTEMPT = "attempt"
    STEP = "step"  #: empty for a task without steps
    INPUT = "input"
    CHECKPOINT = "checkpoint"  #: null: there is none
    DEADLINE = "deadline"  #: when it is ended, RFC 3339
    HEARTBEAT_SECONDS = "heartbeatSeconds"  #: the longest silence; null: no limit
    TRACEPARENT = "traceparent"  #: absent where there is no trace, as the next one
    TRACESTATE = "tracestate"


class OutcomeField:
    """The JSON members of a program's last report, and of its answer."""

    EXIT_CODE = "exitCode"  #: integer, 0 to 255: the one that it is about to end with
    RESULT = "result"  #: with exit code 0: any JSON, `INLINE_RESULT_LIMIT` bytes at most
    MESSAGE = "message"  #: with any other: as in the output file
    REPORTED_AT = "reportedAt"  #: in the answer: when it was taken


class ExitMeaning(str):
    """What an exit code says about the attempt. One object per value: compare with `is`."""

    __slots__ = ()
    SUCCESS: ClassVar[ExitMeaning]
    RETRY: ClassVar[ExitMeaning]  #: a further attempt may help
    PERMANENT: ClassVar[ExitMeaning]  #: a further attempt would end the same way


ExitMeaning.SUCCESS = ExitMeaning("Success")
ExitMeaning.RETRY = ExitMeaning("Retry")
ExitMeaning.PERMANENT = ExitMeaning("Permanent")


class RunnerReason:
    """Why the Python runner ended an attempt. Part of the API: never renamed."""

    INVALID_INPUT = "InvalidInput"  #: the input does not fit the task's arguments
    PERMANENT_FAILURE = "PermanentFailure"  #: the task raised `Permanent`
    RESULT_TOO_LARGE = "ResultTooLarge"  #: larger than what is kept
    RESULT_NOT_DELIVERED = "ResultNotDelivered"  #: the API did not take a large result in time
    TRY_AGAIN = "TryAgain"  #: the task raised `TryAgain`
    INVALID_RESULT = "InvalidResult"  #: the returned value is no JSON, or loses digits in it
    ADDRESS_REFUSED = "AddressRefused"  #: the address guard refused a URL or an address
    TASK_NOT_FOUND = "TaskNotFound"  #: the image has no task of that name
    TASK_NOT_LOADABLE = "TaskNotLoadable"  #: its module or its signature is broken
    CANCELLED = "Cancelled"  #: SIGTERM, or the task saw that it was cancelled
    NO_TASK = "NoTask"  #: it waited for a task and was ended, or gave up, before it got one


#: Each reason's exit code, which is also the list of all reasons.
EXIT_CODES = {
    RunnerReason.INVALID_INPUT: 65,
    RunnerReason.PERMANENT_FAILURE: 70,
    RunnerReason.RESULT_TOO_LARGE: 73,
    RunnerReason.RESULT_NOT_DELIVERED: 75,
    RunnerReason.TRY_AGAIN: 75,
    RunnerReason.INVALID_RESULT: 76,
    RunnerReason.ADDRESS_REFUSED: 77,
    RunnerReason.TASK_NOT_FOUND: 78,
    RunnerReason.TASK_NOT_LOADABLE: 78,
    RunnerReason.CANCELLED: 143,
    RunnerReason.NO_TASK: 75,
}


def classify_exit(code: int) -> ExitMeaning:
    """Return what a container's exit code says about the attempt."""
    if code == 0:
        return ExitMeaning.SUCCESS
    if code != 75 and 64 <= code <= 78:
        return ExitMeaning.PERMANENT
    return ExitMeaning.RETRY


def reason_from_message(message: str) -> str | None:
    """Return the `RunnerReason` that begins a failed program's message, or None."""
    name, colon, _ = message.partition(":")
    return name if colon and name in EXIT_CODES else None


def is_cut(message: str) -> bool:
    """Return whether a termination message lost its beginning, so that it is no result."""
    return len(message.encode()) >= TERMINATION_MESSAGE_LIMIT
