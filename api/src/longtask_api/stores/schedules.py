"""The schedules, as somebody sees them."""

from collections.abc import Mapping
from typing import Any

from longtask_adapters.kube import kinds
from longtask_adapters.kube.cache import Cache, key_of
from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.cluster import Cluster
from longtask_api.stores.cached import Cached
from longtask_api.stores.resources import owner_of
from longtask_crds import v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.schedule import runs


class Schedules:
    """The schedules that there are; whoever may not see one finds nothing there."""

    def __init__(
        self, cluster: Cluster, cache: Cache[v1alpha1.LongTaskSchedule], *, namespace: str
    ) -> None:
        """Stand on a cache that something else keeps fresh."""
        self._namespace = namespace
        self._all = Cached(cluster, kinds.SCHEDULES, cache, namespace=namespace)

    def key(self, name: str) -> ObjectKey:
        """Return what a name stands for."""
        return ObjectKey(self._namespace, name)

    async def seen(self, caller: callers.Caller, name: str) -> v1alpha1.LongTaskSchedule:
        """Return the schedule of that name.

        Raises:
            Missing: There is none that the caller may see.
        """
        found = await self._all.find(self.key(name))
        if found is None or not caller.may_see(owner_of(found)):
            raise errors.Missing("There is no such schedule.")
        return found

    def all_seen(self, caller: callers.Caller) -> list[v1alpha1.LongTaskSchedule]:
        """Return the schedules that the caller may see, in no order."""
        return [one for one in self._all.cache.values() if caller.may_see(owner_of(one))]

    def of_owner(self, owner: str) -> set[ObjectKey]:
        """Return the keys of the owner's schedules."""
        return {key_of(one) for one in self._all.cache.values() if owner_of(one) == owner}

    def has_run(self, name: str) -> bool:
        """Tell whether a task of that name could only be a run of a schedule that there is."""
        schedule = self.key(name.rpartition("-")[0])
        return runs.time_of(name) is not None and schedule in self._all.cache

    async def look(self, name: str) -> v1alpha1.LongTaskSchedule | None:
        """Return the schedule as Kubernetes has it now, whoever asks, or None."""
        return await self._all.look(self.key(name))

    async def create(self, body: Mapping[str, Any]) -> v1alpha1.LongTaskSchedule:
        """Store a new schedule; raise AlreadyExists if its name is taken."""
        return await self._all.create(body)

    async def patch(
        self, schedule: v1alpha1.LongTaskSchedule, patch: Mapping[str, Any]
    ) -> v1alpha1.LongTaskSchedule:
        """Apply a merge patch to the schedule that was looked at, if it is still as it was.

        Raises:
            NotFound: It is gone.
            Conflict: It has changed, or another has its name; the next look finds what is there.
        """
        return await self._all.patch(schedule, patch, version=schedule.metadata.resource_version)

    async def delete(self, schedule: v1alpha1.LongTaskSchedule, *, unchanged: bool = False) -> None:
        """Delete the schedule that was looked at, and with it the runs that Kubernetes has.

        Args:
            schedule: The schedule.
            unchanged: Only if it is still as it was.

        Raises:
            NotFound: It is gone.
            Conflict: Another has its name, or it has changed; the next look finds what is there.
        """
        version = schedule.metadata.resource_version if unchanged else None
        await self._all.delete(schedule, version=version)
        await self._all.note_deletion()
