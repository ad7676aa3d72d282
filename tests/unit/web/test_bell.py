"""The bell wakes whoever listens, from any thread."""

from __future__ import annotations

import asyncio
from threading import Thread

from rollwave.web.bell import Bell


def test_a_ring_from_another_thread_wakes_a_listener():
    bell = Bell()

    async def listen() -> None:
        with bell.listening() as rung:
            Thread(target=bell.ring).start()
            await asyncio.wait_for(rung.wait(), timeout=20)

    asyncio.run(listen())


def test_nobody_listens_after_the_block():
    bell = Bell()

    async def listen() -> asyncio.Event:
        with bell.listening() as rung:
            pass
        bell.ring()
        await asyncio.sleep(0)
        return rung

    assert not asyncio.run(listen()).is_set()
