"""The command on a terminal of its own, from which it is typed to."""

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

#: As a shell starts it: what starts in the background inherits that Ctrl-C is ignored. The terminal
#: that is the first of a session is where its passwords are asked for, and where Ctrl-C comes from.
_COMMAND = """
import os, runpy, signal
os.close(os.open(os.ttyname(0), os.O_RDWR))
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("longtask_client", run_name="__main__")
"""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PATIENCE = 120.0
CTRL_C = "\x03"


class Terminal:
    """A terminal on which one command runs."""

    def __init__(self, ours: int, process: subprocess.Popen[bytes]) -> None:
        self._ours = ours
        self._process = process
        self.raw = ""  #: all that came, with what steers the terminal

    @property
    def shown(self) -> str:
        """All that came, as somebody reads it."""
        return _CONTROL.sub("", self.raw).replace("\r\n", "\n")

    def until(self, pattern: str) -> str:
        """Return all that was shown, once that is among it; what lines say, `.` does not leave."""
        until = time.monotonic() + _PATIENCE
        while not re.search(pattern, self.shown):
            assert self._read(until), f"{pattern!r} is not shown: {self.shown}"
        return self.shown

    def type(self, text: str) -> None:
        """Let somebody type."""
        os.write(self._ours, text.encode())

    def end(self) -> int:
        """Wait for its end; return its exit code."""
        until = time.monotonic() + _PATIENCE
        while self._read(until):
            pass
        return self._process.wait(timeout=_PATIENCE)

    def _read(self, until: float) -> bool:
        """Take what comes next; tell whether there was anything."""
        ready, _, _ = select.select([self._ours], [], [], max(0, until - time.monotonic()))
        piece = b""
        with contextlib.suppress(OSError):  # nobody has its other side any more
            piece = os.read(self._ours, 65_536) if ready else b""
        self.raw += piece.decode(errors="replace")
        return bool(piece)


@contextlib.contextmanager
def terminal(*words: str, **environment: str) -> Iterator[Terminal]:
    """Run the command on a terminal of 100 columns and 24 lines."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (24, 100))
    process = subprocess.Popen(
        [sys.executable, "-c", _COMMAND, *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "NO_COLOR": "1"} | environment,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(ours, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
        os.close(ours)
