"""Trouble that lasts: what fails at every try is told when it begins, when it changes, and when it is over."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollwave.ports.telemetry import Part, Telemetry

log = structlog.get_logger()


class Trouble:
    """
    Keeps something running that is tried for ever, whatever goes wrong with it (a store that is down, say).

    Args:
        event: What the log calls a failure.
        part: Which part of the engine it is, for telemetry.
        telemetry: Hears of every failure.
        about: What the lines in the log say besides (the id of a deployment, say).
    """

    def __init__(self, event: str, *, part: Part, telemetry: Telemetry, **about: object) -> None:
        self._event = event
        self._part = part
        self._telemetry = telemetry
        self._about = about
        self._last = ""
        self._count = 0

    @property
    def lasts(self) -> bool:
        """Whether the last try failed."""
        return self._count > 0

    @contextmanager
    def survived(self) -> Iterator[None]:
        """Survive what the block raises. A traceback is logged for the first of several failures that are alike."""
        try:
            yield
        except Exception as error:
            self._telemetry.failed(self._part)
            self._count += 1
            if repr(error) != self._last:
                self._last = repr(error)
                log.exception(self._event, **self._about)
        else:
            if self._count:
                log.info("trouble_is_over", trouble=self._event, failures=self._count, **self._about)
            self._last, self._count = "", 0


class Troubles:
    """
    Keeps many things running that are tried for ever: what one of them raises costs the others nothing.

    Args:
        event: What the log calls a failure.
        part: Which part of the engine it is, for telemetry.
        telemetry: Hears of every failure.
    """

    def __init__(self, event: str, *, part: Part, telemetry: Telemetry) -> None:
        self._event = event
        self._part = part
        self._telemetry = telemetry
        self._lasting: dict[tuple[tuple[str, object], ...], Trouble] = {}

    @contextmanager
    def survived(self, **about: object) -> Iterator[Trouble]:
        """Survive what the block raises, as `Trouble` does; *about* tells it from the others, here and in the log."""
        key = tuple(about.items())
        trouble = self._lasting.pop(key, None)
        if trouble is None:
            trouble = Trouble(self._event, part=self._part, telemetry=self._telemetry, **about)
        with trouble.survived():
            yield trouble
        if trouble.lasts:
            self._lasting[key] = trouble
