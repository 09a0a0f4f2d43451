"""What the searches through all interleavings have in common."""

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
