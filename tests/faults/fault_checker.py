"""What must hold whatever breaks: the invariants of docs/reliability.md, told of one fault's tasks.

Pure: it judges what was seen, and asks nobody.
"""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from fault_proxy import Entry
from longtask_crds import v1alpha1
from longtask_crds.v1alpha1 import Phase, conditions

#: Writes of one task that fault-free runs may take, and how many more each fault may cause.
WRITES, WRITES_PER_FAULT = 12, 2
FREE_ATTEMPTS = 3

_GRAPH: Mapping[Phase, frozenset[Phase]] = {
    Phase.PENDING: frozenset(Phase),
    Phase.QUEUED: frozenset(Phase) - {Phase.PENDING, Phase.RUNNING},
    Phase.STARTING: frozenset(Phase) - {Phase.PENDING},
    Phase.RUNNING: frozenset(Phase) - {Phase.PENDING},
    Phase.RETRYING: frozenset(Phase) - {Phase.PENDING, Phase.RUNNING},
}


@dataclasses.dataclass(frozen=True)
class Expected:
    """How a task must end."""

    phase: Phase = Phase.SUCCEEDED
    reasons: frozenset[str] = frozenset()  #: empty for any
    attempts: range = range(1, 2)
    delivered: bool = True  #: whether its receiver takes the callback in the end

    def missed_by(self, task: v1alpha1.LongTask) -> str | None:
        """Return what is not as it must be, or None."""
        said = conditions.find(task.status.conditions, v1alpha1.ConditionType.SUCCEEDED)
        reason = said.reason if said else None
        attempt = task.status.attempt or 0
        if task.phase is not self.phase or (self.reasons and reason not in self.reasons):
            return f"ended as {task.phase} ({reason}): {said.message if said else ''}"
        if attempt not in self.attempts:
            return f"took {attempt} attempts"
        return None


@dataclasses.dataclass(frozen=True)
class Evidence:
    """All that was seen of one fault's tasks."""

    acknowledged: Sequence[str]
    deleted: frozenset[str]
    final: Mapping[str, v1alpha1.LongTask]  #: the tasks in the end, by name
    expected: Mapping[str, Expected]
    history: Sequence[tuple[str, v1alpha1.LongTask]]  #: each change, in its order
    starts: Mapping[tuple[str, int], frozenset[str]]  #: pods by the task's uid and attempt
    webhook_ids: Mapping[str, frozenset[str]]  #: of the callbacks that came, by the task's name
    jobs_made: Mapping[str, int]  #: how often each Job was ever created
    left: Sequence[str]  #: Jobs and pods that outlived their tasks
    calls: Sequence[Entry]
    marks: Sequence[float]
    faults: int
    max_running: int
    may_go_back: bool = False


@dataclasses.dataclass(frozen=True)
class Finding:
    """A rule that was broken."""

    rule: str
    about: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule} {self.about}: {self.what}"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What became of one fault's tasks."""

    tasks: int
    as_expected: int
    lost: int
    doubled: int
    orphaned: int
    recovery: tuple[float, ...]  #: seconds from each mark to the operator's next write
    findings: tuple[Finding, ...]


def verdict(seen: Evidence) -> Verdict:
    """Judge what was seen."""
    lost, unexpected = list(_lost(seen)), list(_unexpected(seen))
    doubled, orphaned = list(_doubled(seen)), list(_orphaned(seen))
    told = {finding.about for finding in (*lost, *unexpected)}
    return Verdict(
        tasks=len(seen.acknowledged),
        as_expected=len(seen.acknowledged) - len(told),
        lost=len(lost),
        doubled=len({finding.about for finding in doubled}),
        orphaned=len(orphaned),
        recovery=tuple(_recovery(seen)),
        findings=(
            *lost,
            *unexpected,
            *doubled,
            *orphaned,
            *_unheard(seen),
            *_outcomes(seen),
            *_order(seen),
            *_callbacks(seen),
            *_places(seen),
            *_writes(seen),
            *_attempts(seen),
        ),
    )


def _lost(seen: Evidence) -> Iterator[Finding]:
    """I1: what was acknowledged is there and has ended, unless somebody deleted it."""
    for name in seen.acknowledged:
        if name in seen.deleted:
            if name in seen.final:
                yield Finding("I1", name, "is there although it was deleted")
        elif name not in seen.final:
            yield Finding("I1", name, "is gone")
        elif not seen.final[name].is_finished:
            yield Finding("I1", name, f"has not ended: {seen.final[name].phase}")


def _unheard(seen: Evidence) -> Iterator[Finding]:
    """What a program did not say cannot be counted: who succeeded has said that it started."""
    for name, task in seen.final.items():
        last = (task.metadata.uid or "", task.status.attempt or 0)
        if task.phase is Phase.SUCCEEDED and last not in seen.starts:
            yield Finding("I2", name, "its program was not heard when it started")


def _unexpected(seen: Evidence) -> Iterator[Finding]:
    for name, task in seen.final.items():
        missed = seen.expected[name].missed_by(task) if task.is_finished else None
        if missed:
            yield Finding("end", name, missed)


def _doubled(seen: Evidence) -> Iterator[Finding]:
    """I2: one Job for an attempt, ever; and by its own word, its program started once."""
    for name, times in seen.jobs_made.items():
        if times > 1:
            yield Finding("I2", name, f"was made {times} times")
    known = {task.metadata.uid: name for name, task in _ever(seen).items()}
    for (uid, attempt), pods in seen.starts.items():
        if uid in known and len(pods) > 1:
            yield Finding("I2", known[uid], f"attempt {attempt} ran in {len(pods)} pods")


def _orphaned(seen: Evidence) -> Iterator[Finding]:
    """I7: no Job or pod without its task."""
    for what in seen.left:
        yield Finding("I7", what, "has no task any more")


def _outcomes(seen: Evidence) -> Iterator[Finding]:
    """I3 and I4: an attempt's outcome comes once, and with the task's end nothing changes."""
    attempts: dict[tuple[str | None, int], tuple[object, ...]] = {}
    ends: dict[str | None, object] = {}
    for _, task in seen.history:
        uid, name = task.metadata.uid, task.metadata.name
        for attempt in task.status.attempts or ():
            if attempt.finished_at is None:
                continue
            outcome = (attempt.finished_at, attempt.exit_code, attempt.reason, attempt.pod_uid)
            if attempts.setdefault((uid, attempt.number), outcome) != outcome:
                yield Finding("I3", name, f"attempt {attempt.number} has two outcomes")
        if task.is_finished:
            end = (task.phase, task.status.result, task.status.finished_at, task.status.attempt)
            if ends.setdefault(uid, end) != end:
                yield Finding("I4", name, "its outcome has changed")


def _order(seen: Evidence) -> Iterator[Finding]:
    """I5: numbers never fall, and phases go along their graph."""
    if seen.may_go_back:
        return
    for before, after in _steps(seen):
        name, old, new = after.metadata.name, before.status, after.status
        if (new.attempt or 0) < (old.attempt or 0):
            yield Finding("I5", name, f"its attempt fell from {old.attempt} to {new.attempt}")
        if (new.observed_generation or 0) < (old.observed_generation or 0):
            yield Finding("I5", name, "its observedGeneration fell")
        is_on = after.phase is before.phase or after.phase in _GRAPH.get(before.phase, ())
        if not is_on:
            yield Finding("I5", name, f"went from {before.phase} to {after.phase}")


def _callbacks(seen: Evidence) -> Iterator[Finding]:
    """I6: one id for the end of a task, delivered once its receiver is well."""
    for name, task in seen.final.items():
        if task.spec.callback is None or not task.is_finished:
            continue
        ids = seen.webhook_ids.get(name, frozenset())
        may_be_none = not seen.expected[name].delivered
        if len(ids) != 1 and not (may_be_none and not ids):
            yield Finding("I6", name, f"its end came with {len(ids)} ids")
        state = task.status.callback.state if task.status.callback else None
        if seen.expected[name].delivered and str(state) != "Delivered":
            yield Finding("I6", name, f"its callback is {state}")


def _places(seen: Evidence) -> Iterator[Finding]:
    """I8: no more hold a place than may."""
    holding: set[str] = set()
    most = 0
    for event, task in seen.history:
        name = task.metadata.name
        if event != "DELETED" and task.phase in (Phase.STARTING, Phase.RUNNING):
            holding.add(name)
        else:
            holding.discard(name)
        most = max(most, len(holding))
    if most > seen.max_running and not seen.may_go_back:
        yield Finding("I8", "the queue", f"{most} held a place at once")


def _writes(seen: Evidence) -> Iterator[Finding]:
    """I9: writes are few."""
    made = collections.Counter(
        entry.call.name
        for entry in seen.calls
        if entry.call.resource == "longtasks/status"
        and entry.status is not None
        and entry.status < 300
    )
    for name, task in seen.final.items():
        tries = task.status.callback.tries or 0 if task.status.callback else 0
        attempts = max(task.status.attempt or 0, 1)
        allowed = WRITES * attempts + WRITES_PER_FAULT * seen.faults + tries
        if made[name] > allowed:
            yield Finding("I9", name, f"took {made[name]} writes, {allowed} are allowed")


def _attempts(seen: Evidence) -> Iterator[Finding]:
    """I10: no more attempts than may be, but for those that disruptions give."""
    for name, task in seen.final.items():
        most = (task.spec.retry.max_attempts if task.spec.retry else None) or 1
        if (task.status.attempt or 0) > most + FREE_ATTEMPTS:
            yield Finding("I10", name, f"took {task.status.attempt} attempts of {most}")


def _recovery(seen: Evidence) -> Iterator[float]:
    """Yield how long it took from each mark until a task's write was done."""
    done = [
        entry
        for entry in seen.calls
        if entry.call.step and entry.status is not None and entry.status < 300
    ]
    for mark in seen.marks:
        # What was on its way before is no sign of life.
        after = [entry.at for entry in done if entry.began > mark]
        if after:
            yield min(after) - mark


def counted(jobs: Iterable[str]) -> dict[str, int]:
    """Return how often each name comes."""
    return dict(collections.Counter(jobs))


def _ever(seen: Evidence) -> dict[str, v1alpha1.LongTask]:
    return {task.metadata.name: task for _, task in seen.history} | dict(seen.final)


def _steps(seen: Evidence) -> Iterator[tuple[v1alpha1.LongTask, v1alpha1.LongTask]]:
    """Yield each task before and after each of its changes."""
    by_uid: dict[str | None, list[v1alpha1.LongTask]] = collections.defaultdict(list)
    for _, task in seen.history:
        by_uid[task.metadata.uid].append(task)
    for versions in by_uid.values():
        yield from itertools.pairwise(_in_order(versions))


def _in_order(versions: Iterable[v1alpha1.LongTask]) -> list[v1alpha1.LongTask]:
    # A watch that was begun anew tells again how things stand.
    found = {int(task.metadata.resource_version or 0): task for task in versions}
    return [found[version] for version in sorted(found)]
