"""What several nouns say alike."""

from typing import Annotated

from pydantic import ConfigDict, StringConstraints

from longtask_crds import v1alpha1

#: One line of text.
Line = Annotated[
    str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")
]


class Order(v1alpha1.Model):
    """What a request says: a member that nobody knows is refused, not passed over."""

    model_config = ConfigDict(extra="forbid")
