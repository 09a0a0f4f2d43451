"""Options and arguments that several commands have."""

from typing import Annotated

import typer

from longtask_client.cli import completion
from longtask_client.cli.output import forms

TaskId = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="The task's id.", show_default=False, autocompletion=completion.tasks
    ),
]
Output = Annotated[
    forms.Form,
    typer.Option(
        "--output",
        "-o",
        parser=forms.read,
        metavar="FORM",
        help=f"What to print: {forms.EVERY}.",
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the end; print the result.")]
Watch = Annotated[
    bool, typer.Option("--watch", "-w", help="Go on, and print what changes; Ctrl-C ends it.")
]
Timeout = Annotated[
    float | None, typer.Option(min=0, metavar="SECONDS", help="Wait no longer; the task goes on.")
]
Since = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="From then on: 2h or 1d ago, or 2026-01-02T03:04:05Z."),
]
Phases = Annotated[
    list[str] | None, typer.Option("--phase", metavar="PHASE", help="In this phase; repeatable.")
]
InQueue = Annotated[
    str | None, typer.Option("--queue", help="In this queue.", autocompletion=completion.queues)
]
OfType = Annotated[
    str | None, typer.Option("--type", help="Of this type.", autocompletion=completion.types)
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", "-l", metavar="KEY=VALUE", help="With this label; repeatable."),
]
Step = Annotated[str | None, typer.Option(metavar="STEP", help="Of this step of a pipeline.")]
Program = Annotated[
    str | None,
    typer.Option("--step", metavar="STEP", help="Of this step; STEP.INDEX for one of its items."),
]
