"""From the JSON Schema of a type's input to the fields of a form. Pure.

A field is named by the JSON Pointer of its value in the order, which is how the API names what is
wrong with it. What a field cannot say well is a box for JSON.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Final

from longtask_crds.json_values import pointer

#: So many choices are seen at once; of more one chooses from a list all the same.
_MOST_CHOICES: Final = 100
#: A text that may be longer gets a box.
_LINE: Final = 200
#: Objects in objects are groups of fields, and deeper ones JSON.
_DEEPEST: Final = 2
_INPUTS: Final = {
    "date-time": "datetime-local",
    "date": "date",
    "email": "email",
    "uri": "url",
    "password": "password",
}


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a form, or a group of them."""

    pointer: str
    name: str
    kind: str  #: text, int, number, bool, choice, json or group
    hint: str = ""
    is_required: bool = False
    value: str = ""  #: what stands in it at first
    usual: str = ""  #: what is taken if nothing stands in it
    choices: tuple[str, ...] = ()  #: each as JSON
    input_type: str = "text"
    is_long: bool = False
    least: float | None = None
    most: float | None = None
    step: str = "any"
    longest: int | None = None
    fields: tuple["Field", ...] = ()


def of_schema(
    schema: Mapping[str, Any] | None, given: Any = None, *, at: tuple[str, ...] = ("input",)
) -> tuple[Field, ...]:
    """Return the fields for an input of that schema; where it says little, one box for JSON.

    Args:
        schema: The schema; None lets the input be anything.
        given: The input to begin with.
        at: Where the input stands in what is sent.
    """
    if not schema or not _is_form(schema):
        return (_json(at, "input", schema or {}, is_required=False, given=given),)
    return _of_object(schema, at, given if isinstance(given, dict) else {}, 1)


def _is_form(schema: Mapping[str, Any]) -> bool:
    """Tell whether a schema says by itself which fields there are."""
    mixed = {"anyOf", "oneOf", "allOf", "if", "$ref", "patternProperties"} & schema.keys()
    return schema.get("type") == "object" and bool(_properties(schema)) and not mixed


def _properties(schema: Mapping[str, Any]) -> dict[str, Any]:
    found = schema.get("properties")
    parts = found if isinstance(found, dict) else {}
    return {name: part if isinstance(part, dict) else {} for name, part in parts.items()}


def _of_object(
    schema: Mapping[str, Any], at: tuple[str, ...], given: Mapping[str, Any], depth: int
) -> tuple[Field, ...]:
    required = schema.get("required")
    needed = required if isinstance(required, list) else []
    return tuple(
        _field((*at, name), name, part, name in needed, given, depth)
        for name, part in _properties(schema).items()
    )


def _field(
    at: tuple[str, ...],
    name: str,
    schema: Mapping[str, Any],
    is_required: bool,
    siblings: Mapping[str, Any],
    depth: int,
) -> Field:
    given = siblings.get(name)
    has, kind = name in siblings, schema.get("type")
    common: dict[str, Any] = {
        "pointer": pointer(*at),
        "name": _text(schema.get("title")) or name,
        "hint": _text(schema.get("description")),
        "is_required": is_required,
        "usual": "" if "default" not in schema else _shown(schema["default"]),
    }
    choices = schema.get("enum")
    if isinstance(choices, list) and 0 < len(choices) <= _MOST_CHOICES:
        kept = tuple(map(_compact, choices))
        return Field(kind="choice", choices=kept, value=_compact(given) if has else "", **common)
    if kind == "object" and _is_form(schema) and depth < _DEEPEST:
        inner = given if isinstance(given, dict) else {}
        return Field(kind="group", fields=_of_object(schema, at, inner, depth + 1), **common)
    if kind == "boolean" and not (has and not isinstance(given, bool)):
        return Field(kind="bool", value=_compact(given) if has else "", **common)
    if kind in ("integer", "number") and not (has and not _is_number(given)):
        return Field(
            kind="int" if kind == "integer" else "number",
            input_type="number",
            value=_compact(given) if has else "",
            least=_number(schema.get("minimum")),
            most=_number(schema.get("maximum")),
            step="1" if kind == "integer" else "any",
            **common,
        )
    if kind == "string" and not (has and not isinstance(given, str)):
        longest = schema.get("maxLength")
        length = longest if isinstance(longest, int) else None
        return Field(
            kind="text",
            input_type=_INPUTS.get(_text(schema.get("format")), "text"),
            value=given or "",
            is_long=length is not None and length > _LINE,
            longest=length,
            **common,
        )
    return dataclasses.replace(
        _json(at, name, schema, is_required=is_required, given=given, has=has), **common
    )


def _json(
    at: tuple[str, ...],
    name: str,
    schema: Mapping[str, Any],
    *,
    is_required: bool,
    given: Any,
    has: bool | None = None,
) -> Field:
    is_given = given is not None if has is None else has
    return Field(
        pointer=pointer(*at),
        name=name,
        kind="json",
        hint=_text(schema.get("description")),
        is_required=is_required,
        is_long=True,
        value=json.dumps(given, ensure_ascii=False, indent=2) if is_given else "",
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> float | None:
    return value if _is_number(value) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else _compact(value)


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
