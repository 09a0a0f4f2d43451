"""What a list and a stream of tasks are filtered by, said once for both."""

from typing import Annotated

from fastapi import Query
from pydantic import Field

from longtask_api.services import listing

_Label = Annotated[
    str,
    Field(json_schema_extra={"pattern": f"^{listing.SELECTOR}(,{listing.SELECTOR})*$"}),
]

InQueue = Annotated[str | None, Query(description="In this queue.")]
OfType = Annotated[str | None, Query(description="Of this type.")]
OfOwner = Annotated[str | None, Query(description="Of this owner.")]
WithLabels = Annotated[list[_Label], Query(description="With these labels: `a=b,c=d`.")]
