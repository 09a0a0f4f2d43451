"""The commands: they turn words into calls and answers into text, and know no rule.

What is slow to import is imported where it is used: `longtask --help` and completion are quick.
"""

import enum
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from longtask_client.cli import exit_codes, inputs, session

if TYPE_CHECKING:
    from longtask_client import client, models


class Format(enum.StrEnum):
    """What `-o` takes."""

    TABLE = "table"
    JSON = "json"
    NAME = "name"


class Commands(TyperGroup):
    """The commands; every error is told here, and only here."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; end as the table of exit codes says."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except inputs.BadWord as error:
            _end(f"Error: {error}", exit_codes.ExitCode.USAGE)
        except KeyboardInterrupt:
            _end("Interrupted; tasks go on.", exit_codes.ExitCode.INTERRUPTED)
        except BrokenPipeError:
            # The reader has seen enough. Python would complain once more on its way out.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(exit_codes.ExitCode.OK) from None
        except Exception as error:
            from longtask_client import errors

            if not isinstance(error, errors.LongTaskError):
                raise
            lines = [f"Error: {error}"]
            if isinstance(error, errors.ApiError):
                lines += [f"- {wrong.pointer or '/'}: {wrong.detail}" for wrong in error.errors]
            _end("\n".join(lines), exit_codes.of_error(error))


def _end(text: str, code: exit_codes.ExitCode) -> NoReturn:
    from longtask_client.cli import output

    for line in text.splitlines():
        output.say(line)
    raise typer.Exit(code)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    # \b keeps the lines as they are.
    epilog="\b\nExit codes:\n"
    + "\n".join(f"  {code:<4} {meaning}" for code, meaning in exit_codes.MEANING.items()),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task's id.", show_default=False)]
Output = Annotated[Format, typer.Option("--output", "-o", help="What to print.")]
Timeout = Annotated[
    float | None, typer.Option(min=0, metavar="SECONDS", help="Wait no longer; the task goes on.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        print(metadata.version("longtask-client"))
        raise typer.Exit


@app.callback()
def longtask(
    context: typer.Context,
    url: Annotated[
        str,
        typer.Option(envvar="LONGTASK_URL", help="Where LongTask's API is.", show_default=False),
    ] = "",
    token_file: Annotated[
        Path | None, typer.Option(help="A file with the token, in place of LONGTASK_TOKEN.")
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Hand long-running tasks over to LongTask, and see what becomes of them.

    Data goes to standard output, everything else to standard error. The token comes from the
    variable LONGTASK_TOKEN or from --token-file, never from the command line, where others see it.
    """
    context.obj = session.Session(
        url=url, token_file=token_file, connect=context.obj or session.connect
    )


@app.command(
    epilog="""\b
Examples:
  longtask submit fibonacci n=100
  longtask submit http-fetch --input '{"url": "https://example.com"}' --wait
  longtask submit --image docker.io/library/busybox:1.37 -- sh -c 'echo hello'
"""
)
def submit(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORD",
            help="A type and its input, or, after --, a program and its arguments.",
            show_default=False,
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
    queue: Annotated[str | None, typer.Option(help="The queue it waits in.")] = None,
    priority: Annotated[
        int | None, typer.Option(min=0, max=100, help="Minutes of head start in the queue.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="For finding it.")
    ] = None,
    callback: Annotated[
        str | None, typer.Option(metavar="URL", help="Where to send what becomes of it.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key and order again: the same task.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the end; print the result.")
    ] = False,
    timeout: Timeout = None,
    output: Output = Format.TABLE,
) -> None:
    """Hand over a task; print its id."""
    from longtask_client import models
    from longtask_client.cli import orders
    from longtask_client.cli import output as out

    order = orders.order(
        words or [],
        source=source,
        image=image,
        env=env or [],
        name=name,
        queue=queue,
        priority=priority,
        labels=label or [],
        callback=callback,
    )
    with _open(context) as connection:
        task: models.TaskView = connection.submit(order, idempotency_key=idempotency_key)
        if not wait:
            place = f", place {task.queue_position}" if task.queue_position else ""
            out.say(f"{task.id} is {task.phase} (queue {task.queue or 'default'}{place})")
            print(out.as_json(task) if output is Format.JSON else task.id)
            return
        out.say(f"{task.id} is handed over")
        task = _await(connection, task.id, timeout)
        succeeded = task.phase == "Succeeded"
        if output is Format.TABLE:
            if succeeded:
                print(connection.result_text(task.id))
        else:
            print(out.as_json(task) if output is Format.JSON else task.id)
    raise typer.Exit(exit_codes.of_phase(task.phase))


@app.command()
def wait(
    context: typer.Context, task_id: TaskId, timeout: Timeout = None, output: Output = Format.NAME
) -> None:
    """Wait for the end of a task, in sight of its progress.

    Ctrl-C leaves it running.
    """
    with _open(context) as connection:
        task = _await(connection, task_id, timeout)
    _print_task(task, output)
    raise typer.Exit(exit_codes.of_phase(task.phase))


@app.command()
def get(context: typer.Context, task_id: TaskId, output: Output = Format.TABLE) -> None:
    """Look at a task."""
    with _open(context) as connection:
        _print_task(connection.get(task_id), output)


@app.command("list")
def list_(
    context: typer.Context,
    phase: Annotated[
        list[str] | None, typer.Option(metavar="PHASE", help="In this phase; may be repeated.")
    ] = None,
    queue: Annotated[str | None, typer.Option(help="In this queue.")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Of this type.")] = None,
    owner: Annotated[str | None, typer.Option(help="Of this owner.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", metavar="KEY=VALUE", help="With this label."),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0 for all.")] = 100,
    output: Output = Format.TABLE,
) -> None:
    """List tasks, the newest first."""
    from longtask_client import models
    from longtask_client.cli import orders
    from longtask_client.cli import output as out

    wanted = models.TaskFilter(
        phases=orders.phases(phase or []),
        queue=queue,
        type=type_,
        owner=owner,
        labels=dict(inputs.pairs(label or [], what="label")),
    )
    with _open(context) as connection:
        tasks = list(connection.tasks(wanted, limit=limit or None))
    if output is Format.JSON:
        print(out.as_json(*tasks, many=True))
    elif output is Format.NAME:
        for task in tasks:
            print(task.id)
    elif tasks:
        print(out.columns(out.TASK_HEAD, (out.task_row(task, out.now()) for task in tasks)))
    else:
        out.say("No tasks.")


@app.command()
def logs(
    context: typer.Context,
    task_id: TaskId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
    attempt: Annotated[int | None, typer.Option(min=1, help="Of this attempt; the last.")] = None,
) -> None:
    """Print the log of a task.

    Ctrl-C leaves it running.
    """
    from longtask_client.cli import output as out

    # A terminal would obey what a log tells it to do.
    shown = out.visible if sys.stdout.isatty() else str
    with _open(context) as connection:
        for piece in connection.logs(task_id, follow=follow, attempt=attempt):
            sys.stdout.write(shown(piece))
            sys.stdout.flush()


@app.command()
def result(context: typer.Context, task_id: TaskId) -> None:
    """Print what a finished task brought, as JSON."""
    from longtask_client.cli import output as out

    with _open(context) as connection:
        text = connection.result_text(task_id)
        # Null is also what a task without success has.
        task = connection.get(task_id) if text == "null" else None
    if task is not None and task.phase != "Succeeded":
        out.say(out.ending(task))
        raise typer.Exit(exit_codes.of_phase(task.phase))
    print(text)


@app.command()
def cancel(context: typer.Context, task_id: TaskId, output: Output = Format.NAME) -> None:
    """Ask a task to end; its record stays."""
    with _open(context) as connection:
        _print_task(connection.cancel(task_id), output)


@app.command()
def delete(context: typer.Context, task_id: TaskId) -> None:
    """Remove a task and everything of it; one that runs is ended."""
    with _open(context) as connection:
        connection.delete(task_id)
    print(task_id)


@app.command()
def types(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Only this one.", show_default=False)] = None,
    output: Output = Format.TABLE,
) -> None:
    """List the types of tasks, or show one of them."""
    from longtask_client.cli import output as out

    with _open(context) as connection:
        found = connection.types() if name is None else [connection.type(name)]
    if output is Format.JSON:
        print(out.as_json(*found, many=name is None))
    elif output is Format.NAME:
        for one in found:
            print(one.name)
    elif name is not None:
        print(out.type_details(found[0]))
    else:
        rows = ((one.name, one.description or "-") for one in found)
        print(out.columns(("NAME", "DESCRIPTION"), rows))


@app.command("callback-key")
def callback_key(context: typer.Context) -> None:
    """Print the key that signs your callbacks.

    It is for any Standard Webhooks library.
    """
    with _open(context) as connection:
        print(connection.callback_key())


def _open(context: typer.Context) -> "client.Client":
    found: session.Session = context.obj
    return found.open()


def _await(connection: "client.Client", task_id: str, timeout: float | None) -> "models.TaskView":
    """Wait with the progress in sight; tell how it ended."""
    from longtask_client.cli import output as out
    from longtask_client.cli import progress

    progress.show(task_id, connection.watch(task_id, timeout=timeout))
    task = connection.get(task_id)
    out.say(out.ending(task))
    return task


def _print_task(task: "models.TaskView", output: Format) -> None:
    from longtask_client.cli import output as out

    match output:
        case Format.JSON:
            print(out.as_json(task))
        case Format.NAME:
            print(task.id)
        case Format.TABLE:
            print(out.details(task, out.now()))
