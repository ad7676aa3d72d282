"""Who rolls with whom, and in which order (domain.md, rule 3)."""

from __future__ import annotations

import pytest

from rollwave.domain.config import DeploymentConfig
from rollwave.domain.errors import EmptyGroupError
from rollwave.domain.model import Kind
from rollwave.domain.planner import plan, plan_batches
from tests.unit.domain.story import fleet_of, instance


def plan_of(fleet, kind=Kind.ROLLOUT, canaries=(), **config):
    return plan(fleet, group="shop", kind=kind, config=DeploymentConfig(**config), canaries=canaries)


def sizes(batches):
    return [len(batch) for batch in batches]


def test_ten_targets_at_a_quarter_roll_as_one_canary_then_2_2_2_2_1():
    """The example of rule 3."""
    batches, has_canary = plan_of(fleet_of(10))

    assert has_canary
    assert sizes(batches) == [1, 2, 2, 2, 2, 1]


@pytest.mark.parametrize("count", range(2, 12))
def test_a_rollback_has_no_canary_and_always_two_batches(count):
    """50 % rounded up, whatever the settings say."""
    batches, has_canary = plan_of(fleet_of(count), Kind.ROLLBACK, max_unavailable_percent=1, canary_count=3)

    assert not has_canary
    assert sizes(batches) == [-(-count // 2), count // 2]


def test_a_rollback_of_one_instance_is_one_batch():
    """Two batches need two instances."""
    assert plan_of(fleet_of(1), Kind.ROLLBACK) == (((1,),), False)


def test_a_rollback_leaves_out_what_has_never_served():
    """There is nothing to go back to on a new instance."""
    fleet = (instance(1), instance(2, new=True), instance(3))

    assert plan_of(fleet, Kind.ROLLBACK)[0] == ((1,), (3,))


def test_a_scale_out_plans_the_new_instances_only_and_has_no_canary():
    """What serves already is not touched."""
    fleet = (*fleet_of(8), *(instance(number, new=True) for number in (9, 10, 11)))

    assert plan_of(fleet, Kind.SCALE_OUT, canary_count=1) == (((9, 10), (11,)), False)


def test_a_reroll_plans_every_instance_behind_a_canary():
    """The same package again, with the same care."""
    batches, has_canary = plan_of(fleet_of(4), Kind.REROLL)

    assert has_canary
    assert sizes(batches) == [1, 1, 1, 1]


def test_no_canary_where_the_settings_want_none():
    """canary_count 0 means no canary batch."""
    assert plan_of(fleet_of(4), canary_count=0, max_unavailable_percent=50) == (((1, 2), (3, 4)), False)


def test_a_canary_batch_is_never_above_the_limit():
    """Canaries leave traffic together, so the one budget holds for them too."""
    assert sizes(plan_of(fleet_of(8), canary_count=5)[0]) == [2, 2, 2, 2]


def test_the_group_says_who_is_canary():
    """Preferred instances first, then the rolling order."""
    assert plan_of(fleet_of(8), canaries=(5,))[0][0] == (5,)
    assert plan_of(fleet_of(8), canaries=(5,), canary_count=2)[0][0] == (5, 1)


def test_a_broken_instance_is_the_last_choice_for_a_canary():
    """It proves nothing about the new version, not even where the group prefers it."""
    fleet = tuple(instance(number, failed=number == 3) for number in range(1, 9))

    assert plan_of(fleet, canaries=(3,))[0][0] == (1,)


def test_broken_instances_roll_first_after_the_canary():
    """They are out of traffic already: they cost the budget nothing, and give room once they are back."""
    fleet = tuple(instance(number, failed=number in (7, 8)) for number in range(1, 17))

    batches = plan_of(fleet)[0]

    assert batches[0] == (1,)
    assert batches[1][:2] == (7, 8)


def test_broken_instances_that_use_up_the_budget_are_the_canaries():
    """
    Nothing else has room to start, and a group that a bad release has left at its limit must be able to go forward.
    """
    one_of_four = tuple(instance(number, failed=number == 3) for number in range(1, 5))
    two_of_eight = tuple(instance(number, failed=number in (3, 4)) for number in range(1, 9))
    one_of_eight = tuple(instance(number, failed=number == 3) for number in range(1, 9))

    assert plan_of(one_of_four)[0][0] == (3,)
    assert plan_of(two_of_eight, canary_count=2)[0][0] == (3, 4)
    assert sorted(plan_of(one_of_eight, canary_count=2)[0][0]) == [1, 3]


def test_a_group_of_broken_instances_has_a_broken_canary():
    """There is no better choice."""
    assert plan_of(fleet_of(4, failed=True))[0][0] == (1,)


WAYS_OUT = "register instances, lift a hold, or bring a server back online"


@pytest.mark.parametrize(
    ("kind", "fleet", "hint"),
    [
        (Kind.ROLLOUT, (), WAYS_OUT),
        (Kind.ROLLOUT, fleet_of(2, hold=True), WAYS_OUT),
        (Kind.ROLLBACK, fleet_of(2, new=True), WAYS_OUT),
        (Kind.SCALE_OUT, fleet_of(2), "every instance is in service already"),
    ],
)
def test_nothing_to_release_to_is_said_with_a_way_out(kind, fleet, hint):
    """The error names the group and what would help."""
    with pytest.raises(EmptyGroupError) as caught:
        plan_of(fleet, kind)

    assert caught.value.facts == {"group": "shop", "hint": hint}


def test_no_instances_cannot_be_put_into_batches():
    """The part that makes batches has the same contract."""
    with pytest.raises(EmptyGroupError) as caught:
        plan_batches((), limit_count=1)

    assert caught.value.facts == {"group": "", "hint": WAYS_OUT}


def test_batches_have_one_canary_unless_something_else_is_said():
    """Care is the default."""
    assert plan_batches(fleet_of(4), limit_count=2) == ((1,), (2, 3), (4,))


def test_a_first_release_is_planned_as_if_its_instances_served():
    """None of them serves yet, so all of them are what the percentage is taken of."""
    assert sizes(plan_of(fleet_of(8, new=True))[0]) == [1, 2, 2, 2, 1]


def test_two_equal_sites_share_every_batch():
    """Five and five at 20 %: one of each in every batch, so no site loses more than its share."""
    fleet = tuple(instance(number, site="A" if number <= 5 else "B") for number in range(1, 11))

    batches, _ = plan_of(fleet, canary_count=0, max_unavailable_percent=20)

    assert [sorted(fleet[one - 1].site for one in batch) for batch in batches] == [["A", "B"]] * 5


@pytest.mark.parametrize("count", [2, 4, 6])
def test_the_only_instance_of_a_site_rolls_in_the_middle(count):
    """It is neither the first to try the new version nor the last to get it."""
    fleet = (*fleet_of(count), instance(9, site="B"))

    rolled = [one for batch in plan_of(fleet, canary_count=0)[0] for one in batch]

    assert rolled.index(9) == count // 2
