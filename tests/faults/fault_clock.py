"""A clock of its own for one process, by libfaketime: Debian's package is called `faketime`.

Only the time of day is another one. How long something takes is measured by a clock that nobody
sets, here as on any machine.
"""

import os
from collections.abc import Mapping
from pathlib import Path


def library() -> Path | None:
    """Return what is loaded before all else, if it is installed."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def off_by(seconds: int) -> str:
    """Return how libfaketime is told what a clock differs by."""
    return f"{seconds:+d}"


def environment(**told: str) -> Mapping[str, str]:
    """Return the variables of a process whose clock is another one.

    Raises:
        FileNotFoundError: There is no libfaketime.
    """
    found = library()
    if found is None:
        raise FileNotFoundError("install libfaketime: apt-get install faketime")
    return {
        "LD_PRELOAD": str(found),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        # A clock that is set while the process runs is another one within a second.
        "FAKETIME_CACHE_DURATION": "1",
        **told,
    }


def long_ago() -> Mapping[str, str]:
    """Return the environment of who makes what must be valid for a clock that is behind, too."""
    return dict(os.environ) if library() is None else os.environ | environment(FAKETIME="-1d")
