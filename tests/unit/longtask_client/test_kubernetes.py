"""The command by a kubeconfig alone."""

import asyncio
import contextlib
import gc
import getpass
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import CancelledError
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api_support import eventually, put_ended_task, put_run, put_schedule, put_task
from longtask_adapters.kube import errors as cluster_errors
from longtask_adapters.kube.connection import Connection
from longtask_adapters.kube.transport import KubernetesTransport
from longtask_adapters.testing import MemoryKubernetes
from longtask_client import errors, models
from longtask_client.cli import kubernetes, program, session
from longtask_crds import names, v1alpha1
from longtask_crds.schedule import runs
from longtask_crds.testing import NAMESPACE, NOW
from stream_support import put_ended, put_started

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
    monkeypatch.setattr(KubernetesTransport, "connect", lambda kubeconfig: reached(memory))

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


def test_several_of_a_file_are_handed_over_each_for_itself(
    run: Run, memory: MemoryKubernetes, tmp_path: Path
) -> None:
    put_task(memory, "b")
    orders = "---\n".join(f"type: sleep\nname: {name}\n" for name in "abc")
    (tmp_path / "tasks.yaml").write_text(orders)
    made = run("submit", "-f", str(tmp_path / "tasks.yaml"))
    assert (made.exit_code, made.stdout) == (8, "a\nc\n"), made.output
    assert "task 2 (b):" in made.stderr
    assert {key.name for key in memory.objects(names.LONGTASKS)} == {"a", "b", "c"}


def test_what_fits_is_cancelled_by_the_api_alone(run: Run) -> None:
    ended = run("cancel", "--queue", "gpu", "--yes")
    assert ended.exit_code == 6
    assert "needs LongTask's API" in ended.stderr


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


def test_schedules_are_made_looked_at_and_changed(run: Run, memory: MemoryKubernetes) -> None:
    made = run("schedule", "create", "rates", "--every", "5m", "sleep", "seconds=5")
    assert (made.exit_code, made.stdout) == (0, "rates\n"), made.output
    stored = memory.stored(names.LONGTASKSCHEDULES, "rates")
    template = {"spec": {"type": "sleep", "input": {"seconds": 5}}}
    assert stored["spec"] == {"intervalSeconds": 300, "taskTemplate": template}
    assert run("schedule", "create", "rates", "--every", "5m", "sleep").exit_code == 8
    put_schedule(memory, "another", metadata={"labels": {names.OWNER_LABEL: "ann"}})
    assert run("schedule", "list", "-o", "name").stdout == "another\nrates\n"
    assert run("schedule", "list", "-o", "name", "--owner", "ann").stdout == "another\n"
    assert run("schedule", "list", "-o", "name", "--limit", "1").stdout == "another\n"
    for verb, suspended in (("pause", True), ("resume", False)):
        shown = run("schedule", verb, "rates", "-o", "json")
        assert json.loads(shown.stdout)["suspended"] is suspended
        assert memory.stored(names.LONGTASKSCHEDULES, "rates")["spec"]["suspend"] is suspended
    assert run("schedule", "set", "rates", "suspend=null", "maxFailures=3").exit_code == 0
    spec = memory.stored(names.LONGTASKSCHEDULES, "rates")["spec"]
    assert spec == {"intervalSeconds": 300, "taskTemplate": template, "maxFailures": 3}
    assert "every 5m" in run("schedule", "show", "rates").stdout
    assert run("schedule", "delete", "rates").exit_code == 0
    assert run("schedule", "show", "rates").exit_code == 5


def test_what_only_the_api_knows_is_refused_in_words(run: Run) -> None:
    ended = run("whoami")
    assert ended.exit_code == 6
    assert "there is none here: give --url" in ended.stderr


# --- followed by a watch


Story = Callable[[], Awaitable[None]]


@pytest.fixture
def meanwhile(memory: MemoryKubernetes, monkeypatch: pytest.MonkeyPatch) -> Callable[[Story], None]:
    """Lets something happen in the cluster while a command looks."""

    def tell(story: Story) -> None:
        @contextlib.asynccontextmanager
        async def connect(kubeconfig: Path | None) -> AsyncIterator[MemoryKubernetes]:
            task = asyncio.ensure_future(story())
            yield memory
            await task

        monkeypatch.setattr(KubernetesTransport, "connect", connect)

    return tell


def is_watched(memory: MemoryKubernetes, times: int = 1) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        return memory.calls.count("watch longtasks") >= times

    return is_so


@pytest.mark.parametrize("words", [("wait", "a"), ("get", "a", "-w"), ("wait", "a", "b")])
def test_a_task_is_followed_by_a_watch(
    run: Run, memory: MemoryKubernetes, meanwhile: Any, words: tuple[str, ...]
) -> None:
    for name in "ab":
        put_task(memory, name)

    async def story() -> None:
        await eventually(is_watched(memory))
        put_started(memory)
        put_started(memory, progress={"percent": 40})
        put_started(memory, "another")
        for name in "ba":
            put_ended(memory, name)

    meanwhile(story)
    ended = run(*words)
    assert ended.exit_code == 0, ended.output
    told = ended.stdout if "-w" in words else ended.stderr
    assert [told.count(text) for text in ("Running", "40%", "another")] == [2, 1, 0]
    assert memory.calls.count("list longtasks") == (1 if "b" in words else 0)


def test_a_watch_that_breaks_off_goes_on(
    run: Run, memory: MemoryKubernetes, meanwhile: Any
) -> None:
    put_task(memory)

    async def story() -> None:
        await eventually(is_watched(memory))
        put_started(memory)
        memory.go_away()
        await asyncio.sleep(0)
        memory.come_back()
        await eventually(is_watched(memory, 2))
        put_ended(memory)

    meanwhile(story)
    shown = run("get", "a", "-w", "-o", "jsonpath={.phase}")
    assert shown.stdout.split() == ["Pending", "Running", "Succeeded"]


def test_a_wait_has_an_end_though_nothing_happens(run: Run, memory: MemoryKubernetes) -> None:
    put_task(memory)
    assert run("wait", "a", "--timeout", "0.2").exit_code == 4


class InSight:
    """A list that stays in sight, and what happens in the cluster."""

    def __init__(self, cluster: kubernetes.Cluster, seen: Iterator[models.TaskView]) -> None:
        self._cluster = cluster
        self._seen = seen

    def next(self, count: int = 1) -> list[str]:
        found = [next(self._seen) for _ in range(count)]
        return [f"{task.id} {task.phase} {task.percent}" for task in found]

    def do(self, what: Callable[..., object], *words: Any, **more: Any) -> None:
        """Do something in the cluster, in the thread that it lives in."""

        async def done() -> None:
            what(*words, **more)

        self._cluster.wait_for(done())


@pytest.fixture
def hastened(memory: MemoryKubernetes) -> Iterator[kubernetes.Cluster]:
    """A client that comes back at once."""
    made = kubernetes.Cluster(namespace=NAMESPACE, connect=lambda: reached(memory))
    made._sleep = lambda _: None
    yield made
    if not made._loop.is_closed():
        made.close()


def test_a_list_stays_in_sight_by_one_watch(
    hastened: kubernetes.Cluster, memory: MemoryKubernetes
) -> None:
    put_started(memory, "a")
    put_task(memory, "b")
    wanted = models.TaskFilter(phases=("Running",))
    one = InSight(hastened, hastened.changes(wanted))
    assert one.next() == ["a Running None"]
    one.do(put_ended, memory, "b")  # it never was in the list
    one.do(put_started, memory, "a", progress={"percent": 40})
    assert one.next() == ["a Running 40"]
    one.do(put_started, memory, "c")
    one.do(put_ended, memory, "a")
    assert one.next(2) == ["c Running None", "a Succeeded 100"]
    assert memory.calls.count("watch longtasks") == 1
    assert memory.calls.count("list longtasks") == 2


def test_a_list_misses_and_doubles_nothing_when_the_watch_breaks_off(
    hastened: kubernetes.Cluster, memory: MemoryKubernetes
) -> None:
    for name in "abc":
        put_task(memory, name)
    one = InSight(hastened, hastened.changes())
    assert len(one.next(3)) == 3
    one.do(put_started, memory, "a")
    assert one.next() == ["a Running None"]
    for way in (memory.end_watches, memory.go_away):
        one.do(way)
        one.do(memory.come_back)
        name = way.__name__
        one.do(put_task, memory, name)
        one.do(put_started, memory, name, progress={"percent": 50})
        assert one.next(2)[-1] == f"{name} Running 50"
    one.do(put_ended, memory, "a")
    assert one.next() == ["a Succeeded 100"]


def test_what_kubernetes_has_forgotten_is_listed_again(
    hastened: kubernetes.Cluster, memory: MemoryKubernetes
) -> None:
    for name in "abc":
        put_task(memory, name)
    one = InSight(hastened, hastened.changes())
    assert len(one.next(3)) == 3
    one.do(put_started, memory, "a")
    assert one.next() == ["a Running None"]

    def forget() -> None:
        memory.go_away()
        memory.remove_task("b")
        put_started(memory, "c")
        memory.compact()
        memory.come_back()

    one.do(forget)
    assert one.next() == ["c Running None"]
    one.do(put_task, memory, "d")
    assert one.next() == ["d Pending None"]
    one.do(put_task, memory, "b")  # another of that name
    assert one.next() == ["b Pending None"]
    one.do(put_ended, memory, "a")
    assert one.next() == ["a Succeeded 100"]


def test_what_is_interrupted_leaves_nothing_behind(
    hastened: kubernetes.Cluster, memory: MemoryKubernetes, caplog: pytest.LogCaptureFixture
) -> None:
    put_task(memory)
    told: list[str] = []
    gc.collect()  # what others have left is told before
    caplog.clear()

    def interrupted() -> None:
        with contextlib.suppress(errors.LongTaskError, CancelledError):
            told.extend(one.id for one in hastened.changes())

    watching = threading.Thread(target=interrupted)
    watching.start()
    hastened.wait_for(eventually(is_watched(memory)))
    hastened.close()
    watching.join(timeout=60)
    assert not watching.is_alive()
    assert told == ["a"]
    gc.collect()
    assert caplog.records == []


def test_one_that_is_over_and_known_is_told_of_no_more(
    hastened: kubernetes.Cluster, memory: MemoryKubernetes
) -> None:
    put_ended(memory)
    told = list(hastened.events("a"))
    assert [one.name for one in told] == ["status", "result"]
    assert list(hastened.events("a", last_id=told[-1].id)) == []


def test_one_of_several_that_is_deleted_is_told_of_though_nothing_else_was(
    hastened: kubernetes.Cluster, memory: MemoryKubernetes
) -> None:
    for name in "ab":
        put_task(memory, name)
    one = InSight(hastened, hastened.follow_all(["a", "b"], timeout=60))
    assert one.next(2) == ["a Pending None", "b Pending None"]
    one.do(put_started, memory, "a")
    assert one.next() == ["a Running None"]
    one.do(memory.remove_task, "b")
    one.do(put_started, memory, "a", progress={"percent": 40})
    with pytest.raises(errors.NotFound):
        one.next(2)


def test_who_may_look_and_not_watch_looks_again_and_again(
    hastened: kubernetes.Cluster, memory: MemoryKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object) -> AsyncIterator[Any]:
        raise cluster_errors.NoRight("may not watch")
        yield

    monkeypatch.setattr(Connection, "watch", refused)
    for name in "ab":
        put_task(memory, name)
    one = InSight(hastened, hastened.follow_all(["a", "b"], timeout=60))
    assert one.next(2) == ["a Pending None", "b Pending None"]
    for name in "ab":
        one.do(put_ended, memory, name)
    assert one.next(2) == ["a Succeeded 100", "b Succeeded 100"]


def test_a_watch_that_ends_at_once_is_not_opened_again_at_once(
    memory: MemoryKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ended(*_: object) -> AsyncIterator[Any]:
        for nothing in ():
            yield nothing

    monkeypatch.setattr(memory, "_watched", ended)
    with kubernetes.Cluster(namespace=NAMESPACE, connect=lambda: reached(memory)) as made:
        pauses: list[float] = []

        def sleep(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                raise KeyboardInterrupt

        made._sleep = sleep
        with pytest.raises(KeyboardInterrupt):
            list(made.events_of())
    assert memory.calls.count("watch longtasks") == 3
    assert min(pauses) >= 0.5


# --- schedules and their runs


def test_a_run_is_asked_for_and_its_end_seen(
    run: Run, memory: MemoryKubernetes, meanwhile: Any
) -> None:
    put_schedule(memory)
    asked: list[str] = []

    async def story() -> None:
        async def is_asked() -> bool:
            raw = memory.stored(names.LONGTASKSCHEDULES, "s")
            text = raw["metadata"].get("annotations", {}).get(names.RUN_AT_ANNOTATION)
            if text is not None:
                (at,) = runs.asked(v1alpha1.LongTaskSchedule.model_validate(raw))
                asked.append(names.run_name("s", at))
            return text is not None

        await eventually(is_asked)
        put_ended_task(memory, asked[-1], result={"value": 7})

    meanwhile(story)
    ended = run("schedule", "trigger", "s", "--wait")
    assert (ended.exit_code, ended.stdout) == (0, "7"), ended.output
    meanwhile(lambda: asyncio.sleep(0))
    assert run("schedule", "trigger", "s").stdout.startswith("s-")
    assert run("schedule", "trigger", "none").exit_code == 5


def test_a_reset_says_when_and_who_and_lets_it_go_on(run: Run, memory: MemoryKubernetes) -> None:
    last = datetime(2999, 1, 1, tzinfo=UTC)  # by a clock that was ahead
    status = {"failuresInARow": 3, "resetAt": runs.text_of(last)}
    put_schedule(memory, status=status)
    put_schedule(memory, spec={"suspend": True})
    assert run("schedule", "reset", "s", "-o", "name").stdout == "s\n"
    stored = memory.stored(names.LONGTASKSCHEDULES, "s")
    when, _, who = stored["metadata"]["annotations"][names.RESET_ANNOTATION].partition(" ")
    assert (runs.read_time(when), who) == (last + timedelta(seconds=1), getpass.getuser())
    assert stored["spec"]["suspend"] is False
    assert run("schedule", "reset", "none").exit_code == 5


def test_a_backfill_asks_for_each_time_that_was_due(run: Run, memory: MemoryKubernetes) -> None:
    put_schedule(memory)
    day = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T03:00:00Z")
    due = [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in range(3)]
    asked = run("schedule", "backfill", "s", *day, "-o", "name")
    assert asked.stdout.split() == [names.run_name("s", at) for at in due]
    stored = v1alpha1.LongTaskSchedule.model_validate(memory.stored(names.LONGTASKSCHEDULES, "s"))
    assert runs.asked(stored) == tuple(due)


@pytest.mark.parametrize(
    ("since", "until", "told"),
    [
        pytest.param("2026-01-02", "2026-01-01", "ends before it begins", id="backwards"),
        pytest.param("2026-01-02", "2999-01-01", "is not past yet", id="to-come"),
        pytest.param("2025-01-01", "2026-01-01", "More than 100 times", id="too-many"),
    ],
)
def test_a_backfill_of_no_range_is_refused_in_words(
    run: Run, memory: MemoryKubernetes, since: str, until: str, told: str
) -> None:
    put_schedule(memory)
    ends = ("--from", f"{since}T00:00:00Z", "--to", f"{until}T00:00:00Z")
    refused = run("schedule", "backfill", "s", *ends)
    assert (refused.exit_code, told in refused.stderr) == (2, True)
    assert "annotations" not in memory.stored(names.LONGTASKSCHEDULES, "s")["metadata"]


def test_a_run_of_what_is_not_accepted_or_asked_too_much_is_refused(
    run: Run, memory: MemoryKubernetes
) -> None:
    stamp = "2026-01-02T03:04:05Z"
    accepted = {"type": "Accepted", "status": "False", "reason": "Invalid", "message": "no type"}
    status = {
        "observedGeneration": 1,
        "conditions": [accepted | {"lastTransitionTime": stamp}],
    }
    put_schedule(memory, metadata={"generation": 1}, status=status)
    refused = run("schedule", "trigger", "s")
    assert refused.exit_code == 8
    assert "can start no run: no type" in refused.stderr
    text = runs.asking(NOW + timedelta(seconds=n) for n in range(runs.MOST_WAITING))
    put_schedule(memory, "t", metadata={"annotations": {names.RUN_AT_ANNOTATION: text}})
    refused = run("schedule", "trigger", "t")
    assert refused.exit_code == 8
    assert "So many runs are asked for already" in refused.stderr


def test_runs_status_and_data_are_of_what_is_in_the_cluster(
    run: Run, memory: MemoryKubernetes
) -> None:
    ended = {"number": 2, "scheduledAt": "2026-01-02T02:00:00Z", "phase": "Failed", "seconds": 60}
    record = ended | {"name": "s-2", "error": "it broke", "finishedAt": "2026-01-02T02:01:00Z"}
    put_schedule(memory, metadata={"labels": {names.OWNER_LABEL: "ann"}}, status={"runs": [record]})
    first = put_run(memory, NOW - timedelta(hours=2), owner="ann", result={"value": {"n": 1}})
    second = put_run(memory, NOW - timedelta(hours=1), owner="ann", number=2, phase="Failed")
    put_run(memory, NOW, owner="bob")
    shown = run("schedule", "runs", "s")
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["RUN", second, first]
    assert "Archived runs are missing" in shown.stderr
    assert run("schedule", "runs", "s", "-o", "name", "--limit", "1").stdout == f"{second}\n"
    shown = run("schedule", "status", "s")
    assert "Failed" in shown.stdout
    assert "it broke" in shown.stdout
    assert 'Data:      {"n": 1}' in shown.stdout
    assert shown.stderr == ""
    shown = run("schedule", "data", "s", "-o", "jsonpath={.items[*].data.n}")
    assert shown.stdout.strip() == "1"
    assert "Archived runs are missing" in shown.stderr


def test_data_that_is_not_in_the_cluster_is_said_to_be_missing(
    run: Run, memory: MemoryKubernetes
) -> None:
    put_schedule(memory, status={"lastSuccessfulTime": "2026-01-01T00:00:00Z"})
    assert "Archived runs are missing" in run("schedule", "status", "s").stderr
    large = {"ref": {"size": 9, "sha256": "0" * 64}}
    name = put_run(memory, NOW - timedelta(hours=1), result=large)
    for part in ("status", "data"):
        told = run("schedule", part, "s").stderr
        assert f"What {name} brought is large, and kept by LongTask's API" in told
    put_schedule(memory, "fresh")
    shown = run("schedule", "status", "fresh")
    assert "none has ended yet" in shown.stdout
    assert shown.stderr == ""


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
