"""The witness of the fault runs, and the program that speaks to it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fault_witness import PROGRAM, Witness


@pytest.fixture
def witness() -> Iterator[Witness]:
    with Witness("127.0.0.1") as witness:
        yield witness


def run(witness: Witness, folder: Path, attempt: int, pod: str) -> str:
    given = {"host": witness.host, "port": witness.port, "seconds": 0}
    (folder / "input").write_text(json.dumps(given))
    environment = {
        "LONGTASK_INPUT_FILE": str(folder / "input"),
        "LONGTASK_OUTPUT_FILE": str(folder / "output"),
        "LONGTASK_UID": "u",
        "LONGTASK_NAME": "a",
        "LONGTASK_ATTEMPT": str(attempt),
        "HOSTNAME": pod,
    }
    subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True)
    return (folder / "output").read_text()


def test_a_program_that_runs_twice_in_an_attempt_is_seen(witness: Witness, tmp_path: Path) -> None:
    assert run(witness, tmp_path, 1, "p") == '{"done": true}'
    run(witness, tmp_path, 2, "q")
    run(witness, tmp_path, 2, "r")
    assert witness.starts() == {("u", 1): {"p"}, ("u", 2): {"q", "r"}}
    assert [fact.word for fact in witness.facts] == ["start", "end"] * 3


def call_back(url: str, webhook_id: str) -> httpx.Response:
    body: Any = {"data": {"id": "a"}}
    return httpx.post(url, json=body, headers={"webhook-id": webhook_id}, timeout=60)


@pytest.mark.parametrize(
    ("manner", "status"), [("failing", 500), ("busy", 503), ("redirecting", 302), ("gone", 410)]
)
def test_a_bad_receiver_fails_the_first_try_of_each_callback(
    witness: Witness, manner: str, status: int
) -> None:
    hook = witness.hook(manner)
    answers = [call_back(hook, webhook_id).status_code for webhook_id in ("x", "y", "x", "y")]
    assert answers == [status, status, 204, 204]
    assert witness.webhook_ids() == {"a": {"x", "y"}}


def test_a_connection_may_be_reset(witness: Witness) -> None:
    with pytest.raises(httpx.HTTPError):
        call_back(witness.hook("resetting"), "x")
    assert call_back(witness.hook("resetting"), "x").status_code == 204
