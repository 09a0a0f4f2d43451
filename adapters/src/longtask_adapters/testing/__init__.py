"""Twins of the doors in memory, for tests of any tier: no network, no clock, nothing patched."""

from longtask_adapters.testing.kubernetes import MemoryKubernetes, Refusal
from longtask_adapters.testing.sender import MemorySender, Sent
from longtask_adapters.testing.store import stamp

__all__ = ["MemoryKubernetes", "MemorySender", "Refusal", "Sent", "stamp"]
