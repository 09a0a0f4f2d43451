"""What very many schedules cost the operator: calm, and when many are due in the same second.

    python bench/schedules.py [--schedules 2000] [--due 200]

The operator is the real process over real sockets. What it talks to is the Kubernetes in memory
that the tests have, in a process of its own: it takes writes faster than etcd does, and runs no
pod, so the runs wait in a paused queue until the measurement ends them. CPU is what the process
says of itself; what it does for the runs as tasks is in it.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import alone
import httpx
import waiting
from aiohttp import test_utils, web

from longtask_crds import names
from longtask_crds.testing import FINISHED

#: Over so many seconds it is measured what calm costs.
_CALM = 20
#: So much is left until the runs are due, for all to be looked at and the calm to be measured.
_AHEAD = timedelta(seconds=_CALM + 60)


class Server(alone.Server):
    """Serves a Kubernetes in memory with schedules, and counts what is written."""

    def __init__(self) -> None:
        super().__init__()
        self._writes: Counter[str] = Counter()
        self._made: list[float] = []
        self._kubernetes.interrupt = self._count

    def _count(self, write: str, moment: str) -> None:
        if moment == "after":
            self._writes[write] += 1
            if write == "create_task":
                self._made.append(time.time())

    def routes(self) -> list[web.RouteDef]:
        """Return what only the measurement asks."""
        return [
            web.post("/bench/schedules/{count}/{due}", self._schedules),
            web.post("/bench/end", self._end),
            web.get("/bench/facts", self._facts),
        ]

    async def _schedules(self, request: web.Request) -> web.Response:
        """Make schedules, some of which are due at the same time; tell when."""
        count, due = (int(request.match_info[name]) for name in ("count", "due"))
        self._kubernetes.now = datetime.now(UTC)
        at = datetime.now(UTC) + _AHEAD
        at = at.replace(second=0, microsecond=0) + timedelta(minutes=1)
        run = {**waiting.SAME, "queue": waiting.QUEUE.name}
        for number in range(count):
            soon = f"{at.minute} {at.hour} * * *"
            spec = {
                "schedule": soon if number < due else f"{number % 60} {number % 24} 1 1 *",
                "timeZone": "UTC" if number % 2 else "Etc/UTC",
                "taskTemplate": {"spec": run},
            }
            self._kubernetes.put(names.LONGTASKSCHEDULES, f"schedule-{number}", spec=spec)
        return web.json_response(at.timestamp())

    async def _end(self, _: web.Request) -> web.Response:
        """End all runs, as a program that succeeds would."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = {"phase": "Succeeded", "finishedAt": now, "conditions": [FINISHED.to_json()]}
        for key in list(self._kubernetes.objects(names.LONGTASKS)):
            self._kubernetes.put(names.LONGTASKS, key, status=status)
        return web.Response()

    async def _facts(self, _: web.Request) -> web.Response:
        """Tell what was written, and how the schedules stand."""
        statuses = [
            raw.get("status", {})
            for raw in self._kubernetes.objects(names.LONGTASKSCHEDULES).values()
        ]
        runs = [run for status in statuses for run in status.get("runs", ())]
        return web.json_response(
            {
                "writes": self._writes,
                "made": self._made,
                "seen": sum("observedGeneration" in status for status in statuses),
                "known": sum("uid" in run for run in runs),
                "ended": sum("phase" in run for run in runs),
            }
        )


def serve(port: int) -> None:
    """Serve in this process."""
    asyncio.run(Server().run(port))


class Bench:
    """One Kubernetes and an operator."""

    def __init__(self, port: int, folder: Path) -> None:
        self._url = f"http://127.0.0.1:{port}/bench"
        self._client = httpx.AsyncClient(timeout=60)
        self.operator = alone.Part("operator", folder, port)

    async def ask(self, path: str) -> object:
        """Ask the Kubernetes to do something for the measurement."""
        answer = (await self._client.post(f"{self._url}/{path}")).raise_for_status()
        return answer.json() if answer.content else None

    async def facts(self) -> dict[str, object]:
        """Return how all stands."""
        found: dict[str, object] = (await self._client.get(f"{self._url}/facts")).json()
        return found

    async def until(self, fact: str, count: int) -> None:
        """Wait until a fact has come to a number."""

        async def has_come() -> bool:
            return (await self.facts())[fact] == count

        await alone.until(has_come, pause=0.2)

    async def cpu(self) -> float:
        """Return how many seconds of CPU the operator has used."""
        return (await self.operator.numbers())["process_cpu_seconds_total"]


def _told(before: dict[str, object], after: dict[str, object], runs: int) -> str:
    """Return the writes of each kind between two moments, per run."""
    was, is_now = Counter(before["writes"]), Counter(after["writes"])
    return ", ".join(f"{name} {count / runs:.2f}" for name, count in sorted((is_now - was).items()))


async def measure(bench: Bench, schedules: int, due: int) -> None:
    """Measure, and tell."""
    at = float(str(await bench.ask(f"schedules/{schedules}/{due}")))
    print(f"ready after {await bench.operator.start():.1f} s")
    await bench.until("seen", schedules)
    await asyncio.sleep(2)
    first, facts = await bench.cpu(), await bench.facts()
    print(f"{schedules} schedules seen: {first:.1f} s of CPU")
    await asyncio.sleep(_CALM)
    calm, later = await bench.cpu(), await bench.facts()
    print(f"calm: {(calm - first) / _CALM * 100:.1f} % of a core; writes: {_told(facts, later, 1)}")
    await asyncio.sleep(max(0, at - time.time() - 1))
    began = await bench.cpu()
    await bench.until("known", due)
    await asyncio.sleep(5)
    done, facts = await bench.cpu(), await bench.facts()
    made = sorted(float(str(moment)) - at for moment in list(facts["made"]))  # type: ignore[call-overload]
    print(f"{due} due in one second: {(done - began) / due * 1000:.1f} ms of CPU a run")
    print(f"made after {made[0]:.2f} s, {made[len(made) // 2]:.2f} s, the last {made[-1]:.2f} s")
    print(f"writes a run: {_told(later, facts, due)}")
    began = await bench.cpu()
    await bench.ask("end")
    await bench.until("ended", due)
    await asyncio.sleep(5)
    done, later = await bench.cpu(), await bench.facts()
    print(f"their ends: {(done - began) / due * 1000:.1f} ms a run; {_told(facts, later, due)}")


async def main() -> None:
    """Start what is needed, and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--schedules", type=int, default=2000)
    parser.add_argument("--due", type=int, default=200)
    given = parser.parse_args()
    port = test_utils.unused_port()
    kubernetes = multiprocessing.Process(target=serve, args=(port,), daemon=True)
    kubernetes.start()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(port, Path(folder))
        await alone.until(lambda: _answers(bench), pause=0.1)
        try:
            await measure(bench, given.schedules, given.due)
        finally:
            await bench.operator.stop()
            kubernetes.terminate()


async def _answers(bench: Bench) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        await bench.facts()
        return True
    return False


if __name__ == "__main__":
    asyncio.run(main())
