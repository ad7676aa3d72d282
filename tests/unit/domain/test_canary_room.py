"""Canaries that wait, out of traffic, while others of their batch wait for the room that these hold (ADR 9)."""

from __future__ import annotations

import pytest

from rollwave.domain import facts
from rollwave.domain.config import BakePolicy
from rollwave.domain.model import Entry, Neighbor, Phase, Standing
from rollwave.words.standing import status_sentence
from tests.unit.domain.story import Story, fleet_of


def blog(room, *servers):
    """A group on the same servers that can do without *room* of its instances."""
    return Neighbor(group="blog", room_count=room, in_by_server=dict.fromkeys(servers, 1))


@pytest.fixture
def story():
    """Two canaries on servers of a neighbor that can do without one; the first of them runs."""
    story = Story(fleet_of(8), canary_count=2, neighbors=(blog(1, "s1", "s2"),)).start()
    assert story.in_flight == (1,)
    return story


def test_the_canary_batch_ends_with_those_that_found_room(story):
    """A canary waits for the bake, not for another one that waits for its room: that would be for ever."""
    story.verify()

    assert story.phase is Phase.VERIFY_SUCCESS
    assert (story.standing(1), story.standing(2)) == (Standing.VERIFIED, Standing.PENDING)
    assert "bake" in story.open
    sentence = "The canary is verified and out of traffic; 1 more will follow in the bake; bake it to give it traffic."
    assert status_sentence(story.summary) == sentence


def test_the_others_follow_in_the_bake(story):
    """By the same approval, once those before them are back in traffic; and the bake is over when all of them are."""
    story.verify().bake()
    assert [fact.attempts for fact in story.happened(facts.BakeApproved)] == [((1, 1), (2, 1))]
    assert story.in_flight == (1,)

    story.succeed()
    assert (story.phase, story.in_flight) == (Phase.BAKING, (2,))
    assert story.state.targets[2].entry is Entry.FULL

    assert story.succeed().phase is Phase.BAKE_SUCCESS


def test_nobody_is_needed_where_a_policy_bakes():
    """The release goes through by itself (I20)."""
    neighbors = (blog(1, "s1", "s2", "s3"),)
    story = Story(fleet_of(12), canary_count=3, bake_policy=BakePolicy.AUTO, neighbors=neighbors).start().verify()

    while story.in_flight:
        story.succeed()

    assert story.phase is Phase.SUCCESS
    assert {story.standing(one) for one in story.state.targets} == {Standing.SUCCESS}


def test_a_hold_that_shrinks_the_limit_strands_nobody():
    """The room of the group's own budget may be gone as well: two of eight, then one of seven."""
    story = Story(fleet_of(8), canary_count=2, max_unavailable_percent=25).start().verify(1).fail(2, restored=True)
    story.hold(8).retry()
    assert (story.phase, story.standing(2)) == (Phase.VERIFY_SUCCESS, Standing.PENDING)

    story.bake().succeed()

    assert story.in_flight == (2,)


def test_one_that_has_room_is_waited_for():
    """Who finds room while others wait is a canary like them: to be verified before anybody is asked."""
    story = Story(fleet_of(8), canary_count=2, neighbors=(blog(1, "s1"),)).start()
    assert story.in_flight == (1, 2)

    assert story.verify(1).phase is Phase.CANARY
    assert story.verify(2).phase is Phase.VERIFY_SUCCESS


def test_room_that_others_hold_is_waited_for():
    """While no canary has run there is nothing to bake."""
    story = Story(fleet_of(8), canary_count=2, neighbors=(blog(0, "s1", "s2"),)).start()

    assert (story.phase, story.in_flight) == (Phase.CANARY, ())


def test_a_brake_is_no_lack_of_room(story):
    """A braked canary batch goes on after the brake; without room it ends then."""
    story.apply_brake().verify()
    assert story.phase is Phase.CANARY

    assert story.resume().phase is Phase.VERIFY_SUCCESS


def test_a_failed_canary_that_holds_the_room_ends_the_batch(story):
    """It stays out of traffic, so its neighbor's room does not come back before somebody retries it."""
    story.fail()
    assert (story.phase, story.standing(2)) == (Phase.VERIFY_FAILURE, Standing.PENDING)

    assert story.retry().in_flight == (1,)
    assert story.verify().phase is Phase.VERIFY_SUCCESS


def test_one_that_fails_in_the_bake_and_holds_the_room_fails_it(story):
    """The same where it was on its way into traffic."""
    story.verify().bake().fail()
    assert story.phase is Phase.BAKE_FAILURE

    story.retry().succeed()

    assert (story.phase, story.in_flight) == (Phase.BAKING, (2,))


def test_where_the_verified_ones_leave_the_others_have_their_turn(story):
    """Nothing is left that could be baked, and there is room again: a canary comes first, as ever."""
    story.verify().hold(1)

    assert (story.phase, story.in_flight) == (Phase.CANARY, (2,))
    assert story.verify().phase is Phase.VERIFY_SUCCESS


def test_an_abort_gives_the_others_no_turn(story):
    """Nothing new starts then."""
    story.verify().abort()

    assert story.phase is Phase.ABORTED
    assert (story.standing(1), story.standing(2)) == (Standing.LEFT, Standing.PENDING)
