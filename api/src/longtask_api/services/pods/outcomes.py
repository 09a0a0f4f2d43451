"""Takes what programs say last: how they end, just before they do."""

import asyncio
import dataclasses
import logging
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from longtask_adapters import logs
from longtask_adapters.kube import errors as kube
from longtask_api import errors, metrics
from longtask_api.services.pods.reporters import Program, Reporters
from longtask_api.stores.resources import Resources, program
from longtask_crds import json_values, last_words, runner_contract, v1alpha1
from longtask_crds.pipeline import runs

_logger = logging.getLogger(__name__)

#: How often a task is looked at that is written to by others meanwhile.
_LOOKS: Final = 5


@dataclasses.dataclass(frozen=True)
class Said:
    """How a program says that it ends."""

    exit_code: int
    result: Any = None
    message: str | None = None


class OutcomeService:
    """Records how programs say that they end; what follows from it is the operator's."""

    def __init__(
        self,
        resources: Resources,
        reporters: Reporters,
        counted: metrics.Metrics,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._resources = resources
        self._reporters = reporters
        self._metrics = counted
        self._clock = clock
        #: By the task's uid: its programs say so one after the other. Those that began at the same
        #: time end at the same time, and of ten writes for one version nine would be refused.
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def take(self, token: str, said: Said) -> datetime:
        """Record how the program of a pod says that it ends; return when it was taken.

        The same again is answered the same, also when the operator has made an end of it.

        Args:
            token: The pod's.
            said: What it says.

        Raises:
            Unauthenticated: The token is no report token of a pod of a task.
            Clash: The pod is not that of the task's running attempt, or no longer; somebody asked
                for its end before; it fails while its pod is being deleted; or it has said
                otherwise.
            TooLarge: The resource has no place for its result until others are taken.
        """
        try:
            report, is_new = await self._take(token, said)
        except errors.Clash:
            repeated = await self._repeated(token, said)
            if repeated is None:
                self._metrics.outcomes.labels("refused").inc()
                raise
            report, is_new = repeated, False
        self._metrics.outcomes.labels("taken" if is_new else "repeated").inc()
        return report.reported_at

    async def _take(self, token: str, said: Said) -> tuple[v1alpha1.Report, bool]:
        uid = (await self._reporters.program_of(token)).task.metadata.uid
        turn = self._turns.setdefault(uid, asyncio.Lock())
        async with turn:
            return await self._take_in_turn(token, said)

    async def _take_in_turn(self, token: str, said: Said) -> tuple[v1alpha1.Report, bool]:
        found = await self._reporters.program_of(token)
        for _ in range(_LOOKS):
            seen = program(found.task, found.run)
            report = self._report(found, seen, said)
            if (before := last_words.taken(seen)) is not None:
                if last_words.is_same(before, report):
                    return before, False
                raise errors.Clash("The program has said otherwise how it ends.")
            if (refusal := last_words.refusal(found.task, found.run)) is not None:
                raise errors.Clash(refusal)
            # Kubernetes tells a pod that it is deleted before it tells its program to end. So what
            # is stored of a failure is the program's own doing, whatever becomes of its pod.
            if said.exit_code and await self._reporters.is_deleted(found):
                raise errors.Clash("The pod is being deleted: of that its own end tells.")
            _check_room(found.task, found.run, report)
            try:
                await self._resources.write_outcome(found.task, report, run=found.run)
            except kube.Conflict:
                # What is known of it is old, or a report of progress was written.
                found = await self._reporters.current_program_of(token)
                continue
            except (kube.NotFound, kube.Rejected) as error:
                raise errors.Clash("The pod's attempt is over.") from error
            told = {"attempt": found.attempt, "step": found.run, "exit_code": said.exit_code}
            _logger.info("Took a program's last report", extra=logs.of_task(found.task) | told)
            return report, True
        raise errors.Unavailable("The task is being changed too often.")

    async def _repeated(self, token: str, said: Said) -> v1alpha1.Report | None:
        """Return the report by which the pod's attempt has ended, if it said the same."""
        try:
            found = await self._reporters.past_program_of(token)
        except errors.Clash:
            return None
        seen = program(found.task, found.run)
        return last_words.ended_by(seen, self._report(found, seen, said))

    def _report(self, found: Program, seen: v1alpha1.LongTask, said: Said) -> v1alpha1.Report:
        result = None
        if said.exit_code == 0:
            uploaded = seen.status.result
            is_elsewhere = uploaded is not None and uploaded.ref is not None
            brings = v1alpha1.Result(value=said.result)
            result = uploaded if is_elsewhere and said.result is None else brings
        return v1alpha1.Report(
            attempt=found.attempt,
            pod_name=found.pod.name,
            pod_uid=found.pod_uid,
            exit_code=said.exit_code,
            result=result,
            message=said.message,
            reported_at=self._clock(),
        )


def _check_room(task: v1alpha1.LongTask, run: str, report: v1alpha1.Report) -> None:
    """Let the reports of a pipeline's programs fit into its resource together."""
    if not run:
        return
    waiting = [one.report for _, one in runs.statuses(task.status) if one.report is not None]
    limit = runner_contract.REPORTS_LIMIT
    if sum(json_values.size(one.to_json()) for one in (*waiting, report)) > limit:
        raise errors.TooLarge(
            f"What the steps say of their ends has more than {limit} bytes of JSON for now."
        )
