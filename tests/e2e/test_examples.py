"""The examples for kubectl run on the local cluster as they are."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e_support import Kubectl, eventually


@contextlib.contextmanager
def created(kubectl: Kubectl, file: Path) -> Iterator[str]:
    """Make what stands in the file, as its reader would; yield the task's name."""
    kubectl("delete", "-f", str(file), "--ignore-not-found")
    name = kubectl("create", "-f", str(file), "-o=jsonpath={.metadata.name}")
    try:
        yield name
    finally:
        kubectl("delete", "-f", str(file), "--wait=false")


@pytest.mark.parametrize(
    ("file", "result"),
    [
        ("kubectl/fibonacci.yaml", {"n": 93, "value": "12200160415121876738"}),
        ("kubectl/http-fetch.yaml", {"status": 200, "body": "ok\n"}),
        ("kubectl/prime-numbers.yaml", {"n": 4000, "count": 550}),
        ("shell/count-words.yaml", {"words": 10}),
    ],
)
def test_an_example_does_what_it_says(
    kubectl: Kubectl, root: Path, file: str, result: dict[str, Any]
) -> None:
    with created(kubectl, root / "examples" / file) as name:
        status = kubectl.wait_finished(name)["status"]
    assert status["phase"] == "Succeeded", status
    value = status["result"]["value"]
    assert {key: value[key] for key in result} == result


def test_the_example_that_sleeps_can_be_cancelled(kubectl: Kubectl, root: Path) -> None:
    with created(kubectl, root / "examples/kubectl/sleep.yaml") as name:
        eventually(
            lambda: kubectl.get("lt", name)["status"]["phase"],
            lambda phase: phase == "Running",
            within=60,
        )
        kubectl("patch", "longtask", name, "--type=merge", "-p", '{"spec":{"cancel":true}}')
        assert kubectl.wait_finished(name)["status"]["phase"] == "Cancelled"
