"""The trace that a task belongs to, as W3C Trace Context writes it. Pure.

Whoever hands a task over may say so by the headers `traceparent` and `tracestate`; they are kept as
annotations, and go on to the program and to the receiver of callbacks.
"""

import re
from typing import Final, NamedTuple

from longtask_crds import names, v1alpha1

#: The headers of requests and of callbacks.
HEADER: Final = "traceparent"
STATE_HEADER: Final = "tracestate"
_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_LONGEST: Final = 512
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_MEMBER: Final = re.compile(
    r"([a-z0-9][-a-z0-9_*/@]{0,255})=[ -+\--<>-~]{0,255}[!-+\--<>-~]", re.ASCII
)
_MOST_MEMBERS: Final = 32


class Trace(NamedTuple):
    """The trace that something belongs to."""

    parent: str  #: as `parse` returns it
    state: str | None = None  #: as `parse_state` returns it


def read(parent: str | None, state: str | None) -> Trace | None:
    """Return what the two headers say; None if there is no trace: then its state says nothing."""
    found = parse(parent)
    return None if found is None else Trace(found, parse_state(state))


def parse(text: str | None) -> str | None:
    """Return a traceparent as version 00 writes it; None if there is none that can be used.

    One that is wrong is ignored, as the standard says: it must keep nobody's request.
    """
    found = _FORM.fullmatch(text) if text and len(text) <= _LONGEST else None
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    is_wrong = version == "ff" or (version == "00" and more is not None)
    if is_wrong or trace == _NO_TRACE or span == _NO_SPAN:
        return None
    return f"00-{trace}-{span}-{flags}"


def parse_state(text: str | None) -> str | None:
    """Return a tracestate of no more than 512 characters; None if there is none that can be used.

    Members that have no room are left out from the end, for the newest stands first.
    """
    members = [part.strip(" \t") for part in (text or "").split(",")]
    kept: list[str] = []
    keys = set()
    for member in filter(None, members):
        found = _MEMBER.fullmatch(member)
        if found is None or found[1] in keys:
            return None
        keys.add(found[1])
        kept.append(member)
    if len(kept) > _MOST_MEMBERS:
        return None
    while len(",".join(kept)) > _LONGEST:
        kept.pop()
    return ",".join(kept) or None


def of(task: v1alpha1.LongTask) -> str | None:
    """Return the traceparent of a task, or None; anybody may have written the annotation."""
    return parse(task.metadata.annotations.get(names.TRACEPARENT_ANNOTATION))


def trace_of(task: v1alpha1.LongTask) -> Trace | None:
    """Return the trace that a task belongs to, with its state; as carefully as `of`."""
    said = task.metadata.annotations
    return read(said.get(names.TRACEPARENT_ANNOTATION), said.get(names.TRACESTATE_ANNOTATION))


def trace_id(traceparent: str) -> str:
    """Return the id of a trace of what `parse` has returned."""
    return traceparent.split("-")[1]
