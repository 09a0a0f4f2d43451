"""Callbacks by REST: the log, another delivery, a new key, a trial."""

import asyncio
import base64
from typing import Any

import httpx
import pytest

from api_support import put_task
from longtask_adapters.testing import MemoryKubernetes, MemorySender
from longtask_api import wiring
from longtask_crds import delivery, names, signing_keys
from longtask_crds.testing import FINISHED, NOW

ASKED = "2026-01-02T03:04:05.000000Z"
RECEIVER = "https://example.com/done"


def an_entry(**values: Any) -> dict[str, Any]:
    given = {"id": "msg_1", "event": "succeeded", "state": "Exhausted", "tries": 2}
    made = [
        {"at": "2026-01-02T03:00:00Z", "event": "started", "code": 204, "seconds": 0.25},
        {"at": "2026-01-02T03:01:00Z", "event": "succeeded", "error": "Timeout", "seconds": 15.0},
    ]
    return given | {"deliveries": made} | values


def put_finished(kubernetes: MemoryKubernetes, name: str = "a", **entry: Any) -> None:
    """Make a task that is over, and whose callback stands like this."""
    at = entry.pop("at", "2026-01-02T03:01:00Z")
    status = {
        "phase": "Succeeded",
        "conditions": [FINISHED.to_json()],
        "finishedAt": at,
        "callback": an_entry(**entry),
    }
    spec = {"type": "fibonacci", "callback": {"url": RECEIVER}}
    put_task(kubernetes, name, spec=spec, status=status)


def asked_of(kubernetes: MemoryKubernetes, name: str) -> str | None:
    """Return what asks the operator for another delivery."""
    annotations = kubernetes.stored(names.LONGTASKS, name)["metadata"].get("annotations", {})
    asked: str | None = annotations.get(names.REDELIVER_ANNOTATION)
    return asked


async def heard(services: wiring.Services, name: str) -> None:
    """Wait until the watch has brought what was made up to this task."""
    resources = services.resources
    found = await resources.wait_for(resources.key(name), lambda task: task is not None, within=60)
    assert found is not None


# --- the log ---


async def test_the_log_shows_each_try(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    put_finished(kubernetes)
    answer = await client.get("/api/v1/tasks/a/callbacks")
    assert answer.status_code == 200
    assert answer.json() == {
        "id": "msg_1",
        "event": "succeeded",
        "state": "Exhausted",
        "tries": 2,
        "nextTryAt": None,
        "deliveredAt": None,
        "items": [
            {
                "at": "2026-01-02T03:00:00Z",
                "event": "started",
                "code": 204,
                "seconds": 0.25,
                "error": None,
            },
            {
                "at": "2026-01-02T03:01:00Z",
                "event": "succeeded",
                "code": None,
                "seconds": 15.0,
                "error": "Timeout",
            },
        ],
        "nextCursor": None,
    }
    view = (await client.get("/api/v1/tasks/a")).json()
    assert (view["callback"]["state"], view["callback"]["deliveries"]) == ("Exhausted", None)
    assert view["links"]["callbacks"] == "/api/v1/tasks/a/callbacks"


async def test_the_log_of_a_task_without_a_callback_is_empty(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    put_task(kubernetes)
    log = (await client.get("/api/v1/tasks/a/callbacks")).json()
    assert (log["id"], log["state"], log["tries"], log["items"]) == (None, None, 0, [])


# --- another delivery ---


async def test_another_delivery_is_asked_of_the_operator(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    put_finished(kubernetes)
    before = kubernetes.stored(names.LONGTASKS, "a")
    answer = await client.post("/api/v1/tasks/a/callbacks:redeliver")
    assert answer.status_code == 202
    assert (answer.json()["id"], answer.json()["state"]) == ("msg_1", "Exhausted")
    after = kubernetes.stored(names.LONGTASKS, "a")
    assert asked_of(kubernetes, "a") == ASKED
    assert (after["status"], after["spec"]) == (before["status"], before["spec"])


async def test_what_was_never_to_be_delivered_is_not_delivered_again(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    put_task(kubernetes)
    answer = await client.post("/api/v1/tasks/a/callbacks:redeliver")
    assert (answer.status_code, answer.json()["detail"]) == (
        *(409, "There was no callback of this task yet."),
    )
    for call in (client.get, client.post):
        path = "callbacks" if call == client.get else "callbacks:redeliver"
        assert (await call(f"/api/v1/tasks/nobody/{path}")).status_code == 404


RANGE = {"from": "2026-01-02T03:00:00Z", "to": "2026-01-02T04:00:00Z"}


async def test_callbacks_of_a_range_of_time_are_delivered_again(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    put_finished(kubernetes, "early", at="2026-01-02T02:59:59Z")
    put_finished(kubernetes, "first", at="2026-01-02T03:00:00Z")
    put_finished(kubernetes, "well", at="2026-01-02T03:30:00Z", state="Delivered")
    put_finished(kubernetes, "open", at="2026-01-02T03:30:00Z", state="Pending")
    put_finished(kubernetes, "late", at="2026-01-02T04:00:00Z")
    facts = {"at": "2026-01-02T03:59:59Z", "attempt": 1}
    put_finished(kubernetes, "told", at="2026-01-02T05:00:00Z", event="started", facts=facts)
    put_task(kubernetes, "none")
    await heard(services, "none")
    answer = await client.post("/api/v1/callbacks:redeliver", json=RANGE)
    assert (answer.status_code, answer.json()["nextCursor"]) == (202, None)
    assert sorted(answer.json()["items"]) == ["first", "told", "well"]
    every = ("early", "first", "well", "open", "late", "told", "none")
    assert [name for name in every if asked_of(kubernetes, name)] == ["first", "well", "told"]


@pytest.mark.parametrize(
    ("state", "found"),
    [("Exhausted", ["bad"]), ("Delivered", ["good"]), ("Pending", ["open"])],
)
async def test_only_callbacks_that_stand_so(
    client: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    services: wiring.Services,
    state: str,
    found: list[str],
) -> None:
    for name, stands in (("bad", "Exhausted"), ("good", "Delivered"), ("open", "Pending")):
        put_finished(kubernetes, name, state=stands)
    await heard(services, "open")
    answer = await client.post("/api/v1/callbacks:redeliver", json=RANGE | {"state": state})
    assert answer.json()["items"] == found


async def test_many_are_delivered_again_page_by_page(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    every = [f"t{n}" for n in range(450)]
    for name in every:
        put_finished(kubernetes, name)
    await heard(services, "t449")
    done: list[str] = []
    order: dict[str, Any] = dict(RANGE)
    pages = 0
    while True:
        answer = (await client.post("/api/v1/callbacks:redeliver", json=order)).json()
        done, pages = done + answer["items"], pages + 1
        if answer["nextCursor"] is None:
            break
        order["cursor"] = answer["nextCursor"]
    assert (sorted(done), pages) == (sorted(every), 3)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        pytest.param({"to": RANGE["to"]}, "/from", id="no-beginning"),
        pytest.param({"from": RANGE["from"]}, "/to", id="no-end"),
        pytest.param(RANGE | {"from": "yesterday"}, "/from", id="no-time"),
        pytest.param(RANGE | {"from": "2026-01-02T03:00:00"}, "/from", id="no-zone"),
        pytest.param(RANGE | {"to": RANGE["from"]}, "/to", id="nothing-between"),
        pytest.param(RANGE | {"state": "Lost"}, "/state", id="no-state"),
        pytest.param(RANGE | {"all": True}, "/all", id="an-unknown-field"),
    ],
)
async def test_a_wrong_range_is_refused_by_its_field(
    client: httpx.AsyncClient, body: dict[str, Any], pointer: str
) -> None:
    answer = await client.post("/api/v1/callbacks:redeliver", json=body)
    assert answer.status_code == 422
    assert [wrong["pointer"] for wrong in answer.json()["errors"]] == [pointer]


async def test_a_cursor_goes_with_its_range(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/callbacks:redeliver", json=RANGE | {"cursor": "x"})
    assert answer.status_code == 400


# --- a new key ---


@pytest.fixture
def _secret(kubernetes: MemoryKubernetes) -> None:
    kubernetes.add_secret(signing_keys.KEYS_SECRET, {}, namespace="longtask")


@pytest.mark.usefixtures("_secret")
async def test_a_new_key_comes_first_and_the_one_before_signs_for_a_day(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    before = (await client.get("/api/v1/me/callback-key")).json()
    assert before["previousUntil"] is None
    answer = await client.post("/api/v1/me/callback-key:rotate")
    assert answer.status_code == 200
    made = answer.json()
    assert made["key"] != before["key"]
    assert made["previousUntil"] == "2026-01-03T03:04:05Z"
    assert (await client.get("/api/v1/me/callback-key")).json() == made
    secret = kubernetes.objects("secrets")[names.ObjectKey("longtask", signing_keys.KEYS_SECRET)]
    text = base64.b64decode(secret["data"]["default"]).decode()
    keys = signing_keys.OwnerKeys.parse(text)
    assert keys.active(NOW) == [made["key"], before["key"]]
    assert keys.active(NOW + signing_keys.KEY_OVERLAP) == [made["key"]]


@pytest.mark.usefixtures("_secret")
async def test_no_more_keys_sign_than_a_header_should_hold(client: httpx.AsyncClient) -> None:
    for _ in range(signing_keys.MOST_KEYS):
        assert (await client.post("/api/v1/me/callback-key:rotate")).status_code == 200
    answer = await client.post("/api/v1/me/callback-key:rotate")
    assert answer.status_code == 409
    assert answer.json()["detail"].startswith("5 keys sign already")


# --- a trial ---


@pytest.mark.usefixtures("_secret")
async def test_a_trial_is_signed_as_callbacks_are_and_tells_the_code_alone(
    client: httpx.AsyncClient, sender: MemorySender
) -> None:
    key = (await client.get("/api/v1/me/callback-key")).json()["key"]
    sender.answers.append(delivery.Try(at=NOW, code=403, seconds=0.5))
    answer = await client.post("/api/v1/callbacks:test", json={"url": RECEIVER})
    assert answer.status_code == 200
    (sent,) = sender.sent
    assert answer.json() == {
        "id": sent.webhook_id,
        "delivered": False,
        "code": 403,
        "error": None,
        "seconds": 0.5,
    }
    assert (sent.url, sent.keys, sent.headers) == (RECEIVER, (key,), {})
    assert sent.body == b'{"type":"longtask.test","timestamp":"2026-01-02T03:04:05Z","data":{}}'


@pytest.mark.usefixtures("_secret")
async def test_a_trial_without_an_answer_tells_what_went_wrong(
    client: httpx.AsyncClient, sender: MemorySender
) -> None:
    problem = delivery.Problem.NAME_NOT_RESOLVED
    sender.answers.append(delivery.Try(at=NOW, problem=problem))
    made = (await client.post("/api/v1/callbacks:test", json={"url": RECEIVER})).json()
    assert (made["delivered"], made["code"], made["error"]) == (False, None, "NameNotResolved")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        pytest.param({"url": "https://10.0.0.1/"}, "not public", id="an-inner-address"),
        pytest.param({"url": "https://34.1.2.3/"}, "administrator denies", id="a-denied-one"),
        pytest.param({"url": "http://example.com/"}, "not https", id="without-tls"),
        pytest.param({"url": "ftp://example.com/"}, "pattern", id="another-scheme"),
        pytest.param({}, "required", id="nothing"),
    ],
)
async def test_what_may_not_be_called_is_not_tried(
    client: httpx.AsyncClient, sender: MemorySender, body: dict[str, Any], told: str
) -> None:
    answer = await client.post("/api/v1/callbacks:test", json=body)
    assert answer.status_code == 422
    (wrong,) = answer.json()["errors"]
    assert wrong["pointer"] == "/url"
    assert told in wrong["detail"]
    assert sender.sent == []


class SilentSender(MemorySender):
    """Nobody answers before the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.answered = asyncio.Event()
        self.begun = 0
        self.all_begun = asyncio.Event()

    async def send(self, *words: Any, **named: Any) -> delivery.Try:
        self.begun += 1
        if self.begun == 4:
            self.all_begun.set()
        await self.answered.wait()
        return await super().send(*words, **named)


class TestSlowReceivers:
    @pytest.fixture
    def sender(self) -> SilentSender:
        return SilentSender()

    @pytest.mark.usefixtures("_secret")
    async def test_only_some_are_tried_at_once(
        self, client: httpx.AsyncClient, sender: SilentSender
    ) -> None:
        def trial() -> Any:
            return client.post("/api/v1/callbacks:test", json={"url": RECEIVER})

        trials = [asyncio.create_task(trial()) for _ in range(4)]
        await sender.all_begun.wait()
        refused = await trial()
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        sender.answered.set()
        assert {answer.status_code for answer in await asyncio.gather(*trials)} == {200}
        assert (await trial()).status_code == 200
