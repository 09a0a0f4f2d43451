"""What lists ask of every task, kept apart in order: a task that is passed over is never read."""

import collections
import dataclasses
import heapq
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

from sortedcontainers import SortedList

from longtask_adapters.kube.cache import key_of
from longtask_client.shown import tasks as shown
from longtask_crds import names, v1alpha1
from longtask_crds.names import ObjectKey

#: The sorting key of a task by its age: made at, in seconds of the epoch; its key; its uid, which
#: tells it from another of its name that was made, and is archived, in the same second.
Age = tuple[int, ObjectKey, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """What a task is found by."""

    key: ObjectKey
    uid: str
    created: int  #: in seconds of the epoch: Kubernetes knows no less
    phase: v1alpha1.Phase
    type: str | None
    owner: str | None
    labels: tuple[tuple[str, str], ...]
    queue: str | None  #: that it names itself
    priority: int | None  #: that it names itself
    came_through: str | None  #: the queue on record
    message: str | None  #: what it is doing, or how it ended
    callback: v1alpha1.CallbackState | None = None  #: where the delivery of its last event stands
    told_at: datetime | None = None  #: when that event happened
    schedule: str | None = None  #: whose run it is

    @classmethod
    def of(cls, task: v1alpha1.LongTask) -> "Record":
        """Return the task's record."""
        labels, entry = task.metadata.labels, task.status.callback
        told_at = entry.facts.at if entry and entry.facts else task.status.finished_at
        return cls(
            key=key_of(task),
            uid=task.metadata.uid,
            created=int(task.metadata.created_at.timestamp()),
            phase=task.phase,
            type=task.spec.type,
            owner=labels.get(names.OWNER_LABEL),
            labels=tuple(labels.items()),
            queue=task.spec.queue,
            priority=task.spec.priority,
            came_through=task.status.queue,
            callback=entry.state if entry else None,
            told_at=told_at if entry else None,
            schedule=labels.get(names.SCHEDULE_LABEL),
            message=shown.message_of(task),
        )

    @property
    def age(self) -> Age:
        """Return what sorts it among all tasks."""
        return self.created, self.key, self.uid


#: How many tasks are in each phase, by owner.
_Phases = dict[str | None, collections.Counter[v1alpha1.Phase]]
#: What tasks have in common, and its value.
_Trait = tuple[str, str | None]


def _traits(record: Record) -> set[_Trait]:
    return {
        ("all", None),
        ("phase", record.phase),
        ("type", record.type),
        ("owner", record.owner),
        # Few tasks are a run.
        *((("schedule", record.schedule),) if record.schedule is not None else ()),
    }


class Catalogue:
    """The records of all tasks, by key; and by age, of those with a trait in common."""

    def __init__(self) -> None:
        self._records: dict[ObjectKey, Record] = {}
        self._by_age: dict[_Trait, SortedList[Age]] = {}
        self._phases: _Phases = {}
        self._handed_over: _Phases = {}  #: of those that no schedule has started

    def __contains__(self, key: ObjectKey) -> bool:
        return key in self._records

    def __getitem__(self, key: ObjectKey) -> Record:
        return self._records[key]

    def put(self, record: Record) -> None:
        """Take note of a task as it is now."""
        before = self._records.get(record.key)
        if before is not None and before.age != record.age:
            self.remove(record.key)
            before = None
        self._count(before, -1)
        self._count(record, 1)
        self._records[record.key] = record
        now, then = _traits(record), _traits(before) if before else set()
        for trait in now - then:
            self._by_age.setdefault(trait, SortedList()).add(record.age)
        self._drop(record.age, then - now)

    def remove(self, key: ObjectKey) -> None:
        """Forget a task."""
        record = self._records.pop(key)
        self._count(record, -1)
        self._drop(record.age, _traits(record))

    def count_of(self, owner: str | None) -> tuple[int, int]:
        """Return how many tasks of the owner have not ended, and how many there are.

        Runs of schedules are none of them: nobody hands those over, and nobody is refused one.
        """
        handed_over = self._handed_over.get(owner, collections.Counter[v1alpha1.Phase]())
        active = sum(n for phase, n in handed_over.items() if not phase.is_terminal)
        return active, sum(handed_over.values())

    def phases_of(self, owner: str | None) -> collections.Counter[v1alpha1.Phase]:
        """Return how many of the owner's tasks are in each phase."""
        return collections.Counter(self._phases.get(owner, {}))

    def phases_of_all(self) -> collections.Counter[v1alpha1.Phase]:
        """Return how many tasks are in each phase, whoever's they are."""
        shelves = ((phase, self._by_age.get(("phase", phase), ())) for phase in v1alpha1.Phase)
        return collections.Counter({phase: len(shelf) for phase, shelf in shelves})

    def by_age(
        self,
        *,
        phases: Collection[v1alpha1.Phase] = (),
        type: str | None = None,  # noqa: A002 - the field's name
        owner: str | None = None,
        schedule: str | None = None,
        low: Age | None = None,
        high: Age | None = None,
        newest_first: bool = False,
    ) -> Iterator[Record]:
        """Yield the records of tasks in the order of their making; others may be among them.

        Args:
            phases: In one of these phases,
            type: or of this type,
            owner: or of this owner,
            schedule: or of this schedule: whichever are fewest. Nothing else is looked at.
            low: Behind this one in age, at no cost for those before it.
            high: Before this one, likewise.
            newest_first: Go backwards.
        """
        choices: list[set[_Trait]] = [{("all", None)}]
        if phases:
            choices.append({("phase", phase) for phase in phases})
        named = (("type", type), ("owner", owner), ("schedule", schedule))
        choices += [{trait} for trait in named if trait[1] is not None]
        shelves = min(([*self._shelves(choice)] for choice in choices), key=_size)
        parts = (
            shelf.irange(low, high, inclusive=(False, False), reverse=newest_first)
            for shelf in shelves
        )
        return (self._records[key] for _, key, _ in heapq.merge(*parts, reverse=newest_first))

    def _count(self, record: Record | None, by: int) -> None:
        if record is None:
            return
        _add(self._phases, record, by)
        if record.schedule is None:
            _add(self._handed_over, record, by)

    def _shelves(self, traits: Iterable[_Trait]) -> Iterator[SortedList[Age]]:
        return (self._by_age[trait] for trait in traits if trait in self._by_age)

    def _drop(self, age: Age, traits: Iterable[_Trait]) -> None:
        for trait in traits:
            shelf = self._by_age[trait]
            shelf.remove(age)
            if not shelf:
                del self._by_age[trait]


def _size(shelves: list[SortedList[Age]]) -> int:
    return sum(map(len, shelves))


def _add(phases: _Phases, record: Record, by: int) -> None:
    of_owner = phases.setdefault(record.owner, collections.Counter())
    of_owner[record.phase] += by
    if not of_owner[record.phase]:
        del of_owner[record.phase]
    if not of_owner:
        del phases[record.owner]
