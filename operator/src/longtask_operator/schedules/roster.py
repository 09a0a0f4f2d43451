"""The runs of each schedule that are there: what watches and lists have brought of their tasks."""

from collections.abc import Callable, Iterable, Mapping

from longtask_adapters.kube.cache import key_of
from longtask_crds import acceptance, names, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_operator import mirror
from longtask_operator.rules import schedules

_NONE: Mapping[str, schedules.Seen] = {}


class Roster:
    """Runs by the uid of their schedule, and by name.

    Args:
        seen: Has the tasks, and what else concerns schedules.
        wake: Is told which schedules may have something to do because something else changed.
    """

    def __init__(self, seen: mirror.Mirror, wake: Callable[[Iterable[ObjectKey]], None]) -> None:
        self._mirror = seen
        self._wake = wake
        self._runs: dict[str, dict[str, schedules.Seen]] = {}
        seen.tasks.on_change(self._task_changed)
        seen.types.on_change(self._type_changed)

    def of(self, schedule: v1alpha1.LongTaskSchedule) -> Mapping[str, schedules.Seen]:
        """Return a schedule's runs by their names."""
        return self._runs.get(schedule.metadata.uid, _NONE)

    def _task_changed(
        self, before: v1alpha1.LongTask | None, after: v1alpha1.LongTask | None
    ) -> None:
        was = None if before is None else owner_of(before)
        if before is not None and was is not None and not _is_same(before, after):
            runs = self._runs.get(was, {})
            runs.pop(before.metadata.name, None)
            if not runs:
                self._runs.pop(was, None)
            self._wake_owner(before)
        owner = None if after is None else owner_of(after)
        if after is None or owner is None or (run := schedules.Seen.of(after)) is None:
            return
        runs = self._runs.setdefault(owner, {})
        old = runs.get(run.name)
        runs[run.name] = run
        # That there is a new one, whoever made it records.
        if run.is_over and not (old is not None and old.is_over):
            self._wake_owner(after)

    def _type_changed(
        self, before: v1alpha1.LongTaskType | None, after: v1alpha1.LongTaskType | None
    ) -> None:
        changed = after or before
        if changed is None:
            return
        key = key_of(changed)
        self._wake(
            key_of(schedule)
            for schedule in self._mirror.schedules.values()
            if schedule.metadata.namespace == key.namespace
            and key.name in acceptance.types_of(schedule.spec.task_template.spec)
        )

    def _wake_owner(self, task: v1alpha1.LongTask) -> None:
        self._wake([key_of(task).sibling(task.metadata.labels[names.SCHEDULE_LABEL])])


def owner_of(task: v1alpha1.LongTask) -> str | None:
    """Return the uid of the schedule that a task is a run of, or None."""
    name = task.metadata.labels.get(names.SCHEDULE_LABEL)
    if name is None:
        return None
    for owner in task.metadata.owner_references:
        if owner.kind == "LongTaskSchedule" and owner.name == name:
            return owner.uid
    return None


def _is_same(before: v1alpha1.LongTask, after: v1alpha1.LongTask | None) -> bool:
    return after is not None and after.metadata.uid == before.metadata.uid
