"""The real clock and the store's threads."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC

from rollwave.system import StoreThreads, SystemClock


def test_the_time_is_in_utc():
    assert SystemClock().now().tzinfo is UTC


def test_everything_is_written_by_one_thread_and_read_by_another_and_neither_is_the_loops():
    threads = StoreThreads()

    async def run(call) -> list[threading.Thread]:
        return await asyncio.gather(*(call(threading.current_thread) for _ in range(20)))

    (writer,) = set(asyncio.run(run(threads)))
    (reader,) = set(asyncio.run(run(threads.read)))
    threads.close()

    assert len({writer, reader, threading.current_thread()}) == 3
