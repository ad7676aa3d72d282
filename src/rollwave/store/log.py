"""The event log: one row per change of a deployment, in order and without a gap (I21)."""
# ruff: noqa: S608  # statements are put together from constants; values are always parameters

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from rollwave.store import codec
from rollwave.store.dialect import execute, fetch, pack, recordset, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from rollwave.domain.facts import Fact
    from rollwave.domain.model import Progress, Stage
    from rollwave.ports.store import Transition

_COLUMNS = ("deployment_id", "seq", "at", "kind", "instance_id", "data")
_LISTED = ", ".join(_COLUMNS)
_APPEND = f"INSERT INTO store_event ({_LISTED}) SELECT {_LISTED} FROM {recordset(*_COLUMNS)}"


class Log:
    """What one transaction adds to the logs of deployments: gathered first, then written by one statement."""

    def __init__(self) -> None:
        self._events: defaultdict[int, list[tuple[str, str, int | None, object]]] = defaultdict(list)

    def add_facts(self, deployment_id: int, facts: Iterable[Fact], *, at: datetime) -> None:
        """Add what was decided."""
        when = timestamp(at)
        self._events[deployment_id] += [(when, type(fact).__name__, None, fact) for fact in facts]

    def add_transitions(self, deployment_id: int, slice_number: int, transitions: Iterable[Transition]) -> None:
        """Add what a worker saw, each at its own time."""
        events = self._events[deployment_id]
        # Most of a thousand targets in a row say one of ten things; each is put into words once.
        said: dict[tuple[Stage, Progress, int], str] = {}
        for one in transitions:
            what = (one.stage, one.progress, one.attempt)
            text = said.get(what)
            if text is None or one.failure is not None:
                text = codec.stage_changed(one, slice_number=slice_number)
                if one.failure is None:
                    said[what] = text
            events.append((timestamp(one.at), codec.STAGE_CHANGED, one.instance_id, text))

    def write(self) -> None:
        """Number the events of each deployment on from its last one, and append them."""
        numbered = []
        for deployment_id, events in self._events.items():
            if not events:
                continue
            ((last,),) = fetch(
                "UPDATE store_deployment SET seq = seq + %s WHERE id = %s RETURNING seq", len(events), deployment_id
            )
            numbered += [(deployment_id, seq, *event) for seq, event in enumerate(events, start=last - len(events) + 1)]
        if numbered:
            execute(_APPEND, pack(numbered))
