"""One target as one row: mark, name, how far its stages are, what it does, and how long already."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from rich.text import Text

from rollwave.cli import marks
from rollwave.cli.times import format_duration
from rollwave.domain.model import Progress, Stage, Standing

if TYPE_CHECKING:
    from datetime import datetime

    from rollwave.cli.release import Target
    from rollwave.cli.stopwatch import Lap

CHAIN: Final = (Stage.MARKDOWN, Stage.DOWNLOAD, Stage.INSTALL, Stage.VERIFY, Stage.MARKUP)

_STEP: Final = MappingProxyType(
    {**{stage: number for number, stage in enumerate(CHAIN)}, Stage.PROVE: 3, Stage.RESTORE: 2}
)
"""How many steps of the chain lie behind a stage; a proof stands where verify does, a restore where install does."""

_DONE: Final = marks.Mark(glyph="▰", ascii="=", style="")
_OPEN: Final = marks.Mark(glyph="▱", ascii="-", style="dim")


def mark_of(target: Target) -> marks.Mark:
    """Return the mark of a target: that of its standing, unless nobody knows how its stage went."""
    if target.standing is Standing.IN_FLIGHT and target.progress is Progress.UNKNOWN:
        return marks.UNKNOWN
    return marks.BY_STANDING[target.standing]


def render_target(target: Target, *, goal: str, name_width: int, lap: Lap | None, at: datetime, is_ascii: bool) -> Text:
    """
    Return the row of a target, without a line end.

    Args:
        target: What the API says about it.
        goal: Version that the deployment brings.
        name_width: Cells for its name.
        lap: Its times; None where they are not known.
        at: Now.
        is_ascii: Whether the terminal has no Unicode.
    """
    mark = mark_of(target)
    row = Text("  ")
    row.append(f"{mark.shape(is_ascii=is_ascii)} ", style=mark.style)
    row.append(target.name.ljust(name_width), style="dim" if target.standing is Standing.LEFT else "")
    row.append("  ")
    row.append_text(_steps(target, mark, is_ascii=is_ascii))
    row.append(f" {_time(target, lap, at):>7}  ", style="dim")
    row.append(_word(target, goal), style=_word_style(target, mark))
    if target.attempt > 1:
        row.append(f"  attempt {target.attempt}", style="dim")
    return row


def render_failure(target: Target) -> Text | None:
    """Return why a target failed, None where it did not; the sentence is the cause, the code is for searching."""
    if target.failure is None:
        return None
    return Text.assemble(target.failure.message, (f"  {target.failure.code}", "dim"))


def _time(target: Target, lap: Lap | None, at: datetime) -> str:
    if lap is None or target.standing is Standing.PENDING or lap.attempt != target.attempt:
        return ""
    end = at if target.standing is Standing.IN_FLIGHT else lap.changed_at
    return format_duration((end - lap.began_at).total_seconds())


def _steps(target: Target, mark: marks.Mark, *, is_ascii: bool) -> Text:
    done_count = _done_count(target)
    steps = Text()
    for number in range(len(CHAIN)):
        if number < done_count:
            steps.append(_DONE.shape(is_ascii=is_ascii), style=mark.style)
        elif number == done_count and target.standing in (Standing.IN_FLIGHT, Standing.FAILED):
            steps.append(mark.shape(is_ascii=is_ascii), style=mark.style)
        else:
            steps.append(_OPEN.shape(is_ascii=is_ascii), style=_OPEN.style)
    return steps


def _done_count(target: Target) -> int:
    if target.standing is Standing.SUCCESS:
        return len(CHAIN)
    # A target that failed shows where it failed, even while the previous version is brought back.
    stage = target.failure.stage if target.failure is not None else target.stage
    if stage is None or target.standing is Standing.PENDING:
        return 0
    is_behind = target.failure is None and target.progress is Progress.SUCCESS
    return _STEP[stage] + is_behind


def _word_style(target: Target, mark: marks.Mark) -> str:
    if target.failure is not None:
        return marks.BAD.style
    # What is not begun and what is done stay quiet: the eye goes to what moves.
    return "dim" if target.standing in (Standing.PENDING, Standing.SUCCESS) else mark.style


def _word(target: Target, goal: str) -> str:
    match target.standing:
        case Standing.PENDING:
            return "pending" if target.attempt == 1 else "to be tried again"
        case Standing.IN_FLIGHT:
            return _moving(target)
        case Standing.VERIFIED:
            return "verified, out of traffic"
        case Standing.SUCCESS:
            return f"on {goal}"
        case Standing.LEFT:
            return "left the plan"
        case Standing.FAILED:
            stage = target.failure.stage if target.failure is not None else target.stage
            return f"{stage.value if stage else 'start'} failed, {_after_failure(target)}"


def _moving(target: Target) -> str:
    if target.stage is None:
        return "starting"
    if target.progress is Progress.UNKNOWN:
        return f"{target.stage.value}: no answer yet, being read back"
    if target.failure is not None:
        return f"{target.failure.stage.value} failed, {target.stage.value} under way"
    return target.stage.value


def _after_failure(target: Target) -> str:
    if target.restored:
        return "back on the previous version"
    return "in traffic" if target.in_traffic else "out of traffic"
