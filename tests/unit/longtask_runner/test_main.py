"""Whole attempts: the runner as a process, from input file to exit code."""

import json
import signal
import subprocess
import sys

import pytest

MODULE = '''
import os, sys, threading
from longtask_runner import Context, Permanent, TryAgain, task

@task
def greet(name: str, ctx: Context) -> dict[str, object]:
    print("hello", name)
    return {"name": name, "who": [ctx.name, ctx.namespace, ctx.uid, ctx.attempt]}

@task
def fail():
    raise ValueError("bad\\nworse")

@task
def permanent():
    raise Permanent("no use")

@task
def again():
    raise TryAgain("later")

@task
def leave(status: int | None = None):
    sys.exit(status)

@task
def huge() -> int:
    return 2**63

@task
def resume(ctx: Context) -> object:
    return ctx.saved_checkpoint

@task
def linger(ctx: Context, leave_thread: bool = False) -> None:
    """Waits for SIGTERM, with a thread that would keep a process alive."""
    if leave_thread:
        threading.Thread(target=threading.Event().wait).start()
    ctx.progress(10, 100, "waiting")
    try:
        print("ready")
        ctx.wait(600)
    finally:
        ctx.checkpoint({"at": 10})
        print("cleaned up")

@task
def obey(ctx: Context) -> None:
    ctx.progress(1)
    print("ready")
    ctx.wait(600)
    return {"cancelled": ctx.cancel_requested}

@task
async def sweep(ctx: Context) -> dict[str, object]:
    import asyncio
    ctx.progress(10, 100, "waiting")
    print("ready")
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        await asyncio.sleep(0.01)
        ctx.checkpoint({"at": 10})
        print("cleaned up")
        raise

@task
async def later() -> list[int]:
    return [1]

@task
async def fail_later():
    import asyncio
    await asyncio.sleep(0)
    raise ValueError("bad")

@task
def generator():
    yield 1

@task
def leftover() -> int:
    """Leaves a thread that never ends."""
    threading.Thread(target=threading.Event().wait).start()
    return 7

@task
def report(ctx: Context) -> int:
    ctx.progress(1, 2)
    return 25

@task
def report_and_fail(ctx: Context):
    ctx.progress(1, 2)
    raise TryAgain("later")

@task
def forks() -> list[int]:
    import signal
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(tell, b"!")
        while True:
            pass
    os.read(ready, 1)
    os.kill(child, signal.SIGTERM)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]

@task
def forks_late() -> int:
    """Leaves a thread that ends a process of its own, when the task has long ended."""
    def work():
        threading.main_thread().join()
        print("child:", forks())
    threading.Thread(target=work).start()
    return 7
'''
NAMES = [
    "greet", "fail", "permanent", "again", "leave", "huge", "resume", "linger", "obey", "forks",
    "report", "leftover", "forks_late", "sweep", "later", "report_and_fail", "fail_later",
    "generator",
]  # fmt: skip


@pytest.fixture
def probe(pod):
    pod.install("probe", {name: f"probe_module:{name}" for name in NAMES}, probe_module=MODULE)
    return pod


@pytest.mark.parametrize(
    ("task", "members", "code", "output"),
    [
        pytest.param(
            "greet",
            {"name": "\u00fc"},
            0,
            '{"name":"\u00fc","who":["a-task","longtasks","a-uid",2]}',
            id="a-result-is-written",
        ),
        pytest.param("leave", {}, 0, "null", id="a-silent-exit-is-success"),
        pytest.param("leave", {"status": 3}, 3, "", id="an-exit-code-of-the-tasks-own"),
        pytest.param("fail", {}, 1, "ValueError: bad\nworse", id="an-exception"),
        pytest.param("permanent", {}, 70, "PermanentFailure: no use", id="permanent"),
        pytest.param("again", {}, 75, "TryAgain: later", id="try-again"),
        pytest.param("greet", {}, 65, "InvalidInput: name: is required", id="missing-input"),
        pytest.param(
            "huge",
            {},
            76,
            "InvalidResult: the result: an integer beyond 64 bits loses digits:"
            " write it as a string",
            id="a-result-that-would-change",
        ),
        pytest.param("forks", {}, 0, "[-15]", id="a-forked-child-dies-of-sigterm-quietly"),
        pytest.param(
            "fibonacci",
            {"n": 93},
            0,
            '{"n":93,"value":"12200160415121876738"}',
            id="fibonacci-keeps-its-digits",
        ),
        pytest.param(
            "fibonacci",
            {"n": 100_000},
            73,
            "ResultTooLarge: the result has 20922 bytes of JSON; without an API to keep it,"
            " the limit is 4095",
            id="a-large-result-without-an-api",
        ),
        pytest.param("later", {}, 0, "[1]", id="an-async-task"),
        pytest.param("fail_later", {}, 1, "ValueError: bad", id="an-async-task-that-fails"),
        pytest.param(
            "generator",
            {},
            78,
            "TaskNotLoadable: 'probe_module:generator' is a generator: a task returns its result"
            " once; what it yields on its way is lost",
            id="a-generator-alone-is-not-loadable",
        ),
        pytest.param("sleep", {"seconds": 0}, 0, '{"seconds":0}', id="sleep-not-at-all"),
        pytest.param(
            "http-fetch",
            {"url": "https://169.254.169.254/latest/meta-data"},
            77,
            "AddressRefused: url: it leads to an address that is not public (AddressNotPublic)",
            id="http-fetch-refuses-metadata",
        ),
    ],
)
def test_an_attempt_ends_as_the_contract_says(probe, task, members, code, output) -> None:
    probe.input.write_text(json.dumps(members))
    done = probe.run(task)
    assert (done.returncode, probe.output.read_text()) == (code, output), done.stderr


def test_an_unknown_task_lists_what_there_is(probe) -> None:
    done = probe.run("nope")
    assert done.returncode == 78
    assert probe.output.read_text().startswith("TaskNotFound: this image has no task 'nope'")
    assert "fibonacci" in probe.output.read_text()


def test_without_an_input_file_nothing_runs(probe) -> None:
    done = probe.run("fail", LONGTASK_INPUT_FILE="/nowhere")
    assert done.returncode == 65
    assert probe.output.read_text().startswith("InvalidInput: the input file cannot be read")


def test_a_result_that_cannot_be_written_is_no_success(probe) -> None:
    done = probe.run("leave", LONGTASK_OUTPUT_FILE="/nowhere/log")
    assert done.returncode == 1
    assert "the output file cannot be written" in done.stderr


def test_the_log_shows_the_tasks_own_frames_first(probe) -> None:
    done = probe.run("fail")
    assert "probe_module.py" in done.stderr
    assert "longtask_runner/main.py" not in done.stderr
    assert done.stderr.splitlines()[0] == "longtask: started fail, attempt 2"
    assert "longtask: fail ended with exit code 1" in done.stderr.splitlines()[-1]


def test_so_it_does_of_an_async_task(probe) -> None:
    done = probe.run("fail_later")
    assert "probe_module.py" in done.stderr.splitlines()[2]
    assert "longtask_runner/" not in done.stderr
    assert "asyncio/" not in done.stderr


def test_a_large_result_goes_to_the_api_and_the_output_stays_empty(probe, api) -> None:
    probe.input.write_text('{"n": 100000}')
    done = probe.run("fibonacci", LONGTASK_API_URL=api.url)
    assert (done.returncode, probe.output.read_text()) == (0, ""), done.stderr
    path, _, body = api.requests.get(timeout=60)
    assert path == "/runner/v1/result"
    assert json.loads(body)["value"].startswith("2597406934")
    assert "succeeded in" in done.stderr
    assert "result of 20922 bytes" in done.stderr


def test_a_large_result_that_is_refused_fails_the_attempt(probe, api) -> None:
    probe.input.write_text('{"n": 100000}')
    api.answers.put((413, b'{"detail": "A result may have 10000 bytes."}'))
    done = probe.run("fibonacci", LONGTASK_API_URL=api.url)
    words = "the result has 20922 bytes: HTTP status 413: A result may have 10000 bytes."
    assert (done.returncode, probe.output.read_text()) == (73, f"ResultTooLarge: {words}")


def test_the_checkpoint_of_an_earlier_attempt_is_there(probe) -> None:
    probe.checkpoint.write_text('{"next": 7}')
    assert probe.run("resume").returncode == 0
    assert json.loads(probe.output.read_text()) == {"next": 7}


@pytest.mark.parametrize(
    "leave_thread",
    [
        pytest.param(False, id="the-task-alone"),
        pytest.param(True, id="a-thread-that-would-hold-it-up"),
    ],
)
def test_sigterm_ends_the_task_with_143_and_its_last_words(probe, api, leave_thread) -> None:
    probe.be_patient()
    probe.input.write_text(json.dumps({"leave_thread": leave_thread}))
    process = probe.start("linger", LONGTASK_API_URL=api.url)
    assert process.stdout.readline() == "ready\n"  # line by line, although it is a pipe
    assert api.next_body() == {"percent": 10, "message": "waiting"}
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert out == "cleaned up\n"
    assert probe.output.read_text() == "Cancelled: SIGTERM was received"
    assert api.next_body()["checkpoint"] == {"at": 10}


def test_sigterm_cancels_an_async_task_which_cleans_up(probe, api) -> None:
    probe.be_patient()
    process = probe.start("sweep", LONGTASK_API_URL=api.url)
    assert process.stdout.readline() == "ready\n"
    assert api.next_body() == {"percent": 10, "message": "waiting"}
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "cleaned up\n"), err
    assert probe.output.read_text() == "Cancelled: the task was told to end"
    assert api.next_body()["checkpoint"] == {"at": 10}


@pytest.mark.parametrize(
    ("task", "final"),
    [
        pytest.param("report", None, id="of-a-success-nobody-needs-it"),
        pytest.param("report_and_fail", True, id="of-a-failure-it-is-waited-for"),
    ],
)
def test_the_last_report_reaches_the_api_before_the_end(probe, api, task, final) -> None:
    probe.be_patient()
    probe.run(task, LONGTASK_API_URL=api.url)
    bodies = [api.requests.get(timeout=60)[2] for _ in range(api.requests.qsize())]
    assert (bodies[-1]["percent"], bodies[-1].get("final")) == (50, final)


def test_an_async_task_hears_from_the_api_that_it_shall_end(probe, api) -> None:
    probe.be_patient()
    api.answers.put((200, b'{"cancelRequested": true}'))
    done = probe.run("sweep", LONGTASK_API_URL=api.url)
    assert (done.returncode, done.stdout) == (143, "ready\ncleaned up\n"), done.stderr


def test_sigterm_ends_what_a_finished_task_left_with_its_outcome(probe) -> None:
    process = probe.start("leftover")
    try:
        assert "started" in process.stderr.readline()
        assert "succeeded" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, err, probe.output.read_text()) == (0, "", "7")


def test_a_thread_that_never_ends_does_not_keep_a_finished_task(probe) -> None:
    script = (
        "from longtask_runner import leaving, main\nleaving.PATIENCE_SECONDS = 0.1\nmain.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=probe.env | {"LONGTASK_TYPE": "leftover"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, probe.output.read_text()) == (0, "7")
    assert "left after waiting 0.1 s for threads: Thread-1" in done.stderr.splitlines()[-1]


def test_a_leftover_threads_own_processes_do_not_end_the_wait_for_it(probe) -> None:
    done = probe.run("forks_late")
    assert (done.returncode, done.stdout) == (0, "child: [-15]\n"), done.stderr


def test_a_task_hears_from_the_api_that_it_shall_end(probe, api) -> None:
    probe.be_patient()
    api.answers.put((200, b'{"cancelRequested": true}'))
    done = probe.run("obey", LONGTASK_API_URL=api.url)
    assert done.returncode == 0
    assert json.loads(probe.output.read_text()) == {"cancelled": True}


def test_sleep_ends_when_it_is_cancelled(probe, api) -> None:
    probe.input.write_text('{"seconds": 600}')
    probe.be_patient()
    api.answers.put((200, b'{"cancelRequested": true}'))
    done = probe.run("sleep", LONGTASK_API_URL=api.url)
    assert done.returncode == 143
    assert probe.output.read_text() == "Cancelled: the task saw that it was cancelled"


def test_an_api_that_is_away_harms_nothing(probe) -> None:
    done = probe.run("report", LONGTASK_API_URL="http://127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    assert json.loads(probe.output.read_text()) == 25
    assert "progress was not reported" in done.stderr


def test_the_tasks_of_an_image_are_listed(probe) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "longtask_runner", "--list"],
        env=probe.env,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    names = [line.split("\t")[0] for line in listed.stdout.splitlines()]
    assert names == sorted(names)
    assert {"fibonacci", "greet", "sleep"} <= set(names)


def test_any_other_argument_is_a_usage_error(probe) -> None:
    command = [sys.executable, "-m", "longtask_runner", "--help"]
    done = subprocess.run(command, env=probe.env, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "usage" in done.stderr
