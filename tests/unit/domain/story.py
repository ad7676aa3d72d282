"""A release as its operator and its workers tell it: every call is one decision of the real core."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rollwave.domain import commands as cmd
from rollwave.domain import facts
from rollwave.domain.actions import open_actions
from rollwave.domain.config import DeploymentConfig
from rollwave.domain.decide import Decision, decide
from rollwave.domain.evolve import planned
from rollwave.domain.model import (
    Brake,
    BrakeCause,
    Failure,
    Instance,
    Kind,
    Neighbor,
    PackageRef,
    Phase,
    Progress,
    Stage,
    Standing,
    State,
)
from rollwave.domain.planner import is_initial, plan
from rollwave.domain.status import Summary, summarize

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

OLD = PackageRef(id=1, version="1.0")
GOAL = PackageRef(id=2, version="2.0")
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def instance(number: int, **changes: object) -> Instance:
    """One instance in traffic on the old version, alone on its server."""
    one = Instance(id=number, name=f"shop/s{number}:80", server=f"s{number}", site="A", version=OLD.version)
    return replace(one, **changes)


def fleet_of(count: int, **changes: object) -> tuple[Instance, ...]:
    """Instances 1 to *count*, all alike."""
    return tuple(instance(number, **changes) for number in range(1, count + 1))


def failure_at(stage: Stage = Stage.VERIFY) -> Failure:
    return Failure(code="health.timeout", message="no healthy answer", stage=stage)


class Story:
    """One deployment, told event by event."""

    def __init__(
        self,
        fleet: Sequence[Instance],
        *,
        kind: Kind = Kind.ROLLOUT,
        previous: PackageRef | None = OLD,
        canaries: Sequence[int] = (),
        neighbors: tuple[Neighbor, ...] = (),
        starts: bool = False,
        **config: object,
    ) -> None:
        settings = DeploymentConfig(**{"prestage": False, **config})
        batches, has_canary = plan(fleet, group="shop", kind=kind, config=settings, canaries=canaries)
        self.planned = facts.Planned(
            group="shop",
            kind=kind,
            goal=GOAL,
            previous=previous,
            config=settings,
            initial=is_initial(fleet),
            batches=batches,
            has_canary=has_canary,
            starts=starts,
            actor="ann",
        )
        self.state: State = planned(1, self.planned, fleet={one.id: one for one in fleet})
        self.state = self.state.having(neighbors=neighbors)
        self.now = NOON
        self.facts: list[facts.Fact] = []
        self.decision = Decision(state=self.state, facts=())

    # --- telling ---

    def tell(self, event: cmd.Command | cmd.Observation) -> Story:
        """Let *event* happen now."""
        self.decision = decide(self.state, event, now=self.now)
        self.state = self.decision.state
        self.facts.extend(self.decision.facts)
        return self

    def start(self) -> Story:
        return self.tell(cmd.Start(actor="ann"))

    def bake(self) -> Story:
        return self.tell(cmd.Bake(actor="ann"))

    def roll_out(self) -> Story:
        return self.tell(cmd.RollOut(actor="ann"))

    def next(self) -> Story:
        return self.tell(cmd.NextBatch(actor="ann"))

    def apply_brake(self, cause: BrakeCause = BrakeCause.OPERATOR, reason: str = "") -> Story:
        return self.tell(cmd.ApplyBrake(actor="ann", cause=cause, reason=reason))

    def resume(self) -> Story:
        return self.tell(cmd.Resume(actor="ann"))

    def retry(self, *ids: int) -> Story:
        return self.tell(cmd.Retry(actor="ann", instance_ids=frozenset(ids) if ids else None))

    def raise_limit(self, percent: int) -> Story:
        return self.tell(cmd.RaiseLimit(actor="ann", max_unavailable_percent=percent))

    def abort(self) -> Story:
        return self.tell(cmd.GiveUp(actor="ann", reason="enough"))

    def roll_back(self) -> Story:
        return self.tell(cmd.GiveUp(actor="ann", rollback_to=OLD))

    def condemn(self) -> Story:
        return self.tell(cmd.BakeJudged(actor="monitor", reason="errors rise"))

    def wait(self, seconds: int) -> Story:
        self.now += timedelta(seconds=seconds)
        return self.tell(cmd.TimeCame())

    def change(self, *ids: int, **flags: object) -> Story:
        """Let the world change flags of instances, as a load would show them."""
        changed = {one: replace(self.state.fleet[one], **flags) for one in ids}
        self.state = self.state.having(fleet={**self.state.fleet, **changed})
        return self.tell(cmd.FleetChanged())

    def hold(self, *ids: int) -> Story:
        return self.change(*ids, hold=True)

    def unhold(self, *ids: int) -> Story:
        return self.change(*ids, hold=False)

    # --- what workers report, in one report per slice ---

    def report(self, settlements: Iterable[cmd.Settlement]) -> Story:
        by_slice: dict[int, list[cmd.Settlement]] = {}
        for one in settlements:
            slice_ = self.state.targets[one.instance_id].slice
            assert slice_ is not None, f"nobody drives {one.instance_id}"
            by_slice.setdefault(slice_, []).append(one)
        for number, settled in by_slice.items():
            self.tell(cmd.SliceReported(slice=number, settled=tuple(settled)))
        return self

    def succeed(self, *ids: int) -> Story:
        """Markup succeeded; without ids: of every target in flight."""
        return self.report(
            cmd.Settlement(
                instance_id=one,
                standing=Standing.SUCCESS,
                stage=Stage.MARKUP,
                progress=Progress.SUCCESS,
                version=GOAL.version,
            )
            for one in ids or self.in_flight
        )

    def verify(self, *ids: int) -> Story:
        """A canary is proven and waits; without ids: every one in flight."""
        return self.report(
            cmd.Settlement(
                instance_id=one,
                standing=Standing.VERIFIED,
                stage=Stage.VERIFY,
                progress=Progress.SUCCESS,
                version=GOAL.version,
            )
            for one in ids or self.in_flight
        )

    def fail(self, *ids: int, stage: Stage = Stage.VERIFY, restored: bool = False) -> Story:
        """The attempt failed for good; without ids: of every target in flight."""
        return self.report(
            cmd.Settlement(
                instance_id=one,
                standing=Standing.FAILED,
                stage=Stage.MARKUP if restored else stage,
                progress=Progress.SUCCESS if restored else Progress.FAILURE,
                failure=failure_at(stage),
                restored=restored,
                version=OLD.version if restored else None,
            )
            for one in ids or self.in_flight
        )

    def leave(self, *ids: int, stage: Stage | None = None, version: str | None = GOAL.version) -> Story:
        """A worker saw the hold and let go."""
        return self.report(
            cmd.Settlement(
                instance_id=one,
                standing=Standing.LEFT,
                stage=stage,
                progress=Progress.SUCCESS if stage else None,
                version=version,
            )
            for one in ids
        )

    def failing(self, *ids: int) -> Story:
        """The attempt failed and the previous version is being brought back."""
        for one in ids:
            slice_ = self.state.targets[one].slice
            assert slice_ is not None, f"nobody drives {one}"
            self.tell(cmd.SliceReported(slice=slice_, failing=((one, failure_at()),)))
        return self

    # --- shortcuts to a phase ---

    def to_rolling_out(self) -> Story:
        """Start, and take the canary batch through, if there is one."""
        self.start()
        if self.phase is Phase.CANARY:
            self.verify().bake().succeed().roll_out()
        return self

    # --- looking ---

    @property
    def phase(self) -> Phase:
        return self.state.deployment.phase

    @property
    def brake(self) -> Brake | None:
        return self.state.deployment.brake

    @property
    def in_flight(self) -> tuple[int, ...]:
        return tuple(target.instance_id for target in self.state.in_flight)

    @property
    def open(self) -> set[str]:
        return {action.value for action in open_actions(self.state)}

    @property
    def summary(self) -> Summary:
        return summarize(self.state)

    @property
    def batches(self) -> tuple[tuple[int, ...], ...]:
        return self.planned.batches

    @property
    def last(self) -> tuple[facts.Fact, ...]:
        """The facts of the last decision."""
        return self.decision.facts

    def happened(self, kind: type[facts.Fact]) -> list[facts.Fact]:
        """The facts of one kind in the last decision."""
        return [fact for fact in self.last if isinstance(fact, kind)]

    def standing(self, instance_id: int) -> Standing:
        return self.state.targets[instance_id].standing
