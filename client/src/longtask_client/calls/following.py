"""Tasks in sight: by a stream; by looking again and again where there is none."""

from collections.abc import Iterator, Sequence
from typing import Final

from longtask_client import errors, exchange, models, streaming
from longtask_client.calls import events, tasks
from longtask_client.exchange import WAITING_PATIENCE
from longtask_crds import v1alpha1
from longtask_crds.pipeline import runs

#: No stream is to be had: too many are open, or what answers has none.
_NO_STREAM: Final = frozenset({405, 406, 429, 501})
_AT_WORK: Final = (v1alpha1.Phase.STARTING, v1alpha1.Phase.RUNNING)


def watch(
    task_id: str, *, timeout: float | None = None, interval: float = 1.0
) -> exchange.Stream[models.TaskState]:
    """Yield a task's state, and again whenever it is another; the last one is its end.

    Raises:
        WaitTimeout: It takes longer than `timeout` seconds; the task goes on.
    """
    last: models.TaskState | None = None

    def news(task: models.TaskView) -> Iterator[models.TaskState]:
        nonlocal last
        before, last = last, _state_of(task)
        if last != before:
            yield last

    return exchange.each(follow(task_id, timeout=timeout, interval=interval), news)


def follow(
    task_id: str, *, timeout: float | None = None, interval: float = 1.0
) -> exchange.Stream[models.TaskView]:
    """Yield a task with all its steps as it changes; the last one is its end.

    Raises:
        WaitTimeout: It takes longer than `timeout` seconds; the task goes on.
    """
    return follow_all([task_id], timeout=timeout, interval=interval)


def follow_all(
    task_ids: Sequence[str], *, timeout: float | None = None, interval: float = 1.0
) -> exchange.Stream[models.TaskView]:
    """Yield several tasks as they change, each until its end.

    Args:
        task_ids: Which ones.
        timeout: For so many seconds at most; without it as long as it takes.
        interval: So many seconds pass between two looks, where there is no stream of them.

    Raises:
        WaitTimeout: One of them takes longer than `timeout` seconds; it goes on.
    """
    until = yield from _end_of(timeout)
    seen = _Seen(task_ids)
    try:
        while seen.left:
            if until is not None and (yield from exchange.clock()) >= until:
                raise seen.timed_out()
            yield from _streamed(seen, until)
    except (errors.ApiError, errors.UnexpectedAnswer) as error:
        _check_there_is_none(error)
        yield from _again_and_again(seen.left, until, interval)


def begun(task_id: str, *, step: str | None = None, interval: float = 1.0) -> exchange.Flow[None]:
    """Wait until a program of a task is started, or never will be.

    Args:
        task_id: The task's id.
        step: Of a pipeline: the step's name, or `STEP.INDEX` for one of its items.
        interval: So many seconds pass between two looks, where there is no stream of them.

    Raises:
        NotFound: There is no such task.
    """
    yield from exchange.first(
        follow(task_id, interval=interval), lambda task: _has_begun(task, step)
    )


def appearance(
    task_id: str, *, timeout: float, interval: float = 0.5
) -> exchange.Flow[models.TaskView]:
    """Return a task as soon as there is one of that id.

    Args:
        task_id: The task's id, which somebody else gives.
        timeout: For so many seconds at most.
        interval: So many seconds pass between two looks, where there is no stream of them.

    Raises:
        NotFound: There is none by then.
    """
    until = (yield from exchange.clock()) + timeout
    try:
        while True:
            # What is made while one looks comes by the stream, which goes on from before.
            since = yield from events.begun(streaming.of_tasks(models.EVERY), refused=_NO_STREAM)
            if (task := (yield from _if_there(task_id, until))) is not None:
                return task
            subscription = streaming.of_tasks(models.EVERY, last_id=since)
            told = events.told(subscription, until=until, refused=_NO_STREAM)
            yield from exchange.first(told, lambda one: _may_tell_of(one, task_id))
    except (errors.ApiError, errors.UnexpectedAnswer) as error:
        _check_there_is_none(error)
    while (task := (yield from _if_there(task_id, until))) is None:
        yield exchange.Sleep(interval)
    return task


def changes(
    wanted: models.TaskFilter = models.EVERY, *, limit: int = 100, interval: float = 2.0
) -> exchange.Stream[models.TaskView]:
    """Yield the newest tasks that fit, the oldest of them first, and each again that changes.

    One that fits no more because of what has changed comes a last time. It does not end by itself.

    Args:
        wanted: What they must be like.
        limit: No more of them than this are shown at first.
        interval: So many seconds pass between two looks, where there is no stream of them.
    """
    kept = _Kept(wanted)
    try:
        while True:
            yield from _kept_in_sight(kept, limit)
    except (errors.ApiError, errors.UnexpectedAnswer) as error:
        _check_there_is_none(error)
    while True:
        yield from _listed(kept, limit)
        yield exchange.Sleep(interval)


def stirrings(*, interval: float = 2.0) -> exchange.Stream[None]:
    """Yield once what follows is not missed, and again whenever a task has changed that one sees.

    It does not end by itself.

    Args:
        interval: It yields so often, in seconds, where there is no stream of them.
    """
    try:
        begun = yield from events.begun(streaming.of_tasks(models.EVERY), refused=_NO_STREAM)
        yield exchange.Give(None)
        subscription = streaming.of_tasks(models.EVERY, last_id=begun)
        told = events.told(subscription, refused=_NO_STREAM)
        yield from exchange.each(told, lambda _: (None,))
    except (errors.ApiError, errors.UnexpectedAnswer) as error:
        _check_there_is_none(error)
    while True:
        yield exchange.Give(None)
        yield exchange.Sleep(interval)


class _Kept:
    """A list of tasks as it was told of last."""

    def __init__(self, wanted: models.TaskFilter) -> None:
        self.wanted = wanted
        self.is_stale = False  #: something may have been missed of them
        self.unknown: str | None = None  #: of this one a stream has told no more than its progress
        self._tasks: dict[str, models.TaskView] = {}

    def listed(self, found: Sequence[models.TaskView]) -> Iterator[models.TaskView]:
        """Yield of a list, the newest first, what is news; forget what is not in it any more."""
        before, self._tasks = self._tasks, {task.id: task for task in found}
        self.is_stale = False
        yield from (task for task in reversed(found) if before.get(task.id) != task)

    def take(self, task: models.TaskView) -> Iterator[models.TaskView]:
        """Yield a task if it is news, and remember how it stands."""
        before, self._tasks[task.id] = self._tasks.get(task.id), task
        if before != task:
            yield task

    def told(self, told: streaming.Told) -> Iterator[models.TaskView]:
        """Yield the task that was told of, as it is now."""
        match told.data:
            case models.TaskView() as task if self.wanted.archived is not True:
                # A stream that goes on does not know what was fitting before: it tells in doubt.
                phases = self.wanted.phases or (task.phase,)
                if task.phase in phases or task.id in self._tasks:
                    yield from self.take(task)
            case models.TaskProgress() as news if self.wanted.archived is not True:
                if (known := self._tasks.get(news.id)) is None:
                    self.unknown = news.id
                else:
                    yield from self.take(_gone_on(known, news))
            case models.TaskGone(id=gone):
                self._tasks.pop(gone, None)
                self.is_stale = self.wanted.archived is True  # it may be archived by now
            case models.StreamReset():
                self.is_stale = True


def _kept_in_sight(kept: _Kept, limit: int) -> exchange.Stream[models.TaskView]:
    """Yield the tasks of a list, and what a stream tells of them, until it may miss something."""
    # What changes while one looks comes by the stream, which goes on from before.
    begun = yield from events.begun(streaming.of_tasks(kept.wanted), refused=_NO_STREAM)
    yield from _listed(kept, limit)
    subscription = streaming.of_tasks(kept.wanted, last_id=begun)
    while not kept.is_stale:
        yield from exchange.each(
            events.told(
                subscription,
                refused=_NO_STREAM,
                is_enough=lambda: kept.is_stale or kept.unknown is not None,
            ),
            kept.told,
        )
        if kept.unknown is not None:
            yield from _looked_at(kept, kept.unknown)


def _listed(kept: _Kept, limit: int) -> exchange.Stream[models.TaskView]:
    """Yield of a list what is news."""
    found = (yield from tasks.page(kept.wanted, limit=limit).flow()).items
    for task in kept.listed(found):
        yield exchange.Give(task)


def _looked_at(kept: _Kept, task_id: str) -> exchange.Stream[models.TaskView]:
    """Yield a task that is not in the list, which it is too old for."""
    kept.unknown = None
    try:
        found = yield from tasks.get(task_id, patience=WAITING_PATIENCE).flow()
    except errors.NotFound:
        return  # it was deleted meanwhile, as the stream goes on to tell
    for task in kept.take(found):
        yield exchange.Give(task)


class _Seen:
    """Tasks as they were told of last."""

    def __init__(self, task_ids: Sequence[str]) -> None:
        self._tasks: dict[str, models.TaskView | None] = dict.fromkeys(task_ids)
        self.is_stale = False  #: something may have been missed of them

    @property
    def left(self) -> list[str]:
        """Return which are not known to be over."""
        return [
            one for one, task in self._tasks.items() if task is None or not task.phase.is_terminal
        ]

    def common(self) -> models.TaskFilter:
        """Return a filter that they all fit: a stream brings no more than it must."""
        found = [task for task in self._tasks.values() if task is not None]
        types, owners = {task.type for task in found}, {task.owner for task in found}
        return models.TaskFilter(
            type=types.pop() if len(types) == 1 else None,
            owner=owners.pop() if len(owners) == 1 else None,
        )

    def take(self, task: models.TaskView) -> models.TaskView:
        """Remember how a task stands."""
        self._tasks[task.id] = task
        return task

    def told(self, told: streaming.Told) -> Iterator[models.TaskView]:
        """Yield the task that was told of, if it is one of these, as it is now."""
        match told.data:
            case models.TaskView() as task if task.id in self._tasks:
                yield self.take(task)
            case models.TaskProgress() as news if (known := self._tasks.get(news.id)) is not None:
                yield self.take(_gone_on(known, news))
            case models.TaskGone(id=ended) | models.TaskResult(id=ended):
                self.is_stale = self.is_stale or ended in self.left
            case models.StreamReset():
                self.is_stale = True

    def timed_out(self) -> errors.WaitTimeout:
        """Return what is raised when it takes too long."""
        left = self.left
        first = self._tasks[left[0]]
        return errors.WaitTimeout(", ".join(left), None if first is None else _state_of(first))


def _streamed(seen: _Seen, until: float | None) -> exchange.Stream[models.TaskView]:
    """Yield the tasks as a stream tells of them, until their end or that of the time.

    It ends too when one is gone: whether it is archived or not is seen by looking.
    """
    if seen.is_stale or len(seen.left) > 1:
        # What changes while one looks comes by the stream, which goes on from before.
        begun = yield from events.begun(streaming.of_tasks(models.EVERY), refused=_NO_STREAM)
        for task_id in seen.left:
            task = yield from tasks.get(task_id, patience=WAITING_PATIENCE).flow()
            yield exchange.Give(seen.take(task))
        seen.is_stale = False
        if not seen.left:
            return
        subscription = streaming.of_tasks(seen.common(), last_id=begun)
    else:
        subscription = streaming.of_task(seen.left[0])
    yield from exchange.each(
        events.told(
            subscription,
            until=until,
            refused=_NO_STREAM,
            is_enough=lambda: seen.is_stale or not seen.left,
        ),
        seen.told,
    )


def _end_of(timeout: float | None) -> exchange.Flow[float | None]:
    """Return when it has taken too long, by the clock."""
    return None if timeout is None else (yield from exchange.clock()) + timeout


def _again_and_again(
    task_ids: Sequence[str], until: float | None, interval: float
) -> exchange.Stream[models.TaskView]:
    """Yield tasks as looks show them, each until it is over: soon at first, for many are short."""
    pause = interval / 4
    left: dict[str, models.TaskState | None] = dict.fromkeys(task_ids)
    while True:
        for task_id in list(left):
            found = yield from tasks.get(task_id, patience=WAITING_PATIENCE).flow()
            yield exchange.Give(found)
            left[task_id] = _state_of(found)
        left = {one: seen for one, seen in left.items() if not (seen and seen.state.is_terminal)}
        if not left:
            return
        if until is not None:
            rest = until - (yield from exchange.clock())
            if rest <= 0:
                raise errors.WaitTimeout(", ".join(left), next(iter(left.values())))
            pause = min(pause, rest)
        yield exchange.Sleep(pause)
        pause = min(pause * 1.5, interval)


def _check_there_is_none(error: errors.LongTaskError) -> None:
    """Raise the error again, unless it means that no stream is to be had."""
    if isinstance(error, errors.ApiError) and error.problem.status not in _NO_STREAM:
        raise error


def _if_there(task_id: str, until: float) -> exchange.Flow[models.TaskView | None]:
    """Return a task, or None while it is not there; raise NotFound when the time is up."""
    try:
        return (yield from tasks.get(task_id, patience=WAITING_PATIENCE).flow())
    except errors.NotFound:
        if (yield from exchange.clock()) >= until:
            raise
        return None


def _may_tell_of(told: streaming.Told, task_id: str) -> bool:
    """Tell whether a task may be there by now: it is told of, or something was missed."""
    match told.data:
        case models.TaskView(id=found):
            return found == task_id
        case models.StreamReset():
            return True
    return False


def _has_begun(task: models.TaskView, step: str | None) -> bool:
    """Tell whether a program of a task is started, or was, or never will be."""
    if task.phase.is_terminal or step is None:
        return task.phase.is_terminal or task.phase in _AT_WORK
    name, _ = runs.split(step)
    not_yet = v1alpha1.StepPhase.PENDING
    return any(one.name == name and one.phase is not not_yet for one in task.steps)


def _gone_on(task: models.TaskView, news: models.TaskProgress) -> models.TaskView:
    """Return a task of which nothing but its progress has changed."""
    said = {"phase": news.phase, "percent": news.percent, "message": news.message}
    return task.model_copy(update=said)


def _state_of(task: models.TaskView) -> models.TaskState:
    return models.TaskState(state=task.phase, percent=task.percent)
