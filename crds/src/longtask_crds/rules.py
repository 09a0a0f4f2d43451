"""The rules that need the type or the installation.

The API asks them at the door, the operator again for what came by `kubectl`. Needs the extra
`rules` (jsonschema). What a resource's own schema can say stands in the CRD.
"""

import dataclasses
import functools
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import referencing.exceptions
from referencing import Registry

from longtask_crds import address_guard, effective, json_values, names, v1alpha1
from longtask_crds.v1alpha1 import Reason


@dataclasses.dataclass(frozen=True)
class Violation:
    """One thing that keeps a task from ever running."""

    pointer: str  #: where in the spec, as a JSON Pointer
    message: str
    reason: Reason


def violations(
    spec: v1alpha1.LongTaskSpec,
    task_type: v1alpha1.LongTaskTypeSpec | None,
    installation: effective.Installation,
    guard: address_guard.Guard,
) -> list[Violation]:
    """Return everything that is wrong with a spec whose type, if it names one, is given."""
    found = []
    for field in ("steps", "notify"):
        if getattr(spec, field):
            message = f"{field} are not supported by this version"
            found.append(Violation(f"/{field}", message, Reason.NOT_SUPPORTED))
    value = {} if spec.input is None else spec.input
    try:
        size = json_values.size(value)
    except RecursionError:
        return [*found, Violation("/input", "nested too deeply", Reason.INVALID_INPUT)]
    if size > names.INPUT_MAX_BYTES:
        message = f"larger than {names.INPUT_MAX_BYTES} bytes of compact JSON"
        found.append(Violation("/input", message, Reason.INVALID_INPUT))
    elif task_type is not None and task_type.input_schema is not None:
        found += _against_schema(value, task_type.input_schema)
    if spec.callback is not None:
        try:
            guard.check_url(spec.callback.url)
        except address_guard.Refused as refused:
            found.append(Violation("/callback/url", str(refused), Reason.CALLBACK_REFUSED))
    if spec.resources is not None:
        found += [
            Violation(
                f"/resources{pointer}", "more than one task may have", Reason.RESOURCES_EXCEEDED
            )
            for pointer in effective.over_cap(spec.resources, installation.resource_cap)
        ]
    return found


def _against_schema(value: Any, schema: dict[str, Any]) -> list[Violation]:
    try:
        validator = _validator(json.dumps(schema))
        return [
            Violation(
                json_values.pointer("input", *path),
                error.message[: names.MESSAGE_MAX],
                Reason.INVALID_INPUT,
            )
            for error in sorted(validator.iter_errors(value), key=lambda e: list(map(str, e.path)))
            for path in _places(error)
        ]
    except (
        jsonschema.SchemaError,
        referencing.exceptions.Unresolvable,
        re.error,  # a pattern that Python cannot read
        RecursionError,  # a schema that refers to itself
    ) as error:
        message = f"the type's inputSchema is unusable: {error}"[: names.MESSAGE_MAX]
        return [Violation("/input", message, Reason.INVALID_INPUT)]


@functools.lru_cache(maxsize=256)
def _validator(schema_text: str) -> Any:
    """Return what checks against the schema: building it costs more than all else at the door."""
    schema = json.loads(schema_text)
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    kind.check_schema(schema)
    # An empty registry: a remote $ref is an error, never a request.
    return kind(schema, registry=Registry())


def _places(error: jsonschema.ValidationError) -> Iterator[list[str | int]]:
    """Name the field itself where the rule stands at the object around it."""
    path = list(error.absolute_path)
    schema: Any = error.schema
    instance: Any = error.instance
    rule: Any = error.validator_value
    if error.validator == "required":
        # One error for each missing field, told apart by their messages alone.
        yield from ([*path, f] for f in rule if error.message.startswith(f"{f!r} is a required"))
    elif error.validator == "additionalProperties" and rule is False:
        known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        for field in instance:
            if field not in known and not any(re.search(p, field) for p in patterns):
                yield [*path, field]
    else:
        yield path
