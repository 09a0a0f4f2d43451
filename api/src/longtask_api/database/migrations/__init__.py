"""The steps from each version of the tables to the next; `env` and `versions` are Alembic's."""

from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

#: Those who migrate at once wait for each other under this number: any will do.
_LOCK: Final = 5_067_214_290


class NewerDatabase(Exception):
    """A newer version has changed the tables in ways that this one does not know."""


def upgrade(connection: sa.Connection, *, to: str = "head") -> None:
    """Bring the tables to a revision, by default this version's, within a transaction that writes.

    Raises:
        NewerDatabase: They are at a revision that is not known.
    """
    if connection.dialect.name == "postgresql":
        # On SQLite the transaction itself is the lock.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    revision, known = _revision(connection), revisions()
    if revision == known[0]:
        return
    if revision is not None and revision not in known:
        raise NewerDatabase(
            f"The database is at revision {revision}, which this version of LongTask does not"
            f" know: its own newest is {known[0]}. Run the newer version again, or"
            " restore a backup of the database from before it."
        )
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def revisions() -> list[str]:
    """Return all revisions that are known, the newest first."""
    found = ScriptDirectory.from_config(_config()).walk_revisions()
    return [script.revision for script in found]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def _revision(connection: sa.Connection) -> str | None:
    """Return the revision of the tables, or None where there are none."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    stored = sa.table("alembic_version", sa.column("version_num", sa.String))
    return connection.execute(sa.select(stored.c.version_num)).scalar()
