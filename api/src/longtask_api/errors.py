"""What can go wrong, and how it is told: each error is one kind of problem of RFC 9457.

ApiError
 +- Malformed           400  the body is no JSON, or a parameter cannot be read
 +- Unauthenticated     401  no token, or a wrong one
 +- Missing             404  there is no such thing
 +- SlowBody            408  the body took too long to arrive
 +- Clash               409  the task's state, its name or its key forbids it
 +- TooLarge            413  more bytes than are taken
 +- UnsupportedMedia    415  the body is not JSON
 +- Invalid             422  fields or parameters are wrong; `errors` says which
 +- NotKept             501  a result that this version cannot read
 +- ClusterError             what Kubernetes says
     +- NotFound        404
     +- AlreadyExists   409
     +- Conflict        409  somebody wrote first
     +- Rejected        422  CEL or admission refuses the object
     +- Forbidden       403  admission or a quota refuses the object
     +- TooManyRequests 429
     +- Expired         503  the place in the watch is too old: list again
     +- Unavailable     503  Kubernetes does not answer, or not as it should
"""

from collections.abc import Iterable, Mapping
from typing import ClassVar

from longtask_client import models


class ApiError(Exception):
    """Something went wrong here."""

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "internal-error"
    retry_after: ClassVar[int | None] = None

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Iterable[models.ProblemError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or self.title())
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        if self.retry_after is not None:
            self.headers.setdefault("Retry-After", str(self.retry_after))

    @classmethod
    def title(cls) -> str:
        """Return the kind of problem in words: the first line of its docstring."""
        return (cls.__doc__ or "").partition("\n")[0].rstrip(".")


class Malformed(ApiError):
    """The request cannot be read."""

    status = 400
    kind = "malformed-request"


class Unauthenticated(ApiError):
    """A valid bearer token is needed."""

    status = 401
    kind = "unauthenticated"

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="longtask"'})


class Missing(ApiError):
    """There is no such thing."""

    status = 404
    kind = "not-found"


class SlowBody(ApiError):
    """The request's body took too long to arrive."""

    status = 408
    kind = "request-timeout"


class Clash(ApiError):
    """The request does not go with what is there."""

    status = 409
    kind = "conflict"


class TooLarge(ApiError):
    """The request is larger than what is taken."""

    status = 413
    kind = "too-large"


class UnsupportedMedia(ApiError):
    """The request's body must be JSON."""

    status = 415
    kind = "unsupported-media-type"


class Invalid(ApiError):
    """The request is not valid."""

    status = 422
    kind = "invalid-request"


class NotKept(ApiError):
    """This version cannot do that yet."""

    status = 501
    kind = "not-supported"


class ClusterError(ApiError):
    """Kubernetes refused."""


class NotFound(ClusterError):
    """There is no such resource."""

    status = 404
    kind = "not-found"


class AlreadyExists(ClusterError):
    """A resource of that name exists."""

    status = 409
    kind = "conflict"


class Conflict(ClusterError):
    """Somebody else wrote first."""

    status = 409
    kind = "conflict"


class Rejected(ClusterError):
    """Kubernetes does not accept the task."""

    status = 422
    kind = "invalid-request"


class Forbidden(ClusterError):
    """A rule of the cluster forbids the task."""

    status = 403
    kind = "forbidden"


class TooManyRequests(ClusterError):
    """Kubernetes is busy."""

    status = 429
    kind = "too-many-requests"
    retry_after = 1


class Expired(ClusterError):
    """The cluster no longer knows that place."""

    status = 503
    kind = "unavailable"


class Unavailable(ClusterError):
    """Kubernetes is away."""

    status = 503
    kind = "unavailable"
    retry_after = 5
