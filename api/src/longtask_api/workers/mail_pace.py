"""When somebody gets which mail: one of a task a minute, and no more than some an hour."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from longtask_api.stores.ledger import Entry

#: Of one task there is no second mail before this; what happens meanwhile is told in one.
OF_TASK: Final = timedelta(minutes=1)
#: So many mails an address gets in so long. What comes on top of that is told in one.
MOST: Final = 20
WINDOW: Final = timedelta(hours=1)


class Told(NamedTuple):
    """A mail that was sent, as far as it told of one task."""

    at: datetime
    task_uid: str
    batch: str  #: which mail


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is done with what one address is to be told."""

    mails: tuple[tuple[Entry, ...], ...]  #: each is told in one mail, now
    later: tuple[tuple[datetime, tuple[Entry, ...]], ...]  #: then these are looked at again


def plan(entries: Sequence[Entry], told: Iterable[Told], *, now: datetime) -> Plan:
    """Decide upon what one address is to be told.

    Args:
        entries: What is to be told, all to one address.
        told: What it was told in the last `WINDOW`.
        now: Now.
    """
    told = [mail for mail in told if mail.at > now - WINDOW]
    last = {mail.task_uid: mail.at for mail in sorted(told)}
    ready: list[tuple[Entry, ...]] = []
    later: list[tuple[datetime, tuple[Entry, ...]]] = []
    for task_uid, group in _by_task(entries).items():
        due = last.get(task_uid, now - OF_TASK) + OF_TASK
        if due > now:
            later.append((due, group))
        else:
            ready.append(group)
    sent = sorted({mail.batch: mail.at for mail in sorted(told)}.values())
    left = MOST - len(sent)
    if left <= 0 and ready:
        free_at = sent[-MOST] + WINDOW
        later += [(free_at, group) for group in ready]
        ready = []
    elif len(ready) > left:
        ready = [tuple(entry for group in ready for entry in group)]
    return Plan(tuple(ready), tuple(later))


def _by_task(entries: Iterable[Entry]) -> Mapping[str, tuple[Entry, ...]]:
    groups: dict[str, tuple[Entry, ...]] = {}
    for entry in entries:
        groups[entry.task_uid] = (*groups.get(entry.task_uid, ()), entry)
    return groups
