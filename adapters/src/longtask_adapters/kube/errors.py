"""What can go wrong between us and the API server.

ClusterError
 +- NotFound
 +- Conflict          somebody wrote first
 |   +- AlreadyExists
 +- Rejected          the object is wrong; `causes` name the fields
 +- Forbidden         admission or a quota refuses it
 |   +- NoRight       our own account may not ask for this
 +- TooManyRequests   `retry_after` says for how long
 +- Expired           the place in a list or a watch is too old
 +- Unreadable        it is there, and does not fit our definition of its kind
 +- Unavailable       no answer, or not as it should be
     +- Full              an object has no room for what is added to it
"""

from collections.abc import Iterable
from typing import NamedTuple


class Cause(NamedTuple):
    """What the API server says of one field."""

    field: str  #: as it names it: `spec.steps[0].input`; empty for the whole object
    message: str


class ClusterError(Exception):
    """The API server did not do what was asked."""


class NotFound(ClusterError):
    """There is no such object."""


class Conflict(ClusterError):
    """Somebody wrote first; observe again."""


class AlreadyExists(Conflict):
    """An object of that name is there already."""


class Rejected(ClusterError):
    """The API server refuses this object, and will refuse it again until something changes."""

    def __init__(self, message: str, causes: Iterable[Cause] = ()) -> None:
        super().__init__(message)
        self.causes = tuple(causes)


class Forbidden(ClusterError):
    """A rule of the cluster refuses this: admission, Pod Security, a quota."""


class NoRight(Forbidden):
    """Our own account lacks a right: whoever installed us can help, whoever asked us cannot."""


class TooManyRequests(ClusterError):
    """The API server is busy; `retry_after` is what it asks for in seconds, or None."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Expired(ClusterError):
    """The API server no longer knows that place in a list or a watch; list anew."""


class Unreadable(ClusterError):
    """An object does not fit our definition of its kind: another version's took it."""


class Unavailable(ClusterError):
    """No answer, or none that can be read; a write may have happened."""


class Full(Unavailable):
    """An object has no room for what is added to it: somebody has to make room."""
