"""The picture of a release."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from rollwave.cli import marks
from rollwave.cli.frame import Frame
from rollwave.cli.release import Batch, Budget, Failure, Head, Release, Target
from rollwave.cli.stopwatch import Lap
from rollwave.cli.target_row import mark_of
from rollwave.cli.tree import render_release
from rollwave.domain.model import Phase, Progress, Stage, Standing

LAW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""No law has to be quick: the machine may be busy."""

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
FAILURE = Failure(code="verify.timeout", message="http://10.0.0.3/healthz answered 500 for 60 s", stage=Stage.VERIFY)
GLYPHS = {mark.glyph for mark in marks.BY_STANDING.values()} | {marks.UNKNOWN.glyph}


def target(number: int, **changed) -> Target:
    return Target(
        **{
            "instance": f"shop/web-{number:03}:80",
            "server": f"web-{number:03}",
            "port": 80,
            "batch": 1,
            "standing": Standing.PENDING,
            "status": "",
            "attempt": 1,
        }
        | changed
    )


def release(*targets: Target, **changed) -> Release:
    numbers = sorted({one.batch for one in targets} | {1})
    head = {
        "id": 12,
        "group": "shop",
        "app": "shop",
        "kind": "rollout",
        "phase": Phase.ROLLING_OUT,
        "status": "running",
        "sentence": "Rolling out: 1 of 3 on 1.4.2, 1 in flight.",
        "goal_version": "1.4.2",
        "previous_version": "1.4.1",
        "batches": tuple(Batch(number=number, canary=number == 1, opened=number < 3) for number in numbers),
        "available_actions": ("brake", "raise_limit", "abort"),
        "created_at": NOW - timedelta(seconds=192),
        "budget": Budget(eligible=9, limit=2, out=1),
    }
    return Release(head=Head(**(head | changed)), targets=targets)


@st.composite
def targets(draw):
    count = draw(st.integers(1, 30))
    made = []
    for number in range(count):
        standing = draw(st.sampled_from(Standing))
        stage = draw(st.sampled_from(Stage)) if standing is not Standing.PENDING else None
        made.append(
            target(
                number,
                batch=draw(st.integers(1, 5)),
                standing=standing,
                stage=stage,
                progress=draw(st.sampled_from(Progress)) if stage else None,
                attempt=draw(st.integers(1, 3)),
                failure=FAILURE if standing is Standing.FAILED else None,
                restored=draw(st.booleans()),
            )
        )
    return made


frames = st.builds(Frame, at=st.just(NOW), width=st.integers(60, 140), is_ascii=st.booleans())


@LAW
@given(targets(), frames)
def test_every_target_has_one_row(made, frame):
    """Without a limit of height each target is there once, by name."""
    text = render_release(release(*made), frame).plain

    for one in made:
        assert text.count(f"{one.name}  ") == 1


def strips_of(text):
    """The glyphs in the lines of the batches, which stand behind `n of m`."""
    found = []
    for line in text.splitlines():
        if " batch " in f" {line[2:]}" and " of " in line:
            found += [glyph for glyph in line.split(" of ", 1)[1] if glyph in GLYPHS]
    return found


@LAW
@given(targets(), st.integers(12, 60))
def test_a_target_without_a_row_is_a_glyph_of_its_batch(made, height):
    """Whatever is folded, each target is shown once: a row, or a glyph in the strip; unless even that does not fit."""
    picture = render_release(release(*made), Frame(at=NOW, width=140, height=height)).plain

    if "more lines" not in picture:
        by_row = [one for one in made if f"{one.name}  " in picture]
        folded = [one for one in made if one not in by_row]
        assert sorted(strips_of(picture)) == sorted(mark_of(one).glyph for one in folded)


@LAW
@given(targets(), st.integers(3, 60), st.integers(60, 140), st.booleans())
def test_it_stays_inside_its_room(made, height, width, is_ascii):
    """No line is wider than the terminal, and there are no more lines than it has."""
    frame = Frame(at=NOW, width=width, height=height, is_ascii=is_ascii)

    lines = render_release(release(*made), frame).plain.split("\n")

    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width


@LAW
@given(targets(), frames)
def test_ascii_is_ascii(made, frame):
    """Where the terminal has no Unicode, not one character of ours needs it."""
    text = render_release(release(*made), frame).plain

    assert not frame.is_ascii or text.isascii()


@pytest.mark.parametrize("is_ascii", [False, True])
def test_no_state_is_told_by_color_alone(is_ascii):
    """Different standings look different without any color: by their glyph, and by their words."""
    made = [
        target(number, standing=standing, stage=Stage.VERIFY, progress=Progress.RUNNING)
        for number, standing in enumerate(Standing)
    ]

    text = render_release(release(*made), Frame(at=NOW, is_ascii=is_ascii)).plain
    rows = [line.replace(one.name, "") for one in made for line in text.splitlines() if one.name in line]
    shapes = {mark.shape(is_ascii=is_ascii) for mark in marks.BY_STANDING.values()}

    assert len({row.split()[0] for row in rows}) == len(Standing) == len(shapes)
    assert len({" ".join(row.split()[2:]) for row in rows}) == len(Standing)
    assert len({mark.shape(is_ascii=is_ascii) for mark in marks.BY_STATUS.values()}) >= 5


def test_a_failure_tells_its_cause():
    """The sentence and its code stand under the target; nothing of it is cut off."""
    long = Failure(
        code="install.failed", message=" ".join(f"word{number}" for number in range(60)), stage=Stage.INSTALL
    )
    text = render_release(
        release(target(1, standing=Standing.FAILED, stage=Stage.INSTALL, progress=Progress.FAILURE, failure=long)),
        Frame(at=NOW, width=80),
    ).plain

    assert "install failed, out of traffic" in text
    assert all(word in text.split() for word in long.message.split())
    assert "install.failed" in text


def test_an_answer_that_is_missing_is_neither_good_nor_bad():
    """A stage of which nobody knows has a mark of its own (I12)."""
    unknown = target(1, standing=Standing.IN_FLIGHT, stage=Stage.INSTALL, progress=Progress.UNKNOWN)

    text = render_release(release(unknown), Frame(at=NOW)).plain

    assert f"{marks.UNKNOWN.glyph} web-001:80" in text
    assert "install: no answer yet" in text


def test_times_count_for_what_moves_and_stand_for_what_is_done():
    """A target in flight counts from its beginning to now, a finished one to its end; an old attempt says nothing."""
    moving = target(1, standing=Standing.IN_FLIGHT, stage=Stage.VERIFY, progress=Progress.RUNNING)
    done = target(2, standing=Standing.SUCCESS, stage=Stage.MARKUP, progress=Progress.SUCCESS)
    again = target(3, standing=Standing.IN_FLIGHT, stage=Stage.MARKDOWN, progress=Progress.RUNNING, attempt=2)
    lap = Lap(attempt=1, began_at=NOW - timedelta(seconds=75), changed_at=NOW - timedelta(seconds=70))
    frame = Frame(at=NOW, laps=dict.fromkeys([moving.instance, done.instance, again.instance], lap))

    rows = render_release(release(moving, done, again), frame).plain.splitlines()

    assert "1m 15s" in next(row for row in rows if moving.name in row)
    assert " 5s " in next(row for row in rows if done.name in row)
    assert "1m 15s" not in next(row for row in rows if again.name in row)


def test_the_head_says_what_a_person_asks_first():
    """Versions, status, sentence, budget, and which actions are open, by the names of their commands."""
    text = render_release(release(target(1)), Frame(at=NOW)).plain

    for wanted in ("shop  1.4.1 → 1.4.2", "rollout 12", "3m 12s", "running  Rolling out", "2 allowed", "raise-limit"):
        assert wanted in text


def test_a_finished_release_has_no_clock_and_no_actions():
    """Its duration stands still; what followed is named."""
    over = release(
        target(1, standing=Standing.LEFT),
        phase=Phase.ABORTED,
        status="aborted",
        ended_at=NOW - timedelta(seconds=180),
        available_actions=(),
        followed_by=13,
    )

    text = render_release(over, Frame(at=NOW + timedelta(hours=5))).plain

    assert "  12s  " in text
    assert "open now" not in text
    assert "followed by deployment 13" in text


def test_ten_thousand_targets_are_a_few_lines():
    """A large batch without room shows each glyph once, with its count."""
    made = [target(number, standing=Standing.SUCCESS, batch=2) for number in range(9_000)]
    made += [target(9_000 + number, batch=3) for number in range(1_000)]

    text = render_release(release(*made), Frame(at=NOW, width=80, height=24)).plain

    assert "✓9000" in text
    assert "·1000" in text
    assert len(text.splitlines()) < 24
