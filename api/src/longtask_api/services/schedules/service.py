"""What the API does with schedules: make, look at, change, start runs by hand, delete."""

import dataclasses
import itertools
import logging
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from longtask_adapters.kube import errors as kube
from longtask_adapters.kube.cache import key_of
from longtask_api import deeds, errors
from longtask_api.auth import callers
from longtask_api.services import acting, cursors, idempotency
from longtask_api.services.allowances import ScheduleAllowance
from longtask_api.services.rules import Rules
from longtask_api.services.schedules import orders
from longtask_api.stores.resources import Resources, owner_of
from longtask_api.stores.schedules import Schedules
from longtask_client import models
from longtask_client.shown import schedules as shown
from longtask_crds import acceptance, v1alpha1
from longtask_crds.schedule import runs, times

_logger = logging.getLogger(__name__)

#: How often a schedule is looked at that is written to by others meanwhile: the operator, mostly.
_LOOKS: Final = 5
_SHOWN_TIMES: Final = 3
_SECOND: Final = timedelta(seconds=1)


@dataclasses.dataclass(frozen=True)
class Made:
    """A schedule after a request to make it, and whether the request did."""

    schedule: v1alpha1.LongTaskSchedule
    is_new: bool


class ScheduleService:
    """All that callers do with schedules; whoever may not see one finds nothing there."""

    def __init__(
        self,
        schedules: Schedules,
        resources: Resources,
        *,
        rules: Rules,
        allowance: ScheduleAllowance,
        clock: Callable[[], datetime],
        path_prefix: str = "",
    ) -> None:
        """Serve what the resources hold.

        Args:
            schedules: Where schedules are.
            resources: What their runs stand on, and the runs.
            rules: What every run must keep to.
            allowance: How many schedules somebody may have.
            clock: Returns the time.
            path_prefix: The path under which the API is published: links begin with it.
        """
        self._schedules = schedules
        self._resources = resources
        self._rules = rules
        self._allowance = allowance
        self._clock = clock
        self._path_prefix = path_prefix

    async def create(
        self, caller: callers.Caller, document: Any, *, header_key: str | None
    ) -> Made:
        """Store a new schedule; or find the one that the same request made before.

        Raises:
            Invalid: The order is wrong; nothing is stored.
            Clash: There is another of that name.
            TooManyRequests: The caller has as many schedules as they may.
        """
        order = orders.parse(document)
        digest = orders.request_hash(order, header_key, caller=caller.subject)
        if digest is not None:
            there = await self._schedules.look(order.name)
            if there is not None:
                return _same(caller, there, digest)
        await self._check(order)
        body = orders.resource(order, caller=caller, request_hash=digest)
        try:
            with self._allowance.one_more(caller, self._schedules.key(order.name)):
                made = await self._schedules.create(body)
        except kube.AlreadyExists as error:
            there = await self._schedules.look(order.name)
            if there is None:
                raise errors.Unavailable("A schedule of that name is going away.") from error
            return _same(caller, there, digest)
        _note(made)
        _logger.info("Created schedule", extra=_by(caller, made))
        return Made(made, is_new=True)

    async def get(self, caller: callers.Caller, name: str) -> v1alpha1.LongTaskSchedule:
        """Return the schedule.

        Raises:
            Missing: There is none of that name.
        """
        return await self._schedules.seen(caller, name)

    def page(
        self, caller: callers.Caller, *, owner: str | None, limit: int, cursor: str | None
    ) -> models.SchedulePage:
        """Return one page of the schedules that the caller may see, by name.

        Raises:
            Malformed: The cursor is none of ours, or of another list.
        """
        mark = cursors.mark_of("schedules", owner)
        after = "" if cursor is None else cursors.decode(cursor, mark, _is_name)[0]
        found = sorted(
            (
                one
                for one in self._schedules.all_seen(caller)
                if one.metadata.name > after and owner in (None, owner_of(one))
            ),
            key=lambda one: one.metadata.name,
        )
        there, rest = found[:limit], found[limit:]
        more = cursors.encode([there[-1].metadata.name], mark) if rest else None
        return models.SchedulePage(items=[self.view(one) for one in there], next_cursor=more)

    async def change(
        self,
        caller: callers.Caller,
        name: str,
        document: Any,
        *,
        known: Collection[str] | None = None,
    ) -> v1alpha1.LongTaskSchedule:
        """Change fields of the schedule's spec.

        Args:
            caller: Who asks.
            name: The schedule's name.
            document: The change, a JSON Merge Patch.
            known: The versions of it that the caller has seen; None for any.

        Raises:
            Invalid: The change is wrong, or what it makes of the schedule.
            Missing: There is none of that name.
            Stale: It has another version by now.
        """

        async def change(schedule: v1alpha1.LongTaskSchedule) -> v1alpha1.LongTaskSchedule:
            await self._check(orders.changed(schedule, document))
            return await self._schedules.patch(schedule, {"spec": document})

        return await self._done("Changed schedule", caller, name, change, known)

    async def suspend(
        self,
        caller: callers.Caller,
        name: str,
        *,
        suspended: bool,
        known: Collection[str] | None = None,
    ) -> v1alpha1.LongTaskSchedule:
        """Let the schedule start no runs from now on, or let it start them again.

        Raises:
            Missing: There is none of that name.
            Stale: It has another version by now.
        """

        async def suspend(schedule: v1alpha1.LongTaskSchedule) -> v1alpha1.LongTaskSchedule:
            patch = {"spec": {"suspend": suspended}}
            return await self._schedules.patch(schedule, patch)

        done = "Paused schedule" if suspended else "Resumed schedule"
        return await self._done(done, caller, name, suspend, known)

    async def reset(self, caller: callers.Caller, name: str) -> v1alpha1.LongTaskSchedule:
        """Forget the schedule's failures, and let it go on.

        Raises:
            Missing: There is none of that name.
        """

        async def reset(schedule: v1alpha1.LongTaskSchedule) -> v1alpha1.LongTaskSchedule:
            # Whatever our clock says: what is not later than the last one is no news.
            last = schedule.status.reset_at
            at = max(self._now(), last + _SECOND) if last else self._now()
            return await self._schedules.patch(
                schedule, orders.reset(caller.name or caller.subject, at)
            )

        return await self._done("Reset failures of schedule", caller, name, reset)

    async def trigger(self, caller: callers.Caller, name: str) -> models.RunAsked:
        """Ask for a run now, whatever the schedule says.

        Raises:
            Missing: There is none of that name.
            Clash: It is not accepted, or too many runs are asked for.
        """
        (asked,) = (await self._ask(caller, name, lambda _: [self._now()])).items
        return asked

    async def backfill(
        self, caller: callers.Caller, name: str, *, since: datetime, until: datetime
    ) -> models.RunsAsked:
        """Ask for a run of each time that was due in a range.

        Args:
            caller: Who asks.
            name: The schedule's name.
            since: From this time on,
            until: to before this one.

        Raises:
            Invalid: The range ends before it begins or after now, or more are due in it than one
                request may ask for.
            Missing: There is none of that name.
            Clash: It is not accepted, or too many runs are asked for.
        """
        if until < since:
            raise _invalid("to", "it is before `from`")
        if until > self._now() + _SECOND:
            raise _invalid("to", "it is not past yet: what comes, the schedule starts by itself")

        def due(schedule: v1alpha1.LongTaskSchedule) -> list[datetime]:
            try:
                named = times.Times.of(schedule)
            except times.Unreadable as error:
                raise errors.Clash(f"The schedule names no times: {error.message}.") from error
            found = named.between(since - _SECOND, until - _SECOND, runs.MOST_ASKED + 1)
            if len(found) > runs.MOST_ASKED:
                raise _invalid("to", f"more than {runs.MOST_ASKED} times are due before it")
            return found

        return await self._ask(caller, name, due)

    async def delete(
        self, caller: callers.Caller, name: str, *, known: Collection[str] | None = None
    ) -> None:
        """Delete the schedule, and with it the runs that Kubernetes has; the archive stays.

        Raises:
            Missing: There is none of that name.
            Stale: It has another version by now.
        """

        async def delete(schedule: v1alpha1.LongTaskSchedule) -> v1alpha1.LongTaskSchedule:
            await self._schedules.delete(schedule, unchanged=known is not None)
            return schedule

        await self._done("Deleted schedule", caller, name, delete, known)

    def view(self, schedule: v1alpha1.LongTaskSchedule) -> models.ScheduleView:
        """Return the schedule as the API shows it now."""
        return shown.schedule(
            schedule,
            prefix=self._path_prefix,
            next_runs=self._next_runs(schedule),
            task_of=lambda name: self._resources.cached_task(self._resources.key(name)),
        )

    def _next_runs(self, schedule: v1alpha1.LongTaskSchedule) -> list[datetime] | None:
        """Return the next times of a schedule that the operator has not seen as it is."""
        if shown.is_seen(schedule):
            return None
        if shown.is_suspended(schedule):
            return []
        try:
            named = times.Times.of(schedule)
        except times.Unreadable:
            return []
        return list(itertools.islice(named.after(self._now()), _SHOWN_TIMES))

    async def _check(self, order: models.ScheduleOrder) -> None:
        types = await self._resources.find_types(orders.types_of(order))
        found = orders.check(
            order,
            types=types,
            installation=self._rules.installation,
            guard=self._rules.guard,
            now=self._now(),
        )
        queue, pointer = orders.queue_of(order, types)
        if await self._resources.find_queue(queue) is None:
            found.append(errors.finding(pointer, f"there is no queue {queue}"))
        if found:
            raise errors.Invalid(errors=found[: acceptance.MAX_FINDINGS])

    async def _ask(
        self,
        caller: callers.Caller,
        name: str,
        due: Callable[[v1alpha1.LongTaskSchedule], list[datetime]],
    ) -> models.RunsAsked:
        """Ask the operator for runs; return them."""
        asked: list[datetime] = []

        async def ask(schedule: v1alpha1.LongTaskSchedule) -> v1alpha1.LongTaskSchedule:
            if (refusal := shown.refusal(schedule)) is not None:
                raise errors.Clash(refusal)
            asked[:] = due(schedule)
            try:
                patch = runs.asking_for(schedule, asked)
            except runs.TooManyAsked as error:
                raise errors.Clash(str(error)) from error
            return await self._schedules.patch(schedule, patch) if asked else schedule

        await self._done("Asked schedule for runs", caller, name, ask)
        prefix = self._path_prefix
        return models.RunsAsked(items=[shown.run_asked(name, at, prefix=prefix) for at in asked])

    async def _done(
        self,
        what: str,
        caller: callers.Caller,
        name: str,
        act: Callable[[v1alpha1.LongTaskSchedule], Awaitable[v1alpha1.LongTaskSchedule]],
        known: Collection[str] | None = None,
    ) -> v1alpha1.LongTaskSchedule:
        """Act on the schedule that the caller sees; look again if it has changed by then."""

        async def look() -> v1alpha1.LongTaskSchedule:
            return await self.get(caller, name)

        schedule = await acting.on_what_is_there(
            look, act, what="schedule", looks=_LOOKS, known=known
        )
        _note(schedule)
        _logger.info(what, extra=_by(caller, schedule))
        return schedule

    def _now(self) -> datetime:
        """Return the time, in whole seconds: Kubernetes knows no less."""
        return self._clock().astimezone(UTC).replace(microsecond=0)


def _same(caller: callers.Caller, there: v1alpha1.LongTaskSchedule, digest: str | None) -> Made:
    """Return the schedule that has the name already, if this is the request that made it."""
    idempotency.check_same(caller, there, digest, what="schedule")
    return Made(there, is_new=False)


def _invalid(parameter: str, detail: str) -> errors.Invalid:
    return errors.Invalid(errors=[errors.outside(models.Place.QUERY, parameter, detail)])


def _is_name(key: cursors.Key) -> bool:
    return [type(part) for part in key] == [str]


def _note(schedule: v1alpha1.LongTaskSchedule) -> None:
    """Say for the audit which schedule something was done to."""
    deeds.to(schedule.metadata.name, schedule.metadata.uid)


def _by(caller: callers.Caller, schedule: v1alpha1.LongTaskSchedule) -> dict[str, object]:
    """Return what a line of the log says of a change: of what, and by whom."""
    return {"schedule": str(key_of(schedule)), "by": caller.name}
