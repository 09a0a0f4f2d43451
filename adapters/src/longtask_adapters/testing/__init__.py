"""Twins of the doors in memory, for tests of any tier: no network, no clock, nothing patched."""

from longtask_adapters.testing.kubernetes import MemoryKubernetes, Refusal
from longtask_adapters.testing.sender import MemorySender, Sent
from longtask_adapters.testing.store import NAMESPACE, NOW, stamp

__all__ = ["NAMESPACE", "NOW", "MemoryKubernetes", "MemorySender", "Refusal", "Sent", "stamp"]
