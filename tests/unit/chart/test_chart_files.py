"""What can be said of the chart without helm."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from longtask_crds import names, signing_keys, v1alpha1
from longtask_crds.definitions import generate

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "longtask"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
#: Values whose inside is Kubernetes' or the user's own.
OPAQUE = {"resources", "resourceCap", "quota"}


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict) and value and key not in OPAQUE:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def documented() -> set[str]:
    """Return the values that the README names; `.x` after `a.b` is `a.x`."""
    found = set()
    for line in (CHART / "README.md").read_text().split("## Values")[1].splitlines():
        cell = line.split("|")[1] if line.startswith("|") else line
        before = ""
        for word in re.findall(r"`([A-Za-z.]+)`", cell):
            before = before.rpartition(".")[0] + word if word.startswith(".") else word
            found.add(before)
    return found


def test_the_default_values_fit_the_schema() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(VALUES, SCHEMA)


def test_the_schema_knows_every_value() -> None:
    def known(schema: dict[str, Any], path: list[str]) -> bool:
        while "$ref" in schema:
            schema = SCHEMA["definitions"][schema["$ref"].rsplit("/", 1)[1]]
        if not path or "properties" not in schema:
            return True
        return path[0] in schema["properties"] and known(schema["properties"][path[0]], path[1:])

    assert [leaf for leaf in leaves(VALUES) if not known(SCHEMA, leaf.split("."))] == []


def test_the_readme_names_every_value() -> None:
    said = documented()
    missing = [
        leaf
        for leaf in leaves(VALUES)
        if leaf not in said and leaf.removeprefix("api.").removeprefix("operator.") not in said
    ]
    assert missing == []


def test_the_crds_are_the_generated_ones() -> None:
    found = {path.name: path.read_text() for path in (CHART / "crds").glob("*.yaml")}
    assert found == generate.files()


def test_the_built_in_types_are_copies() -> None:
    def texts(folder: Path) -> dict[str, str]:
        return {path.name: path.read_text() for path in folder.glob("*.yaml")}

    assert texts(CHART / "files" / "types") == texts(ROOT / "runner" / "types")


@pytest.mark.parametrize("path", sorted((CHART / "files" / "types").glob("*.yaml")))
def test_a_type_means_the_same_to_helm(path: Path) -> None:
    """Helm and kubectl read YAML 1.1, where a plain n or y is a boolean."""
    text = path.read_text()
    assert re.findall(r"(?mi)^\s*(?:- )?([yn])\s*:|[\[{,]\s*([yn])\s*[\]},:]", text) == []
    parsed = v1alpha1.LongTaskType.model_validate(yaml.safe_load(text) | {"status": {}})
    assert parsed.metadata.name == path.stem
    jsonschema.Draft202012Validator.check_schema(parsed.spec.input_schema or {})


@pytest.mark.parametrize(
    ("name", "file"),
    [
        (signing_keys.KEYS_SECRET, "_helpers.tpl"),
        (names.OWNER_LABEL, "admission-policy.yaml"),
        (f"{names.GROUP}/egress", "networkpolicies.yaml"),
        (names.ADMISSION_LEASE, "rbac.yaml"),
        *(
            (kind, "rbac.yaml")
            for kind in (names.LONGTASKS, names.LONGTASKQUEUES, names.LONGTASKTYPES)
        ),
        (names.LONGTASKSCHEDULES, "aggregated-roles.yaml"),
    ],
)
def test_names_of_the_contract_stand_in_the_templates(name: str, file: str) -> None:
    assert name in (CHART / "templates" / file).read_text()
