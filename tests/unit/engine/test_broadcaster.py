"""The broadcaster: a channel that fails, hangs or breaks costs itself, and nobody else anything."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from rollwave.domain import facts
from rollwave.domain.model import BrakeCause
from rollwave.engine.broadcaster import AT_ONCE, SEND_TIMEOUT_S, Broadcaster
from rollwave.store import models
from rollwave.testing.fake_channel import FakeChannel
from tests.contract.store.test_outbox import Bench

BRAKED = facts.Braked(cause=BrakeCause.OPERATOR, reason="", actor="ann")


class InPlace:
    """`Offload` without threads: Django's connection is that of the test."""

    async def __call__(self, function, *args, **kwargs):
        return function(*args, **kwargs)

    read = __call__


class Site:
    """Subscriptions, each with a channel of its own, and one broadcaster."""

    def __init__(self, bench: Bench, count: int) -> None:
        self.bench = bench
        self.rows = [bench.subscribe() for _ in range(count)]
        self.channels = {row.pk: FakeChannel() for row in self.rows}
        self.broadcaster = self.another("w1")

    def another(self, owner: str) -> Broadcaster:
        site = self

        class Clock:
            def now(self):
                return site.bench.now

            async def sleep(self, seconds):
                site.bench.now += timedelta(seconds=seconds)
                await asyncio.sleep(0)

        broadcaster = Broadcaster(
            self.bench.outbox, open_channel=lambda _: None, clock=Clock(), offload=InPlace(), owner=owner
        )
        broadcaster._channel = lambda claim: site.channels[claim.subscription_id]
        return broadcaster

    def happen(self, *events):
        return self.bench.happen(self.bench.deployments[0], *(events or [BRAKED]))

    def got(self, place):
        return [event.seq for message in self.channels[self.rows[place].pk].got for event in message.events]


@pytest.fixture
def site(django_database, monkeypatch):
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    return Site(Bench(), 3)


async def serve(broadcaster, *, without=0):
    """One look, and all that it began; *without* so many that hang."""
    tasks = await broadcaster.tick()
    done, pending = await settle(tasks, len(tasks) - without)
    assert len(pending) == without
    return done


async def settle(tasks, count):
    pending = set(tasks)
    done: set = set()
    while pending and len(done) < count:
        finished, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        done |= finished
    return done, pending


def test_everybody_is_told(site):
    wanted = site.happen()
    asyncio.run(serve(site.broadcaster))
    assert [site.got(place) for place in range(3)] == [wanted] * 3
    assert models.Delivery.objects.filter(arrived=True).count() == 3
    assert asyncio.run(site.broadcaster.tick()) == ()


def test_one_that_hangs_holds_up_nobody_else(site):
    """And is not begun a second time meanwhile."""
    site.channels[site.rows[0].pk].hangs = True
    first = site.happen()

    async def story():
        await serve(site.broadcaster, without=1)
        second = site.happen()
        await serve(site.broadcaster, without=1)
        assert len(site.broadcaster._served) == 1
        for task in site.broadcaster._served.values():
            task.cancel()
        return second

    second = asyncio.run(story())
    assert [site.got(place) for place in range(3)] == [[], first + second, first + second]


def test_one_that_hangs_is_given_up_after_a_while_and_tried_again(site, monkeypatch):
    monkeypatch.setattr("rollwave.engine.broadcaster.SEND_TIMEOUT_S", 0.01)
    channel = site.channels[site.rows[0].pk]
    channel.hangs = True
    wanted = site.happen()
    asyncio.run(serve(site.broadcaster))
    row = models.Subscription.objects.get(id=site.rows[0].pk)
    assert row.last_error.startswith("no end after")
    channel.hangs = False
    site.bench.wait(1)
    asyncio.run(serve(site.broadcaster))
    assert site.got(0) == wanted


def test_an_attempt_ends_before_its_lease():
    from rollwave.engine.broadcaster import LEASE_S

    assert 2 * SEND_TIMEOUT_S < LEASE_S


def test_a_bug_in_a_channel_loses_no_message(site):
    broken = site.channels[site.rows[0].pk]

    async def break_down(_message):
        raise ZeroDivisionError

    fine, broken.send = broken.send, break_down
    wanted = site.happen()
    asyncio.run(serve(site.broadcaster))
    row = models.Subscription.objects.get(id=site.rows[0].pk)
    assert row.last_error == "ZeroDivisionError in the channel; see the log"
    broken.send = fine
    site.bench.wait(1)
    asyncio.run(serve(site.broadcaster))
    assert site.got(0) == wanted


def test_settings_that_cannot_be_used_are_told(site):
    def refuse(_settings):
        raise ValueError("no such kind")

    del site.broadcaster._channel
    site.broadcaster._open_channel = refuse
    site.happen()
    asyncio.run(serve(site.broadcaster))
    assert set(models.Subscription.objects.values_list("last_error", flat=True)) == {"no such kind"}


def test_several_share_the_work_and_nobody_is_told_twice(site):
    wanted = site.happen()
    second = site.another("w2")

    async def both():
        await asyncio.gather(serve(site.broadcaster), serve(second))

    asyncio.run(both())
    assert [site.got(place) for place in range(3)] == [wanted] * 3


def test_no_more_are_served_at_once_than_there_is_room_for(site, monkeypatch):
    assert AT_ONCE >= 3
    monkeypatch.setattr("rollwave.engine.broadcaster.AT_ONCE", 2)
    site.happen()

    async def story():
        assert len(await site.broadcaster.tick()) == 2
        await settle(site.broadcaster._served.values(), 2)
        await asyncio.sleep(0)
        await serve(site.broadcaster)

    asyncio.run(story())
    assert all(site.got(place) for place in range(3))


def test_it_goes_on_whatever_the_store_does(site, monkeypatch):
    """A database that is down for a while costs that while."""
    wanted = site.happen()
    due, calls = site.bench.outbox.due, []

    def unsteady(*, now):
        calls.append(now)
        if len(calls) < 3:
            raise OSError("down")
        return due(now=now)

    monkeypatch.setattr(site.bench.outbox, "due", unsteady)

    async def story():
        running = asyncio.create_task(site.broadcaster.run())
        while not all(site.got(place) for place in range(3)):  # noqa: ASYNC110  # it ends with the last message
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(story())
    assert [site.got(place) for place in range(3)] == [wanted] * 3
