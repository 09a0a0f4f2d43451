"""How the process ends once the outcome is written, whatever the task left running."""

import subprocess
import sys

import pytest

SCRIPT = """
import atexit, concurrent.futures, sys, threading
from longtask_runner import leaving

def start(work):
    threading.Thread(target=work, name="left-behind").start()

atexit.register(print, "exit handlers ran")
sys.stdout.write("unflushed, ")
{left}
leaving.bound(3, patience={patience})
sys.exit(3)
"""
HOURS = 10_000.0


def leave(left: str, *, patience: float) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(left=left, patience=patience)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("left", "words"),
    [
        pytest.param("", "", id="nothing"),
        pytest.param(
            "threading.Thread(target=threading.Event().wait, daemon=True).start()",
            "",
            id="a-thread-that-nobody-waits-for",
        ),
        pytest.param(
            "start(lambda: print('done', threading.main_thread().join(), end=', '))",
            "done None, ",
            id="a-thread-that-ends-after-the-main-one",
        ),
        pytest.param("concurrent.futures.ThreadPoolExecutor().submit(int)", "", id="an-idle-pool"),
    ],
)
def test_what_ends_is_waited_for(left: str, words: str) -> None:
    done = leave(left, patience=HOURS)
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout == f"unflushed, {words}exit handlers ran\n"


@pytest.mark.parametrize(
    ("left", "words"),
    [
        pytest.param(
            "start(threading.Event().wait)", "0.1 s for threads: left-behind", id="a-thread"
        ),
        pytest.param(
            "atexit.register(threading.Event().wait)",
            "0.1 s for an exit handler",
            id="an-exit-handler",
        ),
        pytest.param(
            "sys.stdout.close(); start(threading.Event().wait)",
            "0.1 s for threads: left-behind",
            id="a-thread-and-no-standard-output",
        ),
    ],
)
def test_what_does_not_end_is_left_behind_and_named(left: str, words: str) -> None:
    done = leave(left, patience=0.1)
    assert (done.returncode, done.stderr) == (3, f"longtask: left after waiting {words}\n")
