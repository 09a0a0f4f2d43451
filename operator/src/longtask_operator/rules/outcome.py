"""From how a pod ended to the task's outcome. Pure."""

import dataclasses
import json
from datetime import datetime
from typing import NoReturn

from longtask_crds import json_values, names, runner_contract, v1alpha1
from longtask_crds.v1alpha1 import Reason
from longtask_operator.rules import pods


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How an attempt ended."""

    phase: v1alpha1.Phase
    reason: Reason
    message: str = ""
    result: v1alpha1.Result | None = None
    exit_code: int | None = None
    finished_at: datetime | None = None
    reported_at: datetime | None = None  #: when the program said so, if that is how we know


def cancelled(message: str = "cancelled before the program started") -> Outcome:
    """Return the outcome of a task that was ended on request."""
    return Outcome(v1alpha1.Phase.CANCELLED, Reason.CANCELLED, message)


def failed(reason: Reason, message: str) -> Outcome:
    """Return the outcome of a task that failed without its program's word."""
    return Outcome(v1alpha1.Phase.FAILED, reason, message[: names.MESSAGE_MAX])


def sentence_of(attempt: v1alpha1.Attempt) -> Outcome | None:
    """Return why an open attempt is being ended, or None if it is not."""
    if attempt.finished_at is not None or attempt.reason is None:
        return None
    return failed(Reason(attempt.reason), attempt.message or "")


def of_pod(
    pod: pods.Pod,
    *,
    cancel_requested: bool,
    run_seconds: int,
    sentence: Outcome | None = None,
    job_stands: bool = True,
) -> Outcome:
    """Return what the end of a pod means whose program did not say itself how it ends.

    Args:
        pod: The pod, which is over.
        cancel_requested: Whether somebody asked for its end.
        run_seconds: How long it was allowed to run.
        sentence: Why it was ended by us, if it was.
        job_stands: Whether its Job is still there: the pod was not deleted together with it.
    """
    end, stopped = pod.end, pod.reason == "DeadlineExceeded"
    # A program that ends well because its time was up has not done its work.
    if end is not None and pod.succeeded and (cancel_requested or not stopped):
        return dataclasses.replace(
            _of_result(end.message), exit_code=0, finished_at=end.finished_at
        )
    if cancel_requested and (stopped or pod.is_disrupted or pod.is_deleting):
        found = cancelled("cancelled while it ran" if pod.started_at else cancelled().message)
    elif sentence is not None and (stopped or pod.is_deleting):
        found = sentence
    elif stopped and pod.started_at is not None:
        found = failed(Reason.RUN_TIMEOUT, f"ran longer than {run_seconds} s")
    elif stopped:
        found = failed(Reason.START_TIMEOUT, pod.cannot_start or "the container did not start")
    elif pod.is_disrupted:
        found = failed(Reason.DISRUPTED, "the pod was preempted, drained or lost with its node")
    elif pod.is_deleting and job_stands:
        found = failed(Reason.DISRUPTED, "the pod was deleted while it ran")
    elif pod.is_deleting:
        found = failed(Reason.JOB_LOST, "the Job was deleted")
    elif pod.reason == "Evicted":
        found = failed(Reason.EVICTED, "the pod used more than its share of the node")
    elif pod.not_fetched is not None:
        found = failed(Reason.FILES_NOT_FETCHED, pod.not_fetched)
    elif end is None or pod.started_at is None:
        found = failed(Reason.JOB_LOST, "the pod ended without a word of its container")
    elif end.reason == "OOMKilled":
        found = failed(Reason.OOM_KILLED, "the container used more memory than its limit")
    else:
        found = failed(_reason(end), _last_words(end.message) or f"exit code {end.exit_code}")
    if end is not None and pod.started_at is not None:
        found = dataclasses.replace(found, exit_code=end.exit_code, finished_at=end.finished_at)
    return found


def of_report(report: v1alpha1.Report, pod: pods.Pod | None) -> Outcome:
    """Return what it means that a program says how it ends: what its container's end would.

    Args:
        report: What it says.
        pod: Its pod, as far as it is known: of a failure without words it brings the log's end.
    """
    if report.exit_code == 0:
        found = Outcome(v1alpha1.Phase.SUCCEEDED, Reason.COMPLETED)
        found = dataclasses.replace(found, result=report.result or v1alpha1.Result())
    else:
        end = pod.end if pod is not None else None
        words = report.message or (end.message if end is not None else "")
        said = pods.End(report.exit_code, "", words, report.reported_at)
        found = failed(_reason(said), _last_words(words) or f"exit code {report.exit_code}")
    at = report.reported_at
    return dataclasses.replace(found, exit_code=report.exit_code, finished_at=at, reported_at=at)


def contradiction(
    status: v1alpha1.LongTaskStatus, attempt: v1alpha1.Attempt, pod: pods.Pod, run: str
) -> v1alpha1.Contradiction | None:
    """Return how a container ended otherwise than its program had said, if that is not told yet.

    Args:
        status: The task's.
        attempt: The attempt, which ended as the program said.
        pod: Its pod, which has ended.
        run: The program's name; empty for that of a plain task.
    """
    if pod.end is None or pod.end.exit_code == attempt.exit_code:
        return None
    told = ((one.step or "", one.attempt) for one in status.contradictions or ())
    if (run, attempt.number) in told:
        return None
    return v1alpha1.Contradiction(
        step=run or None,
        attempt=attempt.number,
        exit_code=pod.end.exit_code,
        reason=pod.end.reason or None,
    )


def _last_words(message: str) -> str:
    """Return the end of what a failed program said, from a line's start: the cause comes last."""
    text = message.strip()
    if len(text) <= names.MESSAGE_MAX:
        return text
    end = text[-names.MESSAGE_MAX :]
    _, broken, rest = end.partition("\n")
    return rest if broken else end


def _of_result(message: str) -> Outcome:
    if runner_contract.is_cut(message):
        return failed(
            Reason.RESULT_TOO_LARGE,
            f"the result is larger than {runner_contract.INLINE_RESULT_LIMIT} bytes",
        )
    try:
        value = json.loads(message, parse_constant=_no_constant) if message.strip() else None
        result = v1alpha1.Result(value=value)
    except (json.JSONDecodeError, _NoConstant):
        result = v1alpha1.Result(value=message, media_type=v1alpha1.MediaType.TEXT)
    except ValueError as error:
        # JSON, with more digits than Python reads.
        return _unusable(str(error))
    except RecursionError:
        return _unusable(json_values.TOO_DEEP)
    for _, flaw in json_values.flaws(result.value, depth=runner_contract.VALUE_DEPTH):
        return _unusable(flaw)
    return Outcome(v1alpha1.Phase.SUCCEEDED, Reason.COMPLETED, result=result)


class _NoConstant(Exception):
    """NaN or Infinity, which Python writes, and which are no JSON."""


def _no_constant(name: str) -> NoReturn:
    raise _NoConstant(name)


def _unusable(flaw: str) -> Outcome:
    return failed(Reason.INVALID_RESULT, f"the result is not usable JSON: {flaw}")


def _reason(end: pods.End) -> Reason:
    named = runner_contract.reason_from_message(end.message)
    if named is not None and runner_contract.EXIT_CODES[named] == end.exit_code < 128:
        return Reason(str(named))
    if end.exit_code == runner_contract.EXIT_CODES[runner_contract.RunnerReason.TRY_AGAIN]:
        return Reason.TRY_AGAIN
    if runner_contract.classify_exit(end.exit_code) is runner_contract.ExitMeaning.PERMANENT:
        return Reason.PERMANENT_FAILURE
    return Reason.PROGRAM_FAILED
