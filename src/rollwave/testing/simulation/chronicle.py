"""
The laws of one deployment's log: I2, I6, I7, I8, I10, I14, I21 and approval, each read from what was committed.

The rules are written down a second time here, on purpose and in other words than the engine's: a rule that the oracle
took from the engine could not catch the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rollwave.domain import facts
from rollwave.domain.commands import Action
from rollwave.domain.evolve import evolve
from rollwave.domain.model import Course, Entry, Kind, Phase, Progress, Stage, Standing
from rollwave.ports.store import Transition
from rollwave.testing.simulation.history import Violation

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from rollwave.domain.model import Instance, State, Target

_GOING: Final = (Phase.CANARY, Phase.VERIFY_SUCCESS, Phase.BAKING, Phase.BAKE_SUCCESS, Phase.ROLLING_OUT)

_GOOD, _BAD = Progress.SUCCESS, Progress.FAILURE

BEFORE: Final[Mapping[Stage, Collection[tuple[Stage, Progress] | None]]] = {
    Stage.MARKDOWN: (None, (Stage.PROVE, _BAD)),
    Stage.PROVE: (None, (Stage.MARKDOWN, _GOOD)),
    Stage.DOWNLOAD: ((Stage.MARKDOWN, _GOOD), (Stage.PROVE, _BAD)),
    Stage.INSTALL: ((Stage.DOWNLOAD, _GOOD),),
    Stage.VERIFY: ((Stage.INSTALL, _GOOD),),
    Stage.MARKUP: ((Stage.VERIFY, _GOOD), (Stage.PROVE, _GOOD), (Stage.RESTORE, _GOOD)),
    Stage.RESTORE: ((Stage.DOWNLOAD, _BAD), (Stage.INSTALL, _BAD), (Stage.VERIFY, _BAD)),
}
"""What must be on record before a stage may begin (I6)."""


def limit_of(state: State, fleet: Collection[Instance]) -> int:
    """Return how many of a group may be out of traffic (domain.md, rule 1), counted anew."""
    deployment = state.deployment
    eligible = [one for one in fleet if not one.hold and not one.offline and (deployment.initial or not one.new)]
    if deployment.kind is Kind.ROLLBACK:
        return max(1, -(-len(eligible) // 2))
    return max(1, len(eligible) * deployment.config.max_unavailable_percent // 100)


class Chronicle:
    """
    What the log of one deployment says so far.

    Args:
        state: As it was created.

    Attributes:
        state: The fold of the log.
        intents: (instance, attempt, stage) of every stage that was recorded as begun.
        prestaged: Instances that may fetch ahead of time.
        approvals: (instance, attempt) of every canary that may take traffic.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.intents: set[tuple[int, int, Stage]] = set()
        self.prestaged: set[int] = set()
        self.approvals: set[tuple[int, int]] = set()
        self._is_approved = state.deployment.kind is Kind.ROLLBACK or not state.deployment.config.requires_approval
        self._last: dict[tuple[int, int], tuple[Stage, Progress]] = {}

    @property
    def is_over(self) -> bool:
        """Whether the deployment is final."""
        return self.state.deployment.phase.is_final

    def take(self, entries: Sequence[facts.Fact | Transition], *, fleet: Collection[Instance], at: datetime) -> None:
        """Check what one transaction wrote, and fold it; *fleet* is the group's instances after it."""
        for entry in entries:
            if isinstance(entry, Transition):
                self._take_transition(entry)
        decided = [entry for entry in entries if not isinstance(entry, Transition)]
        for fact in decided:
            self._check(fact, fleet=fleet, at=at)
            self.state = evolve(fact, self.state)
        if decided:
            self._check_brake(fleet)

    def _take_transition(self, entry: Transition) -> None:
        target = self.state.targets[entry.instance_id]
        key = (entry.instance_id, entry.attempt)
        last = self._last.get(key)
        where = f"{entry.stage.name} of instance {entry.instance_id} in attempt {entry.attempt}"
        if target.standing is not Standing.IN_FLIGHT or target.attempt != entry.attempt:
            raise Violation("I10", f"{where} was recorded; the target is {target.standing.name}, {target.attempt}")
        if entry.progress is Progress.RUNNING:
            if last not in BEFORE[entry.stage]:
                raise Violation("I6", f"{where} began after {last}")
            if (*key, entry.stage) in self.intents:
                raise Violation("I11", f"{where} was begun twice")
            self.intents.add((*key, entry.stage))
        elif last is None or last[0] is not entry.stage or last[1] not in (Progress.RUNNING, Progress.UNKNOWN):
            raise Violation("I21", f"{where} ended as {entry.progress.name} after {last}")
        self._last[key] = (entry.stage, entry.progress)

    def _check(self, fact: facts.Fact, *, fleet: Collection[Instance], at: datetime) -> None:
        if self.is_over:
            raise Violation("I8", f"{fact} after the end of the deployment")
        match fact:
            case facts.SliceOpened(course=Course.PRESTAGE, entries=entries):
                self._check_may_start(fact)
                self.prestaged |= {one for one, _ in entries}
            case facts.SliceOpened():
                self._check_may_start(fact)
                self._check_admission(fact, fleet=fleet, at=at)
            case facts.TargetsSettled(settlements=settlements):
                for one in settlements:
                    if self.state.targets[one.instance_id].standing is not Standing.IN_FLIGHT:
                        raise Violation("I10", f"instance {one.instance_id} was settled and is not in flight")
            case facts.BakeApproved(attempts=attempts):
                self.approvals |= set(attempts)
            case facts.CommandAccepted(action=Action.APPROVE, actor=actor):
                self._is_approved = actor != self.state.deployment.actor
            case facts.BatchOpened(number=number):
                self._check_batch(number, at=at)

    def _check_may_start(self, fact: facts.SliceOpened) -> None:
        deployment = self.state.deployment
        if deployment.brake or deployment.abort:
            raise Violation("I8", f"slice {fact.number} was opened while {deployment.brake or deployment.abort}")
        if not self._is_approved:
            raise Violation("APPROVAL", f"slice {fact.number} was opened, and nobody else has approved the release")

    def _check_batch(self, number: int, *, at: datetime) -> None:
        batch = self.state.deployment.batches[number - 1]
        if batch.due_at and at < batch.due_at:
            raise Violation("I8", f"batch {number} was opened at {at}, its pause ends at {batch.due_at}")
        by_hand = self.state.deployment.goes_by_hand
        if by_hand and not batch.canary and not batch.released and number > 1:
            raise Violation("I8", f"batch {number} was opened, and nobody let it go")
        config = self.state.deployment.config
        pause_s = 0 if number == 1 else config.batch_pause_s if number == 2 else config.tail_pause_s
        if pause_s and not batch.due_at and not by_hand and self.state.deployment.kind is not Kind.ROLLBACK:
            raise Violation("I8", f"batch {number} was opened, and there was no pause of {pause_s} s before it")

    def _check_admission(self, fact: facts.SliceOpened, *, fleet: Collection[Instance], at: datetime) -> None:
        del at
        by_id = {one.id: one for one in fleet}
        for one, entry in fact.entries:
            target = self.state.targets[one]
            wanted = Standing.VERIFIED if entry is Entry.BAKE else Standing.PENDING
            if target.standing is not wanted:
                raise Violation("I10", f"instance {one} was admitted as {entry.name} and was {target.standing.name}")
            if by_id[one].hold or by_id[one].offline:
                raise Violation("I23", f"instance {one} was admitted and is held or offline")
            if entry is Entry.BAKE and (one, target.attempt) not in self.approvals:
                raise Violation("I2", f"canary {one} goes into traffic in attempt {target.attempt}, not approved")
            self._check_order(target)
        if any(entry is not Entry.BAKE for _, entry in fact.entries) and self._failed(fleet) >= limit_of(
            self.state, fleet
        ):
            raise Violation("I7", f"slice {fact.number} was opened with the failures at the limit")

    def _check_order(self, target: Target) -> None:
        for other in self.state.targets.values():
            if other.batch < target.batch and not other.standing.is_final:
                raise Violation(
                    "I14", f"batch {target.batch} began while {other.instance_id} of batch {other.batch} is not final"
                )

    def _failed(self, fleet: Collection[Instance]) -> int:
        counted = {one.id for one in fleet if not one.hold and not one.offline}
        return sum(
            one.instance_id in counted
            and (one.standing is Standing.FAILED or (one.standing is Standing.IN_FLIGHT and one.failure is not None))
            for one in self.state.targets.values()
        )

    def _check_brake(self, fleet: Collection[Instance]) -> None:
        deployment = self.state.deployment
        if deployment.phase not in _GOING or deployment.brake or deployment.abort:
            return
        failed, limit = self._failed(fleet), limit_of(self.state, fleet)
        if failed >= limit:
            raise Violation("I7", f"{failed} failed of {limit} allowed, and nobody braked")

    def is_turning(self, instance_id: int, stage: Stage) -> bool:
        """Whether a worker is to bring *stage* about now, as far as the log goes."""
        target = self.state.targets.get(instance_id)
        if target is None or target.standing is not Standing.IN_FLIGHT:
            return False
        last = self._last.get((instance_id, target.attempt))
        return last in ((stage, Progress.RUNNING), (stage, Progress.UNKNOWN))

    def is_back_in(self, instance_id: int) -> bool:
        """Whether a worker has put a target back in, and the rest of its slice is not settled yet."""
        target = self.state.targets.get(instance_id)
        if target is None or target.standing is not Standing.IN_FLIGHT:
            return False
        return self._last.get((instance_id, target.attempt)) == (Stage.MARKUP, Progress.SUCCESS)

    def is_out_for_work(self, instance_id: int) -> bool | None:
        """Return whether the log has a target of this attempt out of traffic; None while it is on its way out or in."""
        target = self.state.targets.get(instance_id)
        if target is None or target.standing not in (Standing.IN_FLIGHT, Standing.VERIFIED):
            return False
        if target.standing is Standing.VERIFIED:
            return True
        stage, progress = self._last.get((instance_id, target.attempt), (Stage.MARKUP, Progress.RUNNING))
        went_down = (instance_id, target.attempt, Stage.MARKDOWN) in self.intents
        is_turning = stage is Stage.MARKUP or (stage is Stage.MARKDOWN and progress is not Progress.SUCCESS)
        return True if went_down and not is_turning else None

    def check_stored(self, stored: State, targets: Mapping[int, Target], fleet: Collection[Instance]) -> None:
        """Check that the fold of the log is what is stored (I21)."""
        if stored.deployment != self.state.deployment:
            raise Violation("I21", f"stored {stored.deployment}; the log says {self.state.deployment}")
        for one, target in self.state.targets.items():
            stored_target = targets[one]
            if _facts_of(target) != _facts_of(stored_target):
                raise Violation("I21", f"stored {stored_target}; the log says {target}")
        for instance in fleet:
            folded = self.state.fleet.get(instance.id)
            if folded and (folded.failed, folded.new, folded.version) != (
                instance.failed,
                instance.new,
                instance.version,
            ):
                raise Violation("I21", f"stored {instance}; the log says {folded}")


def _facts_of(target: Target) -> tuple[object, ...]:
    return (target.standing, target.attempt, target.batch, target.entry, target.slice, target.restored)
