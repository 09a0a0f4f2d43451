"""Who waits, who runs, who is next: the one index of all queues, for operator and API alike. Pure.

The truth is the live state of the tasks. An index is told each change of a task, a type or a queue
and can be built anew from a list at any time; it answers in O(log n) of the tasks that wait. Needs
the extra `rules` (sortedcontainers).
"""

from longtask_crds.queueing.entries import (
    Entry,
    Rank,
    Standing,
    deferred_until,
    joined_at,
    rests,
    standing,
    startable_at,
)
from longtask_crds.queueing.index import HEAD_START_SECONDS, Index
from longtask_crds.queueing.places import Counts, Place, postponed, sentence

__all__ = [
    "HEAD_START_SECONDS",
    "Counts",
    "Entry",
    "Index",
    "Place",
    "Rank",
    "Standing",
    "deferred_until",
    "joined_at",
    "postponed",
    "rests",
    "sentence",
    "standing",
    "startable_at",
]
