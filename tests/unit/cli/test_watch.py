"""Watching: what is shown is what was read after the last event."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field

import pytest

from rollwave.cli.errors import ApiError, UnreachableError
from rollwave.cli.stopwatch import Stopwatch
from rollwave.cli.watch import watch
from tests.unit.cli.fake_api import event


@dataclass
class Screen:
    pictures: list[int] = field(default_factory=list)
    events: list[int] = field(default_factory=list)

    def event(self, one):
        self.events.append(one["seq"])

    def picture(self, picture):
        self.pictures.append(picture)


class World:
    """Counts what happened; events come when the test says so."""

    def __init__(self) -> None:
        self.happened = 0
        self.reads = 0

    def read(self) -> int:
        self.reads += 1
        return self.happened

    def events(self, count: int):
        for seq in range(1, count + 1):
            self.happened = seq
            yield event(seq)


def test_the_last_picture_was_read_after_the_last_event():
    """However many events come at once, nothing that happened is missing at the end."""
    world, screen = World(), Screen()

    last = watch(world.read, world.events(500), screen, is_done=lambda _picture: False)

    assert screen.events == list(range(1, 501))
    assert last == screen.pictures[-1] == 500


def test_many_events_are_few_readings():
    """A large release commits hundreds of times a second; it is read a few times a second at most."""
    world, screen = World(), Screen()

    watch(world.read, world.events(2_000), screen, is_done=lambda _picture: False)

    assert world.reads < 100


def test_it_ends_as_soon_as_it_is_done():
    """A log that goes on for ever does not keep a watch that has seen enough."""
    world, screen = World(), Screen()
    forever = threading.Event()

    def events():
        yield from world.events(3)
        forever.wait(30)

    try:
        assert watch(world.read, events(), screen, is_done=lambda picture: picture == 3) == 3
    finally:
        forever.set()


def test_it_is_read_once_where_it_is_done_already():
    """Nothing is waited for."""
    world, screen = World(), Screen()
    world.happened = 9

    assert watch(world.read, iter(()), screen, is_done=lambda picture: picture == 9) == 9
    assert world.reads == 1


def test_the_time_runs_out():
    """What there is then is returned, freshly read."""
    world, screen = World(), Screen()
    forever = threading.Event()
    ticks = itertools.count()

    def events():
        forever.wait(30)
        yield from ()

    try:
        result = watch(
            world.read,
            events(),
            screen,
            is_done=lambda _picture: False,
            timeout_s=0.05,
            clock=lambda: next(ticks) * 0.03,
        )
    finally:
        forever.set()

    assert result == 0
    assert world.reads >= 2


def test_what_goes_wrong_in_the_feed_is_heard():
    """The thread that reads the log does not swallow its errors, nor what came before them."""
    world, screen = World(), Screen()

    def events():
        yield from world.events(3)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        watch(world.read, events(), screen, is_done=lambda _picture: False)

    assert screen.events == [1, 2, 3]


def test_a_reading_that_fails_for_now_is_done_again():
    """A server that restarts ends no watch: the events wait for it, and the picture that follows is whole."""
    world, screen = World(), Screen()
    troubles = [UnreachableError(endpoint="http://x", reason="restart"), None]
    is_read_again = threading.Event()

    def read():
        if world.reads and troubles:
            trouble = troubles.pop(0)
            if trouble is not None:
                world.reads += 1
                raise trouble
            is_read_again.set()
        return world.read()

    def events():
        yield from world.events(1)
        is_read_again.wait(30)
        yield from world.events(2)

    assert watch(read, events(), screen, is_done=lambda _picture: False) == 2
    assert troubles == []


def test_a_reading_that_is_refused_ends_the_watch():
    """No is no: waiting would not help."""
    world = World()

    def read():
        if world.reads:
            raise ApiError(code="input.not_found", message="gone", status=404, facts={})
        return world.read()

    with pytest.raises(ApiError, match="gone"):
        watch(read, world.events(3), Screen(), is_done=lambda _picture: False)


def test_the_stopwatch_starts_again_with_an_attempt():
    """Times are those of the newest attempt; events of a deployment as a whole change none."""
    stopwatch = Stopwatch()

    for second, attempt in ((1, 1), (5, 1), (30, 2), (31, 2)):
        at = f"2026-01-01T12:00:{second:02}Z"
        stopwatch.note(event(second, "Transition", instance="g/s:1", data={"attempt": attempt}, at=at))
    stopwatch.note(event(40, "PhaseChanged"))

    (lap,) = stopwatch.laps.values()
    assert (lap.attempt, lap.began_at.second, lap.changed_at.second) == (2, 30, 31)
