"""What the API needs from Kubernetes. `cluster` is the real one, `testing` has its twin."""

import dataclasses
import enum
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, Protocol, TypeVar

from longtask_crds import names, v1alpha1

R = TypeVar("R", bound=v1alpha1.Resource)


@dataclasses.dataclass(frozen=True)
class Kind(Generic[R]):
    """A kind of resource: its place in the API server and its model."""

    plural: str
    model: type[R]


TASKS = Kind(names.LONGTASKS, v1alpha1.LongTask)
TYPES = Kind(names.LONGTASKTYPES, v1alpha1.LongTaskType)
QUEUES = Kind(names.LONGTASKQUEUES, v1alpha1.LongTaskQueue)


@dataclasses.dataclass(frozen=True)
class Listing(Generic[R]):
    """All resources of a kind, and the place from which a watch goes on."""

    items: list[R]
    resource_version: str


class Change(enum.Enum):
    """What a watch tells."""

    PROGRESS = "BOOKMARK"  #: nothing changed up to here
    PRESENT = "ADDED"  #: made or changed
    ABSENT = "DELETED"


@dataclasses.dataclass(frozen=True)
class Event(Generic[R]):
    """One message of a watch; `resource` is None for `PROGRESS`."""

    change: Change
    resource_version: str
    resource: R | None = None


@dataclasses.dataclass(frozen=True)
class TokenIdentity:
    """Whom a token belongs to, and for whom it is meant."""

    username: str
    audiences: tuple[str, ...]
    extra: Mapping[str, tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class SecretData:
    """A Secret's values in the clear, and its version to guard a write with."""

    values: Mapping[str, str] = dataclasses.field(repr=False)
    resource_version: str


class Cluster(Protocol):
    """Kubernetes, as far as the API uses it. All methods raise `errors.ClusterError`s."""

    async def list(self, kind: Kind[R]) -> Listing[R]:
        """Return all resources of the kind in the tasks' namespace."""
        ...

    def watch(self, kind: Kind[R], resource_version: str) -> AsyncIterator[Event[R]]:
        """Yield what happens from that version on; first an event that says: connected."""
        ...

    async def get(self, kind: Kind[R], name: str) -> R:
        """Return the resource as it is now."""
        ...

    async def create(self, kind: Kind[R], body: Mapping[str, Any]) -> R:
        """Store a new resource."""
        ...

    async def patch(
        self, kind: Kind[R], name: str, patch: Mapping[str, Any], *, subresource: str = ""
    ) -> R:
        """Apply a JSON merge patch."""
        ...

    async def delete(self, kind: Kind[R], name: str) -> bool:
        """Delete the resource, and in the background what belongs to it; tell whether it is gone.

        It is not while somebody's finalizer holds it.
        """
        ...

    async def get_pod(self, name: str) -> v1alpha1.ObjectMeta:
        """Return the metadata of a pod."""
        ...

    async def find_pods(self, labels: Mapping[str, str]) -> Sequence[v1alpha1.ObjectMeta]:
        """Return the metadata of the pods with these labels, the newest first."""
        ...

    def pod_log(
        self, pod: str, *, container: str, follow: bool
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a container's log."""
        ...

    async def review_token(self, token: str, audience: str) -> TokenIdentity | None:
        """Ask whom a token belongs to; None if to nobody."""
        ...

    async def get_secret(self, name: str) -> SecretData:
        """Return a Secret of the release's namespace."""
        ...

    async def patch_secret(
        self, name: str, values: Mapping[str, str], *, resource_version: str
    ) -> None:
        """Set values of a Secret, unless somebody wrote after that version."""
        ...
