"""What happened, as a sentence for a person: one for every kind of event."""

from __future__ import annotations

from collections import Counter
from functools import singledispatch
from typing import TYPE_CHECKING, Final

from rollwave.domain import facts
from rollwave.domain.model import BrakeCause, Course, Standing
from rollwave.ports.store import StageChanged
from rollwave.words.catalog import name_of, say
from rollwave.words.language import Language
from rollwave.words.standing import brake_reason, failure_cause, failure_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

_NAMED: Final = 3
"""So many instances are named; more are counted."""


class Names:
    """
    Names of instances for sentences.

    Args:
        by_id: Name of each instance; one that is gone is called by its number.
        language: Of the sentences.
    """

    def __init__(self, by_id: Mapping[int, str], language: Language = Language.ENGLISH) -> None:
        self._by_id = by_id
        self.language = language

    def of(self, instance_ids: Collection[int]) -> str:
        """Return the short names of a few instances, or how many there are."""
        if len(instance_ids) > _NAMED:
            return self.say("targets", count=len(instance_ids))
        return self.say("and_more").join(map(self._name, instance_ids))

    def say(self, key: str, **facts: object) -> str:
        """Return what is said under *key* in the language."""
        return say(self.language, key, **facts)

    def because(self, reason: str) -> str:
        """Return *reason* as the end of a sentence; nothing where there is none."""
        return self.say("because", reason=reason) if reason else ""

    def time(self, when: datetime) -> str:
        """Return a time of the day."""
        return self.say("time", time=when)

    def _name(self, instance_id: int) -> str:
        name = self._by_id.get(instance_id)
        return name.split("/", 1)[-1] if name else self.say("instance", id=instance_id)


@singledispatch
def sentence(event: facts.Fact | StageChanged, names: Names) -> str:
    """Return what *event* says, without a final period, in the language of *names*."""
    raise NotImplementedError(f"no sentence for {type(event).__name__}")


@sentence.register
def _(event: facts.Planned, names: Names) -> str:
    return names.say(
        "event.Planned",
        actor=event.actor,
        kind=name_of(event.kind, names.language),
        group=event.group,
        version=event.goal.version,
        targets=names.say("targets", count=sum(map(len, event.batches))),
        batches=names.say("batches", count=len(event.batches)),
        canary=names.say("event.Planned.canary") if event.has_canary else "",
        because=names.because(event.reason),
    )


@sentence.register
def _(event: facts.CommandAccepted, names: Names) -> str:
    action, because = name_of(event.action, names.language), names.because(event.reason)
    return names.say("event.CommandAccepted", actor=event.actor, action=action, because=because)


@sentence.register
def _(event: facts.PhaseChanged, names: Names) -> str:
    return names.say("event.PhaseChanged", phase=name_of(event.phase, names.language))


@sentence.register
def _(event: facts.BakeApproved, names: Names) -> str:
    targets = names.of([one for one, _ in event.attempts])
    return names.say("event.BakeApproved", actor=event.actor, targets=targets)


@sentence.register
def _(event: facts.BakeWindowOpened, names: Names) -> str:
    return names.say("event.BakeWindowOpened", until=names.time(event.due_at))


@sentence.register
def _(event: facts.BakeCondemned, names: Names) -> str:
    return names.say("event.BakeCondemned", actor=event.actor, because=names.because(event.reason))


@sentence.register
def _(event: facts.Braked, names: Names) -> str:
    is_told = event.reason or event.cause is not BrakeCause.OPERATOR
    because = names.because(brake_reason(event, names.language)) if is_told else ""
    cause = name_of(event.cause, names.language)
    return names.say("event.Braked", actor=event.actor, cause=cause, because=because)


@sentence.register
def _(event: facts.BrakeReleased, names: Names) -> str:
    del event
    return names.say("event.BrakeReleased")


@sentence.register
def _(event: facts.AbortRequested, names: Names) -> str:
    goal = event.rollback_to
    follows = names.say("event.AbortRequested.follows", version=goal.version) if goal else ""
    return names.say("event.AbortRequested", follows=follows, because=names.because(event.reason))


@sentence.register
def _(event: facts.LimitRaised, names: Names) -> str:
    return names.say("event.LimitRaised", percent=event.max_unavailable_percent)


@sentence.register
def _(event: facts.BatchScheduled, names: Names) -> str:
    return names.say("event.BatchScheduled", number=event.number, until=names.time(event.due_at))


@sentence.register
def _(event: facts.BatchReleased, names: Names) -> str:
    return names.say("event.BatchReleased", number=event.number)


@sentence.register
def _(event: facts.BatchOpened, names: Names) -> str:
    return names.say("event.BatchOpened", number=event.number)


@sentence.register
def _(event: facts.SliceOpened, names: Names) -> str:
    key = "event.SliceOpened.prestage" if event.course is Course.PRESTAGE else "event.SliceOpened"
    return names.say(key, count=len(event.entries), targets=names.of([one for one, _ in event.entries]))


@sentence.register
def _(event: facts.SliceClosed, names: Names) -> str:
    return names.say("event.SliceClosed", number=event.number)


@sentence.register
def _(event: facts.TargetsFailing, names: Names) -> str:
    code = Counter(failure.code for _, failure in event.failures).most_common(1)[0][0]
    targets = names.of([one for one, _ in event.failures])
    return names.say("event.TargetsFailing", targets=targets, cause=failure_cause(code, names.language))


@sentence.register
def _(event: facts.TargetsSettled, names: Names) -> str:
    parts = []
    for standing in (Standing.SUCCESS, Standing.VERIFIED, Standing.FAILED, Standing.LEFT):
        mine = [one for one in event.settlements if one.standing is standing]
        if not mine:
            continue
        failure = mine[0].failure if standing is Standing.FAILED else None
        why = (
            names.say("event.TargetsSettled.failure", failure=failure_text(failure, names.language)) if failure else ""
        )
        targets = names.of([one.instance_id for one in mine])
        key = f"event.TargetsSettled.{standing.value}"
        parts.append(names.say(key, targets=targets, version=mine[0].version, failure=why))
    return names.say("parts").join(parts)


@sentence.register
def _(event: facts.TargetsLeft, names: Names) -> str:
    return names.say("event.TargetsLeft", targets=names.of(event.instance_ids))


@sentence.register
def _(event: facts.TargetsReset, names: Names) -> str:
    return names.say("event.TargetsReset", targets=names.of(event.instance_ids))


@sentence.register
def _(event: StageChanged, names: Names) -> str:
    return names.say(
        "event.StageChanged",
        stage=name_of(event.stage, names.language),
        how=name_of(event.progress, names.language),
        again=names.say("event.StageChanged.again", attempt=event.attempt) if event.attempt > 1 else "",
        because=names.because(failure_text(event.failure, names.language)) if event.failure else "",
    )
