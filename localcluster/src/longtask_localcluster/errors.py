"""What can go wrong, each with an advice.

LocalClusterError
 +- CommandFailed     a program that was run ended with an error
 +- MissingProgram    something is needed that cannot be installed from here
 +- MachineTaken      another cluster or process uses what this one needs
 +- NotReady          something was started and did not become ready in time
"""


class LocalClusterError(Exception):
    """Base of all errors that are shown to the user without a traceback."""


class CommandFailed(LocalClusterError):
    """A program that was run ended with an error."""


class MissingProgram(LocalClusterError):
    """Something is needed that cannot be installed from here."""


class MachineTaken(LocalClusterError):
    """Another cluster or process uses what this one needs."""


class NotReady(LocalClusterError):
    """Something was started and did not become ready in time."""
