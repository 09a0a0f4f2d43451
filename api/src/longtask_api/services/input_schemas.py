"""Checks inputs against the JSON Schemas of types. No schema is ever fetched from elsewhere."""

import re
from collections.abc import Iterator
from typing import Any, Protocol

import jsonschema
import referencing
import referencing.exceptions

from longtask_api import errors
from longtask_api.json_text import pointer
from longtask_client import models
from longtask_crds import v1alpha1

_MOST_ERRORS = 50
_LONGEST_DETAIL = 300


class _Validator(Protocol):
    def iter_errors(self, instance: Any) -> Iterator[jsonschema.ValidationError]: ...


class InputSchemas:
    """The types' validators, built once for each version of a type."""

    def __init__(self) -> None:
        self._built: dict[str, tuple[str, _Validator]] = {}

    def check(self, task_type: v1alpha1.LongTaskType, value: Any) -> list[models.ProblemError]:
        """Return what is wrong with the input; nothing if the type has no schema.

        Raises:
            Invalid: The schema itself is broken, or refers to one that is elsewhere.
        """
        if task_type.spec.input_schema is None:
            return []
        try:
            found = self._validator(task_type).iter_errors(value)
            return [
                problem
                for _, error in zip(range(_MOST_ERRORS), found, strict=False)
                for problem in _problems(error)
            ]
        except (
            jsonschema.SchemaError,
            referencing.exceptions.Unresolvable,
            re.error,
            RecursionError,
        ) as error:
            broken = models.ProblemError(
                pointer="/type",
                detail=f"the input schema of {task_type.metadata.name} is broken",
            )
            raise errors.Invalid(errors=[broken]) from error

    def _validator(self, task_type: v1alpha1.LongTaskType) -> _Validator:
        meta = task_type.metadata
        version = f"{meta.uid}/{meta.resource_version}"
        kept = self._built.get(meta.name)
        if kept is not None and kept[0] == version:
            return kept[1]
        schema = task_type.spec.input_schema or {}
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        kind.check_schema(schema)
        # An empty registry: whatever is not in the schema itself cannot be referred to.
        validator: _Validator = kind(schema, registry=referencing.Registry())
        self._built[meta.name] = (version, validator)
        return validator


def _problems(error: jsonschema.ValidationError) -> Iterator[models.ProblemError]:
    """Name the field itself where the rule stands at the object around it."""
    detail = error.message[:_LONGEST_DETAIL]
    path = ("input", *error.absolute_path)
    rule: Any = error.validator_value
    if error.validator == "required":
        for name in rule:
            if error.message.startswith(f"{name!r} is a required"):
                yield models.ProblemError(pointer=pointer(*path, name), detail=detail)
    elif error.validator == "additionalProperties" and rule is False:
        schema: Any = error.schema
        instance: Any = error.instance
        known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        for name in instance:
            if name not in known and not any(re.search(p, name) for p in patterns):
                yield models.ProblemError(pointer=pointer(*path, name), detail=detail)
    else:
        yield models.ProblemError(pointer=pointer(*path), detail=detail)
