"""What the API's tests say in one line of the Kubernetes in memory."""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from longtask_adapters.testing import MemoryKubernetes
from longtask_api.auth import callers
from longtask_api.services.accounts import local_tokens
from longtask_api.stores.users import NameTaken, Token, User, Users
from longtask_client import models
from longtask_crds import names, v1alpha1
from longtask_crds.testing import FINISHED, NAMESPACE, NOW, a_condition

CALLER = callers.INSTALLATION
TOKEN = "correct-horse"
#: Who waits for something asks again and again, as often as a machine is fast.
UNLIMITED: dict[str, Any] = {"requests_per_second": 0, "requests_per_second_per_address": 0}


def key(name: str) -> names.ObjectKey:
    return names.ObjectKey(NAMESPACE, name)


def put_task(kubernetes: MemoryKubernetes, name: str = "a", **parts: Any) -> None:
    """Make or change a task as somebody else would."""
    is_new = key(name) not in kubernetes.objects(names.LONGTASKS)
    usual = {"spec": {"type": "fibonacci"}, "status": {"phase": "Pending"}} if is_new else {}
    kubernetes.put(names.LONGTASKS, name, **(usual | parts))


def put_pod(
    kubernetes: MemoryKubernetes,
    name: str = "a-pod",
    *,
    task: str = "a",
    job: str = "a-job",
    attempt: int = 1,
    phase: str = "Running",
) -> None:
    """Make a pod of an attempt's Job, or change its phase; its uid is `uid-of-<name>`."""
    kubernetes.put(
        "pods",
        name,
        metadata={
            "uid": f"uid-of-{name}",
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": {names.TASK_LABEL: task, names.ATTEMPT_LABEL: str(attempt)},
            "ownerReferences": [{"kind": "Job", "name": job, "uid": f"uid-of-{job}"}],
        },
        status={"phase": phase},
    )


def an_identity(
    *,
    pod: str = "a-pod",
    username: str = "system:serviceaccount:longtasks:default",
    audiences: tuple[str, ...] = ("longtask-report",),
    bound: bool = True,
) -> dict[str, Any]:
    """Return what a TokenReview says of a token: by default of one that a pod reports with."""
    extra = {
        "authentication.kubernetes.io/pod-name": [pod],
        "authentication.kubernetes.io/pod-uid": [f"uid-of-{pod}"],
    }
    user = {"username": username, "extra": extra if bound else {}}
    return {"authenticated": True, "user": user, "audiences": list(audiences)}


def put_ended_task(
    kubernetes: MemoryKubernetes,
    name: str = "a",
    *,
    phase: str = "Succeeded",
    message: str = "well done",
    ended_at: datetime = NOW,
    spec: dict[str, Any] | None = None,
    labels: dict[str, str] | None = None,
    **status: Any,
) -> None:
    """Make a task that ended then, after one attempt; its pod is `<name>-pod`, its Job released."""
    kubernetes.put(
        "jobs",
        f"{name}-job",
        metadata={"ownerReferences": [{"kind": "LongTask", "name": name, "uid": f"uid-of-{name}"}]},
        spec={"ttlSecondsAfterFinished": names.RELEASED_TTL_SECONDS},
    )
    done = a_condition(v1alpha1.ConditionType.SUCCEEDED, message=message)
    stamp = ended_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    attempt = {"number": 1, "jobName": f"{name}-job", "podName": f"{name}-pod", "finishedAt": stamp}
    put_task(
        kubernetes,
        name,
        metadata={"uid": f"uid-of-{name}", "creationTimestamp": stamp, "labels": labels or {}},
        spec=spec or {"type": "fibonacci", "input": {"n": 100}},
        status={
            "phase": phase,
            "conditions": [FINISHED.to_json(), done.to_json()],
            "finishedAt": stamp,
            "queue": "default",
            "attempt": 1,
            "attempts": [attempt],
            **status,
        },
    )


def put_schedule(kubernetes: MemoryKubernetes, name: str = "s", **parts: Any) -> None:
    """Make or change a schedule as somebody else would: by default one for each hour."""
    is_new = key(name) not in kubernetes.objects(names.LONGTASKSCHEDULES)
    template = {"spec": {"type": "fibonacci", "input": {"n": 1}}}
    usual = {"spec": {"schedule": "@hourly", "taskTemplate": template}} if is_new else {}
    kubernetes.put(names.LONGTASKSCHEDULES, name, **(usual | parts))


def put_run(
    kubernetes: MemoryKubernetes,
    at: datetime,
    *,
    schedule: str = "s",
    number: int = 1,
    owner: str | None = None,
    **ended: Any,
) -> str:
    """Make a run that ended a minute after its time, as `put_ended_task` does; return its name."""
    name = names.run_name(schedule, at)
    labels = {names.SCHEDULE_LABEL: schedule} | ({names.OWNER_LABEL: owner} if owner else {})
    stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    put_ended_task(
        kubernetes,
        name,
        ended_at=at + timedelta(minutes=1),
        labels=labels,
        startedAt=stamp,
        **ended,
    )
    said = {names.SCHEDULED_AT_ANNOTATION: stamp, names.RUN_NUMBER_ANNOTATION: str(number)}
    put_task(kubernetes, name, metadata={"annotations": said})
    return name


async def eventually(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Return once it is so; fail after a minute, which is long on any machine."""
    async with asyncio.timeout(60):
        while True:
            if await is_so():
                return
            await asyncio.sleep(0)


async def a_token(
    users: Users,
    username: str,
    *,
    role: str = "user",
    kind: str = "session",
    scopes: Iterable[str] = models.Scope,
    expires_at: datetime = NOW + timedelta(hours=12),
    **user: Any,
) -> str:
    """Make a user, unless there is one of that name, and a token of theirs; return the token."""
    made = User(username, None, role, "no hash of any password", NOW, **user)
    with contextlib.suppress(NameTaken):
        await users.add(made)
    token = local_tokens.new_token()
    stored = Token(
        id=uuid.uuid4().hex,
        digest=local_tokens.digest_of(token),
        username=username,
        kind=kind,
        name=None,
        scopes=tuple(map(str, scopes)),
        created_at=NOW,
        expires_at=expires_at,
    )
    assert await users.add_token(stored, most=100) is (made.disabled_at is None)
    return token


def bearing(token: str | None) -> dict[str, str]:
    """Return the headers of who bears that token."""
    return {} if token is None else {"Authorization": f"Bearer {token}"}


class Named:
    """Takes `ann` and `bob` for the tokens of those two."""

    async def caller(self, token: str) -> callers.Caller | None:
        return callers.Caller(subject=token, name=token) if token in ("ann", "bob") else None
