"""Commands that make tasks."""

from collections.abc import Sequence
from typing import Annotated

import typer

from longtask_client import client, errors, models
from longtask_client.cli import completion, exit_codes, options, outcomes, session
from longtask_client.cli.given import inputs, orders
from longtask_client.cli.output import forms, lists, phrases, progress, terminal
from longtask_client.cli.output import tasks as shown
from longtask_crds import v1alpha1

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog="""\b
Examples:
  longtask submit fibonacci n=100
  longtask submit http-fetch --input '{"url": "https://example.com"}' --wait
  longtask submit --image docker.io/library/busybox:1.37 -- sh -c 'echo hello'
  longtask submit -f pipeline.yaml day=2026-01-02 --wait
"""
)
def submit(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORD",
            help="A type and its input; with -f an input; after -- a program and its arguments.",
            show_default=False,
            autocompletion=completion.types,
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE|-",
            help="What to run: LongTasks or their specs, in YAML or JSON.",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--input", metavar="JSON|FILE|-", help="The whole input, instead of KEY=VALUE."
        ),
    ] = None,
    image: Annotated[str | None, typer.Option(help="Run PROGRAM in this image.")] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", "-e", metavar="KEY=VALUE", help="With --image.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The task's id; made up when absent.")] = None,
    queue: Annotated[
        str | None,
        typer.Option(help="The queue it waits in.", autocompletion=completion.queues),
    ] = None,
    priority: Annotated[
        int | None, typer.Option(min=0, max=100, help="Minutes of head start in the queue.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="For finding it.")
    ] = None,
    callback: Annotated[
        str | None, typer.Option(metavar="URL", help="Where to send what becomes of it.")
    ] = None,
    callback_events: Annotated[
        list[v1alpha1.TaskEvent] | None,
        typer.Option(
            "--callback-event",
            help="Send this; given several times, each of them.",
            show_default="how it ends",
        ),
    ] = None,
    callback_format: Annotated[
        v1alpha1.MessageFormat | None,
        typer.Option(help="How it is told.", show_default="standard"),
    ] = None,
    callback_headers: Annotated[
        list[str] | None,
        typer.Option(
            "--callback-header",
            metavar="NAME=VALUE",
            help="Send this header, too; what is secret is better off in a --file.",
        ),
    ] = None,
    callback_secret: Annotated[
        str | None,
        typer.Option(
            metavar="SECRET/KEY",
            help="The Secret with the key to sign with.",
            show_default="the owner's own key",
        ),
    ] = None,
    attempts: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="How often it may be started, if it fails."),
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Begin then: 2026-01-02T03:04:05Z.")
    ] = None,
    delay: Annotated[
        str | None, typer.Option("--in", metavar="DELAY", help="Begin after 90s, 5m, 1h30m or 2d.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key and order again: the same task.")
    ] = None,
    wait: options.Wait = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Wait for the end, in sight of its progress.")
    ] = False,
    timeout: options.Timeout = None,
    form: options.Output = forms.TABLE,
) -> None:
    """Hand over a task; print its id.

    A file may hold several, between lines of three dashes: one that is refused stops no other.
    """
    found = orders.orders(
        words or [],
        file=file,
        source=source,
        image=image,
        env=env or [],
        name=name,
        queue=queue,
        priority=priority,
        labels=label or [],
        callback=orders.callback(
            callback,
            events=callback_events or [],
            form=callback_format,
            headers=callback_headers or [],
            secret=callback_secret,
        ),
        attempts=attempts,
        not_before=inputs.start(at, delay, now=phrases.now()),
    )
    with session.of(context).open() as connection:
        made: Sequence[models.TaskView]
        if len(found) == 1:
            made = [connection.submit(found[0], idempotency_key=idempotency_key)]
            code = exit_codes.ExitCode.OK
        else:
            made, code = _submit_all(connection, found, idempotency_key)
        if made and (wait or watch):
            ended = see_through(connection, made, timeout, form, with_result=wait)
            raise typer.Exit(code or ended)
    for task in made:
        _tell(task)
    if form.is_data and len(found) > 1:
        lists.show(made, form, what="tasks", name=lambda task: task.id, table=shown.TASKS)
    else:
        for task in made:
            _print(task, form)
    raise typer.Exit(code)


@app.command(
    epilog="""\b
Examples:
  longtask retry fibonacci-x4a2b3cd
  longtask retry fibonacci-x4a2b3cd n=50 --wait
  longtask retry import-x4a2b3cd --from-failed
  longtask retry import-x4a2b3cd --from-failed -f import.yaml
"""
)
def retry(
    context: typer.Context,
    task_id: options.TaskId,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Another input, in place of the whole one.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE|-",
            help="Fields in place of the task's, in YAML or JSON: steps, input, …",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--input", metavar="JSON|FILE|-", help="Another input, all of it."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The new id; made up when absent.")] = None,
    queue: Annotated[str | None, typer.Option(help="Another queue.")] = None,
    priority: Annotated[
        int | None, typer.Option(min=0, max=100, help="Other minutes of head start.")
    ] = None,
    from_failed: Annotated[
        bool,
        typer.Option(
            "--from-failed", help="Of a pipeline: go on where it failed; what succeeded stays."
        ),
    ] = False,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key and changes again: the same task.")
    ] = None,
    wait: options.Wait = False,
    timeout: options.Timeout = None,
    form: options.Output = forms.TABLE,
) -> None:
    """Make a new task of one that has ended; print its id."""
    changes = orders.changes(
        task_id,
        words or [],
        file=file,
        source=source,
        name=name,
        queue=queue,
        priority=priority,
    )
    with session.of(context).open() as connection:
        task = connection.retry(
            task_id, changes, from_failed=from_failed, idempotency_key=idempotency_key
        )
        if wait:
            raise typer.Exit(see_through(connection, [task], timeout, form, with_result=True))
    _tell(task)
    _print(task, form)


def see_through(
    connection: client.Client,
    made: Sequence[models.TaskView],
    timeout: float | None,
    form: forms.Form,
    *,
    with_result: bool,
) -> exit_codes.ExitCode:
    """Wait for the end of tasks that were just made; print what one brought, or their ids."""
    for task in made:
        terminal.say(f"{task.id} is handed over")
    ids = [task.id for task in made]
    ended = progress.show(connection.follow_all(ids, timeout=timeout), ids)
    for task in ended:
        terminal.say(shown.ending(task))
    if form.is_data and len(ended) > 1:
        lists.show(ended, form, what="tasks", name=lambda task: task.id, table=shown.TASKS)
    elif form.kind is not forms.Kind.TABLE or not with_result or len(ended) > 1:
        for task in ended:
            _print(task, form)
    elif ended[0].phase is v1alpha1.Phase.SUCCEEDED:
        terminal.pour(connection.result_content(ended[0].id))
    return outcomes.of_phases(task.phase for task in ended)


def _submit_all(
    connection: client.Client, found: Sequence[models.TaskOrder], key: str | None
) -> tuple[list[models.TaskView], exit_codes.ExitCode]:
    """Hand over many; return those that were taken, and how the command ends for the others."""
    made, code = [], exit_codes.ExitCode.OK
    for first in range(0, len(found), models.BATCH_MAX_ITEMS):
        part = found[first : first + models.BATCH_MAX_ITEMS]
        # A key covers one batch, each order with its place.
        own = key if key is None or not first else f"{key}-{first}"
        for place, item in enumerate(connection.submit_many(part, idempotency_key=own), first + 1):
            if item.task is not None:
                made.append(item.task)
            elif item.problem is not None:
                error = errors.from_problem(item.problem)
                named = part[place - first - 1].name
                terminal.say(f"Error: task {place}{f' ({named})' if named else ''}: {error}")
                for line in outcomes.wrongs(error):
                    terminal.say(line)
                code = code or outcomes.of_error(error)
    return made, code


def _tell(task: models.TaskView) -> None:
    """Say where a task stands that was just made."""
    place = f", place {task.queue_position}" if task.queue_position else ""
    terminal.say(f"{task.id} is {task.phase} (queue {task.queue or 'default'}{place})")
    if task.phase is v1alpha1.Phase.PENDING and task.waiting and task.queue_position is None:
        terminal.say(f"It {task.waiting}.")


def _print(task: models.TaskView, form: forms.Form) -> None:
    lists.show_one(task, form, name=task.id, text=lambda task, _: task.id)
