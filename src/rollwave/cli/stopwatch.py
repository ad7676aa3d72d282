"""How long each target takes: read from the event log, since the API's targets carry no times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rollwave.cli.times import parse_time

if TYPE_CHECKING:
    from datetime import datetime

    from rollwave.cli.feed import Event


@dataclass(frozen=True, kw_only=True, slots=True)
class Lap:
    """
    One attempt of one target so far.

    Attributes:
        attempt: From 1.
        began_at: When its first stage began.
        changed_at: When a stage of it last began or ended.
    """

    attempt: int
    began_at: datetime
    changed_at: datetime


class Stopwatch:
    """The newest attempt of every target, by the name of its instance."""

    def __init__(self) -> None:
        self.laps: dict[str, Lap] = {}

    def note(self, event: Event) -> None:
        """Take in one event of the log; those that are no step of a target change nothing."""
        instance = event.get("instance")
        if event.get("kind") != "Transition" or not instance:
            return
        at = parse_time(event["at"])
        attempt = (event.get("data") or {}).get("attempt", 1)
        before = self.laps.get(instance)
        is_same = before is not None and before.attempt == attempt
        self.laps[instance] = Lap(
            attempt=attempt, began_at=before.began_at if before is not None and is_same else at, changed_at=at
        )
