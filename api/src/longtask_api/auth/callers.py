"""Who asks, what they may do, and what they may see."""

import dataclasses
from collections.abc import Iterable
from typing import Final

from longtask_client import models

#: What a request does. Each route asks for one, and nobody does what they may not.
Act = models.Scope
Role = models.Role
Via = models.Via

EVERYTHING: Final = frozenset(Act)

_ACTS: Final = {
    Role.VIEWER: frozenset({Act.READ}),
    Role.USER: frozenset({Act.READ, Act.WRITE}),
    Role.ADMIN: EVERYTHING,
}


@dataclasses.dataclass(frozen=True)
class Caller:
    """Somebody who asks, however they showed who they are."""

    subject: str  #: whose the tasks are that they make: a label's value; of the installation, empty
    name: str = ""  #: what people call them
    acts: frozenset[Act] = frozenset({Act.READ, Act.WRITE})
    sees_all: bool = False  #: the tasks of everybody, and not theirs alone
    role: Role | None = None  #: None where something else decides what they may
    via: Via = Via.INSTALLATION
    token_id: str = ""  #: of a user of LongTask's own: which of their tokens they showed

    def may_see(self, owner: str | None) -> bool:
        """Tell whether a task of this owner is there for them at all."""
        return self.sees_all or owner == self.subject

    def may(self, act: Act) -> bool:
        """Tell whether they may do this, to whatever they see."""
        return act in self.acts

    @property
    def is_admin(self) -> bool:
        """Tell whether they are an administrator of the installation.

        Who manages queues by rights in the tasks' namespace is none.
        """
        return self.may(Act.MANAGE) and self.via is not Via.KUBERNETES

    @property
    def is_local(self) -> bool:
        """Tell whether they are a user of LongTask's own, who has a password."""
        return self.via in (Via.SESSION, Via.TOKEN)


#: Who bears the installation's own token.
INSTALLATION: Final = Caller(
    subject="", name="installation", acts=EVERYTHING, sees_all=True, role=Role.ADMIN
)


def with_role(
    subject: str,
    role: Role,
    *,
    name: str,
    via: Via,
    scopes: Iterable[Act] = EVERYTHING,
    token_id: str = "",
) -> Caller:
    """Return somebody who may what their role may, as far as their token is for that.

    To see what is others' is part of `manage`: a token without it that is lost, though it was an
    admin's, gives nothing away but the admin's own tasks.
    """
    acts = _ACTS[role] & frozenset(scopes)
    return Caller(
        subject=subject,
        name=name,
        acts=acts,
        sees_all=Act.MANAGE in acts,
        role=role,
        via=via,
        token_id=token_id,
    )
