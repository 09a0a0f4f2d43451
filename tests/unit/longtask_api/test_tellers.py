"""Whoever tells of an event tells it under the same id and number, whichever process it is."""

import json
from collections.abc import AsyncIterator
from email.message import EmailMessage

import httpx
import pytest

from api_support import TOKEN, bearing, eventually
from longtask_adapters.testing import MemoryKubernetes, MemorySender
from longtask_api import app, settings, wiring
from longtask_api.mail import message
from longtask_api.settings import MailMode
from longtask_api.stores.ledger import Channel, Ledger
from longtask_crds import names, signing_keys
from longtask_crds.testing import NOW, a_task
from longtask_operator.testing import URL, Operator

HOOK = "https://hooks.test:9000/all"


class Box:
    """A mail server that takes everything."""

    is_real = True

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def send(self, mail: EmailMessage) -> int:
        self.mails.append(mail)
        return 250


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
async def services(
    kubernetes: MemoryKubernetes, configured: settings.Settings, sender: MemorySender, box: Box
) -> AsyncIterator[wiring.Services]:
    kubernetes.add_secret(signing_keys.KEYS_SECRET, {}, namespace="longtask")
    sending = {
        "mail_mode": MailMode.SEND,
        "mail_host": "mail.test",
        "mail_from": "LongTask <longtask@example.org>",
        "mail_allowed_domains": ("example.com",),
    }
    configured = configured.model_copy(update=sending)
    async with wiring.running(
        kubernetes, configured, clock=lambda: NOW, sender=sender, door=box
    ) as made:
        await made.health.synced()
        yield made


async def test_five_tell_one_event_under_one_id_and_number(
    kubernetes: MemoryKubernetes, services: wiring.Services, sender: MemorySender, box: Box
) -> None:
    operator = Operator(kubernetes=kubernetes)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app.for_users(services)),
        base_url="http://api.test",
        headers=bearing(TOKEN),
    ) as client:
        made = await client.post("/api/v1/subscriptions", json={"url": HOOK})
        assert made.status_code == 201
        await operator.submit(
            a_task(
                container={"image": "x"},
                callback={"url": URL},
                notify=[{"email": "ada@example.com"}],
            )
        )
        await operator.run_to_the_end(1, "boom")

        async def are_told() -> bool:
            return bool(sender.sent and box.mails)

        await eventually(are_told)
        streamed = (await client.get("/api/v1/tasks/report/events")).text

    (callback,) = operator.sender.sent
    said = json.loads(callback.body)
    known = (callback.webhook_id, said["data"]["sequence"])
    assert said["type"] == "longtask.failed"

    (to_all,) = sender.sent
    assert (to_all.url, to_all.webhook_id, to_all.body) == (
        HOOK,
        callback.webhook_id,
        callback.body,
    )

    blocks = [block.splitlines() for block in streamed.split("\n\n")]
    told = [
        json.loads(block[1].removeprefix("data: "))
        for block in blocks
        if block[:1] == ["event: event"]
    ]
    (failed,) = [event for event in told if event["type"] == "failed"]
    assert (failed["id"], failed["sequence"]) == known

    (mail,) = box.mails
    assert message.batch_of([callback.webhook_id]) in mail["Message-ID"]
    assert mail[message.SEQUENCE_HEADER] == str(said["data"]["sequence"])
    (noted,) = await Ledger(services.database).page(Channel.MAIL, limit=9)
    assert (noted.event_id, noted.sequence) == known

    (posted,) = kubernetes.objects("events").values()
    assert posted["reason"] == "Failed"
    annotations = posted["metadata"]["annotations"]
    assert (
        annotations[names.EVENT_ANNOTATION],
        int(annotations[names.SEQUENCE_ANNOTATION]),
    ) == known
