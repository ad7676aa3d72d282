"""Laws of the queue of one process: what runs here ends here, at the latest when the process does."""

from __future__ import annotations

import asyncio

import pytest

from rollwave.queue.embedded import EmbeddedQueue

KEY = (7, 3)


def test_a_slice_can_be_waited_for():
    """Its end is the end of the wait, and one that breaks ends like any other."""

    async def run(key: tuple[int, int]) -> None:
        ran.append(key)
        raise ValueError

    ran: list[tuple[int, int]] = []
    asyncio.run(EmbeddedQueue(run).run(KEY))

    assert ran == [KEY]


@pytest.mark.parametrize("how", ["send", "run"])
def test_nothing_runs_after_the_close(how):
    """However it began; whoever waits for it is told."""
    ended = []

    async def run(_key: tuple[int, int]) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            # A slice takes some turns to put down what it has in hand.
            await asyncio.sleep(0)
            ended.append(how)

    async def story() -> None:
        queue = EmbeddedQueue(run)
        waiting = asyncio.create_task(getattr(queue, how)(KEY))
        await began.wait()
        await queue.close()
        assert ended == [how]
        assert queue.running_count == 0
        await asyncio.wait([waiting])
        assert waiting.cancelled() is (how == "run")

    began = asyncio.Event()
    asyncio.run(story())
