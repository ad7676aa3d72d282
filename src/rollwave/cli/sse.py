"""Server-sent events: lines of a stream in, messages out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LINE_END: Final = re.compile(r"\r\n|\n|\r(?!\Z)")
"""A CR at the end of what is there may be the first half of CR LF."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """
    One message of a stream.

    Attributes:
        id: Last id that the stream has named, empty before the first.
        event: Its kind, ``message`` where the stream names none.
        data: Lines of data, joined by newlines.
    """

    id: str
    event: str
    data: str


def split_lines(chunks: Iterable[str]) -> Iterator[str]:
    """
    Yield the lines of a text that comes in *chunks*, without their ends; what follows the last end is dropped.

    A line ends with LF, CR LF or CR and nothing else: other separators are characters of a JSON text.
    """
    rest = ""
    for chunk in chunks:
        *lines, rest = _LINE_END.split(rest + chunk)
        yield from lines


def parse_messages(lines: Iterable[str]) -> Iterator[Message]:
    """
    Yield the messages in *lines*, which carry no line ends. A message that is cut off at the end is dropped.

    Source: HTML Living Standard, 9.2.6, interpreting an event stream.
    """
    last_id, event, data = "", "", list[str]()
    for line in lines:
        if not line:
            if data:
                yield Message(id=last_id, event=event or "message", data="\n".join(data))
            event, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "event":
            event = value
        elif name == "id" and "\0" not in value:
            last_id = value
        # Anything else is a comment (a heartbeat) or a field that we have no use for.
