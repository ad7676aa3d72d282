"""Laws of traffic flags: what the balancers should do, and who may touch them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rollwave.domain import commands as cmd
from rollwave.domain.model import Progress, Stage
from tests.contract.store.crew import NOON, Crew, failed

UNTIL = NOON + timedelta(seconds=6)


@pytest.fixture
def goal(world):
    """Package 2.0, and a group of two instances on 1.0."""
    world.add_group("shop")
    for number in range(2):
        world.add_instance("shop", f"s{number}")
    return world.add_package("2.0")


def wishes(world):
    return {wish.member.name: wish.in_traffic for wish in world.store.wishes()}


def wish_of(world, instance_id):
    return next(wish for wish in world.store.wishes() if wish.instance_id == instance_id)


def test_an_instance_without_a_flag_belongs_in_traffic(world):
    """Held, failed, new and offline ones do not; where there is no balancer there is nothing to wish."""
    world.add_group("shop")
    held = world.add_instance("shop", "held")
    world.add_instance("shop", "good")
    world.add_instance("shop", "failed", failed=True)
    world.add_instance("shop", "new", new=True)
    world.add_instance("shop", "gone")
    world.add_group("batch", balancer="")
    world.add_instance("batch", "b1")
    world.set_offline("gone", offline=True)
    assert world.store.set_hold(held, hold=True, actor="ann", reason="odd", at=NOON) is None

    assert wishes(world) == {
        "shop/held:80": False,
        "shop/good:80": True,
        "shop/failed:80": False,
        "shop/new:80": False,
        "shop/gone:80": False,
    }


def test_a_wish_names_the_member(world, goal):
    """As a job names it."""
    crew = Crew.begin(world, "shop", goal)
    job = crew.jobs(crew.claim(1))[0]

    world.add_instance("shop", "s9")

    (wish,) = [one for one in world.store.wishes() if one.member.name == "shop/s9:80"]
    assert (wish.balancer, wish.member.pool) == (job.balancer, job.member.pool)


@pytest.mark.parametrize(
    ("stage", "progress", "wanted"),
    [
        (None, None, None),
        (Stage.MARKDOWN, Progress.RUNNING, None),
        (Stage.MARKDOWN, Progress.UNKNOWN, None),
        (Stage.MARKDOWN, Progress.SUCCESS, False),
        (Stage.DOWNLOAD, Progress.RUNNING, False),
        (Stage.INSTALL, Progress.UNKNOWN, False),
        (Stage.VERIFY, Progress.SUCCESS, False),
        (Stage.RESTORE, Progress.RUNNING, False),
        (Stage.MARKUP, Progress.RUNNING, None),
        (Stage.MARKUP, Progress.SUCCESS, True),
    ],
)
def test_what_a_worker_changes_is_left_alone(world, goal, stage, progress, wanted):
    """Between markdown and markup it belongs out of traffic, whatever a balancer that restarted believes (I26)."""
    crew = Crew.begin(world, "shop", goal)
    claim = crew.claim(1)
    one = crew.jobs(claim)[0].target.instance_id
    if stage:
        crew.write(claim, crew.saw(one, stage, progress))

    assert wishes(world).get(crew.state.fleet[one].name) is wanted


def test_a_group_in_which_nothing_moved_is_not_read_again(world, goal):
    """It is returned as it was; another group's moves are not its own."""
    world.add_group("other")
    far = world.add_instance("other", "far")
    known = world.store.wishes()
    world.store.set_hold(far, hold=True, actor="ann", reason="odd", at=NOON)

    again = world.store.wishes(cached=known)

    assert again.of_groups["shop"] is known.of_groups["shop"]
    assert [one.in_traffic for one in again.of_groups["other"]] == [False]


def test_a_canary_that_waits_is_not_read_again(world, goal):
    """It may wait for days, and nothing but a decision moves it."""
    crew = Crew.begin(world, "shop", goal, canary_count=1)
    crew.finish(crew.claim(1))
    known = world.store.wishes()

    assert world.store.wishes(cached=known).of_groups["shop"] is known.of_groups["shop"]


def test_whatever_moved_is_read_again(world, goal):
    """What is known from before never shows: flags, servers, instances, decisions, and every step of a worker."""
    known = world.store.wishes()

    def look():
        nonlocal known
        known = world.store.wishes(cached=known)
        assert known == world.store.wishes()

    held, one = (instance.id for instance in world.store.fleet("shop").instances)
    world.store.set_hold(held, hold=True, actor="ann", reason="odd", at=NOON)
    look()
    world.add_instance("shop", "s9")
    look()
    world.set_offline("s9", offline=True)
    look()
    crew = Crew.begin(world, "shop", goal, canary_count=1)
    look()
    claim = crew.claim(1)
    for stage, progress in [(Stage.MARKDOWN, Progress.SUCCESS), (Stage.VERIFY, Progress.SUCCESS)]:
        crew.write(claim, crew.saw(one, stage, progress))
        look()
    crew.finish(claim)
    look()
    crew.act(cmd.Bake(actor="ann"))
    look()
    crew.run_all()
    look()


def test_one_wish_is_what_all_of_them_say(world, goal):
    """None where a worker is changing it, where there is no balancer, and where there is no such instance."""
    world.add_group("batch", balancer="")
    silent = world.add_instance("batch", "b1")
    world.add_instance("shop", "held", hold=True)
    Crew.begin(world, "shop", goal)
    known = {one.instance_id: one for one in world.store.wishes()}
    ids = [one.id for one in world.store.fleet("shop").instances]

    assert {one: world.store.wish(one) for one in ids} == {one: known.get(one) for one in ids}
    assert len(known) < len(ids)
    assert world.store.wish(silent) is None
    assert world.store.wish(silent + 100) is None


def test_a_canary_that_waits_belongs_out(world, goal):
    """Nobody has approved it yet (I2); once it is baked, its flags decide."""
    crew = Crew.begin(world, "shop", goal, canary_count=1)
    claim = crew.claim(1)
    one = crew.jobs(claim)[0].target.instance_id
    crew.finish(claim)

    assert wish_of(world, one).in_traffic is False


def test_what_failed_belongs_out(world, goal):
    """Until something proves it."""
    crew = Crew.begin(world, "shop", goal)
    claim = crew.claim(1)
    one = crew.jobs(claim)[0].target.instance_id
    crew.settle(claim, failed(one))

    assert wish_of(world, one).in_traffic is False


def test_a_reservation_keeps_the_next_worker_off(world, goal):
    """It hears until when, as long as that lies ahead."""
    one = world.store.fleet("shop").instances[0].id
    assert world.store.reserve_traffic(wish_of(world, one), now=NOON, until=UNTIL)
    crew = Crew.begin(world, "shop", goal)

    def not_before(now):
        claim = crew.claim(1, now=now)
        return next(job.not_before for job in crew.jobs(claim) if job.target.instance_id == one)

    assert not_before(NOON) == UNTIL
    assert not_before(UNTIL + timedelta(minutes=1)) in (None, UNTIL)


def test_only_one_has_a_reservation(world, goal):
    """Until it is over."""
    one = world.store.fleet("shop").instances[0].id
    wish = wish_of(world, one)
    assert world.store.reserve_traffic(wish, now=NOON, until=UNTIL)

    assert not world.store.reserve_traffic(wish, now=NOON, until=UNTIL)
    assert world.store.reserve_traffic(wish, now=UNTIL, until=UNTIL + timedelta(seconds=6))


def test_a_wish_that_is_out_of_date_reserves_nothing(world, goal):
    """The flags say otherwise by now."""
    one = world.store.fleet("shop").instances[0].id
    wish = wish_of(world, one)
    world.store.set_hold(one, hold=True, actor="ann", reason="", at=NOON)

    assert not world.store.reserve_traffic(wish, now=NOON, until=UNTIL)
    assert world.store.reserve_traffic(wish_of(world, one), now=NOON, until=UNTIL)


def test_what_a_worker_drives_cannot_be_reserved(world, goal):
    """From its admission on; but what is out for work may be kept out, which harms nobody and delays nobody."""
    wishes_before = {one.instance_id: one for one in world.store.wishes()}
    crew = Crew.begin(world, "shop", goal)
    claim = crew.claim(1)
    one = crew.jobs(claim)[0].target.instance_id
    assert not world.store.reserve_traffic(wishes_before[one], now=NOON, until=UNTIL)

    crew.write(claim, crew.saw(one, Stage.MARKDOWN, Progress.SUCCESS))

    assert world.store.reserve_traffic(wish_of(world, one), now=NOON, until=UNTIL)
    again = crew.claim(1, now=NOON + timedelta(hours=1))
    assert crew.jobs(again)[0].not_before is None


def test_to_take_out_reserves_nothing(world, goal):
    """Whoever puts it in traffic later says so first, so there is nothing to wait for."""
    one = world.add_instance("shop", "sick", failed=True)
    assert world.store.reserve_traffic(wish_of(world, one), now=NOON, until=UNTIL)
    assert world.store.reserve_traffic(wish_of(world, one), now=NOON, until=UNTIL)


def test_to_take_out_waits_for_no_reservation(world, goal):
    """Who put it in before it was held has reserved it for longer than that took."""
    one = world.store.fleet("shop").instances[0].id
    assert world.store.reserve_traffic(wish_of(world, one), now=NOON, until=UNTIL)
    world.store.set_hold(one, hold=True, actor="ann", reason="", at=NOON)

    assert world.store.reserve_traffic(wish_of(world, one), now=NOON, until=UNTIL)
