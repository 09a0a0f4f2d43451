"""What can go wrong between the operator and the API server.

ClusterError
 +- NotFound
 +- Conflict
 |   +- AlreadyExists
 +- Rejected
 +- Unavailable
"""


class ClusterError(Exception):
    """The API server did not do what was asked."""


class NotFound(ClusterError):
    """There is no such object."""


class Conflict(ClusterError):
    """Somebody wrote first; observe again."""


class AlreadyExists(Conflict):
    """An object of that name is there already."""


class Rejected(ClusterError):
    """The API server refuses this, and will refuse it again until something changes."""


class Unavailable(ClusterError):
    """No answer, or one that says to come back later; the write may have happened."""
