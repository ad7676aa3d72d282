"""
Client load of a chaos run: ``python -m demo.chaos.load URL JOURNAL``, until SIGTERM.

JOURNAL gets a line of JSON for every failed request, with its id and its times, and one a second that says how many
were sent.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from demo.load import Report, main

CLIENTS = 6


class Journal(Report):
    """
    Writes down what fails as it fails.

    Args:
        file: Where.
    """

    def __init__(self, file: IO[str]) -> None:
        super().__init__()
        self._file = file

    def write(self, **line: object) -> None:
        """Write one line, for others to read at once."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def fail(self, request: str, *, began_at: float, error: Exception) -> None:
        """Write down a failed request."""
        super().fail(request, began_at=began_at, error=error)
        self.write(id=request, began_at=began_at, ended_at=time.time(), cause=f"{type(error).__name__}: {error}")

    async def tell(self) -> None:
        """Say each second how many were sent."""
        while True:
            self.write(sent=self.sent)
            await asyncio.sleep(1)


async def run(url: str, journal: Journal) -> None:
    """Run the clients."""
    telling = asyncio.create_task(journal.tell())
    await main(url, journal, count=CLIENTS)
    telling.cancel()
    with suppress(asyncio.CancelledError):
        await telling
    journal.write(sent=journal.sent)


if __name__ == "__main__":
    with Path(sys.argv[2]).open("a", encoding="utf-8") as opened:
        asyncio.run(run(sys.argv[1], Journal(opened)))
