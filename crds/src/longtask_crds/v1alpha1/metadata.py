"""What Kubernetes itself says of a resource, as far as we read it, and conditions."""

import enum
from datetime import datetime

from pydantic import Field

from longtask_crds import names
from longtask_crds.v1alpha1.fields import Message, Model, Time, Word


class ConditionStatus(enum.StrEnum):
    """The three values of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Model):
    """One `metav1.Condition`."""

    type: Word
    """Accepted, Finished, Succeeded, CallbackDelivered or Stalled."""

    status: ConditionStatus
    """True, False or Unknown."""

    reason: Word
    """Why, as one word that programs may rely on."""

    message: Message = ""
    """Why, for people."""

    last_transition_time: Time
    """When the status last changed."""

    observed_generation: int | None = None
    """The generation of the resource that this speaks of."""


class OwnerReference(Model):
    """The part of `metav1.OwnerReference` that we read."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""


class ObjectMeta(Model):
    """The part of `metav1.ObjectMeta` that we read."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    owner_references: list[OwnerReference] = Field(default_factory=list)
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None


class Resource(Model):
    """A resource of ours, as the API server gives it."""

    api_version: str = names.API_VERSION
    kind: str
    metadata: ObjectMeta
