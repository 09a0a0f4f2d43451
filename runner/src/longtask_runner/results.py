"""Hand over a result that does not fit into the output file. Imported for such a result only."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

from longtask_crds import runner_contract
from longtask_runner import cancellation, errors, log, runner_port

#: How long a result is tried to be delivered: the work of hours may be in it, and an API that is
#: being replaced is back in minutes.
PATIENCE_SECONDS = 600.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 5.0


def deliver(
    pieces: Iterator[bytes],
    *,
    url: str,
    token_file: str,
    cancel: cancellation.Cancellation,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Send the result to the API's runner port, from a file: it is in memory once already.

    It is tried again while it may pass: for ten minutes, or once more after the task was told to
    end.

    Returns:
        Its size in bytes.

    Raises:
        ResultTooLarge: The API keeps none of this size, or there is no API.
        ResultNotDelivered: The API did not take it in time.
    """
    with tempfile.TemporaryFile() as file:
        size = sum(map(file.write, pieces))
        if not url:
            raise errors.ResultTooLarge(
                f"the result has {size} bytes of JSON; without an API to keep it,"
                f" the limit is {runner_contract.INLINE_RESULT_LIMIT}"
            )
        port = runner_port.RunnerPort(url=url, token_file=token_file)
        _send(port, file, size, cancel=cancel, clock=clock, sleep=sleep)
    return size


def _send(
    port: runner_port.RunnerPort,
    file: BinaryIO,
    size: int,
    *,
    cancel: cancellation.Cancellation,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    until, pause = clock() + PATIENCE_SECONDS, _FIRST_PAUSE
    while True:
        is_last = cancel.requested or clock() + pause > until
        try:
            file.seek(0)
            port.put_result(file, size)
        except runner_port.TooLarge as refusal:
            raise errors.ResultTooLarge(f"the result has {size} bytes: {refusal}") from refusal
        except runner_port.NotTaken as failure:
            if is_last or not failure.again:
                what = f"the result of {size} bytes was not taken: {failure}"
                raise errors.ResultNotDelivered(what) from failure
            log.line(f"the result of {size} bytes was not taken yet: {failure}")
        else:
            return
        # Many tasks may end while the API is away, and shall not come back as one.
        sleep(pause * random.uniform(0.5, 1))
        pause = min(pause * 2, _LONGEST_PAUSE)
