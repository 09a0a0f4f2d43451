"""What is done every few seconds for ever, ever more slowly while it fails."""

import logging
from collections.abc import Awaitable, Callable

from longtask_adapters.kube import errors

_logger = logging.getLogger(__name__)

#: How long the pause is, in seconds.
_PAUSE = 5.0
#: How long it becomes while there are failures.
_LONGEST_PAUSE = 60.0


async def for_ever(
    once: Callable[[], Awaitable[None]],
    failure: str,
    *,
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    """Do something again and again; failures are logged.

    Args:
        once: Does it.
        failure: What the log says of one.
        sleep: Lets so many seconds pass.
    """
    pause = _PAUSE
    while True:
        await sleep(pause)
        try:
            await once()
            pause = _PAUSE
        except Exception as error:
            pause = min(_LONGEST_PAUSE, 2 * pause)
            unknown = not isinstance(error, errors.ClusterError)
            _logger.warning(failure, extra={"cause": str(error)}, exc_info=unknown)
