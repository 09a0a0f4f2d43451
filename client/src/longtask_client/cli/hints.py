"""What a person may do about an error of the API: a line below it. Pure."""

from longtask_client import errors
from longtask_client.cli import session

_UNAUTHENTICATED = 401


def of(error: errors.LongTaskError, said: session.Session) -> list[str]:
    """Return what helps, if anything is known."""
    match error:
        case errors.Unauthorized() if error.problem.status == _UNAUTHENTICATED:
            if said.has_token():
                return ["The token is wrong or has ended: log in again, or look at LONGTASK_TOKEN."]
            return ["No token was sent: longtask login URL --username NAME, or set LONGTASK_TOKEN."]
        case errors.Unauthorized():
            return ["See what you may: longtask whoami"]
        case errors.ConnectionFailed() | errors.UnexpectedAnswer():
            return ["See where the command looks: longtask open, longtask config get-contexts"]
    return []
