"""
The picture of a release: a pure function of what the API said, the times and the room that there is.

Every target is shown exactly once: as a row of its own, or as one glyph in the strip of its batch.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from rich.text import Text

from rollwave.cli import marks
from rollwave.cli.frame import wrapped
from rollwave.cli.heading import foot_lines, head_lines
from rollwave.cli.target_row import mark_of, render_failure, render_target
from rollwave.cli.times import format_duration
from rollwave.domain.model import Standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rollwave.cli.frame import Frame
    from rollwave.cli.release import Batch, Release, Target

_LIVELY: Final = frozenset({Standing.IN_FLIGHT, Standing.VERIFIED, Standing.FAILED})


class Detail(IntEnum):
    """Which targets have a row of their own; the others are glyphs in the strip of their batch."""

    EVERY_TARGET = 0
    OPEN_BATCHES = 1
    LIVELY_TARGETS = 2
    NO_TARGET = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """One batch: its targets, those that get a row, and those that go into its strip."""

    batch: Batch
    targets: Sequence[Target]
    rows: Sequence[Target]
    strip: Sequence[Target]


def render_release(release: Release, frame: Frame) -> Text:
    """Return the picture, as detailed as the height allows; no line is longer than the width."""
    lines: list[Text] = []
    for detail in Detail:
        plan = _plan(release, detail)
        # Thousands of rows that nobody will see are not drawn first to be thrown away.
        row_count = sum(1 + len(part.rows) for part in plan)
        if frame.height is not None and detail is not Detail.NO_TARGET and row_count > frame.height:
            continue
        lines = [*head_lines(release, frame), *_batches(release, frame, plan), *foot_lines(release)]
        if frame.height is None or len(lines) <= frame.height:
            break
    else:
        lines = _cropped(lines, frame.height or 0)
    for line in lines:
        line.truncate(frame.width, overflow="ellipsis" if not frame.is_ascii else "crop")
        line.rstrip()
    return Text("\n").join(lines)


def _plan(release: Release, detail: Detail) -> list[_Part]:
    """Return every batch with those of its targets that get a row, and those that go into its strip."""
    by_batch = release.by_batch()
    parts = []
    for batch in release.head.batches:
        targets = by_batch.get(batch.number, ())
        is_finished = all(target.standing is Standing.SUCCESS for target in targets)
        rows: list[Target] = []
        strip: list[Target] = []
        for target in targets:
            has_row = _has_row(target, detail, is_unfinished=batch.opened and not is_finished)
            (rows if has_row else strip).append(target)
        parts.append(_Part(batch=batch, targets=targets, rows=rows, strip=strip))
    return parts


def _has_row(target: Target, detail: Detail, *, is_unfinished: bool) -> bool:
    match detail:
        case Detail.EVERY_TARGET:
            return True
        case Detail.OPEN_BATCHES:
            return is_unfinished
        case Detail.LIVELY_TARGETS:
            return target.standing in _LIVELY
        case Detail.NO_TARGET:
            return False


def _batches(release: Release, frame: Frame, plan: Sequence[_Part]) -> Iterator[Text]:
    name_width = max((len(target.name) for part in plan for target in part.rows), default=0)
    for part in plan:
        yield _batch_line(part, frame)
        for target in part.rows:
            yield from _target_lines(target, release, frame, name_width)
    yield Text()


def _target_lines(target: Target, release: Release, frame: Frame, name_width: int) -> Iterator[Text]:
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
        for line in wrapped(failure, max(20, frame.width - 6)):
            yield Text("      ").append_text(line)


def _batch_line(part: _Part, frame: Frame) -> Text:
    batch, targets = part.batch, part.targets
    mark = _batch_mark(batch, targets)
    done_count = sum(target.standing is Standing.SUCCESS for target in targets)
    name = f"batch {batch.number}" + (" canary" if batch.canary else "")
    line = Text.assemble((mark.shape(is_ascii=frame.is_ascii), mark.style), " ", (name.ljust(16), "bold"))
    line.append(f"{done_count} of {len(targets)}".rjust(9))
    if part.strip:
        line.append("  ")
        line.append_text(_strip(part.strip, room=frame.width - len(line), is_ascii=frame.is_ascii))
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


def _cropped(lines: list[Text], height: int) -> list[Text]:
    """Return the first lines and the last one; what is between says how many are missing."""
    if height < 3:
        return lines[:height]
    missing = len(lines) - height + 1
    return [*lines[: height - 2], Text(f"  {missing} more lines; a taller window shows them", style="dim"), lines[-1]]
