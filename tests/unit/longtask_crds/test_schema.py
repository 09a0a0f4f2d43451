"""From pydantic's JSON Schema to a structural one, row by row."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from longtask_crds import v1alpha1
from longtask_crds.definitions import custom_resources, schema
from longtask_crds.definitions.facts import CrdFacts


class Inner(v1alpha1.Model):
    """An inner part."""

    word: str
    """A word
    over two lines."""


class Everything(v1alpha1.Model):
    inner: Inner
    """The use's own description."""
    plain_inner: Inner
    maybe: Annotated[str, Field(max_length=3)] | None = None
    constant: Literal["only"] = "only"
    above: Annotated[int, Field(gt=1)]
    below: Annotated[float, Field(lt=2.5)]
    free: dict[str, Any] = Field(default_factory=dict)
    typed: dict[str, int] = Field(default_factory=dict)
    unique: Annotated[list[str], Field(json_schema_extra={"uniqueItems": True})]
    anything: v1alpha1.Json = None
    amount: v1alpha1.Quantity | None = None


PROPERTIES = schema.structural_schema(Everything)["properties"]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        pytest.param(
            "inner",
            {
                "type": "object",
                "description": "The use's own description.",
                "required": ["word"],
                "properties": {"word": {"type": "string", "description": "A word over two lines."}},
            },
            id="a-reference-is-inlined-and-the-use-describes-it",
        ),
        pytest.param(
            "maybe",
            {"type": "string", "maxLength": 3},
            id="an-optional-field-is-simply-not-required",
        ),
        pytest.param("constant", {"type": "string", "enum": ["only"]}, id="a-constant-is-an-enum"),
        pytest.param(
            "above",
            {"type": "integer", "minimum": 1, "exclusiveMinimum": True},
            id="an-exclusive-minimum-is-a-flag",
        ),
        pytest.param(
            "below",
            {"type": "number", "maximum": 2.5, "exclusiveMaximum": True},
            id="an-exclusive-maximum-is-a-flag",
        ),
        pytest.param(
            "free",
            {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            id="a-free-object-keeps-unknown-fields",
        ),
        pytest.param(
            "typed",
            {"type": "object", "additionalProperties": {"type": "integer"}},
            id="a-typed-object-says-the-type-of-its-values",
        ),
        pytest.param(
            "unique",
            {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            id="unique-items-are-a-set",
        ),
        pytest.param(
            "anything",
            {"x-kubernetes-preserve-unknown-fields": True},
            id="any-json-has-no-type",
        ),
    ],
)
def test_a_field_becomes(field: str, expected: dict[str, Any]) -> None:
    assert PROPERTIES[field] == expected


def test_a_part_describes_itself_where_its_use_does_not() -> None:
    assert PROPERTIES["plainInner"]["description"] == "An inner part."


def test_an_amount_is_a_number_or_a_string() -> None:
    assert PROPERTIES["amount"]["x-kubernetes-int-or-string"] is True


class Tree(v1alpha1.Model):
    children: "list[Tree]" = Field(default_factory=list)


class Union(v1alpha1.Model):
    either: int | str


class Pair(v1alpha1.Model):
    pair: tuple[int, str]


@pytest.mark.parametrize("model", [Tree, Union, Pair])
def test_what_cannot_be_structural_is_an_error(model: type[v1alpha1.Model]) -> None:
    with pytest.raises(schema.NotStructural):
        schema.structural_schema(model)


def walk(node: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Return every named field below a schema."""
    found = []
    for name, child in node.get("properties", {}).items():
        found += [(f"{path}.{name}", child), *walk(child, f"{path}.{name}")]
    for part in ("items", "additionalProperties"):
        if isinstance(node.get(part), dict):
            found += walk(node[part], path + "[]")
    return found


def fields(facts: CrdFacts, part: str) -> list[tuple[str, dict[str, Any]]]:
    crd = custom_resources.custom_resource_definition(facts)
    version = crd["spec"]["versions"][0]
    return walk(version["schema"]["openAPIV3Schema"]["properties"][part])


KINDS = pytest.mark.parametrize("facts", custom_resources.ALL, ids=lambda facts: facts.kind)


@KINDS
@pytest.mark.parametrize("part", ["spec", "status"])
def test_every_field_is_described(facts: CrdFacts, part: str) -> None:
    assert [path for path, node in fields(facts, part) if not node.get("description")] == []


@KINDS
@pytest.mark.parametrize("part", ["spec", "status"])
def test_no_field_names_a_namespace(facts: CrdFacts, part: str) -> None:
    assert [path for path, _ in fields(facts, part) if "namespace" in path.lower()] == []


@KINDS
def test_every_string_and_list_of_a_spec_is_bounded(facts: CrdFacts) -> None:
    unbounded = [
        path
        for path, node in fields(facts, "spec")
        if (node.get("type") == "string" and not node.keys() & {"maxLength", "enum"})
        or (node.get("type") == "array" and "maxItems" not in node)
    ]
    assert unbounded == []


@KINDS
def test_nothing_has_a_default_but_the_phase(facts: CrdFacts) -> None:
    # A default in the spec would be written into each object, and a type's own would never win.
    assert [path for path, node in fields(facts, "spec") if "default" in node] == []


@KINDS
def test_a_kind_is_in_a_category_that_is_no_plural(facts: CrdFacts) -> None:
    crd = custom_resources.custom_resource_definition(facts)
    plurals = {kind.plural for kind in custom_resources.ALL}
    assert not plurals & set(crd["spec"]["names"]["categories"])
