"""Where words go: results to stdout, everything else to stderr; in JSON mode stdout carries JSON alone."""

from __future__ import annotations

import json
import sys
from functools import cached_property
from typing import TYPE_CHECKING

from rollwave.cli.errors import hint_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console, RenderableType

    from rollwave.domain.errors import RollwaveError


class Output:
    """
    The two streams of one invocation.

    Attributes:
        is_json: Whether stdout is for machines.
    """

    def __init__(self, *, is_json: bool = False) -> None:
        self.is_json = is_json
        self._has_document = False

    @cached_property
    def screen(self) -> Console:
        """Stdout for people."""
        return _console(is_stderr=False)

    @cached_property
    def notes(self) -> Console:
        """Stderr."""
        return _console(is_stderr=True)

    def show(self, document: object, view: RenderableType | None = None) -> None:
        """Print the result of the command: *document* in JSON mode, else *view* (nothing where it is None)."""
        if self.is_json:
            self._has_document = True
            sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
            sys.stdout.flush()
        elif view is not None and self.screen.is_terminal:
            self.screen.print(view)
        elif view is not None:
            with self.screen.capture() as captured:
                self.screen.print(view)
            # Tables fill their last column with spaces; in a file nobody wants them.
            sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))

    def line(self, document: Mapping[str, object]) -> None:
        """Print one line of a JSON stream; only in JSON mode."""
        self._has_document = True
        sys.stdout.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")
        sys.stdout.flush()

    def say(self, sentence: str) -> None:
        """Tell a person what was done: the result of a command that has no other; on stderr in JSON mode."""
        _plain(self.notes if self.is_json else self.screen, sentence)

    def note(self, sentence: str) -> None:
        """Tell a person something beside the result."""
        _plain(self.notes, sentence)

    def fail(self, error: RollwaveError, *, label: str = "error") -> None:
        """Print one line, the hint on a second, and in JSON mode the error as the one document, if none went before."""
        from rich.text import Text  # noqa: PLC0415  # Rich is slow to import, and not every command needs it

        hint = hint_of(error)
        style = "bold red" if label == "error" else "bold"
        line = Text.assemble((f"{label}:", style), " ", error.message)
        self.notes.print(line, soft_wrap=True, highlight=False)
        if hint:
            self.notes.print(Text.assemble(("hint:", "bold"), " ", hint), soft_wrap=True, highlight=False)
        if self.is_json and not self._has_document:
            self.show({"error": {"code": error.code, "message": error.message, "hint": hint, "facts": error.facts}})


def _console(*, is_stderr: bool) -> Console:
    from rich.console import Console  # noqa: PLC0415  # Rich is slow to import, and not every command needs it

    # Rich reads NO_COLOR, FORCE_COLOR, TERM and COLUMNS itself, and writes no colors where there is no terminal.
    return Console(stderr=is_stderr, highlight=False, emoji=False, markup=False)


def _plain(console: Console, sentence: str) -> None:
    console.print(sentence, soft_wrap=True)
