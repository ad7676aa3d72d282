"""A channel that remembers, fails and hangs as it is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rollwave.ports.notifier import ChannelError

if TYPE_CHECKING:
    from rollwave.ports.notifier import Message


class FakeChannel:
    """
    `Channel` into memory.

    Attributes:
        got: Every message that has arrived, as often as it did.
        fails: Why it takes nothing; empty: it does.
        hangs: It never answers.
        loses_answers: What arrives is told as a failure.
    """

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.fails = ""
        self.hangs = False
        self.loses_answers = False

    async def send(self, message: Message) -> str:
        """Take *message*, or not."""
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails:
            raise ChannelError(self.fails)
        self.got.append(message)
        if self.loses_answers:
            raise ChannelError("the answer was lost")
        return "taken"
