"""Users of LongTask's own, their tokens, and invitations, as the database has them.

Of tokens and invitations only sums are here: whoever reads the database can show none of them.
"""

import dataclasses
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from longtask_api.database.engine import Database
from longtask_api.database.tables import INVITES, TOKENS, USERS
from longtask_client import models


@dataclasses.dataclass(frozen=True)
class User:
    """A user."""

    username: str
    email: str | None
    role: str
    password_hash: str
    created_at: datetime
    disabled_at: datetime | None = None

    @property
    def is_disabled(self) -> bool:
        """Tell whether they are kept out."""
        return self.disabled_at is not None


@dataclasses.dataclass(frozen=True)
class Token:
    """A token of a user's."""

    id: str
    digest: str
    username: str
    kind: str
    name: str | None
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime


@dataclasses.dataclass(frozen=True)
class Invite:
    """An invitation that nobody has taken yet."""

    id: str
    digest: str
    role: str
    note: str | None
    created_by: str
    created_at: datetime
    expires_at: datetime


class NameTaken(Exception):
    """Somebody has, or had, the username."""


class SessionOver(Exception):
    """The session is over, at another replica perhaps."""


class InviteUnknown(Exception):
    """There is no such invitation, or none any more."""


_IS_THERE: Final = USERS.c.deleted_at.is_(None)
_USER: Final = [USERS.c[field.name] for field in dataclasses.fields(User)]
_TOKEN: Final = [TOKENS.c[field.name] for field in dataclasses.fields(Token)]
_INVITE: Final = [INVITES.c[field.name] for field in dataclasses.fields(Invite)]


class Users:
    """The accounts. All of it raises DatabaseAway while the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- users

    async def add(self, user: User, *, invite: str | None = None) -> User:
        """Store a new user, and take the invitation of that sum: both or none.

        Returns:
            The user, with the role of the invitation if there is one.

        Raises:
            NameTaken: Somebody has, or had, the username.
            InviteUnknown: There is no such invitation, or it has expired.
        """
        try:
            async with self._database.writing() as connection:
                if invite is not None:
                    taken = (
                        sa.delete(INVITES)
                        .where(INVITES.c.digest == invite, INVITES.c.expires_at > user.created_at)
                        .returning(INVITES.c.role)
                    )
                    role = (await connection.execute(taken)).scalar_one_or_none()
                    if role is None:
                        raise InviteUnknown
                    user = dataclasses.replace(user, role=role)
                await connection.execute(sa.insert(USERS).values(dataclasses.asdict(user)))
        except sa.exc.IntegrityError as error:
            raise NameTaken from error
        return user

    async def find(self, username: str) -> User | None:
        """Return the user of that name, or None."""
        asked = sa.select(*_USER).where(USERS.c.username == username, _IS_THERE)
        async with self._database.reading() as connection:
            row = (await connection.execute(asked)).one_or_none()
        return None if row is None else User(**row._mapping)

    async def page(self, *, after: str, limit: int) -> list[User]:
        """Return users in the order of their names, behind one of them."""
        asked = (
            sa.select(*_USER)
            .where(USERS.c.username > after, _IS_THERE)
            .order_by(USERS.c.username)
            .limit(limit)
        )
        async with self._database.reading() as connection:
            return [User(**row._mapping) for row in await connection.execute(asked)]

    async def change(self, username: str, **values: Any) -> User | None:
        """Set fields of a user; return how they are then, or None if there is none."""
        changed = (
            sa.update(USERS)
            .where(USERS.c.username == username, _IS_THERE)
            .values(**values)
            .returning(*_USER)
        )
        async with self._database.writing() as connection:
            row = (await connection.execute(changed)).one_or_none()
        return None if row is None else User(**row._mapping)

    async def rehash(self, user: User, password_hash: str) -> None:
        """Store the same password's new hash, unless the password has changed meanwhile."""
        changed = (
            sa.update(USERS)
            .where(USERS.c.username == user.username, USERS.c.password_hash == user.password_hash)
            .values(password_hash=password_hash)
        )
        async with self._database.writing() as connection:
            await connection.execute(changed)

    async def set_password(
        self, user: User, password_hash: str, *, ends: Iterable[str], but: str = ""
    ) -> bool:
        """Store another password's hash, and end tokens with it: both or none.

        Args:
            user: The user, with the password that they had.
            password_hash: That of the new password.
            ends: The kinds of tokens that end.
            but: The id of a token that stays all the same.

        Returns:
            Whether the password was still the one that they had.
        """
        changed = (
            sa.update(USERS)
            .where(
                USERS.c.username == user.username,
                USERS.c.password_hash == user.password_hash,
                _IS_THERE,
            )
            .values(password_hash=password_hash)
        )
        ended = sa.delete(TOKENS).where(
            TOKENS.c.username == user.username, TOKENS.c.kind.in_(list(ends)), TOKENS.c.id != but
        )
        async with self._database.writing() as connection:
            done = await connection.execute(changed)
            if done.rowcount:
                await connection.execute(ended)
        return bool(done.rowcount)

    async def remove(self, username: str, *, at: datetime) -> bool:
        """Forget a user, and all of theirs but the name; tell whether there was one."""
        gone = (
            sa.update(USERS)
            .where(USERS.c.username == username, _IS_THERE)
            .values(email=None, password_hash="", deleted_at=at)
        )
        async with self._database.writing() as connection:
            done = await connection.execute(gone)
            await connection.execute(sa.delete(TOKENS).where(TOKENS.c.username == username))
        return bool(done.rowcount)

    async def gone(self) -> list[str]:
        """Return the names of all users who were deleted."""
        asked = sa.select(USERS.c.username).where(~_IS_THERE).order_by(USERS.c.username)
        async with self._database.reading() as connection:
            return list((await connection.execute(asked)).scalars())

    # --- tokens

    async def add_token(
        self, token: Token, *, most: int, password_hash: str | None = None, session: str = ""
    ) -> bool:
        """Store a token, if its user has fewer of its kind; of too many sessions the oldest go.

        Args:
            token: The token.
            most: How many of its kind a user may have.
            password_hash: That of the password that was said for it, if one was.
            session: The id of the session that makes it, if one does.

        Returns:
            Whether it was stored: a user may have gone meanwhile, or have another password, or have
            enough.

        Raises:
            SessionOver: The session has ended: it leaves nothing behind.
        """
        same = (TOKENS.c.username == token.username, TOKENS.c.kind == token.kind)
        held = (
            sa.select(TOKENS.c.id)
            .where(*same, TOKENS.c.expires_at > token.created_at)
            .order_by(TOKENS.c.created_at.desc(), TOKENS.c.id)
        )
        row = dataclasses.asdict(token) | {"scopes": ",".join(token.scopes)}
        # Two at once see each other's: the user's row is held.
        user = (
            sa.select(USERS.c.username)
            .where(USERS.c.username == token.username, USERS.c.disabled_at.is_(None), _IS_THERE)
            .with_for_update()
        )
        if password_hash is not None:
            user = user.where(USERS.c.password_hash == password_hash)
        maker = sa.select(TOKENS.c.id).where(TOKENS.c.id == session)
        async with self._database.writing() as connection:
            if (await connection.execute(user)).one_or_none() is None:
                return False
            if session and (await connection.execute(maker)).one_or_none() is None:
                raise SessionOver
            surplus = list((await connection.execute(held)).scalars())[most - 1 :]
            if surplus and token.kind != models.TokenKind.SESSION:
                return False
            await connection.execute(sa.delete(TOKENS).where(TOKENS.c.id.in_(surplus)))
            await connection.execute(sa.insert(TOKENS).values(row))
        return True

    async def bearer(self, digest: str) -> tuple[Token, User] | None:
        """Return the token of that sum and whose it is, or None; it may have expired."""
        asked = (
            sa.select(*_TOKEN, *(column.label(f"user_{column.name}") for column in _USER))
            .join(USERS, USERS.c.username == TOKENS.c.username)
            .where(TOKENS.c.digest == digest, _IS_THERE)
        )
        async with self._database.reading() as connection:
            row = (await connection.execute(asked)).mappings().one_or_none()
        if row is None:
            return None
        return _token(row), User(**{column.name: row[f"user_{column.name}"] for column in _USER})

    async def tokens_of(self, username: str, *, at: datetime) -> list[Token]:
        """Return the tokens of a user that are good then, the newest first."""
        asked = (
            sa.select(*_TOKEN)
            .where(TOKENS.c.username == username, TOKENS.c.expires_at > at)
            .order_by(TOKENS.c.created_at.desc(), TOKENS.c.id)
        )
        async with self._database.reading() as connection:
            return [_token(row._mapping) for row in await connection.execute(asked)]

    async def remove_token(self, username: str, token_id: str) -> bool:
        """End a token of a user's; tell whether there was one."""
        gone = sa.delete(TOKENS).where(TOKENS.c.username == username, TOKENS.c.id == token_id)
        async with self._database.writing() as connection:
            done = await connection.execute(gone)
        return bool(done.rowcount)

    # --- invitations

    async def add_invite(self, invite: Invite) -> None:
        """Store an invitation."""
        async with self._database.writing() as connection:
            await connection.execute(sa.insert(INVITES).values(dataclasses.asdict(invite)))

    async def invites(self, *, at: datetime, limit: int) -> list[Invite]:
        """Return the invitations that are good then, the newest first."""
        asked = (
            sa.select(*_INVITE)
            .where(INVITES.c.expires_at > at)
            .order_by(INVITES.c.created_at.desc(), INVITES.c.id)
            .limit(limit)
        )
        async with self._database.reading() as connection:
            return [Invite(**row._mapping) for row in await connection.execute(asked)]

    async def remove_invite(self, invite_id: str) -> bool:
        """Take an invitation back; tell whether there was one."""
        gone = sa.delete(INVITES).where(INVITES.c.id == invite_id)
        async with self._database.writing() as connection:
            done = await connection.execute(gone)
        return bool(done.rowcount)

    # --- the sweep

    async def remove_expired(self, *, before: datetime) -> int:
        """Forget tokens and invitations that were good no longer then; return how many."""
        count = 0
        async with self._database.writing() as connection:
            for table in (TOKENS, INVITES):
                done = await connection.execute(
                    sa.delete(table).where(table.c.expires_at <= before)
                )
                count += done.rowcount
        return count


def _token(row: Any) -> Token:
    found = {column.name: row[column.name] for column in _TOKEN}
    return Token(**found | {"scopes": tuple(found["scopes"].split(","))})
