"""The pace is what was settled over the time in which there was work."""

from __future__ import annotations

import pytest

from rollwave.web.live.pace import WINDOW_S, Pace


def test_targets_a_minute_of_work():
    pace = Pace()
    pace.note(100, settled=0, is_working=True)
    for second in range(101, 111):
        pace.note(second, settled=2, is_working=True)

    assert pace.per_minute == pytest.approx(120)
    assert pace.seconds_for(60) == pytest.approx(30)


def test_a_pause_does_not_count():
    pace = Pace()
    pace.note(0, settled=0, is_working=True)
    pace.note(10, settled=10, is_working=True)
    pace.note(1000, settled=0, is_working=False)
    pace.note(1010, settled=10, is_working=True)

    assert pace.per_minute == pytest.approx(60)


def test_from_too_few_targets_nothing_is_concluded():
    pace = Pace()
    pace.note(0, settled=0, is_working=True)
    pace.note(10, settled=2, is_working=True)

    assert pace.per_minute is None
    assert pace.seconds_for(1) is None


def test_what_is_long_ago_does_not_count():
    pace = Pace()
    pace.note(0, settled=0, is_working=True)
    pace.note(1, settled=1000, is_working=True)
    for second in range(2, 2 + 2 * int(WINDOW_S)):
        pace.note(second, settled=1, is_working=True)

    assert pace.per_minute == pytest.approx(60)


def test_what_came_before_is_where_it_begins():
    pace = Pace([(30.0, 10), (20.0, 10), (10.0, 10)])
    pace.note(0, settled=0, is_working=True)

    assert pace.per_minute == pytest.approx(40)
