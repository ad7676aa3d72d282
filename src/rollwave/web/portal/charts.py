"""Charts of a release: only what it has measured itself. Drawn as SVG by the template, in a box of 300 by 84."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from rollwave.domain import facts
from rollwave.domain.model import Progress, Stage, Standing
from rollwave.store import codec
from rollwave.store.models import Event
from rollwave.web.language import language_shown
from rollwave.words.catalog import name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from rollwave.domain.commands import Settlement

WIDTH: Final = 300
HEIGHT: Final = 84
POINTS: Final = 60
"""Most points of a line."""

SAMPLE: Final = 150
"""So many targets are looked at more closely: those that were settled last."""

EXACT: Final = 10
"""From here on the first digit behind the point says nothing."""

_CHAIN: Final = (Stage.MARKDOWN, Stage.DOWNLOAD, Stage.INSTALL, Stage.VERIFY, Stage.MARKUP)


class Chart(Struct, frozen=True, kw_only=True):
    """
    A line over time.

    Attributes:
        points: Coordinates for a polyline, in a box of 300 by 84; empty where there is nothing to draw.
        highest: Largest value.
        latest: Value at the end.
        latest_y: Its height in the box.
        began_at: Left end.
        ended_at: Right end.
    """

    points: str
    highest: float
    latest: float
    latest_y: float
    began_at: datetime | None
    ended_at: datetime | None


class Span(Struct, frozen=True, kw_only=True):
    """
    How long a stage takes.

    Attributes:
        name: What it is called.
        median_s: Half of the targets took no longer, in seconds.
        percent: Its share of the longest.
        kind: Name of the stage.
    """

    name: str
    median_s: float
    percent: int
    kind: str


class Charts(Struct, frozen=True, kw_only=True):
    """
    All of a release.

    Attributes:
        pace: Targets settled a minute.
        out: Seconds out of traffic, of each target, in the order in which they came back.
        out_median_s: Half of them were out no longer; None where none was.
        stages: How long each stage takes.
    """

    pace: Chart
    out: Chart
    out_median_s: float | None
    stages: tuple[Span, ...]


def charts(deployment_id: int) -> Charts:
    """Return the charts of a release as its log has them now."""
    settled = _settled(deployment_id)
    newest = [one.instance_id for _, mine in reversed(settled) for one in mine if one.standing is Standing.SUCCESS]
    of_kind = Event.objects.filter(deployment_id=deployment_id, kind=codec.STAGE_CHANGED)
    rows = of_kind.filter(instance_id__in=newest[:SAMPLE]).order_by("seq").values_list("at", "instance_id", "data")
    events = [(at, instance_id, codec.event(codec.STAGE_CHANGED, data)) for at, instance_id, data in rows]
    began: dict[tuple[int, Stage], datetime] = {}
    spans: defaultdict[Stage, list[float]] = defaultdict(list)
    outs: list[tuple[datetime, float]] = []
    for at, instance_id, one in events:
        assert isinstance(one, codec.StageChanged)
        if one.progress is Progress.RUNNING:
            began[instance_id, one.stage] = at
        elif one.progress is Progress.SUCCESS and (instance_id, one.stage) in began:
            spans[one.stage].append((at - began[instance_id, one.stage]).total_seconds())
            if one.stage is Stage.MARKUP and (instance_id, Stage.MARKDOWN) in began:
                outs.append((at, (at - began[instance_id, Stage.MARKDOWN]).total_seconds()))
    medians = {stage: median(spans[stage]) for stage in _CHAIN if spans[stage]}
    longest = max(medians.values(), default=0) or 1
    return Charts(
        pace=_pace([(at, len(mine)) for at, mine in settled]),
        out=_line(_thinned(outs)),
        out_median_s=median(seconds for _, seconds in outs) if outs else None,
        stages=tuple(
            Span(
                name=name_of(stage, language_shown()),
                median_s=seconds,
                percent=round(100 * seconds / longest),
                kind=stage.value,
            )
            for stage, seconds in medians.items()
        ),
    )


def _settled(deployment_id: int) -> list[tuple[datetime, tuple[Settlement, ...]]]:
    kind = facts.TargetsSettled.__name__
    rows = Event.objects.filter(deployment_id=deployment_id, kind=kind).order_by("seq").values_list("at", "data")
    return [(at, codec.event(kind, data).settlements) for at, data in rows]  # type: ignore[union-attr]  # its kind says so


def _pace(settled: Sequence[tuple[datetime, int]]) -> Chart:
    if len(settled) < 2:  # a line has two ends
        return _line([])
    first, last = settled[0][0], settled[-1][0]
    width_s = max((last - first).total_seconds() / POINTS, 1.0)
    counts: defaultdict[int, int] = defaultdict(int)
    for at, count in settled:
        counts[int((at - first).total_seconds() / width_s)] += count
    return _line(
        [(first + (last - first) * (n / max(counts)), counts[n] * 60 / width_s) for n in range(max(counts) + 1)]
        if max(counts)
        else []
    )


def _thinned(values: Sequence[tuple[datetime, float]]) -> list[tuple[datetime, float]]:
    """Return at most `POINTS` medians of values that follow each other."""
    step = -(-len(values) // POINTS) or 1
    groups: Iterable[Sequence[tuple[datetime, float]]] = (values[at : at + step] for at in range(0, len(values), step))
    return [(group[-1][0], median(value for _, value in group)) for group in groups]


def _line(values: Sequence[tuple[datetime, float]]) -> Chart:
    if len(values) < 2:  # a line has two ends
        return Chart(points="", highest=0, latest=0, latest_y=0, began_at=None, ended_at=None)
    first, last = values[0][0], values[-1][0]
    width_s = (last - first).total_seconds() or 1.0
    highest = max(value for _, value in values) or 1.0

    def y(value: float) -> float:
        return round(HEIGHT - 4 - (HEIGHT - 12) * value / highest, 1)

    points = [f"{WIDTH * (at - first).total_seconds() / width_s:.1f},{y(value)}" for at, value in values]
    return Chart(
        points=" ".join(points),
        highest=_told(highest),
        latest=_told(values[-1][1]),
        latest_y=y(values[-1][1]),
        began_at=first,
        ended_at=last,
    )


def _told(value: float) -> float:
    """Return a value as exact as a person wants to know it."""
    return round(value) if value >= EXACT else round(value, 1)
