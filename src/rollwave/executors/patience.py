"""Waiting for the end of a verb, the same whatever carries the commands."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from rollwave.executors.command_line import patience_s
from rollwave.executors.errors import HostNotReadyError, unknown
from rollwave.ports.executor import HostReport, HostState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rollwave.ports.executor import HostCommand

    Ask = Callable[[HostCommand, float | None], Awaitable[HostReport]]
    """Has the verb done, and waits at most so many seconds for its end; or, with None, reads its journal."""


class Patience(Struct, frozen=True, kw_only=True):
    """
    How long an executor waits, and for what.

    Attributes:
        slot_wait_s: How long one command waits for the end of a verb. A verb that takes longer gives its place to
            others, and is asked about again every *poll_s* seconds.
        poll_s: See *slot_wait_s*.
        answer_s: How long the answer to one command may take beyond what it was told to wait.
        download_s: How long a download may take.
    """

    slot_wait_s: float = 2.0
    poll_s: float = 0.5
    answer_s: float = 30.0
    download_s: float = 900.0

    async def run(self, command: HostCommand, ask: Ask) -> HostReport:
        """
        Have the verb done and wait for its end, as `Executor.run` promises.

        Raises:
            HostUnknownError: If it took longer than the plan allows it, or *ask* does not know.
        """
        give_up_s = patience_s(command, download_s=self.download_s)
        try:
            async with asyncio.timeout(give_up_s):
                try:
                    report = await ask(command, min(self.slot_wait_s, give_up_s))
                except HostNotReadyError as error:
                    return HostReport(
                        state=HostState.FAILED, code=error.code, message=error.message, detail=error.facts
                    )
                while report.state is HostState.RUNNING:
                    await asyncio.sleep(self.poll_s)
                    report = await ask(command, None)
        except TimeoutError as error:
            raise unknown(command, f"it still runs after {give_up_s:g} s") from error
        if report.state is HostState.ABSENT:
            raise unknown(command, "its worker ended without a result")
        return report
