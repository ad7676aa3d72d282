"""What the live pages read: the cells of a release, and which of them an event may have changed."""
# ruff: noqa: S608  # statements are put together from constants; values are always parameters

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from rollwave.domain import facts
from rollwave.domain.evolve import touched
from rollwave.domain.model import Target  # noqa: TC001  # msgspec reads the annotations
from rollwave.store import codec, rows
from rollwave.store.dialect import fetch, fetch_packed, pack, packed, recordset
from rollwave.store.models import FINAL_PHASES, Deployment, Event
from rollwave.web.live.cell import Cell, cell_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rollwave.domain.facts import Fact

GAP: Final = 50_000
"""So many events on, to read all cells anew is less work than to look for those that changed."""

_QUIET: Final = (facts.SliceOpened, facts.SliceClosed)
"""Facts that the grid shows, and nothing else of a page does."""


class Picture(Struct, frozen=True, kw_only=True):
    """
    The cells of a release at one instant, or a little later: what is newer comes again as a change.

    Attributes:
        seq: Number of the newest event that is surely in it.
        cells: One byte for each target, in rolling order.
        batches: Number of each target's batch, in the same order.
        is_over: There can be no other event.
    """

    seq: int
    cells: bytes
    batches: tuple[int, ...]
    is_over: bool


class Advance(Struct, frozen=True, kw_only=True):
    """
    What happened after an event.

    Attributes:
        seq: Number of the newest event that is in it.
        changes: Place and cell, as it is now, of every target that an event has touched.
        stamp: Number of the newest event that changes more of a page than cells and counts; 0 where there was none.
        is_over: There can be no other event.
    """

    seq: int
    changes: tuple[tuple[int, Cell], ...] = ()
    stamp: int = 0
    is_over: bool = False


class _Row(Struct, frozen=True, array_like=True):
    position: int
    target: Target


_ROW: Final = packed(_Row, position="t.position", target=rows.TARGET)

_ALL: Final = "FROM store_target t WHERE t.deployment_id = %s ORDER BY t.position"

_THESE: Final = f"""
FROM {recordset("deployment_id", "instance_id")}
JOIN store_target t ON t.deployment_id = fresh.deployment_id AND t.instance_id = fresh.instance_id
"""

_SEEN: Final = f"""
SELECT DISTINCT instance_id FROM store_event
WHERE deployment_id = %s AND seq > %s AND seq <= %s AND kind = '{codec.STAGE_CHANGED}' AND instance_id IS NOT NULL
"""


def standing(deployment_id: int) -> tuple[int, bool]:
    """
    Return the number of the newest event, and whether there can be no other; read as one row, so they agree.

    Raises:
        Deployment.DoesNotExist: If there is no such deployment.
    """
    seq, phase = Deployment.objects.values_list("seq", "phase").get(id=deployment_id)
    return seq, phase in FINAL_PHASES


def picture(deployment_id: int) -> Picture:
    """Return all cells of a release; raises Deployment.DoesNotExist."""
    # The number first: cells that are newer than it do no harm, for what made them so comes again.
    seq, is_over = standing(deployment_id)
    found = fetch_packed(_Row, _ROW, _ALL, deployment_id)
    return Picture(
        seq=seq,
        cells=bytes(cell_of(row.target) for row in found),
        batches=tuple(row.target.batch for row in found),
        is_over=is_over,
    )


def advance(deployment_id: int, since: int) -> Advance | None:
    """
    Return what happened after event *since*; None where that is too much to be told one by one.

    Raises:
        Deployment.DoesNotExist: If there is no such deployment.
    """
    seq, is_over = standing(deployment_id)
    if not 0 <= seq - since <= GAP:
        return None
    if seq == since:
        return Advance(seq=seq, is_over=is_over)
    decided = _decided(deployment_id, since, seq)
    ids = touched(fact for _, fact in decided).union(one for (one,) in fetch(_SEEN, deployment_id, since, seq))
    found = fetch_packed(_Row, _ROW, _THESE, pack([(deployment_id, one) for one in sorted(ids)])) if ids else []
    return Advance(
        seq=seq,
        changes=tuple((row.position, cell_of(row.target)) for row in found),
        stamp=max((number for number, fact in decided if _is_told(fact)), default=0),
        is_over=is_over,
    )


def settled_before(deployment_id: int, now: datetime, *, window_s: float) -> list[tuple[float, int]]:
    """Return how many seconds before *now* targets were settled, and how many, oldest first; not longer ago."""
    kind = facts.TargetsSettled.__name__
    after = now - timedelta(seconds=window_s)
    found = Event.objects.filter(deployment_id=deployment_id, kind=kind, at__gt=after).order_by("seq")
    return [
        (max(0.0, (now - at).total_seconds()), len(codec.event(kind, data).settlements))  # type: ignore[union-attr]
        for at, data in found.values_list("at", "data")
    ]


def _decided(deployment_id: int, since: int, until: int) -> Sequence[tuple[int, Fact]]:
    of_log = Event.objects.filter(deployment_id=deployment_id, seq__gt=since, seq__lte=until)
    found = of_log.exclude(kind=codec.STAGE_CHANGED).order_by("seq").values_list("seq", "kind", "data")
    return [(seq, codec.event(kind, data)) for seq, kind, data in found]  # type: ignore[misc]  # no stage is among them


def _is_told(fact: Fact) -> bool:
    """Return whether more of a page than its cells and counts tells of *fact*."""
    if isinstance(fact, facts.TargetsSettled):
        return any(one.failure is not None for one in fact.settlements)
    return not isinstance(fact, _QUIET)


def names(deployment_id: int) -> list[str]:
    """Return the names of all targets in rolling order, without that of their group."""
    found = fetch(_NAMES, deployment_id)
    return [f"{server}:{port}" for server, port in found]


_NAMES: Final = """
SELECT s.name, i.port FROM store_target t JOIN store_instance i ON i.id = t.instance_id
JOIN store_server s ON s.id = i.server_id WHERE t.deployment_id = %s ORDER BY t.position
"""
