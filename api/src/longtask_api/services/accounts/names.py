"""What a new user may be called, and that nobody else is called so."""

import re
from typing import Any, Final

import pydantic

from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.stores import users
from longtask_api.stores.users import Users
from longtask_client import models
from longtask_crds import signing_keys

#: Names that the owners of other tasks have, or may have.
_TAKEN: Final = frozenset({signing_keys.DEFAULT_OWNER, callers.INSTALLATION.name})
_TAKEN_BEGINNINGS: Final = ("k8s-", "oidc-")
_USERNAME: Final = pydantic.TypeAdapter(models.Username)
#: Ids as they are made up here; nothing else ever gets into a statement.
ID: Final = re.compile("[0-9a-f]{32}")


async def add(store: Users, user: users.User, *, invite: str | None = None) -> users.User:
    """Store a new user.

    Raises:
        Clash: The username is taken.
        Invalid: The invitation is none.
    """
    try:
        return await store.add(user, invite=invite)
    except users.NameTaken as error:
        found = errors.finding("/username", "is taken")
        raise errors.Clash("The username is taken.", errors=[found]) from error
    except users.InviteUnknown as error:
        raise wrong("/invite", "not an invitation, or not any more") from error


def check_username(username: str) -> None:
    """Look whether a new user may be called that; raise Invalid."""
    if username in _TAKEN or username.startswith(_TAKEN_BEGINNINGS):
        raise wrong("/username", "is reserved")


def check_password(password: str, username: str, *, pointer: str) -> None:
    """Look whether that may be the user's password; raise Invalid, which points there."""
    if password.casefold() == username:
        raise wrong(pointer, "the username is no password")


def is_username(text: Any) -> bool:
    """Tell whether a user may be called that: nothing else ever gets into a statement."""
    try:
        _USERNAME.validate_python(text)
    except pydantic.ValidationError:
        return False
    return True


def wrong(pointer: str, detail: str) -> errors.Invalid:
    """Return the refusal of an order for one field of it."""
    return errors.Invalid(errors=[errors.finding(pointer, detail)])
