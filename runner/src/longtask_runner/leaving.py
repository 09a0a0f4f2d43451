"""The process's last steps: its outcome is written, and nothing may hold it up for long."""

from __future__ import annotations

import _thread
import os
import sys
import time

from longtask_runner import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

#: How long threads and exit handlers of the task may go on.
PATIENCE_SECONDS = 10.0


def bound(exit_code: int, *, patience: float) -> None:
    """End the process in `patience` seconds, if its exit has not done so by then."""
    # No thread that `threading` knows of, so the interpreter does not wait for this one. Joining
    # the others here would wait for idle pools, which only the interpreter's own exit wakes.
    _thread.start_new_thread(_watch, (exit_code, patience))


def leave_at_once(exit_code: int) -> NoReturn:
    """End the process now, whatever still runs in it."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:  # the task may have closed them
        os._exit(exit_code)


def is_held_up() -> bool:
    """Tell whether the interpreter's exit would wait for threads of the task."""
    if "threading" not in sys.modules:
        return False
    import threading  # it is there

    main = threading.main_thread()
    return any(one is not main and not one.daemon for one in threading.enumerate())


def _watch(exit_code: int, patience: float) -> None:
    time.sleep(patience)
    try:
        log.line(f"left after waiting {patience:g} s for {_leftovers()}")
    finally:
        leave_at_once(exit_code)


def _leftovers() -> str:
    import threading  # only now: most tasks have no threads

    left = [one for one in threading.enumerate() if not one.daemon]
    names = ", ".join(one.name for one in left if one is not threading.main_thread())
    return f"threads: {names}" if names else "an exit handler"
