"""Logging: one line per event, JSON or text, in the same form for the API, the workers and libraries."""

import logging
import sys
from typing import Any

import structlog

NOISY_LIBRARIES = (
    "botocore",
    "urllib3",
    "uvicorn.access",
    "kombu",
    "amqp",
    "celery.app.trace",
    "celery.worker.strategy",
)
"""Loggers of which only warnings are logged."""
_SECRET_FIELDS = ("token", "secret", "password", "authorization", "signature", "private")


def configure_logging(log_format: str, level: str) -> None:
    """Send the records of structlog and of the standard library to standard error, in the same form.

    Args:
        log_format: `json` or `console`.
        level: lowest level that is logged.
    """
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _redact,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*processors, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=processors,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for library in NOISY_LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING)


def log(name: str) -> Any:
    """A logger; names of events are `subject.verb`, for example `version.ready`, `attempt.timed_out`."""
    return structlog.stdlib.get_logger(name)


def _redact(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Hide the values of fields whose names suggest a secret."""
    for key in event:
        if any(word in key.lower() for word in _SECRET_FIELDS):
            event[key] = "[redacted]"
    return event
