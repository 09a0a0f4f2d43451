"""What the request that is being answered does: said where it is done, collected where it ends.

Whoever is known, and what is made or changed, is known deep inside; what became of it, outside of
all. What is said here is read by administrators: no password, token or key, and nothing of a body.
"""

import contextvars
import dataclasses
from typing import Final

from longtask_client import models

#: A word or two about what was done.
Detail = dict[str, str | int | bool | list[str] | None]


@dataclasses.dataclass(frozen=True)
class Target:
    """What something is done to."""

    name: str
    uid: str = ""
    detail: Detail = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Actor:
    """Who does it."""

    name: str  #: what people call them
    subject: str  #: whose the tasks are that they make
    via: models.Via


@dataclasses.dataclass
class Deed:
    """What one request does."""

    actor: Actor | None = None
    targets: list[Target] = dataclasses.field(default_factory=list)


_deed: Final[contextvars.ContextVar[Deed | None]] = contextvars.ContextVar("deed", default=None)


def begin() -> Deed:
    """Return what collects the deed of the request that begins here."""
    deed = Deed()
    _deed.set(deed)
    return deed


def by(name: str, *, subject: str, via: models.Via) -> None:
    """Say who asks; beside a request it is nobody's."""
    if (deed := _deed.get()) is not None:
        deed.actor = Actor(name, subject, via)


def to(name: str, uid: str = "", **detail: str | int | bool | list[str] | None) -> None:
    """Say what it was done to, and a word about it; beside a request it is nobody's.

    What has its name in the path need not be said, unless there is a word about it.
    """
    if (deed := _deed.get()) is not None:
        deed.targets.append(Target(name, uid, detail))
