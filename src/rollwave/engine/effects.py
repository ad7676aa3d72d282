"""Bringing one stage about on one target, at the balancer or on the host. Silence is never an answer (I12)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from rollwave.domain.model import Failure, Progress, Stage
from rollwave.ports.balancer import BalancerPoolError, BalancerUnknownError
from rollwave.ports.executor import (
    CHARACTERS,
    HostCommand,
    HostState,
    HostUnknownError,
    HostUnreachableError,
    HostVerb,
    Line,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from rollwave.ports.balancer import Balancer
    from rollwave.ports.clock import Clock
    from rollwave.ports.executor import Executor, HostPlan, HostReport
    from rollwave.ports.store import Job

VERBS: Final = {
    Stage.DOWNLOAD: HostVerb.DOWNLOAD,
    Stage.INSTALL: HostVerb.INSTALL,
    Stage.VERIFY: HostVerb.VERIFY,
    Stage.PROVE: HostVerb.PROVE,
    Stage.RESTORE: HostVerb.RESTORE,
}
"""The stages that happen on the host."""

MARGIN_S: Final = 30
"""What a host may need beyond the time that its plan allows, in seconds: start-up of the driver, a loaded machine."""

DOWNLOAD_LIMIT_S: Final = 1_800
"""How long a download may take in all, in seconds."""

CALL_S: Final = 3.0
"""A call to a balancer takes effect within this time or never; clocks that differ are allowed for in it."""

BALANCER_LIMIT_S: Final = 30
"""How long a balancer that does not answer is asked again, in seconds; asking again is harmless."""

HOST_LIMIT_S: Final = 30
"""How long a host that does not answer is asked for its journal, in seconds."""

UNREACHABLE_LIMIT_S: Final = 15
"""
How long a host that cannot be reached at all is tried again, in seconds: an sshd is started again in less, and nobody
who waits for a dead server's target is helped by more.
"""

LOG_LINES: Final = 20
LOG_COLUMNS: Final = 200
"""So much of what a host printed goes on record with a failure: every list of targets carries it."""

_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""PostgreSQL takes no NUL, and nothing a half of a character."""

FIRST_WAIT_S: Final = 0.25
LONGEST_WAIT_S: Final = 4.0


Own = Callable[[], Awaitable[None]]
"""Makes sure of a slice; see `Effects.perform`."""


class Outcome(Struct, frozen=True, kw_only=True, gc=False):
    """
    What is known about a stage.

    Attributes:
        progress: SUCCESS, FAILURE or UNKNOWN.
        failure: Why, unless it succeeded.
        running_version: Version of the process that serves, where the host said so.
        lines: What the stage did; empty where nobody knows.
    """

    progress: Progress
    failure: Failure | None = None
    running_version: str | None = None
    lines: tuple[Line, ...] = ()


class Effects:
    """
    Performs stages.

    Args:
        executors: By name.
        balancers: By name.
        clock: For deadlines and for waiting between questions.
    """

    def __init__(self, *, executors: Mapping[str, Executor], balancers: Mapping[str, Balancer], clock: Clock) -> None:
        self._executors = executors
        self._balancers = balancers
        self._clock = clock

    async def perform(self, job: Job, stage: Stage, *, attempt: int, epoch: int, own: Own) -> Outcome:
        """
        Bring *stage* about and say what is known then; UNKNOWN where no answer came.

        Args:
            job: The target.
            stage: What to bring about.
            attempt: Of the target.
            epoch: Fences what happens on the host.
            own: Awaited right before every call to a balancer, which knows no fence: returns once the slice is surely
                ours for `CALL_S`, raises FencedError where it is another's.
        """
        if stage in VERBS:
            return await self._on_host(job, stage, self._command(job.plan, stage, attempt=attempt, epoch=epoch))
        return await self._at_balancer(job, stage, own)

    async def find_out(self, job: Job, stage: Stage, *, attempt: int, epoch: int, own: Own) -> Outcome:
        """
        Resolve a stage of which no answer came, or which another worker began: read back; do it where it never was.

        Never returns UNKNOWN: who does not answer within the limit has failed as unreachable. That is safe, because a
        failed target counts as out of traffic and every later attempt proves or replaces what is there.
        """
        if stage not in VERBS:
            return await self._insist_at_balancer(job, stage, own)
        command = self._command(job.plan, stage, attempt=attempt, epoch=epoch)
        executor = self._executors[job.executor]
        patience = _Patience(self._clock, HOST_LIMIT_S)
        out_of_reach: _Patience | None = None
        while True:
            try:
                report = await executor.status(command)
            except HostUnreachableError as error:
                out_of_reach = out_of_reach or _Patience(self._clock, UNREACHABLE_LIMIT_S)
                if not await out_of_reach.wait():
                    return _failed(stage, error.code, error.message)
                continue
            except HostUnknownError as error:
                out_of_reach = None
                if not await patience.wait():
                    return _failed(stage, error.code, error.message)
                continue
            out_of_reach = None
            if report.state in (HostState.SUCCEEDED, HostState.FAILED):
                return _outcome(stage, report)
            # Either it never began, and may begin now under our fence, or it still runs, and running it again joins it.
            outcome = await self._on_host(job, stage, command)
            if outcome.progress is not Progress.UNKNOWN:
                return outcome
            if not await patience.wait():
                return Outcome(progress=Progress.FAILURE, failure=outcome.failure)

    def _command(self, plan: HostPlan, stage: Stage, *, attempt: int, epoch: int) -> HostCommand:
        # A download may have to wait for one that runs ahead of time; everything else begins at once or never.
        wait_s = DOWNLOAD_LIMIT_S if stage is Stage.DOWNLOAD else MARGIN_S
        deadline = self._clock.now().timestamp() + wait_s
        return HostCommand(plan=plan, verb=VERBS[stage], attempt=attempt, fence=epoch, deadline=deadline)

    async def _on_host(self, job: Job, stage: Stage, command: HostCommand) -> Outcome:
        try:
            report = await self._executors[job.executor].run(command)
        except HostUnknownError as error:
            return _unknown(stage, error.code, error.message)
        if report.code == "host.deadline_passed":
            # Nothing was begun, and nothing is wrong with the target: the command was too long on its way.
            return _unknown(stage, report.code, report.message)
        return _outcome(stage, report)

    async def _at_balancer(self, job: Job, stage: Stage, own: Own) -> Outcome:
        if job.member is None:
            return Outcome(progress=Progress.SUCCESS)
        balancer = self._balancers[job.balancer]
        await own()
        began_at = self._clock.now()
        try:
            if stage is Stage.MARKUP:
                await balancer.mark_up(job.member)
                return self._done(began_at, f"in traffic at {job.balancer}")
            drained = await balancer.mark_down(job.member, drain_timeout_s=job.drain_timeout_s)
        except BalancerUnknownError as error:
            return _unknown(stage, error.code, error.message)
        except BalancerPoolError as error:
            return _failed(stage, error.code, error.message)
        if drained:
            return self._done(began_at, f"out of traffic at {job.balancer}, and no request in flight,")
        return _failed(
            stage,
            "balancer.drain_timeout",
            f"requests were still in flight {job.drain_timeout_s:g} s after new ones had stopped; "
            f"it stays out of traffic, nothing was installed",
        )

    def _done(self, began_at: datetime, what: str) -> Outcome:
        """Return the success of a call to a balancer, with how long it took."""
        took_s = max(0.0, (self._clock.now() - began_at).total_seconds())
        line = Line(after_ms=round(1000 * took_s), text=f"{what} after {took_s:.1f} s"[:CHARACTERS])
        return Outcome(progress=Progress.SUCCESS, lines=(line,))

    async def _insist_at_balancer(self, job: Job, stage: Stage, own: Own) -> Outcome:
        patience = _Patience(self._clock, BALANCER_LIMIT_S)
        while True:
            outcome = await self._at_balancer(job, stage, own)
            if outcome.progress is not Progress.UNKNOWN:
                return outcome
            if not await patience.wait():
                return Outcome(progress=Progress.FAILURE, failure=outcome.failure)

    async def prestage(self, job: Job, *, epoch: int) -> Outcome:
        """Let the host fetch ahead of time, as attempt 0; what goes wrong is tried again by the download stage."""
        command = self._command(job.plan, Stage.DOWNLOAD, attempt=0, epoch=epoch)
        return await self._on_host(job, Stage.DOWNLOAD, command)


class _Patience:
    """Waits between questions, ever longer, up to a limit in all."""

    def __init__(self, clock: Clock, limit_s: float) -> None:
        self._clock = clock
        self._until = clock.now().timestamp() + limit_s
        self._next_s = FIRST_WAIT_S

    async def wait(self) -> bool:
        """Wait; return False once the limit is reached."""
        if self._clock.now().timestamp() >= self._until:
            return False
        await self._clock.sleep(self._next_s)
        self._next_s = min(2 * self._next_s, LONGEST_WAIT_S)
        return True


def _outcome(stage: Stage, report: HostReport) -> Outcome:
    version = None if report.running_version is None else _printable(report.running_version)
    if report.state is HostState.SUCCEEDED:
        return Outcome(progress=Progress.SUCCESS, running_version=version, lines=_lines_of(report))
    failure = Failure(code=report.code, message=_printable(report.message), stage=stage, log=_log_of(report))
    return Outcome(progress=Progress.FAILURE, failure=failure, running_version=version, lines=_lines_of(report))


def _lines_of(report: HostReport) -> tuple[Line, ...]:
    """Return what the host says that the verb did."""
    return tuple(Line(after_ms=one.after_ms, text=_printable(one.text)) for one in report.lines)


def _log_of(report: HostReport) -> str:
    """Return the last lines that the host kept of what it did."""
    kept = report.detail.get("output") or report.detail.get("traceback")
    lines = kept.rstrip().splitlines() if isinstance(kept, str) else []
    # From the end of a long line its beginning is left out, never the end: the reason stands there.
    return "\n".join(_printable(line[-LOG_COLUMNS:]) for line in lines[-LOG_LINES:])


def _printable(text: str) -> str:
    """Return what of *text* every database stores and a page can show: programs on hosts print and answer anything."""
    return _UNPRINTABLE.sub("?", text)


def _failed(stage: Stage, code: str, message: str) -> Outcome:
    return Outcome(progress=Progress.FAILURE, failure=Failure(code=code, message=_printable(message), stage=stage))


def _unknown(stage: Stage, code: str, message: str) -> Outcome:
    return Outcome(progress=Progress.UNKNOWN, failure=Failure(code=code, message=_printable(message), stage=stage))
