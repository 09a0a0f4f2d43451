"""Tasks are shown: one, one page of many, as soon as one is finished, or how many there are."""

from collections.abc import Callable, Mapping
from datetime import datetime

from longtask_adapters import logs
from longtask_api.auth import callers
from longtask_api.services import views
from longtask_api.services.tasks import listing
from longtask_api.stores.catalogue import Record
from longtask_api.stores.filters import Filter
from longtask_api.stores.lines import Lines
from longtask_api.stores.resources import Resources
from longtask_client import models
from longtask_crds import queueing, v1alpha1

_WITHOUT_ARCHIVE = "The archive does not answer: the tasks in it are missing."


class TaskService:
    """Shows tasks; whoever may not see one finds nothing there."""

    def __init__(
        self,
        resources: Resources,
        lines: Lines,
        *,
        clock: Callable[[], datetime],
        path_prefix: str = "",
    ) -> None:
        """Show what the resources hold.

        Args:
            resources: Where tasks are.
            lines: Where those stand that wait.
            clock: Returns the time.
            path_prefix: The path under which the API is published: links begin with it.
        """
        self._resources = resources
        self._lines = lines
        self._clock = clock
        self._path_prefix = path_prefix

    async def get(self, caller: callers.Caller, name: str) -> v1alpha1.LongTask:
        """Return the task.

        Raises:
            Missing: There is none of that name.
        """
        task = await self._resources.seen_task(caller, name)
        logs.add(**logs.of_task(task))
        return task

    async def whole(self, caller: callers.Caller, name: str) -> v1alpha1.LongTask:
        """Return the task with its inputs, which take a request to Kubernetes.

        Raises:
            Missing: There is none of that name.
        """
        task = await self._resources.whole_task(caller, name)
        logs.add(**logs.of_task(task))
        return task

    def counts(self, caller: callers.Caller) -> Mapping[v1alpha1.Phase, int]:
        """Return how many of the tasks that the caller sees are in each phase, but the archived."""
        catalogue = self._resources.catalogue
        return catalogue.phases_of_all() if caller.sees_all else catalogue.phases_of(caller.subject)

    async def wait(self, caller: callers.Caller, name: str, *, within: float) -> v1alpha1.LongTask:
        """Return the task as soon as it is finished, or as it is after `within` seconds.

        Raises:
            Missing: There is none of that name, or no longer.
        """
        await self.get(caller, name)
        await self._resources.wait_for(
            self._resources.key(name), lambda task: task is None or task.is_finished, within=within
        )
        return await self.get(caller, name)

    async def page(
        self,
        caller: callers.Caller,
        wanted: Filter,
        *,
        sort: models.SortOrder,
        limit: int,
        cursor: str | None,
    ) -> models.TaskPage:
        """Return one page of the tasks, as `listing.page` finds it.

        Raises:
            Malformed: The cursor is none of ours, or of another list.
            DatabaseAway: The archive does not answer, and nothing else is wanted.
        """
        found, more = await listing.page(
            self._resources, self._lines, caller, wanted, sort=sort, limit=limit, cursor=cursor
        )
        return models.TaskPage(
            items=[self.view(task) for task in found.tasks],
            next_cursor=more,
            incomplete=None if found.is_whole else _WITHOUT_ARCHIVE,
        )

    def view(self, task: v1alpha1.LongTask) -> models.TaskView:
        """Return the task as the API shows it now."""
        record = Record.of(task)
        place = self._lines.place(record)
        return views.task_view(
            task,
            place=place,
            estimated=self._estimated_start(place) if place else None,
            queue=self._lines.queue_of(record),
            priority=self._lines.priority_of(record),
            prefix=self._path_prefix,
        )

    def result_view(self, task: v1alpha1.LongTask) -> models.TaskResult:
        """Return how the task ended, as the API shows it."""
        return views.result_view(task, prefix=self._path_prefix)

    def _estimated_start(self, place: queueing.Place) -> models.EstimatedStart | None:
        found = self._lines.estimated_start(place)
        # What takes longer than all before it proves the estimate wrong.
        if found is None or found[1] < self._clock():
            return None
        earliest, latest = found
        return models.EstimatedStart(earliest=earliest, latest=latest)
