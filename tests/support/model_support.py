"""What the searches through all interleavings have in common."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from longtask_adapters.testing import MemoryKubernetes, MemorySender


class CrashError(BaseException):
    """The operator's process is gone. Not an Exception: nothing may catch it."""


class Sender(MemorySender):
    """Sending can be interrupted like a write."""

    def __init__(self, kubernetes: MemoryKubernetes) -> None:
        super().__init__(clock=lambda: kubernetes.now)
        self._kubernetes = kubernetes

    async def send(self, url: str, **what: Any) -> Any:
        self._kubernetes.interrupt("send", "before")
        answer = await super().send(url, **what)
        self._kubernetes.interrupt("send", "after")
        return answer


class Found(NamedTuple):
    """What came of a search."""

    name: str
    states: int
    left: int  #: of them were not looked at
    steps: int
    seconds: float  #: of this processor


class Walk:
    """States that were reached, and the ways between them; each node has `calm` and `came_by`."""

    nodes: Mapping[bytes, Any]

    def _calm_end(self, at: bytes, known: dict[bytes, bytes]) -> bytes:
        path, on_it = [at], {at}
        while path[-1] not in known and (following := self.nodes[path[-1]].calm) is not None:
            assert following not in on_it, f"goes in circles after: {self.story(at)}"
            path.append(following)
            on_it.add(following)
        end = known.get(path[-1], path[-1])
        known.update(dict.fromkeys(path, end))
        return end

    def story(self, at: bytes, *then: str) -> str:
        """Return how a state was reached, in words."""
        told = list(then)
        while (came_by := self.nodes[at].came_by) is not None:
            at, name = came_by
            told.insert(0, name)
        return "; ".join(told)
