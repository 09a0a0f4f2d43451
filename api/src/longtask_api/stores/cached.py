"""Resources of one kind: read from their cache, then from Kubernetes; written through to both.

What was just written is seen at once, and a write is bound to the object that was looked at:
another of the same name is never meant.
"""

import contextlib
import re
from collections.abc import Mapping
from typing import Any, Final, Generic

from longtask_adapters.kube import errors as kube
from longtask_adapters.kube.cache import Cache, key_of, version_of
from longtask_adapters.kube.kinds import Kind, R
from longtask_api import versions
from longtask_api.cluster import Cluster
from longtask_crds import names
from longtask_crds.names import ObjectKey

_NAME = re.compile(names.DNS_LABEL_PATTERN[1:-1])


class Cached(Generic[R]):
    """The resources of a kind in the namespace of the tasks."""

    def __init__(self, cluster: Cluster, kind: Kind[R], cache: Cache[R], *, namespace: str) -> None:
        """Stand on a cache that something else keeps fresh."""
        self._cluster = cluster
        self._kind = kind
        self._namespace = namespace
        self.cache: Final = cache

    async def find(self, key: ObjectKey) -> R | None:
        """Return the resource; None only after a look at Kubernetes itself."""
        found = self.cache.get(key)
        if found is None and (found := await self.look(key)) is not None:
            self.cache.put(found)
        return found

    async def look(self, key: ObjectKey) -> R | None:
        """Return the resource as Kubernetes has it now, or None; the cache learns nothing of it."""
        if not (_NAME.fullmatch(key.name) and len(key.name) <= 63):
            return None  # no resource may be called that
        try:
            return await self._cluster.get(self._kind, key)
        except kube.NotFound:
            return None

    async def create(self, body: Mapping[str, Any]) -> R:
        """Store a new resource; raise AlreadyExists if its name is taken."""
        made = await self._cluster.create(self._kind, self._namespace, body)
        return self._written(made)

    async def patch(
        self, resource: R, patch: Mapping[str, Any], *, version: str | None = None
    ) -> R:
        """Apply a merge patch to the resource that was looked at.

        Args:
            resource: The resource.
            patch: The patch.
            version: The resourceVersion that it must still have.

        Raises:
            NotFound: It is gone.
            Conflict: Another has its name, or it has changed; the next look finds what is there.
        """
        key, uid = key_of(resource), resource.metadata.uid
        if version is not None:
            meta = {**patch.get("metadata", {}), "resourceVersion": version}
            patch = {**patch, "metadata": meta}
        try:
            patched = await self._cluster.patch(self._kind, key, patch, uid=uid)
        except (kube.NotFound, kube.Conflict):
            await self._look_again(resource)
            raise
        return self._written(patched)

    async def delete(self, resource: R, *, version: str | None = None) -> None:
        """Delete the resource that was looked at.

        Args:
            resource: The resource.
            version: The resourceVersion that it must still have.

        Raises:
            NotFound: It is gone.
            Conflict: Another has its name, or it has changed; the next look finds what is there.
        """
        key, uid = key_of(resource), resource.metadata.uid
        try:
            gone = await self._cluster.delete(self._kind, key, uid=uid, version=version)
        except (kube.NotFound, kube.Conflict):
            await self._look_again(resource)
            raise
        if gone:
            # Else somebody's finalizer holds it, and the watch tells when it goes.
            self.cache.remove(key, uid)

    async def note_deletion(self) -> None:
        """Let the caller's next look be of a state without what was just deleted."""
        # Whatever the answer was, it does not say at which version the resource went.
        with contextlib.suppress(kube.ClusterError):
            gone_at = await self._cluster.version(self._kind, self._namespace)
            versions.note(self._kind.plural, gone_at)

    def _written(self, resource: R) -> R:
        """Take note of what a write has made; return it whole, though the cache may hold less."""
        versions.note(self._kind.plural, version_of(resource))
        self.cache.put(resource)
        return resource

    async def _look_again(self, resource: R) -> None:
        """Learn what has the name of a resource that is not as it was seen."""
        key, uid = key_of(resource), resource.metadata.uid
        there = await self.look(key)
        if there is not None:
            self.cache.put(there)
        if there is None or there.metadata.uid != uid:
            self.cache.remove(key, uid)
