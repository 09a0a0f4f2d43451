import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from typer.testing import CliRunner

from longtask_client import errors, models, spans
from longtask_client.cli import commands, exit_codes, outcomes, program
from longtask_client.cli.output import phrases, terminal
from longtask_crds import v1alpha1

TASKS = "/api/v1/tasks"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("LONGTASK_URL", "LONGTASK_TOKEN", "LONGTASK_CONTEXT", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LONGTASK_CONFIG", str(tmp_path / "config.yaml"))


@pytest.fixture
def run(api: Any) -> Any:
    """Runs the command against the API in memory."""
    runner = CliRunner()

    def invoke(*words: str, **environment: str) -> Any:
        variables = {"LONGTASK_URL": "http://longtask.test/base", "LONGTASK_TOKEN": "secret"}
        return runner.invoke(program.app, list(words), obj=api.connect, env=variables | environment)

    return invoke


def finishes(api: Any, a_task: Any, phase: str, **changed: Any) -> None:
    """Let the task `a` run and end in that phase."""
    end = {"finishedAt": "2026-01-01T00:00:05Z"} | changed
    api.on("GET", f"{TASKS}/a", a_task("a", "Running", percent=50), a_task("a", phase, **end))
    api.on("GET", f"{TASKS}/a/result", '{"n": 1}')


def test_submit_prints_the_id_and_nothing_else_on_stdout(run: Any, api: Any, a_task: Any) -> None:
    api.on("POST", TASKS, a_task("fibonacci-x", queuePosition=3), status=202)
    ended = run("submit", "fibonacci", "n=100", "--priority", "60", "-l", "team=red")
    assert ended.exit_code == 0
    assert ended.stdout == "fibonacci-x\n"
    assert "place 3" in ended.stderr
    assert api.requests[0].headers["Authorization"] == "Bearer secret"
    body = api.body
    del body["name"]
    assert body == {
        "type": "fibonacci",
        "input": {"n": 100},
        "priority": 60,
        "labels": {"team": "red"},
    }


def test_submit_says_when_a_later_task_joins_its_queue(run: Any, api: Any, a_task: Any) -> None:
    told = {"phase": "Pending", "queuePosition": None, "waiting": "joins queue q at noon"}
    api.on("POST", TASKS, a_task("late", **told), status=202)
    ended = run("submit", "sleep", "--at", "2026-01-02T03:04:05Z")
    assert ended.stdout == "late\n"
    assert "It joins queue q at noon." in ended.stderr
    assert api.body["notBefore"] == "2026-01-02T03:04:05Z"
    run("submit", "sleep", "--in", "1h")
    assert api.body["notBefore"] > "2026-01-02T03:04:05Z"


def test_submit_a_program_in_any_image(run: Any, api: Any, a_task: Any) -> None:
    api.on("POST", TASKS, a_task(), status=202)
    assert run("submit", "--image", "busybox", "--", "sh", "-c", "exit 3").exit_code == 0
    assert api.body["container"] == {"image": "busybox", "command": ["sh", "-c", "exit 3"]}


def test_submit_says_how_often_it_may_be_started(run: Any, api: Any, a_task: Any) -> None:
    api.on("POST", TASKS, a_task(), status=202)
    assert run("submit", "sleep", "seconds=1", "--attempts", "3").exit_code == 0
    assert api.body["retry"] == {"maxAttempts": 3}
    assert run("submit", "sleep", "--attempts", "0").exit_code == 2


@pytest.mark.parametrize(
    ("phase", "code", "out"),
    [("Succeeded", 0, '{"n": 1}'), ("Failed", 1, ""), ("Cancelled", 3, "")],
)
def test_submit_and_wait(run: Any, api: Any, a_task: Any, phase: str, code: int, out: str) -> None:
    api.on("POST", TASKS, a_task("a"), status=202)
    finishes(api, a_task, phase, reason="BecauseSo", message="it was\nso")
    ended = run("submit", "sleep", "--wait")
    assert ended.exit_code == code
    assert ended.stdout == out
    assert "a: Running 50%" in ended.stderr
    assert f"a {phase.lower()} after 5s" in ended.stderr
    assert ("BecauseSo: it was so" in ended.stderr) is (code != 0)


def test_submit_and_wait_as_json(run: Any, api: Any, a_task: Any) -> None:
    api.on("POST", TASKS, a_task("a"), status=202)
    finishes(api, a_task, "Succeeded")
    ended = run("submit", "sleep", "--wait", "-o", "json")
    assert json.loads(ended.stdout)["phase"] == "Succeeded"


def test_wait_is_plain_lines_without_a_terminal(run: Any, api: Any, a_task: Any) -> None:
    looks = [a_task("a", "Running", percent=p) for p in (0, 1, 2, 10, 11, 12, 25, 26)]
    api.on("GET", f"{TASKS}/a", *looks, a_task("a", "Succeeded", percent=100))
    ended = run("wait", "a")
    assert ended.stdout == "a\n"
    assert ended.stderr.splitlines() == [
        "a: Running 0%",
        "a: Running 10%",
        "a: Running 25%",
        "a: Succeeded 100%",
        "a succeeded",
    ]


def test_wait_for_several_ends_as_the_worst_of_them(run: Any, api: Any, a_task: Any) -> None:
    ends = {"a": "Succeeded", "b": "Cancelled", "c": "Failed"}
    for name, phase in ends.items():
        api.on("GET", f"{TASKS}/{name}", a_task(name, "Running"), a_task(name, phase))
    both = run("wait", "a", "b", "a")
    assert (both.exit_code, both.stdout) == (3, "a\nb\n")
    every = run("wait", "c", "a", "b", "-o", "jsonpath={.items[*].id}")
    assert (every.exit_code, every.stdout) == (1, "c a b\n")
    assert "b cancelled" in every.stderr


def test_wait_for_several_ends_in_time(run: Any, api: Any, a_task: Any) -> None:
    api.on("GET", f"{TASKS}/a", a_task("a", "Succeeded"))
    api.on("GET", f"{TASKS}/b", a_task("b", "Running"))
    late = run("wait", "a", "b", "--timeout", "5")
    assert late.exit_code == 4
    assert "b is not finished yet: it is Running" in late.stderr
    assert len([request for request in api.requests if request.url.path.endswith("/a")]) == 1


def test_get_watches_until_the_end(run: Any, api: Any, a_task: Any) -> None:
    looks = [a_task("a", "Running", percent=percent) for percent in (5, 5, 9)]
    api.on("GET", f"{TASKS}/a", *looks, a_task("a", "Failed"))
    ended = run("get", "a", "-w")
    assert ended.exit_code == 1
    assert [line.split()[2:4] for line in ended.stdout.splitlines()] == [
        ["PHASE", "PROGRESS"],
        ["Running", "5%"],
        ["Running", "9%"],
        ["Failed", "-"],
    ]
    starts = [line.index(line.split()[2]) for line in ended.stdout.splitlines()]
    assert len(set(starts)) == 1
    assert run("get", "a", "-w", "-o", "name").stdout == "a\n"


def test_list_watches_what_changes(run: Any, api: Any, a_task: Any, a_problem: Any) -> None:
    pages = [
        {"items": [a_task("b"), a_task("a")], "nextCursor": None},
        {"items": [a_task("b"), a_task("a", "Running")], "nextCursor": None},
    ]
    api.on("GET", TASKS, *pages, a_problem(401))
    ended = run("list", "-w", "--limit", "0", "--queue", "q")
    assert [line.split()[0] for line in ended.stdout.splitlines()] == ["ID", "a", "b", "a"]
    assert ended.exit_code == 7
    asked = api.requests[-1].url.params
    assert (asked["queue"], asked["limit"]) == ("q", "500")


def test_submit_several_of_a_file(run: Any, api: Any, a_task: Any, tmp_path: Path) -> None:
    (tmp_path / "tasks.yaml").write_text("type: x\n---\ntype: y\n")
    api.on("POST", f"{TASKS}:batch", a_batch(a_task("x-a"), a_task("y-b")))
    file = str(tmp_path / "tasks.yaml")
    assert run("submit", "-f", file).stdout == "x-a\ny-b\n"
    assert [order["name"].partition("-")[0] for order in api.body["items"]] == ["x", "y"]
    for name in ("x-a", "y-b"):
        api.on("GET", f"{TASKS}/{name}", a_task(name, "Succeeded"))
    ended = run("submit", "-f", file, "--watch", "-o", "json")
    assert [task["phase"] for task in json.loads(ended.stdout)["items"]] == ["Succeeded"] * 2
    assert run("submit", "-f", file, "--idempotency-key", "k").exit_code == 0
    assert api.requests[-1].headers["Idempotency-Key"] == "k"
    assert api.body == {"items": [{"type": "x"}, {"type": "y"}]}


def a_batch(*items: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a batch: tasks, or problems."""
    told = [
        {"status": item["status"], "problem": item}
        if "status" in item
        else {"status": 202, "task": item}
        for item in items
    ]
    return {"items": told, "accepted": sum("task" in item for item in told)}


@pytest.mark.parametrize("wait", [False, True])
def test_one_that_is_refused_stops_no_other(
    run: Any, api: Any, a_task: Any, tmp_path: Path, wait: bool
) -> None:
    (tmp_path / "tasks.yaml").write_text("type: x\n---\ntype: y\nname: why\n")
    wrong = {"pointer": "/type", "detail": "there is no type y"}
    refused = {"type": "urn:x", "title": "The request is not valid", "status": 422}
    answer = a_batch(a_task("x-a"), refused | {"errors": [wrong]})
    api.on("POST", f"{TASKS}:batch", answer)
    api.on("GET", f"{TASKS}/x-a", a_task("x-a", "Succeeded"))
    ended = run("submit", "-f", str(tmp_path / "tasks.yaml"), *(["--watch"] if wait else []))
    assert (ended.exit_code, ended.stdout) == (2, "x-a\n")
    assert "task 2 (why): The request is not valid\n- /type: there is no type y" in ended.stderr


def test_more_than_fit_into_a_batch_go_in_several(
    run: Any, api: Any, a_task: Any, tmp_path: Path
) -> None:
    (tmp_path / "tasks.yaml").write_text("type: x\n---\n" * 501)
    answers = a_batch(*[a_task("x")] * 500), a_batch(a_task("last"))
    api.on("POST", f"{TASKS}:batch", *answers)
    ended = run("submit", "-f", str(tmp_path / "tasks.yaml"), "--idempotency-key", "k")
    assert ended.stdout == "x\n" * 500 + "last\n"
    keys = [request.headers["Idempotency-Key"] for request in api.requests]
    assert keys == ["k", "k-500"]


def test_all_that_fit_are_cancelled_once_somebody_says_so(run: Any, api: Any, a_task: Any) -> None:
    first = {"count": 2, "items": ["a", "b"], "more": True, "nextCursor": "there"}
    last = {"count": 1, "items": ["c"], "more": False, "nextCursor": None}
    api.on("POST", f"{TASKS}:cancel", first, last)
    api.on("GET", TASKS, {"items": [a_task("a"), a_task("b")], "nextCursor": None})
    which = ("--queue", "gpu", "--type", "x", "--phase", "queued", "-l", "a=b")
    asked = run("cancel", *which)
    assert asked.exit_code == 2
    assert "2 would be asked to end: say --yes" in asked.stderr
    assert dict(api.requests[-1].url.params)["archived"] == "false"
    assert all(request.method == "GET" for request in api.requests)

    ended = run("cancel", *which, "--yes")
    assert (ended.exit_code, ended.stdout) == (0, "a\nb\nc\n")
    assert "Asked 3 to end" in ended.stderr
    assert api.body == {
        "phases": ["Queued"],
        "queue": "gpu",
        "type": "x",
        "labels": {"a": "b"},
        "cursor": "there",
    }


def test_everything_is_cancelled_where_that_is_said(run: Any, api: Any) -> None:
    api.on(
        "POST",
        f"{TASKS}:cancel",
        {"count": 1, "items": ["a"], "more": False, "nextCursor": None},
    )
    ended = run("cancel", "--all", "--yes", "-o", "json")
    assert json.loads(ended.stdout) == {"items": ["a"]}
    assert api.body["all"] is True


@pytest.mark.parametrize(
    "words", [(), ("a", "--all"), ("a", "--queue", "q"), ("--all", "--queue", "q")]
)
def test_what_to_cancel_is_said_in_one_way(run: Any, api: Any, words: tuple[str, ...]) -> None:
    assert run("cancel", *words, "--yes").exit_code == 2
    assert api.requests == []


def test_nothing_to_cancel_is_said(run: Any, api: Any) -> None:
    api.on("GET", TASKS, {"items": [], "nextCursor": None})
    ended = run("cancel", "--queue", "gpu")
    assert ended.exit_code == 0
    assert "No tasks that go on" in ended.stderr


def test_describe_why_and_contexts_as_data(run: Any, api: Any, a_task: Any, tmp_path: Path) -> None:
    queued = a_task("a", "Queued", reason="Queued", queuedAt="2026-01-01T00:00:01Z")
    api.on("GET", f"{TASKS}/a", queued)
    every = json.loads(run("describe", "a", "-o", "json").stdout)
    assert every["task"]["id"] == "a"
    assert [one["event"] for one in every["events"]] == ["Created", "Queued"]
    assert every["callback"] is None
    why = json.loads(run("why", "a", "-o", "json").stdout)
    assert every["why"] == why
    assert (why["reason"], why["means"]) == ("Queued", "It waits until its queue has room.")
    assert "longtask queue show default" in why["helps"][0]
    assert run("why", "a", "-o", "jsonpath={.phase}").stdout == "Queued\n"
    assert run("describe", "a", "-o", "name").stdout == "a\n"

    kept = {"LONGTASK_CONFIG": str(tmp_path / "config.yaml")}
    assert run("config", "get-contexts", "-o", "json", **kept).stdout == '{\n  "items": []\n}\n'
    run("config", "set-context", "prod", "--url", "https://x.test", **kept)
    known = json.loads(run("config", "get-contexts", "-o", "json", **kept).stdout)["items"]
    assert known == [
        {
            "name": "prod",
            "url": "https://x.test",
            "username": None,
            "hasToken": False,
            "inUse": True,
        }
    ]


def test_events_since_then(run: Any, api: Any, a_task: Any) -> None:
    api.on("GET", f"{TASKS}/a", a_task("a", "Queued", queuedAt="2026-01-01T00:00:01Z"))
    ended = run("events", "a", "--since", "2026-01-01T00:00:01Z", "-o", "name")
    assert ended.stdout == "Queued\n"


def test_submit_and_watch_prints_the_id_at_the_end(run: Any, api: Any, a_task: Any) -> None:
    api.on("POST", TASKS, a_task("a"), status=202)
    finishes(api, a_task, "Cancelled")
    ended = run("submit", "sleep", "--watch")
    assert (ended.exit_code, ended.stdout) == (3, "a\n")
    assert "a: Running 50%" in ended.stderr


def test_describe_tells_all(run: Any, api: Any, a_task: Any) -> None:
    attempt = {
        "number": 1,
        "jobName": "j",
        "node": "n1",
        "startedAt": "2026-01-01T00:00:01Z",
        "finishedAt": "2026-01-01T00:00:02Z",
        "exitCode": 3,
        "reason": "ProgramFailed",
    }
    sent = {"id": "m", "event": "failed", "state": "Exhausted", "tries": 1}
    log = sent | {"nextTryAt": None, "deliveredAt": None, "items": []}
    ended = {"finishedAt": "2026-01-01T00:00:02Z", "reason": "ProgramFailed"}
    api.on("GET", f"{TASKS}/a", a_task("a", "Failed", attempts=[attempt], callback=sent, **ended))
    api.on("GET", f"{TASKS}/a/callbacks", log)
    parts = run("describe", "a").stdout.split("\n\n")
    assert [part.split()[0] for part in parts] == ["ID:", "ATTEMPT", "Webhook", "TIME", "a"]
    assert "on n1" in parts[3]
    assert "longtask logs a" in parts[4]


def test_the_link_for_a_browser(run: Any, api: Any, a_task: Any) -> None:
    assert run("open").stdout == "http://longtask.test/base/\n"
    api.on("GET", f"{TASKS}/a", a_task("a", links={"self": "/api/v1/tasks/a"}))
    assert run("open", "a").stdout == "http://longtask.test/base/tasks/a\n"


def a_step(name: str, phase: str, *, seconds: int | None = None, **changed: Any) -> dict[str, Any]:
    """A step as the API shows it, begun at midnight."""
    step: dict[str, Any] = {"name": name, "phase": phase}
    if phase != "Pending":
        step |= {"attempt": 1, "jobName": "j", "begunAt": "2026-01-01T00:00:00Z"}
    if seconds is not None:
        step["finishedAt"] = f"2026-01-01T00:00:{seconds:02}Z"
    return step | changed


def test_wait_tells_what_becomes_of_each_step(run: Any, api: Any, a_task: Any) -> None:
    failed = {"seconds": 9, "reason": "ItemsFailed", "message": "too many", "items": 3, "failed": 1}
    item = a_step("x", "Failed", seconds=8, reason="OOMKilled", index=2)
    looks = [
        ("Queued", []),
        ("Running", [a_step("b", "Starting"), a_step("c", "Pending"), a_step("d", "Pending")]),
        ("Running", [a_step("b", "Running"), a_step("c", "Pending"), a_step("d", "Pending")]),
        (
            "Failed",
            [
                a_step("b", "Succeeded", seconds=3),
                a_step("c", "Failed", **failed, children=[item]),
                {"name": "d", "phase": "Skipped", "reason": "NotTaken", "message": "c failed"},
            ],
        ),
    ]
    api.on("GET", f"{TASKS}/a", *(a_task("a", phase, steps=steps) for phase, steps in looks))
    ended = run("wait", "a")
    assert ended.exit_code == 1
    assert ended.stderr.splitlines() == [
        "a: Queued",
        "a: Running",
        "a: b Running",
        "a: b Succeeded after 3s",
        "a: c Failed after 9s: 0/3 done, 1 failed: ItemsFailed: too many",
        "a: c.2 Failed after 8s: OOMKilled",
        "a: d Skipped: c failed",
        "a: Failed",
        "a failed",
    ]


@pytest.mark.usefixtures("_late")
def test_get_shows_the_steps_as_a_table(run: Any, api: Any, a_task: Any) -> None:
    steps = [
        a_step("fetch", "Succeeded", seconds=12, reused=True),
        a_step(
            "convert",
            "Running",
            items=4,
            succeeded=1,
            children=[
                a_step("", "Succeeded", seconds=2, index=0),
                a_step("", "Running", index=1, progress={"percent": 60, "message": "page \x1b[3m"}),
            ],
        ),
        a_step(
            "upload",
            "Retrying",
            attempt=2,
            retryAt="2026-01-01T00:05:12Z",
            reason="TryAgain",
            message="the receiver is away",
        ),
        a_step("slow", "Starting", waiting="no node has room", stalled="PodCannotStart"),
        a_step("stopped", "Cancelled", seconds=1),
        a_step("report", "Pending"),
        {"name": "mail", "phase": "Skipped"},
    ]
    api.on("GET", f"{TASKS}/a", a_task("a", "Running", type=None, step="2/7 convert", steps=steps))
    facts, table = run("get", "a").stdout.split("\n\n")
    assert re.search(r"^Type: +a pipeline of 7 steps$", facts, re.M)
    assert re.search(r"^Step: +2/7 convert$", facts, re.M)
    assert "Attempt" not in facts
    assert table.splitlines() == [
        "STEP        PHASE       PROGRESS   TIME   ATTEMPT   MESSAGE",
        "fetch       Succeeded   100%       12s    1         taken over",
        "convert     Running     40%        5m     1         1/4 done, 1 at work",
        "convert.1   Running     60%        5m     1         page \ufffd[3m",
        "upload      Retrying    -          5m     2         "
        "again in 12s: TryAgain: the receiver is away",
        "slow        Starting    -          5m     1         PodCannotStart: no node has room",
        "stopped     Cancelled   -          1s     1",
        "report      Pending     -          -      -",
        "mail        Skipped     -          -      -         not taken",
    ]


def test_a_pipeline_comes_from_a_file(run: Any, api: Any, a_task: Any, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("steps: [{name: a, type: sleep}]")
    api.on("POST", TASKS, a_task("p"), status=202)
    assert run("submit", "-f", str(tmp_path / "p.yaml"), "n=1").stdout == "p\n"
    sent = api.body
    assert re.fullmatch("pipeline-[a-z2-7]{8}", sent.pop("name"))
    assert sent == {"steps": [{"name": "a", "type": "sleep"}], "input": {"n": 1}}


def test_wait_no_longer_than_asked(run: Any, api: Any, a_task: Any) -> None:
    api.on("GET", f"{TASKS}/a", a_task("a", "Running"))
    ended = run("wait", "a", "--timeout", "3")
    assert ended.exit_code == 4
    assert "it goes on" in ended.stderr


def test_get_shows_what_a_person_wants_to_know(run: Any, api: Any, a_task: Any) -> None:
    attempt = {"number": 1, "jobName": "a-123", "podName": "a-123-x", "exitCode": 70}
    api.on(
        "GET",
        f"{TASKS}/a",
        a_task(
            "a",
            "Failed",
            reason="PermanentFailure",
            message="bad \x1b[31mred\x1b[0m [bold]markup[/]",
            attempts=[attempt],
            labels={"team": "red"},
            callback={
                "id": "msg_1",
                "event": "failed",
                "state": "Pending",
                "tries": 2,
                "lastCode": 500,
            },
        ),
    )
    ended = run("get", "a")
    assert ended.exit_code == 0
    lines = {k: v.strip() for k, v in re.findall(r"^([\w ]+):\s*(.*)$", ended.stdout, re.M)}
    assert lines["Phase"] == "Failed (PermanentFailure)"
    assert lines["Exit code"] == "70"
    assert lines["Callback"] == "failed: Pending, 2 tries, last: 500"
    assert lines["Labels"] == "team=red"
    assert lines["Message"] == "bad \ufffd[31mred\ufffd[0m [bold]markup[/]"
    assert "\x1b" not in ended.stdout


def test_get_as_json_is_what_the_api_says(run: Any, api: Any, a_task: Any) -> None:
    result = {"value": {"n": None}, "mediaType": None, "ref": None}
    task = a_task("a", "Succeeded", percent=100, result=result)
    api.on("GET", f"{TASKS}/a", task)
    assert json.loads(run("get", "a", "-o", "json").stdout) == task


def test_list(run: Any, api: Any, a_task: Any) -> None:
    first = {"items": [a_task("a", queuePosition=2)], "nextCursor": "next"}
    last = {"items": [a_task("bb", "Running", percent=7, type=None)], "nextCursor": None}
    api.on("GET", TASKS, first, last)
    ended = run("list", "--phase", "queued", "--phase", "running", "--label", "team=red")
    rows = [line.split()[:5] for line in ended.stdout.splitlines()]
    assert rows == [
        ["ID", "TYPE", "PHASE", "PROGRESS", "QUEUE"],
        ["a", "sleep", "Queued", "-", "default"],
        ["bb", "(container)", "Running", "7%", "default"],
    ]
    assert api.requests[0].url.params.get_list("phase") == ["Queued", "Running"]


@pytest.mark.usefixtures("_late")
def test_a_search_for_what_is_archived(run: Any, api: Any, a_task: Any) -> None:
    api.on("GET", TASKS, {"items": [a_task("a", "Failed")], "nextCursor": None})
    words = ("--archived", "--search", "oom", "--since", "1h30m", "--until", "2026-01-01T01:00:00Z")
    assert run("list", *words, "-o", "name").stdout == "a\n"
    asked = api.requests[0].url.params
    assert (asked["archived"], asked["search"]) == ("true", "oom")
    assert (asked["since"], asked["until"]) == ("2025-12-31T22:35:00Z", "2026-01-01T01:00:00Z")


def test_a_list_that_lacks_something_says_so_beside_the_data(
    run: Any, api: Any, a_task: Any
) -> None:
    page = {"items": [a_task("a")], "nextCursor": None, "incomplete": "The archive is away."}
    api.on("GET", TASKS, page)
    ended = run("list", "-o", "name")
    assert (ended.stdout, ended.stderr) == ("a\n", "The archive is away.\n")


def test_list_in_other_forms(run: Any, api: Any, a_task: Any) -> None:
    api.on("GET", TASKS, {"items": [a_task("a"), a_task("b")], "nextCursor": None})
    assert run("list", "-o", "name").stdout == "a\nb\n"
    assert [t["id"] for t in json.loads(run("list", "-o", "json").stdout)["items"]] == ["a", "b"]


def test_an_empty_list_says_so_beside_the_data(run: Any, api: Any) -> None:
    api.on("GET", TASKS, {"items": [], "nextCursor": None})
    ended = run("list")
    assert (ended.stdout, ended.stderr) == ("", "No tasks.\n")
    assert json.loads(run("list", "-o", "json").stdout) == {"items": []}


def test_logs(run: Any, api: Any, a_task: Any) -> None:
    api.on("GET", f"{TASKS}/a", a_task("a"))
    api.on("GET", f"{TASKS}/a/logs", "one\ntwo\n")
    assert run("logs", "-f", "a").stdout == "one\ntwo\n"
    assert api.requests[-1].url.params["follow"] == "true"


def test_logs_of_all_steps_of_a_pipeline(run: Any, api: Any, a_task: Any) -> None:
    items = [a_step("x", "Running", index=0), {"name": "x", "index": 1, "phase": "Pending"}]
    begun = [
        a_step("b", "Succeeded", seconds=1),
        a_step("c", "Running", items=2, children=items),
        a_step("old", "Succeeded", seconds=1, reused=True),
        {"name": "d", "phase": "Pending"},
    ]
    ended = [begun[0], begun[1], begun[2], a_step("d", "Failed", seconds=2)]
    looks = [a_task("a", "Running", steps=begun), a_task("a", "Failed", steps=ended)]
    api.on("GET", f"{TASKS}/a", looks[0], *looks)
    api.on("GET", f"{TASKS}/a/logs", "one\ntwo")
    shown = run("logs", "-f", "a").stdout.splitlines()
    assert sorted(shown) == [
        f"{name} | {line}" for name in ("b", "c.0", "d") for line in ("one", "two")
    ]
    api.on("GET", f"{TASKS}/p", a_task("p", "Running", steps=begun[:1]))
    api.on("GET", f"{TASKS}/p/logs", "three\n")
    assert run("logs", "p").stdout == "b | three\n"


def test_a_log_that_is_gone_hinders_no_other(
    run: Any, api: Any, a_task: Any, a_problem: Any
) -> None:
    steps = [a_step("b", "Succeeded", seconds=1), a_step("c", "Succeeded", seconds=1)]
    api.on("GET", f"{TASKS}/a", a_task("a", "Succeeded", steps=steps))
    api.on("GET", f"{TASKS}/a/logs", a_problem(404, detail="it is gone"), "two\n")
    shown = run("logs", "a")
    assert shown.exit_code == 0
    assert len(shown.stdout.splitlines()) == 1
    assert "it is gone" in shown.stderr


@pytest.mark.usefixtures("_late")
def test_a_part_of_a_log(run: Any, api: Any) -> None:
    api.on("GET", f"{TASKS}/a/logs", "two\n")
    words = ("--step", "b", "--attempt", "1", "--tail", "1", "--since", "5m", "--timestamps")
    assert run("logs", "a", *words).stdout == "two\n"
    assert dict(api.requests[0].url.params) == {
        "step": "b",
        "follow": "false",
        "attempt": "1",
        "tail": "1",
        "since": "2026-01-01T00:00:00Z",
        "timestamps": "true",
    }


@pytest.mark.parametrize(
    ("text", "phase", "code", "out"),
    [
        ('{"n":1}', "Succeeded", 0, '{"n":1}'),
        ("null", "Succeeded", 0, "null"),
        ("null", "Failed", 1, ""),
        ("null", "Cancelled", 3, ""),
    ],
)
def test_result(
    run: Any, api: Any, a_task: Any, text: str, phase: str, code: int, out: str
) -> None:
    api.on("GET", f"{TASKS}/a/result", text)
    api.on("GET", f"{TASKS}/a", a_task("a", phase))
    ended = run("result", "a")
    assert (ended.exit_code, ended.stdout) == (code, out)


def test_the_result_of_a_step(run: Any, api: Any) -> None:
    api.on("GET", f"{TASKS}/a/result", "null")
    # Null is what the step brought: there is no need to ask whether the task has failed.
    assert run("result", "a", "--step", "b").stdout == "null"
    assert [dict(request.url.params) for request in api.requests] == [{"step": "b"}]


def test_a_result_goes_to_a_file_whole_or_not_at_all(run: Any, api: Any, tmp_path: Path) -> None:
    class Broken(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b"[1,"
            raise httpx.ReadError("the connection broke")

    content = b"\xff\x00" * 100_000
    whole, broken = httpx.Response(200, content=content), httpx.Response(200, stream=Broken())
    api.on("GET", f"{TASKS}/a/result", whole, broken)
    file = tmp_path / "result.bin"
    ended = run("result", "a", "-o", str(file))
    assert (ended.exit_code, ended.stdout) == (0, "")
    assert f"{len(content)} bytes" in ended.stderr
    assert run("result", "a", "-o", str(file)).exit_code == 6
    assert file.read_bytes() == content
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_cannot_be_written_is_named(run: Any, api: Any, tmp_path: Path) -> None:
    api.on("GET", f"{TASKS}/a/result", "1")
    ended = run("result", "a", "-o", str(tmp_path / "nowhere" / "x"))
    assert ended.exit_code == 2
    assert "nowhere/x: No such file" in ended.stderr
    assert run("result", "a", "-o", "/dev/null").exit_code == 0
    assert run("result", "a", "-o", "-").stdout == "1"


def test_small_commands(run: Any, api: Any, a_task: Any) -> None:
    schema = {"type": "object"}
    kind = {"name": "sleep", "description": "Waits.", "inputSchema": schema, "defaults": None}
    api.on("POST", f"{TASKS}/a:cancel", a_task("a"), status=202)
    api.on("DELETE", f"{TASKS}/a", "", status=204)
    api.on("GET", "/api/v1/types", {"items": [kind]})
    api.on("GET", "/api/v1/types/sleep", kind)
    api.on("GET", "/api/v1/me/callback-key", {"key": "whsec_x"})
    assert run("cancel", "a").stdout == "a\n"
    assert run("delete", "a").stdout == "a\n"
    assert run("types").stdout == "NAME    DESCRIPTION\nsleep   Waits.\n"
    assert run("types", "-o", "name").stdout == "sleep\n"
    assert '"type": "object"' in run("types", "sleep").stdout
    assert json.loads(run("types", "sleep", "-o", "json").stdout) == kind
    assert run("callback-key").stdout == "whsec_x\n"
    assert run("--version").stdout == "0.1.0\n"


@pytest.mark.parametrize(
    ("words", "body"),
    [
        pytest.param((), {}, id="the-same"),
        pytest.param(("n=5", "--priority", "0"), {"input": {"n": 5}, "priority": 0}, id="changed"),
        pytest.param(("--input", "[1]", "--queue", "q"), {"input": [1], "queue": "q"}, id="input"),
    ],
)
def test_retry_prints_the_new_id(
    run: Any, api: Any, a_task: Any, words: tuple[str, ...], body: dict[str, Any]
) -> None:
    api.on("POST", f"{TASKS}/a:retry", a_task("b"), status=202)
    ended = run("retry", "a", "--name", "b", *words)
    assert (ended.exit_code, ended.stdout) == (0, "b\n")
    assert api.body == {"name": "b"} | body


def test_retry_from_the_failed_step(run: Any, api: Any, a_task: Any) -> None:
    api.on("POST", f"{TASKS}/a:retry", a_task("b"), status=202)
    assert run("retry", "a", "--from-failed").stdout == "b\n"
    assert api.requests[0].url.params["fromFailed"] == "true"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("steps: [{name: a, type: t}]\ninput: {day: 1}\n", id="fields"),
        pytest.param(
            "apiVersion: longtask.dev/v1alpha1\nkind: LongTask\nmetadata: {name: a}\n"
            "spec: {steps: [{name: a, type: t}], input: {day: 1}}\n",
            id="what-it-was-made-of",
        ),
    ],
)
def test_retry_takes_changes_of_a_file(
    run: Any, api: Any, a_task: Any, tmp_path: Path, text: str
) -> None:
    api.on("POST", f"{TASKS}/a:retry", a_task("b"), status=202)
    (tmp_path / "order.yaml").write_text(text)
    ended = run("retry", "a", "day=2", "--from-failed", "-f", str(tmp_path / "order.yaml"))
    assert ended.stdout == "b\n"
    sent = {key: api.body[key] for key in ("steps", "input")}
    assert sent == {"steps": [{"name": "a", "type": "t"}], "input": {"day": 2}}
    assert api.body["name"] != "a"


def test_retry_takes_one_order_of_a_file(run: Any, tmp_path: Path) -> None:
    (tmp_path / "order.yaml").write_text("queue: a\n---\nqueue: b\n")
    ended = run("retry", "a", "-f", str(tmp_path / "order.yaml"))
    assert (ended.exit_code, "several" in ended.stderr) == (2, True)


def test_retry_may_wait_for_the_result(run: Any, api: Any, a_task: Any) -> None:
    api.on("POST", f"{TASKS}/old:retry", a_task("a"), status=202)
    finishes(api, a_task, "Succeeded")
    ended = run("retry", "old", "--wait")
    assert (ended.exit_code, ended.stdout) == (0, '{"n": 1}')


LANE = {
    "name": "lane",
    "maxRunning": 2,
    "maxRunningPerOwner": None,
    "paused": False,
    "running": 1,
    "waiting": 3,
    "oldestQueuedAt": "2026-01-01T00:00:00Z",
    "startsPerMinute": 0.4,
    "links": {},
}
WAITS = {
    "id": "a",
    "type": None,
    "owner": "ann",
    "priority": 60,
    "position": 1,
    "queuedAt": "2026-01-01T00:00:00Z",
    "links": {},
}
CONTENT = LANE | {"content": [WAITS], "nextCursor": "more"}


@pytest.fixture
def _late(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
    monkeypatch.setattr(phrases, "now", lambda: moment)


@pytest.mark.usefixtures("_late")
def test_queues(run: Any, api: Any) -> None:
    other = LANE | {"name": "b", "maxRunning": None, "paused": True, "oldestQueuedAt": None}
    api.on("GET", "/api/v1/queues", {"items": [LANE, other]})
    assert run("queue", "list").stdout.splitlines() == [
        "NAME   RUNNING    WAITING   LONGEST   PER MINUTE   STATE",
        "lane   1 of 2     3         5m        0.4          open",
        "b      1 of any   3         -         0.4          paused",
    ]
    assert run("queue", "list", "-o", "name").stdout == "lane\nb\n"
    assert json.loads(run("queue", "list", "-o", "json").stdout) == {"items": [LANE, other]}


@pytest.mark.usefixtures("_late")
def test_a_queue_and_who_waits_in_it(run: Any, api: Any) -> None:
    api.on("GET", "/api/v1/queues/lane", CONTENT)
    shown = run("queue", "show", "lane", "--limit", "1")
    assert shown.stdout.splitlines() == [
        "Name:          lane",
        "State:         open",
        "Running:       1 of 2",
        "Waiting:       3",
        "Longest wait:  5m",
        "Started:       0.4 a minute, over the last five",
        "",
        "PLACE   ID   TYPE   PRIORITY   OWNER   WAITING",
        "1       a    -      60         ann     5m",
    ]
    assert "--limit" in shown.stderr
    assert api.requests[0].url.params["limit"] == "1"
    assert json.loads(run("queue", "show", "lane", "-o", "json").stdout) == CONTENT


def test_pause_and_resume(run: Any, api: Any, a_problem: Any) -> None:
    api.on("POST", "/api/v1/queues/lane:pause", LANE | {"paused": True})
    api.on("POST", "/api/v1/queues/lane:resume", LANE)
    api.on("POST", "/api/v1/queues/no:pause", a_problem(404))
    assert run("queue", "pause", "lane").stdout == "lane\n"
    assert "paused: it starts nothing" in run("queue", "pause", "lane", "-o", "table").stdout
    assert run("queue", "resume", "lane").stdout == "lane\n"
    assert run("queue", "pause", "no").exit_code == exit_codes.ExitCode.NOT_FOUND


def test_priority(run: Any, api: Any, a_task: Any, a_problem: Any) -> None:
    api.on("PATCH", f"{TASKS}/a", a_task("a", waiting="next in queue lane"))
    api.on("PATCH", f"{TASKS}/b", a_problem(409, detail="it runs"))
    ended = run("priority", "a", "90")
    assert (ended.stdout, ended.stderr) == ("a\n", "a: next in queue lane\n")
    assert api.body == {"priority": 90}
    assert run("priority", "b", "0").exit_code == exit_codes.ExitCode.CONFLICT


@pytest.mark.parametrize(
    ("earliest", "latest", "text"),
    [
        pytest.param("00:05:30", "00:09:00", "in 30s to 4m, by what ran before", id="ahead"),
        pytest.param("00:04:00", "00:05:09", "within 9s, by what ran before", id="any-moment"),
    ],
)
@pytest.mark.usefixtures("_late")
def test_when_it_may_start(
    run: Any, api: Any, a_task: Any, earliest: str, latest: str, text: str
) -> None:
    start = {"earliest": f"2026-01-01T{earliest}Z", "latest": f"2026-01-01T{latest}Z"}
    api.on("GET", f"{TASKS}/a", a_task("a", estimatedStart=start))
    (line,) = re.findall(r"^Starts: +(.*)$", run("get", "a").stdout, re.M)
    assert line == text


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param((400, {}), 2, id="malformed"),
        pytest.param((422, {}), 2, id="invalid"),
        pytest.param((404, {}), 5, id="not-found"),
        pytest.param((401, {}), 7, id="no-token"),
        pytest.param((403, {}), 7, id="forbidden"),
        pytest.param((409, {}), 8, id="conflict"),
        pytest.param((429, {}), 6, id="busy"),
        pytest.param((500, {}), 6, id="broken"),
        pytest.param(httpx.ConnectError("refused"), 6, id="nobody"),
        pytest.param(httpx.Response(404, text="page not found"), 6, id="not-longtask"),
    ],
)
def test_refusals_have_their_exit_codes(
    run: Any, api: Any, a_problem: Any, answer: Any, code: int
) -> None:
    api.on("GET", f"{TASKS}/a", a_problem(answer[0]) if isinstance(answer, tuple) else answer)
    ended = run("get", "a")
    assert ended.exit_code == code
    assert ended.stdout == ""
    assert ended.stderr.startswith("Error: ")


def test_a_refused_field_is_named(run: Any, api: Any, a_problem: Any) -> None:
    wrong = [{"pointer": "/input/n", "detail": "200000 is greater than the maximum of 100000"}]
    api.on("POST", TASKS, a_problem(422, detail=None, title="Not valid", errors=wrong))
    ended = run("submit", "fibonacci", "n=200000")
    assert ended.exit_code == 2
    assert ended.stderr.splitlines() == [
        "Error: Not valid",
        "- /input/n: 200000 is greater than the maximum of 100000",
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["submit"],
        ["submit", "sleep", "5"],
        ["submit", "sleep", "--priority", "101"],
        ["get"],
        ["get", "a", "-o", "xml"],
        ["get", "a", "-o", "jsonpath"],
        ["get", "a", "-o", "jsonpath={.a"],
        ["list", "--phase", "done"],
        ["list", "--since", "yesterday"],
        ["list", "--until", "2026-01-01T00:00:00"],
        ["logs", "a", "--since", ""],
        ["nonsense"],
        ["queue"],
        ["queue", "nonsense"],
        ["queue", "show", "a", "--limit", "0"],
        ["priority", "a"],
        ["priority", "a", "101"],
        ["--token", "secret", "list"],
    ],
)
def test_wrong_usage_ends_with_2_and_asks_nobody(run: Any, api: Any, words: list[str]) -> None:
    assert run(*words).exit_code == 2
    assert api.requests == []


@pytest.mark.parametrize("url", ["", "longtask.example.com", "ftp://x"])
def test_without_a_url_it_says_what_to_set(run: Any, url: str) -> None:
    ended = run("list", LONGTASK_URL=url)
    assert ended.exit_code == 2
    assert "LONGTASK_URL" in ended.stderr


def test_the_token_may_come_from_a_file(run: Any, api: Any, tmp_path: Path) -> None:
    api.on("GET", TASKS, {"items": [], "nextCursor": None})
    (tmp_path / "token").write_text("from-file\n")
    run("--token-file", str(tmp_path / "token"), "list")
    assert api.requests[0].headers["Authorization"] == "Bearer from-file"
    assert run("--token-file", str(tmp_path / "none"), "list").exit_code == 2
    assert run("list", LONGTASK_TOKEN="a\nb").exit_code == 2


def test_ctrl_c_leaves_the_task_running(run: Any, api: Any) -> None:
    def interrupted(request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    api.routes.append(("GET", f"/base{TASKS}/a", interrupted))
    ended = run("wait", "a")
    assert ended.exit_code == 130
    assert "tasks go on" in ended.stderr
    assert {request.method for request in api.requests} == {"GET"}


def test_the_help_says_of_each_command_what_it_says_itself() -> None:
    lines = {name: program.load(name).get_short_help_str(limit=100) for name in program.COMMANDS}
    assert lines == {name: line for name, (_, line) in program.COMMANDS.items()}


def test_every_command_of_every_module_is_in_the_help() -> None:
    modules = {found.name for found in pkgutil.iter_modules(commands.__path__)}
    had = {
        (name, module)
        for module in modules
        for name in typer.main.get_group(
            importlib.import_module(f"{commands.__name__}.{module}").app
        ).commands
    }
    assert had == {(name, module) for name, (module, _) in program.COMMANDS.items()}


def test_every_exit_code_is_in_the_help(run: Any) -> None:
    said = {
        int(code): text for code, text in re.findall(r"^ +(\d+) +(.+)$", run("-h").stdout, re.M)
    }
    assert said == {int(code): text for code, text in exit_codes.MEANING.items()}
    assert set(exit_codes.MEANING) == set(exit_codes.ExitCode)


def test_every_exit_code_is_in_the_readme() -> None:
    readme = Path(__file__).parents[3] / "client" / "README.md"
    said = dict(re.findall(r"^\| (\d+) \| (.+) \|$", readme.read_text(), re.M))
    assert said == {f"{code:d}": text for code, text in exit_codes.MEANING.items()}


def test_every_end_and_every_error_has_an_exit_code() -> None:
    codes = {phase: outcomes.of_phase(phase) for phase in v1alpha1.Phase if phase.is_terminal}
    assert codes == {
        "Succeeded": exit_codes.ExitCode.OK,
        "Failed": exit_codes.ExitCode.FAILED,
        "Cancelled": exit_codes.ExitCode.CANCELLED,
    }
    problem = models.Problem(type="x", title="x", status=409)
    assert outcomes.of_error(errors.NotStarted(problem)) is exit_codes.ExitCode.CONFLICT
    assert outcomes.of_error(errors.WaitTimeout("a", None)) is exit_codes.ExitCode.TIMEOUT


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (5, "5s"), (119, "119s"), (120, "2m"), (7200, "2h"), (200_000, "2d")],
)
def test_spans(seconds: float, text: str) -> None:
    assert spans.span(seconds) == text


def test_a_log_cannot_steer_the_terminal() -> None:
    assert (
        terminal.visible("a\tb\r\n\x1b]0;title\x07\u200b") == "a\tb\r\n\ufffd]0;title\ufffd\u200b"
    )


def test_get_tells_how_each_attempt_before_ended(run: Any, api: Any, a_task: Any) -> None:
    ended = {
        "number": 1,
        "jobName": "j",
        "finishedAt": "2026-01-02T03:04:05Z",
        "reason": "TryAgain",
        "message": "later",
    }
    running = {"number": 2, "jobName": "k"}
    api.on("GET", f"{TASKS}/a", a_task("a", "Running", attempt=2, attempts=[ended, running]))
    told = run("get", "a").stdout
    assert re.search(r"^Attempt 1: +TryAgain: later$", told, re.M)
    assert re.search(r"^Attempt: +2$", told, re.M)


# --- callbacks ---


def test_submit_says_how_a_callback_is_told(run: Any, api: Any, a_task: Any) -> None:
    api.on("POST", TASKS, a_task("x-a"))
    words = ["submit", "x", "--callback", "https://example.com/hook"]
    assert run(*words).exit_code == 0
    assert api.body["callback"] == {"url": "https://example.com/hook"}
    words += ["--callback-event", "started", "--callback-event", "failed"]
    words += ["--callback-format", "cloudevents", "--callback-secret", "hooks/key"]
    words += ["--callback-header", "X-Team=red", "--callback-header", "Authorization=Basic a=b"]
    assert run(*words).exit_code == 0
    assert api.body["callback"] == {
        "url": "https://example.com/hook",
        "events": ["started", "failed"],
        "format": "cloudevents",
        "headers": {"X-Team": "red", "Authorization": "Basic a=b"},
        "secretRef": {"name": "hooks", "key": "key"},
    }


def test_submit_completes_the_callback_of_a_file(
    run: Any, api: Any, a_task: Any, tmp_path: Path
) -> None:
    api.on("POST", TASKS, a_task("x-a"))
    file = tmp_path / "task.yaml"
    file.write_text("type: x\ncallback: {url: 'https://example.com/a', events: [failed]}\n")
    assert run("submit", "-f", str(file), "--callback-format", "slack").exit_code == 0
    told = {"url": "https://example.com/a", "events": ["failed"], "format": "slack"}
    assert api.body["callback"] == told
    assert run("submit", "-f", str(file), "--callback", "https://example.com/b").exit_code == 0
    assert api.body["callback"] == {"url": "https://example.com/b", "events": ["failed"]}
    file.write_text("type: x\n")
    refused = run("submit", "-f", str(file), "--callback-format", "slack")
    assert (refused.exit_code, api.body["callback"]["url"]) == (2, "https://example.com/b")
    assert "give --callback" in refused.stderr


@pytest.mark.parametrize(
    ("option", "word", "told"),
    [
        pytest.param("--callback-event", "sometimes", "'sometimes' is not one of", id="event"),
        pytest.param("--callback-format", "xml", "'xml' is not one of", id="format"),
        pytest.param("--callback-header", "X-Team", "write it as key=value", id="header"),
        pytest.param("--callback-secret", "hooks", "is no SECRET/KEY", id="secret"),
        pytest.param("--callback-secret", "hooks/", "is no SECRET/KEY", id="no-key"),
    ],
)
def test_what_no_callback_takes_is_refused(
    run: Any, api: Any, option: str, word: str, told: str
) -> None:
    refused = run("submit", "x", "--callback", "https://example.com/hook", option, word)
    assert refused.exit_code == 2
    assert told in " ".join(refused.stderr.split())
    assert api.requests == []


def test_how_without_where_is_no_callback(run: Any, api: Any) -> None:
    refused = run("submit", "x", "--callback-event", "failed")
    assert refused.exit_code == 2
    assert "give --callback" in refused.stderr
    assert api.requests == []


LOG = {
    "id": "msg_1",
    "event": "succeeded",
    "state": "Exhausted",
    "tries": 2,
    "nextTryAt": None,
    "deliveredAt": None,
    "items": [
        {"at": "2026-01-02T03:00:00Z", "event": "started", "code": 204, "seconds": 0.25},
        {"at": "2026-01-02T03:01:00Z", "event": "succeeded", "error": "Timeout", "seconds": 15.0},
    ],
}


def test_callbacks_shows_each_try(run: Any, api: Any) -> None:
    api.on("GET", f"{TASKS}/a/callbacks", LOG)
    shown = run("callbacks", "a").stdout
    assert "State:       Exhausted" in shown
    assert [line.split()[2:] for line in shown.splitlines()[-2:]] == [
        ["started", "204", "0.250", "-"],
        ["succeeded", "-", "15.000", "Timeout"],
    ]
    assert json.loads(run("callbacks", "a", "-o", "json").stdout)["tries"] == 2
    assert run("callbacks", "a", "-o", "name").stdout == "msg_1\n"


def test_callbacks_of_a_task_without_one(run: Any, api: Any) -> None:
    none = dict.fromkeys(LOG) | {"tries": 0, "items": []}
    api.on("GET", f"{TASKS}/a/callbacks", none)
    ended = run("callbacks", "a")
    assert (ended.exit_code, ended.stdout) == (0, "")
    assert ended.stderr == "There was no callback of it yet.\n"


def test_redeliver_one(run: Any, api: Any) -> None:
    api.on("POST", f"{TASKS}/a/callbacks:redeliver", LOG, status=202)
    assert run("redeliver", "a").stdout == "a\n"


def test_redeliver_a_range(run: Any, api: Any) -> None:
    api.on("POST", "/api/v1/callbacks:redeliver", {"items": ["a"], "nextCursor": None}, status=202)
    words = ("--since", "2026-01-02T03:00:00Z", "--until", "2026-01-02T04:00:00Z")
    assert run("redeliver", *words, "--state", "exhausted").stdout == "a\n"
    assert api.body == {
        "from": "2026-01-02T03:00:00+00:00",
        "to": "2026-01-02T04:00:00+00:00",
        "state": "Exhausted",
    }
    assert run("redeliver", "--since", "2h").exit_code == 0
    begin, end = (datetime.fromisoformat(api.body[field]) for field in ("from", "to"))
    assert (end - begin).total_seconds() == 7200


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([], id="nothing"),
        pytest.param(["a", "--since", "2h"], id="one-and-a-range"),
        pytest.param(["a", "--state", "pending"], id="one-and-a-state"),
        pytest.param(["--until", "2h"], id="no-beginning"),
        pytest.param(["--since", ""], id="an-empty-time"),
        pytest.param(["--since", "2h", "--state", "lost"], id="no-state"),
    ],
)
def test_redeliver_is_told_what(run: Any, words: list[str]) -> None:
    assert run("redeliver", *words).exit_code == exit_codes.ExitCode.USAGE


def test_a_new_callback_key(run: Any, api: Any) -> None:
    rotated = {"key": "whsec_y", "previousUntil": "2026-01-03T12:00:00Z"}
    api.on("POST", "/api/v1/me/callback-key:rotate", rotated)
    ended = run("callback-key", "--rotate")
    assert ended.stdout == "whsec_y\n"
    assert "signs as well until 2026-01-0" in ended.stderr


@pytest.mark.parametrize(
    ("made", "code", "told"),
    [
        ({"delivered": True, "code": 204}, 0, "delivered: answered with 204 after 0.100 s\n"),
        ({"delivered": False, "code": 403}, 1, "refused: answered with 403 after 0.100 s\n"),
        ({"delivered": False, "error": "Timeout"}, 1, "failed after 0.100 s: Timeout\n"),
    ],
)
def test_a_receiver_is_tried(
    run: Any, api: Any, made: dict[str, Any], code: int, told: str
) -> None:
    given = {"id": "msg_1", "code": None, "error": None, "seconds": 0.1}
    api.on("POST", "/api/v1/callbacks:test", given | made)
    ended = run("callback-test", "https://example.com/")
    assert (ended.exit_code, ended.stdout) == (code, told)
