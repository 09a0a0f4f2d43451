"""From a pydantic model to a structural OpenAPI schema, as a CustomResourceDefinition wants it."""

from typing import Any

from pydantic import BaseModel

_DROPPED = {"title", "examples", "default", "additionalProperties"}


class NotStructural(TypeError):
    """The model cannot be said as a structural schema."""


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the structural schema of a model, by its aliases.

    Raises:
        NotStructural: The model is recursive, or has a union other than `X | None`.
    """
    whole = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(whole, whole.get("$defs", {}), ())


def _convert(node: dict[str, Any], defs: dict[str, Any], inside: tuple[str, ...]) -> dict[str, Any]:
    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[-1]
        if name in inside:
            raise NotStructural(f"{name} is recursive")
        target = _convert(defs[name], defs, (*inside, name))
        # What is said where a model is used speaks of the use, so it wins over the model's own.
        return target | {k: " ".join(v.split()) for k, v in node.items() if k == "description"}
    if "x-kubernetes-int-or-string" in node:
        return {k: v for k, v in node.items() if k not in _DROPPED}
    if "anyOf" in node:
        variants = [v for v in node["anyOf"] if v.get("type") != "null"]
        if len(variants) != 1:
            raise NotStructural(f"a union of {len(variants)} types: {node}")
        rest = {k: v for k, v in node.items() if k not in {"anyOf", *_DROPPED}}
        return _convert(variants[0], defs, inside) | rest
    if "allOf" in node or "oneOf" in node or "prefixItems" in node:
        raise NotStructural(f"a combination: {node}")
    out = {k: v for k, v in node.items() if k not in {*_DROPPED, "$defs"}}
    if "description" in out:
        # A docstring's line breaks are the source's, not the reader's.
        out["description"] = " ".join(out["description"].split())
    if "const" in out:
        out["enum"] = [out.pop("const")]
    for limit in ("Minimum", "Maximum"):
        if (bound := out.pop(f"exclusive{limit}", None)) is not None:
            out[limit.lower()], out[f"exclusive{limit}"] = bound, True
    if out.pop("uniqueItems", False):
        out["x-kubernetes-list-type"] = "set"
    if "properties" in out:
        out["properties"] = {
            name: _convert(sub, defs, inside) for name, sub in out["properties"].items()
        }
    if "items" in out:
        out["items"] = _convert(out["items"], defs, inside)
    match node.get("additionalProperties"):
        case True:
            out["x-kubernetes-preserve-unknown-fields"] = True
        case dict() as values:
            out["additionalProperties"] = _convert(values, defs, inside)
        case _:
            pass
    return out
