"""The tasks of a service as people build it of FastAPI, Celery and Redis: work, and a callback."""

import os

import celery
import httpx

from longtask_runner.tasks import fibonacci

REDIS = os.environ["BESIDE_REDIS"]

app = celery.Celery("beside", broker=REDIS, backend=REDIS)
app.conf.broker_connection_retry_on_startup = True
if os.environ.get("BESIDE_KEEPS"):
    # A task is taken from the queue when it has ended, and put back when its worker dies.
    app.conf.task_acks_late = True
    app.conf.task_reject_on_worker_lost = True
    app.conf.worker_prefetch_multiplier = 1


@app.task(name="work")
def work(task_id: str, n: int, url: str) -> dict[str, object]:
    """Do what our type `fibonacci` does, by the same code, and have its end told."""
    result = fibonacci.fibonacci(n)
    tell.delay(url, {"data": {"id": task_id, "phase": "Succeeded", "result": result}})
    return result


@app.task(name="tell", autoretry_for=(httpx.HTTPError,), retry_backoff=True, max_retries=8)
def tell(url: str, body: dict[str, object]) -> None:
    """Send the callback; again, with growing pauses, if nobody takes it."""
    httpx.post(url, json=body, timeout=10).raise_for_status()
