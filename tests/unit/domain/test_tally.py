"""Counts that are carried from fact to fact are those that a fresh count would find (I21)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from rollwave.domain.model import Standing, Target
from rollwave.domain.tally import carry_on, tally_of
from tests.unit.domain.story import Story, failure_at, fleet_of

FLAGS = ("hold", "offline", "failed", "new", "busy_elsewhere")


def counted(**flags):
    """Four targets, the last without one, counted once; instance 1 as *flags* say."""
    story = Story(fleet_of(4), canary_count=0)
    fleet = {**story.state.fleet, 1: replace(story.state.fleet[1], **flags)}
    targets = {one: target for one, target in story.state.targets.items() if one != 4}
    state = story.state.having(fleet=fleet, targets=targets)
    tally_of(state)
    return state


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("raised", [True, False])
@pytest.mark.parametrize("other", [{}, {"hold": True}, {"failed": True}], ids=["alone", "held too", "failed too"])
def test_a_flag_that_is_raised_or_lowered_is_counted_once(flag, raised, other):
    """Whatever else is said of the instance."""
    before = counted(**{**other, flag: not raised})

    after = before.having(fleet={**before.fleet, 1: replace(before.fleet[1], **{flag: raised})})

    assert carry_on(before, after, [1]).cached_tally == tally_of(after.having())


@pytest.mark.parametrize("standing", Standing)
@pytest.mark.parametrize("failure", [None, failure_at()], ids=["well", "failing"])
def test_a_target_that_moves_is_counted_where_it_is_and_nowhere_else(standing, failure):
    """There and back again."""
    before = counted()
    moved = Target(instance_id=1, batch=before.targets[1].batch, standing=standing, failure=failure)
    after = carry_on(before, before.having(targets={**before.targets, 1: moved}), [1])
    assert after.cached_tally == tally_of(after.having())

    back = carry_on(after, after.having(targets=before.targets), [1])
    assert back.cached_tally == before.cached_tally


def test_what_changes_no_instance_and_no_target_counts_nothing_anew():
    """Most facts are of that kind, and a group may be large."""
    before = counted()

    assert carry_on(before, before.having()).cached_tally is before.cached_tally


def test_what_was_never_counted_is_not_counted_ahead_of_its_need():
    """The fold of a long log asks for no counts."""
    before = counted().having()

    assert carry_on(before, before.having(), [1]).cached_tally is None
