"""Starts the API: `python -m longtask_api`."""

import uvloop

from longtask_api import logs, server, settings


def main() -> None:
    """Read the configuration, once, and serve."""
    configured = settings.Settings()
    logs.configure(configured.log_level)
    uvloop.run(server.serve(configured))


if __name__ == "__main__":
    main()
