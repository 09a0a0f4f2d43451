"""What somebody does with their own account: how they come, log in, and what they are given.

Every change is told in one line of the log, with who made it. No password and no token ever is.
"""

import dataclasses
import logging
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from longtask_api import deeds, errors
from longtask_api.auth import callers
from longtask_api.auth.passwords import Passwords
from longtask_api.services import bodies
from longtask_api.services.accounts import local_tokens, names, views
from longtask_api.settings import Registration
from longtask_api.stores import users
from longtask_api.stores.users import Users
from longtask_client import models

_logger = logging.getLogger(__name__)

#: Counts a try of somebody who is not known yet, and raises TooManyRequests if it is too many.
Limit = Callable[[str], None]

_MOST_SESSIONS: Final = 200
_MOST_TOKENS: Final = 100
_WRONG: Final = "The username or the password is wrong."


@dataclasses.dataclass(frozen=True)
class Rules:
    """What the installation says of accounts."""

    registration: Registration
    session: timedelta  #: how long a login is good
    token_days: int  #: how long a token for programs is good that does not say


class AccountService:
    """All that somebody does with their own account."""

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

    @property
    def registration(self) -> Registration:
        """Who may make themselves an account."""
        return self._rules.registration

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
        names.check_username(order.username)
        names.check_password(order.password, order.username, pointer="/password")
        if order.invite is None and self._rules.registration is Registration.INVITE:
            raise names.wrong("/invite", "an administrator's invitation is needed")
        user = users.User(
            username=order.username,
            email=order.email,
            role=models.Role.USER,
            password_hash=await self._passwords.hash(order.password),
            created_at=self._clock(),
        )
        invite = None if order.invite is None else local_tokens.digest_of(order.invite)
        made = await names.add(self._users, user, invite=invite)
        deeds.by(made.username, subject=made.username, via=models.Via.SESSION)
        deeds.to(made.username)
        _logger.info("Registered user", extra={"user": made.username, "by": made.username})
        return views.user(made)

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
            raise names.wrong("/current", "not the password")
        names.check_password(order.new, user.username, pointer="/new")
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
        return models.TokenList(items=[views.token(token, caller) for token in found])

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
            raise names.wrong("/scopes", f"you may not {', '.join(beyond)} yourself")
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
        deeds.to(made.id, scopes=list(made.scopes))
        _logger.info("Made token", extra={"token": made.id, "by": caller.name})
        return models.NewToken(**dict(views.token(made, caller)), token=token)

    async def delete_token(self, caller: callers.Caller, token_id: str) -> None:
        """End one of the caller's tokens.

        Raises:
            Forbidden: They are not logged in.
            Missing: They have no such token.
        """
        _check_session(caller)
        is_id = names.ID.fullmatch(token_id)
        if not is_id or not await self._users.remove_token(caller.subject, token_id):
            raise errors.Missing("There is no such token.")
        self._tokens.forget()
        _logger.info("Deleted token", extra={"token": token_id, "by": caller.name})

    # --- inside

    async def _checked(self, username: str, password: str) -> users.User | None:
        """Return the user if that is their password; it takes as long if there is no such user."""
        user = await self._users.find(username) if names.is_username(username) else None
        if user is not None:
            # Not what nobody is called: it may be a password in the wrong field.
            deeds.by(user.username, subject=user.username, via=models.Via.SESSION)
        kept = None if user is None else user.password_hash
        is_right, better = await self._passwords.check(password, kept)
        if user is None or not is_right:
            return None
        if better is not None:
            await self._users.rehash(user, better)
            user = dataclasses.replace(user, password_hash=better)
        return user

    async def _own(self, caller: callers.Caller) -> users.User:
        user = await self._users.find(caller.subject)
        if user is None:
            raise errors.Unauthenticated
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


def _check_session(caller: callers.Caller) -> None:
    """Let pass who said their password: a token that was lost makes no others, and ends none."""
    if caller.via is not callers.Via.SESSION:
        raise errors.Forbidden("Log in with your password for that.")
