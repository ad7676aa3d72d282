"""Several who listen, as one."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rollwave.domain.facts import Fact
    from rollwave.ports.store import Claim, SliceRecord
    from rollwave.ports.telemetry import Part, Telemetry


class Several:
    """
    Implements `rollwave.ports.telemetry.Telemetry`: tells each of them.

    Args:
        listeners: In the order in which they are told.
    """

    def __init__(self, *listeners: Telemetry) -> None:
        self._listeners = listeners

    def decided(self, deployment_id: int, facts: Sequence[Fact], *, since: datetime) -> None:
        """Tell each of them."""
        for one in self._listeners:
            one.decided(deployment_id, facts, since=since)

    def recorded(self, records: Sequence[SliceRecord], *, since: datetime) -> None:
        """Tell each of them."""
        for one in self._listeners:
            one.recorded(records, since=since)

    def conflicted(self) -> None:
        """Tell each of them."""
        for one in self._listeners:
            one.conflicted()

    def sent(self) -> None:
        """Tell each of them."""
        for one in self._listeners:
            one.sent()

    def slice(self, claim: Claim, *, now: datetime) -> ExitStack:
        """Hold what each of them returns."""
        with ExitStack() as stack:
            for one in self._listeners:
                stack.enter_context(one.slice(claim, now=now))
            return stack.pop_all()

    def put_right(self, *, in_traffic: bool, done: bool) -> None:
        """Tell each of them."""
        for one in self._listeners:
            one.put_right(in_traffic=in_traffic, done=done)

    def failed(self, part: Part) -> None:
        """Tell each of them."""
        for one in self._listeners:
            one.failed(part)
