"""Types of tasks."""

from typing import Annotated, Any

from pydantic import BeforeValidator

from longtask_crds import json_values, v1alpha1

#: Inputs are held against none that is deeper, and an answer has room for 255 levels.
_DEEPEST = 128


def _as_shown(schema: Any) -> Any:
    """Return a schema, or in place of one that is too deep another that no input fits either."""
    if any(flaw == json_values.TOO_DEEP for _, flaw in json_values.flaws(schema, depth=_DEEPEST)):
        return {"not": {}, "description": "This schema is nested too deeply to be used."}
    return schema


class TypeView(v1alpha1.Model):
    """A type as the API shows it."""

    name: str
    """Its name."""

    description: str | None
    """What a task of this type does."""

    input_schema: Annotated[dict[str, Any] | None, BeforeValidator(_as_shown)]
    """The JSON Schema of the input."""

    defaults: v1alpha1.TypeDefaults | None
    """What a task gets where it says nothing."""


class TypeList(v1alpha1.Model):
    """All types."""

    items: list[TypeView]
    """The types, by name."""

    next_cursor: str | None = None
    """Always null: there are few."""
