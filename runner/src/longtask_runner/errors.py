"""How an attempt ends other than with a result; the class decides the reason and the exit code.

RunnerError
 +- TryAgain            retried while attempts last
 |   +- ResultNotDelivered
 |   +- NoTask
 +- Permanent           not retried
     +- InvalidInput
     +- AddressRefused
     +- InvalidResult
     +- ResultTooLarge
     +- TaskNotFound
     +- TaskNotLoadable

Any other exception is a failure that is retried.
"""

from __future__ import annotations

from longtask_crds import runner_contract


class RunnerError(Exception):
    """An end with a reason of its own."""

    reason: str  #: a `RunnerReason`


class TryAgain(RunnerError):
    """A further attempt may succeed."""

    reason = runner_contract.RunnerReason.TRY_AGAIN


class ResultNotDelivered(TryAgain):
    """The API did not take a result that does not fit into the output file."""

    reason = runner_contract.RunnerReason.RESULT_NOT_DELIVERED


class NoTask(TryAgain):
    """The pod was started ahead, and ended before it got a task."""

    reason = runner_contract.RunnerReason.NO_TASK


class Permanent(RunnerError):
    """A further attempt would fail the same way."""

    reason = runner_contract.RunnerReason.PERMANENT_FAILURE


class InvalidInput(Permanent):
    """The input does not fit; the message names the field."""

    reason = runner_contract.RunnerReason.INVALID_INPUT


class AddressRefused(Permanent):
    """The address guard refused a URL, or what it leads to."""

    reason = runner_contract.RunnerReason.ADDRESS_REFUSED


class InvalidResult(Permanent):
    """The returned value cannot travel as JSON; the message names the place."""

    reason = runner_contract.RunnerReason.INVALID_RESULT


class ResultTooLarge(Permanent):
    """The result is larger than what is kept."""

    reason = runner_contract.RunnerReason.RESULT_TOO_LARGE


class TaskNotFound(Permanent):
    """No installed package has a task of that name."""

    reason = runner_contract.RunnerReason.TASK_NOT_FOUND


class TaskNotLoadable(Permanent):
    """The task is there, but cannot be called: a broken module, signature or entry point."""

    reason = runner_contract.RunnerReason.TASK_NOT_LOADABLE
