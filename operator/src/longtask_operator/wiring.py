"""The parts of one operator, put together: for `__main__`, and for tests of any tier."""

import asyncio
import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from datetime import UTC, datetime
from typing import Any

from longtask_adapters import tracing, webhooks
from longtask_adapters.kube import informer, kinds
from longtask_adapters.kube.connection import Connection
from longtask_adapters.kube.transport import KubernetesTransport
from longtask_crds import address_guard, effective, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_operator import (
    cluster,
    election,
    health,
    keys,
    metrics,
    mirror,
    pod_watch,
    queues,
    results,
    resync,
    verdicts,
    work_queue,
)
from longtask_operator.rules import pod_spec
from longtask_operator.schedules import reconcile as schedule_passes
from longtask_operator.schedules import roster
from longtask_operator.settings import Settings
from longtask_operator.tasks import (
    announce,
    apply,
    bodies,
    claims,
    courier,
    fetch,
    measure,
    observe,
    reconcile,
)
from longtask_operator.warm import nodes, pool

#: The lane of all schedules.
_SCHEDULES = "schedules"
#: The lane of all types that keep pods waiting.
_TYPES = "types"
#: So many seconds later an operator without the lease looks at schedules. Both would do the same,
#: and one of them in vain; it is there for the case that nobody else does.
SECOND_GO = 2.0


@dataclasses.dataclass
class Parts:
    """What works on tasks and schedules: no loop, no clock of its own."""

    mirror: mirror.Mirror
    callbacks: courier.Courier
    applier: apply.Applier
    reconciler: reconcile.Reconciler
    schedules: schedule_passes.Reconciler
    recorder: queues.Recorder
    verdicts: verdicts.Verdicts
    ahead: pool.Pool
    nodes: nodes.Nodes


def assemble(
    connection: Connection,
    sender: webhooks.Sender,
    *,
    wake: Callable[[Iterable[ObjectKey]], None],
    wake_schedules: Callable[[Iterable[ObjectKey]], None],
    wake_types: Callable[[Iterable[ObjectKey]], None],
    installation: effective.Installation,
    guard: address_guard.Guard,
    surroundings: pod_spec.Surroundings,
    secrets_namespace: str,
    schedule: tuple[int, ...],
    kept: results.Results,
    public_url: str,
    may_admit: Callable[[], bool],
    counted: metrics.Metrics,
    clock: Callable[[], datetime],
    launch: courier.Launch = courier.beside,
    tracer: tracing.Tracer,
) -> Parts:
    """Put the parts together that work on tasks and schedules.

    Args:
        connection: To the API server.
        sender: Sends callbacks.
        wake: Is told which tasks may have something to do because another one changed.
        wake_schedules: Is told the same of schedules.
        wake_types: Is told which types may want pods started ahead, or no more.
        installation: What the installation gives to tasks, and what none may exceed.
        guard: Where callbacks may go.
        surroundings: What each Job gets alike.
        secrets_namespace: The namespace of the Secret with the owners' callback keys.
        schedule: The pause before each try of a callback, in seconds.
        kept: Has the results that are not in the resources.
        public_url: Where users reach the API.
        may_admit: Tells whether tasks may be claimed now.
        counted: The numbers.
        clock: Tells the time, in UTC.
        launch: Has the try of a callback run.
        tracer: Takes spans.
    """
    kubernetes = cluster.Cluster(connection)
    seen = mirror.Mirror(wake)
    ring = keys.KeyRing(connection, secrets_namespace)
    callbacks = courier.Courier(
        sender,
        ring,
        bodies.Bodies(kept, public_url),
        seen.tasks,
        schedule=schedule,
        wake=wake,
        launch=launch,
        clock=clock,
    )
    fetched = fetch.Fetcher(kept)
    applier = apply.Applier(seen, connection, kubernetes, callbacks, fetched, surroundings)
    cordoned = nodes.Nodes(connection)
    ahead = pool.Pool(
        seen,
        kubernetes,
        installation=installation,
        surroundings=surroundings,
        check_secrets=applier.check_secrets,
        cordoned=cordoned,
        may_admit=may_admit,
        wake=wake_types,
        counted=counted,
        clock=clock,
    )
    observer = observe.Observer(
        seen, kubernetes, installation, guard, may_admit, callbacks, fetched, applier.has_claim
    )
    reconciler = reconcile.Reconciler(
        seen,
        kubernetes,
        observer,
        applier,
        announce.Announcer(kubernetes, counted, seen, tracer),
        counted,
        clock,
        claims.Claims(seen, observer, fetched, ahead),
    )
    schedules = schedule_passes.Reconciler(
        seen,
        roster.Roster(seen, wake_schedules),
        kubernetes,
        kept,
        installation,
        guard,
        counted,
        clock,
        wake,
    )
    recorder = queues.Recorder(seen, kubernetes, may_admit)
    said = verdicts.Verdicts(seen, kubernetes, installation, surroundings, may_admit, clock)
    return Parts(seen, callbacks, applier, reconciler, schedules, recorder, said, ahead, cordoned)


def watch_tasks(
    connection: Connection,
    namespace: str,
    seen: mirror.Mirror,
    *,
    hearing: resync.Hearing,
    add: Callable[[ObjectKey], None],
) -> informer.Informer[v1alpha1.LongTask]:
    """Return what keeps the mirror's tasks fresh once it runs.

    Not by kopf: it would decode its first list whole, and hold what its watch brings until each
    object had its turn.

    Args:
        connection: To the API server.
        namespace: Where the tasks are.
        seen: Takes them.
        hearing: Is told what the watch brings.
        add: Is told which tasks are to be looked at.
    """

    def news(key: ObjectKey) -> None:
        # Mostly the echo of the write that it waits came before the answer.
        if not seen.only_waits(key):
            add(key)

    return informer.Informer(
        connection, kinds.TASKS, namespace, cache=seen.tasks, heard=hearing.heard, news=news
    )


def watch_schedules(
    connection: Connection,
    namespace: str,
    seen: mirror.Mirror,
    *,
    hearing: resync.Hearing,
    add: Callable[[ObjectKey], None],
) -> informer.Informer[v1alpha1.LongTaskSchedule]:
    """Return what keeps the mirror's schedules fresh once it runs; as `watch_tasks` does."""
    return informer.Informer(
        connection, kinds.SCHEDULES, namespace, cache=seen.schedules, heard=hearing.heard, news=add
    )


def watch_pods(
    connection: Connection,
    namespace: str,
    parts: Parts,
    *,
    hearing: resync.Hearing,
    add: Callable[[ObjectKey], None],
    clock: Callable[[], datetime],
) -> pod_watch.PodWatch:
    """Return what keeps the mirror's pods fresh once it runs; as `watch_tasks` does."""
    return pod_watch.PodWatch(
        connection,
        namespace,
        parts.mirror,
        parts.ahead,
        heard=hearing.heard,
        add=add,
        clock=clock,
    )


def in_turn(
    look: Callable[[ObjectKey], Awaitable[float | None]], may_admit: Callable[[], bool]
) -> Callable[[ObjectKey], Awaitable[float | None]]:
    """Return passes of schedules after which an operator without the lease waits a little longer.

    Args:
        look: Makes a pass; returns after how many seconds the next one is due, or None.
        may_admit: Tells whether the lease is held.
    """

    async def later(key: ObjectKey) -> float | None:
        again = await look(key)
        # At once is in the middle of something.
        return again if not again or may_admit() else again + SECOND_GO

    return later


class Operator:
    """One operator: `running` connects it, and lets go of everything at the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._health = health.Health()
        self._hearing = resync.Hearing()
        self._queue: work_queue.WorkQueue[ObjectKey] | None = None
        self._schedules: work_queue.WorkQueue[ObjectKey] | None = None
        self._types: work_queue.WorkQueue[ObjectKey] | None = None
        self._admission = election.Admission()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Parts]:
        """Work meanwhile, from when everything was listed; kopf's watches feed the mirror, too."""
        settings, counted = self._settings, metrics.Metrics()
        async with contextlib.AsyncExitStack() as stack:
            tracer = tracing.tracer_of("longtask-operator", settings.otlp_endpoint)
            stack.push_async_callback(asyncio.to_thread, tracer.close)
            transport = await stack.enter_async_context(KubernetesTransport.connect())
            connection = Connection(transport, user_agent=cluster.USER_AGENT)
            sender = webhooks.HttpSender(
                settings.guard, count=lambda what: counted.callback_tries.labels(what).inc()
            )
            stack.push_async_callback(sender.close)
            kept = results.ApiResults(settings.runner_api_url, settings.api_token_file)
            stack.push_async_callback(kept.aclose)
            admission = self._admission
            counted.is_admitting.set_function(admission.may_admit)
            candidate = election.Election(
                # Of its own: a renewal must not wait until other writes are done.
                Connection(transport, user_agent=cluster.USER_AGENT),
                settings.namespace,
                f"{settings.pod_name}_{uuid.uuid4()}",
                admission=admission,
                counted=counted,
            )
            parts = assemble(
                connection,
                sender,
                wake=self._wake,
                wake_schedules=self._wake_schedules,
                wake_types=self._wake_types,
                installation=settings.installation,
                guard=settings.guard,
                surroundings=settings.surroundings,
                secrets_namespace=settings.secrets_namespace,
                schedule=settings.callback_schedule,
                kept=kept,
                public_url=settings.public_url,
                may_admit=admission.may_admit,
                counted=counted,
                clock=_now,
                tracer=tracer,
            )
            counted.callbacks_under_way.set_function(parts.callbacks.under_way)
            counted.watch_queues(lambda: measure.lines(parts.mirror, _now()))
            self._queue = work_queue.WorkQueue(
                parts.reconciler.reconcile, parts.mirror.lane_of, parts.mirror.told
            )
            self._schedules = work_queue.WorkQueue(
                in_turn(parts.schedules.reconcile, admission.may_admit),
                # Those that are due in the same second hold up nobody but each other.
                lambda _: _SCHEDULES,
                lambda key: {"schedule": str(key)},
            )
            self._types = work_queue.WorkQueue(
                parts.ahead.reconcile,
                lambda _: _TYPES,
                lambda key: {"type": str(key)},
            )
            server = health.HealthServer(self._health, counted, self._queue.depth)
            stack.push_async_callback(server.stop)
            # In this order at the end: nothing is claimed, what is on its way comes to its end and
            # is recorded, and another operator may go on.
            stack.push_async_callback(candidate.let_go)
            stack.push_async_callback(self._queue.close)
            stack.push_async_callback(self._schedules.close)
            stack.push_async_callback(self._types.close)
            stack.push_async_callback(parts.callbacks.close)
            stack.callback(admission.give_up)
            tasks = watch_tasks(
                connection,
                settings.namespace,
                parts.mirror,
                hearing=self._hearing,
                add=self._add,
            )
            schedules = watch_schedules(
                connection,
                settings.namespace,
                parts.mirror,
                hearing=self._hearing,
                add=self.add_schedule,
            )
            watched_pods = watch_pods(
                connection,
                settings.namespace,
                parts,
                hearing=self._hearing,
                add=self._add,
                clock=_now,
            )
            counted.watch_silence.set_function(tasks.silent_for)
            lister = resync.Resync(
                parts.mirror,
                connection,
                settings.namespace,
                state=self._health,
                hearing=self._hearing,
                tasks=tasks,
                schedules=schedules,
                watched_pods=watched_pods,
                admission=admission,
                counted=counted,
                add=self._add,
                look_at_schedules=lambda: self._wake_schedules(parts.schedules.to_look_at()),
                clock=_now,
                ahead=parts.ahead,
            )
            await _start(stack, self._health.beat())
            # Before the first lists: those made without the lease would have to be made again.
            await candidate.once()
            await _start(stack, candidate.run())
            await _start(stack, lister.run(settings.resync_seconds))
            for watch in (tasks, schedules, watched_pods):
                await _start(stack, watch.run_once_listed())
            await _start(stack, parts.recorder.run())
            await _start(stack, parts.verdicts.run())
            await _start(stack, parts.nodes.run())
            await server.start(health_port=settings.health_port, metrics_port=settings.metrics_port)
            yield parts

    def _add(self, key: ObjectKey) -> None:
        """Have a task looked at."""
        # Before everything was listed, a Job or a pod may be there that we do not see.
        if self._queue is not None and self._health.resynced_at is not None:
            self._queue.add(key)

    def add_schedule(self, key: ObjectKey) -> None:
        """Have a schedule looked at."""
        if self._schedules is None or self._health.resynced_at is None:
            return
        if self._admission.may_admit():
            self._schedules.add(key)
        else:
            self._schedules.add_after(key, SECOND_GO)

    def _wake_schedules(self, schedules: Iterable[ObjectKey]) -> None:
        for key in schedules:
            self.add_schedule(key)

    def _wake_types(self, types: Iterable[ObjectKey]) -> None:
        for key in types:
            # Before everything was listed, what waits is not known.
            if self._types is not None and self._health.resynced_at is not None:
                self._types.add(key)

    def _wake(self, tasks: Iterable[ObjectKey]) -> None:
        for key in tasks:
            self._add(key)


async def _start(stack: contextlib.AsyncExitStack, loop: Coroutine[Any, Any, None]) -> None:
    """Run a loop until the stack is left."""

    async def stop() -> None:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    running = asyncio.create_task(loop)
    stack.push_async_callback(stop)


def _now() -> datetime:
    return datetime.now(UTC)
