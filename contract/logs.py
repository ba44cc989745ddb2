"""Log lines of the gateway: events with ids, one `key=value` line each, to stderr. Never keys, never payloads."""

from __future__ import annotations

import logging
import sys

import structlog


def set_up_logs(**context: object) -> None:
    """For one process, at its start. `context` stands in each of its lines."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(**context)
    # What libraries want to say goes the same way; psycopg's notes on each connection do not.
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="level=%(levelname)s event=%(message)r")
    logging.getLogger("psycopg").setLevel(logging.ERROR)
