"""What the API server takes, the models read: nobody can make a resource that is passed over.

The definitions are read as the API server reads them, so whatever fits them is tried, the rules in
CEL aside, which only refuse more. Where Go and Python differ, Go's word counts: `date-time` is
looser there, and a character is white space only if it is ASCII.
"""

import datetime
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longtask_crds import v1alpha1
from longtask_crds.definitions import custom_resources
from longtask_crds.definitions.facts import CrdFacts

KINDS = pytest.mark.parametrize("facts", custom_resources.ALL, ids=lambda facts: facts.kind)
#: ASCII, all that is white space somewhere, and some that are more than one byte or one unit.
ALPHABET = (
    "".join(map(chr, range(128))) + "\x85\xa0\u1680\u2003\u2028\u3000\u200b\ufeff\u0130ßé\ufffd😀"
)
TEXT = st.text(ALPHABET, max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=3,
)
INT64 = 2**63 - 1
#: The API server looks at the day and at the form of the rest: never at the zone, nor at what
#: comes after a second T.
TIMES = st.builds(
    lambda day, time, fraction, zone: f"{day}{time}{fraction}{zone}",
    st.sampled_from(["0000-01-01", "0001-01-01", "1970-01-01", "2024-02-29", "9999-12-31"]),
    st.sampled_from(["T00:00:00", "t23:59:59"]),
    st.sampled_from(["", ".5", ".123456789", ",25", "x1"]),
    st.sampled_from(["Z", "z", "+00:00", "-23:59", "+24:00", "+99:99", "ZTx"]),
)
IS_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def is_day(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text[:10])
    except ValueError:
        return False
    return True


def strings(node: dict[str, Any]) -> st.SearchStrategy[str]:
    least, most = node.get("minLength", 0), node.get("maxLength", 2**20)
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if "pattern" in node:
        found = st.from_regex(go(node["pattern"]), alphabet=ALPHABET)
        if node.get("format") == "date-time":
            found = found.filter(is_day)
    elif node.get("format") == "date-time":
        found = TIMES
    else:
        found = TEXT | st.sampled_from(["x" * min(most, 40), "😀" * min(most, 40)])
    return found.filter(lambda text: least <= len(text) <= most)


def go(pattern: str) -> str:
    """Return a pattern of Go as Python says it."""
    assert pattern.endswith("$")
    return pattern[:-1].replace(r"\s", r"\t\n\f\r ") + r"\Z"


def numbers(node: dict[str, Any], limit: int) -> tuple[int, int]:
    least, most = node.get("minimum", -limit), node.get("maximum", limit)
    return least + node.get("exclusiveMinimum", False), most - node.get("exclusiveMaximum", False)


def objects(node: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    if isinstance(node.get("additionalProperties"), dict):
        most = min(3, node.get("maxProperties", 3))
        return st.dictionaries(TEXT, values(node["additionalProperties"]), max_size=most)
    if "properties" not in node:
        return st.dictionaries(TEXT, JSON, max_size=2)
    fields = {name: values(inner) for name, inner in node["properties"].items()}
    wanted = {name: fields[name] for name in node.get("required", ())}
    # No model looks at two fields at once: one beside the required ones is as good as all.
    more = [wanted | {name: field} for name, field in fields.items() if name not in wanted]
    return st.one_of([st.fixed_dictionaries(chosen) for chosen in (wanted, *more)])


def values(node: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return what the API server takes in the place of a schema."""
    if "x-kubernetes-int-or-string" in node:
        return strings(node) | st.integers(node["minimum"], INT64)
    match node.get("type"):
        case "string":
            return strings(node)
        case "integer":
            return st.integers(*numbers(node, INT64))
        case "number":
            return st.floats(*numbers(node, 2**1000), allow_nan=False)
        case "boolean":
            return st.booleans()
        case "array":
            most = min(2, node.get("maxItems", 2))
            return st.lists(values(node["items"]), min_size=node.get("minItems", 0), max_size=most)
        case "object":
            return objects(node)
        case None:
            return JSON
        case unexpected:
            raise AssertionError(unexpected)


def parts(facts: CrdFacts) -> dict[str, Any]:
    crd = custom_resources.custom_resource_definition(facts)
    properties: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return properties["properties"]


MADE = {
    facts.kind: {part: values(parts(facts)[part]) for part in ("spec", "status")}
    for facts in custom_resources.ALL
}


@KINDS
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_fits_a_definition_can_be_read(facts: CrdFacts, data: st.DataObject) -> None:
    drawn = {part: data.draw(values) for part, values in MADE[facts.kind].items()}
    raw = {"metadata": {"name": "x"}, **drawn}
    resource = facts.model.model_validate(raw)
    assert isinstance(resource, v1alpha1.Resource)
    resource.to_json()


def patterns(node: Any) -> set[str]:
    if isinstance(node, list):
        return {found for inner in node for found in patterns(inner)}
    if not isinstance(node, dict):
        return set()
    own = {node["pattern"]} if isinstance(node.get("pattern"), str) else set()
    return own.union(*(patterns(inner) for inner in node.values()))


@KINDS
def test_no_pattern_means_more_to_go_than_to_us(facts: CrdFacts) -> None:
    # Of \s, \w, \d and \b Go means ASCII, and what reads our models means Unicode.
    found = patterns(custom_resources.custom_resource_definition(facts))
    assert found
    assert {pattern for pattern in found if re.search(r"\\[swdbSWDB]|\(\?", pattern)} == set()
