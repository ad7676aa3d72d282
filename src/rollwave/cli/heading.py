"""What a person asks first about a release: what, how far, how it stands, what is open."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from rich.text import Text

from rollwave.cli import marks
from rollwave.cli.frame import wrapped
from rollwave.cli.times import format_age, format_duration
from rollwave.domain.model import Standing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollwave.cli.frame import Frame
    from rollwave.cli.release import Release

_WORDS: Final = {
    Standing.SUCCESS: "done",
    Standing.IN_FLIGHT: "in flight",
    Standing.VERIFIED: "verified",
    Standing.FAILED: "failed",
    Standing.PENDING: "pending",
    Standing.LEFT: "left",
}
_BAR: Final = marks.Mark(glyph="━", ascii="=", style="")
_BAR_OPEN: Final = marks.Mark(glyph="─", ascii="-", style="dim")


def head_lines(release: Release, frame: Frame) -> Iterator[Text]:
    """Yield the lines above the batches, ending with an empty one."""
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
    status = Text(f"{mark.shape(is_ascii=frame.is_ascii)} {head.status}  ", style=f"bold {mark.style}")
    margin = len(status)
    for number, line in enumerate(wrapped(Text(head.sentence), max(20, frame.width - margin))):
        yield Text.assemble(status if number == 0 else " " * margin, line)
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


def foot_lines(release: Release) -> Iterator[Text]:
    """Yield the lines below the batches: what followed, and what is open."""
    head = release.head
    if head.followed_by is not None:
        yield Text(f"followed by deployment {head.followed_by}", style="bold")
    if head.available_actions:
        commands = "  ".join(action.replace("_", "-") for action in head.available_actions)
        yield Text.assemble(("open now  ", "dim"), commands)
