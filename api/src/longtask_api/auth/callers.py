"""Who asks, and what they may see."""

import dataclasses
from typing import Final


@dataclasses.dataclass(frozen=True)
class Caller:
    """Somebody who asks."""

    subject: str  #: whose the tasks are that they make; empty for the installation itself
    is_admin: bool

    def may_see(self, owner: str | None) -> bool:
        """Tell whether a task of this owner is there for them at all."""
        return self.is_admin or owner == self.subject


#: Who bears the installation's own token.
INSTALLATION: Final = Caller(subject="", is_admin=True)
