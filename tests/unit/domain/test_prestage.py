"""Hosts fetch ahead of time (domain.md, rule 11)."""

from __future__ import annotations

from rollwave.domain import commands as cmd
from rollwave.domain import facts
from rollwave.domain.decide import RunSlice
from rollwave.domain.model import Course, Phase
from tests.unit.domain.story import Story, fleet_of


def prestage(story):
    return [one for one in story.state.deployment.slices.values() if one.course is Course.PRESTAGE]


def test_the_later_batches_fetch_while_the_first_one_rolls():
    """One slice for all of them; nobody is admitted by it and nobody leaves traffic."""
    story = Story(fleet_of(4), prestage=True).start()

    (ahead,) = prestage(story)
    assert ahead.instance_ids == (2, 3, 4)
    assert story.in_flight == (1,)
    assert story.decision.intents == (RunSlice(number=ahead.number), RunSlice(number=2))


def test_without_prestage_or_without_later_batches_nothing_is_fetched_ahead():
    """The first batch fetches for itself."""
    assert prestage(Story(fleet_of(4), prestage=False).start()) == []
    assert prestage(Story(fleet_of(1), prestage=True).start()) == []


def test_a_brake_stops_the_fetching_for_good():
    """Nothing new starts, not even a download; the download stage makes up for it (I8)."""
    story = Story(fleet_of(4), prestage=True).start().apply_brake()
    assert prestage(story) == []

    assert prestage(story.resume()) == []


def test_the_brake_by_failures_stops_the_fetching_too():
    """In the very decision that brakes (I7)."""
    story = Story(fleet_of(4), prestage=True).start().fail()

    assert story.phase is Phase.VERIFY_FAILURE
    assert prestage(story) == []


def test_an_abort_stops_the_fetching():
    """There is nothing to fetch for."""
    assert prestage(Story(fleet_of(4), prestage=True).start().abort()) == []


def test_the_end_of_the_fetching_closes_its_slice_and_nothing_else():
    """Whatever else such a report carries is not its business: it drives nobody."""
    story = Story(fleet_of(4), prestage=True).start()
    (ahead,) = prestage(story)

    assert story.tell(cmd.SliceReported(slice=ahead.number)).last == ()
    story.tell(cmd.SliceReported(slice=ahead.number, done=True))

    assert story.last == (facts.SliceClosed(number=ahead.number),)
    assert story.in_flight == (1,)
