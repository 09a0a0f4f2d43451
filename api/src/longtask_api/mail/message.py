"""What a mail says: from what was noted and from templates to a message, without IO.

Names, messages and reasons are a stranger's words. In headers they are one line without anything
that has a meaning there, in HTML they are escaped, and in the text they begin no line.
"""

import dataclasses
import email.message
import email.policy
import itertools
import json
import unicodedata
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.utils import format_datetime, parseaddr
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import jinja2
from jinja2 import sandbox
from pydantic import BeforeValidator

from longtask_crds import events, v1alpha1

#: The templates, and those of an installation's that may take their places.
SUBJECT: Final = "subject.txt"
TEXT: Final = "text.txt"
HTML: Final = "body.html"
NAMES: Final = (SUBJECT, TEXT, HTML)
#: What is mailed that is no event of a task.
VERIFICATION: Final = "verification"
SUSPENDED: Final = "suspended"
#: Has the numbers of the events, as callbacks and streams give them.
SEQUENCE_HEADER: Final = "X-LongTask-Sequence"

#: How a template may fail.
FAILURES: Final = (jinja2.TemplateError, TypeError, ValueError, LookupError, ArithmeticError)

_BUILT_IN: Final = Path(__file__).parent / "templates"
_LONGEST_SUBJECT: Final = 160
_LONGEST_LINE: Final = 500
#: A digest names so many events; how many more there are, it counts.
_MOST_NAMED: Final = 100
#: Control characters, halves of characters, and what turns the direction of writing around.
_UNPRINTABLE: Final = frozenset({"Cc", "Cs", "Cf", "Zl", "Zp"})


def line(text: object) -> str:
    """Return a stranger's words as one line that does nothing but be read."""
    shown = "".join(" " if _is_unprintable(char) else char for char in str(text or ""))
    shown = " ".join(shown.split())
    return shown if len(shown) <= _LONGEST_LINE else f"{shown[: _LONGEST_LINE - 1]}…"


def _is_unprintable(char: str) -> bool:
    return unicodedata.category(char) in _UNPRINTABLE


def _line_or_none(text: str | None) -> str | None:
    return line(text) or None


#: A stranger's words, made harmless before anybody can do anything else with them.
_Line = Annotated[str, BeforeValidator(line)]
_OptionalLine = Annotated[str | None, BeforeValidator(_line_or_none)]


class Said(v1alpha1.Model):
    """All that a mail says of one event: it stands in the outbox."""

    event: str
    """The word for it."""

    kind: str = "task"
    """What it happened to: a task, a schedule, or an account."""

    name: _Line
    """What that is called."""

    namespace: str = ""
    """The namespace of the resource."""

    uid: str = ""
    """What tells it from others of its name: mails of one thread have it in common."""

    type: _OptionalLine = None
    """The task's type."""

    at: v1alpha1.Time | None = None
    """When it happened."""

    attempt: int = 0
    """The number of the attempt that it speaks of."""

    step: _OptionalLine = None
    """Of a pipeline: the step."""

    percent: int | None = None
    """How much of the work is done."""

    reason: _OptionalLine = None
    """Why, as one word."""

    message: _OptionalLine = None
    """Why, for people."""

    started_at: v1alpha1.Time | None = None
    """When the program started."""

    finished_at: v1alpha1.Time | None = None
    """When the task ended."""

    @classmethod
    def of(cls, task: v1alpha1.LongTask, event: events.Event) -> "Said":
        """Return what is said of an event of a task."""
        return cls(
            event=str(event.type),
            name=task.metadata.name,
            namespace=task.metadata.namespace,
            uid=task.metadata.uid,
            type=task.spec.type,
            at=event.at,
            attempt=event.attempt,
            step=event.step,
            percent=event.percent,
            reason=event.reason,
            message=event.message,
            started_at=task.status.started_at,
            finished_at=task.status.finished_at,
        )

    @classmethod
    def of_schedule(cls, schedule: v1alpha1.LongTaskSchedule, *, at: datetime) -> "Said":
        """Return what is said of a schedule that has suspended itself."""
        return cls(
            event=SUSPENDED,
            kind="schedule",
            name=schedule.metadata.name,
            namespace=schedule.metadata.namespace,
            uid=schedule.metadata.uid,
            at=at,
            message=schedule.status.message,
        )

    def document(self) -> str:
        """Return it as text for the outbox: in ASCII, so no database minds what is in it."""
        return json.dumps(self.model_dump(mode="json", by_alias=True, exclude_none=True))

    @classmethod
    def read(cls, document: str) -> "Said":
        """Return what stands in the outbox."""
        return cls.model_validate_json(document)


@dataclasses.dataclass(frozen=True)
class Sender:
    """Who the mails are from, and where users reach the API."""

    address: str  #: as a header says it: `LongTask <longtask@example.com>`
    public_url: str = ""

    @property
    def domain(self) -> str:
        """What the ids of mails end with."""
        return parseaddr(self.address)[1].rpartition("@")[2]

    @property
    def header(self) -> Address:
        """What stands in `From`."""
        name, address = parseaddr(self.address)
        return Address(display_name=_header(line(name)), addr_spec=address)


class _AsItIs(UnstructuredHeader, BaseHeader):
    """A header of one word, which no program reads that finds it encoded."""

    def fold(self, *, policy: email.policy.Policy) -> str:
        """Return its line: Python's own would encode a word that is longer than a line."""
        text = str(self)
        if not text.isascii():
            return super().fold(policy=policy)
        return f"{self.name}: {text}{policy.linesep}"


_HEADERS: Final = HeaderRegistry()
for _name in ("in-reply-to", "list-unsubscribe", "references"):
    _HEADERS.map_to_type(_name, _AsItIs)
_POLICY: Final = email.policy.SMTP.clone(header_factory=_HEADERS)


@dataclasses.dataclass(frozen=True)
class Words:
    """What a mail says, for people."""

    subject: str
    text: str
    html: str


class Templates:
    """The words around what is said: the installation's own, or those that come with LongTask.

    Args:
        folder: Where the installation's own are, by the names of ours; what is not there is ours.

    Raises:
        ValueError: One of them cannot be read, or fails with an example.
    """

    def __init__(self, folder: Path | None = None) -> None:
        folders = [_BUILT_IN] if folder is None else [folder, _BUILT_IN]
        # Whoever writes them says what mails say, and nothing else happens.
        self._environment = sandbox.SandboxedEnvironment(
            loader=jinja2.FileSystemLoader(folders),
            autoescape=lambda name: name is not None and name.endswith(".html"),
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["clock"] = _clock
        if folder is not None:
            self._try(folder)

    def render(self, said: Sequence[Said], **values: Any) -> Words:
        """Return the words for events, in their order; raise TemplateError."""
        context = {
            "events": said[-_MOST_NAMED:],
            "left_out": max(0, len(said) - _MOST_NAMED),
            "last": said[-1],
            "tasks": len({one.uid for one in said}),
            **values,
        }
        subject, text, body = (
            self._environment.get_template(name).render(context) for name in NAMES
        )
        return Words(subject=line(subject)[:_LONGEST_SUBJECT], text=_clean(text), html=_clean(body))

    def _try(self, folder: Path) -> None:
        example = Said(event="failed", name="report", uid="u", reason="NonZeroExit", message="m")
        links = {"link": "https://a.test/", "unsubscribe": "https://a.test/", "code": "c"}
        try:
            self.render([example, example], **links)
            self.render([Said(event=VERIFICATION, kind="account", name="ada")], **links)
        except FAILURES as error:
            raise ValueError(f"a template in {folder} is of no use: {error}") from error


def compose(
    words: Words,
    said: Sequence[Said],
    *,
    ids: Sequence[str],
    numbers: Sequence[int] = (),
    recipient: str,
    sender: Sender,
    now: datetime,
    unsubscribe: str | None = None,
) -> email.message.EmailMessage:
    """Return the message that tells of events.

    Args:
        words: What it says.
        said: The events, in their order.
        ids: Their ids: the same events make the same `Message-ID`, whoever sends it, whenever.
        numbers: Their numbers; what is no event has 0.
        recipient: Whom it goes to.
        sender: Whom it is from.
        now: When it is sent.
        unsubscribe: The link that ends mails to this address.
    """
    made = email.message.EmailMessage(policy=_POLICY)
    made["From"] = sender.header
    made["To"] = Address(addr_spec=recipient)
    made["Subject"] = _header(words.subject)
    made["Date"] = format_datetime(now)
    made["Message-ID"] = f"<{batch_of(ids)}@{sender.domain}>"
    threads = {one.uid for one in said if one.uid}
    if len(threads) == 1:
        # The beginning of the thread was never sent, and need not be: it is what all refer to.
        thread = f"<{_word(threads.pop())}@{sender.domain}>"
        made["In-Reply-To"] = thread
        made["References"] = thread
    if any(numbers):
        made[SEQUENCE_HEADER] = ", ".join(map(str, numbers))
    # No out-of-office reply, no loop.
    made["Auto-Submitted"] = "auto-generated"
    made["X-Auto-Response-Suppress"] = "All"
    if unsubscribe is not None:
        made["List-Unsubscribe"] = f"<{unsubscribe}>"
        made["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    made.set_content(words.text)
    made.add_alternative(words.html, subtype="html")
    return made


def _header(text: str) -> str:
    """Return text as it may stand in a header: what is encoded in it is not decoded.

    Python's `email` would decode it when the header is set, and a line feed in it begins another.
    """
    return text.replace("=?", "= ?")


def batch_of(ids: Sequence[str]) -> str:
    """Return what a mail that tells of these events is known by."""
    if len(ids) == 1:
        return _word(ids[0])
    return f"msg_{uuid.uuid5(uuid.NAMESPACE_OID, ' '.join(ids))}"


def link_to(said: Sequence[Said], public_url: str) -> str | None:
    """Return the link to the page of what is told of; None if that is several, or no address."""
    names = {(one.kind, one.name) for one in said}
    if not public_url or len(names) != 1:
        return None
    ((kind, name),) = names
    places = {"task": "tasks", "schedule": "schedules"}
    if kind not in places:
        return None
    return f"{public_url.rstrip('/')}/{places[kind]}/{quote(name, safe='')}"


def _clean(text: str) -> str:
    """Return text without what no mail can hold; its lines stay."""
    lines = ("".join(itertools.filterfalse(_is_unprintable, one)) for one in text.splitlines())
    return "\n".join(lines).strip("\n") + "\n"


def _word(text: str) -> str:
    """Return text as it may stand in an id of a mail."""
    return "".join(char if char.isascii() and char.isalnum() else "-" for char in text)


def _clock(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def headers_of(message: email.message.EmailMessage) -> Mapping[str, str]:
    """Return the headers of a message as text."""
    return {name: str(value) for name, value in message.items()}
