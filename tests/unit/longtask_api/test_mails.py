"""What mails say, read as any mail program reads them."""

import dataclasses
import email
import email.policy
import html.parser
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from aiosmtplib.email import flatten_message

from longtask_api.mail import addresses, links, message
from longtask_crds import events, v1alpha1
from longtask_crds.testing import FINISHED, NOW, a_condition, a_task, with_status

SENDER = message.Sender("LongTask <longtask@example.org>", "https://longtask.example.com/base")
KEY = b"the installation's key"

#: What has a meaning somewhere: in headers, in HTML, in templates, in terminals.
HOSTILE = [
    "a\r\nBcc: eve@example.com",
    "a\nSubject: another",
    "a\r\n\r\n<html>body",
    "a\x0b\x0c\x1c\x85\u2028\u2029Bcc: eve@example.com",
    "=?utf-8?q?a=0D=0ABcc:_eve@example.com?=",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</b></td></table><a href='javascript:alert(1)'>x</a>",
    "{{ 7 * 7 }}{% for x in y %}",
    "\u202egpj.exe\u2066",
    "a\0b\ud800c\x1b[31m",
    "--===============boundary==\r\nContent-Type: text/html",
    "x" * 10_000,
    "\N{GRINNING FACE} ärger",
    "",
]


class Tags(html.parser.HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def a_mail(
    *said: message.Said, templates: message.Templates | None = None, recipient: str = "a@b.test"
) -> EmailMessage:
    """Return a mail that tells of events, as who gets it has it."""
    link = message.link_to(said, SENDER.public_url)
    token = links.unsubscribe_token(KEY, recipient)
    unsubscribe = f"{SENDER.public_url}/api/v1/unsubscribe/{token}"
    words = (templates or message.Templates()).render(said, link=link, unsubscribe=unsubscribe)
    made = message.compose(
        words,
        said,
        ids=[f"msg_{one.event}" for one in said],
        recipient=recipient,
        sender=SENDER,
        now=NOW,
        unsubscribe=unsubscribe,
    )
    return email.message_from_bytes(bytes(made), policy=email.policy.default)  # type: ignore[return-value]


def part(mail: EmailMessage, kind: str) -> str:
    found = mail.get_body((kind,))
    assert found is not None
    content: str = found.get_content()
    return content


def said(event: str = "failed", name: str = "report", **parts: object) -> message.Said:
    made = {"event": event, "name": name, "uid": f"uid-of-{name}", "at": NOW} | parts
    return message.Said.model_validate(made)


def test_a_mail_says_what_happened_in_both_bodies() -> None:
    mail = a_mail(said(reason="NonZeroExit", message="exit code 2", attempt=3))
    assert mail.get_content_type() == "multipart/alternative"
    assert mail["Subject"] == "report: failed (NonZeroExit)"
    link = "https://longtask.example.com/base/tasks/report"
    for text in (part(mail, "plain"), Tags(part(mail, "html")).text):
        for word in ("report", "failed", "NonZeroExit", "exit code 2", "2026-01-02", link):
            assert word in text
    assert "Attempt: 3" in part(mail, "plain")
    assert "attempt 3" in Tags(part(mail, "html")).text
    assert link in Tags(part(mail, "html")).links


def test_a_thread_is_a_task() -> None:
    first, second = a_mail(said("started")), a_mail(said("failed"))
    another = a_mail(said("failed", "other"))
    assert first["Message-ID"] == "<msg-started@example.org>"
    assert first["References"] == first["In-Reply-To"] == second["References"]
    assert second["References"] != another["References"]
    assert first["Message-ID"] != second["Message-ID"]
    # A digest is of no thread.
    assert a_mail(said("failed"), said("failed", "other"))["References"] is None


def test_nobody_answers_a_mail_and_anybody_can_end_them() -> None:
    mail = a_mail(said())
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = mail["List-Unsubscribe"].strip("<>")
    assert links.unsubscribed(KEY, link.rpartition("/")[2]) == "a@b.test"
    assert link in part(mail, "plain")
    assert link in Tags(part(mail, "html")).links
    assert mail["Date"] == "Fri, 02 Jan 2026 03:04:05 +0000"


def test_a_link_to_end_mails_stands_in_its_header_as_it_is() -> None:
    made = message.compose(
        message.Words("s", "t", "h"),
        [said()],
        ids=["a"],
        recipient="a@b.test",
        sender=dataclasses.replace(SENDER, address=f"l@{'a' * 60}.test"),
        now=NOW,
        unsubscribe="https://longtask.example.com/" + "a" * 300,
    )
    lines = flatten_message(made).splitlines()
    assert b"List-Unsubscribe: <https://longtask.example.com/" + b"a" * 300 + b">" in lines
    assert b"References: <uid-of-report@" + b"a" * 60 + b".test>" in lines


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        pytest.param((3,), "3", id="one-event"),
        pytest.param((3, 4), "3, 4", id="several"),
        pytest.param((0,), None, id="a-code-is-no-event"),
    ],
)
def test_a_mail_has_the_numbers_of_its_events(numbers: tuple[int, ...], told: str | None) -> None:
    made = message.compose(
        message.Words("s", "t", "h"),
        [said()] * len(numbers),
        ids=[str(number) for number in numbers],
        numbers=numbers,
        recipient="a@b.test",
        sender=SENDER,
        now=NOW,
    )
    assert made[message.SEQUENCE_HEADER] == told


def test_the_same_events_have_the_same_id_whoever_tells_them() -> None:
    both = (said("started"), said("failed"))
    assert a_mail(*both)["Message-ID"] == a_mail(*both)["Message-ID"]
    assert a_mail(*both)["Message-ID"] != a_mail(said("started"))["Message-ID"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_strangers_words_are_read_and_nothing_else(text: str) -> None:
    harmless = a_mail(said(reason="R", message="m", step="s", type="t"))
    mail = a_mail(said("failed", text, reason=text, message=text, step=text, type=text, uid=text))
    assert set(mail.keys()) - {"References", "In-Reply-To"} == set(harmless.keys()) - {
        "References",
        "In-Reply-To",
    }
    assert (mail["To"], mail["From"]) == (harmless["To"], harmless["From"])
    assert [one.get_content_type() for one in mail.walk()] == [
        one.get_content_type() for one in harmless.walk()
    ]
    assert not mail.defects
    found = Tags(part(mail, "html"))
    assert set(found.tags) <= set(Tags(part(harmless, "html")).tags)
    assert all(link.startswith("https://longtask.example.com/base/") for link in found.links)
    assert "49" not in part(mail, "plain").replace("2026-01-02 03:04:05", "")
    assert len(mail["Subject"]) <= 160
    # No line of the text begins with what was said: nobody takes it for a header, or for ours.
    lines = [line for line in part(mail, "plain").splitlines() if line]
    assert all(line.startswith(("2026-", "    ", "https://", "--", "No more")) for line in lines)
    assert not set("\x1b\x00\u202e\u2066\u2028") & set(part(mail, "plain") + part(mail, "html"))


@pytest.mark.parametrize(
    "address",
    [
        *(
            "a",
            "a@b@c.test",
            "a b@c.test",
            "a@c.test,d@e.test",
            "<a@c.test>",
            "a@c.test\nBcc: e@f.g",
        ),
        *('"a"@c.test', "a@[127.0.0.1]", "ä@c.test", "a@-c.test", "a@c..test", "@c.test", "a@"),
        *("a@c.test\0", "a(b)@c.test", "x" * 65 + "@c.test", "a@" + "x." * 130 + "test"),
    ],
)
def test_no_mail_goes_to_what_is_no_address(address: str) -> None:
    assert not addresses.is_address(address)


def test_addresses_and_whom_anybody_may_mail() -> None:
    guard = addresses.Guard.of(domains=["Example.com"], recipients=["Joe@other.test"])
    assert addresses.is_address("o'neil+tag@sub.example.co")
    assert guard.allows("a@example.COM")
    assert guard.allows("joe@other.test")
    assert not guard.allows("eve@other.test")
    # A domain is not what ends like it.
    assert not guard.allows("a@notexample.com")
    assert not guard.allows("a@sub.example.com")
    assert addresses.Guard.of(domains=["*"], recipients=[]).allows("a@b.test")
    assert not addresses.Guard.of(domains=[], recipients=[]).allows("a@b.test")


def test_what_is_said_follows_from_the_task_and_survives_the_outbox() -> None:
    verdict = a_condition(
        v1alpha1.ConditionType.SUCCEEDED,
        v1alpha1.ConditionStatus.FALSE,
        v1alpha1.Reason.PROGRAM_FAILED,
        "a\0 bad\nend",
    )
    task = with_status(
        a_task("report", type="fibonacci"),
        phase=v1alpha1.Phase.FAILED,
        conditions=[FINISHED, verdict],
        attempt=2,
        finished_at=NOW,
    )
    told = message.Said.of(task, events.of(task)[-1])
    assert (told.event, told.name, told.type, told.attempt) == ("failed", "report", "fibonacci", 2)
    assert told.message == "a bad end"
    assert told.document().isascii()
    assert message.Said.read(told.document()) == told


def test_an_installation_has_words_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "subject.txt").write_text("[ACME] {{ last.name }}\n{{ last.message }}")
    mail = a_mail(said(message="<b>"), templates=message.Templates(tmp_path))
    assert mail["Subject"] == "[ACME] report <b>"
    # The others are ours.
    assert "report" in part(mail, "plain")
    assert "&lt;b&gt;" in part(mail, "html")


@pytest.mark.parametrize(
    "template",
    ["{{ last.nam", "{{ last.at.strftime(7) }}", "{{ ().__class__.__mro__[1].__subclasses__() }}"],
)
def test_a_template_that_fails_is_told_at_the_start(tmp_path: Path, template: str) -> None:
    (tmp_path / "text.txt").write_text(template)
    with pytest.raises(ValueError, match="is of no use"):
        message.Templates(tmp_path)


def test_of_very_many_events_the_last_ones_are_named() -> None:
    mail = a_mail(*(said("failed", f"t{number}") for number in range(150)))
    assert mail["Subject"] == "150 events of 150 tasks"
    text = part(mail, "plain")
    assert "50 earlier events are left out" in text
    assert "t149" in text
    assert "t49:" not in text


def test_links_and_codes_are_of_one_installation_one_user_and_one_day() -> None:
    token = links.unsubscribe_token(KEY, "a@b.test")
    assert links.unsubscribed(KEY, token) == "a@b.test"
    for wrong in (token[:-1], "x" + token, "", ".", "a.b", "ä"):
        assert links.unsubscribed(KEY, wrong) is None
    assert links.unsubscribed(b"another key", token) is None
    code = links.code(KEY, "ada", "a@b.test", now=NOW)
    assert links.confirmed(KEY, "ada", code, now=NOW + timedelta(hours=24)) == "a@b.test"
    assert links.confirmed(KEY, "ada", code, now=NOW + timedelta(hours=24, seconds=1)) is None
    assert links.confirmed(KEY, "eve", code, now=NOW) is None
    # What ends mails shows nothing of whose they are.
    assert links.confirmed(KEY, "ada", token, now=NOW) is None
    assert links.unsubscribed(KEY, code) is None
