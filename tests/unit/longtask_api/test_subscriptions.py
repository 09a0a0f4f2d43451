"""Subscriptions by REST: whose they are, what they may ask for, and what their receivers get."""

import dataclasses
import hashlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from account_support import ADMIN, EDITOR, know
from api_support import TOKEN, a_token, bearing, eventually, put_ended_task, put_task
from delivery_support import SUBSCRIPTION
from longtask_adapters.testing import MemoryKubernetes, MemorySender
from longtask_api import app, settings, wiring
from longtask_api.services import cursors, subscriptions
from longtask_api.stores.blobs import Blobs, Kind
from longtask_api.stores.users import Users
from longtask_api.workers import subscribers
from longtask_crds import delivery, events, names, signing_keys, v1alpha1
from longtask_crds.testing import NOW, a_condition, a_task, with_meta, with_status
from longtask_crds.v1alpha1 import TaskEvent
from receiver_support import Receiver, receiving

URL = "https://hooks.test:9000/in"
PATH = "/api/v1/subscriptions"
OWN = {names.OWNER_LABEL: "ada"}


@pytest.fixture
def kubernetes(kubernetes: MemoryKubernetes) -> MemoryKubernetes:
    kubernetes.add_secret(signing_keys.KEYS_SECRET, {}, namespace="longtask")
    return kubernetes


@pytest.fixture
async def ada(services: wiring.Services) -> AsyncIterator[httpx.AsyncClient]:
    async with a_client(services, await a_token(Users(services.database), "ada")) as made:
        yield made


def a_client(services: wiring.Services, token: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app.for_users(services)),
        base_url="http://api.test",
        headers=bearing(token),
    )


async def subscribe(client: httpx.AsyncClient, **order: Any) -> dict[str, Any]:
    answer = await client.post(PATH, json={"url": URL} | order)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_what_was_asked_for_is_there(ada: httpx.AsyncClient) -> None:
    order = {
        "url": URL,
        "events": ["failed", "queued"],
        "filter": {"queue": "default", "labels": {"a": "b"}},
        "format": "cloudevents",
        "description": "on call",
    }
    made = await subscribe(ada, **order)
    assert {name: made[name] for name in order} == order | {"events": ["queued", "failed"]} | {
        "filter": {"type": None, "queue": "default", "owner": None, "namespace": None}
        | {"labels": {"a": "b"}}
    }
    assert (made["owner"], made["scope"], made["paused"]) == ("ada", "own", False)
    assert (await ada.get(f"{PATH}/{made['id']}")).json() == made
    usual = await subscribe(ada)
    assert usual["events"] == ["succeeded", "failed", "cancelled"]
    assert usual["format"] == "standard"
    listed = (await ada.get(PATH)).json()["items"]
    assert {one["id"] for one in listed} == {made["id"], usual["id"]}


@pytest.mark.parametrize(
    ("order", "pointer"),
    [
        ({"url": "https://10.0.0.1/"}, "/url"),
        ({"url": "http://example.com/"}, "/url"),
        ({"url": "https://34.1.2.3/"}, "/url"),
        ({"url": "ftp://example.com/"}, "/url"),
        ({"url": URL, "events": ["sometimes"]}, "/events/0"),
        ({"url": URL, "events": []}, "/events"),
        ({"url": URL, "format": "carrier pigeon"}, "/format"),
        ({"url": URL, "filter": {"colour": "blue"}}, "/filter/colour"),
        ({"url": URL, "filter": {"owner": "eve"}}, "/filter/owner"),
        ({"url": URL, "id": "x"}, "/id"),
        ({}, "/url"),
    ],
)
async def test_what_is_wrong_is_named(
    ada: httpx.AsyncClient, order: dict[str, Any], pointer: str
) -> None:
    answer = await ada.post(PATH, json=order)
    assert answer.status_code == 422
    assert pointer in {one["pointer"] for one in answer.json()["errors"]}
    assert (await ada.get(PATH)).json()["items"] == []


async def test_no_change_leads_inside(ada: httpx.AsyncClient) -> None:
    made = await subscribe(ada)
    answer = await ada.patch(f"{PATH}/{made['id']}", json={"url": "https://169.254.169.254/"})
    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json()["errors"]] == ["/url"]
    assert (await ada.get(f"{PATH}/{made['id']}")).json() == made


async def test_changes(ada: httpx.AsyncClient) -> None:
    made = await subscribe(ada, description="a", filter={"queue": "default"})
    path = f"{PATH}/{made['id']}"
    change = {"events": ["failed"], "paused": True, "description": None, "filter": {"type": "x"}}
    changed = (await ada.patch(path, json=change)).json()
    assert changed["events"] == ["failed"]
    assert (changed["paused"], changed["description"]) == (True, None)
    assert (changed["filter"]["type"], changed["filter"]["queue"]) == ("x", None)
    assert (await ada.patch(path, json={})).json() == changed
    assert (await ada.patch(path, json={"paused": "no"})).status_code == 422
    assert (await ada.delete(path)).status_code == 204
    assert (await ada.get(path)).status_code == 404
    assert (await ada.delete(path)).status_code == 404


async def test_an_owner_has_only_so_many(
    ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "MOST", 2)
    for _ in range(2):
        await subscribe(ada)
    assert (await ada.post(PATH, json={"url": URL})).status_code == 409


async def test_others_see_nothing_of_it(
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
    client: httpx.AsyncClient,
    ada: httpx.AsyncClient,
) -> None:
    made = await subscribe(ada)
    tokens = [
        await a_token(Users(services.database), "eve"),
        # They see everybody's tasks, and not where others are told of them.
        know(kubernetes, "system:serviceaccount:eve:eve", *EDITOR),
        know(kubernetes, "system:serviceaccount:eve:boss", *ADMIN),
    ]
    for token in tokens:
        async with a_client(services, token) as other:
            assert (await other.get(PATH)).json()["items"] == []
            for method, then in (
                ("GET", ""),
                ("PATCH", ""),
                ("DELETE", ""),
                ("GET", "/deliveries"),
                ("POST", "/deliveries:redeliver"),
            ):
                body = {"PATCH": {"paused": True}, "POST": {"state": "sent"}}.get(method)
                answer = await other.request(method, f"{PATH}/{made['id']}{then}", json=body)
                assert answer.status_code == 404, (method, then)
    assert (await client.get(f"{PATH}/{made['id']}")).json() == made, "an admin may"
    assert [one["id"] for one in (await client.get(PATH)).json()["items"]] == [made["id"]]


async def test_lists_come_page_by_page(client: httpx.AsyncClient) -> None:
    made = {(await subscribe(client, url=f"{URL}/{n}"))["id"] for n in range(5)}
    first = (await client.get(PATH, params={"limit": 3})).json()
    more = {"limit": "3", "cursor": first["nextCursor"]}
    second = (await client.get(PATH, params=more)).json()
    assert {one["id"] for one in first["items"] + second["items"]} == made
    assert second["nextCursor"] is None
    assert (await client.get(PATH, params={"cursor": "AAAA"})).status_code == 400


@pytest.mark.parametrize(
    "place",
    [
        ("9999-12-31T23:59:59-14:00", "a" * 32),
        ("0001-01-01T00:00:00+14:00", "a" * 32),
        ("2026-01-01T00:00:00", "a" * 32),
        ("2026-01-01T00:00:00+00:00", "\0"),
        ("2026-01-01T00:00:00+00:00", "\ud800"),
    ],
)
async def test_a_cursor_that_somebody_made_up_cannot_be_read(
    ada: httpx.AsyncClient, place: tuple[str, str]
) -> None:
    for path, mark in (
        ("/api/v1/subscriptions", ("subscriptions", "ada")),
        ("/api/v1/notices", ("notices", False, "ada", None, None)),
    ):
        cursor = cursors.encode(place, cursors.mark_of(*mark))
        assert (await ada.get(path, params={"cursor": cursor})).status_code == 400


async def test_who_sees_all_by_kubernetes_hears_of_their_own(
    services: wiring.Services, kubernetes: MemoryKubernetes
) -> None:
    for rights in (EDITOR, ADMIN):
        token = know(kubernetes, "system:serviceaccount:eve:eve", *rights)
        async with a_client(services, token) as eve:
            assert (await subscribe(eve))["scope"] == "own"
            order = {"url": URL, "filter": {"owner": "ada"}}
            assert (await eve.post(PATH, json=order)).status_code == 422


@pytest.mark.parametrize("text", ["\x00", "\ud800", "x" * 400])
async def test_texts_that_no_database_has(ada: httpx.AsyncClient, text: str) -> None:
    for order in (
        {"url": f"{URL}?{text}"},
        {"url": URL, "description": text},
        {"url": URL, "filter": {"type": text}},
        {"url": URL, "filter": {"labels": {text: "a"}}},
        {"url": URL, "filter": {"labels": {"a": text}}},
    ):
        body = json.dumps(order)
        answer = await ada.post(PATH, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (201, 400, 422), answer.text


# --- what receivers get


async def test_a_receiver_is_told_as_by_a_callback(
    kubernetes: MemoryKubernetes,
    services: wiring.Services,
    sender: MemorySender,
    ada: httpx.AsyncClient,
) -> None:
    made = await subscribe(ada)
    put_ended_task(kubernetes, "mine", labels=OWN, result={"value": 55})
    put_ended_task(kubernetes, "another", labels={names.OWNER_LABEL: "eve"})

    async def is_sent() -> bool:
        listed = (await ada.get(f"{PATH}/{made['id']}/deliveries")).json()["items"]
        return [one["state"] for one in listed] == ["sent"]

    await eventually(is_sent)
    (sent,) = sender.sent
    task = v1alpha1.LongTask.model_validate(kubernetes.stored(names.LONGTASKS, "mine"))
    (event,) = [one for one in events.of(task) if one.type == "succeeded"]
    assert (sent.url, sent.webhook_id, sent.owner) == (URL, event.id, "ada")
    assert sent.body == events.body(task, TaskEvent.SUCCEEDED)
    assert json.loads(sent.body)["data"]["sequence"] == event.sequence
    shown = (await ada.get("/api/v1/me/callback-key")).json()
    assert list(sent.keys) == [shown["key"]]
    (told,) = (await ada.get(f"{PATH}/{made['id']}/deliveries")).json()["items"]
    assert (told["webhookId"], told["taskId"], told["tries"]) == (event.id, "mine", 1)
    assert (told["lastCode"], told["sequence"]) == (200, event.sequence)


async def test_an_admin_hears_of_everybodys(
    kubernetes: MemoryKubernetes, client: httpx.AsyncClient, sender: MemorySender
) -> None:
    made = await subscribe(client, filter={"owner": "ada"}, format="slack")
    assert (made["scope"], made["owner"]) == ("all", "")
    put_ended_task(kubernetes, "of-ada", labels=OWN)
    put_ended_task(kubernetes, "of-eve", labels={names.OWNER_LABEL: "eve"})

    async def is_told() -> bool:
        return bool(sender.sent)

    await eventually(is_told)
    (sent,) = sender.sent
    assert json.loads(sent.body) == {"text": "of-ada (fibonacci): succeeded. Completed: well done"}
    assert sent.media_type == "application/json"


async def test_each_event_is_told_once_and_nothing_of_before(
    kubernetes: MemoryKubernetes, client: httpx.AsyncClient, sender: MemorySender
) -> None:
    put_ended_task(kubernetes, "before", ended_at=NOW - timedelta(hours=1))
    await subscribe(client, events=[*TaskEvent])
    stamp = "2026-01-02T03:04:05Z"
    put_task(kubernetes, "a", status={"phase": "Queued", "queuedAt": stamp})
    attempt = {"number": 1, "jobName": "j", "startedAt": stamp, "claimedAt": stamp}
    running = {"phase": "Running", "startedAt": stamp, "attempt": 1, "attempts": [attempt]}
    put_task(kubernetes, "a", status={"queuedAt": stamp} | running)
    for percent in (5, 12, 15, 31):
        progress = {"percent": percent, "updatedAt": stamp}
        put_task(kubernetes, "a", status={"queuedAt": stamp, "progress": progress} | running)

    def told() -> list[str]:
        return [json.loads(sent.body)["type"].removeprefix("longtask.") for sent in sender.sent]

    async def are_told() -> bool:
        return len(sender.sent) >= 4

    await eventually(are_told)
    assert sorted(told()) == ["progress", "progress", "queued", "started"]
    numbers = [json.loads(sent.body)["data"]["sequence"] for sent in sender.sent]
    assert len(set(numbers)) == 4


async def test_what_was_missed_while_paused_is_no_news(
    kubernetes: MemoryKubernetes, client: httpx.AsyncClient, sender: MemorySender
) -> None:
    made = await subscribe(client)
    path = f"{PATH}/{made['id']}"
    await client.patch(path, json={"paused": True})
    put_ended_task(kubernetes, "missed", ended_at=NOW - timedelta(seconds=1))
    assert (
        await client.post(f"{path}/deliveries:redeliver", json={"state": "sent"})
    ).status_code == 409
    await client.patch(path, json={"paused": False})
    put_ended_task(kubernetes, "heard")

    async def is_told() -> bool:
        return bool(sender.sent)

    await eventually(is_told)
    assert [json.loads(sent.body)["data"]["id"] for sent in sender.sent] == ["heard"]


async def test_another_delivery_on_request(
    kubernetes: MemoryKubernetes, client: httpx.AsyncClient, sender: MemorySender
) -> None:
    sender.answers = [delivery.Try(at=NOW, code=410)]
    made = await subscribe(client)
    path = f"{PATH}/{made['id']}"
    put_ended_task(kubernetes, "a")

    async def is_gone() -> bool:
        return bool((await client.get(path)).json()["paused"])

    await eventually(is_gone)
    assert (await client.get(path)).json()["pausedReason"] == "Gone"
    (told,) = (await client.get(f"{path}/deliveries", params={"state": "given_up"})).json()["items"]
    assert (told["lastCode"], told["lastError"]) == (410, "Gone")
    await client.patch(path, json={"paused": False})
    assert (await client.get(path)).json()["pausedReason"] is None
    again = f"{path}/deliveries:redeliver"
    assert (await client.post(again, json={})).status_code == 422
    assert (await client.post(again, json={"state": "pending"})).status_code == 422
    none = await client.post(again, json={"ids": ["nonsense"]})
    assert (none.status_code, none.json()) == (202, {"count": 0})
    assert (await client.post(again, json={"ids": [told["id"]]})).json() == {"count": 1}

    async def is_sent() -> bool:
        found = (await client.get(f"{path}/deliveries")).json()["items"]
        return [one["state"] for one in found] == ["sent"]

    await eventually(is_sent)
    first, second = sender.sent
    assert (first.webhook_id, first.body) == (second.webhook_id, second.body)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


async def test_it_goes_over_the_wire(
    kubernetes: MemoryKubernetes, configured: settings.Settings, receiver: Receiver
) -> None:
    """From a change in Kubernetes to a real receiver, which is sure whose it is."""
    near = configured.model_copy(update={"callback_allow": ("127.0.0.1", "127.0.0.0/8")})
    async with wiring.running(kubernetes, near, clock=lambda: NOW) as services:
        await services.health.synced()
        async with a_client(services, TOKEN) as client:
            await subscribe(client, url=f"{receiver.url}/hook", format="cloudevents")
            put_ended_task(kubernetes, "a", result={"value": 1})

            async def has_come() -> bool:
                return bool(receiver.got)

            await eventually(has_come)
            (got,) = receiver.got
            got.verify((await client.get("/api/v1/me/callback-key")).json()["key"])
    assert got.headers["Content-Type"] == "application/cloudevents+json"
    assert (got.said["type"], got.said["id"]) == ("dev.longtask.succeeded", got.id)
    assert got.said["data"]["result"] == 1


# --- who hears of what


def a_subscription(**parts: Any) -> Any:
    return dataclasses.replace(SUBSCRIPTION, **parts)


TASK = with_meta(a_task(type="convert", queue="gpu"), labels={names.OWNER_LABEL: "ada", "a": "b"})


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ({}, True),
        ({"type": "convert"}, True),
        ({"type": "other"}, False),
        ({"queue": "gpu"}, True),
        ({"queue": "default"}, False),
        ({"owner": "ada"}, True),
        ({"owner": "eve"}, False),
        ({"namespace": TASK.metadata.namespace}, True),
        ({"namespace": "elsewhere"}, False),
        ({"labels": {"a": "b"}}, True),
        ({"labels": {"a": "b", "c": "d"}}, False),
    ],
)
def test_a_filter(wanted: dict[str, Any], fits: bool) -> None:
    assert subscribers.fits(a_subscription(filter=wanted), TASK) is fits


@pytest.mark.parametrize(
    ("scope", "owner", "fits"),
    [("own", "ada", True), ("own", "eve", False), ("all", "eve", True), ("own", "", False)],
)
def test_whose_tasks(scope: str, owner: str, fits: bool) -> None:
    assert subscribers.fits(a_subscription(scope=scope, owner=owner), TASK) is fits


def test_the_queue_that_it_came_through_counts() -> None:
    moved = with_status(TASK, queue="default")
    assert subscribers.fits(a_subscription(filter={"queue": "default"}), moved)
    assert not subscribers.fits(a_subscription(filter={"queue": "gpu"}), moved)


@pytest.mark.parametrize(
    ("size", "is_there"), [(100, True), (events.INLINE_LIMIT + 1, False), (100, None)]
)
async def test_a_kept_result_is_told_as_a_callback_tells_it(
    services: wiring.Services, size: int, is_there: bool | None
) -> None:
    content = json.dumps("x" * (size - 2)).encode()
    blobs = Blobs(services.database, clock=lambda: NOW)
    task = _with_kept_result(content)
    if is_there is not None:
        await blobs.put(task.metadata.uid, Kind.RESULT, 1, "application/json", content)
    audience = subscribers.Subscribers(
        _Store([a_subscription(scope="all")]),  # type: ignore[arg-type]
        blobs,
        public_url="https://longtask.example.com",
    )
    (event,) = [one for one in events.of(task) if one.type == "succeeded"]
    (notice,) = await audience.notices(task, event)
    told = json.loads(json.loads(notice.document)["body"])["data"]
    if is_there:
        assert told["result"] == "x" * (size - 2)
        assert "resultUrl" not in told
    else:
        assert told["result"] is None
        assert told["resultUrl"].startswith("https://longtask.example.com/api/v1/tasks/")


class _Store:
    def __init__(self, known: list[Any]) -> None:
        self._known = known

    async def to_tell(self) -> list[Any]:
        return self._known


def _with_kept_result(content: bytes) -> v1alpha1.LongTask:
    sum_ = hashlib.sha256(content).hexdigest()
    media_type = v1alpha1.MediaType.JSON
    ref = v1alpha1.ResultRef(size=len(content), sha256=sum_, media_type=media_type)
    return with_status(
        a_task(),
        phase=v1alpha1.Phase.SUCCEEDED,
        finished_at=NOW,
        attempt=1,
        result=v1alpha1.Result(ref=ref),
        conditions=[a_condition(v1alpha1.ConditionType.SUCCEEDED)],
    )
