"""
The one place where a release decides: ``decide(state, event, now)`` returns what becomes of it, as a value.

A decision takes the event in (a command, or what a worker saw), then goes on for as long as something is due. Nothing
here acts: the engine commits the decision, then performs its intents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from rollwave.domain import facts
from rollwave.domain.draft import Draft
from rollwave.domain.intake import take_in
from rollwave.domain.model import Phase
from rollwave.domain.progress import go_on

if TYPE_CHECKING:
    from datetime import datetime

    from rollwave.domain import commands as cmd
    from rollwave.domain.model import PackageRef, State

MOST_STEPS: Final = 1_000
"""A decision ends after a handful of steps. One that would go on for ever is a bug, and must not hang the engine."""


class RunSlice(Struct, frozen=True, kw_only=True):
    """Have a worker drive a slice."""

    number: int


class WakeAt(Struct, frozen=True, kw_only=True):
    """Decide again when this time has come."""

    at: datetime


class RollBack(Struct, frozen=True, kw_only=True):
    """Start the rollback that was asked for together with the abort."""

    goal: PackageRef


Intent = RunSlice | WakeAt | RollBack


class Decision(Struct, frozen=True, kw_only=True):
    """
    What becomes of a deployment.

    Attributes:
        state: The new state, which is the fold of *facts* over the old one.
        facts: What happened, in order; empty where the event changed nothing.
    """

    state: State
    facts: tuple[facts.Fact, ...]

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


def decide(state: State, *events: cmd.Command | cmd.Observation, now: datetime) -> Decision:
    """
    Return what becomes of *state* when *events* arrive at *now*: all are taken in before anything follows from them.

    A stale or repeated observation changes nothing (I10). Deciding again with nothing new changes nothing (I24).

    Raises:
        ActionNotAllowedError: If a command is not open now; nothing has changed.
        InvalidValueError: If a command carries a value out of range; nothing has changed.
    """
    draft = Draft(state, now=now)
    for event in events:
        take_in(event, draft)
    for _ in range(MOST_STEPS):
        if not go_on(draft):
            return Decision(state=draft.state, facts=tuple(draft.facts))
    raise RuntimeError("a decision does not come to its end")
