"""
The slice runner: one coroutine per target drives its chain of stages, each at its own pace.

Every stage is recorded as begun before its effect and as ended after it; the end of one and the beginning of the next
share one write. A worker that takes a slice over goes on from the last record, and asks before it does anything again.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from rollwave.domain import chain
from rollwave.domain.commands import Settlement
from rollwave.domain.config import FailurePolicy
from rollwave.domain.errors import FencedError, RecalledError
from rollwave.domain.model import Course, Progress, Stage, Standing
from rollwave.engine.effects import CALL_S
from rollwave.engine.recorder import Session
from rollwave.engine.subject import about
from rollwave.ports.store import Transition
from rollwave.ports.telemetry import UNHEARD

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from datetime import datetime, timedelta

    from rollwave.domain.model import Failure, Target
    from rollwave.engine.effects import Effects, Outcome
    from rollwave.engine.offload import Offload
    from rollwave.engine.recorder import Recorder
    from rollwave.ports.clock import Clock
    from rollwave.ports.executor import Line
    from rollwave.ports.store import Job, SliceKey, Store
    from rollwave.ports.telemetry import Telemetry

log = structlog.get_logger()


class SliceRunner:
    """
    Runs slices on behalf of one worker.

    Args:
        store: The truth.
        recorder: Writes what happens.
        effects: Brings stages about.
        clock: Time.
        offload: Runs the store's blocking calls.
        owner: Name of this worker, unique among all that live.
        lease: How long a slice is owned without renewing.
        telemetry: Hears of slices that are claimed, and how they end.
    """

    def __init__(
        self,
        store: Store,
        *,
        recorder: Recorder,
        effects: Effects,
        clock: Clock,
        offload: Offload,
        owner: str,
        lease: timedelta,
        telemetry: Telemetry = UNHEARD,
    ) -> None:
        self._telemetry = telemetry
        self._store = store
        self._recorder = recorder
        self._effects = effects
        self._clock = clock
        self._offload = offload
        self._owner = owner
        self._lease = lease

    async def run(self, key: SliceKey) -> None:
        """
        Claim a slice and drive it to its end; return at once where somebody else has it.

        A worker that is fenced stops where it stands: whoever has the slice now goes on from the records. To be run as
        a task of its own: what it logs from then on is about this slice.
        """
        now = self._clock.now()
        claim = await self._offload(self._store.claim, key, owner=self._owner, now=now, lease_until=now + self._lease)
        if claim is None:
            return
        session = Session(claim=claim, lease_until=now + self._lease, recalls=claim.recalls)
        about(session)
        if claim.is_takeover:
            log.info("slice_taken_over", owner=self._owner)
        try:
            with self._telemetry.slice(claim, now=now):
                await self._run(session, now=now)
        except* FencedError:
            log.info("slice_fenced", owner=self._owner)

    async def _run(self, session: Session, *, now: datetime) -> None:
        claim = session.claim
        jobs = await self._offload.read(self._store.jobs, claim, now=now)
        session.open_count = len(jobs)
        if claim.recalls:
            # Whoever had the slice before us may have died without hearing of it.
            session.recalls, session.recalled = await self._offload.read(self._store.held, claim.key)
        if claim.course is Course.PRESTAGE:
            await self._for_each(jobs, session, partial(self._prestage, session))
            await self._recorder.record(session, done=True)
        else:
            await self._for_each(jobs, session, partial(self._drive, session))

    async def _for_each(
        self, jobs: Iterable[Job], session: Session, work: Callable[[Job], Coroutine[Any, Any, None]]
    ) -> None:
        """Do *work* on all targets of a slice at once, and keep its lease for as long as that takes."""
        async with asyncio.TaskGroup() as group:
            lease = group.create_task(self._keep_lease(session))
            async with asyncio.TaskGroup() as targets:
                for job in jobs:
                    targets.create_task(work(job))
            lease.cancel()

    async def _drive(self, session: Session, job: Job) -> None:
        one = _Chain(job, session=session, recorder=self._recorder, effects=self._effects, clock=self._clock)
        about(one)
        await one.drive()

    async def _prestage(self, session: Session, job: Job) -> None:
        about(_Fetch(session, job))
        outcome = await self._effects.prestage(job, epoch=session.claim.epoch)
        if outcome.failure:
            log.warning("prestage_failed", code=outcome.failure.code, reason=outcome.failure.message)

    async def _keep_lease(self, session: Session) -> None:
        while True:
            await self._clock.sleep(self._lease.total_seconds() / 3)
            await self._recorder.record(session)


class _Fetch:
    """One target whose host fetches ahead of time."""

    def __init__(self, session: Session, job: Job) -> None:
        self._session = session
        self._job = job

    def log_fields(self) -> dict[str, object]:
        """Return what tells it from others; a fetch ahead of time is attempt 0 for its host."""
        return {
            **self._session.log_fields(),
            "instance": self._job.plan.host.instance,
            "attempt": 0,
            "stage": Stage.DOWNLOAD.value,
        }


class _Chain:
    """One target on its way through its stages."""

    def __init__(self, job: Job, *, session: Session, recorder: Recorder, effects: Effects, clock: Clock) -> None:
        self._job = job
        self._session = session
        self._recorder = recorder
        self._effects = effects
        self._clock = clock
        self._failure = job.target.failure
        self._last: tuple[Stage | None, Progress | None] = (job.target.stage, job.target.progress)
        self._seen_version: str | None = None
        self._unwritten: list[Transition] = []

    def log_fields(self) -> dict[str, object]:
        """Return what tells this target's attempt from others, and the stage that was last begun."""
        stage, _ = self._last
        return {
            **self._session.log_fields(),
            "instance": self._job.plan.host.instance,
            "attempt": self._job.target.attempt,
            "stage": stage.value if stage else None,
        }

    async def drive(self) -> None:
        """Drive the target until it is settled, and have that written."""
        await self._wait_for_traffic()
        try:
            following: Stage | Standing = await self._resume(self._job.target)
            while isinstance(following, Stage):
                following = await self._run(following)
        except RecalledError:
            following = Standing.LEFT
        await self._recorder.record(self._session, self._unwritten, settlement=self._settlement(following))

    async def _wait_for_traffic(self) -> None:
        """Let whoever was given a hand on this instance's traffic before us come to an end."""
        if self._job.not_before is not None:
            await self._clock.sleep(max(0.0, (self._job.not_before - self._clock.now()).total_seconds()))

    async def _resume(self, target: Target) -> Stage | Standing:
        """Return what follows the last record, once it is known how the stage in it went."""
        self._check_recalled()
        if target.stage is None:
            return chain.FIRST[target.entry]
        if target.progress is Progress.SUCCESS:
            return self._after_success(target.stage)
        if target.progress is Progress.FAILURE:
            return self._after_failure(target.stage)
        return self._conclude(target.stage, await self._find_out(target.stage))

    async def _run(self, stage: Stage) -> Stage | Standing:
        """Perform one stage; return what follows it. Its intent is durable before its effect."""
        target = self._job.target
        # The brake hears of a failure as soon as it is on record, not when the target is back.
        failing = (target.instance_id, self._failure) if stage is Stage.RESTORE and self._failure else None
        # What ended just now and what begins are one moment.
        at = self._unwritten[-1].at if self._unwritten else self._clock.now()
        await self._write(self._transition(stage, Progress.RUNNING, at=at), failing=failing)
        self._last = (stage, Progress.RUNNING)
        epoch = self._session.claim.epoch
        outcome = await self._effects.perform(self._job, stage, attempt=target.attempt, epoch=epoch, own=self._own)
        if outcome.progress is Progress.UNKNOWN:
            self._complain("stage_unknown", outcome.failure)
            await self._write(self._transition(stage, Progress.UNKNOWN, outcome.failure))
            outcome = await self._find_out(stage)
        return self._conclude(stage, outcome)

    async def _find_out(self, stage: Stage) -> Outcome:
        target, epoch = self._job.target, self._session.claim.epoch
        return await self._effects.find_out(self._job, stage, attempt=target.attempt, epoch=epoch, own=self._own)

    async def _own(self) -> None:
        """Make sure of slice and target: a process that slept, or asked again and again, may not know what changed."""
        while (self._session.lease_until - self._clock.now()).total_seconds() < CALL_S:
            await self._recorder.record(self._session)
        # Last, for who renews after a sleep hears only there that targets were recalled.
        self._check_recalled()

    def _check_recalled(self) -> None:
        if self._job.target.instance_id in self._session.recalled:
            deployment_id, slice_number = self._session.claim.key
            raise RecalledError(deployment_id=deployment_id, slice_number=slice_number)

    def _conclude(self, stage: Stage, outcome: Outcome) -> Stage | Standing:
        self._last = (stage, outcome.progress)
        self._seen_version = outcome.running_version or self._seen_version
        self._unwritten.append(self._transition(stage, outcome.progress, outcome.failure, lines=outcome.lines or None))
        if outcome.progress is Progress.SUCCESS:
            return self._after_success(stage)
        self._complain("stage_failed", outcome.failure)
        following = self._after_failure(stage)
        if stage is not Stage.PROVE and self._failure is None:
            self._failure = outcome.failure
        return following

    def _complain(self, event: str, failure: Failure | None) -> None:
        if failure is not None:
            log.warning(event, code=failure.code, reason=failure.message)

    def _after_success(self, stage: Stage) -> Stage | Standing:
        target, course = self._job.target, self._session.claim.course
        return chain.after_success(
            entry=target.entry, course=course, stage=stage, failed_before=self._failure is not None
        )

    def _after_failure(self, stage: Stage) -> Stage | Standing:
        policy = FailurePolicy.RESTORE if self._job.restores else FailurePolicy.LEAVE
        # The failure of this very stage may be on record already, where a worker died right after writing it.
        failed_before = self._failure is not None and self._failure.stage is not stage
        return chain.after_failure(
            entry=self._job.target.entry, stage=stage, policy=policy, failed_before=failed_before
        )

    def _transition(
        self,
        stage: Stage,
        progress: Progress,
        failure: Failure | None = None,
        *,
        at: datetime | None = None,
        lines: tuple[Line, ...] | None = None,
    ) -> Transition:
        target = self._job.target
        return Transition(
            instance_id=target.instance_id,
            attempt=target.attempt,
            stage=stage,
            progress=progress,
            at=at or self._clock.now(),
            failure=failure,
            lines=lines,
        )

    async def _write(self, *transitions: Transition, failing: tuple[int, Failure] | None = None) -> None:
        await self._recorder.record(self._session, [*self._unwritten, *transitions], failing=failing)
        self._unwritten.clear()

    def _settlement(self, standing: Standing) -> Settlement:
        stage, progress = self._last
        plan = self._job.plan
        restored = standing is Standing.FAILED and (stage, progress) == (Stage.MARKUP, Progress.SUCCESS)
        if standing in (Standing.SUCCESS, Standing.VERIFIED):
            version: str | None = self._seen_version or plan.package.version
        else:
            version = plan.previous_version if restored else self._seen_version
        return Settlement(
            instance_id=self._job.target.instance_id,
            standing=standing,
            stage=stage,
            progress=progress,
            failure=self._failure,
            restored=restored,
            version=version,
        )
