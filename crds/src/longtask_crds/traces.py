"""The trace that a task belongs to, as W3C Trace Context writes it. Pure.

Whoever hands a task over may say so by the header `traceparent`; it is kept as an annotation, and
goes on to the program and to the receiver of callbacks.
"""

import re
from typing import Final

from longtask_crds import names, v1alpha1

#: The header of requests and of callbacks.
HEADER: Final = "traceparent"
_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_LONGEST: Final = 512
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16


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


def of(task: v1alpha1.LongTask) -> str | None:
    """Return the traceparent of a task, or None; anybody may have written the annotation."""
    return parse(task.metadata.annotations.get(names.TRACEPARENT_ANNOTATION))


def trace_id(traceparent: str) -> str:
    """Return the id of a trace of what `parse` has returned."""
    return traceparent.split("-")[1]
