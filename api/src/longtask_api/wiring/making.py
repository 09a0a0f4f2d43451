"""Everything is made, started, and ended in the right order."""

import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

from longtask_adapters import tracing, webhooks
from longtask_adapters.kube.connection import Connection
from longtask_adapters.kube.transport import Transport
from longtask_api.auth.passwords import Passwords
from longtask_api.cluster import Cluster
from longtask_api.http import limits
from longtask_api.hub import Hub
from longtask_api.mail import smtp
from longtask_api.metrics import Metrics
from longtask_api.openings import Openings
from longtask_api.services import (
    allowances,
    audit,
    boards,
    callback_keys,
    compositions,
    deliveries,
    health,
    notices,
    queues,
    results,
    streams,
    subscriptions,
    trends,
    trials,
    types,
)
from longtask_api.services.accounts import local_tokens, own
from longtask_api.services.accounts.admin import AdminService
from longtask_api.services.pods import handovers, outcomes, progress, reporters
from longtask_api.services.rules import Rules
from longtask_api.services.schedules.runs import RunService
from longtask_api.services.schedules.service import ScheduleService
from longtask_api.services.tasks.changing import ChangeService
from longtask_api.services.tasks.logs import MOST_OPEN, START_PATIENCE, LogService
from longtask_api.services.tasks.showing import TaskService
from longtask_api.services.tasks.taking import OrderService
from longtask_api.settings import Settings
from longtask_api.stores.archive import Archive
from longtask_api.stores.audit import Audit
from longtask_api.stores.blobs import Blobs
from longtask_api.stores.ends import Ends
from longtask_api.stores.ledger import Ledger
from longtask_api.stores.log_tails import LogTails
from longtask_api.stores.users import Users
from longtask_api.wiring import choices
from longtask_api.wiring.services import Services
from longtask_api.wiring.tellers import Tellers
from longtask_api.wiring.watched import Watched
from longtask_api.workers import archiver, auditor, onlooker, recorder, sweeper
from longtask_api.workers.supervisor import Supervisor

#: A request each: more than one replica has under way while the API server answers in time.
_WRITES_AT_ONCE = 100


@contextlib.asynccontextmanager
async def running(
    transport: Transport,
    settings: Settings,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    start_patience: float = START_PATIENCE,
    stream_pace: streams.Pace = streams.USUAL,
    sender: webhooks.Sender | None = None,
    door: smtp.Door | None = None,
    tracer: tracing.Tracer | None = None,
) -> AsyncIterator[Services]:
    """Make the services and keep their caches fresh; at the end write what is still to be written.

    Args:
        transport: Carries requests to the API server.
        settings: What the installation says.
        clock: Returns the time.
        sender: Sends to the receivers that are tried; over HTTP when absent.
        stream_pace: How often streams do what nobody asks for.
        door: Takes mails; as the settings say when absent.
        tracer: Takes spans of requests; when absent nothing does.
        start_patience: For how many seconds a follower of a log waits for the program's start.
    """
    connection = Connection(transport, user_agent="longtask-api", writes_at_once=_WRITES_AT_ONCE)
    cluster = Cluster(connection)
    metrics = Metrics()
    beside_tasks = onlooker.Onlooker(onlooker.of_task, clock=clock)
    beside_schedules = onlooker.Onlooker(onlooker.of_schedule, clock=clock)
    async with contextlib.AsyncExitStack() as stack:
        database = await stack.enter_async_context(choices.database(settings.database(), metrics))
        blobs = Blobs(database, clock=clock)
        users = Users(database)
        ledger = Ledger(database, clock=clock)
        tokens = local_tokens.LocalTokens(users, clock=clock)
        passwords = stack.enter_context(contextlib.closing(Passwords()))
        bearers = await stack.enter_async_context(choices.bearers(settings, cluster, tokens))
        tails = LogTails(blobs)
        watched = Watched.of(
            connection,
            cluster,
            Archive(database),
            namespace=settings.namespace,
            tasks_shown_to=beside_tasks.shown,
            schedules_shown_to=beside_schedules.shown,
            clock=clock,
        )
        resources, lines = watched.resources, watched.lines
        limiter = limits.Limiter(choices.rates(settings))
        reporting = reporters.Reporters(
            resources,
            cluster,
            namespace=settings.namespace,
            limiter=limiter,
            operator_account=settings.operator_account,
        )
        of_results = results.ResultService(resources, reporting, blobs, limit=settings.result_limit)
        written = progress.ProgressWriter(resources, metrics, clock=clock)
        stack.push_async_callback(written.close)
        handed_over = handovers.Handovers(resources, reporting, of_results, written, clock=clock)
        stack.push_async_callback(handed_over.close)
        # After the resources, which know by then which task names a pod.
        watched.tasks.cache.on_change(handed_over.task_changed)
        of_ends = outcomes.OutcomeService(resources, reporting, metrics, clock=clock)
        to_subscriptions = sender
        if to_subscriptions is None:
            to_subscriptions = await stack.enter_async_context(
                choices.sending(
                    settings.guard, count=lambda what: metrics.webhooks.labels(what).inc()
                )
            )
        if sender is None:
            # One trial after the other may fail: it is made to see why.
            sender = await stack.enter_async_context(choices.sending(settings.guard, pause=0))
        keys = callback_keys.CallbackKeys(
            cluster, resources.catalogue, namespace=settings.secrets_namespace, clock=clock
        )
        rules = Rules(installation=settings.installation, guard=settings.guard)
        of_tasks = TaskService(resources, lines, clock=clock, path_prefix=settings.path_prefix)
        changes = ChangeService(resources, lines, of_tasks, clock=clock)
        orders = OrderService(
            resources,
            watched.of_schedules,
            of_tasks,
            rules=rules,
            allowances=allowances.Allowances(
                resources.catalogue,
                active=settings.active_tasks_per_owner,
                stored=settings.stored_tasks_per_owner,
            ),
            clock=clock,
        )
        supervisor = await stack.enter_async_context(Supervisor())
        recorded = recorder.Recorder(
            cluster, tails, metrics, clock=clock, several=database.is_shared
        )
        archived = archiver.Archiver(
            resources, lines, cluster, recorded, metrics, stay=choices.stay(settings), clock=clock
        )
        metrics.watch_archive(
            overdue=archived.overdue, is_away=lambda: archived.trouble is not None
        )
        hub = Hub(resources, lines, most=settings.streams_per_caller)
        watched.tasks.follower = hub
        opener = streams.StreamService(hub, resources, lines, of_tasks, pace=stream_pace)
        tellers = Tellers.of(
            settings,
            database,
            cluster,
            watched,
            blobs,
            ledger,
            keys,
            metrics,
            sender=to_subscriptions,
            door=door,
            clock=clock,
        )
        for listener in (recorded.notice, archived.notice, hub.changed, tellers.teller.notice):
            watched.tasks.cache.on_change(listener)
        written_down = Audit(database)
        audited = auditor.Auditor(written_down, metrics, clock=clock)
        beside_tasks.tell(audited.keep)
        watched.tasks.cache.on_change(beside_tasks.changed)
        beside_schedules.tell(audited.keep)
        watched.schedules.cache.on_change(beside_schedules.changed)
        swept = sweeper.Sweeper(
            resources,
            blobs,
            users,
            written_down,
            ledger,
            metrics,
            keys.forget,
            keep=timedelta(days=settings.archive_days),
            keep_audit=timedelta(days=settings.audit_days),
            clock=clock,
        )
        supervisor.start("the recorder of logs", recorded.run())
        supervisor.start("the archiver", archived.run())
        supervisor.start("the auditor", audited.run())
        supervisor.start("the sweeper", swept.run())
        tellers.start(supervisor)
        for informer in watched.informers:
            supervisor.start(f"the watch of {informer.kind.plural}", informer.run())
            metrics.watch_cache(informer)
        yield Services(
            credentials=bearers,
            browsers=choices.known_browsers(settings),
            accounts=own.AccountService(
                users, tokens, passwords, rules=choices.account_rules(settings), clock=clock
            ),
            admin=AdminService(users, tokens, passwords, keys, clock=clock),
            audit=audit.AuditService(written_down),
            auditor=audited,
            limiter=limiter,
            health=health.Health(
                watched.informers, ended=supervisor.ended, ails=lambda: archived.trouble
            ),
            notices=notices.NoticeService(
                ledger,
                tellers.wishes,
                tellers.link_key,
                tellers.writer,
                wishes_changed=tellers.addressees.refresh,
                noted=tellers.mailer.wake,
                code_asked=limiter.take_code,
                clock=clock,
            ),
            tasks=of_tasks,
            orders=orders,
            changes=changes,
            queues=queues.QueueService(
                resources, lines, clock=clock, path_prefix=settings.path_prefix
            ),
            types=types.TypeService(resources),
            logs=LogService(
                resources,
                cluster,
                tails,
                Openings("logs", of_caller=settings.logs_per_caller, in_all=MOST_OPEN),
                start_patience=start_patience,
            ),
            keys=keys,
            deliveries=deliveries.DeliveryService(resources, of_tasks, changes, clock=clock),
            trends=trends.TrendService(resources, Ends(database)),
            trials=trials.Trials(sender, settings.guard, keys, clock=clock),
            reporters=reporting,
            handovers=handed_over,
            progress=written,
            outcomes=of_ends,
            results=of_results,
            schedules=ScheduleService(
                watched.of_schedules,
                resources,
                rules=rules,
                allowance=allowances.ScheduleAllowance(
                    watched.of_schedules.of_owner, most=settings.schedules_per_owner
                ),
                clock=clock,
                path_prefix=settings.path_prefix,
            ),
            schedule_runs=RunService(
                watched.of_schedules, resources, lines, of_results, path_prefix=settings.path_prefix
            ),
            composer=compositions.Composer(of_results, blobs),
            hub=hub,
            subscriptions=subscriptions.SubscriptionService(
                tellers.subscriptions,
                ledger,
                settings.guard,
                learn=tellers.subscribers.learn,
                clock=clock,
            ),
            streams=opener,
            boards=boards.Boards(hub, opener, stream_pace=stream_pace),
            resources=resources,
            lines=lines,
            database=database,
            metrics=metrics,
            tracer=tracer or tracing.NoTracer(),
            clock=clock,
            public_url=settings.public_url,
        )
