"""What a list and a stream of tasks are filtered by, said once for both."""

from typing import Annotated

from fastapi import Query
from pydantic import Field

from longtask_api.services.tasks import listing
from longtask_client import models
from longtask_crds import v1alpha1

_Label = Annotated[
    str,
    Field(json_schema_extra={"pattern": f"^{listing.SELECTOR}(,{listing.SELECTOR})*$"}),
]

InPhases = Annotated[list[models.GivenPhase], Query(description="In one of these phases.")]
InQueue = Annotated[str | None, Query(description="In this queue.")]
OfType = Annotated[str | None, Query(description="Of this type.")]
OfOwner = Annotated[str | None, Query(description="Of this owner.")]
WithLabels = Annotated[list[_Label], Query(description="With these labels: `a=b,c=d`.")]
WithText = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=200,
        description="With this text in the name or the message, in capitals or not.",
        examples=["out of memory"],
    ),
]
MadeSince = Annotated[
    v1alpha1.GivenTime | None,
    Query(description="Made at this time or later.", examples=["2026-01-02T00:00:00Z"]),
]
MadeBefore = Annotated[
    v1alpha1.GivenTime | None,
    Query(description="Made before this time.", examples=["2026-01-03T00:00:00Z"]),
]
