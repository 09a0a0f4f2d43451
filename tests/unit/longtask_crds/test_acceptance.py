"""What the API refuses at the door and the operator refuses again."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

import spec_corpus
from longtask_crds import acceptance, address_guard, effective, json_values, names, v1alpha1
from longtask_crds.pipeline import checks
from longtask_crds.testing import NOW
from longtask_crds.v1alpha1 import Reason

INSTALLATION = effective.Installation(
    "runner:1", v1alpha1.Resources(), {"memory": "1Gi", "example.com/widget": "2"}
)
GUARD = address_guard.Guard.from_lists(allow=["10.1.2.3"])
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["n"],
    "properties": {"n": {"type": "integer", "maximum": 10}, "a/b": {"items": {"type": "string"}}},
}


def broken(spec: dict[str, Any], model: Any) -> list[str]:
    """Return where a spec breaks the contract by itself, by its schema or by a rule."""
    try:
        parsed = model.model_validate(spec)
    except ValidationError as error:
        return [json_values.pointer(*found["loc"]) for found in error.errors()]
    return [breach.pointer for breach in acceptance.breaches(parsed)]


def of_both(tasks: list[Any], types: list[Any]) -> list[Any]:
    """Return cases for specs of tasks and of types, each with its model."""
    return [
        pytest.param(model, *case.values, id=f"{kind}-{case.id}")
        for kind, model, cases in (
            ("task", v1alpha1.LongTaskSpec, tasks),
            ("type", v1alpha1.LongTaskTypeSpec, types),
        )
        for case in cases
    ]


BROKEN = of_both(spec_corpus.BROKEN, spec_corpus.BROKEN_TYPES)


@pytest.mark.parametrize(("model", "spec"), of_both(spec_corpus.GOOD, spec_corpus.GOOD_TYPES))
def test_a_good_spec_breaks_nothing(model: Any, spec: dict[str, Any]) -> None:
    assert broken(spec, model) == []


@pytest.mark.parametrize(("model", "case"), BROKEN)
def test_a_broken_spec_is_told_where(model: Any, case: spec_corpus.Broken) -> None:
    assert broken(case.spec, model) == [case.pointer]


@pytest.mark.parametrize(("model", "case"), BROKEN)
def test_a_rule_says_the_same_in_both_tongues(model: Any, case: spec_corpus.Broken) -> None:
    try:
        parsed = model.model_validate(case.spec)
    except ValidationError:
        # The field's own pattern: it stands once.
        assert case.told in ("spec.container.image", "spec.notBefore", "mountPath")
    else:
        (breach,) = acceptance.breaches(parsed)
        assert case.told in breach.message


def test_no_more_is_told_than_a_reader_can_use() -> None:
    wrong = {"n": [2] * 1_000} | {f"x{number}": 1 for number in range(1_000)}
    schema = {"properties": {"n": {"items": {"type": "string"}}}, "additionalProperties": False}
    assert len(violations({"input": wrong}, schema)) == acceptance.MAX_FINDINGS
    variables = [{"name": f"LONGTASK_{number}"} for number in range(64)]
    spec = v1alpha1.LongTaskSpec.model_validate({"container": {"image": "a", "env": variables}})
    assert len(acceptance.breaches(spec)) == acceptance.MAX_FINDINGS


def found_in(spec: dict[str, Any], schema: dict[str, Any] | None) -> list[acceptance.Violation]:
    kind = v1alpha1.LongTaskTypeSpec(input_schema=schema)
    parsed = v1alpha1.LongTaskSpec.model_validate({"type": "t", **spec})
    return acceptance.violations(parsed, {"t": kind}, INSTALLATION, GUARD, created_at=NOW)


def violations(spec: dict[str, Any], schema: dict[str, Any] | None = None) -> list[Any]:
    return [(violation.pointer, violation.reason) for violation in found_in(spec, schema)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"n": 1}, [], id="a-good-input-passes"),
        pytest.param(None, [("/input/n", Reason.INVALID_INPUT)], id="no-input-is-an-empty-object"),
        pytest.param({"n": 11}, [("/input/n", Reason.INVALID_INPUT)], id="a-field-is-named"),
        pytest.param(
            {"n": 1, "a/b": ["x", 2]},
            [("/input/a~1b/1", Reason.INVALID_INPUT)],
            id="a-pointer-escapes-its-slashes",
        ),
        pytest.param(
            {"n": 1, "m": 2}, [("/input/m", Reason.INVALID_INPUT)], id="a-stranger-is-named"
        ),
        pytest.param("x" * 70_000, [("/input", Reason.INVALID_INPUT)], id="too-large-is-not-read"),
        pytest.param(
            ["x" * 65_532], [("/input", Reason.INVALID_INPUT)], id="as-large-as-may-be-is-read"
        ),
    ],
)
def test_an_input_against_its_schema(given: Any, expected: list[Any]) -> None:
    assert violations({"input": given}, SCHEMA) == expected


CANNOT_BE_USED = "inputSchema of type t cannot be used: "


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        pytest.param({"type": "nonsense"}, "/type: ", id="a-type-that-there-is-not"),
        pytest.param({"properties": {"n": {"type": 5}}}, "/properties/n/type: ", id="nor-a-number"),
        pytest.param({"properties": 5}, "/properties: ", id="no-schema-at-all"),
        pytest.param(
            {"$ref": "https://example.com/schema"}, "Resource 'https", id="a-remote-reference"
        ),
        pytest.param({"$ref": "file:///etc/hostname"}, "Resource 'file", id="nor-to-a-file"),
        pytest.param({"$ref": "#/nowhere"}, "Pointer '/nowhere'", id="a-reference-to-nothing"),
        pytest.param({"$ref": "#/allOf/x", "allOf": [{}]}, "Failed to", id="into-a-list-by-a-name"),
        pytest.param({"$ref": "#/const", "const": 5}, "/const: ", id="to-what-is-no-schema"),
        pytest.param({"$dynamicRef": "#x"}, "Anchor 'x'", id="to-an-anchor-that-is-not-there"),
        pytest.param({"$id": "http://[x"}, "Invalid URI", id="an-address-that-is-none"),
        pytest.param(
            {"$defs": {"a": {"$id": "http://[x"}}}, "Invalid URI", id="nor-one-further-inside"
        ),
        pytest.param({"$schema": 5}, "/$schema: ", id="a-dialect-that-is-none"),
        pytest.param({"$schema": "http://a.test/"}, "Unknown meta", id="a-dialect-nobody-knows"),
        pytest.param({"multipleOf": 0}, "/multipleOf: ", id="multiples-of-nothing"),
        pytest.param({"pattern": "a{9999999999}"}, "/pattern: ", id="a-pattern-beyond-measure"),
        pytest.param({"pattern": "^(?=a)b"}, "/pattern: ", id="a-pattern-that-looks-ahead"),
        pytest.param(
            {"pattern": "(a{0,1000}){0,1000}"}, "/pattern: ", id="a-pattern-too-large-to-keep"
        ),
        pytest.param(
            {"properties": {"a/b": {"pattern": "("}}},
            '/properties/a~1b/pattern: "(" is not a "regex"',
            id="a-broken-pattern",
        ),
        pytest.param({"patternProperties": {"(": {}}}, "/patternProperties/(: ", id="of-a-name"),
        pytest.param({"properties": {"\ud800": {}}}, "Invalid string", id="half-a-character"),
        pytest.param(json.loads('{"not":' * 900 + "{}" + "}" * 900), "Invalid", id="too-deep"),
        pytest.param({"$ref": "#/" + "z" * 2000}, "Pointer '/zzz", id="at-length"),
    ],
)
def test_a_schema_that_cannot_be_used_refuses_with_its_field(
    schema: dict[str, Any], told: str
) -> None:
    (found,) = found_in({"input": {"n": "x"}}, schema)
    assert (found.pointer, found.reason) == ("/input", Reason.INVALID_INPUT)
    assert found.message.startswith(CANNOT_BE_USED + told)
    assert len(found.message) <= names.MESSAGE_MAX
    of_type = acceptance.unusable(v1alpha1.LongTaskTypeSpec(input_schema=schema))
    assert of_type is not None
    assert (of_type.pointer, of_type.reason) == ("/inputSchema", Reason.INVALID_SCHEMA)
    assert of_type.message.startswith(f"inputSchema cannot be used: {told}")
    assert len(of_type.message) <= names.MESSAGE_MAX


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param(None, id="none"),
        pytest.param({}, id="an-empty-one"),
        pytest.param(SCHEMA, id="one-that-no-empty-input-fits"),
        pytest.param({"not": {}}, id="one-that-no-input-fits"),
    ],
)
def test_a_schema_that_refuses_inputs_is_no_flaw_of_the_type(schema: dict[str, Any] | None) -> None:
    assert acceptance.unusable(v1alpha1.LongTaskTypeSpec(input_schema=schema)) is None


@pytest.mark.parametrize(
    ("schema", "given", "fits"),
    [
        pytest.param({"multipleOf": 0.1}, 10**400, True, id="a-number-beyond-floats"),
        pytest.param({"pattern": "^(a+)+$"}, "a" * 60_000, True, id="a-pattern-that-nests"),
        pytest.param({"pattern": "^(a+)+$"}, "a" * 60_000 + "b", False, id="that-does-not-match"),
        pytest.param({"pattern": "^[0-9]+$"}, "1\n", False, id="an-end-is-the-end"),
        pytest.param({"$ref": "#"}, {"n": "x"}, True, id="a-schema-that-is-itself"),
        pytest.param({"uniqueItems": True}, [{"a": n} for n in range(5900)], True, id="thousands"),
        pytest.param({}, "\ud800", False, id="half-a-character"),
    ],
)
def test_an_odd_input_is_answered(schema: dict[str, Any], given: Any, fits: bool) -> None:
    assert violations({"input": given}, schema) == (
        [] if fits else [("/input", Reason.INVALID_INPUT)]
    )


def test_of_a_large_input_the_first_flaw_is_told() -> None:
    schema = {"items": {"type": "string"}}
    assert violations({"input": [1] * 30_000}, schema) == [("/input/0", Reason.INVALID_INPUT)]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param(
            {"callback": {"url": "https://10.0.0.1/"}},
            [("/callback/url", Reason.CALLBACK_REFUSED)],
            id="a-callback-to-the-inside",
        ),
        pytest.param(
            {"callback": {"url": "http://10.1.2.3:99/"}}, [], id="a-callback-that-is-allowed"
        ),
        pytest.param(
            {"resources": {"limits": {"memory": "2Gi"}}},
            [("/resources/limits/memory", Reason.RESOURCES_EXCEEDED)],
            id="more-memory-than-one-task-may-have",
        ),
        pytest.param(
            {"resources": {"limits": {"example.com/widget": 3}}},
            [("/resources/limits/example.com~1widget", Reason.RESOURCES_EXCEEDED)],
            id="more-widgets-than-one-task-may-have",
        ),
        pytest.param(
            {"resources": {"requests": {"nvidia.com/gpu": 1}}},
            [("/resources/requests/nvidia.com~1gpu", Reason.RESOURCES_EXCEEDED)],
            id="a-device-that-no-task-may-have",
        ),
        pytest.param(
            {"resources": {"limits": {"example.com/widget": 2}}}, [], id="as-many-widgets-as-may-be"
        ),
        pytest.param(
            {"notify": [{"email": "a@example.com"}]},
            [],
            id="mail-to-any-address",
        ),
        pytest.param({"notBefore": "2027-01-02T03:04:05Z"}, [], id="the-same-day-of-the-next-year"),
        pytest.param({"notBefore": "2027-01-03T03:04:05Z"}, [], id="a-leap-years-days-are-a-year"),
        pytest.param(
            {"notBefore": "2027-01-03T03:04:06Z"},
            [("/notBefore", Reason.NOT_BEFORE_TOO_FAR)],
            id="more-than-a-year-ahead",
        ),
    ],
)
def test_the_other_rules(spec: dict[str, Any], expected: list[Any]) -> None:
    assert violations(spec) == expected


def test_a_device_without_a_cap_is_told_in_words() -> None:
    spec = v1alpha1.LongTaskSpec(type="t", resources={"limits": {"nvidia.com/gpu": "1"}})
    kind = v1alpha1.LongTaskTypeSpec(defaults={"resources": {"limits": {"nvidia.com/gpu": "8"}}})
    (found,) = acceptance.violations(spec, {"t": kind}, INSTALLATION, GUARD, created_at=NOW)
    assert found.message == (
        "no task may ask for nvidia.com/gpu: the installation's cap does not name it"
    )
    of_type = v1alpha1.LongTaskSpec(type="t")
    assert acceptance.violations(of_type, {"t": kind}, INSTALLATION, GUARD, created_at=NOW) == []


def told_of_steps(*steps: dict[str, Any]) -> list[acceptance.Violation]:
    parsed = v1alpha1.LongTaskSpec.model_validate({"steps": list(steps)})
    types = {"t": v1alpha1.LongTaskTypeSpec(input_schema=SCHEMA)}
    return acceptance.violations(parsed, types, INSTALLATION, GUARD, created_at=NOW)


def of_steps(*steps: dict[str, Any]) -> list[tuple[str, Reason]]:
    return [(violation.pointer, violation.reason) for violation in told_of_steps(*steps)]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        pytest.param({"type": "t", "input": {"n": 1}}, [], id="a-good-input-passes"),
        pytest.param(
            {"type": "t", "input": {"n": 11}},
            [("/steps/0/input/n", Reason.INVALID_INPUT)],
            id="what-is-known-is-looked-at",
        ),
        pytest.param(
            {"type": "t", "input": {"n": {"$from": "input#/n"}}}, [], id="what-is-not-known-is-not"
        ),
        pytest.param({"type": "t", "forEach": [1]}, [], id="nor-what-items-make-of-it"),
        pytest.param(
            {"type": "u"}, [("/steps/0/type", Reason.TYPE_NOT_FOUND)], id="a-type-is-not-there"
        ),
        pytest.param(
            {"type": "t", "input": {"n": 1}, "resources": {"limits": {"memory": "2Gi"}}},
            [("/steps/0/resources/limits/memory", Reason.RESOURCES_EXCEEDED)],
            id="more-memory-than-one-task-may-have",
        ),
        pytest.param(
            {"type": "t", "input": {"n": 1}, "resources": {"limits": {"memory": "64"}}},
            [("/steps/0/resources/limits/memory", Reason.INVALID_STEPS)],
            id="less-memory-than-starts-anything",
        ),
        pytest.param(
            {"type": "t", "needs": ["b"], "input": {"n": 1}},
            [("/steps/0/needs/0", Reason.INVALID_STEPS)],
            id="a-need-of-nothing",
        ),
    ],
)
def test_steps_are_looked_at_like_tasks(step: dict[str, Any], expected: list[Any]) -> None:
    assert of_steps({"name": "a", **step}) == expected


def test_the_inputs_of_all_steps_count_together() -> None:
    half = "x" * 40_000
    steps = [{"name": name, "container": {"image": "a"}, "input": half} for name in ("a", "b")]
    assert of_steps(*steps) == [("/steps", Reason.INVALID_INPUT)]


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong = {
        "notBefore": "2028-01-02T03:04:05Z",
        "input": {"n": 11},
        "callback": {"url": "https://10.0.0.1/"},
        "resources": {"limits": {"memory": "2Gi"}},
    }
    assert [violation.pointer for violation in found_in(wrong, SCHEMA)] == [
        "/notBefore",
        "/callback/url",
        "/input/n",
        "/resources/limits/memory",
    ]


@pytest.mark.parametrize(
    ("spec", "schema", "message"),
    [
        pytest.param(
            {"notBefore": "2028-01-02T03:04:05Z"}, None, "more than a year ahead", id="too-late"
        ),
        pytest.param(
            {"input": "x" * 70_000},
            None,
            "larger than 65536 bytes of compact JSON",
            id="too-large-an-input",
        ),
        pytest.param(
            {"input": {"n": 11}}, SCHEMA, "11 is greater than the maximum of 10", id="why"
        ),
        pytest.param(
            {"callback": {"url": "https://10.0.0.1/"}},
            None,
            "it leads to an address that is not public",
            id="where-a-callback-leads",
        ),
        pytest.param(
            {"resources": {"limits": {"memory": "2Gi"}}},
            None,
            "more than one task may have",
            id="what-the-cap-names",
        ),
    ],
)
def test_what_is_wrong_is_told_in_words(
    spec: dict[str, Any], schema: dict[str, Any] | None, message: str
) -> None:
    (found,) = found_in(spec, schema)
    assert found.message == message


def raises_recursion(*_: Any) -> Any:
    raise RecursionError


def test_an_input_that_is_too_deep_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_values, "size", raises_recursion)
    (found,) = found_in({}, None)
    assert found == acceptance.Violation("/input", "nested too deeply", Reason.INVALID_INPUT)


@pytest.mark.parametrize(("module", "name"), [(json_values, "size"), (checks, "flaws")])
def test_steps_that_are_too_deep_are_told_as_such(
    module: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, raises_recursion)
    step = {"name": "a", "type": "u"}
    assert told_of_steps(step)[-1] == acceptance.Violation(
        "/steps", "nested too deeply", Reason.INVALID_INPUT
    )


def test_what_is_wrong_with_steps_is_told_in_words() -> None:
    half = "x" * 40_000
    plain = {"container": {"image": "a"}}
    small = {"limits": {"memory": "64", "cpu": "0.0001"}}
    found = told_of_steps(
        {"name": "a", **plain, "input": half},
        {"name": "b", "type": "u", "input": half},
        {"name": "c", **plain, "resources": small, "needs": ["z"]},
        {"name": "d", **plain, "resources": {"requests": {"memory": "2Gi"}}},
    )
    assert [(one.pointer, one.message, one.reason) for one in found] == [
        (
            "/steps",
            "the inputs of all steps together are larger than 65536 bytes of compact JSON",
            Reason.INVALID_INPUT,
        ),
        ("/steps/2/needs/0", "there is no step z", Reason.INVALID_STEPS),
        ("/steps/1/type", "there is no LongTaskType named u", Reason.TYPE_NOT_FOUND),
        (
            "/steps/2/resources/limits/cpu",
            "cpu: at least 1m, the smallest share there is",
            Reason.INVALID_STEPS,
        ),
        (
            "/steps/2/resources/limits/memory",
            "memory: at least 4Mi, below which no container starts",
            Reason.INVALID_STEPS,
        ),
        (
            "/steps/3/resources/requests/memory",
            "more than one task may have",
            Reason.RESOURCES_EXCEEDED,
        ),
    ]


def test_what_is_too_large_is_not_looked_at_in_steps_either() -> None:
    step = {"name": "a", "type": "t", "input": "x" * 70_000}
    assert of_steps(step) == [("/steps", Reason.INVALID_INPUT)]


def test_the_types_that_a_spec_names() -> None:
    steps = [{"name": "a", "type": "t"}, {"name": "b", "container": {"image": "a"}}]
    for spec, named in (({"type": "t"}, {"t"}), ({"steps": steps}, {"t"}), ({}, set())):
        assert acceptance.types_of(v1alpha1.LongTaskSpec.model_validate(spec)) == named


@pytest.mark.parametrize(
    ("given", "schema", "message"),
    [
        pytest.param("y" * 2000, {"const": 1}, "1 was expected", id="short"),
        pytest.param("y" * 2000, {"type": "array"}, '"' + "y" * 1023, id="what-is-wrong"),
    ],
)
def test_no_message_is_longer_than_a_status_takes(
    given: Any, schema: dict[str, Any], message: str
) -> None:
    (found,) = found_in({"input": given}, schema)
    assert found.message.startswith(message)
    assert len(found.message) <= names.MESSAGE_MAX


def test_findings_come_in_the_order_of_their_places() -> None:
    schema = {"items": {"type": "string"}, "properties": {"a": {"const": 1}, "b": {"const": 1}}}
    assert violations({"input": {"b": 2, "a": 2}}, schema) == [
        ("/input/a", Reason.INVALID_INPUT),
        ("/input/b", Reason.INVALID_INPUT),
    ]


def test_each_field_that_is_missing_is_named_and_no_other() -> None:
    schema = {"required": ["a", "b", "c"], "properties": {"d": {"required": ["e"]}}}
    assert [found.pointer for found in found_in({"input": {"b": 1, "d": {}}}, schema)] == [
        *("/input/a", "/input/c", "/input/d/e"),
    ]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        pytest.param({"additionalProperties": False}, ["/input/a", "/input/b"], id="none-is-known"),
        pytest.param(
            {"additionalProperties": False, "patternProperties": {"^a": {}}},
            ["/input/b"],
            id="one-is-known-by-its-pattern",
        ),
        pytest.param(
            {"additionalProperties": {"type": "string"}},
            ["/input/a", "/input/b"],
            id="they-are-known-and-wrong",
        ),
        pytest.param({"const": False}, ["/input"], id="the-whole-is-wrong"),
    ],
)
def test_of_strangers_in_an_input_each_is_named(
    schema: dict[str, Any], expected: list[str]
) -> None:
    found = found_in({"input": {"a": 1, "b": 2}}, schema)
    assert [violation.pointer for violation in found] == expected
