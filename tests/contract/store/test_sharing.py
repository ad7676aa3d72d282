"""Laws of servers that several groups share: what one group does is in the budget of the others."""

from __future__ import annotations

import pytest

from rollwave.domain import commands as cmd
from rollwave.domain.errors import StateConflictError
from rollwave.domain.model import BrakeCause, Neighbor, Phase, Standing
from tests.contract.store.crew import NOON, Crew, failed, good


@pytest.fixture
def goal(world):
    """Groups shop (s0..s3, a half may be out) and books (s2..s5, a quarter) share two servers; music (m0) is alone."""
    for group, servers, percent in (("shop", range(4), 50), ("books", range(2, 6), 25)):
        world.add_group(group, max_unavailable_percent=percent)
        for number in servers:
            world.add_instance(group, f"s{number}", port=80 if group == "shop" else 81)
    world.add_group("music")
    world.add_instance("music", "m0")
    return world.add_package("2.0")


def test_a_group_that_shares_nothing_has_no_neighbors(world, goal):
    """And none of its instances is busy elsewhere, whatever the others do."""
    Crew.begin(world, "shop", goal)

    loaded = Crew.create(world, "music", goal).load()

    assert loaded.state.neighbors == ()
    assert set(loaded.group_versions) == {"music"}


def test_a_neighbor_is_seen_with_its_room(world, goal):
    """At rest: a quarter of its four may leave traffic, by its settings, and all of them are in traffic."""
    state = Crew.create(world, "shop", goal).state

    in_by_server = {"s2": 1, "s3": 1, "s4": 1, "s5": 1}
    assert state.neighbors == (Neighbor(group="books", room_count=1, in_by_server=in_by_server),)


def test_a_neighbor_counts_by_its_own_deployment(world, goal):
    """Its limit, and what is out for it; of ours, what is on a server that it has out of traffic is busy elsewhere."""
    books = Crew.begin(world, "books", goal, max_unavailable_percent=50)
    assert [books.state.fleet[one.instance_id].server for one in books.state.in_flight] == ["s2", "s3"]

    state = Crew.create(world, "shop", goal).state

    assert state.neighbors == (Neighbor(group="books", room_count=0, in_by_server={"s4": 1, "s5": 1}),)
    assert [one.server for one in state.fleet.values() if one.busy_elsewhere] == ["s2", "s3"]


def test_a_canary_that_waits_keeps_its_server_busy(world, goal):
    """Verified and out of traffic counts like in flight."""
    books = Crew.begin(world, "books", goal, canary_count=1)
    books.finish(books.claim(1))
    (canary,) = [one for one in books.state.targets.values() if one.standing is Standing.VERIFIED]

    shop = Crew.create(world, "shop", goal).state

    busy = [one.server for one in shop.fleet.values() if one.busy_elsewhere]
    assert busy == [books.state.fleet[canary.instance_id].server]


def test_what_failed_there_is_busy_until_it_is_held(world, goal):
    """A hold takes it out of every budget: so an operator gets past it."""
    books = Crew.begin(world, "books", goal)
    (claim,) = books.claim_open()
    for instance_id in claim.instance_ids:
        books.settle(claim, failed(instance_id))
    shop = Crew.create(world, "shop", goal)
    assert [one.server for one in shop.state.fleet.values() if one.busy_elsewhere] == ["s2", "s3"]

    for instance_id in claim.instance_ids:
        world.store.set_hold(instance_id, hold=True, actor="ann", reason="", at=NOON)

    assert [one.server for one in shop.state.fleet.values() if one.busy_elsewhere] == []


def test_what_is_over_is_busy_no_more(world, goal):
    """A deployment that ended leaves nothing behind in the others' budgets."""
    Crew.begin(world, "books", goal).run_all()

    state = Crew.create(world, "shop", goal).state

    assert [one.server for one in state.fleet.values() if one.busy_elsewhere] == []
    assert state.neighbors[0].room_count == 1


def test_a_decision_is_void_once_a_neighbor_moved(world, goal):
    """Two groups cannot both take the last room on the servers that they share."""
    shop, books = Crew.create(world, "shop", goal), Crew.create(world, "books", goal)
    decision = shop.decide(cmd.Start(actor="ann"))
    books.act(cmd.Start(actor="bob"))

    with pytest.raises(StateConflictError):
        world.store.commit([decision], at=NOON)

    assert shop.state.in_flight == ()


def test_a_new_deployment_of_a_neighbor_voids_the_cache(world, goal):
    """Its limit counts from then on."""
    shop = Crew.create(world, "shop", goal)
    loaded = shop.load()

    Crew.create(world, "books", goal, max_unavailable_percent=50)

    fresh = world.store.load(shop.id, cached=loaded)
    assert fresh is not loaded
    assert fresh.state.neighbors[0].room_count == 2


def test_what_changes_two_doors_away_voids_the_cache(world, goal):
    """It is in the room of the neighbor between, which is then another one: here by a hold, then by a server."""
    broken = world.add_instance("music", "s5", port=82, failed=True)
    shop = Crew.create(world, "shop", goal)
    loaded = shop.load()
    assert loaded.state.neighbors == (Neighbor(group="books", room_count=0, in_by_server={"s2": 1, "s3": 1, "s4": 1}),)

    world.store.set_hold(broken, hold=True, actor="ann", reason="", at=NOON)

    held = world.store.load(shop.id, cached=loaded)
    in_by_server = {"s2": 1, "s3": 1, "s4": 1, "s5": 1}
    assert held.state.neighbors == (Neighbor(group="books", room_count=1, in_by_server=in_by_server),)
    world.set_offline("s5", offline=True)
    assert "s5" not in world.store.load(shop.id, cached=held).state.neighbors[0].in_by_server


def test_what_is_done_two_doors_away_voids_the_cache(world, goal):
    """A decision of a group that shares with the neighbor takes from the neighbor's room."""
    world.add_group("films")
    world.add_instance("films", "s5", port=82)
    shop = Crew.create(world, "shop", goal)
    loaded = shop.load()

    Crew.begin(world, "films", goal)

    fresh = world.store.load(shop.id, cached=loaded)
    assert fresh.state.neighbors == (Neighbor(group="books", room_count=0, in_by_server={"s2": 1, "s3": 1, "s4": 1}),)


def test_a_group_at_rest_next_door_lets_everybody_through(world, goal):
    """What a neighbor can spare is spared again once it is back: a release ends without anybody's help (I19)."""
    shop = Crew.begin(world, "shop", goal)

    shop.run_all()

    assert shop.phase is Phase.SUCCESS


def test_decisions_of_neighbors_in_one_commit_know_of_each_other(world, goal):
    """What each of them returns is what a load returns, with the other's work in it."""
    books = Crew.begin(world, "books", goal, max_unavailable_percent=25)
    shop = Crew.begin(world, "shop", goal)
    shop.act(cmd.ApplyBrake(actor="ann", cause=BrakeCause.OPERATOR))
    busy_room = books.state.neighbors[0].room_count
    decisions = [books.decide(report(books, failed)), shop.decide(report(shop, good))]

    after = world.store.commit(decisions, at=NOON)

    assert [one.state.neighbors for one in after] == [books.state.neighbors, shop.state.neighbors]
    assert [one.state.fleet for one in after] == [books.state.fleet, shop.state.fleet]
    assert after[0].state.neighbors[0].room_count > busy_room


def report(crew, become):
    jobs = crew.jobs(crew.claim(1))
    return cmd.SliceReported(slice=1, settled=tuple(become(job.target.instance_id) for job in jobs))


def test_a_group_that_comes_to_share_a_server_becomes_a_neighbor(world, goal):
    """What was loaded before does not know it, and is void."""
    crew = Crew.create(world, "music", goal)
    loaded = crew.load()

    world.add_instance("shop", "m0", port=8080)

    fresh = world.store.load(crew.id, cached=loaded)
    assert [neighbor.group for neighbor in fresh.state.neighbors] == ["shop"]


def test_those_in_motion_next_door_can_be_told(world, goal):
    """Deployments of neighbors that are not over; not one's own, and not those further away."""
    shop, books = Crew.create(world, "shop", goal), Crew.create(world, "books", goal)
    Crew.create(world, "music", goal)

    assert list(world.store.neighbors_in_motion("shop")) == [books.id]
    assert list(world.store.neighbors_in_motion("books")) == [shop.id]
    assert list(world.store.neighbors_in_motion("music")) == []
    books.act(cmd.GiveUp(actor="ann"))
    assert list(world.store.neighbors_in_motion("shop")) == []
