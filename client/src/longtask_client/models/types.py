"""Types of tasks."""

from typing import Any

from longtask_crds import v1alpha1


class TypeView(v1alpha1.Model):
    """A type as the API shows it."""

    name: str
    """Its name."""

    description: str | None
    """What a task of this type does."""

    input_schema: dict[str, Any] | None
    """The JSON Schema of the input."""

    defaults: v1alpha1.TypeDefaults | None
    """What a task gets where it says nothing."""


class TypeList(v1alpha1.Model):
    """All types."""

    items: list[TypeView]
    """The types, by name."""

    next_cursor: str | None = None
    """Always null: there are few."""
