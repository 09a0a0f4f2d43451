from typing import Any

import httpx
import pytest

from api_support import put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import errors, wiring
from longtask_api.auth import callers
from longtask_api.stores import pages
from longtask_crds import names, queueing
from longtask_crds.testing import FINISHED

LANE = "/api/v1/queues/lane"


@pytest.fixture(autouse=True)
def _lane(kubernetes: MemoryKubernetes) -> None:
    kubernetes.put(names.LONGTASKQUEUES, "lane", spec={"maxRunning": 1})


async def holds(client: httpx.AsyncClient, kubernetes: MemoryKubernetes, **tasks: Any) -> None:
    """Put tasks into the lane, and let the API hear of them; a spec's fields, or a status."""
    for name, given in tasks.items():
        parts = {"status": {"phase": "Queued"}, "type": "fibonacci", "queue": "lane"} | given
        put_task(kubernetes, name, status=parts.pop("status"), spec=parts)
        assert (await client.get(f"/api/v1/tasks/{name}")).status_code == 200


def claimed(**moments: str) -> dict[str, Any]:
    """Return the status of a task that has its place; the moments are times of that hour."""
    at = {name: f"2026-01-02T03:{time}Z" for name, time in moments.items()}
    attempt = {"number": 1, "jobName": "a-job", **at}
    return {"phase": "Running", "queue": "lane", "attempt": 1, "attempts": [attempt]}


async def test_queues_by_name(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/api/v1/queues")).json()
    assert [queue["name"] for queue in answer["items"]] == ["default", "lane"]
    assert answer["nextCursor"] is None


async def test_a_queue(client: httpx.AsyncClient, kubernetes: MemoryKubernetes) -> None:
    await holds(
        client,
        kubernetes,
        runs={"status": claimed(claimedAt="00:00", startedAt="00:01")},
        late={},
        soon={"priority": 90},
        elsewhere={"queue": "default"},
    )
    created = kubernetes.stored(names.LONGTASKS, "late")["metadata"]["creationTimestamp"]
    queue = (await client.get(LANE)).json()
    content = queue.pop("content")
    assert queue == {
        "name": "lane",
        "maxRunning": 1,
        "maxRunningPerOwner": None,
        "paused": False,
        "running": 1,
        "waiting": 2,
        "oldestQueuedAt": created,
        "startsPerMinute": 0.2,
        "links": {
            "self": LANE,
            "tasks": "/api/v1/tasks?queue=lane",
            "pause": f"{LANE}:pause",
            "resume": f"{LANE}:resume",
        },
        "nextCursor": None,
    }
    assert [(task["position"], task["id"], task["priority"]) for task in content] == [
        (1, "soon", 90),
        (2, "late", 50),
    ]
    assert content[1] == {
        "id": "late",
        "type": "fibonacci",
        "owner": None,
        "priority": 50,
        "position": 2,
        "queuedAt": created,
        "links": (await client.get("/api/v1/tasks/late")).json()["links"],
    }


async def test_an_empty_queue(client: httpx.AsyncClient) -> None:
    queue = (await client.get(LANE)).json()
    assert (queue["oldestQueuedAt"], queue["content"], queue["waiting"]) == (None, [], 0)


async def test_a_queue_is_found_before_the_watch_tells_of_it(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    kubernetes.put(names.LONGTASKQUEUES, "new", spec={})
    assert (await client.get("/api/v1/queues/new")).status_code == 200


@pytest.mark.parametrize("name", ["nothing", "No-Name", "..", "a%2Fb"])
@pytest.mark.parametrize(("method", "verb"), [("GET", ""), ("POST", ":pause"), ("POST", ":resume")])
async def test_no_such_queue(client: httpx.AsyncClient, name: str, method: str, verb: str) -> None:
    assert (await client.request(method, f"/api/v1/queues/{name}{verb}")).status_code == 404


async def test_the_content_comes_page_by_page(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await holds(client, kubernetes, **{f"t{n}": {"priority": 90 - n} for n in range(5)})
    shown, cursor = [], None
    while not shown or cursor:
        page = (
            await client.get(LANE, params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        ).json()
        shown += [(task["position"], task["id"]) for task in page["content"]]
        cursor = page["nextCursor"]
        if len(shown) == 2:
            # Whoever goes meanwhile moves all others, and none of them is missed.
            await client.delete("/api/v1/tasks/t0")
    assert shown == [(1, "t0"), (2, "t1"), (2, "t2"), (3, "t3"), (4, "t4")]
    other = (await client.get("/api/v1/tasks?limit=1")).json()["nextCursor"]
    for wrong in (other, "x", "e30", "W1tb" * 100):
        assert (await client.get(LANE, params={"cursor": wrong})).status_code == 400


async def test_of_others_tasks_only_the_places_are_told(
    client: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    services: wiring.Services,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await holds(client, kubernetes, others={"priority": 99})
    mine = {"metadata": {"labels": {names.OWNER_LABEL: "me"}}}
    put_task(kubernetes, "mine", spec={"type": "fibonacci", "queue": "lane"}, **mine)
    assert (await client.get("/api/v1/tasks/mine")).status_code == 200
    me = callers.Caller("me")
    seen = await services.queues.get(me, "lane", limit=50, cursor=None)
    assert [(task.position, task.id) for task in seen.content] == [(2, "mine")]
    # And a look at all others has an end.
    monkeypatch.setattr(pages, "MOST_LOOKS", 1)
    first = await services.queues.get(me, "lane", limit=50, cursor=None)
    second = await services.queues.get(me, "lane", limit=50, cursor=first.next_cursor)
    assert (first.content, [task.id for task in second.content]) == ([], ["mine"])


async def test_the_etag_is_of_what_is_shown(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    for path in (LANE, "/api/v1/queues"):
        known = {"If-None-Match": (await client.get(path)).headers["ETag"]}
        assert (await client.get(path, headers=known)).status_code == 304
        await holds(client, kubernetes, a={})
        assert (await client.get(path, headers=known)).status_code == 200
        await client.delete("/api/v1/tasks/a")


async def test_pause_and_resume(client: httpx.AsyncClient, kubernetes: MemoryKubernetes) -> None:
    await holds(client, kubernetes, a={})
    for verb, paused in (("pause", True), ("pause", True), ("resume", False), ("resume", False)):
        answer = await client.post(f"{LANE}:{verb}")
        assert (answer.status_code, answer.json()["paused"]) == (200, paused)
        assert kubernetes.stored(names.LONGTASKQUEUES, "lane")["spec"] == {
            "maxRunning": 1,
            "paused": paused,
        }
        # What was just written is seen at once.
        waiting = (await client.get("/api/v1/tasks/a")).json()["waiting"]
        assert waiting == ("queue lane is paused" if paused else "next in queue lane")


async def test_a_queue_that_is_gone_is_not_paused(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    kubernetes.remove(names.LONGTASKQUEUES, "lane")
    assert (await client.post(f"{LANE}:pause")).status_code == 404
    assert (await client.get(LANE)).status_code == 404


async def test_only_admins_pause(services: wiring.Services, kubernetes: MemoryKubernetes) -> None:
    somebody = callers.Caller("me")
    with pytest.raises(errors.Forbidden):
        await services.queues.pause(somebody, "lane", paused=True)
    assert "paused" not in kubernetes.stored(names.LONGTASKQUEUES, "lane")["spec"]


# --- when the next ones may start: it is 03:04:05 ---


def ended(*, since: str, until: str) -> dict[str, Any]:
    """Return the status of a task that is over and held its place so long."""
    status = claimed(claimedAt=since, startedAt=since, finishedAt=until)
    return {"status": status | {"phase": "Succeeded", "conditions": [FINISHED.to_json()]}}


PAST = {
    "one": ended(since="00:00", until="01:00"),
    "two": ended(since="01:00", until="02:00"),
    "three": ended(since="02:00", until="03:00"),
}
RUNS = {"status": claimed(claimedAt="04:00")}


async def estimated(client: httpx.AsyncClient, name: str) -> tuple[str, str] | None:
    """Return earliest and latest start, minute and second."""
    found = (await client.get(f"/api/v1/tasks/{name}")).json()["estimatedStart"]
    return found and (found["earliest"][14:19], found["latest"][14:19])


async def test_who_waits_is_told_a_time(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await holds(client, kubernetes, **PAST, runs=RUNS, a={"priority": 60}, b={})
    # The last move was the claim of the one that runs.
    assert await estimated(client, "a") == ("04:00", "05:00")
    assert await estimated(client, "b") == ("05:00", "06:00")
    assert await estimated(client, "runs") is None
    assert await estimated(client, "one") is None
    await client.post(f"{LANE}:pause")
    assert await estimated(client, "a") is None


async def test_two_ends_tell_nothing(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    past = {name: PAST[name] for name in ("one", "two")}
    await holds(client, kubernetes, **past, runs=RUNS, a={})
    assert await estimated(client, "a") is None


async def test_an_estimate_that_proved_wrong_is_withdrawn(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    runs = {"status": claimed(claimedAt="03:00")}
    await holds(client, kubernetes, **PAST, runs=runs, a={"priority": 60}, b={})
    assert await estimated(client, "a") is None
    assert await estimated(client, "b") == ("04:00", "05:00")


async def test_shares_are_of_those_whom_one_sees(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    def owned(owner: str) -> dict[str, Any]:
        return {"metadata": {"labels": {names.OWNER_LABEL: owner}}}

    spec = {"type": "fibonacci", "queue": "lane"}
    running = claimed(claimedAt="00:00", startedAt="00:01")
    put_task(kubernetes, "a", spec=spec, status=running, **owned("ann"))
    put_task(kubernetes, "b", spec=spec, status={"phase": "Queued"}, **owned("ann"))
    put_task(kubernetes, "c", spec=spec, status={"phase": "Queued"}, **owned("bob"))
    for name in "abc":
        assert (await client.get(f"/api/v1/tasks/{name}")).status_code == 200
    every = await services.queues.shares(callers.INSTALLATION, "lane")
    assert every == {"ann": queueing.Counts(1, 1), "bob": queueing.Counts(0, 1)}
    bob = callers.Caller(subject="bob")
    assert await services.queues.shares(bob, "lane") == {"bob": queueing.Counts(0, 1)}
    assert await services.queues.shares(bob, "default") == {}
    with pytest.raises(errors.Missing):
        await services.queues.shares(bob, "none")
