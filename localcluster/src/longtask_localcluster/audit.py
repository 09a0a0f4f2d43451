"""What the API server's audit log tells: who wrote what, and how often."""

import collections
import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

_WRITES = {"create", "update", "patch", "delete", "deletecollection"}


@dataclasses.dataclass(frozen=True)
class Request:
    """One request that the API server carried out."""

    agent: str  #: the first word of the User-Agent
    user: str
    verb: str
    resource: str  #: with its subresource, as `longtasks/status`
    namespace: str
    name: str

    @property
    def is_write(self) -> bool:
        """Tell whether it was meant to change something."""
        return self.verb in _WRITES


def lines(log: Path, *, offset: int = 0) -> Iterator[str]:
    """Yield the log's lines from a byte offset on, but one that is being written."""
    with log.open("rb") as found:
        found.seek(offset)
        for line in found:
            if line.endswith(b"\n"):
                yield line.decode()


def requests(log: Path, *, offset: int = 0) -> Iterator[Request]:
    """Yield the requests that succeeded, from a byte offset of the log on."""
    for line in lines(log, offset=offset):
        event = json.loads(line)
        about = event.get("objectRef")
        code = event.get("responseStatus", {}).get("code", 0)
        if about is None or not 200 <= code < 300:
            continue
        if event.get("stage") == "ResponseStarted":
            continue  # of what takes long: its end is told, too
        sub = about.get("subresource")
        yield Request(
            agent=event.get("userAgent", "").split("/")[0].split(" ")[0],
            user=event["user"].get("username", ""),
            verb=event["verb"],
            resource=about["resource"] + (f"/{sub}" if sub else ""),
            namespace=about.get("namespace", ""),
            name=about.get("name", ""),
        )


def count(found: Iterable[Request]) -> dict[tuple[str, str, str], int]:
    """Return how many requests there were by agent, verb and resource, the most frequent first."""
    counted = collections.Counter((r.agent, r.verb, r.resource) for r in found)
    return dict(counted.most_common())
