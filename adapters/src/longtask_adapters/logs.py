"""Logs as JSON lines: message, level, logger, timestamp, what `extra` gives, exception."""

import logging
import sys
from collections.abc import Iterable

import structlog


def configure(level: str, *more: structlog.typing.Processor, quiet: Iterable[str] = ()) -> None:
    """Send every record of the process, the libraries' too, to standard output.

    Args:
        level: The least severe record that is logged: DEBUG, INFO, WARNING or ERROR.
        more: Processors that add what only this part knows.
        quiet: Loggers of libraries that speak of warnings and worse alone.
    """
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *more,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(default=str),
        ],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    for name in quiet:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.basicConfig(handlers=[handler], level=level, force=True)
