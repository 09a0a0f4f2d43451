"""What the searches through all interleavings have in common: what may happen to an operator."""

from typing import Any

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
