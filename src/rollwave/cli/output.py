"""Where words go: results to stdout, everything else to stderr; in JSON mode stdout carries JSON alone."""

from __future__ import annotations

import codecs
import io
import json
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Final

from rollwave.cli.errors import hint_of
from rollwave.cli.marks import ASCII

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console, RenderableType

    from rollwave.domain.errors import RollwaveError

_STAND_IN: Final = "rollwave.stand_in"


class Output:
    """
    The two streams of one invocation.

    Attributes:
        is_json: Whether stdout is for machines.
    """

    def __init__(self, *, is_json: bool = False) -> None:
        codecs.register_error(_STAND_IN, _stand_in)
        for stream in (sys.stdout, sys.stderr):
            # A sign that the terminal cannot show is no reason to end with a traceback.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors=_STAND_IN)
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
            _write_json(document, indent=2)
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
        _write_json(document, indent=None)

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


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    """Return what is written for a character that the stream's encoding does not have, and where to go on."""
    assert isinstance(error, UnicodeEncodeError)
    return ASCII.get(error.object[error.start], "?"), error.start + 1


def is_unicode(encoding: str) -> bool:
    """Return whether *encoding* can write every character."""
    return encoding.lower().startswith("utf")


def _write_json(document: object, *, indent: int | None) -> None:
    separators = (",", ":") if indent is None else None
    # Where the stream has no Unicode, escapes keep what would else be lost.
    is_ascii = not is_unicode(sys.stdout.encoding or "utf-8")
    sys.stdout.write(json.dumps(document, ensure_ascii=is_ascii, indent=indent, separators=separators) + "\n")
    sys.stdout.flush()


def _console(*, is_stderr: bool) -> Console:
    from rich.console import Console  # noqa: PLC0415  # Rich is slow to import, and not every command needs it

    # Rich reads NO_COLOR, FORCE_COLOR, TERM and COLUMNS itself, and writes no colors where there is no terminal.
    return Console(stderr=is_stderr, highlight=False, emoji=False, markup=False)


def _plain(console: Console, sentence: str) -> None:
    console.print(sentence, soft_wrap=True)
