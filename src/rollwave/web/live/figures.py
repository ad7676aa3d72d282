"""The figures beside the cells: counts of each batch, the budget, pace and time left."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

from msgspec import Struct

from rollwave.domain.brake import failed_count
from rollwave.domain.budget import budget_of
from rollwave.domain.progress import pause_before
from rollwave.domain.status import Status, summarize
from rollwave.web.live.cell import FAILURES, IN_FLIGHT, OUT, REST, Cell, cell_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rollwave.domain.model import State
    from rollwave.web.live.pace import Pace


class Figures(Struct, frozen=True, kw_only=True):
    """
    What a page says in numbers.

    Attributes:
        batches: For each batch, in order, how many of its targets are in each cell state, by the state's number.
        out: Instances out of traffic, for whatever reason the budget counts.
        limit: How many may be.
        failed: Targets that the brake counts.
        per_minute: Targets settled a minute of work; null before enough were.
        eta_s: Seconds until the end at this pace, pauses included; null while nothing moves or no pace is known.
        status: One word for all of it.
        stamp: Number of the newest event that changes more of a page than cells and figures.
    """

    batches: list[list[int]]
    out: int
    limit: int
    failed: int
    per_minute: float | None
    eta_s: int | None
    status: str
    stamp: int


class Ground(Struct, frozen=True, kw_only=True):
    """
    What figures take from the whole state, which is read now and then: the cells tell how it has changed since.

    Attributes:
        out_besides: Instances out of traffic for other reasons than this release's targets.
        failed_besides: How many more targets count as failed than the cells say; negative where some are held.
        limit: How many may be out of traffic.
        status: One word for all of it.
        pauses_s: Seconds that the batches which have not begun will wait before they do.
    """

    out_besides: int
    failed_besides: int
    limit: int
    status: str
    pauses_s: int


def ground_of(state: State) -> Ground:
    """Return what figures take from *state*."""
    cells = Counter(map(cell_of, state.targets.values()))
    budget = budget_of(state)
    ahead = (batch for batch in state.deployment.batches if not batch.opened)
    return Ground(
        out_besides=budget.out_count - _sum(cells, OUT),
        failed_besides=failed_count(state) - _sum(cells, FAILURES),
        limit=budget.limit_count,
        status=summarize(state).status.value,
        pauses_s=sum(round(pause_before(state, batch).total_seconds()) for batch in ahead),
    )


class Census:
    """
    Counts of cells by batch, kept up as they change.

    Args:
        cells: One byte for each target.
        batches: Number of each target's batch.
    """

    def __init__(self, cells: bytes, batches: Sequence[int]) -> None:
        self._batches = batches
        self.counts: dict[int, list[int]] = {
            number: _counts(cells[place] for place, _ in places)
            for number, places in groupby(enumerate(batches), key=lambda one: one[1])
        }

    def move(self, place: int, was: int, now: int) -> None:
        """Count the target at *place* as *now* and no more as *was*."""
        counts = self.counts[self._batches[place]]
        counts[was] -= 1
        counts[now] += 1

    @property
    def total(self) -> Counter[Cell]:
        """How many targets are in each state."""
        return Counter({cell: sum(counts[cell] for counts in self.counts.values()) for cell in Cell})


def figures(census: Census, ground: Ground, pace: Pace, *, stamp: int) -> Figures:
    """Return the figures of this instant."""
    total = census.total
    per_minute = pace.per_minute
    return Figures(
        batches=[counts for _, counts in sorted(census.counts.items())],
        out=max(0, ground.out_besides + _sum(total, OUT)),
        limit=ground.limit,
        failed=max(0, ground.failed_besides + _sum(total, FAILURES)),
        per_minute=None if per_minute is None else round(per_minute, 1),
        eta_s=eta_s(ground, pace, total),
        status=ground.status,
        stamp=stamp,
    )


def is_working(total: Counter[Cell]) -> bool:
    """Return whether anything is in flight."""
    return _sum(total, IN_FLIGHT) > 0


def eta_s(ground: Ground, pace: Pace, total: Counter[Cell]) -> int | None:
    """Return the seconds until the end at this pace, pauses included; None while nothing moves or no pace is known."""
    if ground.status != Status.RUNNING.value:
        return None
    work_s = pace.seconds_for(_sum(total, REST))
    return None if work_s is None else round(work_s) + ground.pauses_s


def _counts(cells: Iterable[int]) -> list[int]:
    found = Counter(cells)
    return [found[cell] for cell in Cell]


def _sum(counts: Counter[Cell], which: frozenset[Cell]) -> int:
    return sum(counts[cell] for cell in which)
