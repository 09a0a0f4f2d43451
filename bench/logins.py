"""What logins cost others: one task is looked at again and again, beside logins and without them.

    python bench/logins.py [--logins 10] [--looks 50] [--seconds 30]

The API is the real process over a real socket, with SQLite; the Kubernetes under it is the one in
memory that the tests have, in a process of its own. Who looks bears a token of a user's. Each look
has its time, and is counted from then on, however late it gets its turn.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import alone
import httpx
import waiting

TOKEN = "of-the-installation"
LOGIN = {"username": "somebody", "password": "correct horse battery"}
#: Each is measured twice, in turns: whatever else the machine does, does it to both.
ROUNDS = ("none", "logins", "none", "logins")


async def at_a_rate(
    act: Callable[[], Awaitable[httpx.Response]], *, per_second: float, seconds: float
) -> list[float]:
    """Act so often; return how long each took from its time on, in ms."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    took: list[float] = []

    async def once(due: float) -> None:
        (await act()).raise_for_status()
        took.append((loop.time() - due) * 1000)

    async with asyncio.TaskGroup() as group:
        for number in range(int(per_second * seconds)):
            due = began + number / per_second
            await asyncio.sleep(due - loop.time())
            group.create_task(once(due))
    return took


def quantiles(took: list[float]) -> dict[str, float]:
    """Return what is printed of some times."""
    hundredths = statistics.quantiles(took, n=100)
    return {"p50": hundredths[49], "p99": hundredths[98], "most": max(took)}


async def measure(arguments: argparse.Namespace, api: alone.Part) -> None:
    """Print the table."""
    base = f"http://127.0.0.1:{api.ports['PUBLIC_PORT']}/api/v1"
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    async with httpx.AsyncClient(base_url=base, timeout=60, limits=limits) as client:
        answer = await client.post("/register", json=LOGIN | {"email": "somebody@example.com"})
        answer.raise_for_status()
        session = (await client.post("/login", json=LOGIN)).json()["token"]
        # Of very many sessions the first would end.
        client.headers["Authorization"] = f"Bearer {session}"
        token = (await client.post("/tokens", json={"name": "bench"})).json()["token"]
        client.headers["Authorization"] = f"Bearer {token}"
        made = (await client.post("/tasks", json=waiting.SAME)).raise_for_status().json()

        async def look() -> httpx.Response:
            return await client.get(f"/tasks/{made['id']}")

        async def log_in() -> httpx.Response:
            return await client.post("/login", json=LOGIN)

        await at_a_rate(look, per_second=arguments.looks, seconds=3)
        print("| beside | looks, ms: p50 | p99 | most | logins, ms: p50 | p99 | API: CPU |")
        print("|--|--|--|--|--|--|--|")
        for beside in ROUNDS:
            before, at = await api.numbers(), time.monotonic()
            seconds = arguments.seconds
            looks = at_a_rate(look, per_second=arguments.looks, seconds=seconds)
            if beside == "none":
                of_looks, of_logins = quantiles(await looks), None
            else:
                logins = at_a_rate(log_in, per_second=arguments.logins, seconds=seconds)
                found = await asyncio.gather(looks, logins)
                of_looks, of_logins = map(quantiles, found)
            used = waiting.cpu(before, await api.numbers()) / (time.monotonic() - at)
            title = "nothing" if of_logins is None else f"{arguments.logins} logins a second"
            cells = [f"{value:.1f}" for value in of_looks.values()]
            cells += [f"{of_logins[key]:.1f}" if of_logins else "" for key in ("p50", "p99")]
            print(f"| {title} | {' | '.join(cells)} | {used:.0%} |", flush=True)


async def main(arguments: argparse.Namespace) -> None:
    """Start the API, and measure it."""
    async with alone.a_kubernetes() as port:
        with tempfile.TemporaryDirectory() as folder:
            token = Path(folder) / "token"
            token.write_text(TOKEN)
            told = {
                "LONGTASK_INSECURE": "false",
                "LONGTASK_TOKEN_FILE": str(token),
                "LONGTASK_REGISTRATION": "open",
                "LONGTASK_LOGINS_PER_MINUTE": "0",
            }
            api = alone.Part("api", Path(folder), port, told)
            try:
                await api.start()
                await measure(arguments, api)
            finally:
                await api.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--logins", type=float, default=10, help="a second")
    parser.add_argument("--looks", type=float, default=50, help="a second")
    parser.add_argument("--seconds", type=float, default=30, help="of each round")
    asyncio.run(main(parser.parse_args()))
