"""Commands about what tasks write and bring."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from longtask_client.cli import options, outcomes, session
from longtask_client.cli.given import inputs
from longtask_client.cli.output import files, phrases, step_logs, terminal
from longtask_client.cli.output import tasks as shown
from longtask_crds import v1alpha1

app = typer.Typer(rich_markup_mode=None)


@app.command()
def logs(
    context: typer.Context,
    task_id: options.TaskId,
    step: options.Program = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
    attempt: Annotated[int | None, typer.Option(min=1, help="Of this attempt; the last.")] = None,
    tail: Annotated[int | None, typer.Option(min=0, help="The last lines, so many.")] = None,
    since: options.Since = None,
    timestamps: Annotated[
        bool, typer.Option("--timestamps", help="Begin each line with the time.")
    ] = False,
) -> None:
    """Print the log of a task; the end of it, if its pod is gone.

    Of a pipeline it is that of each step, with the step's name before each line. Ctrl-C leaves
    the task running.
    """
    first = None if since is None else inputs.moment(since, "--since", now=phrases.now())
    with session.of(context).open() as connection:

        def log(program: str | None) -> Iterator[str]:
            return connection.logs(
                task_id,
                step=program,
                follow=follow,
                attempt=attempt,
                tail=tail,
                since=first,
                timestamps=timestamps,
            )

        task = connection.get(task_id) if step is None else None
        if task is not None and step_logs.is_pipeline(task):
            looks = connection.follow(task_id) if follow else iter([task])
            step_logs.show(looks, log)
            return
        for piece in log(step):
            terminal.show(piece, end="")


@app.command()
def result(
    context: typer.Context,
    task_id: options.TaskId,
    step: options.Step = None,
    file: Annotated[
        Path | None, typer.Option("--output-file", "-o", metavar="FILE", help="Write it there.")
    ] = None,
) -> None:
    """Print what a finished task brought, as it is: JSON mostly."""
    with session.of(context).open() as connection:
        pieces = connection.result_content(task_id, step=step)
        first = next(pieces, b"")
        # Null is also what a task without success has.
        is_open = step is None and first == b"null"
        task = connection.get(task_id) if is_open else None
        if task is not None and task.phase is not v1alpha1.Phase.SUCCEEDED:
            terminal.say(shown.ending(task))
            raise typer.Exit(outcomes.of_phase(task.phase))
        whole = itertools.chain([first], pieces)
        if file is None or file == Path("-"):
            terminal.pour(whole)
        else:
            terminal.say(f"{file}: {files.write(file, whole)} bytes")
