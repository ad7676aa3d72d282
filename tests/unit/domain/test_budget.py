"""The one budget (domain.md, rules 1 and 2)."""

from __future__ import annotations

import pytest

from rollwave.domain.budget import Budget, budget_of, limit_of
from rollwave.domain.model import Kind
from tests.unit.domain.story import Story, fleet_of, instance


def budget(story):
    found = budget_of(story.state)
    return found.out_count, found.limit_count, found.eligible_count


@pytest.mark.parametrize(
    ("eligible", "percent", "limit"), [(10, 25, 2), (4, 25, 1), (3, 25, 1), (0, 50, 1), (100, 1, 1)]
)
def test_the_limit_by_example(eligible, percent, limit):
    """The numbers of domain.md and the edges."""
    assert limit_of(eligible, max_unavailable_percent=percent) == limit


def test_room_is_never_negative():
    """A hold can shrink the limit below what is out already."""
    assert Budget(eligible_count=3, limit_count=1, out_count=2).room_count == 0


def test_held_and_offline_instances_count_nowhere():
    """Out of the numerator and the denominator: that is how an operator gets past a brake."""
    fleet = (*fleet_of(8), instance(9, hold=True, failed=True), instance(10, offline=True, failed=True))

    assert budget(Story(fleet)) == (0, 2, 8)


def test_what_is_out_for_any_reason_but_a_hold_counts():
    """In flight, waiting for a bake, failed and not restored, busy for another group."""
    fleet = (*fleet_of(10), instance(11, failed=True), instance(12, busy_elsewhere=True))
    story = Story(fleet, max_unavailable_percent=50)
    assert budget(story) == (2, 6, 12)

    assert budget(story.start()) == (3, 6, 12)
    assert budget(story.verify()) == (3, 6, 12)
    assert budget(story.bake()) == (3, 6, 12)
    assert budget(story.succeed()) == (2, 6, 12)
    assert story.roll_out().in_flight == (11, 2, 3, 4, 5)
    assert budget(story) == (6, 6, 12)
    assert budget(story.fail(2, 3)) == (6, 6, 12)
    assert story.fail(4, restored=True).in_flight == (11, 5, 6)
    assert budget(story) == (6, 6, 12)


def test_capacity_to_come_is_no_capacity():
    """A new instance serves nobody yet, so taking it costs nothing and it widens no limit."""
    story = Story((*fleet_of(8), *(instance(number, new=True) for number in range(9, 20))), kind=Kind.SCALE_OUT)

    assert budget(story.start()) == (0, 2, 8)
    assert len(story.in_flight) == 2
    assert budget(story.succeed()) == (0, 2, 10)


def test_a_group_that_never_served_counts_as_if_it_did():
    """The first release of a group rolls in batches too, or one bad package would break every instance at once."""
    story = Story(fleet_of(8, new=True, version=None), previous=None)

    assert budget(story.start()) == (1, 2, 8)


def test_a_rollback_may_take_half_rounded_up():
    """Whatever the percentage says, and it follows the group when a hold shrinks it."""
    story = Story(fleet_of(5), kind=Kind.ROLLBACK, max_unavailable_percent=1).start()
    assert budget(story) == (3, 3, 5)

    assert budget(story.hold(5)) == (3, 2, 4)


def test_a_failure_shrinks_what_runs_in_parallel():
    """With one of two places taken by a failed target, the next batch rolls one by one."""
    story = Story(fleet_of(8), canary_count=0).start().fail(1)
    assert story.in_flight == (2,)

    assert story.succeed().in_flight == (3,)
    assert story.succeed().in_flight == (4,)


def test_nothing_is_admitted_while_more_is_out_than_allowed():
    """A hold shrinks the group, the limit follows, and what is out already goes on."""
    story = Story(fleet_of(8), canary_count=0).start()
    assert budget(story) == (2, 2, 8)

    story.hold(8)
    assert budget(story) == (2, 1, 7)
    assert story.succeed(1).in_flight == (2,)
    assert story.succeed(2).in_flight == (3,)


def test_what_is_out_already_starts_even_without_room():
    """A broken instance that rolls again takes no further place."""
    fleet = tuple(instance(number, failed=number in (5, 6, 7)) for number in range(1, 9))
    story = Story(fleet, canary_count=0)

    assert story.batches[0] == (5, 6)
    assert story.start().in_flight == (5, 6)


@pytest.mark.parametrize(("count", "limit"), [(1, 1), (2, 1), (3, 2), (4, 2)])
def test_a_rollback_may_take_half_rounded_up_and_of_two_only_one(count, limit):
    """As fast as safety allows, and never the whole of a group that has more than one."""
    assert budget_of(Story(fleet_of(count), kind=Kind.ROLLBACK).state).limit_count == limit
