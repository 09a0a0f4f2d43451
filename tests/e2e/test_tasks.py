"""Tasks from the order to the signed callback, on real pods."""

from typing import Any

import httpx
import pytest

from e2e_support import (
    BASE_IMAGE,
    Kubectl,
    Receiver,
    a_queue,
    callback_key,
    eventually,
    finished,
    submit,
)


@pytest.mark.parametrize(
    ("kind", "given", "result"),
    [
        pytest.param(
            "fibonacci",
            {"n": 300},
            {
                "n": 300,
                "value": "222232244629420445529739893461909967206666939096499764990979600",
            },
            id="fibonacci-keeps-every-digit-of-a-big-integer",
        ),
        pytest.param(
            "prime-numbers",
            {"n": 30},
            {"n": 30, "count": 10, "primes": [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]},
            id="prime-numbers",
        ),
        pytest.param("sleep", {"seconds": 1}, {"seconds": 1}, id="sleep"),
    ],
)
def test_a_built_in_task_brings_its_result_and_a_verified_callback(
    rest: httpx.Client,
    receiver: Receiver,
    kind: str,
    given: dict[str, Any],
    result: dict[str, Any],
) -> None:
    task = submit(rest, type=kind, input=given, callback={"url": receiver.url()})["id"]

    view = finished(rest, task)

    assert (view["phase"], view["percent"]) == ("Succeeded", 100)
    assert rest.get(f"/api/v1/tasks/{task}/result").json() == result
    (delivery,) = receiver.wait_for(task)
    body = delivery.verify(callback_key(rest))
    assert body["type"] == "longtask.succeeded"
    assert body["data"]["result"] == result


def test_http_fetch_brings_body_and_status(rest: httpx.Client, receiver: Receiver) -> None:
    task = submit(rest, type="http-fetch", input={"url": receiver.url("/page")})["id"]

    view = finished(rest, task)

    assert view["phase"] == "Succeeded", view
    assert rest.get(f"/api/v1/tasks/{task}/result").json() == {
        "status": 200,
        "contentType": "text/plain",
        "body": "hello from the host",
    }


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/", "http://169.254.169.254/latest/", "https://10.96.0.1/"]
)
def test_http_fetch_refuses_an_address_of_the_inside(rest: httpx.Client, url: str) -> None:
    task = submit(rest, type="http-fetch", input={"url": url})["id"]

    view = finished(rest, task)

    assert (view["phase"], view["reason"]) == ("Failed", "AddressRefused")


def test_a_large_result_comes_whole(rest: httpx.Client) -> None:
    task = submit(rest, type="fibonacci", input={"n": 50_000})["id"]

    view = finished(rest, task)

    assert view["phase"] == "Succeeded", view
    value = rest.get(f"/api/v1/tasks/{task}/result").json()["value"]
    assert (len(value), value[:10], value[-10:]) == (10450, "1077773489", "2373553125")


def test_a_result_too_large_for_its_file_fails_the_task_and_is_never_cut(
    rest: httpx.Client,
) -> None:
    script = 'head -c 5000 /dev/zero | tr "\\0" 7 >"$LONGTASK_OUTPUT_FILE"'
    container = {"image": BASE_IMAGE, "command": ["sh", "-c", script]}
    task = submit(rest, container=container)["id"]

    view = finished(rest, task)

    assert (view["phase"], view["reason"]) == ("Failed", "ResultTooLarge")
    assert view["result"] is None
    assert "4095" in view["message"]


def test_any_image_works_without_a_line_of_python(rest: httpx.Client, receiver: Receiver) -> None:
    script = 'read -r line < "$LONGTASK_INPUT_FILE"; printf %s "$line" > "$LONGTASK_OUTPUT_FILE"'
    given = {"words": ["größer", None, 2**53], "$HOME": "$(HOME)"}
    task = submit(
        rest,
        container={"image": BASE_IMAGE, "command": ["sh", "-c", script]},
        input=given,
        callback={"url": receiver.url()},
    )["id"]

    assert finished(rest, task)["phase"] == "Succeeded"
    (delivery,) = receiver.wait_for(task)
    assert delivery.verify(callback_key(rest))["data"]["result"] == given


def test_a_failing_program_tells_exit_code_and_last_words(
    rest: httpx.Client, receiver: Receiver
) -> None:
    task = submit(
        rest,
        container={"image": BASE_IMAGE, "command": ["sh", "-c", "echo out of luck; exit 3"]},
        callback={"url": receiver.url()},
    )["id"]

    view = finished(rest, task)

    assert (view["phase"], view["reason"]) == ("Failed", "ProgramFailed")
    assert view["attempts"][-1]["exitCode"] == 3
    assert view["message"] == "out of luck"
    (delivery,) = receiver.wait_for(task)
    assert delivery.verify(callback_key(rest))["type"] == "longtask.failed"


def test_an_image_that_cannot_be_had_fails_at_start_seconds_and_says_why(
    rest: httpx.Client, kubectl: Kubectl
) -> None:
    task = submit(
        rest,
        container={"image": "localhost/there-is-no-such-image:1"},
        timeouts={"startSeconds": 40},
    )["id"]

    waiting = eventually(
        lambda: rest.get(f"/api/v1/tasks/{task}").json(),
        lambda view: "ErrImagePull" in (view["waiting"] or "") or view["phase"] == "Failed",
        within=60,
    )
    assert "ErrImagePull" in (waiting["waiting"] or waiting["message"])
    view = finished(rest, task)
    assert (view["phase"], view["reason"]) == ("Failed", "StartTimeout")
    assert "there-is-no-such-image" in view["message"]
    eventually(
        lambda: kubectl.get("jobs", "-l", f"longtask.dev/task={task}")["items"],
        lambda jobs: not jobs,
        within=60,
    )


def test_a_program_that_runs_too_long_is_ended(rest: httpx.Client) -> None:
    task = submit(rest, type="sleep", input={"seconds": 300}, timeouts={"runSeconds": 4})["id"]

    view = finished(rest, task)

    assert (view["phase"], view["reason"]) == ("Failed", "RunTimeout")


def test_a_running_task_is_cancelled_with_sigterm_and_keeps_its_record(
    rest: httpx.Client, receiver: Receiver
) -> None:
    task = submit(rest, type="sleep", input={"seconds": 600}, callback={"url": receiver.url()})[
        "id"
    ]
    eventually(
        lambda: rest.get(f"/api/v1/tasks/{task}/state").json(),
        lambda state: state["state"] == "Running",
        within=60,
    )

    assert rest.post(f"/api/v1/tasks/{task}:cancel").status_code == 202

    view = finished(rest, task)
    assert (view["phase"], view["reason"]) == ("Cancelled", "Cancelled")
    assert view["attempts"][-1]["exitCode"] == 143
    (delivery,) = receiver.wait_for(task)
    assert delivery.verify(callback_key(rest))["type"] == "longtask.cancelled"


def test_a_queued_task_is_cancelled_at_once(rest: httpx.Client, kubectl: Kubectl) -> None:
    # Paused from its beginning: the operator hears of a pause and of tasks on two ways.
    with a_queue(kubectl, paused=True) as queue:
        task = submit(rest, type="sleep", input={"seconds": 1}, queue=queue)["id"]
        queued = eventually(
            lambda: rest.get(f"/api/v1/tasks/{task}").json(),
            lambda view: view["phase"] == "Queued" and "paused" in (view["waiting"] or ""),
            within=60,
        )
        assert queued["queuePosition"] == 1

        rest.post(f"/api/v1/tasks/{task}:cancel")

        view = finished(rest, task)
        assert (view["phase"], view["attempts"]) == ("Cancelled", [])
        assert not kubectl.get("jobs", "-l", f"longtask.dev/task={task}")["items"]


def test_progress_moves_while_the_program_works(rest: httpx.Client) -> None:
    task = submit(rest, type="sleep", input={"seconds": 20})["id"]

    seen = eventually(
        lambda: rest.get(f"/api/v1/tasks/{task}").json(),
        lambda view: 0 < (view["percent"] or 0) < 100 or view["phase"] == "Failed",
        within=60,
    )

    # The program speaks before the operator has recorded that it runs.
    assert seen["phase"] in {"Starting", "Running"}
    assert finished(rest, task)["percent"] == 100


def test_logs_are_live_and_stay_while_the_pod_does(rest: httpx.Client) -> None:
    script = "for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 2; done"
    task = submit(rest, container={"image": BASE_IMAGE, "command": ["sh", "-c", script]})["id"]

    with rest.stream("GET", f"/api/v1/tasks/{task}/logs", params={"follow": "true"}) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        assert next(lines) == "line 1"
        # The first line is here while the program still has some seconds to go.
        assert rest.get(f"/api/v1/tasks/{task}/state").json()["state"] in {"Starting", "Running"}
        assert [*lines][-1] == "line 8"

    finished(rest, task)
    assert rest.get(f"/api/v1/tasks/{task}/logs").text.splitlines()[-1] == "line 8"


def test_an_archived_task_is_answered_as_before(
    rest: httpx.Client, kubectl: Kubectl, name: str
) -> None:
    script = "for i in 1 2 3; do echo line $i; done; echo '{}' > $LONGTASK_OUTPUT_FILE"
    container = {"image": BASE_IMAGE, "command": ["sh", "-c", script]}
    submit(rest, name=name, container=container, ttlSecondsAfterFinished=0)
    eventually(
        lambda: kubectl("get", "longtask", name, "--ignore-not-found"),
        lambda out: not out,
        within=60,
    )
    of_task = ("-l", f"longtask.dev/task={name}")
    eventually(lambda: kubectl.get("pods", *of_task)["items"], lambda pods: not pods, within=60)

    assert rest.get(f"/api/v1/tasks/{name}").json()["phase"] == "Succeeded"
    assert rest.get(f"/api/v1/tasks/{name}/result").json() == {}
    log = f"/api/v1/tasks/{name}/logs"
    assert rest.get(log).text == "line 1\nline 2\nline 3\n"
    assert rest.get(log, params={"tail": 1, "timestamps": True}).text.endswith("Z line 3\n")
    query = {"search": name, "archived": True}
    assert [t["id"] for t in rest.get("/api/v1/tasks", params=query).json()["items"]] == [name]
    assert rest.delete(f"/api/v1/tasks/{name}").status_code == 204
    assert rest.get(f"/api/v1/tasks/{name}").status_code == 404


def test_a_deleted_task_takes_its_pod_along(rest: httpx.Client, kubectl: Kubectl) -> None:
    task = submit(rest, type="sleep", input={"seconds": 600})["id"]
    of_task = ("-l", f"longtask.dev/task={task}")
    eventually(lambda: kubectl.get("pods", *of_task)["items"], bool, within=60)

    assert rest.delete(f"/api/v1/tasks/{task}").status_code == 204

    assert rest.get(f"/api/v1/tasks/{task}").status_code == 404
    eventually(lambda: kubectl.get("pods", *of_task)["items"], lambda pods: not pods, within=60)
