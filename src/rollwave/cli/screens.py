"""Three ways to show a release that moves: a live tree, plain lines, JSON lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.live import Live
from rich.text import Text

from rollwave.cli.frame import Frame
from rollwave.cli.output import is_unicode
from rollwave.cli.stopwatch import Stopwatch
from rollwave.cli.times import now, parse_time
from rollwave.cli.tree import render_release

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

    from rollwave.cli.feed import Event
    from rollwave.cli.output import Output
    from rollwave.cli.release import Release


class LiveTree:
    """Redraws the tree in place, also between events: durations count. Leaves the whole last picture behind."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._release: Release | None = None
        self._stopwatch = Stopwatch()
        self._live = Live(
            console=console, get_renderable=self._picture, refresh_per_second=4, transient=True, auto_refresh=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        self._console.print(self._picture(is_whole=True), soft_wrap=True)

    def event(self, event: Event) -> None:
        """Take the times from it; the picture that follows says the rest."""
        self._stopwatch.note(event)

    def picture(self, picture: Release) -> None:
        """Take the new picture; it is drawn with the next refresh."""
        self._release = picture

    def _picture(self, *, is_whole: bool = False) -> Text:
        if self._release is None:
            return Text("reading", style="dim")
        return render_release(
            self._release,
            frame_of(self._console, laps=self._stopwatch, height=None if is_whole else self._console.height - 1),
        )


class PlainLines:
    """One line per change, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def event(self, event: Event) -> None:
        """Print the event's sentence with its time."""
        at = f"{parse_time(event['at']):%H:%M:%S}"
        where = f"{event['instance']}: " if event.get("instance") else ""
        self._console.print(Text(f"{at}  {where}{event['sentence']}"), soft_wrap=True)

    def picture(self, picture: Release) -> None:
        """Print where the release stands, if that is new."""
        line = f"{picture.head.status}: {picture.head.sentence}"
        if line != self._last:
            self._last = line
            self._console.print(Text(f"          {line}"), soft_wrap=True)


class JsonLines:
    """One JSON object per event."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def event(self, event: Event) -> None:
        """Print the event as the API wrote it."""
        self._output.line(event)

    def picture(self, picture: Release) -> None:
        """Print nothing: the events say what changed."""


def screen_for(output: Output) -> LiveTree | PlainLines | JsonLines:
    """Return the screen that fits where stdout goes."""
    if output.is_json:
        return JsonLines(output)
    return LiveTree(output.screen) if output.screen.is_terminal else PlainLines(output.screen)


def frame_of(console: Console, *, laps: Stopwatch | None = None, height: int | None = None) -> Frame:
    """Return the room that *console* has now."""
    return Frame(
        at=now(),
        width=console.width,
        height=height,
        is_ascii=not is_unicode(console.encoding),
        laps=laps.laps if laps is not None else {},
    )
