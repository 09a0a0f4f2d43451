"""Subscriptions and the audit from Python and from the command line, against the real API."""

import asyncio
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api_support import TOKEN
from longtask_adapters.testing import MemoryKubernetes, MemorySender
from longtask_api import settings
from longtask_client import AsyncClient, Client, Conflict, InvalidRequest, NotFound, calls, models
from longtask_client.cli import program
from longtask_crds import delivery, names, signing_keys
from longtask_crds.testing import NOW
from longtask_crds.v1alpha1 import TaskEvent
from transcript_support import Installation, Meanwhile

URL = "https://longtask.example.com"
HOOK = "https://hooks.invalid/in"
#: What makes the task's end news.
ENDED = {
    "phase": "Succeeded",
    "attempt": 1,
    "finishedAt": "2026-01-02T03:04:35Z",
    "conditions": [
        {"type": kind, "status": "True", "reason": "Completed", "message": ""}
        | {"lastTransitionTime": "2026-01-02T03:04:35Z"}
        for kind in ("Finished", "Succeeded")
    ],
}


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    (tmp_path / "token").write_text(TOKEN)
    kubernetes = MemoryKubernetes()
    kubernetes.put(names.LONGTASKQUEUES, "default", spec={"maxRunning": 2})
    kubernetes.put(names.LONGTASKTYPES, "sleep", spec={"inputSchema": {"type": "object"}})
    kubernetes.add_secret(signing_keys.KEYS_SECRET, {}, namespace="longtask")
    configured = settings.Settings(token_file=tmp_path / "token", data_directory=tmp_path)
    sender = MemorySender()
    sender.answers = [delivery.Try(at=NOW, problem=delivery.Problem.NAME_NOT_RESOLVED)]
    with Installation(kubernetes, configured, sender=sender) as running:
        yield running


@pytest.fixture
def api(installation: Installation) -> Iterator[Client]:
    with Client(URL, TOKEN, transport=installation) as made:
        yield made


@pytest.fixture
def run(installation: Installation) -> Any:
    def connect(url: str, token: str | None) -> Client:
        return Client(url, token, transport=installation)

    def invoke(*words: str) -> Any:
        environment = {"LONGTASK_URL": URL, "LONGTASK_TOKEN": TOKEN}
        return CliRunner().invoke(program.app, list(words), obj=connect, env=environment)

    return invoke


def test_a_subscription_from_python(api: Client) -> None:
    order = models.SubscriptionOrder(url=HOOK, filter=models.SubscriptionFilter(type="sleep"))
    made = api.subscribe(order)
    assert made == api.subscription(made.id)
    assert [one.id for one in api.subscriptions()] == [made.id]
    assert made.events == [TaskEvent.SUCCEEDED, TaskEvent.FAILED, TaskEvent.CANCELLED]
    changed = api.change_subscription(made.id, models.SubscriptionChange(paused=True))
    assert changed.paused
    assert changed.filter == made.filter
    with pytest.raises(Conflict):
        api.redeliver_to(made.id, state=models.DeliveryState.GIVEN_UP)
    with pytest.raises(InvalidRequest):
        api.subscribe(models.SubscriptionOrder(url="https://10.0.0.1/"))
    api.unsubscribe(made.id)
    with pytest.raises(NotFound):
        api.subscription(made.id)


def test_deliveries_from_python_and_from_the_command_line(
    api: Client, run: Any, installation: Installation
) -> None:
    made = api.subscribe(models.SubscriptionOrder(url=HOOK))
    api.submit(models.TaskOrder(name="report", type="sleep", input={}))
    installation.happen(Meanwhile("", "report", ENDED))
    found: list[models.DeliveryView] = []
    while not found or not found[0].tries:
        found = list(api.deliveries(made.id, limit=5))
    assert (found[0].task_id, found[0].event) == ("report", "succeeded")
    assert found[0].last_error == "NameNotResolved"
    shown = run("subscription", "deliveries", made.id).stdout
    assert "report" in shown
    assert "NameNotResolved" in shown
    assert list(api.deliveries(made.id, state=models.DeliveryState.SENT)) == []
    assert run("subscription", "redeliver", made.id, "--since", "1h").stdout == "0\n"
    assert run("subscription", "redeliver", made.id).exit_code == 2


def test_a_subscription_from_the_command_line(run: Any) -> None:
    words = ["--event", "failed", "--event", "retrying", "--type", "sleep", "--label", "a=b=c"]
    added = run("subscription", "add", HOOK, *words, "--format", "slack", "--for", "on call")
    assert added.exit_code == 0, added.output
    made = json.loads(run("subscription", "show", added.stdout.strip(), "-o", "json").stdout)
    assert made["events"] == ["retrying", "failed"]
    assert made["filter"]["labels"] == {"a": "b=c"}
    assert (made["format"], made["description"]) == ("slack", "on call")
    assert run("subscription", "set", made["id"], "--pause").stdout == f"{made['id']}\n"
    table = run("subscription", "list").stdout
    assert "paused" in table
    assert "type=sleep a=b=c" in table
    assert run("subscription", "set", made["id"]).exit_code == 2
    assert run("subscription", "add", HOOK, "--label", "nonsense").exit_code == 2
    assert run("subscription", "delete", made["id"]).stdout == f"{made['id']}\n"
    assert "No subscriptions." in run("subscription", "list").stderr


def test_who_did_what(api: Client, run: Any) -> None:
    api.submit(models.TaskOrder(name="report", type="sleep", input={}))
    found: list[models.AuditEntry] = []
    while not found:  # it is written beside the requests
        found = list(api.audit(act="createTask"))
    (made,) = found
    assert (made.actor, made.target, made.outcome) == ("installation", "report", "done")
    assert list(api.audit(actor="installation", target="report", limit=1)) == [made]
    assert list(api.audit(actor="ada")) == []
    shown = run("audit", "--by", "installation", "--act", "createTask")
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[0].split()[:3] == ["TIME", "WHO", "ACT"]
    assert "createTask" in shown.stdout
    assert "No acts." in run("audit", "--target", "nobody").stderr


def test_each_call_is_a_method_of_both_clients() -> None:
    for module in (calls.subscriptions, calls.audit):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and name[0] != "_":
                assert hasattr(Client, name), name
                assert hasattr(AsyncClient, name), name
    assert asyncio.iscoroutinefunction(AsyncClient.subscribe)
