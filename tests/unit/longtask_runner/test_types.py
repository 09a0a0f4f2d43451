"""The LongTaskTypes of the built-in tasks fit the contract and the tasks."""

import pathlib
import tomllib

import jsonschema
import pytest
import yaml

from longtask_crds import v1alpha1
from longtask_runner.tasks import fibonacci, prime_numbers, sleep

ROOT = pathlib.Path(__file__).parents[3]
TYPES = {file.stem: yaml.safe_load(file.read_text()) for file in ROOT.glob("runner/types/*.yaml")}


def test_each_built_in_task_has_its_type() -> None:
    project = tomllib.loads((ROOT / "runner/pyproject.toml").read_text())["project"]
    assert set(TYPES) == set(project["entry-points"]["longtask.tasks"])


@pytest.mark.parametrize("name", sorted(TYPES))
def test_a_type_is_read_as_it_is_written(name: str) -> None:
    model = v1alpha1.LongTaskType.model_validate(TYPES[name])
    assert model.metadata.name == name
    assert (
        model.spec.model_dump(by_alias=True, exclude_none=True, mode="json") == TYPES[name]["spec"]
    )


@pytest.mark.parametrize("name", sorted(TYPES))
def test_a_types_schema_is_one_and_knows_no_other_member(name: str) -> None:
    schema = TYPES[name]["spec"]["inputSchema"]
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False
    assert schema["required"] == list(schema["properties"])


@pytest.mark.parametrize(
    ("name", "member", "largest"),
    [
        ("fibonacci", "n", fibonacci.LARGEST_N),
        ("prime-numbers", "n", prime_numbers.LARGEST_N),
        ("sleep", "seconds", sleep.LONGEST_SECONDS),
    ],
)
def test_schema_and_task_agree_on_the_bounds(name: str, member: str, largest: int) -> None:
    field = TYPES[name]["spec"]["inputSchema"]["properties"][member]
    assert (field["minimum"], field["maximum"]) == (0, largest)


def test_only_the_fetcher_may_reach_the_internet() -> None:
    assert {name for name, one in TYPES.items() if one["spec"]["egress"] == "internet"} == {
        "http-fetch"
    }
