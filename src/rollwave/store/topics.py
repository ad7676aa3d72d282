"""Which events belong to which topic, and which of them a subscription wants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rollwave.domain import facts
from rollwave.domain.commands import Action
from rollwave.domain.config import BakePolicy
from rollwave.domain.model import Kind, Phase, Standing
from rollwave.ports.notifier import Topic
from rollwave.store import codec

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from rollwave.domain.config import DeploymentConfig

_BY_PHASE: Final = {
    Phase.VERIFY_SUCCESS: Topic.WAITING,
    Phase.BAKE_SUCCESS: Topic.WAITING,
    Phase.VERIFY_FAILURE: Topic.FAILED,
    Phase.BAKE_FAILURE: Topic.FAILED,
    Phase.FAILURE: Topic.FAILED,
    Phase.SUCCESS: Topic.FINISHED,
    Phase.ABORTED: Topic.FINISHED,
}

_KINDS: Final[Mapping[Topic, set[type]]] = {
    Topic.STARTED: {facts.Planned, facts.CommandAccepted},
    Topic.WAITING: {facts.Planned, facts.PhaseChanged},
    Topic.BRAKED: {facts.Braked, facts.BrakeReleased},
    Topic.FAILED: {facts.PhaseChanged, facts.TargetsSettled, facts.TargetsFailing, facts.BakeCondemned},
    Topic.FINISHED: {facts.PhaseChanged},
}

FOR_SYSTEMS: Final = frozenset(("webhook", "amqp", "redis"))
"""Channels that other systems read: everything is everything to them, each stage of each target too."""

_STEPS: Final = frozenset({codec.STAGE_CHANGED, "SliceOpened", "SliceClosed"})
"""What the engine does for each target and each slice: `TargetsSettled` tells people how that ended, many at once."""


def kinds_of(topics: Collection[Topic], *, channel: str) -> frozenset[str]:
    """Return the kinds of events, as the log has them, among which the wanted ones are."""
    if Topic.EVERYTHING in topics:
        every = {*facts.FACTS, codec.STAGE_CHANGED}
        return frozenset(every if channel in FOR_SYSTEMS else every - _STEPS)
    return frozenset(kind.__name__ for topic in topics for kind in _KINDS[topic])


def is_wanted(fact: Any, topics: Collection[Topic], config: DeploymentConfig) -> bool:
    """Return whether an event of one of `kinds_of` is wanted; *config* is that of its deployment."""
    return Topic.EVERYTHING in topics or topic_of(fact, config) in topics


def topic_of(fact: Any, config: DeploymentConfig) -> Topic | None:  # noqa: PLR0911  # one for each kind
    """Return the topic of an event; None where it is a step on the way that only EVERYTHING has."""
    match fact:
        case facts.Planned(starts=False):
            return Topic.WAITING
        case facts.Planned(kind=kind, config=own):
            return Topic.WAITING if own.requires_approval and kind is not Kind.ROLLBACK else Topic.STARTED
        case facts.CommandAccepted(action=Action.START | Action.APPROVE):
            return Topic.STARTED
        case facts.PhaseChanged(phase=phase):
            topic = _BY_PHASE.get(phase)
            # Nobody is waited for where a policy approves.
            return None if topic is Topic.WAITING and config.bake_policy is BakePolicy.AUTO else topic
        case facts.Braked() | facts.BrakeReleased():
            return Topic.BRAKED
        case facts.BakeCondemned() | facts.TargetsFailing():
            return Topic.FAILED
        case facts.TargetsSettled(settlements=settlements):
            return Topic.FAILED if any(one.standing is Standing.FAILED for one in settlements) else None
    return None
