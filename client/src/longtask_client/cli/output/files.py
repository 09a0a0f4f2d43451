"""Files that a command writes: whole, or not at all."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from longtask_client.cli.given import inputs


def write(file: Path, pieces: Iterable[bytes]) -> int:
    """Write a file piece by piece, and put it in its place once it is whole; return its size.

    Raises:
        BadWord: It cannot be written there.
    """
    target = file.resolve()
    try:
        if target.exists() and not target.is_file():
            return _fill(target, pieces)  # a device or a pipe has no other name
        partial = target.with_name(f".{target.name}.{os.getpid()}.part")
        with contextlib.ExitStack() as stack:
            stack.callback(partial.unlink, missing_ok=True)
            size = _fill(partial, pieces)
            partial.replace(target)
            return size
    except OSError as error:
        raise inputs.BadWord(f"{file}: {error.strerror or error}") from error


def _fill(file: Path, pieces: Iterable[bytes]) -> int:
    with file.open("wb") as opened:
        return sum(map(opened.write, pieces))
