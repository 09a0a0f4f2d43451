"""Mails as users meet them: named in a task, wished for, confirmed, listed, ended."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest

import smtp_support
from api_support import a_token, bearing, eventually, put_ended_task, put_task
from longtask_adapters.testing import MemoryKubernetes, MemorySender
from longtask_api import app, settings, wiring
from longtask_api.database.engine import Database
from longtask_api.mail import links, message
from longtask_api.mail.writer import Writer
from longtask_api.settings import MailMode
from longtask_api.stores.addresses import Addresses
from longtask_api.stores.ledger import Channel, Ledger, Notice
from longtask_api.stores.users import Users
from longtask_api.workers.addressees import Addressees
from longtask_crds import events, names, signing_keys, v1alpha1
from longtask_crds.testing import FINISHED, NAMESPACE, NOW, a_task, with_meta, with_status
from mail_support import subjects

ADA = "ada@example.com"


class Box:
    """A mail server that takes everything."""

    is_real = True

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def send(self, mail: EmailMessage) -> int:
        self.mails.append(mail)
        return 250

    async def has(self, count: int) -> None:
        async def is_there() -> bool:
            return len(self.mails) >= count

        await eventually(is_there)
        assert len(self.mails) == count

    def text(self, number: int = -1) -> str:
        body = self.mails[number].get_body(("plain",))
        assert body is not None
        text: str = body.get_content()
        return text


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
def configured(configured: settings.Settings) -> settings.Settings:
    sending = {
        "mail_mode": MailMode.SEND,
        "mail_host": "mail.test",
        "mail_from": "LongTask <longtask@example.org>",
        "mail_allowed_domains": ("example.com",),
        "public_url": "https://longtask.example.com",
    }
    return configured.model_copy(update=sending)


@pytest.fixture
async def services(
    kubernetes: MemoryKubernetes, configured: settings.Settings, sender: MemorySender, box: Box
) -> AsyncIterator[wiring.Services]:
    kubernetes.add_secret(signing_keys.KEYS_SECRET, {}, namespace="longtask")
    async with wiring.running(
        kubernetes, configured, clock=lambda: NOW, sender=sender, door=box
    ) as made:
        await made.health.synced()
        yield made


async def a_client_of(services: wiring.Services, username: str, **parts: Any) -> httpx.AsyncClient:
    token = await a_token(Users(services.database), username, **parts)
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app.for_users(services)),
        base_url="http://api.test",
        headers=bearing(token),
    )


@pytest.fixture
async def ada(services: wiring.Services) -> AsyncIterator[httpx.AsyncClient]:
    async with await a_client_of(services, "ada") as made:
        yield made


async def confirm(client: httpx.AsyncClient, box: Box, address: str = ADA) -> httpx.Response:
    """Go the way of a code."""
    before = len(box.mails)
    asked = await client.post("/api/v1/me/email:verify", json={"email": address})
    assert asked.status_code == 202, asked.text
    await box.has(before + 1)
    found = re.search(r"longtask mail confirm (\S+)", box.text())
    assert found is not None
    return await client.post("/api/v1/me/email:confirm", json={"code": found.group(1)})


async def listed(client: httpx.AsyncClient, query: str = "") -> list[dict[str, Any]]:
    answer = await client.get(f"/api/v1/notices{query}")
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def is_told(client: httpx.AsyncClient, state: str = "sent") -> None:
    async def is_there() -> bool:
        return bool(await listed(client, f"?state={state}"))

    await eventually(is_there)


# --- spec.notify


async def test_a_task_of_kubectls_that_names_an_address_is_mailed(
    kubernetes: MemoryKubernetes, client: httpx.AsyncClient, box: Box
) -> None:
    spec = {"type": "fibonacci", "notify": [{"email": ADA}]}
    put_task(kubernetes, "a", metadata={"uid": "uid-of-a"}, spec=spec, status={"phase": "Queued"})
    put_ended_task(kubernetes, "a", spec=spec, message="all of it")
    await box.has(1)
    (mail,) = box.mails
    assert (mail["To"], mail["Subject"]) == (ADA, "a: succeeded")
    assert "all of it" in box.text()
    assert "https://longtask.example.com/tasks/a" in box.text()
    await is_told(client)
    (notice,) = await listed(client)
    told = {key: notice[key] for key in ("event", "task", "to", "state", "tries", "code", "error")}
    assert told == {
        "event": "succeeded",
        "task": "a",
        "to": ADA,
        "state": "sent",
        "tries": 1,
        "code": 250,
        "error": None,
    }
    assert (notice["subject"], notice["namespace"]) == ("a: succeeded", NAMESPACE)
    assert "all of it" in notice["text"]
    assert notice["eventId"] == events.webhook_id("uid-of-a", "succeeded", 1)


async def test_a_task_of_rests_may_name_addresses(ada: httpx.AsyncClient) -> None:
    order = {
        "type": "fibonacci",
        "input": {"n": 1},
        "notify": [{"email": ADA, "events": ["failed"]}],
    }
    assert (await ada.post("/api/v1/tasks", json=order)).status_code == 202


async def test_nobody_has_a_stranger_mailed(
    kubernetes: MemoryKubernetes, client: httpx.AsyncClient, box: Box
) -> None:
    put_ended_task(kubernetes, "a", spec={"type": "t", "notify": [{"email": "eve@other.test"}]})
    await is_told(client, "dropped")
    (notice,) = await listed(client)
    assert (notice["state"], notice["error"]) == ("dropped", "RecipientNotAllowed")
    assert box.mails == []


async def test_the_settings_lead_to_the_mail_server(
    kubernetes: MemoryKubernetes,
    configured: settings.Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From a task to a real server: STARTTLS, a login, a certificate by `SSL_CERT_FILE`."""
    context, _ = smtp_support.certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    for file, text in (("username", smtp_support.USERNAME), ("password", smtp_support.PASSWORD)):
        (tmp_path / file).write_text(text)
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "subject.txt").write_text("[ACME] {{ last.name }}")
    async with smtp_support.running(context=context, login=True) as server:
        there = {"mail_host": "127.0.0.1", "mail_port": server.port}
        there |= {"mail_credentials": tmp_path, "mail_templates": templates}
        async with wiring.running(
            kubernetes, configured.model_copy(update=there), clock=lambda: NOW
        ) as services:
            await services.health.synced()
            put_ended_task(kubernetes, "a", spec={"type": "t", "notify": [{"email": ADA}]})

            async def has_come() -> bool:
                return bool(server.taken)

            await eventually(has_come)
    assert subjects(server.taken) == ["[ACME] a"]
    assert (server.was_tls, server.recipients) == ([True], [ADA])


# --- what a user wishes


async def test_a_user_is_mailed_of_what_they_wish_once_their_address_is_known(
    kubernetes: MemoryKubernetes, ada: httpx.AsyncClient, box: Box
) -> None:
    assert (await ada.get("/api/v1/me/notices")).json() == {
        "events": [],
        "email": None,
        "verified": False,
    }
    put = await ada.put("/api/v1/me/notices", json={"events": ["succeeded", "started"]})
    assert put.json() == {"events": ["started", "succeeded"], "email": None, "verified": False}
    labels = {names.OWNER_LABEL: "ada"}
    put_ended_task(kubernetes, "before", labels=labels, ended_at=NOW - timedelta(seconds=1))
    # An address outside of the allowed domains: it is theirs.
    done = await confirm(ada, box, "ada@home.test")
    assert done.json() == {
        "events": ["started", "succeeded"],
        "email": "ada@home.test",
        "verified": True,
    }
    assert (await ada.get("/api/v1/me")).json()["email"] == "ada@home.test"
    put_ended_task(kubernetes, "hers", labels=labels)
    put_ended_task(kubernetes, "failing", labels=labels, phase="Failed")
    put_ended_task(kubernetes, "another", labels={names.OWNER_LABEL: "eve"})
    await box.has(2)
    assert (box.mails[-1]["To"], box.mails[-1]["Subject"]) == ("ada@home.test", "hers: succeeded")
    # The code is not there to be read, nor what others were told.
    text = str(await listed(ada))
    assert {one["event"] for one in await listed(ada)} == {"verification", "succeeded"}
    assert "mail confirm" not in text
    # And no more.
    await ada.put("/api/v1/me/notices", json={"events": []})
    put_ended_task(kubernetes, "later", labels=labels)
    named = {"type": "t", "notify": [{"email": "joe@example.com"}]}
    put_ended_task(kubernetes, "last", labels=labels, spec=named)
    await box.has(3)
    assert box.mails[-1]["To"] == "joe@example.com"


async def test_a_code_is_of_who_asked_for_it(
    services: wiring.Services, ada: httpx.AsyncClient, box: Box
) -> None:
    await ada.post("/api/v1/me/email:verify", json={"email": ADA})
    await box.has(1)
    found = re.search(r"longtask mail confirm (\S+)", box.text())
    assert found is not None
    async with await a_client_of(services, "eve") as eve:
        stolen = await eve.post("/api/v1/me/email:confirm", json={"code": found.group(1)})
    assert stolen.status_code == 422
    assert "none of yours" in stolen.text
    # Asked twice in a moment, it is sent once.
    await ada.post("/api/v1/me/email:verify", json={"email": ADA})
    assert len(await listed(ada)) == 1


async def test_nobody_uses_up_the_codes_of_somebody_elses_address(
    services: wiring.Services, ada: httpx.AsyncClient
) -> None:
    order = {"email": ADA}
    for number in range(2):
        async with await a_client_of(services, f"eve-{number}") as eve:
            for _ in range(4):
                assert (await eve.post("/api/v1/me/email:verify", json=order)).status_code == 202
    assert (await ada.post("/api/v1/me/email:verify", json=order)).status_code == 202


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "email:verify", {"email": '"a b"@c.test'}),
        ("POST", "email:verify", {}),
        ("POST", "email:confirm", {"code": "x"}),
        ("POST", "email:confirm", {}),
        ("PUT", "notices", {"events": ["done"]}),
        ("PUT", "notices", {}),
    ],
)
async def test_what_is_wrong_is_said(
    ada: httpx.AsyncClient, method: str, path: str, body: Any
) -> None:
    assert (await ada.request(method, f"/api/v1/me/{path}", json=body)).status_code == 422


async def test_no_token_for_programs_says_where_mails_go(services: wiring.Services) -> None:
    async with await a_client_of(services, "ada", kind="personal") as program:
        for path in ("email:verify", "email:confirm"):
            assert (await program.post(f"/api/v1/me/{path}", json={})).status_code == 403


async def test_who_has_no_account_has_no_address(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/me/notices")).status_code == 403
    answer = await client.put("/api/v1/me/notices", json={"events": []})
    assert answer.status_code == 403


# --- lists


async def test_lists_go_on_where_they_ended(
    kubernetes: MemoryKubernetes, client: httpx.AsyncClient
) -> None:
    addresses = [{"email": f"{number}@example.com"} for number in range(5)]
    put_ended_task(kubernetes, "a", spec={"type": "t", "notify": addresses})

    async def are_sent() -> bool:
        return len(await listed(client, "?state=sent")) == 5

    await eventually(are_sent)
    found, cursor = [], None
    for _ in range(3):
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/api/v1/notices", params=query)).json()
        found += [one["to"] for one in page["items"]]
        cursor = page["nextCursor"]
    assert cursor is None
    assert sorted(found) == [one["email"] for one in addresses]
    assert await listed(client, "?task=b") == []
    assert await listed(client, "?state=given_up") == []
    wrong = await client.get("/api/v1/notices", params={"cursor": "abc"})
    assert wrong.status_code == 400


# --- the end


async def test_whoever_has_the_link_ends_the_mails(
    kubernetes: MemoryKubernetes, services: wiring.Services, client: httpx.AsyncClient, box: Box
) -> None:
    put_ended_task(kubernetes, "a", spec={"type": "t", "notify": [{"email": ADA}]})
    await box.has(1)
    link = box.mails[0]["List-Unsubscribe"].strip("<>")
    assert link in box.text()
    path = link.removeprefix("https://longtask.example.com")
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app.for_users(services)), base_url="http://api.test"
    ) as stranger:
        # A program that looks at all links of a mail ends nothing.
        looked = await stranger.get(path)
        assert (looked.status_code, ADA in looked.text) == (200, True)
        assert not (await Addresses(services.database).standing(ADA)).is_muted
        assert "form-action 'self'" in looked.headers["Content-Security-Policy"]
        one_click = {"List-Unsubscribe": "One-Click"}
        assert (await stranger.post(path, data=one_click)).status_code == 200
        assert (await stranger.post(path[:-1])).status_code == 404
        assert (await stranger.get("/api/v1/unsubscribe/x")).status_code == 404
    put_ended_task(kubernetes, "b", spec={"type": "t", "notify": [{"email": "ADA@example.com"}]})
    await is_told(client, "dropped")
    assert [one["error"] for one in await listed(client, "?task=b")] == ["Unsubscribed"]
    assert len(box.mails) == 1


async def test_the_key_of_links_outlives_the_process(
    services: wiring.Services, kubernetes: MemoryKubernetes, ada: httpx.AsyncClient, box: Box
) -> None:
    await ada.post("/api/v1/me/email:verify", json={"email": ADA})
    await box.has(1)
    first = await services.notices._key.get()
    again = type(services.notices._key)(services.resources._cluster, namespace="longtask")
    assert await again.get() == first
    assert links.unsubscribed(first, links.unsubscribe_token(first, ADA)) == ADA


# --- who is told, alone


async def test_others_have_their_turn_while_a_long_list_is_written(
    services: wiring.Services, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(services.database, clock=lambda: NOW)
    task = a_task("a")
    document = message.Said(event="failed", name="a").document()
    await ledger.note(
        Notice(
            channel=Channel.MAIL,
            event_id=f"msg_{number}",
            event="failed",
            sequence=number,
            task_uid=task.metadata.uid,
            namespace=NAMESPACE,
            task_name="a",
            owner=None,
            recipient="a@b.test",
            document=document,
        )
        for number in range(100)
    )
    turns, written_at = 0, set()

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    words = Writer.words

    def noted(self: Writer, *arguments: Any, **values: Any) -> Any:
        written_at.add(turns)
        return words(self, *arguments, **values)

    monkeypatch.setattr(Writer, "words", noted)
    others = asyncio.create_task(take_turns())
    try:
        found = await listed(client, "?limit=100")
    finally:
        others.cancel()
    assert len(found) == 100
    assert len(written_at) >= 5


@pytest.fixture
def addressees(database: Database) -> Addressees:
    return Addressees(Addresses(database))


def an_end(**parts: Any) -> v1alpha1.LongTask:
    task = with_status(
        a_task("report", type="t", **parts),
        phase=v1alpha1.Phase.FAILED,
        conditions=[FINISHED],
        queued_at=NOW,
        finished_at=NOW,
    )
    return with_meta(task, labels={names.OWNER_LABEL: "ada"})


async def told_of(addressees: Addressees, task: v1alpha1.LongTask) -> list[tuple[str, str]]:
    return [
        (notice.event, notice.recipient)
        for event in events.of(task)
        for notice in await addressees.notices(task, event)
    ]


async def test_who_says_nothing_is_told_of_the_end(addressees: Addressees) -> None:
    notify = [
        {"email": "a@b.test"},
        {"email": "c@d.test", "events": ["queued"]},
        {"email": "A@b.test"},
    ]
    found = await told_of(addressees, an_end(notify=notify))
    assert found == [("queued", "c@d.test"), ("failed", "A@b.test")]


async def test_nobody_is_told_who_does_not_ask(addressees: Addressees, database: Database) -> None:
    task = an_end()
    assert addressees.may_care(task)  # nobody knows yet what its owner wishes
    assert await told_of(addressees, task) == []
    assert not addressees.may_care(task)
    await a_token(Users(database), "ada")
    store = Addresses(database)
    await store.verify("ada", ADA, at=NOW)
    await store.set_events("ada", ("failed",), at=NOW)
    await addressees.refresh()
    assert await told_of(addressees, task) == [("failed", ADA)]
    await store.set_events("ada", ("failed",), at=NOW + timedelta(seconds=1))
    await addressees.refresh()
    assert await told_of(addressees, task) == []


async def test_the_owner_of_a_schedule_that_suspends_itself_is_told(
    addressees: Addressees, database: Database
) -> None:
    schedule = v1alpha1.LongTaskSchedule.model_validate(
        {
            "metadata": {
                "name": "nightly",
                "namespace": NAMESPACE,
                "uid": "uid-of-nightly",
                "creationTimestamp": "2026-01-02T03:04:05Z",
                "labels": {names.OWNER_LABEL: "ada"},
            },
            "spec": {"intervalSeconds": 60, "taskTemplate": {"spec": {"type": "t"}}},
            "status": {"message": "3 runs have failed in a row."},
        }
    )
    assert await addressees.of_schedule(schedule, NOW) == []
    await a_token(Users(database), "ada")
    store = Addresses(database)
    await store.verify("ada", ADA, at=NOW)
    await store.set_events("ada", ("failed",), at=NOW)
    await addressees.refresh()
    (notice,) = await addressees.of_schedule(schedule, NOW)
    assert (notice.event, notice.task_name, notice.recipient) == ("suspended", "nightly", ADA)
    assert "3 runs have failed" in notice.document
    ledger = Ledger(database, clock=lambda: NOW)
    assert await ledger.note([notice, *await addressees.of_schedule(schedule, NOW)]) == 1
    assert len(await ledger.page(Channel.MAIL, limit=9)) == 1
