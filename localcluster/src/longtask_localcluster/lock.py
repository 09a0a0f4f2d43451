"""One start or stop at a time on this machine."""

import contextlib
import fcntl
import tempfile
from collections.abc import Iterator
from pathlib import Path

from longtask_localcluster import progress

NAME = "longtask-localcluster.lock"


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Keep other starts and stops on this machine waiting."""
    # For the machine and not for the clone, since a machine can have one cluster.
    with (Path(tempfile.gettempdir()) / NAME).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("Another start or stop is under way on this machine: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
