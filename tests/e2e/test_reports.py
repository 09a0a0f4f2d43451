"""What programs report, without any library of ours: checkpoints, last words, cancellation."""

import json
from typing import Any

import httpx
import pytest

from e2e_support import BASE_IMAGE, Kubectl, eventually, finished, program, submit

GOES_ON = """
text = open(os.environ["LONGTASK_CHECKPOINT_FILE"]).read()
if not text:
    report(percent=10)
    report(percent=60, checkpoint={"next": [6, None]}, final=True)
    sys.exit(75)
report(percent=5)
open(os.environ["LONGTASK_OUTPUT_FILE"], "w").write(text)
"""
FAILS = """
for percent in (10, 50, 40):
    report(percent=percent, message="at %d" % percent)
report(percent=60, message="at the end", final=True)
sys.exit(70)
"""
OBEYS = """
report(percent=30, message="begun")
while not report()["cancelRequested"]:
    time.sleep(0.5)
sys.exit(143)
"""


def test_a_checkpoint_reaches_the_next_attempt_as_a_file(
    rest: httpx.Client, kubectl: Kubectl
) -> None:
    retry = {"maxAttempts": 2, "backoffSeconds": 1}
    task = submit(rest, container=program(GOES_ON), retry=retry)["id"]

    view = finished(rest, task)

    assert (view["phase"], view["attempt"]) == ("Succeeded", 2), view
    assert rest.get(f"/api/v1/tasks/{task}/result").json() == {"next": [6, None]}
    progress = kubectl.get("lt", task)["status"]["progress"]
    assert progress["checkpoint"] == {"next": [6, None]}


def test_the_last_report_of_a_program_that_fails_is_kept(
    rest: httpx.Client, kubectl: Kubectl
) -> None:
    task = submit(rest, container=program(FAILS))["id"]

    view = finished(rest, task)

    assert (view["phase"], view["percent"]) == ("Failed", 60), view
    assert kubectl.get("lt", task)["status"]["progress"]["message"] == "at the end"


@pytest.mark.parametrize(
    "order",
    [
        pytest.param({"container": program(OBEYS)}, id="a-program-that-asks"),
        pytest.param({"type": "sleep", "input": {"seconds": 300}}, id="a-python-task"),
    ],
)
def test_who_is_cancelled_hears_of_it_and_its_progress_stays(
    rest: httpx.Client, order: dict[str, Any]
) -> None:
    task = submit(rest, **order)["id"]
    shown = eventually(
        lambda: rest.get(f"/api/v1/tasks/{task}").json(),
        lambda view: view["message"] is not None and view["phase"] == "Running",
        within=60,
    )
    assert rest.post(f"/api/v1/tasks/{task}:cancel").status_code < 300

    view = finished(rest, task)

    assert view["phase"] == "Cancelled"
    assert view["percent"] >= shown["percent"]


def test_a_program_that_must_report_and_does_not_is_ended(rest: httpx.Client) -> None:
    silent = {
        "image": BASE_IMAGE,
        "command": ["sh", "-c", "trap 'exit 143' TERM; sleep 300 & wait"],
    }
    task = submit(rest, container=silent, timeouts={"heartbeatSeconds": 10})["id"]

    view = finished(rest, task)

    assert (view["phase"], view["reason"]) == ("Failed", "HeartbeatTimeout")


def test_one_that_reports_often_enough_goes_on(rest: httpx.Client) -> None:
    order = {"type": "sleep", "input": {"seconds": 50}, "timeouts": {"heartbeatSeconds": 20}}
    view = finished(rest, submit(rest, **order)["id"])
    assert view["phase"] == "Succeeded", json.dumps(view)
