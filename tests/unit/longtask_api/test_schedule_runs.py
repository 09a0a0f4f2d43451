"""What a schedule's runs were, and what they brought: `/runs`, `/status` and `/data`."""

import json
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from api_support import a_token, bearing, eventually, key, put_run, put_schedule, put_task
from longtask_adapters.kube import kinds
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import errors, wiring
from longtask_api.services.schedules import runs
from longtask_api.stores.archive import Archive
from longtask_api.stores.blobs import Blobs, Kind
from longtask_api.stores.users import Users
from longtask_crds import names
from longtask_crds.testing import NOW
from longtask_crds.v1alpha1 import MediaType

S = "/api/v1/schedules/s"
HOUR = timedelta(hours=1)


def hours_ago(number: int) -> datetime:
    return NOW.replace(minute=0, second=0) - number * HOUR


@pytest.fixture(autouse=True)
def _schedule(kubernetes: MemoryKubernetes) -> None:
    put_schedule(kubernetes)


async def archived(kubernetes: MemoryKubernetes, archive: Archive, at: datetime, **run: Any) -> str:
    """Put a run into the archive that Kubernetes has no more."""
    name = put_run(kubernetes, at, **run)
    task = kinds.TASKS.read(kubernetes.stored(names.LONGTASKS, name))
    await archive.put(task, queue="default", at=NOW)
    kubernetes.remove(names.LONGTASKS, name)
    return name


async def are_listed(client: httpx.AsyncClient, *runs: str) -> None:
    """Wait until the watch has told of these, and of no others."""

    async def is_so() -> bool:
        found = (await client.get(f"{S}/runs")).json()["items"]
        return [run["id"] for run in found] == list(runs)

    await eventually(is_so)


async def kept(services: wiring.Services, run: str, content: bytes, media_type: MediaType) -> Any:
    """Keep a result of a run; return what its status says of it."""
    upload = await Blobs(services.database, clock=lambda: NOW).begin(
        f"uid-of-{run}", Kind.RESULT, 1
    )
    await upload.add(content)
    blob = await upload.finish(media_type)
    ref = {"size": blob.size, "sha256": blob.sha256}
    return ref if media_type is MediaType.JSON else ref | {"mediaType": str(media_type)}


async def test_runs_are_live_and_archived_and_the_newest_come_first(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, archive: Archive
) -> None:
    oldest = await archived(kubernetes, archive, hours_ago(4), number=1, phase="Failed")
    older = await archived(kubernetes, archive, hours_ago(3), number=2)
    newer = put_run(kubernetes, hours_ago(2), number=3)
    newest = put_run(kubernetes, hours_ago(1), number=4, phase="Failed", message="it broke")
    put_run(kubernetes, hours_ago(1), schedule="other")
    await archived(kubernetes, archive, hours_ago(2), schedule="other")
    put_task(kubernetes, "s-not-a-run")
    await are_listed(client, newest, newer, older, oldest)
    found, address = [], f"{S}/runs?limit=3"
    while address:
        page = await client.get(address)
        found.append(page.json()["items"])
        address = page.links.get("next", {}).get("url")
    assert [[run["number"] for run in page] for page in found] == [[4, 3, 2], [1]]
    assert found[0][0] == {
        "id": newest,
        "number": 4,
        "scheduledAt": "2026-01-02T02:00:00Z",
        "phase": "Failed",
        "startedAt": "2026-01-02T02:00:00Z",
        "finishedAt": "2026-01-02T02:01:00Z",
        "seconds": 60.0,
        "error": "Completed: it broke",
        "links": {
            "self": f"/api/v1/tasks/{newest}",
            "result": f"/api/v1/tasks/{newest}/result",
            "logs": f"/api/v1/tasks/{newest}/logs",
        },
    }
    assert [run["error"] for run in found[0][1:]] == [None, None]
    for wrong in ("x", (await client.get("/api/v1/tasks?limit=1")).json()["nextCursor"]):
        answer = await client.get(f"{S}/runs", params={"cursor": wrong})
        assert answer.status_code == 400


async def test_a_selector_finds_the_same_runs_among_all_tasks(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, archive: Archive
) -> None:
    older = await archived(kubernetes, archive, hours_ago(3), number=2)
    newer = put_run(kubernetes, hours_ago(2), number=3)
    await are_listed(client, newer, older)
    for selector, expected in (
        ("longtask.dev/schedule=s", [newer, older]),
        ("longtask.dev/schedule=s,team=red", []),
        ("longtask.dev/schedule=s,longtask.dev/schedule=t", []),
    ):
        listed = await client.get("/api/v1/tasks", params={"label": selector})
        assert [task["id"] for task in listed.json()["items"]] == expected


async def test_a_run_that_somebody_has_marked_wrongly_is_a_run_all_the_same(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    said = {names.SCHEDULED_AT_ANNOTATION: "2026-01-02", names.RUN_NUMBER_ANNOTATION: "first"}
    labels = {names.SCHEDULE_LABEL: "s"}
    put_task(kubernetes, "a", metadata={"labels": labels, "annotations": said})
    put_task(kubernetes, "b", metadata={"labels": labels})
    await are_listed(client, "b", "a")
    for run in (await client.get(f"{S}/runs")).json()["items"]:
        assert (run["number"], run["scheduledAt"], run["phase"]) == (None, None, "Pending")


async def test_of_a_name_that_was_another_s_before_the_runs_stay_theirs(
    services: wiring.Services,
    client: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    archive: Archive,
) -> None:
    await archived(kubernetes, archive, hours_ago(2), owner="ann", result={"value": "of ann"})
    put_schedule(kubernetes, metadata={"labels": {names.OWNER_LABEL: "bob"}})
    mine = await archived(kubernetes, archive, hours_ago(3), owner="bob", result={"value": 1})
    bobs = bearing(await a_token(Users(services.database), "bob"))

    async def is_bobs() -> bool:
        return (await client.get(S, headers=bobs)).status_code == 200

    await eventually(is_bobs)
    for headers in (bobs, {}):  # an administrator sees no more of it
        runs = (await client.get(f"{S}/runs", headers=headers)).json()["items"]
        data = (await client.get(f"{S}/data", headers=headers)).json()["items"]
        status = (await client.get(f"{S}/status", headers=headers)).json()
        assert [run["id"] for run in runs] == [mine]
        assert [one["data"] for one in data] == [1]
        assert status["lastExecutionData"] == 1


async def test_data_is_what_succeeded_runs_brought(
    services: wiring.Services,
    client: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    archive: Archive,
) -> None:
    nothing = await archived(kubernetes, archive, hours_ago(8))
    past = await archived(kubernetes, archive, hours_ago(7), result={"value": {"n": 7}})
    await archived(kubernetes, archive, hours_ago(6), phase="Failed")
    sized: dict[str, tuple[bytes, MediaType]] = {}
    for hour, content, media_type in (
        (5, json.dumps({"text": "x" * 9000}).encode(), MediaType.JSON),
        (4, "größer".encode() * 1000, MediaType.TEXT),
        (3, b"\xff" * 9000, MediaType.BYTES),
        (2, b'"' + b"x" * runs.INLINE_LIMIT + b'"', MediaType.JSON),
        (1, b"[" * 3000 + b"]" * 3000, MediaType.JSON),
    ):
        run = names.run_name("s", hours_ago(hour))
        ref = await kept(services, run, content, media_type)
        put_run(kubernetes, hours_ago(hour), number=hour, result={"ref": ref})
        sized[run] = content, media_type
    gone = {"size": 9, "sha256": "0" * 64}
    lost = put_run(kubernetes, hours_ago(0), result={"ref": gone})

    async def all_are_there() -> bool:
        return len((await client.get(f"{S}/runs")).json()["items"]) == 9

    await eventually(all_are_there)
    found = (await client.get(f"{S}/data")).json()
    urls = {one["id"]: one["dataUrl"] for one in found["items"]}
    data = {one["id"]: one["data"] for one in found["items"]}
    one, two, three, four, five = reversed(sized)
    assert list(data) == [lost, one, two, three, four, five, past, nothing]
    assert (data[nothing], data[past]) == (None, {"n": 7})
    assert data[five] == {"text": "x" * 9000}
    assert data[four] == "größer" * 1000
    # What is too large, no JSON, or too deep for an answer is read at its own address.
    for run in (one, two, three):
        assert (data[run], urls[run]) == (None, f"/api/v1/tasks/{run}/result")
        assert (await client.get(urls[run])).content == sized[run][0]
    assert [urls[run] for run in (nothing, past, four, five)] == [None] * 4
    assert (data[lost], (await client.get(urls[lost])).status_code) == (None, 404)
    page = await client.get(f"{S}/data?limit=2")
    assert [one["id"] for one in page.json()["items"]] == [lost, one]
    rest = (await client.get(page.links["next"]["url"])).json()["items"]
    assert [one["id"] for one in rest] == [two, three]


def recorded(at: datetime, number: int, phase: str | None, **parts: Any) -> dict[str, Any]:
    """Return a run as the schedule's status remembers it."""
    stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    said = {"name": names.run_name("s", at), "number": number, "scheduledAt": stamp}
    return said | ({"phase": phase} if phase else {}) | parts


async def has_run(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, *runs: dict[str, Any]
) -> dict[str, Any]:
    """Let the schedule remember these runs; return its `/status` once the API has heard of it."""
    put_schedule(kubernetes, status={"runs": list(runs)})

    async def is_told() -> bool:
        shown = (await client.get(S)).json()["runs"]
        return [run["number"] for run in shown] == [run["number"] for run in runs]

    await eventually(is_told)
    found: dict[str, Any] = (await client.get(f"{S}/status")).json()
    return found


async def test_before_the_first_run_there_is_nothing_to_tell(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"{S}/status")).json() == {
        "id": "s",
        "executionTime": None,
        "lastExecuteTime": None,
        "lastExecutionData": None,
        "lastExecutionDataUrl": None,
        "lastExecutionError": None,
        "lastExecutionStatus": None,
    }


async def test_status_is_of_the_last_run_that_has_ended_and_its_data_of_the_last_that_succeeded(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    good = put_run(kubernetes, hours_ago(3), result={"value": {"rate": 1.5}})
    bad = put_run(kubernetes, hours_ago(2), phase="Failed", message="it broke")
    await are_listed(client, bad, good)
    started = "2026-01-02T01:00:02Z"
    broken = recorded(
        hours_ago(2),
        2,
        "Failed",
        startedAt=started,
        finishedAt="2026-01-02T01:00:04Z",
        seconds=2.0,
        error="it broke",
    )
    fine = recorded(hours_ago(3), 1, "Succeeded", finishedAt="2026-01-02T00:00:09Z", seconds=8.0)
    at_work = recorded(hours_ago(1), 3, None, uid="u")
    deleted = recorded(hours_ago(1), 3, None, error="deleted")
    for run in ([broken, fine], [at_work, broken, fine], [deleted, broken, fine]):
        assert await has_run(client, kubernetes, *run) == {
            "id": "s",
            "executionTime": 2.0,
            "lastExecuteTime": started,
            "lastExecutionData": {"rate": 1.5},
            "lastExecutionDataUrl": None,
            "lastExecutionError": "it broke",
            "lastExecutionStatus": "Failed",
        }


async def test_of_a_run_that_never_began_the_time_is_told_that_it_was_due(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    told = await has_run(client, kubernetes, recorded(hours_ago(1), 1, "Failed", error="late"))
    assert (told["lastExecuteTime"], told["executionTime"]) == ("2026-01-02T02:00:00Z", None)
    assert (told["lastExecutionError"], told["lastExecutionData"]) == ("late", None)


async def test_a_run_that_could_not_be_made_has_failed(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    told = await has_run(client, kubernetes, recorded(hours_ago(1), 1, None, error="refused"))
    assert (told["lastExecutionStatus"], told["lastExecutionError"]) == ("Failed", "refused")


async def test_of_a_run_that_goes_on_its_task_says_where_it_stands(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    uids = []
    for hour in (1, 2):
        run = names.run_name("s", hours_ago(hour))
        put_task(kubernetes, run, status={"phase": "Running"})
        uids.append(kubernetes.stored(names.LONGTASKS, run)["metadata"]["uid"])
        assert (await client.get(f"/api/v1/tasks/{run}")).status_code == 200
    goes_on = recorded(hours_ago(1), 2, None, uid=uids[0])
    # Of one that is over, another has the name by now.
    before = recorded(hours_ago(2), 1, "Failed", uid="another", error="it broke")
    put_schedule(kubernetes, status={"runs": [goes_on, before]})

    async def is_told() -> bool:
        runs = (await client.get(S)).json()["runs"]
        return [one["phase"] for one in runs] == ["Running", "Failed"]

    await eventually(is_told)


async def test_what_the_last_good_run_brought_outlives_it(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, archive: Archive
) -> None:
    await archived(kubernetes, archive, hours_ago(9), result={"value": "older"})
    await archived(kubernetes, archive, hours_ago(8), result={"value": "newer"})
    await archived(kubernetes, archive, hours_ago(7), phase="Failed")
    assert (await client.get(f"{S}/status")).json()["lastExecutionData"] == "newer"
    put_run(kubernetes, hours_ago(1), result={"value": "newest"})

    async def is_newest() -> bool:
        told = (await client.get(f"{S}/status")).json()["lastExecutionData"]
        assert told in ("newer", "newest")
        return bool(told == "newest")

    await eventually(is_newest)


async def test_a_poller_is_told_nothing_twice(client: httpx.AsyncClient) -> None:
    for path in (f"{S}/status", f"{S}/runs", f"{S}/data"):
        known = {"If-None-Match": (await client.get(path)).headers["ETag"]}
        assert (await client.get(path, headers=known)).status_code == 304


async def test_without_the_archive_the_live_runs_are_told(
    services: wiring.Services,
    client: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = put_run(kubernetes, hours_ago(1), result={"value": 1})
    await are_listed(client, run)

    async def away(*_: object, **__: object) -> None:
        raise errors.DatabaseAway

    monkeypatch.setattr(services.resources.archive, "page", away)
    for part in ("runs", "data"):
        found = (await client.get(f"{S}/{part}")).json()
        assert [one["id"] for one in found["items"]] == [run]
        assert found["incomplete"] == "The archive does not answer: the runs in it are missing."
    assert (await client.get(f"{S}/status")).json()["lastExecutionData"] == 1
    kubernetes.remove(names.LONGTASKS, key(run))

    async def is_unknown() -> bool:
        return (await client.get(f"{S}/status")).status_code == 503

    await eventually(is_unknown)
