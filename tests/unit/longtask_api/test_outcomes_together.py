"""Programs of one pipeline that end at the same time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest

from api_support import an_identity, key, put_task
from longtask_adapters.kube.transport import Request, Response
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import wiring
from longtask_crds import names

ITEMS = 10


class Distant(MemoryKubernetes):
    """One to which each request is under way for a while, beside others."""

    @contextlib.asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[Response]:
        await asyncio.sleep(0)
        async with super().open(request) as response:
            await asyncio.sleep(0)
            yield response


@pytest.fixture
def kubernetes() -> MemoryKubernetes:
    made = Distant()
    made.put(names.LONGTASKQUEUES, "default", spec={"maxRunning": 2})
    made.put(names.LONGTASKTYPES, "fibonacci", spec={})
    for item in range(ITEMS):
        made.tokens[f"token-{item}"] = an_identity(pod=f"pod-{item}")
    return made


async def test_none_is_refused_for_another(
    runner: httpx.AsyncClient, services: wiring.Services, kubernetes: MemoryKubernetes
) -> None:
    children = [
        {
            "index": item,
            "phase": "Starting",
            "attempt": 1,
            "jobName": f"job-{item}",
            "podName": f"pod-{item}",
            "podUid": f"uid-of-pod-{item}",
        }
        for item in range(ITEMS)
    ]
    each = {"name": "each", "phase": "Running", "items": ITEMS, "children": children}
    put_task(
        kubernetes,
        metadata={"creationTimestamp": "2026-01-02T03:04:05Z"},
        spec={"steps": [{"name": "each", "type": "fibonacci", "forEach": list(range(ITEMS))}]},
        status={"phase": "Running", "attempt": 1, "steps": [each]},
    )
    await services.resources.look(key("a"))
    answers = await asyncio.gather(
        *(
            runner.post(
                "/runner/v1/outcome",
                json={"exitCode": 0, "result": item},
                headers={"Authorization": f"Bearer token-{item}"},
            )
            for item in range(ITEMS)
        )
    )
    assert [answer.status_code for answer in answers] == [200] * ITEMS
    assert kubernetes.calls.count("patch longtasks a/status") == ITEMS
    (step,) = kubernetes.stored(names.LONGTASKS, "a")["status"]["steps"]
    said = [child["report"]["result"]["value"] for child in step["children"]]
    assert said == list(range(ITEMS))
