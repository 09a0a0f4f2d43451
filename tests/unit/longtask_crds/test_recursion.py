"""The limit of recursion is high enough for what the API server stores, and no higher."""

import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
import json, sys
from longtask_crds import acceptance, address_guard, effective, names, testing, v1alpha1
sys.setrecursionlimit(names.RECURSION_LIMIT)
def deeper(levels, act):
    return act() if levels == 0 else deeper(levels - 1, act)
"""


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(
            """
            for text in ("[" * 10_000 + "]" * 10_000, '{"a":' * 10_000 + "1" + "}" * 10_000):
                deeper(300, lambda: json.dumps(json.loads(text)))
            """,
            id="json-as-deep-as-it-can-be-is-read-and-written",
        ),
        pytest.param(
            """
            nothing = effective.Installation("r", v1alpha1.Resources(), {})
            guard = address_guard.Guard()
            deep = json.loads("[" * 9_999 + "]" * 9_999)
            for schema in ({"$ref": "#"}, {"allOf": [{"$ref": "#"}]}, {"items": {"$ref": "#"}}):
                kind = v1alpha1.LongTaskTypeSpec(input_schema=schema)
                spec = v1alpha1.LongTaskSpec(type="x", input=deep)
                assert [] == acceptance.violations(
                    spec, {"x": kind}, nothing, guard, created_at=testing.NOW
                )
            """,
            id="a-schema-without-end-is-answered-and-overflows-no-stack",
        ),
    ],
)
def test_under_our_limit(code: str) -> None:
    script = PRELUDE + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
