"""The laws of the queue over a real broker, with real workers and a real database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demo.processes import until
from rollwave.queue.celery import make_app
from tests.contract.queue.crew import ELSEWHERE

if TYPE_CHECKING:
    from tests.contract.queue.world import World


def test_what_is_sent_arrives_and_happens_once(world: World) -> None:
    """
    Each slice comes to a worker through the broker; a message that comes three times more does nothing more.

    Whoever claims a slice has it: each host is told once to install.
    """
    with world.workers(2):
        deployment = world.release(held=True)
        world.wait_for_owner(deployment)
        again = next(key for key, owner in world.slices(deployment).items() if owner)
        for _ in range(3):
            world.send(again)
        until(lambda: world.arrived().count(again) >= 4, what="the doubled message", timeout_s=30)
        world.let_go()
        world.wait_for_the_end(deployment)

    installed = world.ran(deployment, "install")
    assert len(installed) == len(set(installed)) == 4
    assert set(world.slices(deployment)) <= set(world.arrived())


def test_a_worker_that_is_told_to_stop_gives_its_slice_back(world: World) -> None:
    """Another one has it at once, though its lease would last for minutes."""
    with world.workers(2) as workers:
        deployment = world.release(held=True)
        owner = world.wait_for_owner(deployment)
        (busy,) = [one for one in workers if str(one.pid) in owner.split(":")]
        busy.stop()

        heir = world.wait_for_owner(deployment, but_for=owner)

        assert heir != owner
        world.let_go()
        world.wait_for_the_end(deployment)


def test_what_nobody_takes_a_worker_takes_itself(world: World) -> None:
    """Messages that come to nobody are sent again, and who sends them a second time does not wait for anybody."""
    before = len(world.arrived())
    with world.workers(1, part="work-astray"):
        world.wait_for_the_end(world.release())

    assert len(world.arrived()) == before
    with make_app(world.broker).connection_for_read() as connection, connection.SimpleQueue(ELSEWHERE) as queue:
        assert queue.qsize() > 0


def test_a_broker_that_refuses_the_login_kills_no_worker(world: World) -> None:
    """It starts all the same, carries a release to its end by itself, and ends in good order when it is told to."""
    scheme, _, address = world.broker.partition("://")
    stranger = f"{scheme}://guest:wrong@{address.rpartition('@')[2]}"
    with world.workers(1, broker=stranger) as (worker,):
        world.wait_for_the_end(world.release())
        worker.check()
        worker.stop()

        assert worker.wait() == 0, worker.log.read_text("utf-8")
