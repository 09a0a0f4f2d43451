"""Read your own writes, whichever replica answers.

An answer to a write says in a header which state of the resources has it; a request that says the
same is answered from that state or a later one. What it says is opaque to clients, who send back
what they got last. A replica that is behind waits for its watch; nobody asks Kubernetes.
"""

import contextvars
import re
from collections.abc import Mapping
from typing import Final

from longtask_api import errors

HEADER: Final = "LongTask-Version"

#: The newest state that the request that is being answered asked for or made, by plural.
_known: contextvars.ContextVar[dict[str, int] | None] = contextvars.ContextVar(
    "known", default=None
)
#: More digits than a resourceVersion has, and fewer than what costs time to read.
_PART = re.compile(r"([a-z]{1,40})=([0-9]{1,20})")


def parse(header: str) -> dict[str, int]:
    """Return the version of each kind that is named, by plural.

    Raises:
        Malformed: It is none of our headers.
    """
    found: dict[str, int] = {}
    for part in header.split(";"):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise errors.Malformed(f"The header {HEADER} cannot be read.")
        found[match[1]] = max(found.get(match[1], 0), int(match[2]))
    return found


def text(versions: Mapping[str, int]) -> str:
    """Return the header that says so."""
    return ";".join(f"{plural}={version}" for plural, version in sorted(versions.items()))


def begin() -> dict[str, int]:
    """Return what collects the versions of the request that begins here."""
    versions: dict[str, int] = {}
    _known.set(versions)
    return versions


def note(plural: str, version: int) -> None:
    """Take note of a write, or of what was asked for; beside a request it is nobody's."""
    if (versions := _known.get()) is not None:
        versions[plural] = max(versions.get(plural, 0), version)
