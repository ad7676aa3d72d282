"""What one group's work costs another on the same servers (domain.md, rule 3)."""

from __future__ import annotations

import pytest

from rollwave.domain.model import Kind, Neighbor, Standing, Target
from rollwave.domain.neighbors import is_working, neighbor
from tests.unit.domain.story import Story, fleet_of, instance


def target(standing):
    return Target(instance_id=1, batch=1, standing=standing)


@pytest.mark.parametrize(
    ("flags", "standing", "expected"),
    [
        ({}, None, False),
        ({}, Standing.PENDING, False),
        ({}, Standing.IN_FLIGHT, True),
        ({}, Standing.VERIFIED, True),
        ({}, Standing.SUCCESS, False),
        ({"failed": True}, None, True),
        ({"failed": True}, Standing.FAILED, True),
        ({"failed": True, "hold": True}, Standing.LEFT, False),
    ],
)
def test_when_a_group_has_a_server_out_of_traffic(flags, standing, expected):
    """While it works there, while a canary waits there, and while something broken stands there; a hold aside."""
    assert is_working(instance(1, **flags), standing and target(standing)) is expected


def seen(fleet, story=None, percent=25):
    return neighbor(
        "blog",
        fleet=fleet,
        targets=story.state.targets if story else {},
        deployment=story.state.deployment if story else None,
        max_unavailable_percent=percent,
    )


def test_a_quiet_group_has_its_whole_limit_as_room():
    """Eight at 25 %: two; each server carries one."""
    assert seen(fleet_of(8)) == Neighbor(group="blog", room_count=2, in_by_server={f"s{n}": 1 for n in range(1, 9)})


def test_what_is_out_there_takes_from_its_room():
    """Broken ones and those whose server is busy for another group; held and offline ones count nowhere."""
    fleet = (
        *fleet_of(8),
        instance(9, failed=True),
        instance(10, busy_elsewhere=True),
        instance(11, hold=True),
        instance(12, offline=True),
    )

    found = seen(fleet, percent=50)

    assert found.room_count == 5 - 2
    assert found.in_by_server == {f"s{n}": 1 for n in range(1, 9)}


def test_two_instances_on_one_server_are_counted_both():
    """Whoever takes the server takes both."""
    assert seen((instance(1, server="s1"), instance(2, server="s1"))).in_by_server == {"s1": 2}


def test_its_own_deployment_takes_from_its_room_and_sets_its_limit():
    """The active deployment's percentage counts, not the settings'; a rollback may take half."""
    story = Story(fleet_of(8), kind=Kind.ROLLBACK).start()

    found = seen(story.state.fleet.values(), story, percent=1)

    assert found.room_count == 0
    assert found.in_by_server == {f"s{n}": 1 for n in range(5, 9)}


def test_room_is_never_negative():
    """A hold can leave more out than allowed."""
    assert seen(fleet_of(4, failed=True)).room_count == 0


@pytest.mark.parametrize("is_active", [False, True])
def test_capacity_to_come_counts_only_where_all_of_it_is_new(is_active):
    """A group that never served counts as if it did; one that serves does not count its new instances."""
    fleet = fleet_of(8, new=True)
    assert seen(fleet, Story(fleet, previous=None) if is_active else None).room_count == 2

    mixed = (*fleet_of(4), *(instance(n, new=True) for n in range(5, 9)))
    assert seen(mixed, Story(mixed) if is_active else None).in_by_server.keys() == {"s1", "s2", "s3", "s4"}


def test_a_first_release_counts_all_that_is_new_until_it_ends():
    """The deployment says what counts: its first instances in service make the others no less capacity."""
    story = Story(fleet_of(8, new=True), previous=None).start().verify().bake().succeed()

    found = seen(story.state.fleet.values(), story)

    assert found.room_count == 2
    assert len(found.in_by_server) == 8
