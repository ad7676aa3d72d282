"""
The picture of a release: a pure function of what the API said, the times and the room that there is.

Every target is shown exactly once: as a row of its own, or as one glyph in the strip of its batch.
"""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from rollwave.cli import marks
from rollwave.cli.target_row import mark_of, render_failure, render_target
from rollwave.cli.times import format_age, format_duration
from rollwave.domain.model import Standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from rollwave.cli.release import Batch, Release, Target
    from rollwave.cli.stopwatch import Lap

_WORDS: Final = {
    Standing.SUCCESS: "done",
    Standing.IN_FLIGHT: "in flight",
    Standing.VERIFIED: "verified",
    Standing.FAILED: "failed",
    Standing.PENDING: "pending",
    Standing.LEFT: "left",
}
_LIVELY: Final = frozenset({Standing.IN_FLIGHT, Standing.VERIFIED, Standing.FAILED})
_WRAPPER: Final = Console(file=io.StringIO())
"""Rich wraps words only for a console; this one never prints."""

_BAR: Final = marks.Mark(glyph="━", ascii="=", style="")
_BAR_OPEN: Final = marks.Mark(glyph="─", ascii="-", style="dim")


class Detail(IntEnum):
    """Which targets have a row of their own; the others are glyphs in the strip of their batch."""

    EVERY_TARGET = 0
    OPEN_BATCHES = 1
    LIVELY_TARGETS = 2
    NO_TARGET = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """
    The room that there is, and what is known beside the release.

    Attributes:
        at: Now.
        width: Cells of a line.
        height: Lines, None for as many as it takes.
        is_ascii: Whether the terminal has no Unicode.
        laps: Times of the targets by instance, as far as they are known.
    """

    at: datetime
    width: int = 100
    height: int | None = None
    is_ascii: bool = False
    laps: Mapping[str, Lap] = field(default_factory=dict)


def render_release(release: Release, frame: Frame) -> Text:
    """Return the picture, as detailed as the height allows; no line is longer than the width."""
    lines: list[Text] = []
    for detail in Detail:
        lines = [*_head(release, frame), *_batches(release, frame, detail), *_foot(release)]
        if frame.height is None or len(lines) <= frame.height:
            break
    else:
        lines = _cropped(lines, frame.height or 0)
    for line in lines:
        line.truncate(frame.width, overflow="ellipsis" if not frame.is_ascii else "crop")
        line.rstrip()
    return Text("\n").join(lines)


def _head(release: Release, frame: Frame) -> Iterator[Text]:
    head = release.head
    arrow = "->" if frame.is_ascii else "→"
    title = Text.assemble((head.group, "bold"), "  ")
    if head.previous_version:
        title.append(f"{head.previous_version} {arrow} ", style="dim")
    title.append(head.goal_version, style="bold")
    end = head.ended_at or frame.at
    about = [f"{head.kind.replace('_', ' ')} {head.id}", format_duration((end - head.created_at).total_seconds())]
    if head.actor:
        about.append(f"by {head.actor}")
    if head.ended_at:
        about.append(f"ended {format_age(head.ended_at, at=frame.at)}")
    title.append("   " + "  ".join(about), style="dim")
    yield title
    mark = marks.mark_of_status(head.status)
    status = Text.assemble((f"{mark.shape(is_ascii=frame.is_ascii)} {head.status}", f"bold {mark.style}"))
    status.append(f"  {head.sentence}")
    yield from status.wrap(_WRAPPER, frame.width)
    if head.reason:
        yield Text(f"  reason: {head.reason}", style="dim")
    yield _bar(release, frame)
    yield from _counts(release, frame)
    yield Text()


def _bar(release: Release, frame: Frame) -> Text:
    """Return one line in proportion: done, in flight and verified, failed, the rest."""
    width = min(60, frame.width)
    bar = Text()
    total = len(release.targets)
    by_standing = Counter(target.standing for target in release.targets)
    seen = 0
    for standing in (Standing.SUCCESS, Standing.FAILED, Standing.IN_FLIGHT, Standing.VERIFIED):
        before = seen * width // total if total else 0
        seen += by_standing[standing]
        cells = (seen * width // total if total else 0) - before
        bar.append(_BAR.shape(is_ascii=frame.is_ascii) * cells, style=marks.BY_STANDING[standing].style)
    bar.append(_BAR_OPEN.shape(is_ascii=frame.is_ascii) * (width - len(bar)), style=_BAR_OPEN.style)
    return bar


def _counts(release: Release, frame: Frame) -> Iterator[Text]:
    by_standing = Counter(target.standing for target in release.targets)
    line = Text()
    for standing, word in _WORDS.items():
        if by_standing[standing]:
            line.append("  " if line else "")
            line.append(f"{by_standing[standing]} {word}", style=marks.BY_STANDING[standing].style)
    line.append(f"{'  ' if line else ''}of {len(release.targets)}", style="dim")
    budget = release.head.budget
    if budget is None or release.head.is_over:
        yield line
        return
    figures = Text(f"{budget.out} out of traffic, {budget.limit} allowed", style="dim")
    if len(line) + 3 + len(figures) <= frame.width:
        yield line.append("   ").append_text(figures)
    else:
        yield line
        yield figures


def _batches(release: Release, frame: Frame, detail: Detail) -> Iterator[Text]:
    name_width = max((len(target.name) for target in release.targets), default=0)
    for batch in release.head.batches:
        targets = release.in_batch(batch.number)
        rows = [target for target in targets if _has_row(batch, target, targets, detail)]
        strip = [target for target in targets if target not in rows]
        yield _batch_line(batch, targets, strip, frame)
        for target in rows:
            yield render_target(
                target,
                goal=release.head.goal_version,
                name_width=name_width,
                lap=frame.laps.get(target.instance),
                at=frame.at,
                is_ascii=frame.is_ascii,
            )
            failure = render_failure(target)
            if failure is not None:
                for line in failure.wrap(_WRAPPER, max(20, frame.width - 6)):
                    yield Text("      ").append_text(line)
    yield Text()


def _has_row(batch: Batch, target: Target, targets: Sequence[Target], detail: Detail) -> bool:
    match detail:
        case Detail.EVERY_TARGET:
            return True
        case Detail.OPEN_BATCHES:
            is_finished = all(one.standing is Standing.SUCCESS for one in targets)
            return batch.opened and not is_finished
        case Detail.LIVELY_TARGETS:
            return target.standing in _LIVELY
        case Detail.NO_TARGET:
            return False


def _batch_line(batch: Batch, targets: Sequence[Target], strip: Sequence[Target], frame: Frame) -> Text:
    mark = _batch_mark(batch, targets)
    done_count = sum(target.standing is Standing.SUCCESS for target in targets)
    name = f"batch {batch.number}" + (" canary" if batch.canary else "")
    line = Text.assemble((mark.shape(is_ascii=frame.is_ascii), mark.style), " ", (name.ljust(16), "bold"))
    line.append(f"{done_count} of {len(targets)}".rjust(9))
    if strip:
        line.append("  ")
        line.append_text(_strip(strip, room=frame.width - len(line), is_ascii=frame.is_ascii))
    if batch.due_at is not None and batch.due_at > frame.at and not batch.opened:
        wait = format_duration((batch.due_at - frame.at).total_seconds())
        line.append(f"  starts in {wait}", style="dim")
    return line


def _batch_mark(batch: Batch, targets: Sequence[Target]) -> marks.Mark:
    standings = {target.standing for target in targets}
    for standing in (Standing.IN_FLIGHT, Standing.FAILED, Standing.VERIFIED):
        if standing in standings:
            return marks.BY_STANDING[standing]
    if Standing.PENDING in standings or not standings:
        return marks.MOVING if batch.opened and standings - {Standing.PENDING} else marks.PENDING
    return marks.GOOD if Standing.SUCCESS in standings else marks.GONE


def _strip(targets: Sequence[Target], *, room: int, is_ascii: bool) -> Text:
    """Return one glyph per target; where there is no room for that, each glyph once with how many there are."""
    strip = Text()
    if len(targets) <= room:
        for target in targets:
            mark = mark_of(target)
            strip.append(mark.shape(is_ascii=is_ascii), style=mark.style)
        return strip
    for mark, count in Counter(map(mark_of, targets)).items():
        strip.append(f"{mark.shape(is_ascii=is_ascii)}{count} ", style=mark.style)
    return strip


def _foot(release: Release) -> Iterator[Text]:
    head = release.head
    if head.followed_by is not None:
        yield Text(f"followed by deployment {head.followed_by}", style="bold")
    if head.available_actions:
        commands = "  ".join(action.replace("_", "-") for action in head.available_actions)
        yield Text.assemble(("open now  ", "dim"), commands)


def _cropped(lines: list[Text], height: int) -> list[Text]:
    """Return the first lines and the last one; what is between says how many are missing."""
    if height < 3:
        return lines[:height]
    missing = len(lines) - height + 1
    return [*lines[: height - 2], Text(f"  {missing} more lines; a taller window shows them", style="dim"), lines[-1]]
