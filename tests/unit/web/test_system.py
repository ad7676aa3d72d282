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


def test_each_thread_closes_what_it_kept_open_whatever_still_waits():
    """What was begun ends, what only waits does not begin, and the last thing that a thread does is to close."""
    begun, may_end = threading.Event(), threading.Event()
    did: list[tuple[str, str]] = []

    def begin() -> None:
        begun.set()
        may_end.wait()
        did.append(("begun", threading.current_thread().name))

    async def run() -> list[object]:
        threads = StoreThreads(after=lambda: did.append(("closed", threading.current_thread().name)))
        calls = [asyncio.ensure_future(threads(begin)), asyncio.ensure_future(threads(did.append, ("waited", "")))]
        await asyncio.to_thread(begun.wait)
        closing = asyncio.ensure_future(asyncio.to_thread(threads.close))
        while threads.is_open:  # noqa: ASYNC110  # the other thread tells nobody
            await asyncio.sleep(0)
        may_end.set()
        await closing
        return await asyncio.gather(*calls, return_exceptions=True)

    done, waited = asyncio.run(run())

    assert done is None
    assert isinstance(waited, asyncio.CancelledError)
    assert [what for what, _ in did] == ["begun", "closed", "closed"]
    assert did[0][1] == did[1][1] != did[2][1]
