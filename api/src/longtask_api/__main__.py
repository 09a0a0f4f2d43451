"""Starts the API: `python -m longtask_api`."""

import sys

import uvloop

from longtask_api import logs, server, settings


def main() -> None:
    """Read the configuration, once, and serve."""
    configured = settings.Settings()
    logs.configure(configured.log_level)
    # The API server stores JSON of 10000 levels: one such input must not break all lists.
    sys.setrecursionlimit(25_000)
    uvloop.run(server.serve(configured))


if __name__ == "__main__":
    main()
