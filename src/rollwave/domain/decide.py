"""
The one place where a release decides: ``decide(state, event, now)`` returns what becomes of it, as a value.

A decision takes the event in (a command, or what a worker saw), then goes on for as long as something is due. Nothing
here acts: the engine commits the decision, then performs its intents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rollwave.domain import facts
from rollwave.domain.draft import Draft
from rollwave.domain.intake import take_in
from rollwave.domain.model import Phase
from rollwave.domain.progress import go_on

if TYPE_CHECKING:
    from datetime import datetime

    from rollwave.domain import commands as cmd
    from rollwave.domain.model import PackageRef, State


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSlice:
    """Have a worker drive a slice."""

    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class WakeAt:
    """Decide again when this time has come."""

    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class RollBack:
    """Start the rollback that was asked for together with the abort."""

    goal: PackageRef


Intent = RunSlice | WakeAt | RollBack


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """
    What becomes of a deployment.

    Attributes:
        state: The new state, which is the fold of *facts* over the old one.
        facts: What happened, in order; empty where the event changed nothing.
    """

    state: State
    facts: tuple[facts.Fact, ...]

    def followed_by(self, later: Decision) -> Decision:
        """Return this decision and one that was made on its state, as one."""
        return Decision(state=later.state, facts=(*self.facts, *later.facts))

    @property
    def intents(self) -> tuple[Intent, ...]:
        """Effects to bring about once the decision is committed; each follows from a fact."""
        found: list[Intent] = []
        for fact in self.facts:
            match fact:
                case facts.SliceOpened(number=number):
                    found.append(RunSlice(number=number))
                case facts.BatchScheduled(due_at=at) | facts.BakeWindowOpened(due_at=at):
                    found.append(WakeAt(at=at))
                case facts.PhaseChanged(phase=Phase.ABORTED):
                    abort = self.state.deployment.abort
                    if abort and abort.rollback_to:
                        found.append(RollBack(goal=abort.rollback_to))
        return tuple(found)


def decide(state: State, event: cmd.Command | cmd.Observation, *, now: datetime) -> Decision:
    """
    Return what becomes of *state* when *event* arrives at *now*.

    A stale or repeated observation changes nothing (I10). Deciding again with nothing new changes nothing (I24).

    Raises:
        ActionNotAllowedError: If a command is not open now; nothing has changed.
        InvalidValueError: If a command carries a value out of range; nothing has changed.
    """
    draft = Draft(state, now=now)
    take_in(event, draft)
    while go_on(draft):
        pass
    return Decision(state=draft.state, facts=tuple(draft.facts))
