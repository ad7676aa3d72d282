"""A session whose program ends before it was asked: what is told of it, and what is tried again."""

from __future__ import annotations

import asyncio

import pytest

from rollwave.executors.patience import Patience
from rollwave.executors.ssh import _Supply, _Talk

pytestmark = pytest.mark.anyio


class Closed:
    """A channel whose other end has gone: nothing can be sent any more."""

    def write(self, _data: bytes) -> None:
        raise BrokenPipeError("Channel not open for sending")

    def get_returncode(self) -> int:
        return 127


class Open(Closed):
    """A channel behind which somebody listens."""

    def write(self, _data: bytes) -> None:
        pass


async def ask(talk: _Talk, *, ends: bool = True):
    supply = _Supply(files={})
    async with asyncio.timeout(5) as limit:
        if ends:
            asyncio.get_running_loop().call_soon(talk.connection_lost, None)
        return await talk.answer({}, supply, limit, Patience())


async def test_a_program_that_cannot_begin_is_told_by_its_exit_code():
    """It was quicker than our first word; its exit code comes a moment later."""
    talk = _Talk()
    talk.connection_made(Closed())

    answer = await ask(talk)

    assert answer.exit_code == 127


async def test_a_session_that_ended_while_nobody_used_it_is_not_an_answer():
    """The order is for another session then."""
    talk = _Talk()
    talk.connection_made(Open())
    asyncio.get_running_loop().call_soon(talk.data_received, b'{"rollwave": {"done": true}}\n', None)
    await ask(talk, ends=False)
    talk.connection_made(Closed())

    with pytest.raises(BrokenPipeError):
        await ask(talk)
