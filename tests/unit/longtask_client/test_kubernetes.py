"""The command by a kubeconfig alone."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api_support import put_ended_task, put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_client import errors, models
from longtask_client.cli import kubernetes, program, session
from longtask_crds import names
from longtask_crds.testing import NAMESPACE

Run = Callable[..., Any]


@pytest.fixture
def memory() -> MemoryKubernetes:
    made = MemoryKubernetes()
    made.put(names.LONGTASKTYPES, "sleep", spec={"description": "It sleeps"})
    return made


@contextlib.asynccontextmanager
async def reached(memory: MemoryKubernetes) -> AsyncIterator[MemoryKubernetes]:
    yield memory


@pytest.fixture
def cluster(memory: MemoryKubernetes) -> kubernetes.Cluster:
    return kubernetes.Cluster(namespace=NAMESPACE, connect=lambda: reached(memory))


@pytest.fixture
def run(memory: MemoryKubernetes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command where a kubeconfig is all that there is."""
    for name in ("LONGTASK_URL", "LONGTASK_TOKEN", "LONGTASK_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LONGTASK_CONFIG", str(tmp_path / "none.yaml"))
    monkeypatch.setenv("KUBECONFIG", "/somewhere")
    monkeypatch.setattr(
        kubernetes.KubernetesTransport, "connect", lambda kubeconfig: reached(memory)
    )

    def invoke(*words: str) -> Any:
        return CliRunner().invoke(program.app, list(words), prog_name="longtask")

    return invoke


def test_a_task_is_handed_over_looked_at_and_cancelled(run: Run, memory: MemoryKubernetes) -> None:
    made = run("submit", "sleep", "seconds=5", "--name", "nap", "-l", "team=red")
    assert (made.exit_code, made.stdout) == (0, "nap\n"), made.output
    stored = memory.objects(names.LONGTASKS)[names.ObjectKey(NAMESPACE, "nap")]
    assert stored["spec"] == {"type": "sleep", "input": {"seconds": 5}}
    assert stored["metadata"]["labels"] == {"team": "red"}
    assert run("submit", "sleep", "--name", "nap").exit_code == 8
    assert json.loads(run("get", "nap", "-o", "json").stdout)["phase"] == "Pending"
    assert run("cancel", "nap").exit_code == 0
    stored = memory.objects(names.LONGTASKS)[names.ObjectKey(NAMESPACE, "nap")]
    assert stored["spec"]["cancel"] is True


def test_tasks_are_listed_by_what_their_resources_tell(run: Run, memory: MemoryKubernetes) -> None:
    put_task(memory, "a", metadata={"labels": {"team": "red"}})
    put_ended_task(memory, "b", phase="Failed")
    assert run("list", "-o", "name", "-l", "team=red").stdout == "a\n"
    assert run("list", "-o", "name", "--phase", "failed").stdout == "b\n"
    assert run("list", "-o", "name", "--type", "none").stdout == ""
    assert run("list", "--search", "x").exit_code == 6
    assert "It sleeps" in run("types").stdout
    assert json.loads(run("types", "sleep", "-o", "json").stdout)["name"] == "sleep"


def test_waiting_and_its_outcome(run: Run, memory: MemoryKubernetes) -> None:
    put_ended_task(memory, "a", result={"value": {"n": 1}})
    put_ended_task(memory, "b", result={"ref": {"size": 9, "sha256": "0" * 64}})
    put_task(memory, "c")
    assert run("wait", "a").exit_code == 0
    assert json.loads(run("result", "a").stdout) == {"n": 1}
    assert "kept by LongTask's API" in run("result", "b").stderr
    assert run("result", "c").exit_code == 8
    assert run("delete", "a").exit_code == 0
    assert run("get", "a").exit_code == 5


def test_a_log_is_that_of_the_attempts_pod(run: Run, memory: MemoryKubernetes) -> None:
    put_task(memory, "early")
    put_ended_task(memory, "a")
    memory.put("pods", "a-pod", metadata={}, status={"phase": "Running"})
    memory.logs["a-pod"] = [b"one\n", b"two\n"]
    assert run("logs", "early").exit_code == 8
    assert run("logs", "a", "--tail", "5").stdout == "one\ntwo\n"
    assert run("logs", "a", "--attempt", "7").exit_code == 8


def test_what_only_the_api_knows_is_refused_in_words(run: Run) -> None:
    ended = run("whoami")
    assert ended.exit_code == 6
    assert "there is none here: give --url" in ended.stderr


def test_it_is_a_client_like_the_other(cluster: kubernetes.Cluster) -> None:
    with cluster:
        task = cluster.submit(models.TaskOrder(type="sleep", input={"seconds": 1}))
        assert task.id.startswith("sleep-")
        assert cluster.state(task.id).state == "Pending"
        with pytest.raises(errors.WaitTimeout):
            task.wait(timeout=0)
        with pytest.raises(errors.NotFound):
            cluster.get("none")


def test_a_url_goes_before_a_kubeconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/somewhere")
    asked: list[str] = []

    def connect(url: str, token: str | None) -> Any:
        asked.append(url)

    session.Session(connect=connect, url="https://longtask.test").open()
    assert asked == ["https://longtask.test"]
