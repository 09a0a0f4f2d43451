"""What a shell may complete a word with: ids of tasks, types, queues, schedules, contexts.

Whoever presses the tab key wants no error and does not wait: where there is no answer at once,
there is nothing to complete.
"""

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from longtask_client.cli import config, session

if TYPE_CHECKING:
    from longtask_client import exchange

_T = TypeVar("_T")
_MOST = 50
_PATIENCE = 2.0


def tasks(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the newest tasks, and where they stand."""
    from longtask_client.calls import tasks as asked  # slow to import, as all of the API's models

    found = _asked(context, asked.page(limit=_MOST))
    tasks = found.items if found else ()
    return [(task.id, str(task.phase)) for task in tasks if task.id.startswith(incomplete)]


def types(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the types of tasks, and what each does."""
    from longtask_client.calls import service

    found = _asked(context, service.types())
    return [
        (one.name, one.description or "") for one in found or () if one.name.startswith(incomplete)
    ]


def queues(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the queues, and how many wait in each."""
    from longtask_client.calls import queues as asked

    found = _asked(context, asked.queues())
    return [
        (queue.name, f"{queue.waiting} wait")
        for queue in found or ()
        if queue.name.startswith(incomplete)
    ]


def schedules(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the schedules, and when each starts a run."""
    from longtask_client import exchange, models
    from longtask_client.calls import words

    # One page: nobody waits for all of them.
    asked = exchange.call(
        "GET", words.path("schedules"), models.SchedulePage, parameters={"limit": _MOST}
    )
    found = _asked(context, asked)
    return [
        (one.name, one.reason or "")
        for one in (found.items if found else ())
        if one.name.startswith(incomplete)
    ]


def contexts(incomplete: str) -> list[str]:
    """Return the names of the contexts."""
    with contextlib.suppress(Exception):
        return [name for name in config.load().contexts if name.startswith(incomplete)]
    return []


def _asked(context: typer.Context, call: "exchange.Call[_T]") -> "_T | None":
    """Return what the API says, or None if it says nothing at once."""
    at_once = dataclasses.replace(call.request, timeout=_PATIENCE)
    with contextlib.suppress(Exception), _session(context).open() as connection:
        return connection.run(dataclasses.replace(call, request=at_once, patience=0))
    return None


def _session(context: typer.Context) -> session.Session:
    root = context.find_root()
    said = {
        "url": root.params.get("url"),
        "token_file": root.params.get("token_file"),
        "context": root.params.get("context_name"),
        "kubeconfig": root.params.get("kubeconfig"),
        "namespace": root.params.get("namespace"),
    }
    given: dict[str, Any] = {key: value for key, value in said.items() if value}
    # The options before the command are read by now, and their function is not called.
    return session.Session(connect=root.obj or session.connect, **given)
