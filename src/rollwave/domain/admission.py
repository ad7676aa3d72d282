"""Who may start now: targets of the running batch, as many as every budget that counts them has room for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from rollwave.domain import facts
from rollwave.domain.budget import budget_of
from rollwave.domain.model import Course, Entry, Kind, Phase, Standing
from rollwave.domain.neighbors import Elsewhere
from rollwave.domain.tally import is_counted, is_out, tally_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rollwave.domain.model import State, Target

T = TypeVar("T")

SLICE_TARGETS: Final = 500
"""Most targets of one slice: large enough that a message costs nothing, small enough to spread over workers."""


def chunks(members: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield *members* in runs of at most `SLICE_TARGETS`."""
    for start in range(0, len(members), SLICE_TARGETS):
        yield members[start : start + SLICE_TARGETS]


def prestage(state: State, instance_ids: Sequence[int]) -> facts.SliceOpened:
    """Return the fact that lets hosts fetch ahead of time."""
    return facts.SliceOpened(
        number=state.deployment.last_slice + 1,
        course=Course.PRESTAGE,
        entries=tuple((instance_id, Entry.FULL) for instance_id in instance_ids),
    )


def entry_of(state: State, target: Target) -> Entry:
    """Return how the next attempt of *target* enters the chain. Source: domain.md, rule 6."""
    deployment = state.deployment
    instance = state.fleet[target.instance_id]
    runs_goal = instance.version == deployment.goal.version
    if deployment.kind is Kind.REROLL:
        return Entry.FULL
    if instance.failed or instance.new:
        return Entry.PROVE_OUT if target.attempt > 1 or runs_goal else Entry.FULL
    return Entry.PROVE_IN if runs_goal and not state.is_canary(target) else Entry.FULL


def admit(state: State, batch: int) -> tuple[facts.SliceOpened, ...]:
    """
    Return the slices that start now, empty where there is no room.

    A verified canary is marked up in the baking phase and costs nothing: it is out of traffic already. So is a target
    that failed before. Every other costs one place in the group's own budget, and one in the budget of each neighbor
    for every instance that its server takes out there.
    """
    course = Course.CANARY if state.deployment.phase is Phase.CANARY else Course.FULL
    first = state.deployment.last_slice + 1
    return tuple(
        facts.SliceOpened(number=number, course=course, entries=tuple(chunk))
        for number, chunk in enumerate(chunks(_entries(state, batch)), start=first)
    )


def _entries(state: State, batch: int) -> list[tuple[int, Entry]]:
    if not tally_of(state).standings(batch) & {Standing.PENDING, Standing.VERIFIED}:
        return []
    targets = state.in_batch(batch)
    entries = []
    if state.deployment.phase is Phase.BAKING:
        entries += [(target.instance_id, Entry.BAKE) for target in targets if target.standing is Standing.VERIFIED]
    pending = [target for target in targets if target.standing is Standing.PENDING]
    if not pending:
        return entries
    room = budget_of(state).room_count
    free, costly = _by_cost(state, pending)
    elsewhere = Elsewhere(state)
    for cost, candidates in ((0, free), (1, costly)):
        for target in candidates:
            if cost > room:
                break
            server = state.fleet[target.instance_id].server
            if elsewhere.has_room(server):
                room -= cost
                elsewhere.take(server)
                entries.append((target.instance_id, entry_of(state, target)))
    return entries


def _by_cost(state: State, pending: Sequence[Target]) -> tuple[list[Target], list[Target]]:
    """Return the targets that cost this group nothing, for they are out already or no capacity yet; and the others."""
    initial = state.deployment.initial
    free: list[Target] = []
    costly: list[Target] = []
    for target in pending:
        instance = state.fleet[target.instance_id]
        is_free = is_out(state, instance) or not is_counted(instance, initial=initial)
        (free if is_free else costly).append(target)
    return free, costly
