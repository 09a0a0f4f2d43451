"""Who asks, what they may do, and what they may see."""

import dataclasses
import enum
from typing import Final


class Act(enum.Enum):
    """What a request does. Each route asks for one, and nobody does what they may not."""

    READ = "read"  #: look at tasks, types and queues
    WRITE = "write"  #: hand tasks over, change, cancel and delete them
    MANAGE = "manage"  #: what concerns everybody: queues, accounts


EVERYTHING: Final = frozenset(Act)


@dataclasses.dataclass(frozen=True)
class Caller:
    """Somebody who asks, however they showed who they are."""

    subject: str  #: whose the tasks are that they make: a label's value; of the installation, empty
    name: str = ""  #: what people call them
    acts: frozenset[Act] = frozenset({Act.READ, Act.WRITE})
    sees_all: bool = False  #: the tasks of everybody, and not theirs alone

    def may_see(self, owner: str | None) -> bool:
        """Tell whether a task of this owner is there for them at all."""
        return self.sees_all or owner == self.subject

    def may(self, act: Act) -> bool:
        """Tell whether they may do this, to whatever they see."""
        return act in self.acts


#: Who bears the installation's own token.
INSTALLATION: Final = Caller(subject="", name="installation", acts=EVERYTHING, sees_all=True)
