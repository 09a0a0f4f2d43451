"""What admins do with accounts, and with invitations to make one.

Every change is told in one line of the log, with who made it. No password and no token ever is.
"""

import logging
import secrets
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from longtask_adapters.kube import errors as kube
from longtask_api import deeds, errors
from longtask_api.auth import callers
from longtask_api.auth.passwords import Passwords
from longtask_api.services import bodies, cursors
from longtask_api.services.accounts import local_tokens, names, views
from longtask_api.services.callback_keys import CallbackKeys
from longtask_api.stores import users
from longtask_api.stores.users import Users
from longtask_client import models

_logger = logging.getLogger(__name__)

_MOST_INVITES: Final = 1000
_INVITE_PREFIX: Final = "lti_"


class AdminService:
    """All that admins do with the accounts of others."""

    def __init__(
        self,
        stored: Users,
        tokens: local_tokens.LocalTokens,
        passwords: Passwords,
        keys: CallbackKeys,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        """Serve the accounts.

        Args:
            stored: Where they are.
            tokens: Who believes tokens for a while, and has to hear of changes.
            passwords: Compares passwords.
            keys: Sign callbacks: of who goes, they go too.
            clock: Returns the time.
        """
        self._users = stored
        self._tokens = tokens
        self._passwords = passwords
        self._keys = keys
        self._clock = clock

    async def user_page(
        self, caller: callers.Caller, *, limit: int, cursor: str | None
    ) -> models.UserPage:
        """Return one page of the users, by name.

        Raises:
            Forbidden: The caller is no admin.
            Malformed: The cursor is none of ours.
        """
        _check_admin(caller)
        mark = cursors.mark_of("users")
        after = cursors.decode(cursor, mark, _is_name)[0] if cursor else ""
        found = await self._users.page(after=after, limit=limit + 1)
        shown = found[:limit]
        more = cursors.encode([shown[-1].username], mark) if len(found) > limit else None
        return models.UserPage(items=list(map(views.user, shown)), next_cursor=more)

    async def find_user(self, caller: callers.Caller, username: str) -> models.UserView:
        """Return a user.

        Raises:
            Forbidden: The caller is no admin.
            Missing: There is none of that name.
        """
        _check_admin(caller)
        return views.user(await self._named(username))

    async def make_user(self, caller: callers.Caller, document: Any) -> models.NewUser:
        """Make a user, with a password to begin with.

        Raises:
            Forbidden: The caller is no admin.
            Invalid: A field is wrong.
            Clash: The username is taken.
        """
        _check_admin(caller)
        order = bodies.read(models.UserOrder, document)
        names.check_username(order.username)
        password = _made_up_password()
        user = users.User(
            username=order.username,
            email=order.email,
            role=order.role,
            password_hash=await self._passwords.hash(password),
            created_at=self._clock(),
        )
        made = await names.add(self._users, user)
        deeds.to(made.username, role=made.role)
        told = {"user": made.username, "role": made.role, "by": caller.name}
        _logger.info("Made user", extra=told)
        return models.NewUser(**dict(views.user(made)), password=password)

    async def change_user(
        self, caller: callers.Caller, username: str, document: Any
    ) -> models.UserView:
        """Give a user another role, keep them out, or let them in again.

        Raises:
            Forbidden: The caller is no admin.
            Invalid: A field is wrong.
            Missing: There is none of that name.
        """
        _check_admin(caller)
        order = bodies.read(models.UserChange, document)
        values: dict[str, Any] = {}
        if order.role is not None:
            values["role"] = order.role
        if order.disabled is not None:
            values["disabled_at"] = self._clock() if order.disabled else None
        if not values:
            return await self.find_user(caller, username)
        changed = (
            await self._users.change(username, **values) if names.is_username(username) else None
        )
        if changed is None:
            raise _missing()
        self._tokens.forget()
        told = {"user": username, "role": changed.role, "disabled": changed.is_disabled}
        deeds.to(username, role=changed.role, disabled=changed.is_disabled)
        _logger.info("Changed user", extra=told | {"by": caller.name})
        return views.user(changed)

    async def reset_password(self, caller: callers.Caller, username: str) -> models.NewPassword:
        """Give a user a made-up password, and end all their sessions and tokens.

        Raises:
            Forbidden: The caller is no admin.
            Missing: There is none of that name.
        """
        _check_admin(caller)
        user, password = await self._named(username), _made_up_password()
        kept = await self._passwords.hash(password)
        ends = [models.TokenKind.SESSION, models.TokenKind.PERSONAL]
        if not await self._users.set_password(user, kept, ends=ends):
            raise errors.Clash("The password was changed just now.")
        self._tokens.forget()
        _logger.info("Reset password", extra={"user": username, "by": caller.name})
        return models.NewPassword(password=password)

    async def delete_user(self, caller: callers.Caller, username: str) -> None:
        """Delete a user's account. Their tasks stay, and so does their name, for nobody else.

        Raises:
            Forbidden: The caller is no admin.
            Missing: There is none of that name.
        """
        _check_admin(caller)
        await self._named(username)
        if not await self._users.remove(username, at=self._clock()):
            raise _missing()
        self._tokens.forget()
        _logger.info("Deleted user", extra={"user": username, "by": caller.name})
        try:
            await self._keys.forget([username])
        except kube.ClusterError as error:
            # The account is gone: the sweeper removes the key when it comes round.
            _logger.warning("Could not remove a callback key", extra={"cause": str(error)})

    async def invite_list(self, caller: callers.Caller) -> models.InviteList:
        """Return the invitations that nobody has taken yet.

        Raises:
            Forbidden: The caller is no admin.
        """
        _check_admin(caller)
        found = await self._users.invites(at=self._clock(), limit=_MOST_INVITES)
        return models.InviteList(items=list(map(views.invite, found)))

    async def make_invite(self, caller: callers.Caller, document: Any) -> models.NewInvite:
        """Make an invitation.

        Raises:
            Forbidden: The caller is no admin.
            Invalid: A field is wrong.
        """
        _check_admin(caller)
        order = bodies.read(models.InviteOrder, document)
        now, invite = self._clock(), local_tokens.new_token(_INVITE_PREFIX)
        made = users.Invite(
            id=uuid.uuid4().hex,
            digest=local_tokens.digest_of(invite),
            role=order.role,
            note=order.note,
            created_by=caller.name[:255],
            created_at=now,
            expires_at=now + timedelta(days=order.expires_in_days),
        )
        await self._users.add_invite(made)
        deeds.to(made.id, role=made.role)
        _logger.info("Made invitation", extra={"invite": made.id, "by": caller.name})
        return models.NewInvite(**dict(views.invite(made)), invite=invite)

    async def delete_invite(self, caller: callers.Caller, invite_id: str) -> None:
        """Take an invitation back.

        Raises:
            Forbidden: The caller is no admin.
            Missing: There is no such invitation, or somebody has taken it.
        """
        _check_admin(caller)
        is_id = names.ID.fullmatch(invite_id)
        if not is_id or not await self._users.remove_invite(invite_id):
            raise errors.Missing("There is no such invitation.")
        _logger.info("Deleted invitation", extra={"invite": invite_id, "by": caller.name})

    # --- inside

    async def _named(self, username: str) -> users.User:
        user = await self._users.find(username) if names.is_username(username) else None
        if user is None:
            raise _missing()
        return user


def _check_admin(caller: callers.Caller) -> None:
    if not caller.is_admin:
        raise errors.Forbidden("Only admins manage accounts.")


def _made_up_password() -> str:
    return secrets.token_urlsafe(15)


def _is_name(key: cursors.Key) -> bool:
    return len(key) == 1 and names.is_username(key[0])


def _missing() -> errors.Missing:
    return errors.Missing("There is no such user.")
