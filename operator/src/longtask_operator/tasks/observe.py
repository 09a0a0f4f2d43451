"""Gather the world of one task: from the mirror, and live where the mirror may not be believed."""

from collections.abc import Callable

from longtask_adapters.kube import errors
from longtask_adapters.kube.cache import key_of
from longtask_crds import address_guard, effective, names, queueing, v1alpha1
from longtask_operator import cluster, mirror
from longtask_operator.rules import decisions, refusal
from longtask_operator.tasks import courier


class Observer:
    """Sees tasks as the rules want to see them. It reads only."""

    def __init__(
        self,
        seen: mirror.Mirror,
        kubernetes: cluster.Cluster,
        installation: effective.Installation,
        guard: address_guard.Guard,
        may_admit: Callable[[], bool],
        callbacks: courier.Courier,
    ) -> None:
        self._mirror = seen
        self._cluster = kubernetes
        self._installation = installation
        self._guard = guard
        self._may_admit = may_admit
        self._callbacks = callbacks

    async def observe(self, task: v1alpha1.LongTask, *, is_live: bool = False) -> decisions.World:
        """Return all that is known of a task.

        Args:
            task: The task.
            is_live: It was read just now and is whole. What is kept of a task that was looked at
                before has no input, and is not judged again.
        """
        key = key_of(task)
        task_type = await self._type_of(task)
        spec = effective.effective_spec(task.spec, task_type, self._installation)
        waits = queueing.standing(task) is queueing.Standing.WAITING
        judged = waits and (is_live or task.status.observed_generation is None)
        queue = self._mirror.index.queue_of(key) or key.sibling(spec.queue)
        attempts = task.status.attempts
        job_name = (
            attempts[-1].job_name
            if attempts
            else names.job_name(key.name, task.metadata.uid, attempt=1)
        )
        return decisions.World(
            task=task,
            spec=spec,
            queue=queue.name,
            job_name=job_name,
            refusal=(
                refusal.refusal(task, task_type, self._installation, self._guard)
                if judged
                else None
            ),
            # Asked when nothing more is waited for: a claim's write follows at once.
            has_slot=waits and self._mirror.index.may_start(key) and self._may_admit(),
            queue_exists=self._mirror.queues.get(queue) is not None,
            job=self._mirror.job(key.sibling(job_name)),
            pod=self._mirror.pod_of(task),
            is_sending=self._callbacks.is_sending(task),
        )

    async def _type_of(self, task: v1alpha1.LongTask) -> v1alpha1.LongTaskTypeSpec | None:
        """Return the spec of the task's type; one made just before is read live."""
        if not task.spec.type:
            return None
        key = key_of(task).sibling(task.spec.type)
        found = self._mirror.types.get(key)
        if found is None and not task.is_finished:
            try:
                found = await self._cluster.get_type(key)
            except errors.NotFound:
                return None
            self._mirror.types.put(found)
        return found.spec if found else None
