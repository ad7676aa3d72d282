"""The event log: one row per change of a deployment, in order and without a gap (I21)."""
# ruff: noqa: S608  # statements are put together from constants; values are always parameters

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from rollwave.ports.store import Transition, packed
from rollwave.store import codec
from rollwave.store.dialect import (
    as_json,
    execute,
    fetch,
    json_text,
    nested_recordset,
    pack,
    recordset,
    stored_time,
    timestamp,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from rollwave.domain.facts import Fact
    from rollwave.ports.store import SliceRecord

_COLUMNS = ("deployment_id", "seq", "at", "kind", "instance_id", "data")
_LISTED = ", ".join(_COLUMNS)
_APPEND_FACTS = f"INSERT INTO store_event ({_LISTED}) SELECT {_LISTED} FROM {recordset(*_COLUMNS)}"

_STAGE_CHANGED = json_text(
    slice="slice",
    attempt="attempt",
    stage="stage",
    progress="progress",
    failure=as_json("failure"),
    lines=as_json("lines"),
)
# The database puts them into words: a release makes ten for each target, and nothing here need look at them.
_APPEND_TRANSITIONS = f"""
INSERT INTO store_event ({_LISTED})
SELECT deployment_id, first_seq + place, {stored_time("at")}, '{codec.STAGE_CHANGED}', instance_id, {_STAGE_CHANGED}
FROM {nested_recordset("deployment_id", "slice", "first_seq", item=Transition.__struct_fields__)}
"""


class Log:
    """What one transaction adds to the logs of deployments: gathered first, then written by two statements at most."""

    def __init__(self) -> None:
        self._transitions: defaultdict[int, list[SliceRecord]] = defaultdict(list)
        self._facts: defaultdict[int, list[tuple[str, str, None, object]]] = defaultdict(list)

    def add_transitions(self, record: SliceRecord) -> None:
        """Add what a worker saw, each at its own time; it comes before what is decided on it."""
        self._transitions[record.key[0]].append(record)

    def add_facts(self, deployment_id: int, facts: Iterable[Fact], *, at: datetime) -> None:
        """Add what was decided."""
        when = timestamp(at)
        self._facts[deployment_id] += [(when, type(fact).__name__, None, fact) for fact in facts]

    def write(self) -> None:
        """Number the events of each deployment on from its last one, and append them."""
        transitions, facts = [], []
        for deployment_id in sorted({*self._transitions, *self._facts}):
            seen, decided = self._transitions[deployment_id], self._facts[deployment_id]
            seq = _next_seq(deployment_id, sum(len(one.transitions) for one in seen) + len(decided))
            for one in seen:
                transitions.append((*one.key, seq, one.packed or packed(one.transitions)))
                seq += len(one.transitions)
            facts += [(deployment_id, seq + place, *fact) for place, fact in enumerate(decided)]
        if transitions:
            execute(_APPEND_TRANSITIONS, pack(transitions))
        if facts:
            execute(_APPEND_FACTS, pack(facts))


def _next_seq(deployment_id: int, count: int) -> int:
    """Take *count* numbers; return the first."""
    ((last,),) = fetch("UPDATE store_deployment SET seq = seq + %s WHERE id = %s RETURNING seq", count, deployment_id)
    return int(last) - count + 1
