"""One host in memory, by the rules of the host driver: a fence, a journal, one verb at a time."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from rollwave.ports.executor import HostReport, HostState, HostVerb, Line
from rollwave.testing.faults import Fail, Hang, KillWorker

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from rollwave.ports.executor import HostCommand
    from rollwave.testing.faults import Fault


class Key(NamedTuple):
    """What the journal goes by."""

    deployment_id: int
    created_us: int
    attempt: int
    verb: HostVerb


Watch = Callable[["HostCommand", HostReport | None], None]
"""Called when a verb begins (without a report), and when it has ended with its report."""


def key_of(command: HostCommand) -> Key:
    """Return what the journal calls *command*."""
    return Key(command.plan.deployment_id, command.plan.created_us, command.attempt, command.verb)


@dataclass(kw_only=True, slots=True, eq=False)
class Worker:
    """
    One command on the host, queued, at work or done.

    Attributes:
        command: The command.
        fault: What goes wrong with it.
        ends_at: When it will be done; None while it is queued or hangs.
        report: Its answer; None until there is one.
        is_dead: Whether it was killed; then there is no answer.
    """

    command: HostCommand
    fault: Fault | None = None
    ends_at: datetime | None = None
    report: HostReport | None = None
    is_dead: bool = False


class FakeHost:
    """
    One instance.

    Attributes:
        running: Version of the process that runs; None while none does.
        current: Version that the ``current`` link names.
        complete: Versions on the host, each with the sha256 of its package.
        installs: How often install really switched and restarted, by (deployment, attempt).
        is_reachable: Whether commands arrive, while it has power.
        has_power: Whether there is anything that could answer.
        skew_s: How far its clock is ahead of the true time, in seconds; it judges deadlines by that.
    """

    def __init__(
        self,
        *,
        durations_s: Mapping[HostVerb, float],
        broken_versions: Collection[str],
        watch: Watch = lambda _command, _report: None,
    ) -> None:
        self.running: str | None = None
        self.current: str | None = None
        self.complete: dict[str, str] = {}
        self.installs: Counter[tuple[int, int]] = Counter()
        self.is_reachable = True
        self.has_power = True
        self.skew_s = 0.0
        self._durations_s = durations_s
        self._broken_versions = broken_versions
        self._watch = watch
        self._fence = -1
        self._journal: dict[Key, HostReport] = {}
        self._begun: set[Key] = set()
        self._queue: deque[Worker] = deque()
        self._active: Worker | None = None

    @property
    def at_work(self) -> Key | None:
        """The verb at work now."""
        return key_of(self._active.command) if self._active is not None else None

    @property
    def wakes_at(self) -> datetime | None:
        """When the verb at work ends; None where there is none, or it hangs."""
        return self._active.ends_at if self._active is not None else None

    def submit(self, command: HostCommand, *, fault: Fault | None, now: datetime) -> Worker:
        """Take a command as it arrives: refuse it, answer from the journal, or queue it."""
        worker = Worker(command=command, fault=fault)
        worker.report = self._refusal(command) or self._journal.get(key_of(command))
        if worker.report is None:
            self._queue.append(worker)
            if self._active is None:
                self._begin_next(now)
            self.advance(now)
        return worker

    def read(self, command: HostCommand) -> HostReport:
        """Raise the fence and return what the journal says."""
        refusal = self._refusal(command)
        if refusal is not None:
            return refusal
        key = key_of(command)
        report = self._journal.get(key)
        if report is None:
            alive = [*self._queue, self._active] if self._active is not None else self._queue
            is_attended = any(key_of(worker.command) == key for worker in alive)
            state = HostState.RUNNING if is_attended else HostState.ABSENT
            is_interrupted = not is_attended and key in self._begun
            report = HostReport(state=state, detail={"interrupted": True} if is_interrupted else {})
        return replace(report, running_version=self.running)

    def advance(self, now: datetime) -> None:
        """End the verb at work if its time has come, and go on with the queue."""
        while self._active is not None and self._active.ends_at is not None and self._active.ends_at <= now:
            ended_at = self._active.ends_at
            self._end(self._active)
            # What was queued began the instant the one before ended, however late we look.
            self._begin_next(ended_at)

    def release(self, now: datetime) -> None:
        """Let the verb that hangs end now."""
        if self._active is not None and self._active.ends_at is None:
            self._active.ends_at = now
            self.advance(now)

    @property
    def answers(self) -> bool:
        """Whether commands arrive."""
        return self.is_reachable and self.has_power

    @property
    def serves(self) -> str | None:
        """Version of the process that runs; of a host without power, the one that its supervisor will start."""
        return self.running if self.has_power else self.current

    def lose_power(self, *, switched: bool) -> None:
        """
        Stop, halfway in whatever is at work: nobody gets an answer, nothing runs; journal, fence and link are kept.

        Args:
            switched: Whether an install or a restore that is at work had come as far as its link.
        """
        if self._active is not None and switched and self._missing(self._active.command) is None:
            plan, verb = self._active.command.plan, self._active.command.verb
            links = {HostVerb.INSTALL: plan.package.version, HostVerb.RESTORE: plan.previous_version}
            self.current = links.get(verb, self.current)
        for worker in (*self._queue, self._active):
            if worker is not None:
                worker.is_dead = True
        self._queue.clear()
        self._active = None
        self.running = None
        self.has_power = False

    def boot(self) -> None:
        """Come up again; the supervisor starts what is linked."""
        self.has_power = True
        self.running = self.current

    def _refusal(self, command: HostCommand) -> HostReport | None:
        return self._refusal_by_fence(command) or self._refusal_by_age(command)

    def _refusal_by_fence(self, command: HostCommand) -> HostReport | None:
        if command.fence < self._fence:
            message = f"fence {command.fence} is behind {self._fence}: a newer controller has taken over"
            return _failed("host.fenced", message, seen=self._fence)
        self._fence = command.fence
        return None

    def _refusal_by_age(self, command: HostCommand) -> HostReport | None:
        newest = max((key.created_us for key in self._begun), default=0)
        if command.plan.created_us < newest:
            return _failed("host.superseded", "a deployment that was created after this one was here")
        return None

    def _refusal_by_deadline(self, command: HostCommand, now: datetime) -> HostReport | None:
        late_s = now.timestamp() + self.skew_s - command.deadline
        if late_s <= 0:
            return None
        message = f"the command came {late_s:.1f} s after its deadline; nothing was begun"
        return _failed("host.deadline_passed", message, late_s=late_s)

    def _begin_next(self, now: datetime) -> None:
        while self._active is None and self._queue:
            worker = self._queue.popleft()
            command, key = worker.command, key_of(worker.command)
            # Judged again now that it is its turn: it may have queued while the world went on.
            worker.report = self._refusal(command) or self._journal.get(key) or self._refusal_by_deadline(command, now)
            if worker.report is not None:
                continue
            self._begun.add(key)
            self._watch(command, None)
            if command.verb in {HostVerb.INSTALL, HostVerb.RESTORE} and self._missing(command) is None:
                self.running = None
            if isinstance(worker.fault, KillWorker):
                worker.is_dead = True
                continue
            self._active = worker
            if not isinstance(worker.fault, Hang):
                worker.ends_at = now + timedelta(seconds=self._duration_s(command))

    def _end(self, worker: Worker) -> None:
        self._active = None
        command = worker.command
        if isinstance(worker.fault, Fail):
            report = _failed(worker.fault.code, worker.fault.message)
        else:
            report = self._perform(command)
        worker.report = replace(report, running_version=self.running)
        self._journal[key_of(command)] = worker.report
        self._watch(command, worker.report)

    def _perform(self, command: HostCommand) -> HostReport:
        plan, version = command.plan, command.plan.package.version
        refusal = self._missing(command)
        if refusal is not None:
            return refusal
        if command.verb is HostVerb.DOWNLOAD:
            is_here = version in self.complete
            self.complete[version] = plan.package.sha256
            return self._did(
                command, f"{version} is complete on this host already" if is_here else f"fetched {version}"
            )
        if command.verb is HostVerb.INSTALL:
            self.installs[plan.deployment_id, command.attempt] += 1
            before, self.current, self.running = self.current, version, version
            return self._did(command, f"current: {before or 'nothing'} -> {version}")
        if command.verb is HostVerb.RESTORE:
            self.current = self.running = plan.previous_version
            return self._proof(command, plan.previous_version)
        return self._proof(command, version)

    def _missing(self, command: HostCommand) -> HostReport | None:
        """Return why the version that the verb is about cannot be used; None where it can."""
        plan, version = command.plan, command.plan.package.version
        stored = self.complete.get(version)
        if command.verb in {HostVerb.DOWNLOAD, HostVerb.INSTALL} and stored not in {None, plan.package.sha256}:
            return _failed("host.version_conflict", f"{version} is there, and it is not this package")
        if command.verb is HostVerb.INSTALL and stored is None:
            return _failed("host.version_missing", f"version {version} is not on this server")
        if command.verb is HostVerb.RESTORE and plan.previous_version not in self.complete:
            return _failed("host.no_previous_version", f"version {plan.previous_version} is not on this server")
        return None

    def _proof(self, command: HostCommand, version: str | None) -> HostReport:
        if self.running is None or self.running in self._broken_versions:
            code = "health.unhealthy" if command.verb is HostVerb.PROVE else "health.timeout"
            message = f"{command.plan.host.instance} did not answer {command.plan.health_path} well"
            refusal = _failed(code, message, output=f"started {command.plan.package.version}\nbind: address in use\n")
        elif self.running != version:
            refusal = _failed("health.wrong_version", f"it answers, but it runs {self.running}, not {version}")
        else:
            return self._did(command, f"{command.plan.health_path} answered", f"runs {version}")
        if command.plan.ignore_verify and command.verb is not HostVerb.PROVE:
            return replace(_SUCCEEDED, detail={"ignored": {"code": refusal.code, "message": refusal.message}})
        return refusal

    def _did(self, command: HostCommand, *texts: str) -> HostReport:
        """Return the success of a verb that has done something at its end."""
        after_ms = round(1000 * self._duration_s(command))
        return replace(_SUCCEEDED, lines=tuple(Line(after_ms=after_ms, text=text) for text in texts))

    def _duration_s(self, command: HostCommand) -> float:
        serves = command.plan.previous_version if command.verb is HostVerb.RESTORE else self.running
        waits_in_vain = command.verb in {HostVerb.VERIFY, HostVerb.RESTORE} and (
            serves is None or serves in self._broken_versions
        )
        usual_s = self._durations_s.get(command.verb, 0.0)
        return max(usual_s, command.plan.startup_timeout_s) if waits_in_vain else usual_s


_SUCCEEDED = HostReport(state=HostState.SUCCEEDED)


def _failed(code: str, message: str, **detail: object) -> HostReport:
    return HostReport(state=HostState.FAILED, code=code, message=message, detail=detail)
