"""Cove: a small, sheltered cloud that gives every virtual machine an address and a disk."""

import structlog

__version__ = "0.1.0"

if not structlog.is_configured():
    # A library does not write to its user's terminal: events go where the program's `logging` sends them.
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
