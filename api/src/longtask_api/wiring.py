"""Everything behind the endpoints: made once, started, and ended in the right order."""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

from longtask_adapters import tracing, webhooks
from longtask_adapters.kube import kinds
from longtask_adapters.kube.connection import Connection
from longtask_adapters.kube.informer import Informer
from longtask_adapters.kube.transport import Transport
from longtask_api import errors
from longtask_api.auth import credentials, oidc
from longtask_api.auth.issuer import Issuer
from longtask_api.auth.kubernetes_tokens import KubernetesTokens
from longtask_api.auth.passwords import Passwords
from longtask_api.cluster import Cluster
from longtask_api.database.engine import Database
from longtask_api.http import limits
from longtask_api.metrics import Metrics
from longtask_api.services import (
    accounts,
    allowances,
    callback_keys,
    compositions,
    deliveries,
    health,
    local_tokens,
    progress,
    queues,
    reporters,
    results,
    streams,
    task_logs,
    tasks,
    trials,
    types,
)
from longtask_api.settings import Settings
from longtask_api.stores.archive import Archive
from longtask_api.stores.blobs import Blobs
from longtask_api.stores.log_tails import LogTails
from longtask_api.stores.resources import Resources
from longtask_api.stores.users import Users
from longtask_api.streams import Hub
from longtask_api.workers import archiver, recorder, sweeper
from longtask_api.workers.supervisor import Supervisor
from longtask_crds import address_guard, queueing

_logger = logging.getLogger(__name__)

#: The database is waited for so long: the kubelet would end what does not serve.
_PREPARATION_SECONDS = 10.0
#: A request each: more than one replica has under way while the API server answers in time.
_WRITES_AT_ONCE = 100


@dataclasses.dataclass(frozen=True)
class Services:
    """What endpoints are handed: each asks for its own."""

    credentials: credentials.Credentials
    accounts: accounts.AccountService
    limiter: limits.Limiter
    health: health.Health
    tasks: tasks.TaskService
    queues: queues.QueueService
    types: types.TypeService
    logs: task_logs.LogService
    keys: callback_keys.CallbackKeys
    deliveries: deliveries.DeliveryService
    trials: trials.Trials
    reporters: reporters.Reporters
    progress: progress.ProgressWriter
    results: results.ResultService
    composer: compositions.Composer
    hub: Hub
    streams: streams.StreamService
    resources: Resources
    database: Database
    metrics: Metrics
    tracer: tracing.Tracer


@contextlib.asynccontextmanager
async def _database(url: str, metrics: Metrics) -> AsyncIterator[Database]:
    """Open the database, and bring its tables to this version if it is there."""
    async with contextlib.aclosing(Database.at(url, note=metrics.note_transaction)) as database:
        metrics.watch_connections(
            in_use=lambda: database.connections()[0], idle=lambda: database.connections()[1]
        )
        try:
            async with asyncio.timeout(_PREPARATION_SECONDS):
                await database.prepare()
        except (errors.DatabaseAway, TimeoutError) as error:
            cause = repr(error.__cause__ or error)
            _logger.warning("Starting without the database", extra={"cause": cause})
        yield database


def _stay(settings: Settings) -> archiver.Stay:
    return archiver.Stay(
        usual=timedelta(seconds=settings.ttl_seconds),
        failed=timedelta(seconds=settings.ttl_seconds_failed),
    )


def _account_rules(settings: Settings) -> accounts.Rules:
    return accounts.Rules(
        registration=settings.registration,
        session=timedelta(hours=settings.session_hours),
        token_days=settings.token_days,
    )


def _rates(settings: Settings) -> limits.Rates:
    return limits.Rates(
        per_second=settings.requests_per_second,
        per_second_of_address=settings.requests_per_second_per_address,
        logins_per_minute=settings.logins_per_minute,
    )


@contextlib.asynccontextmanager
async def running(
    transport: Transport,
    settings: Settings,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    start_patience: float = task_logs.START_PATIENCE,
    stream_pace: streams.Pace = streams.USUAL,
    sender: webhooks.Sender | None = None,
    tracer: tracing.Tracer | None = None,
) -> AsyncIterator[Services]:
    """Make the services and keep their caches fresh; at the end write what is still to be written.

    Args:
        transport: Carries requests to the API server.
        settings: What the installation says.
        clock: Returns the time.
        sender: Sends to the receivers that are tried; over HTTP when absent.
        stream_pace: How often streams do what nobody asks for.
        tracer: Takes spans of requests; when absent nothing does.
        start_patience: For how many seconds a follower of a log waits for the program's start.
    """
    connection = Connection(transport, user_agent="longtask-api", writes_at_once=_WRITES_AT_ONCE)
    cluster = Cluster(connection)
    metrics = Metrics()
    task_kind = kinds.TASKS.slimmed(kinds.without_inputs).packed(queueing.rests)
    task_informer = Informer(connection, task_kind, settings.namespace)
    type_informer = Informer(connection, kinds.TYPES, settings.namespace)
    queue_informer = Informer(connection, kinds.QUEUES, settings.namespace)
    informers = (task_informer, type_informer, queue_informer)
    async with contextlib.AsyncExitStack() as stack:
        database = await stack.enter_async_context(_database(settings.database(), metrics))
        blobs = Blobs(database, clock=clock)
        users = Users(database)
        tokens = local_tokens.LocalTokens(users, clock=clock)
        passwords = stack.enter_context(contextlib.closing(Passwords()))
        bearers = await stack.enter_async_context(_credentials(settings, cluster, tokens))
        tails = LogTails(blobs)
        resources = Resources(
            cluster,
            Archive(database),
            namespace=settings.namespace,
            tasks=task_informer.cache,
            types=type_informer.cache,
            queues=queue_informer.cache,
            clock=clock,
        )
        limiter = limits.Limiter(_rates(settings))
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
        if sender is None:
            # One trial after the other may fail: it is made to see why.
            sender = await stack.enter_async_context(_sending(settings.guard))
        keys = callback_keys.CallbackKeys(
            cluster, namespace=settings.secrets_namespace, clock=clock
        )
        of_tasks = tasks.TaskService(
            resources,
            rules=tasks.Rules(installation=settings.installation, guard=settings.guard),
            allowances=allowances.Allowances(
                resources.catalogue,
                active=settings.active_tasks_per_owner,
                stored=settings.stored_tasks_per_owner,
            ),
            clock=clock,
            path_prefix=settings.path_prefix,
        )
        supervisor = await stack.enter_async_context(Supervisor())
        recorded = recorder.Recorder(
            cluster, tails, metrics, clock=clock, several=database.is_shared
        )
        archived = archiver.Archiver(
            resources, cluster, recorded, metrics, stay=_stay(settings), clock=clock
        )
        metrics.watch_archive(
            overdue=archived.overdue, is_away=lambda: archived.trouble is not None
        )
        hub = Hub(resources, most=settings.streams_per_caller)
        task_informer.follower = hub
        for listener in (recorded.notice, archived.notice, hub.changed):
            task_informer.cache.on_change(listener)
        swept = sweeper.Sweeper(
            resources,
            blobs,
            users,
            metrics,
            keep=timedelta(days=settings.archive_days),
            clock=clock,
        )
        supervisor.start("the recorder of logs", recorded.run())
        supervisor.start("the archiver", archived.run())
        supervisor.start("the sweeper", swept.run())
        for informer in informers:
            supervisor.start(f"the watch of {informer.kind.plural}", informer.run())
            metrics.watch_cache(informer)
        yield Services(
            credentials=bearers,
            accounts=accounts.AccountService(
                users, tokens, passwords, rules=_account_rules(settings), clock=clock
            ),
            limiter=limiter,
            health=health.Health(informers, ended=supervisor.ended, ails=lambda: archived.trouble),
            tasks=of_tasks,
            queues=queues.QueueService(resources, clock=clock, path_prefix=settings.path_prefix),
            types=types.TypeService(resources),
            logs=task_logs.LogService(resources, cluster, tails, start_patience=start_patience),
            keys=keys,
            deliveries=deliveries.DeliveryService(resources, of_tasks, clock=clock),
            trials=trials.Trials(sender, settings.guard, keys, clock=clock),
            reporters=reporting,
            progress=written,
            results=of_results,
            composer=compositions.Composer(of_results, blobs),
            hub=hub,
            streams=streams.StreamService(hub, resources, of_tasks, pace=stream_pace),
            resources=resources,
            database=database,
            metrics=metrics,
            tracer=tracer or tracing.NoTracer(),
        )


@contextlib.asynccontextmanager
async def _credentials(
    settings: Settings, cluster: Cluster, tokens: local_tokens.LocalTokens
) -> AsyncIterator[credentials.Credentials]:
    """Know the bearers of every kind of token that is taken."""
    token = settings.token()
    verifiers: list[credentials.Verifier] = []
    if token is not None:
        verifiers.append(credentials.InstallationToken(token))
    verifiers.append(tokens)
    async with contextlib.AsyncExitStack() as stack:
        if settings.oidc_issuer:
            verifiers.append(
                oidc.OidcTokens(
                    await stack.enter_async_context(Issuer.at(settings.oidc_issuer)),
                    audience=settings.oidc_audience,
                    roles_claim=settings.oidc_roles_claim,
                    admin_value=settings.oidc_admin_value,
                )
            )
        # Last: whatever looks like a token of Kubernetes is one, or none at all.
        if settings.kubernetes_accounts:
            verifiers.append(KubernetesTokens(cluster, namespace=settings.namespace))
        yield credentials.Credentials(verifiers, insecure=token is None)


@contextlib.asynccontextmanager
async def _sending(guard: address_guard.Guard) -> AsyncIterator[webhooks.Sender]:
    sender = webhooks.HttpSender(guard, pause=0)
    try:
        yield sender
    finally:
        await sender.close()
