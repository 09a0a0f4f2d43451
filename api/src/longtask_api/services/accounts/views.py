"""From what is stored to what is shown of it, without what is secret."""

from longtask_api.auth import callers
from longtask_api.stores import users
from longtask_client import models


def user(found: users.User) -> models.UserView:
    """Return the user."""
    return models.UserView(
        username=found.username,
        email=found.email,
        role=models.Role(found.role),
        disabled=found.is_disabled,
        created_at=found.created_at,
    )


def token(found: users.Token, caller: callers.Caller) -> models.TokenView:
    """Return the token, and whether the caller has shown it."""
    return models.TokenView(
        id=found.id,
        kind=models.TokenKind(found.kind),
        name=found.name,
        scopes=[models.Scope(scope) for scope in found.scopes],
        created_at=found.created_at,
        expires_at=found.expires_at,
        current=found.id == caller.token_id,
    )


def invite(found: users.Invite) -> models.InviteView:
    """Return the invitation."""
    return models.InviteView(
        id=found.id,
        role=models.Role(found.role),
        note=found.note,
        created_by=found.created_by,
        created_at=found.created_at,
        expires_at=found.expires_at,
    )
