"""What the installation asks of whatever is ordered."""

import dataclasses

from longtask_crds import address_guard, effective


@dataclasses.dataclass(frozen=True)
class Rules:
    """What holds for every task, and so for the runs of every schedule."""

    installation: effective.Installation
    guard: address_guard.Guard
