"""What can go wrong, and how it is told: each error is one kind of problem of RFC 9457.

ApiError
 +- Malformed           400  the body is no JSON, or a parameter cannot be read
 +- Unauthenticated     401  no token, or a wrong one
 +- Forbidden           403  the caller is no admin, or a rule of the cluster refuses it
 +- Missing             404  there is no such thing
 +- SlowBody            408  the body took too long to arrive
 +- Clash               409  the task's state, its name or its key forbids it
 +- Stale               412  it has changed since the caller looked at it (`If-Match`)
 +- TooLarge            413  more bytes than are taken
 +- UnsupportedMedia    415  the body is not JSON
 +- NoSuchRange         416  the resource has no such bytes
 +- Misdirected         421  the API is not known by that name
 +- Invalid             422  fields or parameters are wrong; `errors` says which
 +- TooManyRequests     429  Kubernetes is busy, or the caller asks for too much at once
 +- Unavailable         503  what it takes is away for now
     +- DatabaseAway    503  the database does not answer, and what does not need it goes on

What Kubernetes says is not among them: `http.problems` has the table that makes these of it.
"""

from collections.abc import Iterable, Mapping
from typing import ClassVar

import pydantic

from longtask_client import models
from longtask_crds import acceptance, json_values


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


class Forbidden(ApiError):
    """A rule forbids it."""

    status = 403
    kind = "forbidden"


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


class Stale(ApiError):
    """It is not as the request expects it any more."""

    status = 412
    kind = "precondition-failed"


class TooLarge(ApiError):
    """The request is larger than what is taken."""

    status = 413
    kind = "too-large"


class UnsupportedMedia(ApiError):
    """The request's body must be JSON."""

    status = 415
    kind = "unsupported-media-type"


class NoSuchRange(ApiError):
    """There are no such bytes."""

    status = 416
    kind = "range-not-satisfiable"


class Misdirected(ApiError):
    """The API is not reached by that name."""

    status = 421
    kind = "misdirected-request"


class Invalid(ApiError):
    """The request is not valid."""

    status = 422
    kind = "invalid-request"


class TooManyRequests(ApiError):
    """Too much is asked for at once."""

    status = 429
    kind = "too-many-requests"
    retry_after = 1


class Unavailable(ApiError):
    """The service is not available for now."""

    status = 503
    kind = "unavailable"
    retry_after = 5


class DatabaseAway(Unavailable):
    """The database does not answer."""


def finding(pointer: str, detail: str) -> models.ProblemError:
    """Return one thing that is wrong with the body: where it stands, and why."""
    return models.ProblemError(pointer=pointer, detail=detail)


def outside(place: models.Place, name: str, detail: str) -> models.ProblemError:
    """Return one thing that is wrong with a parameter or a header."""
    return models.ProblemError(in_=place, name=name, detail=detail)


def findings(error: pydantic.ValidationError) -> list[models.ProblemError]:
    """Return what pydantic found first, with JSON Pointers, and nothing of what was given."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return [
        finding(json_values.pointer(*one["loc"]), one["msg"])
        for one in found[: acceptance.MAX_FINDINGS]
    ]
