"""Types, as text."""

import json
from datetime import datetime
from typing import Final

from longtask_client import models
from longtask_client.cli.output import terminal
from longtask_client.cli.output.tables import Column, Table

TYPES: Final[Table[models.TypeView]] = Table(
    (
        Column("NAME", lambda one, _: one.name),
        Column("DESCRIPTION", lambda one, _: one.description or "-"),
        Column(
            "INPUT",
            lambda one, _: ", ".join((one.input_schema or {}).get("properties", {})) or "-",
            is_wide=True,
        ),
    )
)


def type_details(one: models.TypeView, _: datetime) -> str:
    """Return all about one type."""
    schema = json.dumps(one.input_schema, ensure_ascii=False, indent=2)
    return f"{one.name}: {terminal.plain(one.description or '-')}\nInput: {schema}"
