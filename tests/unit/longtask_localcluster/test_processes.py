import os
from pathlib import Path

import pytest

from longtask_localcluster import processes, shell
from longtask_localcluster.processes import Process

FIELDS = " ".join(str(number) for number in range(4, 53))


@pytest.mark.parametrize(
    ("stat", "ticks"),
    [
        pytest.param(f"7 (etcd) S {FIELDS}", "22", id="running"),
        pytest.param(f"7 (a (b) c) R {FIELDS}", "22", id="parentheses-in-the-name"),
        pytest.param(f"7 (etcd) Z {FIELDS}", None, id="a-zombie-has-ended"),
    ],
)
def test_start_ticks(stat: str, ticks: str | None) -> None:
    assert processes.start_ticks(stat) == ticks


def test_a_running_process_is_alive() -> None:
    assert processes.of_pid(os.getpid()).is_alive()


@pytest.mark.parametrize(
    "process",
    [
        pytest.param(Process("x", os.getpid(), "another-boot/1"), id="a-recycled-pid"),
        pytest.param(Process("x", 2**22 + 1, "boot/1"), id="a-pid-that-nobody-has"),
        pytest.param(Process("x", 2**22 + 1, "ended"), id="ended-before-it-was-recorded"),
    ],
)
def test_others_are_dead_and_get_no_signal(process: Process) -> None:
    assert not process.is_alive()
    # If the signal reached anybody, it would be the process of this test.
    processes.kill([process])


def test_a_started_process_is_recorded_marked_and_stopped(tmp_path: Path) -> None:
    started = processes.start("sleeper", ["sleep", "60"], state=tmp_path, env={"PATH": "/bin"})
    assert processes.recorded(tmp_path) == [started]

    def is_marked() -> bool:
        return [process.pid for process in processes.marked(tmp_path)] == [started.pid]

    # The kernel lets go of the parent a moment before the new environment can be read.
    assert shell.wait_until(is_marked, within=60, every=0.01)
    processes.stop([started], grace=5)
    assert not started.is_alive()
    assert processes.marked(tmp_path) == []
