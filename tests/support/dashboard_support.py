"""An installation at work, for whoever looks at its dashboard: in memory, on a real port."""

import contextlib
import itertools
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from api_support import TOKEN, a_token, put_pod, put_task
from longtask_adapters.testing import MemoryKubernetes, MemorySender
from longtask_api import settings, wiring
from longtask_api.mail import message
from longtask_api.services import streams
from longtask_api.settings import Registration
from longtask_api.stores.ledger import Channel, Ledger, Notice
from longtask_api.stores.users import Users
from longtask_crds import names, signing_keys, v1alpha1
from longtask_crds.schedule import times as schedule_times
from longtask_crds.testing import a_condition
from stream_support import serving

TYPES: dict[str, dict[str, Any]] = {
    "render-video": {
        "description": "Renders a film, frame by frame, at the size and speed that is asked for.",
        "inputSchema": {
            "type": "object",
            "required": ["source", "frames"],
            "additionalProperties": False,
            "properties": {
                "source": {"type": "string", "format": "uri", "description": "Where the scene is."},
                "frames": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 100_000,
                    "description": "How many frames.",
                },
                "quality": {"enum": ["draft", "good", "best"], "default": "good"},
                "sound": {"type": "boolean", "description": "With its sound."},
                "size": {
                    "type": "object",
                    "description": "In pixels.",
                    "properties": {
                        "width": {"type": "integer", "minimum": 16, "default": 1920},
                        "height": {"type": "integer", "minimum": 16, "default": 1080},
                    },
                },
                "marks": {"type": "array", "items": {"type": "string"}},
            },
        },
        "defaults": {"queue": "video", "retry": {"maxAttempts": 3}},
    },
    "nightly-report": {"description": "Makes the report of a day."},
    "import-ledger": {
        "description": "Fetches the bank's ledger.",
        "defaults": {"queue": "finance"},
    },
    "ocr": {"description": "Reads the text of scanned pages."},
    "crawl": {"description": "Looks at every page of a site.", "defaults": {"queue": "crawl"}},
    "thumbnails": {"description": "Makes small pictures of large ones."},
    "train-model": {"description": "Trains a model.", "defaults": {"queue": "gpu"}},
}
QUEUES: dict[str, dict[str, Any]] = {
    "default": {"maxRunning": 8},
    "video": {"maxRunning": 2, "maxRunningPerOwner": 2},
    "reports": {"maxRunning": 4},
    "crawl": {"maxRunning": 3},
    "finance": {"maxRunning": 1},
    "gpu": {"maxRunning": 1, "paused": True},
}


#: Every page of it, some in several states.
PATHS = (
    "",
    "?search=nothing-like-this",
    "tasks/nightly-report-0412",
    "tasks/ocr-invoices-51d",
    "tasks/render-video-p02mm",
    "tasks/thumbnails-20414",
    "tasks/wide",
    "tasks/nobody",
    "new?type=render-video",
    "new?of=ocr-invoices-51d",
    "queues",
    "queues/video",
    "types",
    "types/render-video",
    "health",
    "schedules",
    "schedules/nightly-report",
    "schedules/crawl-shop",
    "new/schedule?type=render-video",
    "told",
    "trends",
    "subscriptions",
    "audit",
    "account",
    "admin",
)


class StampedLogs(MemoryKubernetes):
    """A Kubernetes whose logs say of each line when it was written, as the kubelet does."""

    def _log(self, route: Any, query: Any) -> Any:
        asked = {
            key: value for key, value in query.items() if key not in ("timestamps", "sinceTime")
        }
        return super()._log(route, asked)


class Scene:
    """What happens in the cluster, as it is seen at one moment."""

    def __init__(self, kubernetes: MemoryKubernetes, now: datetime) -> None:
        self.kubernetes = kubernetes
        self.now = now

    def ago(self, **span: float) -> str:
        return (self.now - timedelta(**span)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def task(
        self,
        name: str,
        kind: str | None,
        owner: str,
        phase: str,
        made: float,
        *,
        spec: dict[str, Any] | None = None,
        message: str = "",
        reason: str = "Completed",
        **status: Any,
    ) -> None:
        """Make a task that was handed over so many seconds ago."""
        conditions = []
        if v1alpha1.Phase(phase).is_terminal:
            is_good = v1alpha1.ConditionStatus("True" if phase == "Succeeded" else "False")
            word = v1alpha1.Reason(reason)
            ends = (v1alpha1.ConditionType.FINISHED, v1alpha1.ConditionStatus.TRUE, word, "")
            how = (v1alpha1.ConditionType.SUCCEEDED, is_good, word, message)
            conditions = [a_condition(*one).to_json() for one in (ends, how)]
        elif phase in ("Running", "Retrying", "Queued"):
            how = (
                v1alpha1.ConditionType.SUCCEEDED,
                v1alpha1.ConditionStatus("Unknown"),
                v1alpha1.Reason(phase),
                message,
            )
            conditions = [a_condition(*how).to_json()]
        put_task(
            self.kubernetes,
            name,
            metadata={
                "uid": str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
                "creationTimestamp": self.ago(seconds=made),
                "labels": {names.OWNER_LABEL: owner},
            },
            spec=(spec or {}) | ({"type": kind} if kind else {}),
            status={"phase": phase, "conditions": conditions, "queuedAt": self.ago(seconds=made)}
            | status,
        )

    def attempt(
        self, name: str, number: int, began: float, ended: float | None = None, **more: Any
    ) -> dict[str, Any]:
        """Return an attempt of the task that began and ended so many seconds ago."""
        made = {
            "number": number,
            "jobName": f"{name}-{number}",
            "podName": f"{name}-{number}-pod",
            "node": f"node-{number + 1}",
            "claimedAt": self.ago(seconds=began + 1),
            "startedAt": self.ago(seconds=began),
        }
        if ended is not None:
            made["finishedAt"] = self.ago(seconds=ended)
        return made | more

    def running(
        self,
        name: str,
        kind: str,
        owner: str,
        began: float,
        percent: int | None,
        message: str,
        *,
        queue: str = "default",
        waited: float = 20,
        **more: Any,
    ) -> None:
        progress = {"message": message, "updatedAt": self.ago(seconds=1)}
        if percent is not None:
            progress |= {"percent": percent}  # type: ignore[dict-item]
        self.task(
            name,
            kind,
            owner,
            "Running",
            began + waited,
            **{
                "queue": queue,
                "startedAt": self.ago(seconds=began),
                "attempt": 1,
                "attempts": [self.attempt(name, 1, began)],
                "progress": progress,
            }
            | more,
        )
        self.log(f"{name}-1-pod", 400, began)

    def over(
        self,
        name: str,
        kind: str,
        owner: str,
        phase: str,
        ended: float,
        lasted: float,
        message: str = "",
        *,
        queue: str = "default",
        reason: str = "Completed",
        percent: int | None = None,
        **more: Any,
    ) -> None:
        code = 0 if phase == "Succeeded" else 3
        last = self.attempt(name, 1, ended + lasted, ended, exitCode=code, reason=reason)
        if percent is not None:
            more["progress"] = {"percent": percent}
        self.task(
            name,
            kind,
            owner,
            phase,
            ended + lasted + 5,
            message=message,
            reason=reason,
            **{
                "queue": queue,
                "startedAt": self.ago(seconds=ended + lasted),
                "finishedAt": self.ago(seconds=ended),
                "attempt": 1,
                "attempts": [last],
            }
            | more,
        )
        self.log(f"{name}-1-pod", 40, ended + lasted)

    def log(self, pod: str, lines: int, began: float) -> None:
        """Let there be a pod that has written so much."""
        put_pod(self.kubernetes, pod)
        start = self.now - timedelta(seconds=began)
        self.kubernetes.logs[pod] = [
            b"".join(
                f"{_stamp(start + timedelta(milliseconds=50 * n))} {_line(n)}\n".encode()
                for n in range(lines)
            )
        ]


def _stamp(at: datetime) -> str:
    """Return a time as the kubelet writes it before a line of a log."""
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}000Z"


def _line(number: int) -> str:
    page = number // 3 + 1
    return (
        f"page {page}: reading",
        f"page {page}: rotated by 90°"
        if page % 7 == 0
        else f"page {page}: {page * 37 % 400} words",
        f"\x1b[33mpage {page}: retry of the font server\x1b[0m"
        if page % 11 == 0
        else f"page {page} done",
    )[number % 3]


def fill(kubernetes: MemoryKubernetes, now: datetime) -> Scene:
    """Let there be a busy installation."""
    for name, spec in QUEUES.items():
        kubernetes.put(names.LONGTASKQUEUES, name, spec=spec)
    for name, spec in TYPES.items():
        kubernetes.put(names.LONGTASKTYPES, name, spec=spec)
    kubernetes.add_secret(signing_keys.KEYS_SECRET, {}, namespace="longtask")
    scene = Scene(kubernetes, now)
    _nightly(scene)
    scene.running(
        "render-video-7f3k2q",
        "render-video",
        "mira",
        252,
        72,
        "frame 1,296 of 1,800",
        queue="video",
    )
    scene.running(
        "render-video-a81mm",
        "render-video",
        "jonas",
        61,
        11,
        "frame 190 of 1,800",
        queue="video",
    )
    scene.running(
        "crawl-shop-eu-x81", "crawl", "jonas", 1_320, None, "2,214 pages so far", queue="crawl"
    )
    bank = "the bank answered 503"
    scene.task(
        "import-ledger-9ab",
        "import-ledger",
        "mira",
        "Retrying",
        370,
        queue="finance",
        spec={"retry": {"maxAttempts": 5}},
        message=bank,
        attempt=1,
        retryAt=scene.ago(seconds=-38),
        startedAt=scene.ago(seconds=360),
        attempts=[
            scene.attempt(
                "import-ledger-9ab", 1, 360, 20, exitCode=75, reason="TryAgain", message=bank
            )
        ],
        progress={"percent": 51},
    )
    for number, owner in enumerate(["mira", "mira", "jonas", "lea", "lea", "mira", "otto", "otto"]):
        scene.task(
            f"render-video-p{number:02}mm",
            "render-video",
            owner,
            "Queued",
            120 - number,
            queue="video",
        )
    scene.task("train-model-k3", "train-model", "lea", "Queued", 840, queue="gpu")
    scene.over(
        "ocr-invoices-51d",
        "ocr",
        "jonas",
        "Failed",
        40,
        62,
        "page 41 has no text layer",
        reason="ProgramFailed",
        percent=63,
        callback={
            "id": "msg_1",
            "event": "failed",
            "state": "Exhausted",
            "tries": 3,
            "lastCode": 502,
            "deliveries": [
                {"at": scene.ago(seconds=38 - n), "event": "failed", "code": 502, "seconds": 0.041}
                for n in range(3)
            ],
        },
        spec={
            "input": {"invoices": ["51a", "51b", "51d"], "language": "de", "deskew": True},
            "callback": {"url": "https://erp.example.com/hooks/report"},
        },
    )
    scene.over(
        "thumbnails-20414",
        "thumbnails",
        "lea",
        "Succeeded",
        95,
        18,
        "412 files",
        result={"value": {"files": 412, "bytes": 18_200_111, "skipped": []}},
    )
    scene.over("thumbnails-20413", "thumbnails", "lea", "Succeeded", 200, 21, "418 files")
    scene.over(
        "crawl-shop-us-b20",
        "crawl",
        "jonas",
        "Cancelled",
        300,
        220,
        "by jonas, while it ran",
        queue="crawl",
        reason="Cancelled",
        percent=12,
    )
    scene.over(
        "nightly-report-0411",
        "nightly-report",
        "otto",
        "Succeeded",
        86_000,
        451,
        "6 steps",
        queue="reports",
    )
    for number in range(24):
        scene.over(
            f"thumbnails-{20412 - number}",
            "thumbnails",
            "lea",
            "Succeeded",
            400 + 130 * number,
            19 + number % 5,
            f"{400 + number} files",
        )
    return scene


def _nightly(scene: Scene) -> None:
    """A pipeline in the middle of its work, with a step for each of some items."""

    def ended(name: str, began: float, lasted: float) -> dict[str, Any]:
        return {
            "name": name,
            "phase": "Succeeded",
            "attempt": 1,
            "exitCode": 0,
            "reason": "Completed",
            "begunAt": scene.ago(seconds=began + 8),
            "claimedAt": scene.ago(seconds=began + 8),
            "startedAt": scene.ago(seconds=began),
            "finishedAt": scene.ago(seconds=began - lasted),
            "jobName": f"nightly-{name}",
            "podName": f"nightly-{name}",
        }

    children = [
        {
            "index": index,
            "phase": "Succeeded" if index < 31 else "Running",
            "attempt": 1,
            "begunAt": scene.ago(seconds=80 - index),
            "startedAt": scene.ago(seconds=79 - index),
            "jobName": f"nightly-pages-{index}",
            "podName": f"nightly-pages-{index}",
        }
        | ({"finishedAt": scene.ago(seconds=60 - index)} if index < 31 else {})
        for index in range(35)
    ]
    scene.task(
        "nightly-report-0412",
        None,
        "otto",
        "Running",
        170,
        queue="reports",
        attempt=1,
        step="4/7 convert",
        startedAt=scene.ago(seconds=150),
        spec={
            "steps": [
                {"name": "fetch", "type": "nightly-report"},
                {"name": "unpack", "type": "nightly-report"},
                {
                    "name": "convert",
                    "type": "nightly-report",
                    "needs": ["unpack"],
                    "retry": {"maxAttempts": 3},
                },
                {
                    "name": "pages",
                    "type": "nightly-report",
                    "needs": ["unpack"],
                    "forEach": {"$from": "steps.unpack#/pages"},
                },
                {"name": "figures", "type": "nightly-report", "needs": ["unpack"]},
                {
                    "name": "report",
                    "type": "nightly-report",
                    "needs": ["convert", "pages", "figures"],
                },
                {"name": "clean-up", "type": "nightly-report", "finally": True},
            ],
            "input": {"day": "2026-04-12", "source": "s3://ledger/0412.pdf", "language": "de"},
            "callback": {
                "url": "https://erp.example.com/hooks/report",
                "events": ["started", "succeeded", "failed"],
            },
            "queue": "reports",
        },
        progress={
            "percent": 38,
            "message": "converting, page 31 of 80",
            "updatedAt": scene.ago(seconds=1),
        },
        steps=[
            ended("fetch", 150, 24),
            ended("unpack", 120, 12),
            {
                "name": "convert",
                "phase": "Running",
                "attempt": 2,
                "begunAt": scene.ago(seconds=104),
                "claimedAt": scene.ago(seconds=78),
                "startedAt": scene.ago(seconds=66),
                "jobName": "nightly-convert",
                "podName": "nightly-convert",
                "node": "node-3",
                "progress": {"percent": 39, "message": "page 31 of 80"},
            },
            {
                "name": "pages",
                "phase": "Running",
                "items": 80,
                "succeeded": 31,
                "children": children,
            },
            ended("figures", 100, 31),
            {"name": "report"},
            {"name": "clean-up"},
        ],
        callback={
            "id": "msg_2",
            "event": "started",
            "state": "Delivered",
            "tries": 2,
            "lastCode": 204,
            "deliveredAt": scene.ago(seconds=140),
            "deliveries": [
                {"at": scene.ago(seconds=149), "event": "started", "code": 502, "seconds": 0.21},
                {"at": scene.ago(seconds=140), "event": "started", "code": 204, "seconds": 0.038},
            ],
        },
    )
    for pod in ("nightly-convert", "nightly-fetch", "nightly-pages-3"):
        scene.log(pod, 320, 66)


def a_wide_pipeline(kubernetes: MemoryKubernetes, now: datetime, *, steps: int = 50) -> None:
    """A pipeline with as many steps as there may be, many of them side by side."""
    scene, rows = Scene(kubernetes, now), 8
    spec = [
        {
            "name": f"step-{n:02}",
            "type": "ocr",
            "needs": [
                f"step-{m:02}" for m in range(max(0, n - rows), n) if n >= rows and (n + m) % 3 == 0
            ],
        }
        for n in range(steps)
    ]
    scene.task(
        "wide",
        None,
        "otto",
        "Running",
        300,
        queue="default",
        attempt=1,
        step=f"20/{steps} step-20",
        startedAt=scene.ago(seconds=290),
        spec={"steps": spec},
        steps=[
            {
                "name": one["name"],
                "phase": "Succeeded" if n < 20 else "Running" if n < 24 else "Pending",
            }
            | (
                {
                    "attempt": 1,
                    "begunAt": scene.ago(seconds=290 - 12 * n),
                    "startedAt": scene.ago(seconds=288 - 12 * n),
                }
                if n < 24
                else {}
            )
            | ({"finishedAt": scene.ago(seconds=270 - 12 * n)} if n < 20 else {})
            for n, one in enumerate(spec)
        ],
    )


def schedules(kubernetes: MemoryKubernetes, now: datetime) -> None:
    """Let tasks start by themselves: each day, each quarter of an hour, and some that do not."""
    scene = Scene(kubernetes, now)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    nights = [midnight + timedelta(hours=3, days=-n) for n in range(12)]
    nights = [at for at in nights if at < now]
    failed = {1: "the report of the day before is missing", 6: "OOMKilled: 512Mi"}
    _schedule(scene, "nightly-report", "otto", {"schedule": "0 3 * * *"}, nights, 451, failed)
    quarter = now.replace(minute=now.minute // 15 * 15, second=0, microsecond=0)
    quarters = [quarter - n * timedelta(minutes=15) for n in range(40)]
    timing = {"schedule": "*/15 * * * *", "timeZone": "Europe/Zurich", "concurrencyPolicy": "Allow"}
    _schedule(scene, "import-ledger", "mira", timing, quarters, 74, {0: "", 13: "the bank: 503"})
    hours = [quarter - timedelta(hours=n, minutes=30) for n in range(9)]
    bad = dict.fromkeys(range(3), "the shop answers 403")
    crawl = {"intervalSeconds": 3_600, "maxFailures": 3}
    _schedule(scene, "crawl-shop", "jonas", crawl, hours, 220, bad, reason="MaxFailures")
    weekly = {"schedule": "@weekly", "suspend": True}
    _schedule(scene, "train-model", "lea", weekly, [], 0, {}, reason="AsAsked")


def _schedule(
    scene: Scene,
    name: str,
    owner: str,
    timing: dict[str, Any],
    times: list[datetime],
    lasted: float,
    failed: dict[int, str],
    *,
    reason: str = "",
) -> None:
    """Make a schedule whose runs were at these times, the newest first; a failure without a word
    is one that goes on."""
    labels = {names.OWNER_LABEL: owner}
    kind = name if name in TYPES else "crawl"
    template = {"spec": {"type": kind, "input": {"day": "yesterday"}}}
    spec = timing | {"taskTemplate": template}
    runs, active = [], []
    for index, at in enumerate(times):
        run = names.run_name(name, at)
        error = failed.get(index)
        lasts = lasted + index * 37 % 60
        ago = (scene.now - at).total_seconds()
        if error == "":
            active.append(run)
            scene.running(run, kind, owner, ago - 1, 40, "41 of 103", waited=1)
        else:
            phase = "Succeeded" if error is None else "Failed"
            why = "Completed" if error is None else "ProgramFailed"
            scene.over(run, kind, owner, phase, ago - lasts, lasts, error or "", reason=why)
        said = {
            names.SCHEDULED_AT_ANNOTATION: at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            names.RUN_NUMBER_ANNOTATION: str(len(times) - index),
        }
        of = labels | {names.SCHEDULE_LABEL: name}
        put_task(scene.kubernetes, run, metadata={"annotations": said, "labels": of})
        if index < 20:
            stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
            known = {"name": run, "number": len(times) - index, "scheduledAt": stamp}
            if error != "":
                end = (at + timedelta(seconds=lasts)).strftime("%Y-%m-%dT%H:%M:%SZ")
                known |= {
                    "phase": "Succeeded" if error is None else "Failed",
                    "finishedAt": end,
                    "seconds": lasts,
                }
            runs.append(known | ({"error": error} if error else {}))
    accepted = (
        v1alpha1.ConditionType.ACCEPTED,
        v1alpha1.ConditionStatus.TRUE,
        v1alpha1.Reason.ACTIVE,
        "",
    )
    suspended = (
        v1alpha1.ConditionType.SUSPENDED,
        v1alpha1.ConditionStatus("True" if reason else "False"),
        v1alpha1.Reason(reason or "Active"),
        "",
    )
    told = [a_condition(*one).to_json() for one in (accepted, suspended)]
    scene.kubernetes.put(
        names.LONGTASKSCHEDULES,
        name,
        metadata={"labels": labels, "creationTimestamp": scene.ago(days=40)},
        spec=spec,
    )
    stored = scene.kubernetes.stored(names.LONGTASKSCHEDULES, name)
    seen = v1alpha1.LongTaskSchedule.model_validate(stored)
    coming = (
        [] if reason else list(itertools.islice(schedule_times.Times.of(seen).after(scene.now), 3))
    )
    scene.kubernetes.put(
        names.LONGTASKSCHEDULES,
        name,
        status={
            "observedGeneration": stored["metadata"]["generation"],
            "nextRuns": [at.strftime("%Y-%m-%dT%H:%M:%SZ") for at in coming],
            "runs": runs,
            "active": active,
            "runsStarted": len(times) + 210,
            "failuresInARow": 3 if reason == "MaxFailures" else 0,
            "skipped": 2,
            "conditions": told,
        },
    )


async def tell(services: wiring.Services, url: str, token: str) -> str:
    """Let receivers be told, mails be sent or given up, and somebody have done something.

    Returns:
        The id of the subscription that has deliveries.
    """
    now = services.clock()
    ledger = Ledger(services.database, clock=services.clock)
    mails = [
        ("ocr-invoices-51d", "failed", "Failed: page 41 has no text layer", "jonas@example.com"),
        ("crawl-shop-us-b20", "cancelled", "Cancelled by jonas", "jonas@example.com"),
        ("nightly-report-0411", "succeeded", "Succeeded", "controlling@example.com"),
    ]
    for number, (task, event, words, recipient) in enumerate(mails):
        at = (now - timedelta(minutes=number)).strftime("%Y-%m-%dT%H:%M:%SZ")
        said = message.Said(event=event, kind="task", name=task, message=words, at=at)
        await ledger.note(
            [
                Notice(
                    channel=Channel.MAIL,
                    event_id=f"msg_{number}",
                    event=event,
                    sequence=number,
                    task_uid=f"uid-{task}",
                    namespace="longtasks",
                    task_name=task,
                    owner="jonas",
                    recipient=recipient,
                    document=said.document(),
                )
            ]
        )
        if number == 0:
            taken = await ledger.take(Channel.MAIL, 1, 60)
            await ledger.give_up(taken, code=550, error="no such mailbox here")
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as own:
        made = []
        for order in (
            {
                "url": "https://hooks.test:9000/tasks/chat",
                "events": ["failed"],
                "description": "what goes wrong, for the team's room",
            },
            {"url": "https://hooks.test:9000/billing", "filter": {"queue": "finance"}},
        ):
            answer = await own.post("/api/v1/subscriptions", json=order)
            answer.raise_for_status()
            made.append(answer.json()["id"])
        await _deliver(ledger, made[0], now)
        await own.post("/api/v1/tasks/ocr-invoices-51d:retry")
        await own.post("/api/v1/queues/video:pause")
        await own.post("/api/v1/queues/video:resume")
        await own.post("/api/v1/schedules/train-model:pause")
    return made[0]


async def _deliver(ledger: Ledger, subscription: str, now: datetime) -> None:
    """Let a receiver have taken some of what it was told, and not all."""
    tasks = ("import-ledger-9aa", "ocr-invoices-51d", "crawl-shop-eu-x80", "thumbnails-20399")
    for number, task in enumerate(tasks):
        notice = Notice(
            channel=Channel.WEBHOOK,
            event_id=f"msg_hook_{number}",
            event="failed",
            sequence=number,
            task_uid=f"uid-{task}",
            namespace="longtasks",
            task_name=task,
            owner="jonas",
            recipient=subscription,
            document=json.dumps({"body": "{}", "mediaType": "application/json"}),
        )
        await ledger.note([notice])
        taken = await ledger.take(Channel.WEBHOOK, 1, 60)
        if number == 0:
            await ledger.again(taken, now + timedelta(minutes=4), "no answer within 10 s")
        elif number == 2:
            await ledger.give_up(taken, code=502, error="bad gateway")
        else:
            await ledger.sent(taken, code=204)


@contextlib.asynccontextmanager
async def installation(
    kubernetes: MemoryKubernetes, directory: Path, **more: Any
) -> AsyncIterator[tuple[wiring.Services, str]]:
    """Serve an installation on a port of its own; yield what it stands on, and its address."""
    token = directory / "token"
    token.write_text(TOKEN)
    usual: dict[str, Any] = {
        "token_file": token,
        "data_directory": directory,
        "dashboard_plain_http": True,
        "registration": Registration.INVITE,
        "callback_allow": ("hooks.test:9000",),
    }
    configured = settings.Settings(**(usual | more))
    pace = streams.Pace(ping=0.5, check=0.3, place=0.2, batch=0.02)
    async with (
        wiring.running(
            kubernetes, configured, sender=MemorySender(), stream_pace=pace, start_patience=0.2
        ) as services,
        serving(services, path_prefix=configured.path_prefix) as url,
    ):
        await services.health.synced()
        yield services, url


async def a_session(services: wiring.Services, username: str, role: str = "admin") -> str:
    """Return the token of somebody who is logged in."""
    end = datetime.now(UTC) + timedelta(hours=12)
    return await a_token(Users(services.database), username, role=role, expires_at=end)
