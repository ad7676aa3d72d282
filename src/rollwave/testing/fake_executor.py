"""A fleet in memory behind the `Executor` port: deterministic, scriptable, and cheap enough for a simulator."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from datetime import timedelta
from enum import Enum
from itertools import count
from typing import TYPE_CHECKING, Final

from rollwave.ports.executor import (
    Finding,
    HostAnswer,
    HostReport,
    HostUnknownError,
    HostUnreachableError,
    HostVerb,
    Verdict,
)
from rollwave.testing.fake_host import FakeHost, Worker
from rollwave.testing.faults import DeliverLate, DeliverTwice, LoseCommand, LoseReply, Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from rollwave.ports.clock import Clock
    from rollwave.ports.executor import Host, HostCommand, HostQuestion
    from rollwave.testing.fake_host import Watch
    from rollwave.testing.faults import Fault

_AT_ONCE: Final[Mapping[HostVerb, float]] = {}


class Moment(Enum):
    """Where a scheduler can come in between."""

    SENT = "sent"
    """Before the command arrives at the host."""
    ANSWERED = "answered"
    """After the verb is done, before the caller hears of it."""


class FakeExecutor:
    """
    `Executor` over hosts in memory, which come into being when they are first named.

    Nothing runs in the background: a verb ends when its time has come and somebody looks, be it its caller, another
    command, or `settle`. So cancelling a caller cannot stop a verb, and every run is the same.

    Args:
        clock: The only source of time.
        durations_s: How long each verb takes; at once where it is not named.
        reply_timeout_s: After how long a caller that hears nothing gives up.
        patience_s: After how long a caller gives up on a verb that is queued or hangs.
        gate: Awaited at each `Moment` of each command, for a scheduler that interleaves.
        watch: Told of every verb that begins or ends on a host, for an oracle that looks at the world.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        durations_s: Mapping[HostVerb, float] = _AT_ONCE,
        reply_timeout_s: float = 30.0,
        patience_s: float = 600.0,
        gate: Callable[[Moment, HostCommand], Awaitable[None]] | None = None,
        watch: Watch = lambda _command, _report: None,
    ) -> None:
        self._clock = clock
        self._durations_s = durations_s
        self._reply_timeout_s = reply_timeout_s
        self._patience_s = patience_s
        self._gate = gate
        self._watch = watch
        self._hosts: dict[str, FakeHost] = {}
        self._broken_versions: set[str] = set()
        self._scripts: defaultdict[tuple[str, HostVerb | None], deque[Fault | None]] = defaultdict(deque)
        self._underway: list[tuple[datetime, int, HostCommand]] = []
        self._numbers = count()

    def host(self, instance: str) -> FakeHost:
        """Return the host itself: ground truth as of now, free to be changed by a test."""
        self.settle()
        return self._host(instance)

    def script(self, instance: str, verb: HostVerb | None, *faults: Fault | None) -> None:
        """
        Let the next commands to *instance* meet *faults*, one each.

        Args:
            instance: Which host.
            verb: Of which verb; None: the calls of `status`.
            faults: None stands for a command that meets nothing.
        """
        self._scripts[instance, verb].extend(faults)

    def break_version(self, version: str) -> None:
        """Let *version* never become healthy, on any host."""
        self._broken_versions.add(version)

    def release(self, instance: str) -> None:
        """Let the verb that hangs on *instance* end now."""
        self.host(instance).release(self._clock.now())

    def settle(self) -> None:
        """Bring every host up to the present."""
        now = self._clock.now()
        self._deliver(now)
        for host in self._hosts.values():
            host.advance(now)

    async def run(self, command: HostCommand) -> HostReport:
        """See `Executor.run`."""
        fault = self._next_fault(command, command.verb)
        await self._pass(Moment.SENT, command)
        host = self._reached(command, fault)
        if isinstance(fault, LoseCommand):
            raise await self._silence(command)
        if isinstance(fault, DeliverLate):
            self._deliver_later(command, fault.delay_s)
            raise await self._silence(command)
        worker = host.submit(command, fault=fault, now=self._clock.now())
        report = await self._result(host, worker)
        if isinstance(fault, DeliverTwice):
            self._deliver_later(command, fault.delay_s)
        if isinstance(fault, LoseReply):
            raise await self._silence(command)
        await self._pass(Moment.ANSWERED, command)
        return report

    async def status(self, command: HostCommand) -> HostReport:
        """See `Executor.status`."""
        fault = self._next_fault(command, None)
        await self._pass(Moment.SENT, command)
        host = self._reached(command, fault)
        if isinstance(fault, LoseCommand):
            raise await self._silence(command)
        report = host.read(command)
        if isinstance(fault, LoseReply):
            raise await self._silence(command)
        await self._pass(Moment.ANSWERED, command)
        return report

    async def check(self, question: HostQuestion) -> HostAnswer:
        """See `ChecksHosts.check`; a host in memory lacks nothing."""
        name = question.host
        host = self._host(name.instance)
        self._catch_up(host)
        if not host.answers:
            raise _unreachable(name)
        names = ("python", "openssl", "zstd", "directory", "disk", "start", "stop")
        found = [Finding(name=name, verdict=Verdict.OK, message="in memory") for name in names]
        health = Verdict.NOTE if host.running is None else Verdict.OK
        found.append(Finding(name="health", verdict=health, message=f"{host.running or 'nothing'} runs"))
        return HostAnswer(findings=tuple(found), now=self._clock.now().timestamp() + host.skew_s)

    async def _result(self, host: FakeHost, worker: Worker) -> HostReport:
        give_up_at = self._clock.now() + timedelta(seconds=self._patience_s)
        while worker.report is None:
            now = self._clock.now()
            if worker.is_dead or now >= give_up_at:
                raise _unknown(worker.command)
            # A queued worker looks again when the one before it is done; where something hangs, now and then.
            look_at = min(host.wakes_at or now + timedelta(seconds=self._reply_timeout_s), give_up_at)
            await self._clock.sleep((look_at - now).total_seconds())
            self._catch_up(host)
        return worker.report

    def _reached(self, command: HostCommand, fault: Fault | None) -> FakeHost:
        host = self._host(command.plan.host.instance)
        self._catch_up(host)
        if isinstance(fault, Unreachable) or not host.answers:
            raise _unreachable(command.plan.host)
        return host

    def _catch_up(self, host: FakeHost) -> None:
        now = self._clock.now()
        self._deliver(now)
        host.advance(now)

    def _deliver(self, now: datetime) -> None:
        while self._underway and self._underway[0][0] <= now:
            arrives_at, _, command = heapq.heappop(self._underway)
            host = self._host(command.plan.host.instance)
            host.advance(arrives_at)
            if host.answers:
                host.submit(command, fault=None, now=arrives_at)

    def _host(self, instance: str) -> FakeHost:
        host = self._hosts.get(instance)
        if host is None:
            host = FakeHost(durations_s=self._durations_s, broken_versions=self._broken_versions, watch=self._watch)
            self._hosts[instance] = host
        return host

    def _next_fault(self, command: HostCommand, verb: HostVerb | None) -> Fault | None:
        script = self._scripts.get((command.plan.host.instance, verb))
        return script.popleft() if script else None

    def _deliver_later(self, command: HostCommand, delay_s: float) -> None:
        arrives_at = self._clock.now() + timedelta(seconds=delay_s)
        heapq.heappush(self._underway, (arrives_at, next(self._numbers), command))

    async def _pass(self, moment: Moment, command: HostCommand) -> None:
        if self._gate is not None:
            await self._gate(moment, command)

    async def _silence(self, command: HostCommand) -> HostUnknownError:
        """Wait as long as a caller waits for an answer that does not come."""
        await self._clock.sleep(self._reply_timeout_s)
        return _unknown(command)


def _unreachable(host: Host) -> HostUnreachableError:
    return HostUnreachableError(f"server {host.server} is down", server=host.server, instance=host.instance)


def _unknown(command: HostCommand) -> HostUnknownError:
    host = command.plan.host
    return HostUnknownError(
        f"{command.verb.value} on {host.instance}: no answer in time", instance=host.instance, verb=command.verb.value
    )
