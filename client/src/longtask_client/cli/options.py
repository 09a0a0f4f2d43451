"""Options and arguments that several commands have."""

import enum
from typing import Annotated

import typer


class Format(enum.StrEnum):
    """What `-o` takes."""

    TABLE = "table"
    JSON = "json"
    NAME = "name"


TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task's id.", show_default=False)]
Output = Annotated[Format, typer.Option("--output", "-o", help="What to print.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the end; print the result.")]
Timeout = Annotated[
    float | None, typer.Option(min=0, metavar="SECONDS", help="Wait no longer; the task goes on.")
]
Since = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="From then on: 2h or 1d ago, or 2026-01-02T03:04:05Z."),
]
Step = Annotated[str | None, typer.Option(metavar="STEP", help="Of this step of a pipeline.")]
Program = Annotated[
    str | None,
    typer.Option("--step", metavar="STEP", help="Of this step; STEP.INDEX for one of its items."),
]
