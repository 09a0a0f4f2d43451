"""Starts the API: `python -m longtask_api`."""

import sys

import uvloop

from longtask_api import logs, server, settings
from longtask_crds import names


def main() -> None:
    """Read the configuration, once, and serve."""
    configured = settings.Settings()
    logs.configure(configured.log_level)
    sys.setrecursionlimit(names.RECURSION_LIMIT)
    uvloop.run(server.serve(configured))


if __name__ == "__main__":
    main()
