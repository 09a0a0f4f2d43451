"""Users of LongTask's own: how they come, log in, and go; their tokens; what admins do with them.

Every change is told in one line of the log, with who made it. No password and no token ever is.
"""

import dataclasses
import logging
import re
import secrets
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

import pydantic

from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.auth.passwords import Passwords
from longtask_api.services import bodies, cursors, local_tokens
from longtask_api.settings import Registration
from longtask_api.stores import users
from longtask_api.stores.users import Users
from longtask_client import models
from longtask_crds import signing_keys

_logger = logging.getLogger(__name__)

#: Counts a try of somebody who is not known yet, and raises TooManyRequests if it is too many.
Limit = Callable[[str], None]

#: Names that the owners of other tasks have, or may have.
_TAKEN: Final = frozenset({signing_keys.DEFAULT_OWNER, callers.INSTALLATION.name})
_TAKEN_BEGINNINGS: Final = ("k8s-", "oidc-")
_MOST_SESSIONS: Final = 200
_MOST_TOKENS: Final = 100
_MOST_INVITES: Final = 1000
_INVITE_PREFIX: Final = "lti_"
_WRONG: Final = "The username or the password is wrong."
_USERNAME: Final = pydantic.TypeAdapter(models.Username)
#: As they are made up here; nothing else ever gets into a statement.
_ID: Final = re.compile("[0-9a-f]{32}")


@dataclasses.dataclass(frozen=True)
class Rules:
    """What the installation says of accounts."""

    registration: Registration
    session: timedelta  #: how long a login is good
    token_days: int  #: how long a token for programs is good that does not say


class AccountService:
    """All that is done with accounts, by whose they are and by admins."""

    def __init__(
        self,
        stored: Users,
        tokens: local_tokens.LocalTokens,
        passwords: Passwords,
        *,
        rules: Rules,
        clock: Callable[[], datetime],
    ) -> None:
        """Serve the accounts.

        Args:
            stored: Where they are.
            tokens: Who believes tokens for a while, and has to hear of changes.
            passwords: Compares passwords.
            rules: What the installation says.
            clock: Returns the time.
        """
        self._users = stored
        self._tokens = tokens
        self._passwords = passwords
        self._rules = rules
        self._clock = clock

    # --- for everybody

    async def register(self, document: Any, *, limit: Limit) -> models.UserView:
        """Make an account for who asks.

        Raises:
            Forbidden: Only administrators make accounts here.
            Invalid: A field is wrong, or the invitation is.
            Clash: The username is taken.
            TooManyRequests: They try too often.
        """
        if self._rules.registration is Registration.OFF:
            raise errors.Forbidden("Administrators make the accounts here.")
        order = bodies.read(models.Registration, document)
        limit(order.username)
        _check_username(order.username)
        _check_password(order.password, order.username, pointer="/password")
        if order.invite is None and self._rules.registration is Registration.INVITE:
            raise _wrong("/invite", "an administrator's invitation is needed")
        user = users.User(
            username=order.username,
            email=order.email,
            role=models.Role.USER,
            password_hash=await self._passwords.hash(order.password),
            created_at=self._clock(),
        )
        invite = None if order.invite is None else local_tokens.digest_of(order.invite)
        made = await self._add(user, invite=invite)
        _logger.info("Registered user", extra={"user": made.username, "by": made.username})
        return _view(made)

    async def login(self, document: Any, *, limit: Limit) -> models.LoggedIn:
        """Begin a session of who knows the password.

        Raises:
            Unauthenticated: The username or the password is wrong.
            Forbidden: The account is disabled.
            Invalid: A field is wrong.
            TooManyRequests: They try too often.
        """
        order = bodies.read(models.Login, document)
        limit(order.username)
        user = await self._checked(order.username, order.password)
        if user is None:
            raise errors.Unauthenticated(_WRONG)
        if user.is_disabled:
            raise errors.Forbidden("The account is disabled.")
        token = local_tokens.new_token()
        made = self._token(
            user.username,
            token,
            kind=models.TokenKind.SESSION,
            scopes=models.Scope,
            good_for=self._rules.session,
        )
        # The password may have been changed while it was looked at.
        if not await self._users.add_token(
            made, most=_MOST_SESSIONS, password_hash=user.password_hash
        ):
            raise errors.Unauthenticated(_WRONG)
        _logger.info("Logged in", extra={"by": user.username})
        return models.LoggedIn(token=token, expires_at=made.expires_at)

    # --- for each caller

    async def me(self, caller: callers.Caller) -> models.Me:
        """Return who the caller is.

        Raises:
            Unauthenticated: Their account is gone.
        """
        user = await self._own(caller) if caller.is_local else None
        return models.Me(
            name=caller.name,
            username=user.username if user else None,
            subject=caller.subject,
            role=caller.role,
            acts=[act for act in callers.Act if caller.may(act)],
            sees_all=caller.sees_all,
            email=user.email if user else None,
            via=caller.via,
        )

    async def logout(self, caller: callers.Caller) -> None:
        """End the token that the caller showed.

        Raises:
            Forbidden: It is no token of ours.
        """
        if not caller.is_local:
            raise errors.Forbidden("This token is not LongTask's to end.")
        await self._users.remove_token(caller.subject, caller.token_id)
        self._tokens.forget()
        _logger.info("Logged out", extra={"by": caller.name})

    async def change_password(self, caller: callers.Caller, document: Any, *, limit: Limit) -> None:
        """Give the caller another password, and end their other sessions.

        Raises:
            Forbidden: They are not logged in.
            Invalid: A field is wrong, or the current password is.
            TooManyRequests: They try too often.
        """
        _check_session(caller)
        order = bodies.read(models.PasswordChange, document)
        limit(caller.subject)
        user = await self._checked(caller.subject, order.current)
        if user is None:
            raise _wrong("/current", "not the password")
        _check_password(order.new, user.username, pointer="/new")
        kept = await self._passwords.hash(order.new)
        if not await self._users.set_password(
            user, kept, ends=[models.TokenKind.SESSION], but=caller.token_id
        ):
            raise errors.Clash("The password was changed just now.")
        self._tokens.forget()
        _logger.info("Changed password", extra={"user": user.username, "by": caller.name})

    async def token_list(self, caller: callers.Caller) -> models.TokenList:
        """Return the caller's tokens; of who has none, none."""
        found = []
        if caller.is_local:
            found = await self._users.tokens_of(caller.subject, at=self._clock())
        return models.TokenList(items=[_token_view(token, caller) for token in found])

    async def make_token(self, caller: callers.Caller, document: Any) -> models.NewToken:
        """Make the caller a token for programs.

        Raises:
            Forbidden: They are not logged in.
            Unauthenticated: They are not any more.
            Invalid: A field is wrong, or they may not what the token is for.
            Clash: They have as many as may be.
        """
        _check_session(caller)
        order = bodies.read(models.TokenOrder, document)
        own = [act for act in callers.Act if caller.may(act)]
        scopes = own if order.scopes is None else order.scopes
        if beyond := [scope for scope in scopes if scope not in own]:
            raise _wrong("/scopes", f"you may not {', '.join(beyond)} yourself")
        token = local_tokens.new_token()
        made = self._token(
            caller.subject,
            token,
            kind=models.TokenKind.PERSONAL,
            name=order.name,
            scopes=[act for act in callers.Act if act in scopes],
            good_for=timedelta(days=order.expires_in_days or self._rules.token_days),
        )
        try:
            is_made = await self._users.add_token(made, most=_MOST_TOKENS, session=caller.token_id)
        except users.SessionOver as error:
            # It is believed for some seconds more; what it made would last.
            raise errors.Unauthenticated from error
        if not is_made:
            raise errors.Clash(f"You have {_MOST_TOKENS} tokens: delete those of no use.")
        _logger.info("Made token", extra={"token": made.id, "by": caller.name})
        return models.NewToken(**dict(_token_view(made, caller)), token=token)

    async def delete_token(self, caller: callers.Caller, token_id: str) -> None:
        """End one of the caller's tokens.

        Raises:
            Forbidden: They are not logged in.
            Missing: They have no such token.
        """
        _check_session(caller)
        is_id = _ID.fullmatch(token_id)
        if not is_id or not await self._users.remove_token(caller.subject, token_id):
            raise errors.Missing("There is no such token.")
        self._tokens.forget()
        _logger.info("Deleted token", extra={"token": token_id, "by": caller.name})

    # --- for admins

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
        return models.UserPage(items=list(map(_view, shown)), next_cursor=more)

    async def find_user(self, caller: callers.Caller, username: str) -> models.UserView:
        """Return a user.

        Raises:
            Forbidden: The caller is no admin.
            Missing: There is none of that name.
        """
        _check_admin(caller)
        return _view(await self._named(username))

    async def make_user(self, caller: callers.Caller, document: Any) -> models.NewUser:
        """Make a user, with a password to begin with.

        Raises:
            Forbidden: The caller is no admin.
            Invalid: A field is wrong.
            Clash: The username is taken.
        """
        _check_admin(caller)
        order = bodies.read(models.UserOrder, document)
        _check_username(order.username)
        password = _made_up_password()
        user = users.User(
            username=order.username,
            email=order.email,
            role=order.role,
            password_hash=await self._passwords.hash(password),
            created_at=self._clock(),
        )
        made = await self._add(user)
        told = {"user": made.username, "role": made.role, "by": caller.name}
        _logger.info("Made user", extra=told)
        return models.NewUser(**dict(_view(made)), password=password)

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
        changed = await self._users.change(username, **values) if _is_username(username) else None
        if changed is None:
            raise _missing()
        self._tokens.forget()
        told = {"user": username, "role": changed.role, "disabled": changed.is_disabled}
        _logger.info("Changed user", extra=told | {"by": caller.name})
        return _view(changed)

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

    async def invite_list(self, caller: callers.Caller) -> models.InviteList:
        """Return the invitations that nobody has taken yet.

        Raises:
            Forbidden: The caller is no admin.
        """
        _check_admin(caller)
        found = await self._users.invites(at=self._clock(), limit=_MOST_INVITES)
        return models.InviteList(items=list(map(_invite_view, found)))

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
        _logger.info("Made invitation", extra={"invite": made.id, "by": caller.name})
        return models.NewInvite(**dict(_invite_view(made)), invite=invite)

    async def delete_invite(self, caller: callers.Caller, invite_id: str) -> None:
        """Take an invitation back.

        Raises:
            Forbidden: The caller is no admin.
            Missing: There is no such invitation, or somebody has taken it.
        """
        _check_admin(caller)
        is_id = _ID.fullmatch(invite_id)
        if not is_id or not await self._users.remove_invite(invite_id):
            raise errors.Missing("There is no such invitation.")
        _logger.info("Deleted invitation", extra={"invite": invite_id, "by": caller.name})

    # --- inside

    async def _checked(self, username: str, password: str) -> users.User | None:
        """Return the user if that is their password; it takes as long if there is no such user."""
        user = await self._users.find(username) if _is_username(username) else None
        kept = None if user is None else user.password_hash
        is_right, better = await self._passwords.check(password, kept)
        if user is None or not is_right:
            return None
        if better is not None:
            await self._users.rehash(user, better)
            user = dataclasses.replace(user, password_hash=better)
        return user

    async def _add(self, user: users.User, *, invite: str | None = None) -> users.User:
        try:
            return await self._users.add(user, invite=invite)
        except users.NameTaken as error:
            wrong = errors.finding("/username", "is taken")
            raise errors.Clash("The username is taken.", errors=[wrong]) from error
        except users.InviteUnknown as error:
            raise _wrong("/invite", "not an invitation, or not any more") from error

    async def _own(self, caller: callers.Caller) -> users.User:
        user = await self._users.find(caller.subject)
        if user is None:
            raise errors.Unauthenticated
        return user

    async def _named(self, username: str) -> users.User:
        user = await self._users.find(username) if _is_username(username) else None
        if user is None:
            raise _missing()
        return user

    def _token(
        self,
        username: str,
        token: str,
        *,
        kind: str,
        scopes: Iterable[models.Scope],
        good_for: timedelta,
        name: str | None = None,
    ) -> users.Token:
        now = self._clock()
        return users.Token(
            id=uuid.uuid4().hex,
            digest=local_tokens.digest_of(token),
            username=username,
            kind=kind,
            name=name,
            scopes=tuple(map(str, scopes)),
            created_at=now,
            expires_at=now + good_for,
        )


def _check_admin(caller: callers.Caller) -> None:
    # Who manages queues by rights in the tasks' namespace is no admin of the installation.
    if not caller.may(callers.Act.MANAGE) or caller.via is callers.Via.KUBERNETES:
        raise errors.Forbidden("Only admins manage accounts.")


def _check_session(caller: callers.Caller) -> None:
    """Let pass who said their password: a token that was lost makes no others, and ends none."""
    if caller.via is not callers.Via.SESSION:
        raise errors.Forbidden("Log in with your password for that.")


def _check_username(username: str) -> None:
    if username in _TAKEN or username.startswith(_TAKEN_BEGINNINGS):
        raise _wrong("/username", "is reserved")


def _check_password(password: str, username: str, *, pointer: str) -> None:
    if password.casefold() == username:
        raise _wrong(pointer, "the username is no password")


def _made_up_password() -> str:
    return secrets.token_urlsafe(15)


def _is_username(text: Any) -> bool:
    """Tell whether a user may be called that: nothing else ever gets into a statement."""
    try:
        _USERNAME.validate_python(text)
    except pydantic.ValidationError:
        return False
    return True


def _is_name(key: cursors.Key) -> bool:
    return len(key) == 1 and _is_username(key[0])


def _wrong(pointer: str, detail: str) -> errors.Invalid:
    return errors.Invalid(errors=[errors.finding(pointer, detail)])


def _missing() -> errors.Missing:
    return errors.Missing("There is no such user.")


# --- what is shown


def _view(user: users.User) -> models.UserView:
    return models.UserView(
        username=user.username,
        email=user.email,
        role=models.Role(user.role),
        disabled=user.is_disabled,
        created_at=user.created_at,
    )


def _token_view(token: users.Token, caller: callers.Caller) -> models.TokenView:
    return models.TokenView(
        id=token.id,
        kind=models.TokenKind(token.kind),
        name=token.name,
        scopes=[models.Scope(scope) for scope in token.scopes],
        created_at=token.created_at,
        expires_at=token.expires_at,
        current=token.id == caller.token_id,
    )


def _invite_view(invite: users.Invite) -> models.InviteView:
    return models.InviteView(
        id=invite.id,
        role=models.Role(invite.role),
        note=invite.note,
        created_by=invite.created_by,
        created_at=invite.created_at,
        expires_at=invite.expires_at,
    )
