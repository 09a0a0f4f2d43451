"""A task's attempts on real pods: failures, disruptions, limits of time, cancelling in between."""

from typing import Any

import httpx
import pytest

from e2e_support import (
    PATIENT,
    Kubectl,
    Receiver,
    callback_key,
    eventually,
    evict,
    finished,
    shell,
    submit,
)
from preemption_support import preempt

#: How often it has run so far is written nowhere but in what each attempt is told of itself.
ONCE_MORE = '[ "$LONGTASK_ATTEMPT" -ge 2 ] && exit 0; echo "not yet"; exit 75'


def phase(rest: httpx.Client, task: str, wanted: str, *, within: float = 60) -> dict[str, Any]:
    """Wait until a task is in a phase; return it."""
    return eventually(
        lambda: rest.get(f"/api/v1/tasks/{task}").json(),
        lambda view: view["phase"] == wanted,
        within=within,
    )


def pod_of(kubectl: Kubectl, task: str, attempt: int) -> str:
    """Return the name of an attempt's pod."""
    labels = f"longtask.dev/task={task},longtask.dev/attempt={attempt}"
    (pod,) = kubectl.get("pods", "-l", labels)["items"]
    return str(pod["metadata"]["name"])


def test_a_program_that_asks_for_it_is_tried_again(
    rest: httpx.Client, kubectl: Kubectl, receiver: Receiver
) -> None:
    task = submit(
        rest,
        container=shell(ONCE_MORE),
        # Counted from the program's end, which the kubelet tells some seconds late at times.
        retry={"maxAttempts": 3, "backoffSeconds": 20},
        callback={"url": receiver.url()},
    )["id"]

    waiting = phase(rest, task, "Retrying")
    assert waiting["waiting"].startswith("attempt 2 at ")
    assert waiting["waiting"].endswith("after TryAgain: not yet")
    assert waiting["retryAt"] is not None

    view = finished(rest, task)

    assert view["phase"] == "Succeeded"
    assert [a["exitCode"] for a in view["attempts"]] == [75, 0]
    (delivery,) = receiver.wait_for(task)
    assert delivery.verify(callback_key(rest))["data"]["attempt"] == 2
    events = kubectl.get("events", "--field-selector", f"involvedObject.name={task}")["items"]
    assert [event["reason"] for event in events] == ["Retrying"]


def test_what_no_attempt_can_mend_is_not_tried_again(rest: httpx.Client) -> None:
    task = submit(rest, container=shell("exit 65"), retry={"maxAttempts": 5})["id"]
    view = finished(rest, task)
    assert (view["phase"], view["reason"], view["attempt"]) == ("Failed", "PermanentFailure", 1)


def test_when_attempts_are_used_up_the_last_failure_stands(rest: httpx.Client) -> None:
    task = submit(
        rest,
        container=shell("echo again; exit 1"),
        retry={"maxAttempts": 2, "backoffSeconds": 0},
    )["id"]
    view = finished(rest, task)
    assert (view["phase"], view["reason"], view["attempt"]) == ("Failed", "ProgramFailed", 2)


def delete(kubectl: Kubectl, pod: str) -> None:
    kubectl("delete", "pod", pod, "--wait=false")


def overtake(kubectl: Kubectl, pod: str) -> None:
    preempt(kubectl, kubectl.get("pod", pod)["spec"]["nodeName"], f"overtakes-{pod}")


@pytest.mark.parametrize(
    "disrupt",
    [
        pytest.param(evict, id="evicted"),
        pytest.param(delete, id="deleted-by-hand"),
        # It takes the places of all on the node.
        pytest.param(overtake, id="preempted", marks=pytest.mark.alone),
    ],
)
def test_a_disruption_costs_no_attempt(rest: httpx.Client, kubectl: Kubectl, disrupt: Any) -> None:
    script = f'[ "$LONGTASK_ATTEMPT" -ge 2 ] && exit 0; {PATIENT}'
    task = submit(rest, container=shell(script), resources={"requests": {"cpu": "100m"}})["id"]
    phase(rest, task, "Running")

    disrupt(kubectl, pod_of(kubectl, task, 1))

    view = finished(rest, task)
    assert view["phase"] == "Succeeded", view
    assert (view["attempt"], view["disruptions"]) == (2, 1)
    assert view["attempts"][0]["reason"] == "Disrupted"


def test_the_fourth_disruption_ends_it(rest: httpx.Client, kubectl: Kubectl) -> None:
    task = submit(rest, container=shell(PATIENT))["id"]
    for attempt in range(1, 5):
        eventually(
            lambda: rest.get(f"/api/v1/tasks/{task}").json(),
            lambda view, number=attempt: (view["phase"], view["attempt"]) == ("Running", number),
            within=60,
        )
        evict(kubectl, pod_of(kubectl, task, attempt))
    view = finished(rest, task)
    assert (view["phase"], view["reason"], view["disruptions"]) == ("Failed", "Disrupted", 3)


def test_a_program_that_takes_too_much_memory_is_named_so(rest: httpx.Client) -> None:
    task = submit(
        rest,
        container=shell("tail /dev/zero"),
        resources={"limits": {"memory": "32Mi"}},
    )["id"]
    view = finished(rest, task)
    assert (view["phase"], view["reason"]) == ("Failed", "OOMKilled")


def test_a_silent_program_is_ended_and_tried_again(rest: httpx.Client) -> None:
    script = f'[ "$LONGTASK_ATTEMPT" -ge 2 ] && exit 0; {PATIENT}'
    task = submit(
        rest,
        container=shell(script),
        # More than the kubelet takes to tell the end of the second one, which is silent, too.
        timeouts={"heartbeatSeconds": 25},
        retry={"maxAttempts": 2, "backoffSeconds": 0},
    )["id"]
    view = finished(rest, task)
    assert view["phase"] == "Succeeded", view
    assert view["attempts"][0]["reason"] == "HeartbeatTimeout"


def test_the_time_of_a_task_is_over_whatever_it_does(rest: httpx.Client) -> None:
    runs = submit(rest, container=shell(PATIENT), timeouts={"totalSeconds": 6})["id"]
    fails = submit(
        rest,
        container=shell("exit 1"),
        timeouts={"totalSeconds": 6},
        retry={"maxAttempts": 9, "backoffSeconds": 60},
    )["id"]
    for task in (runs, fails):
        view = finished(rest, task)
        assert (view["phase"], view["reason"]) == ("Failed", "TotalTimeout"), view


def test_between_two_attempts_a_task_is_cancelled_at_once(
    rest: httpx.Client, kubectl: Kubectl
) -> None:
    task = submit(
        rest,
        container=shell("exit 1"),
        retry={"maxAttempts": 2, "backoffSeconds": 600},
    )["id"]
    phase(rest, task, "Retrying")

    kubectl("patch", "lt", task, "--type=merge", "-p", '{"spec": {"cancel": true}}')

    view = phase(rest, task, "Cancelled")
    assert view["attempts"][0]["exitCode"] == 1


def test_a_start_that_takes_too_long_is_tried_again_after_its_job_is_gone(
    rest: httpx.Client, kubectl: Kubectl
) -> None:
    task = submit(
        rest,
        container={"image": "localhost/there-is-no-such-image:1"},
        timeouts={"startSeconds": 4},
        retry={"maxAttempts": 2, "backoffSeconds": 0},
    )["id"]
    view = finished(rest, task)
    assert (view["phase"], view["reason"], view["attempt"]) == ("Failed", "StartTimeout", 2)
    eventually(
        lambda: kubectl.get("jobs", "-l", f"longtask.dev/task={task}")["items"],
        lambda jobs: not jobs,
        within=60,
    )


def test_what_a_task_left_behind_goes_with_it(rest: httpx.Client, kubectl: Kubectl) -> None:
    """`kubectl delete --cascade=orphan`: nobody would ever remove its Job."""
    task = submit(rest, container=shell(PATIENT))["id"]
    phase(rest, task, "Running")

    kubectl("delete", "lt", task, "--cascade=orphan", "--wait=false")

    eventually(
        lambda: kubectl.get("jobs,pods", "-l", f"longtask.dev/task={task}")["items"],
        lambda left: not left,
        within=180,
    )
