"""Run one task: read the input, call the function, hand over what comes out."""

from __future__ import annotations

import os
import sys
import time

from longtask_runner import (
    cancellation,
    context,
    discovery,
    ending,
    errors,
    inputs,
    leaving,
    log,
    outputs,
    settings,
    signals,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

#: How long a task that ended well waits for its last report, which nobody needs any more.
FLUSH_SECONDS = 2.0
#: And one that did not, whose last words and checkpoint count: the API writes every two seconds.
FINAL_SECONDS = 6.0
#: The modules through which a task's function is called.
_FRAMES_BEFORE = {__name__, "longtask_runner.event_loop", "asyncio.base_events"}


def main() -> None:
    """Run the task that the environment names, and exit as the contract says."""
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    if sys.argv[1:] == ["--list"]:
        print_tasks()
        return
    if sys.argv[1:]:
        sys.exit("usage: python -m longtask_runner [--list]")
    cancel = cancellation.Cancellation()
    terminator = signals.Terminator(cancel)
    end = run(settings.Settings(os.environ), cancel, terminator)
    if end.cancelled:
        # Threads of the task may not hold up the end that it was asked for.
        leaving.leave_at_once(end.exit_code)
    if "threading" in sys.modules:  # else there is no thread that the exit waits for
        leaving.bound(end.exit_code, patience=leaving.PATIENCE_SECONDS)
        terminator.release(end.exit_code)
    sys.exit(end.exit_code)


def print_tasks() -> None:
    """Print one line per task of this image."""
    for entry in sorted(discovery.find_all(sys.path), key=lambda entry: entry.name):
        print(f"{entry.name}\t{entry.target}\t{entry.package}")


def run(
    env: settings.Settings, cancel: cancellation.Cancellation, terminator: signals.Terminator
) -> ending.Ending:
    """Run the task and write its output; return how it ended."""
    ctx, function = _context(env, cancel), None
    started = time.monotonic()
    try:
        terminator.install()
        if env.is_warm:
            from longtask_runner import waiting  # HTTP: for those who wait

            env, function = waiting.for_task(env)
            ctx, started = _context(env, cancel), time.monotonic()
        value = _call(env, ctx, cancel, terminator, function)
        terminator.disarm()
        end = ending.of_result(value, _delivery(env, cancel))
    except BaseException as error:
        terminator.disarm()
        end = ending.of_exception(error)
        if end.exit_code == ending.FAILURE:
            _print_traceback(error)
    end = _write(env.output_file, end)
    failed = end.exit_code != 0
    ctx.close(FINAL_SECONDS if failed else FLUSH_SECONDS, final=failed)
    log.line(_summary(env, end, seconds=time.monotonic() - started))
    if env.api_url and _ends_by_itself(end, cancel):
        from longtask_runner import last_words  # a socket: for those who have somebody to tell

        last_words.say(end, url=env.api_url, token_file=env.token_file)
    return end


def _ends_by_itself(end: ending.Ending, cancel: cancellation.Cancellation) -> bool:
    """Tell whether the task can say how it ends; else its container's end says more.

    Why something was ended is known to whoever ended it. A failure without words is told by the end
    of its log. And while threads of the task run it has not ended.
    """
    is_told = end.exit_code == 0 or bool(end.output)
    return is_told and not cancel.requested and not leaving.is_held_up()


def _call(
    env: settings.Settings,
    ctx: context.Context,
    cancel: cancellation.Cancellation,
    terminator: signals.Terminator,
    function: Callable[..., Any] | None,
) -> object:
    function = function or discovery.load(env.type, sys.path)
    try:
        with open(env.input_file, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise errors.InvalidInput(f"the input file cannot be read: {error}") from error
    arguments = inputs.bind(function, inputs.parse(text), ctx)
    log.line(f"started {env.type}, attempt {env.attempt}")
    value = function(**arguments)
    if not hasattr(value, "__await__"):
        return value
    from longtask_runner import event_loop  # `asyncio`: for those who need it

    # From here on SIGTERM cancels what runs in the loop, and interrupts nobody.
    terminator.disarm()
    return event_loop.run(value, cancel)


def _delivery(env: settings.Settings, cancel: cancellation.Cancellation) -> ending.Deliver:
    def deliver(pieces: Iterator[bytes]) -> int:
        from longtask_runner import results  # HTTP: for results that need it

        return results.deliver(pieces, url=env.api_url, token_file=env.token_file, cancel=cancel)

    return deliver


def _context(env: settings.Settings, cancel: cancellation.Cancellation) -> context.Context:
    def connect() -> context.Reporter:
        from longtask_runner import reporting  # threads: for those who report

        return reporting.connect(
            url=env.api_url, token_file=env.token_file, cancel=cancel, heartbeat=env.heartbeat
        )

    return context.Context(
        name=env.name,
        namespace=env.namespace,
        uid=env.uid,
        step=env.step,
        attempt=env.attempt,
        checkpoint_file=env.checkpoint_file,
        cancel=cancel,
        connect=connect if env.api_url else None,
    )


def _write(path: str, end: ending.Ending) -> ending.Ending:
    try:
        outputs.write(path, end.output)
    except OSError as error:
        log.line(f"the output file cannot be written: {error}")
        # A success whose result is lost is none; a failure stays what it is.
        return ending.Ending(end.exit_code or ending.FAILURE, b"")
    return end


def _print_traceback(error: BaseException) -> None:
    import traceback

    # Without the frames of the runner and of its event loop the task's own code comes first.
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__") in _FRAMES_BEFORE:
        frames = frames.tb_next
    traceback.print_exception(type(error), error, frames or error.__traceback__)


def _summary(env: settings.Settings, end: ending.Ending, *, seconds: float) -> str:
    name = env.type or "no task"
    if end.exit_code == 0:
        return f"{name} succeeded in {seconds:.3f} s, result of {end.result_size} bytes"
    # The message is the task's own word and may hold its data, but so does its log.
    message = end.output.decode().partition("\n")[0]
    return f"{name} ended with exit code {end.exit_code} in {seconds:.3f} s: {message}".rstrip(": ")
