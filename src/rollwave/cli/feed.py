"""The event log of one deployment as it grows: every event once and in order, whatever becomes of the connection."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

import httpx

from rollwave.cli.errors import ApiError, NotRollwaveError, UnreachableError, may_pass
from rollwave.cli.sse import parse_messages, split_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rollwave.cli.client import Client

Event = dict[str, Any]
"""seq, at, kind, instance, data, sentence: as the API writes it."""

_PAUSES_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 5.0, 5.0, 5.0, 5.0)
"""Before each try to open the stream again; when they are used up, the API is called unreachable."""


def follow(
    client: Client, deployment_id: int, *, since: int = 0, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Event]:
    """
    Yield the events after *since* as they happen; return when the deployment is over.

    A stream that breaks is opened again from the last event seen. An event that arrives twice is yielded once.

    Raises:
        ApiError: If the API refuses.
        UnreachableError: If nobody answers for half a minute.
    """
    feed = _Feed(client, deployment_id, since)
    tries = 0
    while True:
        seen = feed.seq
        reason = "the stream ended early"
        try:
            yield from feed.read()
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
        except (NotRollwaveError, ApiError) as error:
            if not may_pass(error):
                raise
            reason = str(error)
        if feed.is_over:
            return
        tries = 0 if feed.seq > seen else tries + 1
        if tries > len(_PAUSES_S):
            raise UnreachableError(endpoint=client.endpoint, reason=reason)
        sleep(_PAUSES_S[max(0, tries - 1)])


class _Feed:
    """Where the reading stands; outlives the connections."""

    def __init__(self, client: Client, deployment_id: int, since: int) -> None:
        self.seq = since
        self.is_over = False
        self._client = client
        self._deployment_id = deployment_id

    def read(self) -> Iterator[Event]:
        """Yield new events from one connection until it ends."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store", "Last-Event-ID": str(self.seq)}
        path = ("deployments", self._deployment_id, "events")
        with self._client.stream(*path, headers=headers, since=self.seq) as response:
            self._client.check(response)
            for message in parse_messages(split_lines(response.iter_text())):
                if message.event == "end":
                    self.is_over = True
                    return
                event = json.loads(message.data)
                if event.get("seq", 0) > self.seq:
                    self.seq = event["seq"]
                    yield event
