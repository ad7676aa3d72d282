"""What needs a person: failures by their cause, with one retry each."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from rollwave.domain.actions import retryable
from rollwave.domain.model import Progress, Standing
from rollwave.web.commands import cause_of
from rollwave.web.language import language_shown
from rollwave.words.standing import failure_cause

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rollwave.domain.model import State, Target

NAMED: Final = 3
"""So many sites are named; more are counted."""


class Cause(Struct, frozen=True, kw_only=True):
    """
    Targets that failed alike.

    Attributes:
        code: Code of their failure.
        title: What it means, for a person.
        example: What was said of one of them.
        targets: How many they are.
        retryable: How many of them a retry would run again.
        sites: Names of their sites, at most `NAMED`.
        site_count: How many sites there are.
        batches: Numbers of their batches.
    """

    code: str
    title: str
    example: str
    targets: int
    retryable: int
    sites: tuple[str, ...]
    site_count: int
    batches: tuple[int, ...]


def causes(state: State) -> list[Cause]:
    """Return the failures of a release by cause, the most frequent first."""
    alike: defaultdict[str, list[Target]] = defaultdict(list)
    for target in state.targets.values():
        if target.counts_as_failed:
            alike[cause_of(target)].append(target)
    again = {target.instance_id for target in retryable(state)}
    found = [_cause(code, targets, state, again) for code, targets in alike.items()]
    return sorted(found, key=lambda cause: (-cause.targets, cause.code))


def unanswered(state: State) -> int:
    """Return how many targets are in a stage that has not been answered."""
    return sum(
        target.standing is Standing.IN_FLIGHT and target.progress is Progress.UNKNOWN
        for target in state.targets.values()
    )


def _cause(code: str, targets: list[Target], state: State, again: set[int]) -> Cause:
    sites = sorted({state.fleet[one.instance_id].site for one in targets})
    said = failure_cause(code, language_shown())
    return Cause(
        code=code,
        title=said[:1].upper() + said[1:],
        example=next((one.failure.message for one in targets if one.failure), ""),
        targets=len(targets),
        retryable=sum(one.instance_id in again for one in targets),
        sites=tuple(sites[:NAMED]),
        site_count=len(sites),
        batches=_numbers(targets),
    )


def _numbers(targets: Iterable[Target]) -> tuple[int, ...]:
    return tuple(sorted({one.batch for one in targets}))
