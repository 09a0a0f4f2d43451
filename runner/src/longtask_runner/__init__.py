"""Write a long-running task as a function.

    from longtask_runner import Context, task

    @task
    def greet(name: str, ctx: Context, times: int = 1) -> dict[str, str]:
        for done in range(times):
            ctx.progress(done, times)
        return {"greeting": f"Hello, {name}!"}

and name it in `pyproject.toml`:

    [project.entry-points."longtask.tasks"]
    greet = "my_tasks:greet"
"""

from longtask_runner.cancellation import TaskCancelled
from longtask_runner.context import Context
from longtask_runner.decorator import task
from longtask_runner.errors import InvalidInput, Permanent, TryAgain

__all__ = ["Context", "InvalidInput", "Permanent", "TaskCancelled", "TryAgain", "task"]
