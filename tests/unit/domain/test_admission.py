"""Who may start now: every budget that counts a target has to have room (domain.md, rules 1 and 3)."""

from __future__ import annotations

import pytest

from rollwave.domain import admission, facts
from rollwave.domain.model import Course, Entry, Kind, Neighbor
from tests.unit.domain.story import GOAL, Story, fleet_of, instance


def neighbor(room, **in_by_server):
    return Neighbor(group="blog", room_count=room, in_by_server=in_by_server)


def entries(story):
    return [entry for fact in story.happened(facts.SliceOpened) for entry in fact.entries]


def test_a_server_counts_against_the_budget_of_every_group_on_it():
    """With room for one there, one server starts, however much room there is here; the rest wait."""
    story = Story(fleet_of(8), canary_count=0, max_unavailable_percent=50, neighbors=(neighbor(1, s1=1, s2=1, s3=1),))

    assert story.start().in_flight == (1, 4)


def test_a_server_without_a_neighbor_costs_the_neighbor_nothing():
    """A neighbor at its limit stops only what it shares."""
    story = Story(fleet_of(4), canary_count=0, max_unavailable_percent=50, neighbors=(neighbor(0, s1=1),))

    assert story.start().in_flight == (2,)


def test_every_instance_that_a_server_takes_out_elsewhere_counts():
    """Two of the neighbor's instances on one server take two places."""
    story = Story(fleet_of(4), canary_count=0, max_unavailable_percent=50, neighbors=(neighbor(2, s1=1, s2=2),))

    assert story.start().in_flight == (1,)


def test_the_tightest_neighbor_decides():
    """Every group on the server has to have room."""
    tight = Neighbor(group="wiki", room_count=0, in_by_server={"s2": 1})
    story = Story(fleet_of(4), canary_count=0, max_unavailable_percent=50, neighbors=(neighbor(9, s1=1, s2=1), tight))

    assert story.start().in_flight == (1,)


def test_two_instances_on_one_server_take_it_out_once():
    """The neighbor on it is out with the first of them."""
    fleet = (instance(1, server="s1"), instance(2, server="s1"), instance(3), instance(4))
    story = Story(fleet, canary_count=0, max_unavailable_percent=50, neighbors=(neighbor(1, s1=1),))

    assert story.start().in_flight == (1, 2)


def test_a_broken_instance_costs_the_neighbor_nothing_more():
    """Its server counts as out there already; healthy ones still have to wait."""
    fleet = (instance(1, failed=True), *(instance(number) for number in range(2, 9)))
    story = Story(fleet, canary_count=0, neighbors=(neighbor(0, s2=1, s3=1),))

    assert story.batches[0] == (1, 2)
    assert story.start().in_flight == (1,)


@pytest.mark.parametrize("counted", [False, True], ids=["before the work began", "after"])
def test_it_makes_no_difference_when_the_neighbor_was_read(counted):
    """Our own work is taken from its room exactly once, and given back when it ends."""
    story = Story(fleet_of(8), canary_count=0, max_unavailable_percent=50)
    everywhere = {f"s{number}": 1 for number in range(1, 9)}
    read_before = neighbor(2, **everywhere)
    read_after = neighbor(0, **{server: 1 for server in everywhere if server not in ("s1", "s2")})
    story.state = story.state.having(neighbors=(read_before,))
    assert story.start().in_flight == (1, 2)

    story.state = story.state.having(neighbors=(read_after if counted else read_before,))
    assert story.wait(0).last == ()
    if not counted:
        assert story.succeed(1).in_flight == (2, 3)


def test_waiting_for_a_neighbor_ends_when_it_has_room():
    """The change of the neighbor is an event like any other."""
    story = Story(fleet_of(4), canary_count=0, neighbors=(neighbor(0, s1=1),)).start()
    assert story.in_flight == ()
    assert story.brake is None

    story.state = story.state.having(neighbors=(neighbor(1, s1=1),))
    assert story.change().in_flight == (1,)


def test_a_neighbor_beyond_its_limit_stops_only_what_it_shares():
    """Our own broken instances may already take more there than allowed: other servers are free all the same."""
    fleet = (instance(1, failed=True), *(instance(number) for number in range(2, 9)))
    story = Story(fleet, canary_count=0, max_unavailable_percent=50, neighbors=(neighbor(0, s1=1, s2=1),))

    assert story.start().in_flight == (1, 3, 4)


def test_an_instance_that_another_group_has_out_starts_without_room():
    """Its server is out of traffic already, so it takes no further place."""
    fleet = (instance(1, busy_elsewhere=True), *(instance(number) for number in range(2, 5)))

    assert Story(fleet, canary_count=0).start().in_flight == (1,)


def test_large_admissions_are_cut_into_slices(monkeypatch):
    """A slice has at most so many targets; the numbers go up."""
    monkeypatch.setattr(admission, "SLICE_TARGETS", 2)
    story = Story(fleet_of(10), canary_count=0, max_unavailable_percent=50, prestage=True).start()

    opened = story.happened(facts.SliceOpened)
    assert [(one.number, one.course, len(one.entries)) for one in opened] == [
        (1, Course.PRESTAGE, 2),
        (2, Course.PRESTAGE, 2),
        (3, Course.PRESTAGE, 1),
        (4, Course.FULL, 2),
        (5, Course.FULL, 2),
        (6, Course.FULL, 1),
    ]


def test_a_failure_shrinks_what_runs_in_parallel_in_a_first_release_too():
    """All that is new counts as capacity then, so nothing of it is free (I1)."""
    story = Story(fleet_of(8, new=True), previous=None, canary_count=0).start().fail(1)

    assert story.succeed(2).in_flight == (3,)


def test_work_on_servers_of_our_own_costs_no_neighbor_anything():
    """Only what its servers take out is taken from its room."""
    story = Story(fleet_of(4), canary_count=0, max_unavailable_percent=50, neighbors=(neighbor(1, s2=1),))

    assert story.start().in_flight == (1, 2)


FULL, PROVE_OUT, PROVE_IN = Entry.FULL, Entry.PROVE_OUT, Entry.PROVE_IN


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, FULL),
        ({"version": GOAL.version}, PROVE_IN),
        ({"failed": True}, FULL),
        ({"failed": True, "version": GOAL.version}, PROVE_OUT),
        ({"new": True}, FULL),
        ({"new": True, "version": GOAL.version}, PROVE_OUT),
    ],
)
def test_how_a_first_attempt_enters_the_chain(flags, expected):
    """What is said to run the goal is proven first: in traffic without being touched, out of traffic before markup."""
    story = Story((instance(1, **flags), *fleet_of(4)[1:]), canary_count=0, max_unavailable_percent=50).start()

    assert dict(entries(story))[1] is expected


@pytest.mark.parametrize("version", [None, "1.0", GOAL.version])
def test_a_reroll_goes_the_whole_way_always(version):
    """It is asked for because what runs shall not stay, so nothing is skipped."""
    fleet = (instance(1, version=version), instance(2, version=version, failed=True))
    story = Story(fleet, kind=Kind.REROLL, canary_count=0, max_unavailable_percent=50).start()
    assert dict(entries(story)) == {2: FULL}

    story.fail(2).retry()
    assert dict(entries(story)) == {2: FULL}


def test_a_canary_is_never_left_in_traffic():
    """It must be out and wait for its bake, also where it is said to run the goal (I2)."""
    story = Story(fleet_of(4, version=GOAL.version)).start()

    assert entries(story) == [(1, FULL)]


def test_without_a_canary_batch_the_first_batch_may_be_proven_in_traffic():
    """Batch 1 is nothing special then."""
    story = Story(fleet_of(4, version=GOAL.version), canary_count=0).start()

    assert entries(story) == [(1, PROVE_IN)]
