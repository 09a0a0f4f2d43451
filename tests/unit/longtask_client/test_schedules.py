"""Schedules, asked for by both clients and by the command."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from client_support import AwaitedApi, FakeApi, a_problem, a_task
from longtask_client import errors, models
from longtask_client.cli import program

SCHEDULES = "/api/v1/schedules"
S = f"{SCHEDULES}/s"
TEMPLATE = {"spec": {"type": "sleep", "input": {"seconds": 1}}}
TIME = "2026-01-02T03:00:00Z"


@pytest.fixture(params=[FakeApi, AwaitedApi], ids=["sync", "asyncio"])
def either(request: pytest.FixtureRequest) -> Iterator[FakeApi]:
    """Both clients are asked the same."""
    made: FakeApi = request.param()
    yield made
    if isinstance(made, AwaitedApi):
        made.loop.run_until_complete(made.loop.shutdown_asyncgens())
        made.loop.close()


def a_schedule(name: str = "s", **changed: Any) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": "longtasks",
        "schedule": "@hourly",
        "taskTemplate": TEMPLATE,
        "owner": None,
        "ownerName": None,
        "createdAt": TIME,
        "nextRuns": [],
        "lastScheduleTime": None,
        "lastSuccessfulTime": None,
        "active": [],
        "runsStarted": 0,
        "failuresInARow": 0,
        "skipped": 0,
        "suspended": False,
        "reason": None,
        "message": None,
        "resetBy": None,
        "resetAt": None,
        "runs": [],
        "links": {},
    } | changed


def a_run(run_id: str, **changed: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("number", "scheduledAt", "phase", "startedAt", "finishedAt"))
    return {"id": run_id, **nothing, "seconds": None, "error": None, "links": {}} | changed


def asked(run_id: str = "s-1") -> dict[str, Any]:
    return {"id": run_id, "scheduledAt": TIME, "links": {}}


def page(*items: Any, cursor: str | None = None) -> dict[str, Any]:
    return {"items": list(items), "nextCursor": cursor}


def test_a_schedule_is_made_once(either: Any) -> None:
    order = models.ScheduleOrder.model_validate(
        {"name": "s", "schedule": "@hourly", "taskTemplate": TEMPLATE}
    )
    either.on("POST", SCHEDULES, a_problem(503), a_schedule(), status=201)
    made = either.connect().create_schedule(order)
    assert (made.name, made.schedule) == ("s", "@hourly")
    assert either.body == {"name": "s", "schedule": "@hourly", "taskTemplate": TEMPLATE}
    first, second = (request.headers["Idempotency-Key"] for request in either.requests)
    assert first == second
    either.connect().create_schedule(order, idempotency_key="mine")
    assert either.requests[-1].headers["Idempotency-Key"] == "mine"


def test_lists_are_followed_to_their_ends(either: Any) -> None:
    either.on("GET", SCHEDULES, page(a_schedule("a"), cursor="c"), page(a_schedule("b")))
    either.on("GET", f"{S}/runs", page(a_run("r2"), cursor="c"), page(a_run("r1")))
    datum = {"id": "r2", "scheduledAt": TIME, "finishedAt": TIME, "data": [1], "dataUrl": None}
    either.on("GET", f"{S}/data", page(datum) | {"incomplete": "no archive"})
    connection, told = either.connect(), []
    assert [one.name for one in connection.schedules(owner="ann")] == ["a", "b"]
    assert [dict(request.url.params) for request in either.requests] == [
        {"owner": "ann", "limit": "100"},
        {"owner": "ann", "limit": "100", "cursor": "c"},
    ]
    assert [run.id for run in connection.schedule_runs("s")] == ["r2", "r1"]
    assert [one.data for one in connection.schedule_data("s", notice=told.append)] == [[1]]
    assert told == ["no archive"]


def test_a_limit_ends_a_list(either: Any) -> None:
    either.on("GET", f"{S}/runs", page(a_run("r3"), a_run("r2"), cursor="c"), page(a_run("r1")))
    assert [run.id for run in either.connect().schedule_runs("s", limit=2)] == ["r3", "r2"]
    assert [request.url.params["limit"] for request in either.requests] == ["2"]


def test_small_calls(either: Any) -> None:
    for verb in ("pause", "resume", "reset-attempts"):
        either.on("POST", f"{S}:{verb}", a_schedule())
    either.on("GET", S, a_schedule(intervalSeconds=60, schedule=None))
    either.on("PATCH", S, a_schedule())
    either.on("POST", f"{S}:trigger", asked(), status=202)
    either.on("POST", f"{S}:backfill", {"items": [asked("s-1"), asked("s-2")]}, status=202)
    status = dict.fromkeys(("executionTime", "lastExecuteTime", "lastExecutionDataUrl"))
    status |= {"lastExecutionError": "it broke", "lastExecutionStatus": "Failed"}
    either.on("GET", f"{S}/status", {"id": "s", "lastExecutionData": {"n": 1}, **status})
    either.on("DELETE", S, "", status=204)
    connection = either.connect()
    assert connection.schedule("s").interval_seconds == 60
    for name in ("pause_schedule", "resume_schedule", "reset_schedule"):
        assert getattr(connection, name)("s").name == "s"
    connection.change_schedule("s", {"timeZone": None, "maxFailures": 3})
    assert either.body == {"timeZone": None, "maxFailures": 3}
    assert connection.trigger_schedule("s").id == "s-1"
    assert [one.id for one in connection.backfill_schedule("s", TIME, "2026-01-03")] == [
        "s-1",
        "s-2",
    ]
    assert dict(either.requests[-1].url.params) == {"from": TIME, "to": "2026-01-03"}
    found = connection.schedule_status("s")
    assert (found.last_execution_data, found.last_execution_error) == ({"n": 1}, "it broke")
    assert connection.delete_schedule("s") is None


def test_what_would_be_done_twice_is_tried_once(either: Any) -> None:
    either.on("POST", f"{S}:trigger", a_problem(503))
    either.on("DELETE", S, a_problem(503))
    connection = either.connect()
    for call in (connection.trigger_schedule, connection.delete_schedule):
        with pytest.raises(errors.ServerUnavailable):
            call("s")
    assert len(either.requests) == 2


def test_a_run_is_waited_for_until_it_is_there(either: Any) -> None:
    either.on("GET", "/api/v1/tasks/s-1", a_problem(404), a_problem(404), a_task("s-1"))
    either.on("GET", "/api/v1/tasks/s-2", a_problem(404))
    connection = either.connect()
    assert connection.wait_for_run("s-1").id == "s-1"
    assert either.slept == [0.5, 0.5]
    with pytest.raises(errors.NotFound):
        connection.wait_for_run("s-2", timeout=3)


# --- the command


@pytest.fixture
def run(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("LONGTASK_CONFIG", str(tmp_path / "none.yaml"))
    monkeypatch.setenv("TZ", "UTC")

    def invoke(*words: str, input: str | None = None) -> Any:  # noqa: A002 - the runner's name
        environment = {"LONGTASK_URL": "http://longtask.test/base", "LONGTASK_TOKEN": "secret"}
        return CliRunner().invoke(
            program.app, ["schedule", *words], obj=api.connect, env=environment, input=input
        )

    return invoke


@pytest.mark.parametrize(
    ("words", "order"),
    [
        pytest.param(
            ["s", "--every", "90s", "sleep", "seconds=1"],
            {"name": "s", "intervalSeconds": 90, "taskTemplate": TEMPLATE},
            id="an-interval",
        ),
        pytest.param(
            ["s", "--cron", "@daily", "--cron", "0 12 * * *", "sleep", "seconds=1"],
            {"name": "s", "schedule": ["@daily", "0 12 * * *"], "taskTemplate": TEMPLATE},
            id="several-crons",
        ),
        pytest.param(
            [
                *("s", "--cron", "@daily", "--time-zone", "Europe/Zurich", "--jitter", "5m"),
                *("--concurrency", "Replace", "--max-failures", "3", "--paused", "-l", "a=b"),
                *("--queue", "q", "--image", "busybox", "--", "sh", "-c", "exit"),
            ],
            {
                "name": "s",
                "schedule": "@daily",
                "timeZone": "Europe/Zurich",
                "suspend": True,
                "concurrencyPolicy": "Replace",
                "jitterSeconds": 300,
                "maxFailures": 3,
                "taskTemplate": {
                    "labels": {"a": "b"},
                    "spec": {
                        "container": {"image": "busybox", "command": ["sh", "-c", "exit"]},
                        "queue": "q",
                    },
                },
            },
            id="all-of-it",
        ),
        pytest.param(
            ["s", "--every", "1h", "--input", '{"day": {"$from": "run#/scheduledTime"}}', "report"],
            {
                "name": "s",
                "intervalSeconds": 3600,
                "taskTemplate": {
                    "spec": {"type": "report", "input": {"day": {"$from": "run#/scheduledTime"}}}
                },
            },
            id="with-a-fact-of-the-run",
        ),
    ],
)
def test_what_is_made_of_options(
    api: FakeApi, run: Any, words: list[str], order: dict[str, Any]
) -> None:
    api.on("POST", SCHEDULES, a_schedule(nextRuns=[TIME]), status=201)
    ended = run("create", *words)
    assert ended.exit_code == 0, ended.output
    assert ended.stdout == "s\n"
    assert ended.stderr == "s starts its next run 2026-01-02 03:00:00.\n"
    assert api.body == order


def test_what_is_made_of_a_file(api: FakeApi, run: Any) -> None:
    api.on("POST", SCHEDULES, a_schedule(), status=201)
    spec = {"schedule": "@hourly", "taskTemplate": TEMPLATE}
    resource = {
        "apiVersion": "longtask.dev/v1alpha1",
        "kind": "LongTaskSchedule",
        "metadata": {"name": "s"},
        "spec": spec,
    }
    text = f"{json.dumps(resource)}\n---\n{json.dumps({'name': 't', **spec})}\n"
    assert run("create", "-f", "-", input=text).stdout == "s\ns\n"
    assert [json.loads(request.content)["name"] for request in api.requests] == ["s", "t"]
    assert run("create", "other", "-f", "-", input=json.dumps(resource)).exit_code == 0
    assert api.body == {"name": "other", **spec}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--every", "5m", "sleep"], "what shall run"),  # a schedule of that name
        ([], "what is it called"),
        (["s"], "Give --cron or --every"),
        (["s", "--every", "5m"], "what shall run"),
        (["s", "--every", "soon", "sleep"], "--every 'soon': write it as 90s"),
        (["s", "--every", "1s", "sleep"], "intervalSeconds: "),
        (["S", "--every", "5m", "sleep"], "name: "),
        (["-f", "-", "--every", "5m"], "a NAME alone goes with it"),
        (["-f", "-", "--paused"], "a NAME alone goes with it"),
    ],
)
def test_what_makes_no_schedule(api: FakeApi, run: Any, words: list[str], told: str) -> None:
    ended = run("create", *words)
    assert ended.exit_code == 2
    assert told in ended.stderr
    assert not api.requests


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "there is no schedule in it"),
        ("[]", "a schedule is an object"),
        ('{"kind": "LongTask", "apiVersion": "longtask.dev/v1alpha1"}', "no LongTaskSchedule of"),
        ('{"name": "s", "tpye": 1}', "tpye"),
        (
            '{"kind": "LongTaskSchedule", "apiVersion": "longtask.dev/v1alpha1",'
            ' "metadata": {"name": "s", "labels": {}}, "spec": {}}',
            "metadata.labels: only kubectl takes it",
        ),
    ],
)
def test_a_file_that_makes_none(api: FakeApi, run: Any, text: str, told: str) -> None:
    ended = run("create", "-f", "-", input=text)
    assert ended.exit_code == 2
    assert told in ended.stderr
    several = json.dumps({"name": "s", "schedule": "@daily", "taskTemplate": TEMPLATE})
    ended = run("create", "name", "-f", "-", input=f"{several}\n---\n{several}")
    assert "the file holds several" in ended.stderr
    assert not api.requests


def test_a_change_is_what_the_words_say(api: FakeApi, run: Any) -> None:
    api.on("PATCH", S, a_schedule())
    assert run("set", "s", "schedule=0 7 * * *", "maxFailures=null", "suspend=true").stdout == "s\n"
    assert api.body == {"schedule": "0 7 * * *", "maxFailures": None, "suspend": True}


def test_a_run_that_is_started_by_hand_is_seen_through(api: FakeApi, run: Any) -> None:
    api.on("POST", f"{S}:trigger", asked("s-1"), status=202)
    ended_well = a_task("s-1", "Succeeded", finishedAt=TIME)
    api.on("GET", "/api/v1/tasks/s-1", a_problem(404), a_task("s-1"), ended_well)
    api.on("GET", "/api/v1/tasks/s-1/result", {"n": 1})
    assert run("trigger", "s").stdout == "s-1\n"
    seen = run("trigger", "s", "--wait")
    assert seen.exit_code == 0, seen.output
    assert json.loads(seen.stdout) == {"n": 1}


def test_what_a_poller_reads_is_what_the_api_says(api: FakeApi, run: Any) -> None:
    said = {
        "id": "s",
        "executionTime": 1.5,
        "lastExecuteTime": TIME,
        "lastExecutionData": None,
        "lastExecutionDataUrl": "/api/v1/tasks/s-1/result",
        "lastExecutionError": "it broke",
        "lastExecutionStatus": "Failed",
    }
    api.on("GET", f"{S}/status", said)
    assert json.loads(run("status", "s", "-o", "json").stdout) == said
    shown = run("status", "s").stdout
    for line in ("Status:    Failed", "Took:      1.5 s", "Data:      /api/v1/tasks/s-1/result"):
        assert line in shown


def test_a_schedule_says_why_it_starts_nothing(api: FakeApi, run: Any) -> None:
    stopped = a_schedule(
        suspended=True, reason="MaxFailures", failuresInARow=3, maxFailures=3, skipped=2
    )
    api.on(
        "GET",
        S,
        stopped,
        a_schedule(reason="TypeNotFound"),
        a_schedule(suspended=True, reason="Ended"),
    )
    shown = run("show", "s")
    assert "State:        stopped\n" in shown.stdout
    assert "Passed over:  2\n" in shown.stdout
    assert "Failures:     3 in a row, of 3 that stop it\n" in shown.stdout
    assert "longtask schedule reset s" in shown.stderr
    for state in ("TypeNotFound", "ended"):
        assert f"State:     {state}\n" in run("show", "s").stdout
