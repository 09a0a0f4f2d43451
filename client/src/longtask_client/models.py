"""What goes over the wire of the REST API, for both of its ends."""

import contextlib
import enum
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints

from longtask_crds import events, v1alpha1

#: How many orders a batch may have.
BATCH_MAX_ITEMS: Final = 500


def _any_case(phase: Any) -> Any:
    with contextlib.suppress(AttributeError, ValueError):
        return v1alpha1.Phase(phase.capitalize())
    return phase


#: In capitals or not: one rule for the API and the command line.
GivenPhase = Annotated[v1alpha1.Phase, BeforeValidator(_any_case)]


class TaskOrder(v1alpha1.LongTaskSpec):
    """A task to run: the fields of a LongTask's spec, and what names it."""

    model_config = ConfigDict(extra="forbid")

    name: v1alpha1.TaskName | None = None
    """The task's name and id; made up when absent."""

    labels: (
        Annotated[dict[str, Annotated[str, StringConstraints(max_length=63)]], Field(max_length=20)]
        | None
    ) = None
    """Labels of one's own, to find the task by."""

    idempotency_key: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    """The same key with the same order again gives the same task. The header Idempotency-Key does
    the same and must not differ."""


class TaskChange(v1alpha1.Model):
    """What may be changed of a task that waits, as a JSON Merge Patch."""

    model_config = ConfigDict(extra="forbid", strict=True)

    priority: v1alpha1.Priority
    """Minutes of head start in the queue."""


class TaskState(v1alpha1.Model):
    """What a poller needs."""

    state: v1alpha1.Phase
    """Where the task stands."""

    percent: int | None
    """How much of the work is done."""


class EstimatedStart(v1alpha1.Model):
    """When a task that waits may start, if those ahead take as long as those before them took."""

    earliest: datetime
    """Not before; it may be past, then it is any time from now."""

    latest: datetime
    """Not after."""


class TaskView(v1alpha1.Model):
    """A task as the API shows it."""

    id: str
    """The task's id: the resource's name."""

    namespace: str
    """The namespace of the resource."""

    type: str | None
    """The LongTaskType's name; null for a task with a container of its own, and for a pipeline."""

    phase: v1alpha1.Phase
    """Where it stands, for people."""

    percent: int | None
    """How much of the work is done; 100 once it has succeeded."""

    message: str | None
    """What it is doing, or how it ended."""

    reason: str | None
    """Why it stands where it stands, as one word."""

    waiting: str | None
    """Why it does not start yet."""

    queue: str | None
    """The queue it waits in or came through."""

    queue_position: int | None
    """Its place in that queue: 1 is next; null when it does not wait."""

    estimated_start: EstimatedStart | None
    """When it may start, as far as the past of its queue tells; null where that tells nothing, and
    when it does not wait."""

    priority: int
    """Minutes of head start."""

    attempt: int
    """The number of the last attempt; 0 before the first."""

    attempts: list[v1alpha1.Attempt]
    """The last attempts."""

    disruptions: int = 0
    """How many attempts cost nothing because their pod was disrupted."""

    retry_at: datetime | None = None
    """When the next attempt joins the queue, while there is one to come."""

    step: str | None = None
    """Of a pipeline: how far it is, as `3/6 convert`."""

    steps: list[v1alpha1.StepStatus]
    """Of a pipeline: where each of its steps stands, once it has its place."""

    result: v1alpha1.Result | None
    """What the program brought; of a large result its size and sum only, as `ref`."""

    result_url: str | None
    """Where a result is read that is not here; null if it is here, or if there is none."""

    callback: v1alpha1.CallbackStatus | None
    """The delivery of the last event."""

    owner: str | None
    """Whose task it is."""

    owner_name: str | None = None
    """What people call them, where that is something else."""

    labels: dict[str, str]
    """Labels of the resource."""

    retry_of: str | None = None
    """The id of the task that this one does again; null for one of its own."""

    created_at: datetime
    """When it was handed over."""

    queued_at: datetime | None
    """When it entered its queue."""

    started_at: datetime | None
    """When its program first started."""

    finished_at: datetime | None
    """When it ended."""

    links: dict[str, str]
    """Paths of what belongs to it: self, state, result, logs, callbacks, cancel, retry; retryOf,
    if it is one."""


class TaskFilter(v1alpha1.Model):
    """What tasks must be like to be listed; what is not given does not matter."""

    model_config = ConfigDict(extra="forbid")

    phases: tuple[GivenPhase, ...] = ()
    """In one of these phases."""

    queue: str | None = None
    """In this queue."""

    type: str | None = None
    """Of this type."""

    owner: str | None = None
    """Of this owner."""

    labels: dict[str, str] = Field(default_factory=dict)
    """With all of these labels."""

    search: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """With this text in the name or the message, in capitals or not."""

    since: v1alpha1.GivenTime | None = None
    """Made at this time or later."""

    until: v1alpha1.GivenTime | None = None
    """Made before this time."""

    archived: bool | None = None
    """Only those whose resources are gone, or only those whose are not."""


class TaskProgress(v1alpha1.Model):
    """How far a task is: what a stream tells when nothing else has changed."""

    id: str
    """The task's id."""

    namespace: str
    """The namespace of the resource."""

    phase: v1alpha1.Phase
    """Where it stands."""

    percent: int | None
    """How much of the work is done."""

    message: str | None
    """What the program is doing."""

    updated_at: v1alpha1.Time | None
    """When the program was last heard."""

    event: events.Event | None = None
    """The same as an event of the task, as a callback tells it; null if there is no percent."""


class TaskResult(v1alpha1.Model):
    """How a task ended, and what it brought: the last that its stream tells."""

    id: str
    """The task's id."""

    namespace: str
    """The namespace of the resource."""

    phase: v1alpha1.Phase
    """How it ended."""

    reason: str | None
    """Why, as one word."""

    message: str | None
    """Why, for people."""

    result: v1alpha1.Result | None
    """What the program brought."""

    result_url: str | None = None
    """The path of the result if it is too large to be here."""


class TaskGone(v1alpha1.Model):
    """A task whose resource was deleted: by somebody, or because it is archived."""

    id: str
    """The task's id."""

    namespace: str
    """The namespace of the resource."""


class StreamReset(v1alpha1.Model):
    """What a stream of many tasks tells of what it cannot tell."""

    message: str
    """What is missing, for people."""


class TaskPage(v1alpha1.Model):
    """One page of a list."""

    items: list[TaskView]
    """The tasks."""

    next_cursor: str | None
    """What brings the next page; null on the last one. Where few tasks fit the filter, a page may
    be short or empty and not be the last."""

    incomplete: str | None = None
    """What is missing although it fits, and why; null when nothing is."""


class BatchItem(v1alpha1.Model):
    """What became of one order of a batch: a task, or a problem."""

    status: int
    """The status that the order alone would have been answered with: 202, or 200 for one that the
    same batch made before; else what went wrong."""

    task: TaskView | None = None
    """The task."""

    problem: "Problem | None" = None
    """Why there is none."""


class BatchAnswer(v1alpha1.Model):
    """What became of a batch."""

    items: list[BatchItem]
    """One for each order, at its place."""

    accepted: int
    """How many of them have a task."""


class CancelOrder(TaskFilter):
    """Which tasks to cancel: all that the fields fit together."""

    all: bool = False
    """Those that no other field is about: needed where none is given."""

    cursor: str | None = None
    """`nextCursor` of the answer before."""


class Cancellation(v1alpha1.Model):
    """Which tasks were asked to end."""

    count: int
    """How many."""

    items: list[str]
    """Their ids."""

    more: bool
    """Whether there may be more: ask again, with the cursor."""

    next_cursor: str | None
    """What goes on from there; null when all are done."""


class TypeView(v1alpha1.Model):
    """A type as the API shows it."""

    name: str
    """Its name."""

    description: str | None
    """What a task of this type does."""

    input_schema: dict[str, Any] | None
    """The JSON Schema of the input."""

    defaults: v1alpha1.TypeDefaults | None
    """What a task gets where it says nothing."""


class TypeList(v1alpha1.Model):
    """All types."""

    items: list[TypeView]
    """The types, by name."""

    next_cursor: str | None = None
    """Always null: there are few."""


class QueueView(v1alpha1.Model):
    """A queue as the API shows it."""

    name: str
    """Its name."""

    max_running: int | None
    """How many of its tasks may run at once; null is no limit."""

    max_running_per_owner: int | None
    """How many tasks of one owner may run at once; null is no limit."""

    paused: bool
    """Whether it starts no task now."""

    running: int
    """How many of its tasks hold a place: those that start or run."""

    waiting: int
    """How many wait for one."""

    oldest_queued_at: datetime | None
    """Since when the one waits who has waited longest; null when none does."""

    starts_per_minute: float
    """How many of its tasks started in a minute, on average over the last five."""

    links: dict[str, str]
    """Paths of what belongs to it: self, tasks, pause, resume."""


class QueueList(v1alpha1.Model):
    """All queues."""

    items: list[QueueView]
    """The queues, by name."""

    next_cursor: str | None = None
    """Always null: there are few."""


class QueuedTask(v1alpha1.Model):
    """A task that waits, as its queue shows it."""

    id: str
    """The task's id."""

    type: str | None
    """The LongTaskType's name; null for a task with a container of its own."""

    owner: str | None
    """Whose task it is."""

    priority: int
    """Minutes of head start."""

    position: int
    """Its place in the queue: 1 is next."""

    queued_at: datetime
    """Since when it waits."""

    links: dict[str, str]
    """Paths of what belongs to it: self, state, result, logs, callbacks, cancel, retry."""


class QueueContent(QueueView):
    """A queue, and who waits in it."""

    content: list[QueuedTask]
    """One page of the tasks that wait and that one may see, the next one first."""

    next_cursor: str | None
    """What brings the next page; null on the last one."""


class CallbackKey(v1alpha1.Model):
    """The key that signs one's callbacks."""

    key: str
    """`whsec_` and base64, for any Standard Webhooks library."""

    previous_until: datetime | None = None
    """Until when the keys before it sign as well, each with a signature of its own; null if there
    are none."""


class CallbackLog(v1alpha1.Model):
    """How a task's last event is delivered, and each try."""

    id: str | None
    """The webhook-id, the same on every try; null while there is nothing to deliver."""

    event: v1alpha1.TaskEvent | None
    """What is reported."""

    state: v1alpha1.CallbackState | None
    """Pending, Delivered or Exhausted."""

    tries: int
    """How often it was sent since it was opened, or opened again."""

    next_try_at: datetime | None
    """When it is sent next."""

    delivered_at: datetime | None
    """When it was accepted."""

    items: list[v1alpha1.Delivery]
    """The last twenty tries, of this event and of those before it, the oldest first."""

    next_cursor: str | None = None
    """Always null: there are few."""


class RedeliveryOrder(v1alpha1.Model):
    """Which callbacks to deliver again."""

    model_config = ConfigDict(extra="forbid")

    from_: v1alpha1.GivenTime = Field(alias="from")
    """What they report happened at this time or later,"""

    to: v1alpha1.GivenTime
    """and before this time."""

    state: v1alpha1.CallbackState | None = None
    """They stand like this; Delivered or Exhausted when absent."""

    cursor: str | None = None
    """`nextCursor` of the answer before."""


class Redelivery(v1alpha1.Model):
    """Which callbacks are delivered again."""

    items: list[str]
    """The ids of their tasks."""

    next_cursor: str | None
    """What goes on from there; null when all are done."""


class CallbackTrialOrder(v1alpha1.Model):
    """A receiver to try."""

    model_config = ConfigDict(extra="forbid")

    url: v1alpha1.Url
    """Where it is."""


class CallbackTrial(v1alpha1.Model):
    """What became of a signed `longtask.test`. Nothing of the receiver's answer but its code."""

    id: str
    """The webhook-id that it had."""

    delivered: bool
    """Whether the receiver answered 2xx."""

    code: int | None
    """The status code of the answer."""

    error: str | None
    """What went wrong, if no answer came: a word of `status.callback.lastError`."""

    seconds: float
    """How long it took."""


class Role(enum.StrEnum):
    """What a user may do."""

    VIEWER = "viewer"  #: look at what is theirs
    USER = "user"  #: hand tasks over, and do with them as they like
    ADMIN = "admin"  #: all of it, with everybody's tasks, queues and accounts


class Scope(enum.StrEnum):
    """What a request does. Each route asks for one; a token is for some of these."""

    READ = "read"  #: look at tasks, types and queues
    WRITE = "write"  #: hand tasks over, change, cancel and delete them
    MANAGE = "manage"  #: what concerns everybody: queues, accounts, others' tasks


class TokenKind(enum.StrEnum):
    """What a user's token is for."""

    SESSION = "session"  #: what comes after a login
    PERSONAL = "personal"  #: programs


class Via(enum.StrEnum):
    """What somebody showed to say who they are."""

    INSTALLATION = "installation"  #: the installation's token
    SESSION = "session"  #: the token of a login
    TOKEN = "token"  #: a token of a user's for programs
    KUBERNETES = "kubernetes"  #: a token of an account of Kubernetes
    OIDC = "oidc"  #: a token of an identity provider


#: The value of the label `longtask.dev/owner` on all tasks of the user.
Username = Annotated[
    str,
    StringConstraints(min_length=2, max_length=40, pattern="^[a-z0-9]([-a-z0-9._]*[a-z0-9])?$"),
]
#: No more is asked of an address than that it looks like one: nothing is decided by it.
Email = Annotated[
    str,
    StringConstraints(
        max_length=254, pattern=r"^[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,189}$"
    ),
]
Password = Annotated[str, StringConstraints(min_length=10, max_length=256)]
#: One line of text.
_Line = Annotated[
    str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")
]
_Days = Annotated[int, Field(ge=1, le=365, strict=True)]


class _Order(v1alpha1.Model):
    model_config = ConfigDict(extra="forbid")


class Registration(_Order):
    """Somebody who wants an account."""

    username: Username
    """What they are called, and their tasks' owner: 2 to 40 of a-z, 0-9, `-`, `.` and `_`."""

    password: Password
    """10 to 256 characters."""

    email: Email
    """Where they are reached."""

    invite: Annotated[str, StringConstraints(max_length=100)] | None = None
    """What an administrator sent them, where it takes that."""


class Login(_Order):
    """Somebody who says who they are."""

    username: Annotated[str, StringConstraints(max_length=100)]
    """Who they are."""

    password: Annotated[str, StringConstraints(max_length=256)]
    """What only they know."""


class LoggedIn(v1alpha1.Model):
    """A session: a token for a while."""

    token: str
    """The bearer token of further requests. It is not shown again."""

    expires_at: datetime
    """Until when it is good."""


class Me(v1alpha1.Model):
    """Who asks."""

    name: str
    """What people call them: of a user of LongTask's own, the username."""

    username: str | None
    """The username; null for who is no user of LongTask's own."""

    subject: str
    """The owner of the tasks that they make; empty for the installation's token."""

    role: Role | None
    """Their role; null where Kubernetes decides what they may."""

    acts: list[Scope]
    """What they may do, with the token that they showed."""

    sees_all: bool
    """Whether they see the tasks of everybody, and not theirs alone."""

    email: str | None
    """Where they are reached."""

    via: Via
    """What they showed."""


class PasswordChange(_Order):
    """Another password for oneself."""

    current: Annotated[str, StringConstraints(max_length=256)]
    """The one that is good now."""

    new: Password
    """The one from now on: 10 to 256 characters."""


class NewPassword(v1alpha1.Model):
    """A password that was made up for somebody."""

    password: str
    """It is not shown again; they log in with it and change it."""


class UserOrder(_Order):
    """A user whom an administrator makes."""

    username: Username
    """What they are called, and their tasks' owner."""

    email: Email | None = None
    """Where they are reached."""

    role: Role = Role.USER
    """What they may do."""


class UserChange(_Order):
    """What is changed of a user; what is absent stays."""

    role: Role | None = None
    """What they may do from now on."""

    disabled: Annotated[bool, Field(strict=True)] | None = None
    """Whether they are kept out, with all their tokens."""


class UserView(v1alpha1.Model):
    """A user of LongTask's own."""

    username: str
    """What they are called, and their tasks' owner."""

    email: str | None
    """Where they are reached."""

    role: Role
    """What they may do."""

    disabled: bool
    """Whether they are kept out."""

    created_at: datetime
    """Since when there is the account."""


class NewUser(UserView):
    """A user who was just made."""

    password: str
    """A password to begin with. It is not shown again; they log in with it and change it."""


class UserPage(v1alpha1.Model):
    """One page of the users."""

    items: list[UserView]
    """The users, by name."""

    next_cursor: str | None
    """What brings the next page; null on the last one."""


class TokenOrder(_Order):
    """A token for programs of one's own."""

    name: _Line
    """What it is for."""

    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))] | None = None
    """What it is for; all that one may oneself when absent. Without `manage`, an administrator's
    sees no tasks but their own."""

    expires_in_days: _Days | None = None
    """How long it is good, at most 365; the installation says when absent, by default 90."""


class TokenView(v1alpha1.Model):
    """A token of one's own, without what is secret of it."""

    id: str
    """What it is deleted by."""

    kind: TokenKind
    """Whether it is of a login, or for programs."""

    name: str | None
    """What it is for; null for a session."""

    scopes: list[Scope]
    """What it is for."""

    created_at: datetime
    """When it was made."""

    expires_at: datetime
    """Until when it is good."""

    current: bool
    """Whether it is the one that was just shown."""


class NewToken(TokenView):
    """A token that was just made."""

    token: str
    """The token. It is not shown again."""


class TokenList(v1alpha1.Model):
    """One's tokens."""

    items: list[TokenView]
    """Those that are good, the newest first."""

    next_cursor: str | None = None
    """Always null: there are few."""


class InviteOrder(_Order):
    """An invitation to make oneself an account, once."""

    role: Role = Role.USER
    """What they may do who take it."""

    note: _Line | None = None
    """Whom it is for."""

    expires_in_days: _Days = 7
    """How long it is good."""


class InviteView(v1alpha1.Model):
    """An invitation that nobody has taken yet."""

    id: str
    """What it is deleted by."""

    role: Role
    """What they may do who take it."""

    note: str | None
    """Whom it is for."""

    created_by: str
    """Who invites."""

    created_at: datetime
    """When."""

    expires_at: datetime
    """Until when it is good."""


class NewInvite(InviteView):
    """An invitation that was just made."""

    invite: str
    """What to register with. It is not shown again."""


class InviteList(v1alpha1.Model):
    """The invitations."""

    items: list[InviteView]
    """Those that are good, the newest first."""

    next_cursor: str | None = None
    """Always null: there are few."""


class Version(v1alpha1.Model):
    """What runs here."""

    version: str
    """The version of LongTask."""


class Place(enum.StrEnum):
    """Where a request says something besides its body."""

    QUERY = "query"
    PATH = "path"
    HEADER = "header"


class ProblemError(v1alpha1.Model):
    """One thing that is wrong with a request: with its body, or with a parameter or a header."""

    pointer: str | None = None
    """Where in the body, as a JSON Pointer: empty for all of it; null where it is not the body."""

    in_: Place | None = Field(default=None, alias="in")
    """Where else; null where it is the body."""

    name: str | None = None
    """The parameter's or header's name; null where it is the body."""

    detail: str
    """What is wrong with it."""


class Problem(v1alpha1.Model):
    """An error, as of RFC 9457."""

    type: str
    """What kind of problem it is, as a stable URI."""

    title: str
    """The kind in words."""

    status: int
    """The HTTP status code."""

    detail: str | None = None
    """What is wrong this time."""

    instance: str | None = None
    """The path that was asked for."""

    errors: list[ProblemError] = Field(default_factory=list)
    """Each thing that is wrong."""


class SortOrder(enum.StrEnum):
    """How a list of tasks is sorted."""

    NEWEST = "-createdAt"
    OLDEST = "createdAt"
    NEXT = "queuePosition"
