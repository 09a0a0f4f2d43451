"""What the dashboard costs: its list, its live pages, and what a browser has to do for them.

    python bench/dashboard.py [--live 5000] [--archived 20000] [--pages 200] [--seconds 20]
        [--postgresql | --url postgresql://…] [--only lists pages browser]

The API is the real process over real sockets, with a real database; the Kubernetes is that of
`alone.py`, in memory, in a process of its own, as are those who look. Twenty times a second a task
changes: three of four times its program says how far it is, and the fourth time it ends, and
another begins. Pages are what the dashboard's script makes of them: read once, then kept fresh by
the stream that they name. The browser is Debian's Chromium (`make browser`). The database is a file
of SQLite; with `--postgresql` it is that of a server which runs meanwhile, as the integration tests
have one (`make postgresql`; its module is in tests/support, which must be in PYTHONPATH).

CPU is what the API's process says of itself, so what else the machine does is not in it. Times on
the clock, of answers and of frames, are on a machine that others use, too.
"""

import argparse
import asyncio
import contextlib
import html
import itertools
import json
import multiprocessing
import os
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import alone
import archive
import httpx
import waiting
from aiohttp import test_utils, web
from playwright import async_api as playwright
from playwright.async_api import Page

import postgres_support
from longtask_adapters.kube import kinds
from longtask_api.database import engine
from longtask_crds import names
from longtask_crds.testing import FINISHED

TOKEN = "of-the-installation"
_A_SECOND = 20
_OWNERS = 50
_POD = "with-a-log-1-pod"
_LINES = 100_000
_LINE = b"2026-01-02T03:04:05.%09dZ frame %d of many, as programs write them, and some words more\n"
#: Longer than any list is stale, in seconds.
_LATE = 15
#: Of the live tasks so many run.
_RUNNING = 500
_QUEUES = ("default", "slow", "video")


class Server(alone.Server):
    """A Kubernetes in which much goes on."""

    def __init__(self) -> None:
        super().__init__()
        self._made = 0
        self._at_work: list[str] = []
        self._begun: dict[str, float] = {}  #: when each did

    def routes(self) -> list[web.RouteDef]:
        """Return what only the measurement asks, and a log as a kubelet gives it."""
        return [
            web.post("/bench/scene/{count}", self._scene),
            web.post("/bench/change/{seconds}", self._change),
            web.get("/bench/begun", self._tell_begun),
            web.get(kinds.PODS.path(names.ObjectKey(waiting.TASKS, _POD), "log"), self._log),
        ]

    async def _scene(self, request: web.Request) -> web.Response:
        """Let some tasks run, some be over, and all others wait."""
        for queue in _QUEUES:
            self._kubernetes.put(names.LONGTASKQUEUES, queue, spec={"paused": True})
        for name in archive.TYPES:
            self._kubernetes.put(names.LONGTASKTYPES, name, spec={"container": {"image": "none"}})
        self._kubernetes.now = datetime.now(UTC) - timedelta(hours=2)
        count = int(request.match_info["count"])
        for number in range(count):
            if number >= count - _RUNNING:
                self._begin()
            elif number % 8 == 0:
                self._put("Succeeded", **self._ended())
            else:
                self._put("Queued", queuedAt=self._now())
            if number % 100 == 0:
                await asyncio.sleep(0)
        self._kubernetes.put("pods", _POD, status={"phase": "Running"})
        attempt = {"number": 1, "jobName": "none", "podName": _POD, "startedAt": self._now()}
        self._put("Running", "with-a-log", attempt=1, attempts=[attempt], startedAt=self._now())
        return web.Response()

    async def _change(self, request: web.Request) -> web.Response:
        """Let one thing after the other happen, evenly in time."""
        began = time.monotonic()
        for number in range(_A_SECOND * int(request.match_info["seconds"])):
            await asyncio.sleep(max(0.0, began + number / _A_SECOND - time.monotonic()))
            self._kubernetes.now = datetime.now(UTC)
            if number % 4 == 3:
                self._put("Succeeded", self._at_work.pop(0), **self._ended())
                self._begin()
            else:
                # What runs and came last is what stands at the top of lists.
                name = self._at_work[-1 - number * 7 % 40]
                told = {"percent": number % 100, "message": f"at {time.time():.6f}"}
                self._put("Running", name, progress=told)
        return web.Response()

    async def _log(self, request: web.Request) -> web.StreamResponse:
        """Tell of many lines when they were written, and then wait for more as a follower does."""
        stream = web.StreamResponse()
        await stream.prepare(request)
        for first in range(0, _LINES, 1_000):
            some = range(first, first + 1_000)
            await stream.write(b"".join(_LINE % (number, number) for number in some))
        if request.query.get("follow") == "true":
            await asyncio.Event().wait()
        return stream

    async def _tell_begun(self, _: web.Request) -> web.Response:
        """Tell when each task began that did so beside the measurement."""
        return web.json_response(self._begun)

    def _begin(self) -> None:
        name = f"task-{self._made:06}"
        self._begun[name] = time.time()
        attempt = {"number": 1, "jobName": "none", "startedAt": self._now()}
        self._put("Running", attempt=1, attempts=[attempt], startedAt=self._now())
        self._at_work.append(name)

    def _put(self, phase: str, name: str = "", **status: Any) -> None:
        if not name:
            name = f"task-{self._made:06}"
            self._made += 1
            labels = {names.OWNER_LABEL: f"owner-{self._made % _OWNERS}"}
            spec = {
                "type": archive.TYPES[self._made % len(archive.TYPES)],
                "queue": _QUEUES[self._made % len(_QUEUES)],
                "input": {"text": "x" * 100},
            }
            self._kubernetes.put(names.LONGTASKS, name, metadata={"labels": labels}, spec=spec)
        self._kubernetes.put(names.LONGTASKS, name, status={"phase": phase, **status})

    def _now(self) -> str:
        return self._kubernetes.now.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _ended(self) -> dict[str, Any]:
        return {"finishedAt": self._now(), "conditions": [FINISHED.to_json()]}


def serve(port: int) -> None:
    """Serve in this process."""
    asyncio.run(Server().run(port))


# --- who looks


class Viewer(NamedTuple):
    """Somebody's page."""

    path: str
    cookie: str


class Shown:
    """Notes when each task comes to stand in a page that is kept fresh."""

    def __init__(self, notes: list[tuple[str, float]]) -> None:
        self._notes = notes
        self._known: set[str] | None = None
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        """Take what comes next of its stream."""
        *frames, self._rest = (self._rest + chunk).split(b"\n\n")
        for frame in frames:
            if b"event: page\n" in frame:  # after the size of HTTP's own chunk
                rows = {row.decode() for row in re.findall(rb'id="t-([^"]+)"', frame)}
                if self._known is not None:
                    self._notes += [(row, time.time()) for row in rows - self._known]
                self._known = (self._known or set()) | rows


def look(port: int, viewers: Sequence[Viewer], told: Any) -> None:
    """Keep pages open in this process, until told to stop; tell how much came."""
    asyncio.run(_look(port, viewers, told))


async def _look(port: int, viewers: Sequence[Viewer], told: Any) -> None:
    heard: dict[str, Any] = {"bytes": 0, "pages": 0, "asked": 0, "shown": []}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    base = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=base, limits=limits, timeout=120) as http:
        opened = 0

        async def one(viewer: Viewer, *, is_first: bool) -> None:
            nonlocal opened
            headers = {"Cookie": f"longtask={viewer.cookie}"}
            page = await http.get(viewer.path, headers=headers)
            while page.status_code == 503:  # it is too busy with the others
                await asyncio.sleep(1)
                page = await http.get(viewer.path, headers=headers)
            stage = re.search(
                r'data-stream="([^"]*)"(?: data-query="([^"]*)")?([^>]*)',
                page.raise_for_status().text,
            )
            assert stage is not None
            stream, query = stage[1], json.loads(html.unescape(stage[2] or "{}"))
            fresh = asyncio.Event()
            if "data-pushed" not in stage[3]:
                asking.append(asyncio.create_task(ask(viewer, headers, fresh)))
            path = f"/{html.unescape(stream)}"
            target = (httpx.URL(path, params=query) if query else httpx.URL(path)).raw_path.decode()
            head = b" 503 "
            while b" 503 " in head:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(
                    f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: longtask="
                    f"{viewer.cookie}\r\nAccept: text/event-stream\r\n\r\n".encode()
                )
                head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head.partition(b"\r\n")[0], head
            opened += 1
            fresh.set()
            # Those who look at the same are sent the same, so the first of them is asked of it.
            shown = Shown(heard["shown"]) if is_first else None
            while chunk := await reader.read(262_144):
                if shown is not None:
                    shown.feed(chunk)
                heard["bytes"] += len(chunk)
                heard["pages"] += chunk.count(b"event: page\n")
                if re.search(rb"event: (status|event|deleted|reset)\n", chunk):
                    fresh.set()

        async def ask(viewer: Viewer, headers: dict[str, str], fresh: asyncio.Event) -> None:
            """Ask for the page again, as its script does where the stream tells of a change."""
            while True:
                await fresh.wait()
                fresh.clear()
                begun = time.monotonic()
                with contextlib.suppress(httpx.HTTPError):
                    answer = await http.get(viewer.path, headers=headers)
                    heard["asked"] += answer.status_code == 200
                    heard["bytes"] += len(answer.content)
                await asyncio.sleep(max(1.0, 10 * (time.monotonic() - begun)))

        asking: list[asyncio.Task[None]] = []
        looking = []
        for viewer in viewers:
            is_first = viewer not in viewers[: len(looking)]
            looking.append(asyncio.create_task(one(viewer, is_first=is_first)))
            await asyncio.sleep(0.02)
        while opened < len(viewers):
            await asyncio.sleep(0.1)
            for task in looking:
                if task.done():
                    task.result()
        told.send("open")
        while not told.poll():  # noqa: ASYNC110 - asking is all we can do
            await asyncio.sleep(0.1)
        told.send(heard)
        for task in (*looking, *asking):
            task.cancel()


def viewers_of(kind: str, count: int, cookies: dict[str, str]) -> list[Viewer]:
    """Return who looks: at the same list, or at 25 of which no two show the same."""
    if kind == "the list of all tasks":
        return [Viewer("/", cookies["admin-0"])] * count
    filters = (
        *("", "phase=Running", "phase=Succeeded"),
        *(f"type={name}" for name in archive.TYPES),
        *(f"queue={name}" for name in _QUEUES),
        *(f"owner=owner-{number}" for number in range(10, 14)),
    )
    seen = [Viewer(f"/?{text}", cookies[f"admin-{n % 3}"]) for n, text in enumerate(filters)]
    seen += [Viewer("/", cookies[f"owner-{n}"]) for n in range(10)]
    return [viewer for viewer, _ in zip(itertools.cycle(seen), range(count), strict=False)]


# --- what is measured


class Bench:
    """The API over a busy Kubernetes, and a full archive."""

    def __init__(self, kubernetes: str, api: alone.Part) -> None:
        self._kubernetes = kubernetes
        self._api = api
        self.cookies: dict[str, str] = {}

    @property
    def url(self) -> str:
        """Return where the API is."""
        return f"http://127.0.0.1:{self._api.ports['PUBLIC_PORT']}"

    async def let_in(self) -> None:
        """Make some admins and some users who have tasks; log them in."""
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(base_url=f"{self.url}/api/v1", timeout=60) as http:
            for number in range(13):
                name = f"admin-{number}" if number < 3 else f"owner-{number - 3}"
                order = {"username": name, "role": "admin" if number < 3 else "user"}
                made = (await http.post("/users", json=order, headers=bearer)).raise_for_status()
                known = {"username": name, "password": made.json()["password"]}
                answer = (await http.post("/login", json=known)).raise_for_status()
                self.cookies[name] = answer.json()["token"]

    async def answers(self, rounds: int) -> dict[str, tuple[float, ...]]:
        """Return of each list how long an answer takes: least, p50, p95; and its CPU; all in ms.

        The least is what it takes where nothing else wants the machine just then.
        """
        tasks = "/api/v1/tasks"
        asked = {
            "the page": "/",
            "… of a group of phases": "/?phase=Failed",
            "… of a type, in a queue": "/?type=render&queue=slow",
            "… of an owner": "/?owner=owner-7",
            "… with a text that 1 in 50 has": "/?search=disk+full",
            "… with a text that none has": "/?search=no-such-text",
            "… with a label that 1 in 200 has": "/?label=team%3Dt7",
            "… the oldest first": "/?sort=createdAt",
            "… next to start first": "/?sort=next",
            "… for somebody who sees their own": "/",
            "REST: the first 50": f"{tasks}?limit=50",
            "REST: failed ones of a type": f"{tasks}?limit=50&phase=Failed&type=render",
            "REST: with a text that 1 in 50 has": f"{tasks}?limit=50&search=disk+full",
            "REST: the oldest first": f"{tasks}?limit=50&sort=createdAt",
            "trends of a day": "/trends",
            "trends of 90 days": "/trends?span=quarter",
        }
        found: dict[str, tuple[float, ...]] = {}
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as http:
            for title, path in asked.items():
                who = "owner-7" if "their own" in title else "admin-0"
                headers = {"Cookie": f"longtask={self.cookies[who]}"}
                (await http.get(path, headers=headers)).raise_for_status()
                before, times = await self._api.numbers(), []
                for _ in range(rounds):
                    began = time.perf_counter()
                    (await http.get(path, headers=headers)).raise_for_status()
                    times.append((time.perf_counter() - began) * 1000)
                used = waiting.cpu(before, await self._api.numbers()) / rounds * 1000
                times.sort()
                most = times[int(rounds * 0.95)]
                found[title] = (times[0], statistics.median(times), most, used)
                print(title, *(f"{value:.1f}" for value in found[title]), flush=True)
        return found

    async def change(self, seconds: int) -> None:
        """Let so much happen as may be meanwhile."""
        async with httpx.AsyncClient(timeout=seconds + 120) as http:
            answer = await http.post(f"{self._kubernetes}/bench/change/{seconds}")
            answer.raise_for_status()

    async def share(self, seconds: int, viewers: Sequence[Viewer]) -> dict[str, float]:
        """Return which share of a core the API takes while they look, and what they are sent."""
        here, there = multiprocessing.get_context("spawn").Pipe()
        port = self._api.ports["PUBLIC_PORT"]
        looking = multiprocessing.get_context("spawn").Process(
            target=look, args=(port, viewers, there), daemon=True
        )
        heard: dict[str, Any] = {}
        if viewers:
            looking.start()
            await asyncio.to_thread(here.recv)
            await asyncio.sleep(3)  # what opening them costs is none of this
        before, began, since = await self._api.numbers(), time.monotonic(), time.time()
        await self.change(seconds)
        took = time.monotonic() - began
        used = waiting.cpu(before, await self._api.numbers()) / took
        if viewers:
            await asyncio.sleep(_LATE)  # until all lists have been made again
            here.send("stop")
            heard = await asyncio.to_thread(here.recv)
            looking.join()
            heard |= await self._lateness(heard.pop("shown"), since)
        return {"share": used, **heard}

    async def _lateness(self, shown: list[tuple[str, float]], since: float) -> dict[str, float]:
        """Return how long after they began tasks stood in lists, those that began meanwhile."""
        async with httpx.AsyncClient(timeout=60) as http:
            begun = (await http.get(f"{self._kubernetes}/bench/begun")).raise_for_status().json()
        late = sorted(at - begun[name] for name, at in shown if begun.get(name, 0) >= since)
        return {
            "shown": len(late),
            "shown after, p50": late[len(late) // 2],
            "p95": late[int(len(late) * 0.95)],
            "latest": late[-1],
        }

    async def browser(self, seconds: int) -> dict[str, float]:
        """Return what a browser shows: frames a second beside changes, and in a long log."""
        chromium = shutil.which("chromium")
        assert chromium is not None, "make browser"
        async with playwright.async_playwright() as started:
            browser = await started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            context = await browser.new_context(viewport={"width": 1360, "height": 900})
            await context.add_cookies(
                [{"name": "longtask", "value": self.cookies["admin-0"], "url": self.url}]
            )
            page = await context.new_page()
            try:
                return await self._list(page, seconds) | await self._log(page)
            finally:
                await browser.close()

    async def _list(self, page: Page, seconds: int) -> dict[str, float]:
        await page.goto(self.url)
        await page.wait_for_function(
            "document.querySelector('[data-state]').textContent === 'live'"
        )
        calm = await _frames(page, 3)
        frames, _ = await asyncio.gather(_frames(page, seconds), self.change(seconds))
        return {"calm: fps": calm["fps"]} | {f"list: {key}": value for key, value in frames.items()}

    async def _log(self, page: Page) -> dict[str, float]:
        await page.goto(f"{self.url}/tasks/with-a-log")
        await _until_told(page, "[data-log-state]", f"{_LINES:,}")
        scroll = """const pane = document.querySelector('[data-log-pane]');
            pane.scrollTop = pane.scrollHeight * ((performance.now() - began) / lasts);"""
        scrolled = await _frames(page, 3, scroll)
        await page.locator("[data-log-wrap]").click()
        wrapped = await _frames(page, 3, scroll)
        return {f"log: {key}": value for key, value in scrolled.items()} | {
            f"wrapped log: {key}": value for key, value in wrapped.items()
        }


async def _until_told(page: Page, where: str, text: str) -> None:
    """Wait until something in the page begins with a text."""
    await playwright.expect(page.locator(where)).to_have_text(
        re.compile(f"^{text}"), timeout=180_000
    )


async def _frames(page: Page, seconds: int, each: str = "") -> dict[str, float]:
    """Return how many frames a second there are, in the worst second, and how long one took."""
    times: list[float] = await page.evaluate(
        """async lasts => {
        const began = performance.now();
        const times = [began];
        while (times.at(-1) - began < lasts) {
            EACH
            await new Promise(requestAnimationFrame);
            times.push(performance.now());
        }
        return times;
    }""".replace("EACH", each),
        seconds * 1000,
    )
    took = sorted(after - before for before, after in itertools.pairwise(times))
    worst = min(
        sum(1 for at in times if second * 1000 <= at - times[0] < (second + 1) * 1000)
        for second in range(seconds)
    )
    return {
        "fps": len(took) / (times[-1] - times[0]) * 1000,
        "worst second": worst,
        "p99, ms": took[int(len(took) * 0.99)],
        "longest, ms": took[-1],
    }


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return all figures."""
    context = multiprocessing.get_context("spawn")
    port = test_utils.unused_port()
    server = context.Process(target=serve, args=(port,), daemon=True)
    server.start()
    figures: dict[str, Any] = {"load": os.getloadavg()[0]}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="longtask-bench-"))
        url = arguments.url or f"sqlite:///{folder}/longtask.db"
        if arguments.postgresql:
            url = stack.enter_context(postgres_support.running()).new_database()
        (Path(folder) / "token").write_text(TOKEN)
        told = {
            "LONGTASK_DATABASE_URL": url,
            "LONGTASK_INSECURE": "false",
            "LONGTASK_TOKEN_FILE": f"{folder}/token",
            "LONGTASK_DASHBOARD_PLAIN_HTTP": "true",
            "LONGTASK_REQUESTS_PER_SECOND": "0",
            "LONGTASK_REQUESTS_PER_SECOND_PER_ADDRESS": "0",
            "LONGTASK_LOGINS_PER_MINUTE": "0",
            "LONGTASK_STREAMS_PER_CALLER": "1000",
        }
        store = engine.Database.at(url)
        await archive.fill(store, arguments.archived)
        await store.aclose()
        api = alone.Part("api", Path(folder), port, told)
        try:
            await alone.until(lambda: alone.answers(port), pause=0.1)
            kubernetes = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(timeout=600) as http:
                made = await http.post(f"{kubernetes}/bench/scene/{arguments.live}")
                made.raise_for_status()
            await api.start()
            bench = Bench(kubernetes, api)
            await bench.let_in()
            if "lists" in arguments.only:
                figures["lists"] = await bench.answers(arguments.rounds)
            if "pages" in arguments.only:
                figures["pages"] = {}
                for kind in ("nobody", "the list of all tasks", "25 lists", "nobody again"):
                    looking = (
                        [] if "nobody" in kind else viewers_of(kind, arguments.pages, bench.cookies)
                    )
                    figures["pages"][kind] = await bench.share(arguments.seconds, looking)
                    print(kind, figures["pages"][kind], flush=True)
            if "browser" in arguments.only:
                figures["browser"] = await bench.browser(arguments.seconds)
                print(figures["browser"], flush=True)
        finally:
            await api.stop()
            server.terminate()
            server.join()
    return figures


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--live", type=int, default=5_000)
    parser.add_argument("--archived", type=int, default=20_000)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=20, help="of each part")
    parser.add_argument("--rounds", type=int, default=30, help="of each list")
    database = parser.add_mutually_exclusive_group()
    database.add_argument("--url", default="", help="an empty database of PostgreSQL")
    database.add_argument("--postgresql", action="store_true", help="run a server of it meanwhile")
    parser.add_argument("--only", nargs="*", default=["lists", "pages", "browser"])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = asyncio.run(measure(arguments))
    show(figures)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=1))


def show(figures: dict[str, Any]) -> None:
    """Print the tables of the README."""
    print(f"\nload before: {figures['load']:.1f}")
    if "lists" in figures:
        print("\n| list, ms | least | p50 | p95 | CPU |\n|--|--|--|--|--|")
        for title, values in figures["lists"].items():
            print(f"| {title} | {' | '.join(f'{value:.0f}' for value in values)} |")
    if "pages" in figures:
        late = ("shown after, p50", "p95", "latest")
        print(f"\n| who looks | share of a core | sent, MB | asked again | {' | '.join(late)} |")
        print("|--|--|--|--|--|--|--|")
        for title, found in figures["pages"].items():
            sent, asked = found.get("bytes", 0) / 1e6, found.get("asked", 0)
            seconds = " | ".join(f"{found[one]:.2f} s" if one in found else "" for one in late)
            print(f"| {title} | {found['share']:.1%} | {sent:.0f} | {asked} | {seconds} |")
    if "browser" in figures:
        print("\n| in the browser | |\n|--|--|")
        for title, value in figures["browser"].items():
            print(f"| {title} | {value:.0f} |")


if __name__ == "__main__":
    main()
