"""One target of a release: why it failed, its stages with their times, and the log of what happened to it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from rollwave.domain.actions import retryable
from rollwave.domain.model import Progress, Stage
from rollwave.store import codec
from rollwave.store.models import Event
from rollwave.store.models import Target as Row
from rollwave.web.language import language_shown
from rollwave.web.live.cell import Cell, cell_of
from rollwave.words.catalog import name_of
from rollwave.words.standing import failure_cause
from rollwave.words.story import Names, sentence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from rollwave.domain.model import State
    from rollwave.store.codec import StageChanged

LINES: Final = 120
"""Most lines of the log that are shown: the newest."""

_CHAIN: Final = (Stage.MARKDOWN, Stage.DOWNLOAD, Stage.INSTALL, Stage.VERIFY, Stage.MARKUP)


class Line(Struct, frozen=True, kw_only=True):
    """
    What happened to the target.

    Attributes:
        at: When; of what a stage did, counted from its beginning by the clock where it did it.
        text: What, for a person; what a stage did is technical, and in English.
        tone: bad, wait or none.
        did: Name of the stage that did it; empty where it tells how a stage stands.
        said: What the commands on the host printed last, where it failed.
    """

    at: datetime
    text: str
    tone: str = ""
    did: str = ""
    said: str = ""


class Bar(Struct, frozen=True, kw_only=True):
    """
    A stage of the newest attempt.

    Attributes:
        name: What it is called.
        standing: todo, now, done, failed or unknown.
        began_at: When it began; None where it has not.
        took: Seconds until it ended, with one digit; empty where it has not.
    """

    name: str
    standing: str
    began_at: datetime | None
    took: str


class Card(Struct, frozen=True, kw_only=True):
    """
    A target, for the page.

    Attributes:
        position: Place in rolling order.
        name: Server and port.
        site: Site of the server.
        batch: Number of its batch.
        attempt: Which attempt it is in.
        version: What was last seen running; None where unknown.
        cell: What its cell shows.
        restored: It failed and serves the previous version.
        cause: What its failure means; empty where it has none.
        message: What was said of it.
        bars: Its stages.
        lines: Its log, the newest last.
        can_retry: Whether a retry would run it again.
        full_name: Name with that of its group.
    """

    position: int
    name: str
    site: str
    batch: int
    attempt: int
    version: str | None
    cell: Cell
    restored: bool
    cause: str
    message: str
    bars: tuple[Bar, ...]
    lines: tuple[Line, ...]
    can_retry: bool
    full_name: str


def card(state: State, position: int) -> Card | None:
    """Return the target at *position* in rolling order; None where there is none."""
    row = Row.objects.filter(deployment_id=state.deployment.id, position=position).values_list("instance_id").first()
    if row is None:
        return None
    target, instance = state.targets[row[0]], state.fleet[row[0]]
    log = _log(state.deployment.id, instance.id)
    cause = failure_cause(target.failure.code, language_shown()) if target.failure else ""
    return Card(
        position=position,
        name=instance.name.split("/", 1)[-1],
        site=instance.site,
        batch=target.batch,
        attempt=target.attempt,
        version=instance.version,
        cell=cell_of(target),
        restored=target.restored,
        cause=cause[:1].upper() + cause[1:],
        message=target.failure.message if target.failure else "",
        bars=_bars([(at, one) for at, one in log if one.attempt == target.attempt]),
        lines=tuple(_lines(log))[-LINES:],
        can_retry=any(one.instance_id == instance.id for one in retryable(state)),
        full_name=instance.name,
    )


def _log(deployment_id: int, instance_id: int) -> list[tuple[datetime, StageChanged]]:
    rows = Event.objects.filter(deployment_id=deployment_id, instance_id=instance_id).order_by("seq")
    return [(at, codec.event(kind, data)) for at, kind, data in rows.values_list("at", "kind", "data")]  # type: ignore[misc]


def _bars(log: Sequence[tuple[datetime, StageChanged]]) -> tuple[Bar, ...]:
    extra = [one.stage for _, one in log if one.stage not in _CHAIN]
    shown = [*_CHAIN, *([Stage.RESTORE] if Stage.RESTORE in extra else [])]
    if Stage.PROVE in extra:
        shown.insert(1, Stage.PROVE)
    return tuple(_bar(stage, [(at, one.progress) for at, one in log if one.stage is stage]) for stage in shown)


def _bar(stage: Stage, log: Sequence[tuple[datetime, Progress]]) -> Bar:
    began = next((at for at, progress in log if progress is Progress.RUNNING), None)
    last = log[-1] if log else None
    standing = {
        None: "todo",
        Progress.RUNNING: "now",
        Progress.UNKNOWN: "unknown",
        Progress.SUCCESS: "done",
        Progress.FAILURE: "failed",
    }[last[1] if last else None]
    is_ended = last is not None and began is not None and standing in ("done", "failed")
    took = f"{(last[0] - began).total_seconds():.1f}" if is_ended and last and began else ""
    return Bar(name=name_of(stage, language_shown()), standing=standing, began_at=began, took=took)


def _lines(log: Sequence[tuple[datetime, StageChanged]]) -> Iterator[Line]:
    """Yield how stages stood, and before the end of each what it did."""
    began: dict[tuple[int, Stage], datetime] = {}
    for at, one in log:
        if one.progress is Progress.RUNNING:
            began[one.attempt, one.stage] = at
        first = began.get((one.attempt, one.stage), at)
        for line in one.lines or ():
            when = min(at, first + timedelta(milliseconds=line.after_ms))
            yield Line(at=when, text=line.text, did=name_of(one.stage, language_shown()))
        yield _line(at, one)


def _line(at: datetime, one: StageChanged) -> Line:
    tone = {Progress.FAILURE: "bad", Progress.UNKNOWN: "wait"}.get(one.progress, "")
    said = one.failure.log if one.failure else ""
    return Line(at=at, text=sentence(one, Names({}, language_shown())), tone=tone, said=said)
