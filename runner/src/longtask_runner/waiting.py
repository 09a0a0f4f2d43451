"""Wait for a task, in a pod that was started ahead: `LONGTASK_WARM=true`.

Nothing else of the runner imports it but `main`, and that only then.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import time

from longtask_crds import runner_contract
from longtask_runner import (
    cancellation,
    discovery,
    errors,
    last_words,
    log,
    outputs,
    runner_port,
    settings,
    wire,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping
    from typing import Any, Protocol

    class Port(Protocol):
        """Where a task is asked for."""

        def get_task(self, wait: int) -> Mapping[str, object] | None:
            """Return a task, or None if none came in so many seconds."""


#: How long one request waits.
WAIT_SECONDS = 30
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
#: What the end of a task needs, loaded while there is time.
_NEEDED_LATER = (last_words,)
#: In the output file until there is a task: how a pod that is killed meanwhile says so.
_NONE_YET = f"{runner_contract.RunnerReason.NO_TASK}: it waited for one"
_Env, _Work = runner_contract.Env, runner_contract.Work
#: The members of the task that become variables.
_VARIABLES = {
    _Work.NAME: _Env.NAME,
    _Work.NAMESPACE: _Env.NAMESPACE,
    _Work.UID: _Env.UID,
    _Work.ATTEMPT: _Env.ATTEMPT,
    _Work.STEP: _Env.STEP,
    _Work.HEARTBEAT_SECONDS: _Env.HEARTBEAT_SECONDS,
    _Work.TRACEPARENT: runner_contract.TRACEPARENT,
    _Work.TRACESTATE: runner_contract.TRACESTATE,
}


def for_task(env: settings.Settings) -> tuple[settings.Settings, Callable[..., Any] | None]:
    """Wait until there is a task; return what is told of it, as it is told to any other program.

    Its function is loaded meanwhile, and returned if it could be. From then on the environment and
    the files are as if the pod had been made for this task, for whatever it starts as well.

    Raises:
        NoTask: The pod ends before there was one.
    """
    function = None
    with contextlib.suppress(errors.RunnerError):
        # What is wrong with it its tasks are told: there is none yet to tell.
        function = discovery.load(env.type, sys.path)
    port = runner_port.RunnerPort(url=env.api_url, token_file=env.token_file)
    log.line(f"{env.type} waits for a task")
    outputs.write(env.output_file, _NONE_YET.encode())
    work = ask(port)
    outputs.write(env.output_file, b"")
    take_over(work, os.environ, folder=f"{os.environ.get('TMPDIR', '/tmp')}/longtask")
    return settings.Settings(os.environ), function


def ask(port: Port, *, sleep: Callable[[float], None] = time.sleep) -> Mapping[str, object]:
    """Ask until there is a task, however long the API is away.

    Raises:
        NoTask: It was told to end, or its task cannot be handed over any more.
    """
    pause, failures = _FIRST_PAUSE, 0
    try:
        while True:
            try:
                work = port.get_task(WAIT_SECONDS)
            except runner_port.Clash as error:
                raise errors.NoTask(str(error)) from error
            except runner_port.NotTaken as error:
                if not failures:
                    log.line(f"could not ask for a task: {error}")
                failures += 1
                sleep(pause * random.uniform(0.5, 1))
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            if work is not None:
                return work
            pause, failures = _FIRST_PAUSE, 0
    except cancellation.TaskCancelled as cancelled:
        raise errors.NoTask("it was told to end") from cancelled


def take_over(
    work: Mapping[str, object], environ: MutableMapping[str, str], *, folder: str
) -> None:
    """Write what a task brings where programs look for it."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    checkpoint = work.get(_Work.CHECKPOINT)
    files = {
        _Env.INPUT_FILE: ("input.json", wire.dumps(work.get(_Work.INPUT))),
        _Env.CHECKPOINT_FILE: (
            "checkpoint.json",
            b"" if checkpoint is None else wire.dumps(checkpoint),
        ),
    }
    for variable, (name, content) in files.items():
        path = f"{folder}/{name}"
        with open(path, "wb") as file:
            file.write(content)
        environ[variable] = path
    for member, variable in _VARIABLES.items():
        value = work.get(member)
        if value is not None:
            environ[variable] = str(value)
    environ.pop(_Env.WARM, None)
