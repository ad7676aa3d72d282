from __future__ import annotations

import asyncio

import pytest

from rollwave.balancers.shared_read import SharedRead
from rollwave.ports.balancer import BalancerUnknownError

pytestmark = pytest.mark.anyio


class Source:
    """Answers with its state when the read began, as soon as it is let go."""

    def __init__(self) -> None:
        self.state = 0
        self.read_count = 0
        self.fails = False
        self.go = asyncio.Event()

    async def read(self) -> int:
        self.read_count += 1
        state = self.state
        await self.go.wait()
        if self.fails:
            raise BalancerUnknownError("silent", url="x")
        return state


async def test_nobody_gets_an_answer_older_than_the_question() -> None:
    """Who asks after a change sees it, although a read was under way when they asked."""
    source = Source()
    shared = SharedRead(source.read)
    early = asyncio.create_task(shared.get())
    await asyncio.sleep(0)

    source.state = 1
    late = asyncio.create_task(shared.get())
    await asyncio.sleep(0)
    source.go.set()

    assert [await early, await late] == [0, 1]


async def test_a_thousand_callers_cost_two_reads() -> None:
    """All who ask while one read is under way share the next."""
    source = Source()
    shared = SharedRead(source.read)
    callers = [asyncio.create_task(shared.get()) for _ in range(1000)]
    await asyncio.sleep(0)
    source.go.set()

    await asyncio.gather(*callers)

    assert source.read_count == 2


async def test_failure_is_shared_with_its_facts() -> None:
    """A failure reaches everybody who waits for that read, with its facts, and the next read starts fresh."""
    source = Source()
    source.fails = True
    shared = SharedRead(source.read)
    callers = [asyncio.create_task(shared.get()) for _ in range(10)]
    await asyncio.sleep(0)
    source.go.set()

    errors = await asyncio.gather(*callers, return_exceptions=True)
    source.fails = False

    assert {(type(error), str(error), error.facts["url"]) for error in errors} == {
        (BalancerUnknownError, "silent", "x")
    }
    assert source.read_count == 2
    assert await shared.get() == 0


async def test_cancelled_reader_leaves_the_others_theirs() -> None:
    """Where the coroutine that reads is cancelled, the next in line reads itself."""
    source = Source()
    shared = SharedRead(source.read)
    first, second = (asyncio.create_task(shared.get()) for _ in range(2))
    await asyncio.sleep(0)

    first.cancel()
    source.go.set()

    assert await second == 0
