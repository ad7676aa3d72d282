"""Laws of the traffic keeper about time: what it did is judged by what is wanted once it is done."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from rollwave.balancers.several import SeveralBalancers
from rollwave.domain.model import Progress, Stage
from rollwave.engine.traffic import EVERY_S, LOOKS, TrafficKeeper
from rollwave.ports.balancer import BalancerUnknownError
from rollwave.testing.fake_balancer import FakeBalancer
from rollwave.testing.simulation.loop import EPOCH, SimClock, VirtualLoop
from tests.contract.store.crew import Crew
from tests.contract.store.worlds import MemoryWorld

NAME = "shop/s0:80"
AT_ONCE_S = EVERY_S / 4


class Calls:
    """Counts the calls of the store."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    async def __call__(self, function, *args, **kwargs):
        self._scene.calls += 1
        return function(*args, **kwargs)

    read = __call__


class Scene:
    """A keeper at work in virtual time, on a group whose first instance is out for work at a balancer that forgot."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.world = MemoryWorld()
        self.world.add_group("shop")
        for number in range(2):
            self.world.add_instance("shop", f"s{number}")
        self.members = {one.member.name: one.member for one in self.world.store.wishes()}
        self.clock = SimClock(self.loop)
        self.balancer = FakeBalancer(self.clock, self.members.values())
        self.balancer.request_delay_s = 0.1
        self.keeper = TrafficKeeper(
            self.world.store, balancers={"lb": self.balancer}, clock=self.clock, offload=Calls(self)
        )
        self.instance_id = self.world.store.fleet("shop").instances[0].id
        self.calls = 0

    def begin_work(self) -> None:
        self.crew = Crew.begin(self.world, "shop", self.world.add_package("2.0"))
        self.claim = self.crew.claim(1)
        self.crew.write(self.claim, self.crew.saw(self.instance_id, Stage.VERIFY, Progress.SUCCESS))

    def begin_markup(self) -> None:
        self.crew.write(self.claim, self.crew.saw(self.instance_id, Stage.MARKUP))

    def end_markup(self) -> None:
        self.crew.finish(self.claim)

    def hold(self) -> None:
        self.world.store.set_hold(self.instance_id, hold=True, actor="ann", reason="odd", at=EPOCH)

    def run(self, *events, until_s: float = EVERY_S - 0.1) -> None:
        """Let the keeper run; *events* are pairs of a time in seconds and what happens then."""

        async def story() -> None:
            work = asyncio.ensure_future(self.keeper.run())
            for at_s, event in events:
                await asyncio.sleep(at_s - self.loop.time())
                event()
            await asyncio.sleep(until_s - self.loop.time())
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

        try:
            self.loop.run_until_complete(story())
        finally:
            self.loop.close()


@pytest.fixture
def scene():
    return Scene()


@pytest.mark.parametrize("settled_at_s", [0.16, 0.5])
def test_what_was_taken_out_too_late_goes_in_again_at_once(scene, settled_at_s):
    """
    A worker's mark-up that our mark-down overtook is repeated by us, without waiting for the next round.

    The worker may be done with it when we look, or a moment later: until then nobody knows what is wanted.
    """
    scene.begin_work()

    # Read at 0.1; the mark-down lands at 0.2, when the worker's mark-up has found the member in already.
    scene.run((0.15, scene.begin_markup), (settled_at_s, scene.end_markup), until_s=settled_at_s + AT_ONCE_S)

    assert scene.balancer.downs[NAME] == 1
    assert scene.balancer.in_traffic(NAME)


def test_what_was_put_in_too_late_goes_out_again_at_once(scene):
    """A hold that came while we put the instance into traffic was told to nobody else."""
    scene.balancer.add(scene.members[NAME], is_in=False)

    scene.run((0.15, scene.hold), until_s=0.2 + AT_ONCE_S)

    assert scene.balancer.ups[NAME] == 1
    assert not scene.balancer.in_traffic(NAME)


def test_a_change_whose_answer_was_lost_is_judged_too(scene):
    """It may have been made all the same."""
    scene.begin_work()
    scene.balancer.reply_delay_s = 0.1
    mark_down = scene.balancer.mark_down

    async def lose_the_reply(*args, **kwargs):
        await mark_down(*args, **kwargs)
        raise BalancerUnknownError("the balancer's reply was lost")

    scene.balancer.mark_down = lose_the_reply

    scene.run((0.25, scene.begin_markup), (0.26, scene.end_markup), until_s=0.4 + AT_ONCE_S)

    assert scene.balancer.downs[NAME] == 1
    assert scene.balancer.in_traffic(NAME)


def test_whoever_takes_long_is_not_waited_for(scene):
    """Where a worker stays at it the round ends all the same, and the next one comes in its own time."""
    scene.begin_work()

    scene.run((0.15, scene.begin_markup), until_s=3 * EVERY_S)

    assert not scene.balancer.in_traffic(NAME)
    # One reservation, and the wishes of three rounds.
    assert scene.calls <= LOOKS + 4


def test_a_pool_that_breaks_costs_the_others_nothing(scene):
    """Its balancer raises what nobody foresaw: the log names the pool, and the others are put right."""
    scene.world.add_group("till")
    scene.world.add_instance("till", "t0")
    wishes = scene.world.store.wishes()
    scene.balancer = FakeBalancer(scene.clock, [one.member for one in wishes])
    scene.keeper._balancers = {"lb": scene.balancer}
    read = scene.balancer.read

    async def breaking(members):
        if members[0].pool == wishes.of_groups["till"][0].member.pool:
            raise ValueError("what is this?")
        return await read(members)

    scene.balancer.read = breaking
    shop = wishes.of_groups["shop"][0].member

    async def story() -> None:
        await scene.balancer.mark_down(shop, drain_timeout_s=0)
        assert await scene.keeper.compare() == 1

    with capture_logs() as lines:
        try:
            scene.loop.run_until_complete(story())
        finally:
            scene.loop.close()

    assert scene.balancer.in_traffic(shop.name)
    (line,) = [one for one in lines if one["event"] == "comparison_failed"]
    assert line["pool"] == "till"


@pytest.mark.parametrize("in_traffic", [True, False])
def test_what_only_some_of_several_balancers_do_is_put_right(scene, in_traffic):
    """Which way is up to the flag; the one that was right is told again."""
    other = FakeBalancer(scene.clock, scene.members.values())
    scene.keeper._balancers["lb"] = SeveralBalancers([scene.balancer, other])
    other.add(scene.members[NAME], is_in=False)
    if not in_traffic:
        scene.hold()

    scene.run(until_s=AT_ONCE_S)

    assert [one.in_traffic(NAME) for one in (scene.balancer, other)] == [in_traffic, in_traffic]
