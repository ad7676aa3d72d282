"""A mistake as an editor would show it: file, line, column, the line itself, and a caret under the text at fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollwave.spec_file import SpecProblem

_WIDEST = 160
"""Characters of a line that are shown; more is a generated file, and nobody reads it."""


def render_problem(problem: SpecProblem, *, name: str, lines: Sequence[str]) -> Text:
    """
    Return one problem for the terminal.

    Args:
        problem: What is wrong, and where.
        name: Name of the file.
        lines: Its lines.
    """
    place = problem.place
    text = Text()
    text.append(f"{name}:{place.line}:{place.column}", style="bold")
    text.append(f"  {problem.message}\n")
    if not 1 <= place.line <= len(lines):
        return text
    # A tab is one column to YAML and to the caret line below it.
    line = lines[place.line - 1].replace("\t", " ")[:_WIDEST]
    number = str(place.line)
    text.append(f"  {number} │ ", style="dim")
    text.append(f"{line}\n")
    text.append(f"  {' ' * len(number)} │ ", style="dim")
    start = place.column - 1
    # Some characters are two cells wide: the caret counts cells, the place counts characters.
    text.append(" " * cell_len(line[:start]))
    text.append("^" * max(1, cell_len(line[start : start + place.length])) + "\n", style="bold red")
    return text
