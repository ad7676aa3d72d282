"""Server-sent events: lines of a stream in, messages out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


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
