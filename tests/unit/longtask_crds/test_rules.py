"""What the API refuses at the door and the operator refuses again."""

from typing import Any

import pytest

from longtask_crds import address_guard, effective, rules, v1alpha1
from longtask_crds.v1alpha1 import Reason

INSTALLATION = effective.Installation(
    "runner:1", v1alpha1.Resources(), v1alpha1.ResourceAmounts(memory="1Gi")
)
GUARD = address_guard.Guard.from_lists(allow=["10.1.2.3"])
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["n"],
    "properties": {"n": {"type": "integer", "maximum": 10}, "a/b": {"items": {"type": "string"}}},
}


def violations(spec: dict[str, Any], schema: dict[str, Any] | None = None) -> list[Any]:
    kind = v1alpha1.LongTaskTypeSpec(input_schema=schema)
    parsed = v1alpha1.LongTaskSpec.model_validate({"type": "t", **spec})
    found = rules.violations(parsed, kind, INSTALLATION, GUARD)
    return [(violation.pointer, violation.reason) for violation in found]


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
    ],
)
def test_an_input_against_its_schema(given: Any, expected: list[Any]) -> None:
    assert violations({"input": given}, SCHEMA) == expected


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"type": "nonsense"}, id="no-schema-at-all"),
        pytest.param(
            {"$ref": "https://example.com/schema"}, id="a-remote-reference-is-not-fetched"
        ),
        pytest.param({"$ref": "#/nowhere"}, id="a-reference-to-nothing"),
        pytest.param({"properties": {"n": {"pattern": "("}}}, id="a-broken-pattern"),
        pytest.param({"$ref": "#"}, id="a-schema-that-is-itself"),
    ],
)
def test_an_unusable_schema_refuses_and_does_not_raise(schema: dict[str, Any]) -> None:
    assert violations({"input": {"n": "x"}}, schema) == [("/input", Reason.INVALID_INPUT)]


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
            {"notify": [{"email": "a@example.com"}]},
            [("/notify", Reason.NOT_SUPPORTED)],
            id="mail-is-not-sent-yet",
        ),
    ],
)
def test_the_other_rules(spec: dict[str, Any], expected: list[Any]) -> None:
    assert violations(spec) == expected


def test_steps_are_refused_until_they_are_run() -> None:
    spec = v1alpha1.LongTaskSpec.model_validate({"steps": [{"name": "a", "type": "sleep"}]})
    (found,) = rules.violations(spec, None, INSTALLATION, GUARD)
    assert (found.pointer, found.reason) == ("/steps", Reason.NOT_SUPPORTED)
