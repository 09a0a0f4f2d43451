"""Two operators and a schedule, with a crash or a lost answer at each of their writes in turn.

Whatever is hit, each time has one run at most, ever; and once all is calm there are the runs that
there are without a fault.
"""

import dataclasses
import itertools
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from longtask_adapters.kube import errors, kinds
from longtask_adapters.testing import MemoryKubernetes
from longtask_crds import names, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.schedule import runs
from longtask_crds.testing import FINISHED, NAMESPACE, NOW, a_schedule
from longtask_operator.testing import Operator
from model_support import CrashError

NIGHTLY = ObjectKey(NAMESPACE, "nightly")
MINUTES = 3
#: Due in the first minutes, and asked for at the end.
ALL_RUNS = [1, 2, 3, -5]


@dataclasses.dataclass(frozen=True)
class Fault:
    """What happens to one write."""

    number: int  #: the first is 1; 0 is none
    moment: str = "before"
    is_crash: bool = False  #: or else the answer is lost


class Play:
    """A few minutes of a schedule."""

    def __init__(self, fault: Fault, *, deaf: bool, deletes: bool, **spec: Any) -> None:
        self.kubernetes = MemoryKubernetes()
        self.kubernetes.add(a_schedule(intervalSeconds=60, misfire={"policy": "all"}, **spec))
        self.operators = [Operator(kubernetes=self.kubernetes) for _ in range(2)]
        self.fault = fault
        self.deaf = deaf  #: the second operator hears late
        self.deletes = deletes  #: somebody deletes the runs whose uid is recorded
        self.writes = 0
        self.kubernetes.interrupt = self._interrupt

    def _interrupt(self, _: str, moment: str) -> None:
        self.writes += moment == "before"
        if (self.writes, moment) == (self.fault.number, self.fault.moment):
            raise CrashError if self.fault.is_crash else errors.Unavailable("the answer was lost")

    async def play(self) -> None:
        for operator in self.operators:
            await operator.hear()
        for minute in range(1, MINUTES + 1):
            self.kubernetes.now = NOW + minute * timedelta(minutes=1)
            await self._look(0, hears=True)
            await self._look(1, hears=not self.deaf)
            self._end_or_delete()
            await self._look(1, hears=True)
            await self._look(0, hears=True)
        asked = runs.asking([NOW - timedelta(minutes=5)])
        meta = {"annotations": {names.RUN_AT_ANNOTATION: asked}}
        self.kubernetes.put(names.LONGTASKSCHEDULES, "nightly", metadata=meta)
        await self._look(0, hears=True)
        await self._look(1, hears=not self.deaf)
        # Calm from here on; what is still to be made up for, one after the other, is.
        for _ in range(2 * MINUTES):
            self._end_or_delete()
            await self._look(0, hears=True)
            await self._look(1, hears=True)

    async def _look(self, which: int, *, hears: bool) -> None:
        operator = self.operators[which]
        try:
            if hears:
                await operator.hear()
            await operator.scheduler.reconcile(NIGHTLY)
        except errors.Unavailable:
            return  # the work queue tries again
        except CrashError:
            self.operators[which] = Operator(kubernetes=self.kubernetes)
            await self.operators[which].hear()

    def _end_or_delete(self) -> None:
        known = {run.name for run in self.status.runs or () if run.uid is not None}
        for key, raw in list(self.kubernetes.objects(names.LONGTASKS).items()):
            if self.deletes and key.name in known:
                self.kubernetes.remove(names.LONGTASKS, key)
            elif raw["status"].get("phase") != "Succeeded":
                status = {"phase": "Succeeded", "conditions": [FINISHED.to_json()]}
                status["finishedAt"] = runs.text_of(self.kubernetes.now)
                self.kubernetes.put(names.LONGTASKS, key, status=status)

    @property
    def status(self) -> v1alpha1.LongTaskScheduleStatus:
        raw = self.kubernetes.stored(names.LONGTASKSCHEDULES, "nightly")
        return kinds.SCHEDULES.read(raw).status

    @property
    def ever_made(self) -> Counter[int]:
        """Return of which minutes there were tasks, and how many of each."""
        made = [
            runs.time_of(step.after["metadata"]["name"])
            for step in self.kubernetes.steps_after(0)
            if step.plural == names.LONGTASKS and step.before is None and step.after is not None
        ]
        return Counter(int((at - NOW).total_seconds()) // 60 for at in made if at is not None)


@pytest.mark.parametrize(
    ("policy", "deletes", "deaf"),
    [
        pytest.param("Forbid", False, True, id="one-after-the-other"),
        pytest.param("Forbid", True, False, id="runs-are-deleted"),
        pytest.param("Allow", False, True, id="side-by-side"),
        pytest.param("Replace", False, False, id="the-new-one-first"),
    ],
)
async def test_no_fault_at_any_write_doubles_or_loses_a_run(
    policy: str, deletes: bool, deaf: bool
) -> None:
    options: dict[str, Any] = {"concurrencyPolicy": policy, "deletes": deletes, "deaf": deaf}
    calm = Play(Fault(0), **options)
    await calm.play()
    assert calm.ever_made == Counter(ALL_RUNS)
    assert calm.writes > 3 * len(ALL_RUNS)
    for number, moment, is_crash in itertools.product(
        range(1, calm.writes + 1), ("before", "after"), (False, True)
    ):
        fault = Fault(number, moment, is_crash)
        play = Play(fault, **options)
        await play.play()
        assert play.ever_made == calm.ever_made, fault
        assert (play.status.active, play.status.pending) == (None, None), fault
        assert play.status.runs_started == len(ALL_RUNS), fault
        assert play.status.skipped is None, fault


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_fault_at_each_write_of_both_operators_doubles_nothing(moment: str) -> None:
    class Bad(Play):
        def _interrupt(self, _: str, now: str) -> None:
            self.writes += now == "before"
            if now == moment and self.writes % 2 and self.writes < 40:
                raise CrashError

    play = Bad(Fault(0), deaf=True, deletes=False)
    await play.play()
    assert set(play.ever_made.values()) == {1}
    # A run that was made late may still go on at the next time.
    assert len(play.ever_made) + (play.status.skipped or 0) == len(ALL_RUNS)
