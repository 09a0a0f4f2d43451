"""What Alembic runs for each migration: on the connection, and in the transaction, that it got."""

from alembic import context

from longtask_api.database import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.METADATA,
    # SQLite changes a table by making it anew.
    render_as_batch=True,
)
context.run_migrations()
