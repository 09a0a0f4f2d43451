"""What is known of the cluster: the watches, and what stands on their caches."""

import dataclasses
from collections.abc import Callable
from datetime import datetime
from typing import Any

from longtask_adapters.kube import kinds
from longtask_adapters.kube.connection import Connection
from longtask_adapters.kube.informer import Informer
from longtask_api.cluster import Cluster
from longtask_api.stores.archive import Archive
from longtask_api.stores.lines import Lines
from longtask_api.stores.resources import Resources
from longtask_api.stores.schedules import Schedules
from longtask_crds import queueing, v1alpha1


@dataclasses.dataclass(frozen=True)
class Watched:
    """One watch for each kind, and who reads and writes through its cache."""

    tasks: Informer[v1alpha1.LongTask]
    types: Informer[v1alpha1.LongTaskType]
    queues: Informer[v1alpha1.LongTaskQueue]
    schedules: Informer[v1alpha1.LongTaskSchedule]
    resources: Resources
    lines: Lines
    of_schedules: Schedules

    @classmethod
    def of(
        cls,
        connection: Connection,
        cluster: Cluster,
        archive: Archive,
        *,
        namespace: str,
        tasks_shown_to: Callable[[dict[str, Any]], None],
        schedules_shown_to: Callable[[dict[str, Any]], None],
        clock: Callable[[], datetime],
    ) -> "Watched":
        """Make the watches, of which none runs yet.

        Args:
            connection: To the API server.
            cluster: What is asked of it besides.
            archive: Where tasks are whose resources are gone.
            namespace: Where the tasks are.
            tasks_shown_to: Is shown each task as it comes.
            schedules_shown_to: Likewise each schedule.
            clock: Returns the time.
        """
        kind = kinds.TASKS.slimmed(kinds.without_inputs).packed(queueing.rests)
        tasks = Informer(connection, kind.shown_to(tasks_shown_to), namespace)
        types = Informer(connection, kinds.TYPES, namespace)
        queues = Informer(connection, kinds.QUEUES, namespace)
        schedules = Informer(connection, kinds.SCHEDULES.shown_to(schedules_shown_to), namespace)
        resources = Resources(
            cluster,
            archive,
            namespace=namespace,
            tasks=tasks.cache,
            types=types.cache,
            queues=queues.cache,
        )
        lines = Lines(
            resources, tasks=tasks.cache, types=types.cache, queues=queues.cache, clock=clock
        )
        of_schedules = Schedules(cluster, schedules.cache, namespace=namespace)
        return cls(tasks, types, queues, schedules, resources, lines, of_schedules)

    @property
    def informers(self) -> tuple[Informer[Any], ...]:
        """The watches."""
        return self.tasks, self.types, self.queues, self.schedules
