"""What one admission decision costs, and one look at a task that waits, as the queue grows.

    python bench/admission.py [--waiting 100 10000 50000] [--looks 100 10000] [--owners 20 1000]

It needs no cluster. A decision is asked of the index of all queues that operator and API have, in
this process. A look is `GET /api/v1/tasks/{id}` with the position, at the real API over real
sockets; what that talks to is the Kubernetes of `alone.py`, in memory, in a process of its own,
with a paused queue and no operator. The numbers of waiting tasks take turns, so that what grows is
of one run: in brackets is how many times the first number's figure each one is.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import alone
import httpx
import waiting

from longtask_crds import queueing, v1alpha1
from longtask_crds.names import ObjectKey

_QUEUE = ObjectKey(waiting.TASKS, "many")
_LIMITS: dict[str, dict[str, int]] = {
    "maxRunning 10": {"maxRunning": 10},
    "maxRunning 5,000": {"maxRunning": 5_000},
    "2,000 for each owner": {"maxRunningPerOwner": 2_000},
    "maxRunning 10, 2 for each owner": {"maxRunning": 10, "maxRunningPerOwner": 2},
    "maxRunning 5,000, 2,000 for each owner": {"maxRunning": 5_000, "maxRunningPerOwner": 2_000},
}
_DECISIONS = 1_000
_LOOKS = 300

#: By how many wait.
Figures = dict[int, float]


def an_index(count: int, owners: int, limits: dict[str, int]) -> queueing.Index:
    """Return an index of a queue in which so many wait, of so many owners."""
    index = queueing.Index()
    index.set_queue(_QUEUE, v1alpha1.LongTaskQueueSpec.model_validate(limits))
    for number in range(count):
        entry = queueing.Entry(
            standing=queueing.Standing.WAITING,
            since=number,
            type=None,
            queue=_QUEUE.name,
            priority=None,
            owner=f"owner-{random.randrange(owners)}",
        )
        index.update(_named(number), entry)
    return index


def _named(number: int) -> ObjectKey:
    return _QUEUE.sibling(f"wait-{number}")


def decisions(counts: Sequence[int], owners: int) -> dict[str, Figures]:
    """Return the medians of what is asked of a waiting task, each, in µs."""
    figures: dict[str, Figures] = {}
    for limits, spec in _LIMITS.items():
        times: dict[str, dict[int, list[float]]] = {}
        indexes = {count: an_index(count, owners, spec) for count in counts}
        for _ in range(_DECISIONS):
            for count, index in indexes.items():
                key = _named(random.randrange(count))
                for what, ask in _asked(index).items():
                    began = time.perf_counter()
                    ask(key)
                    taken = (time.perf_counter() - began) * 1e6
                    times.setdefault(what, {}).setdefault(count, []).append(taken)
        for what, found in times.items():
            figures[f"{owners} owners, {limits}: {what}, µs"] = _medians(found)
    return figures


def _asked(index: queueing.Index) -> dict[str, Callable[[ObjectKey], object]]:
    def claim(key: ObjectKey) -> None:
        index.reserve(key)
        index.release(key)

    return {
        "may it start": index.may_start,
        "its place": index.place,
        "claimed, and not after all": claim,
    }


async def looks(counts: Sequence[int]) -> dict[str, Figures]:
    """Return the medians of a look at one of so many tasks, and the API's CPU for each, in ms."""
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=60))
        apis = {count: await _api_with(count, client, stack) for count in counts}
        before = {count: await api.numbers() for count, api in apis.items()}
        times: dict[int, list[float]] = {count: [] for count in counts}
        for _ in range(_LOOKS):
            for count, api in apis.items():
                url = f"http://127.0.0.1:{api.ports['PUBLIC_PORT']}/api/v1/tasks"
                began = time.perf_counter()
                answer = await client.get(f"{url}/wait-{random.randrange(count)}")
                times[count].append((time.perf_counter() - began) * 1000)
                if not isinstance(answer.raise_for_status().json()["queuePosition"], int):
                    raise RuntimeError("it has no position")
        cpu = {
            count: waiting.cpu(before[count], await api.numbers()) / _LOOKS * 1000
            for count, api in apis.items()
        }
    return {"GET /tasks/{id}, p50, ms": _medians(times), "the API's CPU for each, ms": cpu}


async def _api_with(
    count: int, client: httpx.AsyncClient, stack: contextlib.AsyncExitStack
) -> alone.Part:
    """Return an API that serves so many waiting tasks until the stack ends."""
    port = await stack.enter_async_context(alone.a_kubernetes())
    fill = f"http://127.0.0.1:{port}/bench/fill/recorded/{count}"
    (await client.post(fill, timeout=None)).raise_for_status()
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    api = alone.Part("api", Path(folder), port)
    stack.push_async_callback(api.stop)
    await api.start()
    return api


def _medians(times: dict[int, list[float]]) -> Figures:
    return {count: statistics.median(values) for count, values in times.items()}


def _show(figures: dict[str, Figures]) -> None:
    width = max(map(len, figures))
    for title, found in figures.items():
        first = next(iter(found.values()))
        each = "  ".join(f"{n}: {value:.1f} ({value / first:.2f})" for n, value in found.items())
        print(f"{title:<{width}}  {each}")


def main() -> None:
    """Measure, print a table, and keep the raw figures if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, nargs="+", default=[100, 10_000, 50_000])
    parser.add_argument("--looks", type=int, nargs="+", default=[100, 10_000])
    parser.add_argument("--owners", type=int, nargs="+", default=[20, 1_000])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    print(f"the machine's load before: {os.getloadavg()[0]:.1f}")
    figures: dict[str, Figures] = {}
    for owners in arguments.owners:
        figures |= decisions(arguments.waiting, owners)
    figures |= asyncio.run(looks(arguments.looks))
    _show(figures)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
