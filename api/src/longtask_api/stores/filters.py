"""What tasks must be like to be listed, whichever store holds them."""

import dataclasses
import math
from datetime import datetime

from longtask_api.stores.catalogue import Age, Record
from longtask_crds import names, v1alpha1
from longtask_crds.names import ObjectKey


@dataclasses.dataclass(frozen=True)
class Filter:
    """What tasks must be like to be listed; what is empty does not matter."""

    phases: tuple[v1alpha1.Phase, ...] = ()
    queue: str | None = None
    type: str | None = None
    owner: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    text: str | None = None  #: in the name or the message, in capitals or not
    since: datetime | None = None  #: made then or later
    until: datetime | None = None  #: made before
    archived: bool | None = None  #: those of the archive alone, or of Kubernetes alone

    def matches(self, task: Record, *, queue: str) -> bool:
        """Tell whether the task, which is in that queue, is to be listed."""
        first, end = self.ages
        return (
            (not self.phases or task.phase in self.phases)
            and self.type in (None, task.type)
            and self.owner in (None, task.owner)
            and all(label in task.labels for label in self.labels)
            and self.queue in (None, queue)
            and (first is None or first < task.age)
            and (end is None or task.age < end)
            and (self.text is None or self.text.casefold() in words(task.key.name, task.message))
        )

    @property
    def ages(self) -> tuple[Age | None, Age | None]:
        """The ages between which all wanted tasks are."""
        return _beginning(self.since), _beginning(self.until)

    @property
    def schedule(self) -> str | None:
        """Whose runs alone are meant: of all labels this one is found by an index."""
        return next((value for key, value in self.labels if key == names.SCHEDULE_LABEL), None)

    @property
    def searched_labels(self) -> tuple[tuple[str, str], ...]:
        """The labels that no index finds."""
        return tuple(one for one in self.labels if one != (names.SCHEDULE_LABEL, self.schedule))

    @property
    def wants_archived(self) -> bool:
        """Tell whether a task of the archive can match at all: it is over."""
        ended = not self.phases or any(phase.is_terminal for phase in self.phases)
        return ended and self.archived is not False


def words(name: str, message: str | None) -> str:
    """Return what free text is looked for in."""
    return f"{name}\n{message or ''}".casefold()


def _beginning(moment: datetime | None) -> Age | None:
    """Return what is before all that was made at the moment or later, and behind all else."""
    return None if moment is None else (math.ceil(moment.timestamp()), ObjectKey("", ""), "")
