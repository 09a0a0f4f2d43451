"""The door to the mail server, against real ones."""

import asyncio
import logging
from email.message import EmailMessage
from pathlib import Path

import pytest

import smtp_support
from longtask_api.mail import message, smtp
from longtask_api.settings import Tls
from longtask_crds.testing import NOW
from smtp_support import PASSWORD, USERNAME, Server

SAID = message.Said(event="succeeded", name="report", uid="u", at=NOW)


def a_mail() -> EmailMessage:
    return message.compose(
        message.Templates().render([SAID]),
        [SAID],
        ids=["msg_1"],
        recipient="ada@example.com",
        sender=message.Sender("LongTask <longtask@example.org>"),
        now=NOW,
    )


def a_login(folder: Path, password: str = PASSWORD) -> Path:
    (folder / "username").write_text(USERNAME + "\n")
    (folder / "password").write_text(password + "\n")
    return folder


async def test_a_mail_arrives_as_it_was_made() -> None:
    async with smtp_support.running() as server:
        door = smtp.SmtpDoor("127.0.0.1", server.port, tls=Tls.NONE)
        assert await door.send(a_mail()) == 250
    (arrived,) = server.taken
    assert server.recipients == ["ada@example.com"]
    assert (arrived["To"], arrived["From"]) == (
        "ada@example.com",
        "LongTask <longtask@example.org>",
    )
    assert arrived["Subject"] == "report: succeeded"


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.TLS])
async def test_nobody_on_the_way_reads_it(tls: Tls, tmp_path: Path) -> None:
    context, believing = smtp_support.certificate(tmp_path)
    implicit = tls is Tls.TLS
    async with smtp_support.running(context=context, implicit=implicit, login=True) as server:
        door = smtp.SmtpDoor(
            *("127.0.0.1", server.port),
            tls=tls,
            credentials=a_login(tmp_path),
            context=believing,
        )
        await door.send(a_mail())
    assert (server.was_tls, server.logins) == ([True], [USERNAME])


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.TLS])
async def test_who_cannot_show_who_they_are_gets_nothing(tls: Tls, tmp_path: Path) -> None:
    context, _ = smtp_support.certificate(tmp_path)
    async with smtp_support.running(context=context, implicit=tls is Tls.TLS, login=True) as server:
        door = smtp.SmtpDoor("127.0.0.1", server.port, tls=tls, credentials=a_login(tmp_path))
        with pytest.raises(smtp.NotSent, match="TlsFailed") as refused:
            await door.send(a_mail())
    assert refused.value.is_of_server
    assert not refused.value.is_final
    assert (server.taken, server.logins) == ([], [])


async def test_without_starttls_nothing_is_said(tmp_path: Path) -> None:
    async with smtp_support.running(login=False) as server:
        door = smtp.SmtpDoor(
            "127.0.0.1", server.port, tls=Tls.STARTTLS, credentials=a_login(tmp_path)
        )
        with pytest.raises(smtp.NotSent, match="TlsFailed"):
            await door.send(a_mail())
    assert (server.taken, server.logins) == ([], [])


async def test_a_wrong_password_is_no_fault_of_the_mail(tmp_path: Path) -> None:
    context, believing = smtp_support.certificate(tmp_path)
    async with smtp_support.running(context=context, login=True) as server:
        door = smtp.SmtpDoor(
            *("127.0.0.1", server.port),
            tls=Tls.STARTTLS,
            credentials=a_login(tmp_path, "wrong"),
            context=believing,
        )
        with pytest.raises(smtp.NotSent, match="LoginRefused") as refused:
            await door.send(a_mail())
        assert (refused.value.is_final, refused.value.is_of_server) == (False, True)
        # The Secret was mended; nobody started anything anew.
        a_login(tmp_path)
        await door.send(a_mail())
    assert len(server.taken) == 1


async def test_a_login_that_is_not_there_is_said(tmp_path: Path) -> None:
    door = smtp.SmtpDoor("127.0.0.1", 9, tls=Tls.NONE, credentials=tmp_path)
    with pytest.raises(smtp.NotSent, match="LoginRefused"):
        await door.send(a_mail())


@pytest.mark.parametrize(
    ("answers", "told", "code", "is_final"),
    [
        pytest.param({"rcpt": ["550 5.1.1 No such user"]}, "Refused 5.1.1", 550, True, id="5xx"),
        pytest.param({"data": ["554 Spam"]}, "Refused", 554, True, id="5xx-of-the-content"),
        pytest.param(
            {"rcpt": ["451 4.7.1 Greylisted"]}, "NotNow 4.7.1", 451, False, id="greylisting"
        ),
        pytest.param({"data": ["452 4.2.2 Full"]}, "NotNow 4.2.2", 452, False, id="full"),
    ],
)
async def test_what_the_server_says_of_a_mail(
    answers: dict[str, list[str]], told: str, code: int, is_final: bool
) -> None:
    async with smtp_support.running(Server(**answers)) as server:  # type: ignore[arg-type]
        door = smtp.SmtpDoor("127.0.0.1", server.port, tls=Tls.NONE)
        with pytest.raises(smtp.NotSent) as refused:
            await door.send(a_mail())
    # None of the server's own words.
    assert str(refused.value) == told
    assert (refused.value.code, refused.value.is_final) == (code, is_final)
    assert not refused.value.is_of_server


async def test_a_server_that_is_slow_is_waited_for_so_long_and_no_longer() -> None:
    async with smtp_support.running(Server(wait=asyncio.Event().wait)) as server:
        door = smtp.SmtpDoor("127.0.0.1", server.port, tls=Tls.NONE, seconds=0.2)
        with pytest.raises(smtp.NotSent, match="Timeout") as late:
            await door.send(a_mail())
    assert (late.value.is_final, late.value.is_of_server) == (False, True)


async def test_a_server_that_is_not_there() -> None:
    with smtp_support.down() as server:
        door = smtp.SmtpDoor("127.0.0.1", server.port, tls=Tls.NONE)
        with pytest.raises(smtp.NotSent, match="ConnectionFailed"):
            await door.send(a_mail())
    with pytest.raises(smtp.NotSent, match="NameNotResolved"):
        await smtp.SmtpDoor("mail.invalid", 25, tls=Tls.NONE).send(a_mail())


async def test_without_a_server_the_log_has_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await smtp.LogDoor().send(a_mail())
    (record,) = [one for one in caplog.records if one.message == "Logged mail"]
    assert vars(record)["to"] == "ada@example.com"
    assert "report: succeeded" in vars(record)["text"]
