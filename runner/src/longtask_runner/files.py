"""Fetch whole results of earlier steps into files, before the program of a step starts.

It runs as `python -m longtask_runner.files NAME…` in a container of its own. Nothing else of the
runner imports it.
"""

from __future__ import annotations

import os
import random
import sys
import time

from longtask_crds import runner_contract
from longtask_runner import errors, log, runner_port, settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: How long one is tried to be fetched: an API that is being replaced is back in minutes.
PATIENCE_SECONDS = 600.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 5.0


def main() -> None:
    """Fetch the results of the steps that the command line names."""
    env = settings.Settings(os.environ)
    port = runner_port.RunnerPort(url=env.api_url, token_file=env.token_file)
    try:
        if not env.api_url:
            raise errors.ResultNotDelivered("there is no API to fetch results from")
        for name in sys.argv[1:]:
            size = fetch(port, name, folder=runner_contract.FILES_FOLDER)
            log.line(f"fetched the result of the step {name}: {size} bytes")
    except errors.ResultNotDelivered as error:
        log.line(str(error))
        sys.exit(runner_contract.EXIT_CODES[runner_contract.RunnerReason.RESULT_NOT_DELIVERED])


def fetch(
    port: runner_port.RunnerPort,
    name: str,
    *,
    folder: str,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Fetch the result of a step into a file of its name; it is never in memory as a whole.

    It is tried again while it may pass, for ten minutes.

    Returns:
        Its size in bytes.

    Raises:
        ResultNotDelivered: It did not come in time.
    """
    until, pause = clock() + PATIENCE_SECONDS, _FIRST_PAUSE
    while True:
        try:
            with open(f"{folder}/{name}", "wb") as file:
                return port.get_step_result(name, file)
        except runner_port.NotTaken as failure:
            what = f"the result of the step {name} did not come: {failure}"
            if not failure.again or clock() + pause > until:
                raise errors.ResultNotDelivered(what) from failure
            log.line(what)
        # Many pods may start while the API is away, and shall not come back as one.
        sleep(pause * random.uniform(0.5, 1))
        pause = min(pause * 2, _LONGEST_PAUSE)


if __name__ == "__main__":
    main()
