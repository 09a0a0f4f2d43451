"""Gather the world of one task: from the mirror, and live where the mirror may not be believed."""

from collections.abc import Callable, Iterator, Mapping

from longtask_adapters.kube import errors
from longtask_adapters.kube.cache import key_of
from longtask_crds import acceptance, address_guard, effective, names, queueing, v1alpha1
from longtask_crds.pipeline import inputs, references, runs
from longtask_operator import cluster, mirror
from longtask_operator.rules import decisions, outcome, pods, refusal, steps, warm
from longtask_operator.tasks import courier, fetch


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
        fetched: fetch.Fetcher,
        has_claim: Callable[[v1alpha1.LongTask, str], bool],
    ) -> None:
        self._mirror = seen
        self._cluster = kubernetes
        self._installation = installation
        self._guard = guard
        self._may_admit = may_admit
        self._callbacks = callbacks
        self._fetched = fetched
        self._has_claim = has_claim

    async def observe(self, task: v1alpha1.LongTask, *, is_live: bool = False) -> decisions.World:
        """Return all that is known of a task.

        Args:
            task: The task.
            is_live: It was read just now and is whole. What is kept of a task that was looked at
                before has no input, and is not judged again.
        """
        key = key_of(task)
        types = await self._types_of(task)
        task_type = types.get(task.spec.type or "")
        spec = effective.effective_spec(task.spec, task_type, self._installation)
        waits = queueing.standing(task) is queueing.Standing.WAITING
        judged = waits and (is_live or task.status.observed_generation is None)
        queue = self._mirror.index.queue_of(key) or key.sibling(spec.queue)
        attempts = task.status.attempts
        fetched = await self._fetched.parts_for(task)
        job_name = (
            attempts[-1].job_name
            if attempts
            else names.job_name(key.name, task.metadata.uid, attempt=1)
        )
        pod = self._mirror.pod_of(task)
        return decisions.World(
            task=task,
            spec=spec,
            queue=queue.name,
            job_name=job_name,
            refusal=(
                refusal.refusal(task, types, self._installation, self._guard) if judged else None
            ),
            # Asked when nothing more is waited for.
            has_slot=waits and self._mirror.index.may_start(key) and self._may_admit(),
            queue_exists=self._mirror.queues.get(queue) is not None,
            job=self._mirror.job(key.sibling(job_name)),
            pod=None if pod is None else warm.as_own(pod, task),
            is_sending=self._callbacks.is_sending(task),
            has_claim=self._has_claim(task, job_name),
            runs=tuple(self._runs_of(task, types, fetched.known)),
            parts=fetched.known,
            is_short_of_parts=fetched.is_short,
        )

    def _runs_of(
        self,
        task: v1alpha1.LongTask,
        types: Mapping[str, v1alpha1.LongTaskTypeSpec],
        parts: inputs.Parts,
    ) -> Iterator[decisions.World]:
        """Yield a pipeline's programs that have something to do: first those that run."""
        if not task.status.steps:
            return
        for run in sorted(runs.of(task), key=lambda run: run.is_over):
            job = self._mirror.job(key_of(task).sibling(run.job_name))
            if not run.is_over or (job is not None and job.exists and not job.is_released):
                yield self.of_run(task, run, job, types, parts)

    def of_run(
        self,
        task: v1alpha1.LongTask,
        run: runs.Run,
        job: pods.Job | None,
        types: Mapping[str, v1alpha1.LongTaskTypeSpec],
        parts: inputs.Parts,
    ) -> decisions.World:
        """Return what is known of a program of a pipeline.

        Args:
            task: The pipeline, whole.
            run: The program.
            job: Its Job, if one is known.
            types: The types that it names, as far as there are such.
            parts: What was fetched of results.
        """
        value, refused, is_known = None, None, True
        needs_input = run.last.finished_at is None and (job is None or not job.exists)
        if needs_input:
            try:
                value = inputs.value_of(task, run.name, parts)
            except inputs.NotFetched:
                is_known = False
            except references.Missing as error:
                refused = outcome.failed(v1alpha1.Reason.INVALID_INPUT, f"input: {error}")
        given_up = steps.is_given_up(task, run.name)
        seen = runs.as_task(task, run.name, cut=given_up, value=value)
        if needs_input and is_known and refused is None:
            refused = refusal.refusal(seen, types, self._installation, self._guard)
        of_type = types.get(seen.spec.type or "")
        pod = self._mirror.pod_of(seen)
        return decisions.World(
            task=seen,
            spec=effective.effective_spec(seen.spec, of_type, self._installation),
            queue=task.status.queue or names.DEFAULT_QUEUE,
            job_name=run.last.job_name,
            refusal=refused,
            job=job,
            pod=None if pod is None else warm.as_own(pod, seen),
            has_claim=self._has_claim(task, run.last.job_name),
            run=run.name,
            files=inputs.files_of(task, run.name),
            is_input_known=is_known,
        )

    async def _types_of(self, task: v1alpha1.LongTask) -> dict[str, v1alpha1.LongTaskTypeSpec]:
        """Return the specs of the types that a task names; one made just before is read live."""
        known = {}
        for name in acceptance.types_of(task.spec):
            key = key_of(task).sibling(name)
            found = self._mirror.types.get(key)
            if found is None and not task.is_finished:
                try:
                    found = await self._cluster.get_type(key)
                except errors.NotFound:
                    continue
                self._mirror.types.put(found)
            if found is not None:
                known[name] = found.spec
        return known
