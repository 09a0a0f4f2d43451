"""The service itself, and what is wrong with a request."""

import enum

from pydantic import Field

from longtask_crds import v1alpha1


class Version(v1alpha1.Model):
    """What runs here."""

    version: str
    """The version of LongTask."""


class Place(enum.StrEnum):
    """Where a request says something besides its body."""

    QUERY = "query"
    PATH = "path"
    HEADER = "header"


class ProblemError(v1alpha1.Model):
    """One thing that is wrong with a request: with its body, or with a parameter or a header."""

    pointer: str | None = None
    """Where in the body, as a JSON Pointer: empty for all of it; null where it is not the body."""

    in_: Place | None = Field(default=None, alias="in")
    """Where else; null where it is the body."""

    name: str | None = None
    """The parameter's or header's name; null where it is the body."""

    detail: str
    """What is wrong with it."""


class Problem(v1alpha1.Model):
    """An error, as of RFC 9457."""

    type: str
    """What kind of problem it is, as a stable URI."""

    title: str
    """The kind in words."""

    status: int
    """The HTTP status code."""

    detail: str | None = None
    """What is wrong this time."""

    instance: str | None = None
    """The path that was asked for."""

    errors: list[ProblemError] = Field(default_factory=list)
    """Each thing that is wrong."""
