"""The same news in other words: as Standard Webhooks say, as a CloudEvent, as a line for people."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from longtask_crds import json_values, names
from longtask_crds.v1alpha1 import MessageFormat

_MEDIA_TYPES: Final = {
    MessageFormat.STANDARD: "application/json",
    MessageFormat.CLOUDEVENTS: "application/cloudevents+json",
    MessageFormat.SLACK: "application/json",
}
#: Longer lines are hard to read, and a chat takes only so much.
_LONGEST_LINE: Final = 1000


class Told(NamedTuple):
    """What is told, before anybody has words for it."""

    event: str  #: its word
    at: datetime | None
    data: bytes  #: JSON as it is: no number of it may change its digits


def media_type(form: MessageFormat) -> str:
    """Return the media type of a body in this format."""
    return _MEDIA_TYPES[form]


def standard(told: Told) -> bytes:
    """Return it as Standard Webhooks say."""
    head = {"type": f"longtask.{told.event}", "timestamp": _stamp(told.at)}
    return _with_data(head, told.data)


def cloud_event(told: Told, *, webhook_id: str, namespace: str, subject: str) -> bytes:
    """Return it as a CloudEvent 1.0 in structured JSON.

    Its type begins with our domain's name turned round; its source is where the tasks are, as the
    API server has it: no address, for that may change.
    """
    source = f"/apis/{names.API_VERSION}"
    if namespace:
        source += f"/namespaces/{namespace}/{names.LONGTASKS}"
    head = {
        "specversion": "1.0",
        "id": webhook_id,
        "source": source,
        "type": f"dev.longtask.{told.event}",
        "datacontenttype": "application/json",
    }
    if subject:
        head["subject"] = subject
    if (at := _stamp(told.at)) is not None:
        head["time"] = at
    return _with_data(head, told.data)


def for_people(line: str) -> bytes:
    """Return a line as incoming webhooks of Slack and Mattermost take it: nobody is called by it.

    What a program says is in it, and is not to reach all of a channel, or to look like a link.
    """
    text = line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…"
    for sign, harmless in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("@", "@\u200b")):
        text = text.replace(sign, harmless)
    return json_values.compact({"text": text}).encode()


def _with_data(head: Mapping[str, str | None], data: bytes) -> bytes:
    return json_values.compact(head).encode().removesuffix(b"}") + b',"data":' + data + b"}"


def _stamp(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
