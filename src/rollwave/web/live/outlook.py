"""Pace and time left of a release at one instant, for whoever asks once and does not follow it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rollwave.web.live.cell import cell_of
from rollwave.web.live.figures import eta_s, ground_of
from rollwave.web.live.pace import WINDOW_S, Pace
from rollwave.web.live.reading import settled_before

if TYPE_CHECKING:
    from datetime import datetime

    from rollwave.domain.model import State


def outlook(state: State, now: datetime) -> tuple[float | None, int | None]:
    """Return the targets settled a minute of work and the seconds left; None for what nobody can say now."""
    if state.deployment.phase.is_final:
        return None, None
    pace = Pace(settled_before(state.deployment.id, now, window_s=WINDOW_S))
    per_minute = pace.per_minute
    left = eta_s(ground_of(state), pace, Counter(map(cell_of, state.targets.values())))
    return None if per_minute is None else round(per_minute, 1), left
