"""Logs as JSON lines, each with the id of the request it belongs to."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from asgi_correlation_id import correlation_id


def _add_request_id(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if (request_id := correlation_id.get()) is not None:
        event["request_id"] = request_id
    return event


def configure(level: str) -> None:
    """Send every record of the process to standard output."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_request_id,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    # Its lines tell of sockets; what is served is told by `server`.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.basicConfig(handlers=[handler], level=level, force=True)
