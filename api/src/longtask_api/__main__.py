"""Starts the API: `python -m longtask_api`."""

import sys
from collections.abc import MutableMapping
from typing import Any

import uvloop
from asgi_correlation_id import correlation_id

from longtask_adapters import logs
from longtask_api import server, settings
from longtask_api.database.migrations import NewerDatabase
from longtask_crds import names


def main() -> None:
    """Read the configuration, once, and serve."""
    configured = settings.Settings()
    # Uvicorn's lines tell of sockets; what is served is told by `server`.
    logs.configure(configured.log_level, add_request_id, quiet=["uvicorn", "aiosqlite"])
    sys.setrecursionlimit(names.RECURSION_LIMIT)
    try:
        uvloop.run(server.serve(configured))
    except NewerDatabase as error:
        sys.exit(str(error))


def add_request_id(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Say which request a line belongs to."""
    if (request_id := correlation_id.get()) is not None:
        event["request_id"] = request_id
    return event


if __name__ == "__main__":
    main()
