"""LongTaskQueue: how many tasks run at once."""

from typing import Annotated

from pydantic import Field

from longtask_crds.v1alpha1.conditions import Condition
from longtask_crds.v1alpha1.fields import Count, Label, Model
from longtask_crds.v1alpha1.metadata import Resource


class LongTaskQueueSpec(Model):
    """How many tasks run at once."""

    max_running: Count | None = None
    """How many tasks of this queue may run at once; no limit when absent."""

    max_running_per_owner: Count | None = None
    """How many tasks of one owner may run at once; no limit when absent. Who runs
    that many is passed over, and blocks nobody."""

    paused: bool | None = None
    """While true, no task of this queue is started; those that run go on."""

    kueue_local_queue: Label | None = None
    """The Kueue LocalQueue that the Jobs are handed to. Not yet acted upon."""


class LongTaskQueueStatus(Model):
    """What the operator knows of the queue. Its counts are some seconds old; the API's are not."""

    running: Count | None = None
    """How many tasks hold a place: claimed, and not at their end yet."""

    waiting: Count | None = None
    """How many tasks wait for a place."""

    observed_generation: int | None = None
    """The generation of the spec that this status speaks of."""

    conditions: Annotated[list[Condition], Field(max_length=8)] = Field(default_factory=list)
    """Ready: True where tasks can use the queue; False says why they cannot."""


class LongTaskQueue(Resource):
    """How many tasks run at once, and in which order."""

    kind: str = "LongTaskQueue"
    spec: LongTaskQueueSpec = Field(default_factory=LongTaskQueueSpec)
    status: LongTaskQueueStatus = Field(default_factory=LongTaskQueueStatus)
