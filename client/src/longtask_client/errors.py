"""What can go wrong for a client.

LongTaskError
 +- ConnectionFailed       nobody answers
 +- UnexpectedAnswer       what answers is not LongTask's API
 +- WaitTimeout            the task is not finished in the given time
 +- ApiError               the API refuses, and says why: `problem`
     +- InvalidRequest         400, 413, 415, 422: `errors` names the fields
     +- Unauthorized           401, 403
     +- NotFound               404
     +- Conflict               409, 412
     |   +- NotStarted             the task's program has not started: ask again
     +- TooManyRequests        429
     +- ServerUnavailable      5xx: Kubernetes or the API is away
"""

from longtask_client import models

_NOT_STARTED = "urn:longtask:problem:not-started"


class LongTaskError(Exception):
    """Something went wrong between this client and LongTask."""


class ConnectionFailed(LongTaskError):
    """Nobody answers at the given URL, or the connection broke."""


class UnexpectedAnswer(LongTaskError):
    """The answer is none of LongTask's API: is the URL right?"""


class WaitTimeout(LongTaskError):
    """The task is not finished yet; it goes on."""

    def __init__(self, task_id: str, state: models.TaskState | None) -> None:
        at = f": it is {state.state}" if state else ""
        super().__init__(f"{task_id} is not finished yet{at}; it goes on")
        self.state = state


class ApiError(LongTaskError):
    """The API refuses, and says why."""

    def __init__(self, problem: models.Problem) -> None:
        super().__init__(problem.detail or problem.title)
        self.problem = problem

    @property
    def errors(self) -> list[models.ProblemError]:
        """Each thing that is wrong with the request, with its place."""
        return self.problem.errors


class InvalidRequest(ApiError):
    """The request is wrong; `errors` says where."""


class Unauthorized(ApiError):
    """The token is missing, wrong, or not good enough."""


class NotFound(ApiError):
    """There is no such thing."""


class Conflict(ApiError):
    """The state of the task, its name or its key forbids it."""


class NotStarted(Conflict):
    """The task's program has not started yet."""


class TooManyRequests(ApiError):
    """The API asks to come back later."""


class ServerUnavailable(ApiError):
    """The API cannot answer now."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
    429: TooManyRequests,
}


def from_problem(problem: models.Problem) -> ApiError:
    """Return the error that the API's problem is."""
    if problem.type == _NOT_STARTED:
        return NotStarted(problem)
    if problem.status >= 500:
        return ServerUnavailable(problem)
    return _BY_STATUS.get(problem.status, ApiError)(problem)
