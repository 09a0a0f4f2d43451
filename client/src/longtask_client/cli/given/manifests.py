"""From a file to the fields of orders."""

import sys
from pathlib import Path
from typing import Any

from longtask_client import manifests
from longtask_client.cli.given import inputs


def read(source: str, kind: str = "LongTask") -> list[dict[str, Any]]:
    """Return the fields of the orders that a file holds; `-` is standard input.

    Args:
        source: The file.
        kind: What the whole resources in it are.

    Raises:
        BadWord: It cannot be read, or holds none.
    """
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise inputs.BadWord(f"--file {source}: {error}") from error
    try:
        return manifests.parse(text, f"--file {source}", kind)
    except manifests.Unreadable as error:
        raise inputs.BadWord(str(error)) from error
