"""The runner's own lines in the task's log; `logging` would cost more to import than it gives."""

from __future__ import annotations

import sys


def line(text: str) -> None:
    """Write one line to stderr."""
    print(f"longtask: {text}", file=sys.stderr, flush=True)
