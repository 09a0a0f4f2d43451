"""Who asks, and what they may see."""

import dataclasses
from typing import Final

from longtask_crds import names, v1alpha1


@dataclasses.dataclass(frozen=True)
class Caller:
    """Somebody who asks."""

    subject: str  #: whose the tasks are that they make; empty for the installation itself
    is_admin: bool

    def may_see(self, task: v1alpha1.LongTask) -> bool:
        """Tell whether the task is there for them at all."""
        return self.is_admin or task.metadata.labels.get(names.OWNER_LABEL) == self.subject


#: Who bears the installation's own token.
INSTALLATION: Final = Caller(subject="", is_admin=True)
