"""What happened, as a sentence for a person: one for every kind of event."""

from __future__ import annotations

from collections import Counter
from functools import singledispatch
from typing import TYPE_CHECKING, Final

from rollwave.domain import facts
from rollwave.domain.model import Course, Progress, Standing
from rollwave.store.codec import StageChanged

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_NAMED: Final = 3
"""So many instances are named; more are counted."""


class Names:
    """
    Names of instances for sentences.

    Args:
        by_id: Name of each instance; one that is gone is called by its number.
    """

    def __init__(self, by_id: Mapping[int, str]) -> None:
        self._by_id = by_id

    def of(self, instance_ids: Collection[int]) -> str:
        """Return the short names of a few instances, or how many there are."""
        if len(instance_ids) > _NAMED:
            return f"{len(instance_ids)} targets"
        return ", ".join(self._by_id.get(one, f"instance {one}").split("/", 1)[-1] for one in instance_ids)


@singledispatch
def sentence(event: facts.Fact | StageChanged, names: Names) -> str:
    """Return what *event* says, without a final period."""
    raise NotImplementedError(f"no sentence for {type(event).__name__}")


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


@sentence.register
def _(event: facts.Planned, names: Names) -> str:
    del names
    count = sum(map(len, event.batches))
    kind = event.kind.value.replace("_", "-")
    canary = ", the first a canary" if event.has_canary else ""
    return (
        f"{event.actor} planned a {kind} of {event.group} to {event.goal.version}: "
        f"{count} targets in {len(event.batches)} batches{canary}{_because(event.reason)}"
    )


@sentence.register
def _(event: facts.CommandAccepted, names: Names) -> str:
    del names
    return f"{event.actor} asked for {event.action.value.replace('_', ' ')}{_because(event.reason)}"


@sentence.register
def _(event: facts.PhaseChanged, names: Names) -> str:
    del names
    return f"Phase {event.phase.value.replace('_', ' ')}"


@sentence.register
def _(event: facts.BakeApproved, names: Names) -> str:
    return f"{event.actor} approved the bake of {names.of([one for one, _ in event.attempts])}"


@sentence.register
def _(event: facts.BakeWindowOpened, names: Names) -> str:
    del names
    return f"The canary takes traffic; the bake lasts at least until {event.due_at:%H:%M:%S} UTC"


@sentence.register
def _(event: facts.BakeCondemned, names: Names) -> str:
    del names
    return f"{event.actor} judged the bake bad{_because(event.reason)}"


@sentence.register
def _(event: facts.Braked, names: Names) -> str:
    del names
    return f"{event.actor} braked ({event.cause.value.replace('_', ' ')}){_because(event.reason)}"


@sentence.register
def _(event: facts.BrakeReleased, names: Names) -> str:
    del event, names
    return "The brake was released"


@sentence.register
def _(event: facts.AbortRequested, names: Names) -> str:
    del names
    follows = f", then rolled back to {event.rollback_to.version}" if event.rollback_to else ""
    return f"It is being given up{follows}{_because(event.reason)}"


@sentence.register
def _(event: facts.LimitRaised, names: Names) -> str:
    del names
    return f"Up to {event.max_unavailable_percent} % of the group may be out of traffic now"


@sentence.register
def _(event: facts.BatchScheduled, names: Names) -> str:
    del names
    return f"Batch {event.number} waits until {event.due_at:%H:%M:%S} UTC"


@sentence.register
def _(event: facts.BatchReleased, names: Names) -> str:
    del names
    return f"Batch {event.number} was let go"


@sentence.register
def _(event: facts.BatchOpened, names: Names) -> str:
    del names
    return f"Batch {event.number} opened"


@sentence.register
def _(event: facts.SliceOpened, names: Names) -> str:
    verb = "fetch ahead of time" if event.course is Course.PRESTAGE else "start"
    subject = names.of([one for one, _ in event.entries])
    return f"{subject} {verb if len(event.entries) > 1 else _third_person(verb)}"


def _third_person(verb: str) -> str:
    first, *rest = verb.split(" ", 1)
    return " ".join([first + ("es" if first.endswith("ch") else "s"), *rest])


@sentence.register
def _(event: facts.SliceClosed, names: Names) -> str:
    del names
    return f"Slice {event.number} is done"


@sentence.register
def _(event: facts.TargetsFailing, names: Names) -> str:
    code = Counter(failure.code for _, failure in event.failures).most_common(1)[0][0]
    return f"{names.of([one for one, _ in event.failures])} failed ({code}) and will be put back"


@sentence.register
def _(event: facts.TargetsSettled, names: Names) -> str:
    parts = []
    for standing in (Standing.SUCCESS, Standing.VERIFIED, Standing.FAILED, Standing.LEFT):
        mine = [one for one in event.settlements if one.standing is standing]
        if not mine:
            continue
        became = {
            Standing.SUCCESS: f"done on {mine[0].version}",
            Standing.VERIFIED: f"verified on {mine[0].version}, out of traffic",
            Standing.FAILED: "failed",
            Standing.LEFT: "left the plan",
        }[standing]
        failure = mine[0].failure
        why = f" ({failure.message})" if failure and standing is Standing.FAILED else ""
        parts.append(f"{names.of([one.instance_id for one in mine])} {became}{why}")
    return "; ".join(parts)


@sentence.register
def _(event: facts.TargetsLeft, names: Names) -> str:
    return f"{names.of(event.instance_ids)} left the plan"


@sentence.register
def _(event: facts.TargetsReset, names: Names) -> str:
    return f"{names.of(event.instance_ids)} will be tried again"


@sentence.register
def _(event: StageChanged, names: Names) -> str:
    del names
    how = {
        Progress.RUNNING: "begins",
        Progress.UNKNOWN: "gave no answer yet",
        Progress.SUCCESS: "succeeded",
        Progress.FAILURE: "failed",
    }[event.progress]
    why = f": {event.failure.message}" if event.failure else ""
    again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
    return f"{event.stage.value} {how}{again}{why}"
