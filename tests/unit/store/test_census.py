"""Laws of the census: it tells what there is, whoever made it so."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rollwave.domain import commands as cmd
from rollwave.domain.model import BrakeCause, Phase
from rollwave.store import census
from tests.contract.store.crew import LEASE, NOON, Crew, released
from tests.contract.store.worlds import DjangoWorld

LATER = NOON + timedelta(seconds=3)


@pytest.fixture
def world(django_database):
    world = DjangoWorld()
    for group in ("shop", "till"):
        world.add_group(group)
        for number in range(4):
            world.add_instance(group, f"{group}{number}")
    return world


def test_where_there_is_nothing_there_is_nothing(world):
    """No deployment, no slice, and nothing that waits."""
    seen = census.take(now=NOON)

    assert (seen.phases, seen.brakes) == ({}, {})
    assert (seen.waiting, seen.held, seen.abandoned, seen.oldest_s) == (0, 0, 0, 0.0)


def test_deployments_that_are_not_over_are_counted_by_phase_and_brake(world):
    """What has ended is history, and not counted."""
    goal = world.add_package("2.0")
    released(world, "shop", goal)
    Crew.create(world, "shop", world.add_package("3.0"))
    Crew.begin(world, "till", goal).act(cmd.ApplyBrake(actor="ann", cause=BrakeCause.OPERATOR))

    seen = census.take(now=NOON)

    assert seen.phases == {Phase.PENDING: 1, Phase.ROLLING_OUT: 1}
    assert seen.brakes == {BrakeCause.OPERATOR: 1}


def test_an_open_slice_waits_or_is_held_or_was_abandoned(world):
    """Waiting since it was opened; abandoned once its lease is over, or was taken away."""
    crew = Crew.begin(world, "shop", world.add_package("2.0"))

    waiting = census.take(now=LATER)
    crew.claim(1, now=LATER)
    held = census.take(now=LATER)
    over = census.take(now=LATER + LEASE)
    world.store.release()
    released_ = census.take(now=LATER)

    assert (waiting.waiting, waiting.held, waiting.abandoned, waiting.oldest_s) == (1, 0, 0, 3.0)
    assert (held.waiting, held.held, held.abandoned, held.oldest_s) == (0, 1, 0, 0.0)
    assert (over.waiting, over.held, over.abandoned, over.oldest_s) == (0, 0, 1, 3.0 + LEASE.total_seconds())
    assert (released_.waiting, released_.held, released_.abandoned) == (0, 0, 1)
