"""LongTaskType: a named, reusable task."""

import enum
from typing import Annotated, Any

from pydantic import Field, StringConstraints, WithJsonSchema

from longtask_crds.v1alpha1.conditions import Condition
from longtask_crds.v1alpha1.fields import Label, Model, Priority, Quantity
from longtask_crds.v1alpha1.metadata import Resource
from longtask_crds.v1alpha1.placement import Placement
from longtask_crds.v1alpha1.volumes import TypeVolume
from longtask_crds.v1alpha1.workload import Resources, Retry, Timeouts, TypeContainer


class TypeDefaults(Model):
    """What a task of this type gets where it says nothing."""

    queue: Label | None = None
    """The queue."""

    priority: Priority | None = None
    """The priority."""

    resources: Resources | None = None
    """What the container gets."""

    retry: Retry | None = None
    """When and how often to try again."""

    timeouts: Timeouts | None = None
    """How long each part may take."""


class TypeSecurity(Model):
    """What images need that cannot run under the strictest rules as they are."""

    run_as_user: Annotated[int, Field(ge=1, le=2_147_483_647)] | None = None
    """The numeric user; 65532 when absent. Never root."""

    writable_root: bool | None = None
    """Let the program write to the image's own folders."""


class Egress(enum.StrEnum):
    """Which network the pods of a type may reach."""

    NONE = "none"
    INTERNET = "internet"


class Warm(Model):
    """Pods that are started ahead and wait, each for exactly one task."""

    size: Annotated[int, Field(ge=1, le=100)]
    """How many wait, up to this many."""

    max_age_seconds: Annotated[int, Field(ge=60, le=604_800)] | None = None
    """How old one that waits may become before another takes its place; 3600 when absent."""

    min_idle: Annotated[int, Field(ge=0, le=99)] | None = None
    """New ones are started when no more than so many wait, up to size again; when absent, for each
    that was taken."""


class LongTaskTypeSpec(Model):
    """A named, reusable task."""

    description: Annotated[str, StringConstraints(max_length=4096)] | None = None
    """What the task does, for people."""

    container: TypeContainer | None = None
    """The container; the installed runner image when absent."""

    input_schema: Annotated[
        dict[str, Any] | None,
        WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
    ] = None
    """The JSON Schema that each input must fit; any input fits when absent."""

    defaults: TypeDefaults | None = None
    """What a task of this type gets where it says nothing."""

    security: TypeSecurity | None = None
    """What images need that cannot run under the strictest rules as they are."""

    egress: Egress | None = None
    """Which network the pods may reach, where network policies are enforced: none (DNS and the
    reporting port only), when absent, or internet."""

    placement: Placement | None = None
    """Where the pods run, how urgent they are to the scheduler, and under which runtime."""

    volumes: (
        Annotated[
            list[TypeVolume],
            Field(
                max_length=16,
                json_schema_extra={
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                },
            ),
        ]
        | None
    ) = None
    """Folders that the program finds in its container."""

    shm_size: Quantity | None = None
    """How large /dev/shm is, the memory that processes share: 64Mi when absent. At least 1Mi; what
    is used of it counts as the container's memory."""

    warm: Warm | None = None
    """Pods that are started ahead and wait, each for exactly one task; none when absent. The
    program finds `LONGTASK_WARM=true` and asks for its task at the reporting port."""


class LongTaskTypeStatus(Model):
    """What the operator knows of the type."""

    observed_generation: int | None = None
    """The generation of the spec that this status speaks of."""

    conditions: Annotated[list[Condition], Field(max_length=8)] = Field(default_factory=list)
    """Ready: True where tasks can use the type; False says why they cannot."""


class LongTaskType(Resource):
    """A named, reusable task: image, input's schema, defaults."""

    kind: str = "LongTaskType"
    spec: LongTaskTypeSpec = Field(default_factory=LongTaskTypeSpec)
    status: LongTaskTypeStatus = Field(default_factory=LongTaskTypeStatus)
