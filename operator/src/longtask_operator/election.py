"""Several operators may run side by side: only the one that holds the lease lets tasks start.

All of them watch, make Jobs and call back: each write of theirs is guarded. But how many tasks run
can only be bounded by one that counts them. Who does not hold the lease is ready all the same.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from longtask_adapters.kube import errors, leases
from longtask_adapters.kube.connection import Connection
from longtask_crds import names
from longtask_operator import metrics
from longtask_operator.rules import lease

_logger = logging.getLogger(__name__)

#: How long one step may take, in seconds: when it fails there is time for another one.
_STEP_SECONDS = lease.RENEW_DEADLINE / 2
#: What a lease that was let go says of the time that its holder has; it cannot be 0.
_LET_GO_SECONDS = 1


class Admission:
    """Tells whether this process may let tasks start: to be asked at the very moment.

    It may while it holds the lease, from when it has listed everything since it got it: what the
    holder before it has claimed is counted by then. The lease lapses by the clock alone, so that
    one who was frozen may no more, before any loop of its own has run.

    Args:
        clock: Tells seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.terms = 0  #: how often this process got the lease
        self.gained = asyncio.Event()  #: it got the lease: everything is to be listed
        self._until = -math.inf
        self._listed_in = 0  #: the term in which the last complete list was begun

    def may_admit(self) -> bool:
        """Tell whether a task may be claimed now."""
        return self.clock() < self._until and self._listed_in == self.terms

    def hold(self, *, until: float) -> None:
        """Hold the lease up to that time of the clock."""
        if self.clock() >= self._until:
            # Somebody else may have held it since.
            self.terms += 1
            self.gained.set()
        self._until = until

    def give_up(self) -> None:
        """Hold the lease no more."""
        self._until = -math.inf

    @contextlib.contextmanager
    def catching_up(self) -> Iterator[None]:
        """List everything meanwhile; what is raised says that it was not all."""
        self.gained.clear()
        term = self.terms
        yield
        self._listed_in = term


class Election:
    """Stands for the lease, for ever.

    Args:
        connection: To the API server; no other writes of ours should have to be waited for on it.
        namespace: Where the tasks are, and the lease.
        name: Ours, which no other process ever had.
        admission: Is told whether the lease is held.
        counted: The numbers.
    """

    def __init__(
        self,
        connection: Connection,
        namespace: str,
        name: str,
        *,
        admission: Admission,
        counted: metrics.Metrics,
    ) -> None:
        self._connection = connection
        self._key = names.ObjectKey(namespace, names.ADMISSION_LEASE)
        self._name = name
        self._admission = admission
        self._metrics = counted
        self._stored: leases.Lease | None = None
        self._seen: lease.Seen | None = None
        self._is_known = False  #: what is stored is what we wrote last, or we shall hear of it

    async def run(self) -> None:
        """Take one step after the other."""
        while True:
            pause = await self.once()
            await asyncio.sleep(pause)

    async def once(self) -> float:
        """Take the next step; return after how many seconds the following one is due."""
        terms = self._admission.terms
        try:
            async with asyncio.timeout(_STEP_SECONDS):
                pause = await self._step()
        except Exception as error:
            # Whatever it is, without a further step no task would ever start again.
            self._is_known = False
            unknown = not isinstance(error, errors.ClusterError | TimeoutError)
            _logger.warning("Could not look after the lease", extra=_told(error), exc_info=unknown)
            return lease.RETRY_PERIOD
        if self._admission.terms != terms:
            self._metrics.terms.inc()
            _logger.info("Got the lease", extra={"lease": str(self._key), "holder": self._name})
        return pause

    async def let_go(self) -> None:
        """Leave the lease to whoever wants it; no claim of ours may be on its way any more."""
        self._admission.give_up()
        try:
            async with asyncio.timeout(_STEP_SECONDS):
                # The last renewal may have been cut off: whether it was done is not known.
                self._note(await leases.read(self._connection, self._key))
                if self._stored is not None and self._stored.holder == self._name:
                    await self._write("", _LET_GO_SECONDS)
        except (errors.ClusterError, TimeoutError) as error:
            # The others take it when its time is up.
            _logger.warning("Could not let the lease go", extra=_told(error))

    async def _step(self) -> float:
        if not self._is_known:
            self._note(await leases.read(self._connection, self._key))
        match lease.next_step(self._seen, self._name, now=self._admission.clock()):
            case lease.Wait(until):
                self._admission.give_up()
                return min(lease.RETRY_PERIOD, until - self._admission.clock())
            case lease.Acquire() | lease.Renew():
                began = self._admission.clock()
                self._note(await self._write(self._name, lease.DURATION))
                self._is_known = True
                self._admission.hold(until=lease.held_until(began))
                return lease.RETRY_PERIOD

    async def _write(self, holder: str, seconds: int) -> leases.Lease:
        return await leases.take(
            self._connection,
            self._key,
            self._stored,
            holder=holder,
            seconds=seconds,
            now=datetime.now(UTC),
        )

    def _note(self, stored: leases.Lease | None) -> None:
        """Take note of the lease as it was stored just now, None if there is none."""
        before, self._stored, self._seen = self._seen, stored, None
        if stored is not None:
            # By the clock after the answer: it must not seem older than it is.
            now = self._admission.clock()
            self._seen = lease.Seen(stored.holder, stored.version, stored.seconds, now)
            self._seen = before.again(self._seen) if before else self._seen


def _told(error: BaseException) -> dict[str, str]:
    return {"cause": str(error) or type(error).__name__}
