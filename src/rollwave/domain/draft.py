"""A decision in the making: the state so far, and the facts that made it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollwave.domain import admission, facts
from rollwave.domain.actions import next_batch
from rollwave.domain.evolve import evolve
from rollwave.domain.model import Course
from rollwave.domain.phases import TRANSITIONS, Trigger

if TYPE_CHECKING:
    from datetime import datetime

    from rollwave.domain.model import State


class Draft:
    """Collects facts and folds each into the state at once; lives only inside one `decide`."""

    def __init__(self, state: State, *, now: datetime) -> None:
        self.state = state
        self.now = now
        self.facts: list[facts.Fact] = []

    def emit(self, fact: facts.Fact) -> None:
        """Let *fact* happen."""
        self.facts.append(fact)
        self.state = evolve(fact, self.state)

    def move(self, trigger: Trigger) -> None:
        """Move to the phase that the table names for *trigger*; KeyError, a bug, where it names none."""
        phase = TRANSITIONS[self.state.deployment.phase, trigger]
        if phase is not self.state.deployment.phase:
            self.emit(facts.PhaseChanged(phase=phase))

    def begin(self) -> None:
        """Leave PENDING: open the first batch, and let the later ones fetch ahead of time."""
        deployment = self.state.deployment
        if deployment.canary_batch:
            self.move(Trigger.START)
            self.emit(facts.BatchOpened(number=1))
        else:
            self.move(Trigger.START_WITHOUT_CANARY)
            self.release_next_batch()
        if deployment.config.prestage:
            later = [target.instance_id for target in self.state.targets.values() if target.batch > 1]
            for chunk in admission.chunks(later):
                self.emit(admission.prestage(self.state, chunk))

    def approve_bake(self, *, actor: str) -> None:
        """Let the canaries of these very attempts take production traffic."""
        attempts = tuple((target.instance_id, target.attempt) for target in self.state.in_batch(1))
        self.emit(facts.BakeApproved(actor=actor, attempts=attempts))

    def release_next_batch(self) -> None:
        """In manual mode: let the next batch go."""
        batch = next_batch(self.state)
        if batch and self.state.deployment.goes_by_hand:
            self.emit(facts.BatchReleased(number=batch.number))

    def brake(self, fact: facts.Braked) -> None:
        """Start nothing new, not even a download."""
        self.emit(fact)
        self.close_prestage()

    def close_prestage(self) -> None:
        """Stop downloads that run ahead."""
        for slice_ in tuple(self.state.deployment.slices.values()):
            if slice_.course is Course.PRESTAGE:
                self.emit(facts.SliceClosed(number=slice_.number))
