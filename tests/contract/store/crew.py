"""Operators and workers at a store: what the engine does with it, one call at a time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rollwave.domain import commands as cmd
from rollwave.domain import facts
from rollwave.domain.config import DeploymentConfig
from rollwave.domain.decide import Decision, decide
from rollwave.domain.model import Course, Failure, Kind, PackageRef, Phase, Progress, Stage, Standing
from rollwave.domain.planner import is_initial, plan
from rollwave.ports.store import Claim, CommandKey, Job, Loaded, SliceRecord, Transition
from tests.contract.store.worlds import NOON, World

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rollwave.domain.model import State, Target

LEASE = timedelta(seconds=10)


def broken(stage: Stage = Stage.VERIFY) -> Failure:
    return Failure(code="health.timeout", message="no healthy answer", stage=stage)


def planned(
    world: World, group: str, goal: PackageRef, *, kind: Kind = Kind.ROLLOUT, starts: bool = False, **config: Any
) -> facts.Planned:
    """A plan of a group as it stands."""
    fleet = world.store.fleet(group)
    settings = DeploymentConfig(**{"prestage": False, "canary_count": 0, "max_unavailable_percent": 50, **config})
    batches, has_canary = plan(fleet.instances, group=group, kind=kind, config=settings, canaries=fleet.canaries)
    return facts.Planned(
        group=group,
        kind=kind,
        goal=goal,
        previous=next((one for one in (fleet.stable, fleet.before_stable) if one and one != goal), None),
        config=settings,
        initial=is_initial(fleet.instances),
        batches=batches,
        has_canary=has_canary,
        starts=starts,
        actor="ann",
    )


class Crew:
    """One deployment, and all who work on it."""

    def __init__(self, world: World, deployment_id: int) -> None:
        self.world = world
        self.store = world.store
        self.id = deployment_id
        self.now = NOON

    @classmethod
    def create(
        cls, world: World, group: str, goal: PackageRef, *, command: CommandKey | None = None, **plan: Any
    ) -> Crew:
        before = world.store.fleet(group).instances
        deployment_id = world.store.create(planned(world, group, goal, **plan), at=NOON, command=command)
        world.begun.setdefault(deployment_id, before)
        return cls(world, deployment_id)

    @classmethod
    def begin(cls, world: World, group: str, goal: PackageRef, **plan: Any) -> Crew:
        """Create and start."""
        crew = cls.create(world, group, goal, **plan)
        crew.act(cmd.Start(actor="ann"))
        return crew

    # --- deciding ---

    def load(self) -> Loaded:
        return self.store.load(self.id)

    @property
    def state(self) -> State:
        return self.load().state

    @property
    def phase(self) -> Phase:
        return self.state.deployment.phase

    def target(self, instance_id: int) -> Target:
        return self.state.targets[instance_id]

    def decide(self, event: cmd.Command | cmd.Observation, loaded: Loaded | None = None) -> tuple[Loaded, Decision]:
        loaded = loaded or self.load()
        return loaded, decide(loaded.state, event, now=self.now)

    def act(self, event: cmd.Command | cmd.Observation, *, command: CommandKey | None = None) -> Loaded:
        (after,) = self.store.commit([self.decide(event)], at=self.now, command=command)
        return after

    # --- working ---

    def claim(self, number: int, *, owner: str = "worker", now: datetime | None = None) -> Claim | None:
        now = now or self.now
        return self.store.claim((self.id, number), owner=owner, now=now, lease_until=now + LEASE)

    def jobs(self, claim: Claim) -> tuple[Job, ...]:
        return self.store.jobs(claim, now=self.now)

    def claim_open(self) -> list[Claim]:
        """Claim every open slice."""
        claims = [self.claim(number) for number in self.state.deployment.slices]
        return [one for one in claims if one is not None]

    def record(self, claim: Claim, *transitions: Transition, **changes: Any) -> SliceRecord:
        known = {"epoch": claim.epoch, "recalls": claim.recalls, "lease_until": self.now + LEASE, **changes}
        return SliceRecord(key=claim.key, transitions=transitions, **known)

    def saw(
        self, instance_id: int, stage: Stage, progress: Progress = Progress.RUNNING, failure: Failure | None = None
    ) -> Transition:
        attempt = self.target(instance_id).attempt
        return Transition(
            instance_id=instance_id, attempt=attempt, stage=stage, progress=progress, at=self.now, failure=failure
        )

    def write(self, claim: Claim, *transitions: Transition, **changes: Any) -> None:
        """Write what a worker saw, which calls for no decision."""
        self.store.commit([], [self.record(claim, *transitions, **changes)], at=self.now)

    def settle(self, claim: Claim, *settled: cmd.Settlement) -> Loaded:
        """Write and decide the end of targets, as a worker does at the end of its slice."""
        seen = [
            self.saw(one.instance_id, one.stage, one.progress, one.failure)
            for one in settled
            if one.stage and one.progress
        ]
        event = cmd.SliceReported(slice=claim.key[1], settled=settled)
        (after,) = self.store.commit([self.decide(event)], [self.record(claim, *seen)], at=self.now)
        return after

    def finish(self, claim: Claim, *, failing: Sequence[int] = ()) -> Loaded:
        """Bring every target of a slice to its end: those in *failing* at verify, the others as far as it goes."""
        is_canary = claim.course is Course.CANARY
        standing = Standing.VERIFIED if is_canary else Standing.SUCCESS
        return self.settle(
            claim,
            *(
                failed(one)
                if one in failing
                else cmd.Settlement(
                    instance_id=one,
                    standing=standing,
                    stage=Stage.VERIFY if is_canary else Stage.MARKUP,
                    progress=Progress.SUCCESS,
                    version=job.plan.package.version,
                )
                for job in self.jobs(claim)
                for one in [job.target.instance_id]
            ),
        )

    def run_all(self) -> Crew:
        """Work until no slice is open."""
        while claims := self.claim_open():
            for claim in claims:
                self.finish(claim)
        return self


def failed(instance_id: int, stage: Stage = Stage.VERIFY) -> cmd.Settlement:
    return cmd.Settlement(
        instance_id=instance_id,
        standing=Standing.FAILED,
        stage=stage,
        progress=Progress.FAILURE,
        failure=broken(stage),
    )


def good(instance_id: int) -> cmd.Settlement:
    return cmd.Settlement(
        instance_id=instance_id,
        standing=Standing.SUCCESS,
        stage=Stage.MARKUP,
        progress=Progress.SUCCESS,
        version="2.0",
    )


def released(world: World, group: str, goal: PackageRef, **plan: Any) -> Crew:
    """A deployment that ended in success."""
    crew = Crew.begin(world, group, goal, **plan).run_all()
    assert crew.phase is Phase.SUCCESS
    return crew
