"""How an attempt ends: exit code and output, decided from what the task returned or raised."""

from __future__ import annotations

from longtask_crds import runner_contract
from longtask_runner import cancellation, errors, outputs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    #: Takes a result that does not fit into the output file, and returns its size.
    Deliver = Callable[[Iterator[bytes]], int]

#: A failure without a reason of its own: retried while attempts last.
FAILURE = 1
#: As shells count: 128 + SIGINT. Only a person at a terminal sends it.
INTERRUPTED = 130
_CANCELLED = runner_contract.RunnerReason.CANCELLED


class Ending:
    """What is left to do: write the output, log the line, exit with the code."""

    def __init__(self, exit_code: int, output: bytes, *, result_size: int | None = None) -> None:
        self.exit_code = exit_code
        self.output = output
        self.result_size = len(output) if result_size is None else result_size

    @property
    def cancelled(self) -> bool:
        """Return whether it has to be quick."""
        return self.exit_code == runner_contract.EXIT_CODES[_CANCELLED]


def of_result(value: object, deliver: Deliver) -> Ending:
    """Return how a task ends that returned a value; a large one is delivered.

    Raises:
        errors.RunnerError: The value cannot be handed over.
    """
    pieces = outputs.encode_result(value)
    data = outputs.begin(pieces)
    if outputs.fits(data):
        return Ending(0, data)
    return Ending(0, b"", result_size=deliver(_chain(data, pieces)))


def of_exception(error: BaseException) -> Ending:
    """Return how a task ends that raised something."""
    if isinstance(error, errors.RunnerError):
        code = runner_contract.EXIT_CODES[error.reason]
        return Ending(code, outputs.encode_message(f"{error.reason}: {error}"))
    if isinstance(error, cancellation.TaskCancelled):
        code = runner_contract.EXIT_CODES[_CANCELLED]
        return Ending(code, outputs.encode_message(f"{_CANCELLED}: {error}"))
    if isinstance(error, SystemExit):
        return _of_exit(error.code)
    code = INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAILURE
    return Ending(code, outputs.encode_message(f"{type(error).__name__}: {error}"))


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _of_exit(status: object) -> Ending:
    """Return what `sys.exit(status)` means, which is success for None and 0 only."""
    if status is None:
        return Ending(0, b"null")
    if not isinstance(status, int):
        return Ending(FAILURE, outputs.encode_message(str(status)))
    if status == 0:
        return Ending(0, b"null")
    # The kernel keeps eight bits, so 256 would read as success. No message: with an empty file
    # Kubernetes shows the last lines of the log.
    return Ending(status if 1 <= status <= 255 else FAILURE, b"")
