"""What endpoints are handed."""

import dataclasses
from collections.abc import Callable
from datetime import datetime

from longtask_adapters import tracing
from longtask_api.auth import browsers, credentials
from longtask_api.database.engine import Database
from longtask_api.http import limits
from longtask_api.hub import Hub
from longtask_api.metrics import Metrics
from longtask_api.services import (
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
from longtask_api.services.accounts import own
from longtask_api.services.accounts.admin import AdminService
from longtask_api.services.pods import handovers, outcomes, progress, reporters
from longtask_api.services.schedules.runs import RunService
from longtask_api.services.schedules.service import ScheduleService
from longtask_api.services.tasks.changing import ChangeService
from longtask_api.services.tasks.logs import LogService
from longtask_api.services.tasks.showing import TaskService
from longtask_api.services.tasks.taking import OrderService
from longtask_api.stores.lines import Lines
from longtask_api.stores.resources import Resources
from longtask_api.workers import (
    auditor,
)


@dataclasses.dataclass(frozen=True)
class Services:
    """What endpoints are handed: each asks for its own."""

    credentials: credentials.Credentials
    browsers: browsers.Browsers
    accounts: own.AccountService
    admin: AdminService
    audit: audit.AuditService
    auditor: auditor.Auditor
    limiter: limits.Limiter
    health: health.Health
    notices: notices.NoticeService
    tasks: TaskService
    orders: OrderService
    changes: ChangeService
    queues: queues.QueueService
    types: types.TypeService
    logs: LogService
    keys: callback_keys.CallbackKeys
    deliveries: deliveries.DeliveryService
    trends: trends.TrendService
    trials: trials.Trials
    reporters: reporters.Reporters
    handovers: handovers.Handovers
    progress: progress.ProgressWriter
    outcomes: outcomes.OutcomeService
    results: results.ResultService
    schedules: ScheduleService
    schedule_runs: RunService
    composer: compositions.Composer
    hub: Hub
    streams: streams.StreamService
    boards: boards.Boards
    subscriptions: subscriptions.SubscriptionService
    resources: Resources
    lines: Lines
    database: Database
    metrics: Metrics
    tracer: tracing.Tracer
    clock: Callable[[], datetime]
    public_url: str  #: where users reach the API; empty where nobody has said
