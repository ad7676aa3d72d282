"""Logs: one line per event on stderr, for people or for machines; those of libraries go the same way."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Final

import structlog

from rollwave.engine.subject import add_subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import Processor

    from rollwave.settings_file import LogSettings


def configure(settings: LogSettings) -> None:
    """Write logs as *settings* say, from now on and for the whole process."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        add_subject,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    render = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_RENDERERS[settings.format]()]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=render))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    # These say what our own events say better, once per request or per connection.
    for chatty in ("uvicorn", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    # Django reports every answer of 500 once more; only what it caught by itself is news.
    logging.getLogger("django.request").addFilter(lambda record: bool(record.exc_info))


def _console() -> list[Processor]:
    # Plain tracebacks: the pretty ones print the values of variables, and a token is one of them.
    return [
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    ]


def _json() -> list[Processor]:
    transform = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [structlog.processors.ExceptionRenderer(transform), structlog.processors.JSONRenderer()]


_RENDERERS: Final[dict[str, Callable[[], list[Processor]]]] = {"console": _console, "json": _json}
