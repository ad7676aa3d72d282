"""Time that passes only when somebody waits."""

import asyncio
from datetime import UTC, datetime, timedelta


class VirtualClock:
    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)
        self.slept_s: list[float] = []

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.time += timedelta(seconds=seconds)
        await asyncio.sleep(0)
