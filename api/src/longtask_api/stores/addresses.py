"""Whose addresses are known to be theirs, who wants mails of what, and who wants none at all."""

import dataclasses
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from longtask_adapters.kube import errors as kube
from longtask_api import errors
from longtask_api.cluster import Cluster
from longtask_api.database.engine import Database
from longtask_api.database.tables import MUTED, USERS
from longtask_api.mail import addresses
from longtask_crds import names, signing_keys

#: Under this the installation's own key stands among its users': no user's name begins so.
_LINKS: Final = "_links"


@dataclasses.dataclass(frozen=True)
class Wish:
    """What a user wants to be mailed."""

    username: str
    email: str | None
    is_verified: bool  #: the address is known to be theirs
    events: tuple[str, ...]
    since: datetime | None  #: what happened before is no news


class Mute(NamedTuple):
    """Whether an address may be mailed."""

    is_muted: bool
    is_verified: bool  #: an account has it


_WISH: Final = (
    USERS.c.username,
    USERS.c.email,
    USERS.c.email_verified_at,
    USERS.c.notice_events,
    USERS.c.notices_since,
)
_IS_IN: Final = sa.and_(USERS.c.deleted_at.is_(None), USERS.c.disabled_at.is_(None))


class Addresses:
    """What accounts say of mails. All of it raises DatabaseAway while nobody answers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def wishes(self) -> list[Wish]:
        """Return what is wished by all who wish for something and can be mailed."""
        asked = sa.select(*_WISH).where(
            USERS.c.notice_events != "", USERS.c.email_verified_at.is_not(None), _IS_IN
        )
        async with self._database.reading() as connection:
            return [_wish(row) for row in await connection.execute(asked)]

    async def wish_of(self, username: str) -> Wish | None:
        """Return what a user wishes, or None if there is no such user."""
        asked = sa.select(*_WISH).where(USERS.c.username == username, _IS_IN)
        async with self._database.reading() as connection:
            row = (await connection.execute(asked)).one_or_none()
        return None if row is None else _wish(row)

    async def set_events(self, username: str, events: tuple[str, ...], *, at: datetime) -> bool:
        """Note of which events a user wants mails; tell whether there is such a user."""
        changed = (
            sa.update(USERS)
            .where(USERS.c.username == username, _IS_IN)
            .values(notice_events=",".join(events), notices_since=at)
        )
        async with self._database.writing() as connection:
            return bool((await connection.execute(changed)).rowcount)

    async def verify(self, username: str, email: str, *, at: datetime) -> bool:
        """Note that an address is a user's, and may be mailed; tell whether there is the user."""
        changed = (
            sa.update(USERS)
            .where(USERS.c.username == username, _IS_IN)
            .values(email=email, email_verified_at=at)
        )
        unmuted = sa.delete(MUTED).where(MUTED.c.address == addresses.normal(email))
        async with self._database.writing() as connection:
            done = await connection.execute(changed)
            if done.rowcount:
                await connection.execute(unmuted)
        return bool(done.rowcount)

    async def standing(self, address: str) -> Mute:
        """Return what is known of an address."""
        muted = sa.select(MUTED.c.address).where(MUTED.c.address == addresses.normal(address))
        owned = (
            sa.select(USERS.c.username)
            .where(
                sa.func.lower(USERS.c.email) == addresses.normal(address),
                USERS.c.email_verified_at.is_not(None),
                _IS_IN,
            )
            .limit(1)
        )
        async with self._database.reading() as connection:
            return Mute(
                is_muted=(await connection.execute(muted)).first() is not None,
                is_verified=(await connection.execute(owned)).first() is not None,
            )

    async def mute(self, address: str, *, at: datetime) -> None:
        """Note that nobody wants mails there."""
        async with self._database.writing() as connection:
            made: postgresql.Insert | sqlite.Insert
            if connection.dialect.name == "postgresql":
                made = postgresql.insert(MUTED)
            else:
                made = sqlite.insert(MUTED)
            row = {"address": addresses.normal(address), "at": at}
            await connection.execute(made.values(row).on_conflict_do_nothing())


class LinkKey:
    """The installation's key for what mails bring: made on first use, in the Secret of the keys."""

    def __init__(self, cluster: Cluster, *, namespace: str) -> None:
        self._cluster = cluster
        self._secret = names.ObjectKey(namespace, signing_keys.KEYS_SECRET)
        self._known: bytes | None = None

    async def get(self) -> bytes:
        """Return the key.

        Raises:
            Unavailable: There is no Secret for it, or Kubernetes does not answer.
        """
        if self._known is None:
            try:
                text = await self._cluster.ensure_in_secret(self._secret, _LINKS, _made)
            except kube.ClusterError as error:
                raise errors.Unavailable("There is no key for links in mails.") from error
            self._known = text.encode()
        return self._known


def _made(text: str) -> str | None:
    """Return the key to keep in place of what is there, or None if that is one."""
    return None if text else signing_keys.new_key()


def _wish(row: Any) -> Wish:
    return Wish(
        username=row.username,
        email=row.email,
        is_verified=row.email is not None and row.email_verified_at is not None,
        events=tuple(filter(None, row.notice_events.split(","))),
        since=row.notices_since,
    )
