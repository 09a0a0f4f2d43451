"""The cluster's twin in memory, for tests: no network, no clock, nothing patched."""

import asyncio
import contextlib
import copy
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from longtask_api import errors, ports
from longtask_api.ports import R
from longtask_crds import names, v1alpha1
from longtask_crds.testing import NOW

#: When the twin's resources are made.


_Entry = tuple[ports.Change, int, dict[str, Any]]


class MemoryCluster:
    """A small Kubernetes: versions, watches, merge patches, pods with logs, tokens, Secrets."""

    def __init__(self, *, namespace: str = "longtasks") -> None:
        self.namespace = namespace
        self.failure: errors.ClusterError | None = None  #: raised by every call while set
        self.calls: list[str] = []  #: verb and plural (and name) of each request, in order
        self.pods: dict[str, v1alpha1.ObjectMeta] = {}
        self.logs: dict[str, list[bytes]] = {}  #: chunks by pod; none: it waits to start
        self.tokens: dict[str, ports.TokenIdentity] = {}
        self.secrets: dict[str, ports.SecretData] = {}
        self._version = 100
        self._stored: dict[tuple[str, str], dict[str, Any]] = {}
        self._history: dict[str, list[_Entry]] = {}
        self._changed = asyncio.Condition()

    def stored(self, kind: ports.Kind[R], name: str) -> dict[str, Any]:
        """Return what is stored, as JSON."""
        return copy.deepcopy(self._stored[kind.plural, name])

    async def put(self, kind: ports.Kind[R], name: str, **parts: Any) -> R:
        """Make or change a resource as somebody else would; `parts` are spec, status, metadata."""
        raw = self._stored.get((kind.plural, name)) or self._new(kind, name)
        return await self._store(kind, _merged(raw, parts))

    async def vanish(self, kind: ports.Kind[R], name: str) -> None:
        """Delete a resource as somebody else would."""
        raw = self._stored.pop((kind.plural, name))
        self._version += 1
        raw["metadata"]["resourceVersion"] = str(self._version)
        await self._record(kind.plural, ports.Change.ABSENT, raw)

    def add_pod(self, name: str, *, task: str, attempt: int, job: str) -> v1alpha1.ObjectMeta:
        """Make a pod of that attempt's Job."""
        pod = v1alpha1.ObjectMeta(
            name=name,
            namespace=self.namespace,
            uid=f"uid-of-{name}",
            labels={names.TASK_LABEL: task, names.ATTEMPT_LABEL: str(attempt)},
            owner_references=[v1alpha1.OwnerReference(kind="Job", name=job, uid=f"uid-of-{job}")],
            creation_timestamp=NOW,
        )
        self.pods[name] = pod
        return pod

    async def list(self, kind: ports.Kind[R]) -> ports.Listing[R]:
        """Return all resources of the kind."""
        self._called(f"list {kind.plural}")
        found = [
            kind.model.model_validate(raw)
            for (plural, _), raw in self._stored.items()
            if plural == kind.plural
        ]
        return ports.Listing(found, str(self._version))

    async def watch(
        self, kind: ports.Kind[R], resource_version: str
    ) -> AsyncIterator[ports.Event[R]]:
        """Yield what happens from that version on."""
        self._called(f"watch {kind.plural}")
        yield ports.Event(ports.Change.PROGRESS, resource_version)
        seen = int(resource_version)
        while True:
            async with self._changed:
                while not (self.failure or self._after(kind.plural, seen)):
                    await self._changed.wait()
            if self.failure:
                raise self.failure
            for change, version, raw in self._after(kind.plural, seen):
                seen = version
                yield ports.Event(change, str(version), kind.model.model_validate(raw))

    async def get(self, kind: ports.Kind[R], name: str) -> R:
        """Return the resource as it is now."""
        self._called(f"get {kind.plural} {name}")
        return kind.model.model_validate(self._found(kind, name))

    async def create(self, kind: ports.Kind[R], body: Mapping[str, Any]) -> R:
        """Store a new resource."""
        name = body["metadata"]["name"]
        self._called(f"create {kind.plural} {name}")
        if (kind.plural, name) in self._stored:
            raise errors.AlreadyExists(f"{kind.plural} {name!r} already exists")
        return await self._store(kind, _merged(self._new(kind, name), body))

    async def patch(
        self, kind: ports.Kind[R], name: str, patch: Mapping[str, Any], *, subresource: str = ""
    ) -> R:
        """Apply a JSON merge patch."""
        self._called(f"patch {kind.plural} {name}" + (f"/{subresource}" if subresource else ""))
        return await self._store(kind, _merged(self._found(kind, name), patch))

    async def delete(self, kind: ports.Kind[R], name: str) -> bool:
        """Delete the resource; tell whether it is gone: a finalizer holds it."""
        self._called(f"delete {kind.plural} {name}")
        raw = self._found(kind, name)
        if raw["metadata"].get("finalizers"):
            await self.put(kind, name, metadata={"deletionTimestamp": NOW.isoformat()})
            return False
        await self.vanish(kind, name)
        return True

    async def get_pod(self, name: str) -> v1alpha1.ObjectMeta:
        """Return the metadata of a pod."""
        self._called(f"get pods {name}")
        if name not in self.pods:
            raise errors.NotFound(f"pods {name!r} not found")
        return self.pods[name]

    async def find_pods(self, labels: Mapping[str, str]) -> Sequence[v1alpha1.ObjectMeta]:
        """Return the metadata of the pods with these labels."""
        self._called("list pods")
        return [p for p in self.pods.values() if labels.items() <= p.labels.items()]

    @contextlib.asynccontextmanager
    async def pod_log(
        self, pod: str, *, container: str, follow: bool
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a container's log."""
        self._called(f"log {pod}")
        if pod not in self.pods:
            raise errors.NotFound(f"pods {pod!r} not found")
        if pod not in self.logs:
            raise errors.Rejected(f"container {container!r} is waiting to start")
        yield _chunks(self.logs[pod])

    async def review_token(self, token: str, audience: str) -> ports.TokenIdentity | None:
        """Ask whom a token belongs to."""
        self._called("create tokenreviews")
        return self.tokens.get(token)

    async def get_secret(self, name: str) -> ports.SecretData:
        """Return a Secret."""
        self._called(f"get secrets {name}")
        if name not in self.secrets:
            raise errors.NotFound(f"secrets {name!r} not found")
        return self.secrets[name]

    async def patch_secret(
        self, name: str, values: Mapping[str, str], *, resource_version: str
    ) -> None:
        """Set values of a Secret, unless somebody wrote after that version."""
        self._called(f"patch secrets {name}")
        old = self.secrets[name]
        if old.resource_version != resource_version:
            raise errors.Conflict
        self._version += 1
        self.secrets[name] = ports.SecretData({**old.values, **values}, str(self._version))

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if self.failure:
            raise self.failure

    def _found(self, kind: ports.Kind[R], name: str) -> dict[str, Any]:
        if (kind.plural, name) not in self._stored:
            raise errors.NotFound(f"{kind.plural} {name!r} not found")
        return self._stored[kind.plural, name]

    def _new(self, kind: ports.Kind[R], name: str) -> dict[str, Any]:
        status = {"status": {"phase": "Pending"}} if kind.plural == names.LONGTASKS else {}
        return {
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "uid": str(uuid.uuid4()),
                "creationTimestamp": NOW.isoformat(),
            },
            "spec": {},
            **status,
        }

    async def _store(self, kind: ports.Kind[R], raw: dict[str, Any]) -> R:
        self._version += 1
        raw["metadata"]["resourceVersion"] = str(self._version)
        self._stored[kind.plural, raw["metadata"]["name"]] = raw
        await self._record(kind.plural, ports.Change.PRESENT, raw)
        return kind.model.model_validate(raw)

    async def _record(self, plural: str, change: ports.Change, raw: dict[str, Any]) -> None:
        entry = (change, self._version, copy.deepcopy(raw))
        self._history.setdefault(plural, []).append(entry)
        await self.wake()

    async def wake(self) -> None:
        """Let the watches see a change of `failure`."""
        async with self._changed:
            self._changed.notify_all()

    def _after(self, plural: str, version: int) -> Sequence[_Entry]:
        return [entry for entry in self._history.get(plural, []) if entry[1] > version]


async def _chunks(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def _merged(target: Any, patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return the target with a merge patch (RFC 7396) applied."""
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            merged[key] = _merged(merged.get(key), value)
        else:
            merged[key] = value
    return copy.deepcopy(merged)
