"""A task that does nothing, for as long as one likes."""

from __future__ import annotations

from longtask_runner import Context, TaskCancelled, errors, task

LONGEST_SECONDS = 86_400


@task(name="sleep")
def sleep(seconds: float, ctx: Context) -> dict[str, object]:
    """Wait, with progress each second; ends early when it is cancelled."""
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise errors.InvalidInput(f"seconds: must be between 0 and {LONGEST_SECONDS}")
    whole = int(seconds)
    for second in range(whole):
        _rest(1, ctx)
        ctx.progress(second + 1, seconds, f"{second + 1} of {seconds:g} s")
    _rest(seconds - whole, ctx)
    return {"seconds": int(seconds) if seconds == whole else seconds}


def _rest(seconds: float, ctx: Context) -> None:
    if seconds > 0 and ctx.wait(seconds):
        raise TaskCancelled("the task saw that it was cancelled")
