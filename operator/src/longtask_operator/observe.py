"""Gather the world of one task: from the mirror, and live where the mirror may not be believed."""

from longtask_crds import address_guard, effective, names, rules, v1alpha1
from longtask_crds.v1alpha1 import Reason
from longtask_operator import cluster, decision, errors, mirror, outcome


class Observer:
    """Sees tasks as the rules want to see them."""

    def __init__(
        self,
        seen: mirror.Mirror,
        kubernetes: cluster.Cluster,
        installation: effective.Installation,
        guard: address_guard.Guard,
    ) -> None:
        self._mirror = seen
        self._cluster = kubernetes
        self._installation = installation
        self._guard = guard

    async def observe(self, task: v1alpha1.LongTask) -> decision.World:
        """Return all that is known of a task."""
        await self._find_type(task)
        task_type = self._mirror.type_of(task)
        spec = effective.effective_spec(task.spec, task_type, self._installation)
        attempts = task.status.attempts
        job_name = (
            attempts[-1].job_name
            if attempts
            else names.job_name(task.metadata.name, task.metadata.uid, attempt=1)
        )
        waits = not attempts and not task.is_finished
        queue = self._mirror.queues.get(spec.queue)
        name = task.metadata.name
        return decision.World(
            task=task,
            spec=spec,
            job_name=job_name,
            refusal=self._refusal(task, task_type) if waits else None,
            has_slot=waits and name in self._mirror.may_start(spec.queue, ignoring=name),
            queue_exists=queue is not None,
            queue_paused=bool(queue and queue.spec.paused),
            job=self._mirror.jobs.get(job_name),
            pod=self._mirror.pod_of(task),
        )

    async def _find_type(self, task: v1alpha1.LongTask) -> None:
        """Read a type live that the mirror does not know: it may have been made just before."""
        name = task.spec.type
        if not name or name in self._mirror.types or task.is_finished:
            return
        try:
            self._mirror.types[name] = await self._cluster.get_type(name)
        except errors.NotFound:
            return

    def _refusal(
        self, task: v1alpha1.LongTask, task_type: v1alpha1.LongTaskTypeSpec | None
    ) -> outcome.Outcome | None:
        if task.spec.type and task_type is None:
            message = f"there is no LongTaskType named {task.spec.type}"
            return outcome.failed(Reason.TYPE_NOT_FOUND, message)
        found = rules.violations(task.spec, task_type, self._installation, self._guard)
        if not found:
            return None
        told = "; ".join(f"spec{v.pointer.replace('/', '.')}: {v.message}" for v in found)
        return outcome.failed(found[0].reason, told[: names.MESSAGE_MAX])
