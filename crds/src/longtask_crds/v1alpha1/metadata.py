"""What Kubernetes itself says of a resource, as far as we read it."""

from datetime import datetime

from pydantic import Field

from longtask_crds import names
from longtask_crds.v1alpha1.fields import Model


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

    @property
    def created_at(self) -> datetime:
        """Return when it was made, by the clock of the API server.

        Raises:
            ValueError: It was never stored.
        """
        if self.creation_timestamp is None:
            raise ValueError("a stored resource has its creationTimestamp")
        return self.creation_timestamp


class Resource(Model):
    """A resource of ours, as the API server gives it."""

    api_version: str = names.API_VERSION
    kind: str
    metadata: ObjectMeta
