"""Users, what they show in place of passwords, and what they may."""

import enum
from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from longtask_client.models.common import Line, Order
from longtask_crds import v1alpha1


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


_Days = Annotated[int, Field(ge=1, le=365, strict=True)]


class Registration(Order):
    """Somebody who wants an account."""

    username: Username
    """What they are called, and their tasks' owner: 2 to 40 of a-z, 0-9, `-`, `.` and `_`."""

    password: Password
    """10 to 256 characters."""

    email: Email
    """Where they are reached."""

    invite: Annotated[str, StringConstraints(max_length=100)] | None = None
    """What an administrator sent them, where it takes that."""


class Login(Order):
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


class PasswordChange(Order):
    """Another password for oneself."""

    current: Annotated[str, StringConstraints(max_length=256)]
    """The one that is good now."""

    new: Password
    """The one from now on: 10 to 256 characters."""


class NewPassword(v1alpha1.Model):
    """A password that was made up for somebody."""

    password: str
    """It is not shown again; they log in with it and change it."""


class UserOrder(Order):
    """A user whom an administrator makes."""

    username: Username
    """What they are called, and their tasks' owner."""

    email: Email | None = None
    """Where they are reached."""

    role: Role = Role.USER
    """What they may do."""


class UserChange(Order):
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


class TokenOrder(Order):
    """A token for programs of one's own."""

    name: Line
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


class InviteOrder(Order):
    """An invitation to make oneself an account, once."""

    role: Role = Role.USER
    """What they may do who take it."""

    note: Line | None = None
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
