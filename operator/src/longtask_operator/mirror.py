"""The operator's picture of its namespace: what watches, lists and its own writes have brought.

A picture may be old: nothing is claimed on its word alone. It never goes back to an older version.
"""

import dataclasses
from collections.abc import Callable, Iterable
from datetime import datetime

from longtask_adapters import logs
from longtask_adapters.kube import kinds
from longtask_adapters.kube.cache import Cache, key_of
from longtask_crds import effective, last_words, queueing, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.pipeline import runs
from longtask_operator.rules import decide, pods


def _without_input_once_judged(task: v1alpha1.LongTask) -> v1alpha1.LongTask:
    """Return what is asked of a task again.

    The first look needs the input, to refuse what can never run; a claim reads it anew anyway. A
    pipeline's steps take from the inputs as long as they run.
    """
    is_judged = task.status.observed_generation is not None
    needs_none = not task.status.steps or task.is_finished
    return kinds.without_inputs(task) if is_judged and needs_none else task


class Mirror:
    """All tasks, types, queues and schedules; the index of the queues; pods and Jobs of attempts.

    Args:
        wake: Is told which tasks may have something to do because another one changed.
    """

    def __init__(self, wake: Callable[[Iterable[ObjectKey]], None]) -> None:
        self.tasks: Cache[v1alpha1.LongTask] = Cache(
            _without_input_once_judged, packs=queueing.rests
        )
        self.types: Cache[v1alpha1.LongTaskType] = Cache()
        self.queues: Cache[v1alpha1.LongTaskQueue] = Cache()
        self.schedules: Cache[v1alpha1.LongTaskSchedule] = Cache()
        self.index = queueing.Index()
        self._wake = wake
        self._pods: dict[ObjectKey, dict[str, pods.Pod]] = {}  #: by task, then by uid
        self._jobs: dict[ObjectKey, pods.Job] = {}
        self._orphans: list[pods.Job] = []  #: by the last list, and those of tasks that went since
        self._unsettled: set[ObjectKey] = set()  #: tasks for which there may be something to do
        self.tasks.on_change(self._task_changed)
        self.types.on_change(self._type_changed)
        self.queues.on_change(self._queue_changed)

    def lane_of(self, key: ObjectKey) -> tuple[str, ObjectKey] | None:
        """Return the lane of the work queue that a task takes; None is free.

        What runs, ends or is cancelled goes at once. What waits may come by the thousand: those who
        may start share a lane with their queue's others, and apart from them those for whom only
        the wait is to be recorded.
        """
        queue = self.index.queue_of(key)
        if queue is None or not (self.index.waits(key) or self.index.is_deferred(key)):
            return None
        return ("start" if self.index.may_start(key) else "record", queue)

    def told(self, key: ObjectKey) -> dict[str, object]:
        """Return what lines of the log say of the task that they are about."""
        task = self.tasks.get(key)
        return {"task": str(key)} if task is None else logs.of_task(task)

    def to_look_at(self) -> set[ObjectKey]:
        """Return the tasks for which there may be something to do though nothing changed."""
        unreleased = {j.task for j in self._jobs.values() if j.exists and not j.is_released}
        return self._unsettled.union(unreleased, self.index.all_startable())

    def is_settled(self, key: ObjectKey) -> bool:
        """Tell whether there is nothing to do for a task until something changes."""
        return key not in self._unsettled

    def only_waits(self, key: ObjectKey) -> bool:
        """Tell whether all that a task does is to wait, and that is recorded."""
        return self.is_settled(key) and self.index.waits(key) and not self.index.may_start(key)

    def note_timer(self, key: ObjectKey) -> None:
        """Take note that the work queue looks at a task when it is time: no resync need do so."""
        if self.index.waits(key) or self.index.is_deferred(key):
            self._unsettled.discard(key)

    # --- what changes in a queue concerns others ---

    def _task_changed(
        self, before: v1alpha1.LongTask | None, after: v1alpha1.LongTask | None
    ) -> None:
        if before is not None and (after is None or after.metadata.uid != before.metadata.uid):
            self._drop_remains(before)
        key = _key(before, after)
        made_room = self.index.update(key, queueing.Entry.of(after) if after else None)
        if after is None or self._is_settled(key, after):
            self._unsettled.discard(key)
        else:
            self._unsettled.add(key)
        for queue in made_room:
            self._wake(self.index.startable(queue))

    def _type_changed(
        self, before: v1alpha1.LongTaskType | None, after: v1alpha1.LongTaskType | None
    ) -> None:
        kind = _key(before, after)
        moved = self.index.set_type(kind, after.spec.defaults if after else None)
        # They have another queue to record; where they stood, others may be first now.
        concerned = set(moved)
        if _timeouts(before) != _timeouts(after):
            concerned |= self.index.of_type(kind)
        self._unsettled.update(concerned)
        self._wake(concerned)
        for queue in set(moved.values()):
            self._wake(self.index.startable(queue))

    def _queue_changed(
        self, before: v1alpha1.LongTaskQueue | None, after: v1alpha1.LongTaskQueue | None
    ) -> None:
        queue = _key(before, after)
        if self.index.set_queue(queue, after.spec if after else None):
            # That there is none is told to each; how full or paused it is, on reading.
            if before is None or after is None:
                concerned = list(self.index.waiting(queue))
                self._unsettled.update(concerned)
            else:
                concerned = self.index.startable(queue)
            self._wake(concerned)

    def _is_settled(self, key: ObjectKey, task: v1alpha1.LongTask) -> bool:
        queue = self.index.queue_of(key)
        of_type = self.types.get(key.sibling(task.spec.type)) if task.spec.type else None
        return decide.is_settled(
            task,
            queue.name if queue else None,
            queue_exists=queue in self.queues,
            limits=effective.limits_of(task.spec, of_type.spec.defaults if of_type else None),
        )

    def tell_time(self, now: datetime) -> None:
        """Let those join their queues whose time has come."""
        for queue in self.index.due(int(now.timestamp())):
            self._wake(self.index.startable(queue))

    def hold_back(self, key: ObjectKey) -> None:
        """Let others start before a task that cannot, until the index is told to release it."""
        for queue in self.index.hold_back(key):
            self._wake(self.index.startable(queue))

    def release(self, key: ObjectKey) -> None:
        """Count a task as what it is again; a place that it did not take is for whoever is next."""
        for queue in self.index.release(key):
            self._wake(self.index.startable(queue))

    # --- pods and Jobs ---

    def put_pod(self, pod: pods.Pod) -> bool:
        """Take a pod over unless what we have is newer; tell whether it was news."""
        known = self._pods.setdefault(pod.task, {})
        old = known.get(pod.uid)
        if old is not None and old.version > pod.version:
            return False
        if old is not None:
            pod = dataclasses.replace(
                pod,
                running_seen_at=old.running_seen_at or pod.running_seen_at,
                events_read_at=pod.events_read_at or old.events_read_at,
            )
        known[pod.uid] = pod
        return old is None or old.version < pod.version

    def note_events(self, pod: pods.Pod, cause: str | None, *, read_at: datetime) -> None:
        """Take note of what the Events said of a pod as it was, unless it has gone."""
        known = self._pods.get(pod.task, {})
        now = known.get(pod.uid)
        if now is None:
            return
        said = cause if now.version == pod.version else now.cannot_start
        known[pod.uid] = dataclasses.replace(now, cannot_start=said, events_read_at=read_at)

    def drop_pod(self, task: ObjectKey, uid: str) -> None:
        """Forget a pod that was deleted."""
        known = self._pods.get(task, {})
        known.pop(uid, None)
        if not known:
            self._pods.pop(task, None)

    def taken_pods(self) -> list[pods.Pod]:
        """Return the pods of tasks that were started ahead."""
        return [pod for of in self._pods.values() for pod in of.values() if pod.warm]

    def is_recorded(self, pod: pods.Pod) -> bool:
        """Tell whether the pod's task names it."""
        task = self.tasks.get(pod.task)
        return task is not None and runs.names_pod(task, pod.uid)

    def put_job(self, job: pods.Job) -> None:
        """Take over what the API server just said of a Job."""
        self._jobs[job.key] = job

    def orphans_of(self, task: ObjectKey) -> list[pods.Job]:
        """Return the Jobs that were made for a task of that name and that nobody owns."""
        return [job for job in self._orphans if job.task == task]

    def job(self, key: ObjectKey) -> pods.Job | None:
        """Return what is known of a Job, or None."""
        return self._jobs.get(key)

    def absorb_pods(self, listed: Iterable[pods.Pod], version: int) -> None:
        """Take the complete list of all pods over; `version` is the list's."""
        self._absorb_pods(list(self._pods), listed, version)

    def absorb_pods_of(self, task: ObjectKey, listed: Iterable[pods.Pod], version: int) -> None:
        """Take the complete list of a task's pods over; `version` is the list's."""
        self._absorb_pods([task], listed, version)

    def absorb_jobs(self, listed: Iterable[pods.Job], asked_at: datetime) -> None:
        """Take the complete list of all Jobs over, which was asked for at that time."""
        jobs = {job.key: job for job in listed}
        for key, job in self._jobs.items():
            # One that was made or read since is newer than the list.
            if key not in jobs and job.checked_at > asked_at:
                jobs[key] = job
        self._jobs = jobs
        self._orphans = [j for j in jobs.values() if j.exists and not j.owner_uid]

    def pod_of(self, task: v1alpha1.LongTask) -> pods.Pod | None:
        """Return the pod whose outcome counts for the task's last attempt, if there is one.

        That is the recorded pod, or the one whose program said how it ends; before there is one,
        that which the attempt's Job made. A Job's name holds the uid of its task: what is left of a
        task that had the name before, and was deleted, is never taken for this one's.
        """
        if not task.status.attempts:
            return None
        attempt = task.status.attempts[-1]
        key = key_of(task)
        known = self._pods.get(key, {})
        # By its uid alone: with its Job deleted and itself orphaned it has no owner any more.
        report = last_words.taken(task)
        uid = attempt.pod_uid or (report.pod_uid if report is not None else None)
        if uid is not None:
            return known.get(uid)
        job = self._jobs.get(key.sibling(attempt.job_name))
        if job is not None and job.exists and job.owner_uid != task.metadata.uid:
            return None
        job_uid = attempt.job_uid or (job.uid if job and job.exists else None)
        ours = [
            pod
            for pod in known.values()
            if pod.job_name == attempt.job_name and job_uid in (None, pod.job_uid)
        ]
        return max(ours, key=lambda pod: (pod.created_at, pod.version), default=None)

    def _absorb_pods(
        self, tasks: Iterable[ObjectKey], listed: Iterable[pods.Pod], version: int
    ) -> None:
        missing = {pod.uid: pod for task in tasks for pod in self._pods.get(task, {}).values()}
        for pod in listed:
            missing.pop(pod.uid, None)
            self.put_pod(pod)
        for pod in missing.values():
            # What is newer than the list cannot be missed by it.
            if pod.version <= version:
                self.drop_pod(pod.task, pod.uid)

    def _drop_remains(self, task: v1alpha1.LongTask) -> None:
        """Forget the Jobs and pods that go with a task that was deleted."""
        key = key_of(task)
        jobs = {attempt.job_name for run in runs.of(task) for attempt in run.attempts}
        for name in jobs:
            job = self._jobs.pop(key.sibling(name), None)
            if job is not None and job.warm and job.owner_uid != task.metadata.uid:
                # It was to become the task's, and does not go with it.
                self._orphans.append(job)
        for pod in list(self._pods.get(key, {}).values()):
            if pod.job_name in jobs:
                self.drop_pod(key, pod.uid)


def _timeouts(task_type: v1alpha1.LongTaskType | None) -> v1alpha1.Timeouts | None:
    defaults = task_type.spec.defaults if task_type else None
    return defaults.timeouts if defaults else None


def _key(before: v1alpha1.Resource | None, after: v1alpha1.Resource | None) -> ObjectKey:
    known = after or before
    if known is None:
        raise ValueError("a change is of something")
    return key_of(known)
