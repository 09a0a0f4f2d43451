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
Timeout = Annotated[
    float | None, typer.Option(min=0, metavar="SECONDS", help="Wait no longer; the task goes on.")
]
