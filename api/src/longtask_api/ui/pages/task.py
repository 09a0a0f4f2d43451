"""One task: where it stands and why, what it did, what it brought, and what may be done with it."""

import dataclasses
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from fastapi import APIRouter, Request, Response

from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.dependencies import (
    CallerDep,
    DeliveriesDep,
    NoticesDep,
    TasksDep,
    get_services,
)
from longtask_api.services.notices import NoticeService
from longtask_api.ui import calls, graph, groups, rows, shell, timeline, words
from longtask_api.ui.groups import Group
from longtask_api.ui.pages.told import group_of
from longtask_client import models, why
from longtask_crds import events, v1alpha1
from longtask_crds.pipeline import reuse, runs
from longtask_crds.v1alpha1 import CallbackState, Phase

router = APIRouter(include_in_schema=False, route_class=shell.PageRoute)

#: Of a result that is shown in the page; what is larger is downloaded.
_MOST_SHOWN: Final = 64 * 1024
#: A rest is told once so much is done: before that it is a guess of a guess.
_LEAST_PERCENT: Final = 5
#: Of the mails of a task the last ones are shown.
_MAILS: Final = 20


@dataclasses.dataclass(frozen=True)
class Lead:
    """Where the task stands, in words: what matters first, and what else there is to say."""

    says: str
    asides: tuple[str, ...]
    helps: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Acts:
    """What may be done with the task now, by who looks at it."""

    cancel: bool
    retry: bool
    retry_from_failed: bool
    priority: bool
    redeliver: bool
    delete: bool


@router.get("/tasks/{task_id}")
async def show_task(
    request: Request,
    caller: CallerDep,
    tasks: TasksDep,
    deliveries: DeliveriesDep,
    notices: NoticesDep,
    task_id: str,
    live: bool = False,
) -> Response:
    """Show all of a task; with `live` only what changes, which asks Kubernetes for nothing."""
    task = await (tasks.get if live else tasks.whole)(caller, task_id)
    view = tasks.view(task)
    now = (await get_services(request)).clock()
    told = await deliveries.log(caller, task_id)
    spec = task.spec
    return shell.page(
        request,
        "task.html",
        caller=caller,
        here="tasks",
        task=view,
        row=rows.row(view, now),
        group=groups.of_phase(view.phase),
        kind=rows.kind(view),
        lead=lead(view, now),
        acts=acts(caller, view, told, kept=kept(task), is_stopping=bool(spec.cancel)),
        is_stopping=bool(spec.cancel) and not view.phase.is_terminal,
        timeline=timeline.of(view, now),
        picture=graph.of(spec.steps, view.steps) if spec.steps else None,
        steps=[(step, groups.of_step(step.phase)) for step in view.steps],
        runs=[run.name for run in runs.of(task) if run.name],
        attempts=[(one, _group(view, one)) for one in reversed(view.attempts)],
        most_attempts=spec.retry.max_attempts if spec.retry else None,
        callback_url=spec.callback.url if spec.callback else None,
        told=told,
        tries=[(one, _delivered(one)) for one in reversed(told.items)],
        mails=await _mails(notices, caller, task_id),
        events=events.of(task)[::-1],
        live=live,
        input=spec.input,
        result=view.result,
        is_large=view.result is not None and _is_large(view.result),
    )


async def _mails(
    notices: NoticeService, caller: callers.Caller, task_id: str
) -> list[tuple[models.NoticeView, Group]] | None:
    """Return what was mailed of the task; None while nobody knows."""
    try:
        found = await notices.page(caller, task=task_id, state=None, limit=_MAILS, cursor=None)
    except errors.DatabaseAway:
        return None  # all else of the page is in Kubernetes
    return [(one, group_of(one.state)) for one in found.items]


@router.get("/tasks/{task_id}/input.json")
async def get_input(caller: CallerDep, tasks: TasksDep, task_id: str) -> Response:
    """Send the input as a file."""
    task = await tasks.whole(caller, task_id)
    return _file(json.dumps(task.spec.input, ensure_ascii=False, indent=2), f"{task_id}-input.json")


@router.get("/tasks/{task_id}/task.yaml")
async def get_manifest(caller: CallerDep, tasks: TasksDep, task_id: str) -> Response:
    """Send the resource as a file."""
    task = await tasks.whole(caller, task_id)
    return _file(calls.as_yaml(task.to_json()), f"{task_id}.yaml")


def _file(text: str, name: str) -> Response:
    """Return a file that no browser shows as a page."""
    return Response(
        text,
        media_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def lead(task: models.TaskView, now: datetime) -> Lead:
    """Return where a task stands, by the words of `longtask why`."""
    told = why.of(task, now)
    group = groups.of_phase(task.phase)
    if group is Group.RUNNING and task.message:
        says, asides = _sentence(task.message), list(_of_running(task, now))
    elif group is Group.RUNNING and task.step:
        says, asides = f"Step {task.step}", list(_of_running(task, now))[1:]
    elif group is Group.WAITING and task.waiting:
        says, asides = _sentence(task.waiting), list(told.details[1:])
    elif group is Group.FAILED and task.message:
        says, asides = _sentence(task.message), [told.means or "", *told.details[1:]]
    else:
        says, asides = task.message or told.means or "", list(told.details)
        asides = [aside for aside in asides if aside != says]
        if group is Group.RUNNING:
            asides += _of_running(task, now)
    helps = () if group is Group.RUNNING else tuple(told.helps)
    return Lead(says, tuple(filter(None, asides)), helps)


def _of_running(task: models.TaskView, now: datetime) -> Iterator[str]:
    """Yield what else there is to say of a task at work: how long it may take, what came before."""
    if task.step:
        yield f"step {task.step}"
    if task.percent is not None and task.started_at and _LEAST_PERCENT <= task.percent < 100:
        begun = task.attempts[-1].started_at if task.attempts else task.started_at
        spent = (now - (begun or task.started_at)).total_seconds()
        yield f"{words.about(spent * (100 - task.percent) / task.percent)} left"
    if len(task.attempts) > 1:
        before = task.attempts[-2]
        ended = (
            f"exit code {before.exit_code}" if before.exit_code else before.reason or "a failure"
        )
        nth = words.ordinal(task.attempt)
        yield f"the {nth} try: the one before ended with {ended}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def acts(
    caller: callers.Caller,
    task: models.TaskView,
    told: models.CallbackLog,
    *,
    kept: list[str],
    is_stopping: bool,
) -> Acts:
    """Return what the caller may do with the task: nothing is offered that would be refused.

    Args:
        caller: Who asks.
        task: What they see.
        told: What its callback was.
        kept: The steps that need not run again.
        is_stopping: It is to end, or has done so when asked to.
    """
    may, over = caller.may(callers.Act.WRITE), task.phase.is_terminal
    # As `queueing.standing` has it: who holds a place waits no longer.
    waits = task.queue_position is not None or task.phase in (Phase.PENDING, Phase.QUEUED)
    return Acts(
        cancel=may and not over and not is_stopping,
        retry=may and over,
        retry_from_failed=may and bool(kept),
        priority=may and waits and not over and not is_stopping,
        redeliver=may and told.state in (CallbackState.DELIVERED, CallbackState.EXHAUSTED),
        delete=may,
    )


def kept(task: v1alpha1.LongTask) -> list[str]:
    """Return the steps that need not run again where it is gone on from."""
    return list(reuse.taken_over(task)) if task.phase in (Phase.FAILED, Phase.CANCELLED) else []


def _group(task: models.TaskView, attempt: v1alpha1.Attempt) -> Group:
    if attempt.number < task.attempt or (attempt.finished_at and task.retry_at):
        return Group.FAILED
    return groups.of_phase(task.phase)


def _delivered(one: v1alpha1.Delivery) -> Group:
    return Group.SUCCEEDED if one.code is not None and 200 <= one.code < 300 else Group.FAILED


def _is_large(result: v1alpha1.Result) -> bool:
    return result.ref is not None or len(json.dumps(result.value)) > _MOST_SHOWN
