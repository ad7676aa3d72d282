"""The real clock and the writer's thread."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC

from rollwave.system import SystemClock, WriterThread


def test_the_time_is_in_utc():
    assert SystemClock().now().tzinfo is UTC


def test_everything_is_written_by_one_thread_that_is_not_the_loops():
    writer = WriterThread()

    async def run() -> list[threading.Thread]:
        return await asyncio.gather(*(writer(threading.current_thread) for _ in range(20)))

    (thread,) = set(asyncio.run(run()))
    writer.close()

    assert thread is not threading.current_thread()
